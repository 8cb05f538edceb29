"""The documents of a case and of the cases that were merged with it."""

from collections.abc import Sequence
from uuid import UUID

from api.client.schemas.case_documents import DocumentPage, ListedDocument
from api.services.document_lists import listed_documents
from api.services.merged_pairs import merged_with
from api.services.personal_data_access import PersonalDataAccess, Reader
from ledger.application import Ledger
from ledger.procedure.protocol import NODE, OVERSIGHT
from ledger.procedure.readings import Reading
from ledger.refusals import Ground, Refusal
from ledger.vault.vault import Vault
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import LegalBasis, Purpose


def check_reads_documents(reader: Reader) -> None:
    """Raise ``Refusal`` (``no-documents``) for a node or an oversight body."""
    if reader.agency.role in (NODE, OVERSIGHT):
        raise Refusal(
            Ground.NOT_ALLOWED, "no-documents", "Nodes and oversight bodies read no documents."
        )


def document_page(
    ledger: Ledger,
    vault: Vault,
    disclosing: PersonalDataAccess,
    reader: Reader,
    case_id: UUID,
    groups: Sequence[FieldGroup] = (),
    purpose: Purpose | None = None,
    basis: LegalBasis | None = None,
) -> DocumentPage:
    """Return the documents of a case and of those merged with it that the reader may know of.

    Groups are a reading in each of the cases, by what is recorded in that case. Raises ``Refusal``
    if the reading of ``case_id`` itself is refused; a merged case is then named instead.
    """
    case = disclosing.case_of(reader, case_id)
    check_reads_documents(reader)
    if groups and purpose is None:
        raise Refusal(Ground.INVALID, "purpose", "Say the purpose of the reading.", "purpose")
    reading: Reading | None = None
    documents: list[ListedDocument] = []
    not_opened: list[UUID] = []
    for other in (case_id, *merged_with(ledger, reader.agency, case_id)):
        case = disclosing.case_of(reader, other)
        held = [*vault.case_fields(other)]
        if groups and purpose is not None:
            try:
                opened = disclosing.read(reader, other, groups, purpose, basis)
            except Refusal:
                if other == case_id:
                    raise
                not_opened.append(other)
            else:
                reading, case = reading or opened.reading, opened.case
                held += opened.fields
        documents += listed_documents(vault, case, held, ledger.adopted().directory)
    return DocumentPage(reading=reading, documents=tuple(documents), not_opened=tuple(not_opened))
