"""The archive of a person's documents, of the case and of those that were merged with it."""

from collections.abc import Iterator, Mapping, Sequence
from uuid import UUID

from api.client.schemas.case_documents import ListedDocument
from api.client.schemas.personal import HeldBackGround
from api.paper.subject_access.archive import archive
from api.paper.subject_access.wording import Wording
from api.services.document_lists import listed_documents
from api.services.merged_pairs import merged_with
from api.services.personal_data_access import PersonalDataAccess, Reader
from ledger.application import Ledger
from ledger.procedure.protocol import Protocol
from ledger.refusals import Ground, Refusal
from ledger.system import clock
from ledger.vault.documents.media_types import SUFFIXES
from ledger.vault.vault import Vault


def subject_documents(
    ledger: Ledger, vault: Vault, disclosing: PersonalDataAccess, reader: Reader, case_id: UUID
) -> Sequence[ListedDocument]:
    """Return the documents of a person that the vault names, of merged cases too.

    The request is written down. Raises ``Refusal`` (``access-matrix``).
    """
    documents: list[ListedDocument] = []
    for case in (case_id, *merged_with(ledger, reader.agency, case_id)):
        opened = disclosing.subject_access(reader, case)
        held = [*vault.case_fields(case), *opened.fields]
        documents += listed_documents(vault, opened.case, held, ledger.adopted().directory)
    return documents


def subject_archive(
    ledger: Ledger,
    vault: Vault,
    disclosing: PersonalDataAccess,
    reader: Reader,
    case_id: UUID,
    held_back: Mapping[UUID, HeldBackGround],
    protocol: Protocol,
    words: Wording,
) -> Iterator[bytes]:
    """Return the parts of an archive of all documents of a person that the vault names.

    The request is written down at once, and the opening of each document before it is opened.
    Raises ``Refusal`` (``access-matrix``, ``unknown-document`` for one that is to be held back).
    """
    documents = subject_documents(ledger, vault, disclosing, reader, case_id)
    if held_back.keys() - {one.id for one in documents}:
        raise Refusal(
            Ground.UNKNOWN,
            "unknown-document",
            "A document that is to be held back is none of this person's. Name the actions that"
            " have the documents.",
            "held_back",
        )
    for one in documents:
        if one.id in held_back:
            disclosing.hold_back(reader, one.case_id, one.group, one.id)

    def content(one: ListedDocument) -> tuple[str, Iterator[bytes]]:
        found = disclosing.give_document(reader, one.case_id, one.id)
        media_type = found.metadata.media_type
        suffix = SUFFIXES[media_type] if media_type is not None else "bin"
        return suffix, found.part(0, found.place.size - 1)

    return archive(
        case_id,
        vault.party,
        clock.now(),
        documents,
        held_back,
        content,
        {agency.id: agency.party for agency in protocol.agencies},
        words,
    )
