"""The documents of a case that a caller may know of."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from api.client.schemas.case_documents import ListedDocument
from ledger.procedure.case import Case
from ledger.vault.held_fields import Held
from ledger.vault.vault import Vault
from ledger.vocabulary.documents import DOCUMENT_FIELDS, CaseDocument
from ledger.vocabulary.types import RECORDED


def listed_documents(vault: Vault, case: Case, held: Iterable[Held]) -> Sequence[ListedDocument]:
    """Return the documents among opened fields, in the order in which they were recorded."""
    held = [one for one in held if one.action_id in case.history]
    found = [one for one in held if one.field in DOCUMENT_FIELDS]
    belongs = {one.action_id: UUID(one.value) for one in held if one.field == "belongs_to"}
    here = vault.documents.held([one.action_id for one in found])
    return sorted(
        (
            ListedDocument(
                id=one.action_id,
                agency=case.history[one.action_id].agency,
                belongs_to=belongs.get(one.action_id),
                group=one.group,
                received_from=one.received_from,
                is_here=one.action_id in here,
                document=CaseDocument.model_validate(one.value, context=RECORDED),
            )
            for one in found
        ),
        key=lambda one: case.history[one.id].position,
    )
