"""Checks of the documents that an action names, where the country's node has their contents."""

from collections.abc import Sequence
from uuid import UUID

from ledger.application import Ledger
from ledger.procedure.case import Case
from ledger.procedure.deciding import case_of
from ledger.procedure.protocol import COORDINATOR
from ledger.refusals import Ground, Refusal
from ledger.signing.signed_action import SignedAction
from ledger.vault.documents.documents import NamedDocument
from ledger.vault.vault import Vault
from ledger.vocabulary import ALL_ACTIONS
from ledger.vocabulary.action import Action
from ledger.vocabulary.documents import (
    DOCUMENT_FIELDS,
    CaseDocument,
    DocumentAdded,
    VersionClaim,
    document_fields,
    document_of,
)
from ledger.vocabulary.picklists import DocumentKind
from ledger.vocabulary.types import RECORDED


def named_documents(
    ledger: Ledger, vault: Vault, action: SignedAction, whole: Action | None, case_id: UUID
) -> Sequence[NamedDocument]:
    """Return the document that an action names, which is here in whole.

    A recorded action that is sent again, to a vault that was put back to an older copy, may come
    without its document: then nothing is returned. An act that signs another act's document has no
    content of its own. Raises ``Refusal`` (``document-not-uploaded``, ``document-type``,
    ``unknown-belonging``, ``unknown-redacted``, ``unknown-signed``, ``another-document``,
    ``minutes-signature``, ``version-not-compared``, ``another-version``, ``another-paper``).
    """
    found = document_of(whole) if whole is not None else None
    if whole is None or found is None:
        return ()
    field, document = found
    level = whole.level(field)
    named = (NamedDocument(field, level, document.sha256, document.size, document.media_type),)
    is_recorded = ledger.receipt_of(action) is not None
    case = ledger.case(case_id)
    if isinstance(whole, DocumentAdded):
        if not is_recorded and case is not None:
            _check_belongs(case, whole.belongs_to)
            _check_redacted(case, whole.redacts)
        if whole.signs is not None:
            if not is_recorded:
                _check_signature(ledger, vault, action, document, whole.signs)
            return ()
    try:
        vault.documents.check(case_id, action.agency, action.id, named)
    except Refusal:
        if not is_recorded:
            raise
        return ()
    if isinstance(whole, DocumentAdded) and not is_recorded:
        _check_origin(vault, action, case_id, whole, document)
    return named


def _check_belongs(case: Case, belongs_to: UUID | None) -> None:
    """Check that a document belongs to an action of the case. Raises ``Refusal``."""
    if belongs_to is not None and belongs_to not in case.history:
        raise Refusal(
            Ground.INVALID,
            "unknown-belonging",
            "This case has no such action for a document to belong to. Choose an action of this"
            " case.",
            "act.belongs_to",
        )


def _check_redacted(case: Case, redacts: UUID | None) -> None:
    """Check that the document that another one is a version of can be the case's."""
    named = case.history.get(redacts) if redacts is not None else None
    if redacts is not None and (named is None or not _may_have_document(named.kind)):
        raise Refusal(
            Ground.INVALID,
            "unknown-redacted",
            "This case has no such document to leave pages out of. Name the action that added the"
            " document.",
            "act.redacts",
        )


def _check_origin(
    vault: Vault, action: SignedAction, case_id: UUID, added: DocumentAdded, document: CaseDocument
) -> None:
    """Check that an upload is what an act says of it, by what this node noted. Raises ``Refusal``.

    Of a version the node noted that it made it of the named document, or compared the two; of a
    paper, of which version of the case it made it.
    """
    uploads = vault.documents.with_content(case_id, action.agency, document.size, document.sha256)
    if not uploads:  # the action has it already
        return
    as_of, known = uploads[0].metadata.paper_as_of, uploads[0].metadata.version_of
    if added.paper_as_of != as_of:
        raise Refusal(
            Ground.INVALID,
            "another-paper",
            "The action says of which version of the case this node made the paper, and says"
            " another one. Name the one that the node answered, or none for another document.",
            "act.paper_as_of",
        )
    if added.redacts is None:
        return
    if known is None or known.document != added.redacts:
        raise Refusal(
            Ground.OUT_OF_PROCEDURE,
            "version-not-compared",
            "This node did not compare the document with the one that it is said to be a version"
            " of. Have the node make the version, or compare your own one with the document.",
            "act.redacts",
        )
    if added.version_claim != VersionClaim(
        known.pages_of_original, known.pages_left_out, known.pages_marked
    ):
        raise Refusal(
            Ground.INVALID,
            "another-version",
            "The action says of the version's pages what this node did not find. Name the pages as"
            " the node answered: `version_of` of the upload.",
            "act.pages_left_out",
        )


def _may_have_document(kind: str) -> bool:
    return kind in ALL_ACTIONS and bool(document_fields(ALL_ACTIONS[kind]))


def _check_signature(
    ledger: Ledger, vault: Vault, action: SignedAction, document: CaseDocument, signs: UUID
) -> None:
    """Check that an act signs a document that this vault knows, by the same digest.

    The first act of the document is the one to name, and not another signature of it. Raises
    ``Refusal``.
    """
    case = ledger.case(case_of(action))
    held = [one for one in vault.case_fields(case_of(action)) if one.action_id == signs]
    first = next((one for one in held if one.field in DOCUMENT_FIELDS), None)
    is_signature = any(one.field == "signs" for one in held)
    if case is None or signs not in case.history or first is None or is_signature:
        raise Refusal(
            Ground.INVALID,
            "unknown-signed",
            "This country holds no such document that every agency of the case may read. Name the"
            " action that added the document.",
            "act.signs",
        )
    signed = CaseDocument.model_validate(first.value, context=RECORDED)
    if signed != document:
        raise Refusal(
            Ground.INVALID,
            "another-document",
            "The named action has another document: a changed text is a document of its own. Sign"
            " the document as it is, or add the changed one.",
            f"act.{DOCUMENT_FIELDS[0]}",
        )
    signer = ledger.adopted().directory.agencies_by_id.get(action.agency)
    is_minutes = document.document_kind is DocumentKind.MINUTES
    if is_minutes and (signer is None or signer.role != COORDINATOR):
        raise Refusal(
            Ground.NOT_ALLOWED,
            "minutes-signature",
            "Only the coordinator of a country signs the minutes of a meeting.",
            "act.signs",
        )
