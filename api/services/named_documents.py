"""Checks of the documents that an action names, where the country's node has their contents."""

from collections.abc import Sequence
from uuid import UUID

from ledger.application import Ledger
from ledger.refusals import Ground, Refusal
from ledger.signing.signed_action import SignedAction
from ledger.vault.documents.documents import NamedDocument
from ledger.vault.vault import Vault
from ledger.vocabulary.action import Action
from ledger.vocabulary.documents import DocumentAdded


def named_documents(
    ledger: Ledger, vault: Vault, action: SignedAction, whole: Action | None, case_id: UUID
) -> Sequence[NamedDocument]:
    """Return the documents that an action names, each of which is here in whole.

    A recorded action that is sent again, to a vault that was put back to an older copy, may come
    without its document: then nothing is returned. Raises ``Refusal`` (``document-not-uploaded``,
    ``document-type``, ``unknown-belonging``).
    """
    if not isinstance(whole, DocumentAdded):
        return ()
    field, document = whole.document
    level = whole.level(field)
    named = (NamedDocument(field, level, document.sha256, document.size, document.media_type),)
    is_recorded = ledger.receipt_of(action) is not None
    case = ledger.case(case_id)
    belongs_to = whole.belongs_to
    is_known = belongs_to is None or case is None or belongs_to in case.history
    if not is_known and not is_recorded:
        raise Refusal(
            Ground.INVALID,
            "unknown-belonging",
            "This case has no such action for a document to belong to. Choose an action of this"
            " case.",
            "act.belongs_to",
        )
    try:
        vault.documents.check(case_id, action.agency, action.id, named)
    except Refusal:
        if not is_recorded:
            raise
        return ()
    return named
