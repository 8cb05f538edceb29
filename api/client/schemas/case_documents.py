"""Documents of a case, and their uploads."""

from uuid import UUID

from pydantic import AwareDatetime

from api.client.schemas.document import Document
from ledger.procedure.readings import Reading
from ledger.vocabulary.documents import CaseDocument
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import LegalBasis, Purpose
from ledger.vocabulary.types import AgencyId, Country


class UploadState(Document):
    """The progress of an upload."""

    id: UUID
    size: int
    received: int
    """The bytes that are durable at the node."""
    is_whole: bool
    """Every byte is there, and their SHA-256 is the declared one: an action can name it."""
    sha256: str
    """In hexadecimal, as it was declared."""
    media_type: str | None
    """By the content, once it is whole."""


class DocumentSignature(Document):
    """An act that signed a document by its digest."""

    action: UUID
    agency: AgencyId
    acted_at: AwareDatetime
    """When the agency signed it, as it says."""
    recorded_at: AwareDatetime


class ListedDocument(Document):
    """A document of a case, as the agency that added it signed it."""

    id: UUID
    """The action that has the document."""
    case_id: UUID
    """The case of that action: the one that was asked for, or one that was merged with it."""
    agency: AgencyId
    belongs_to: UUID | None
    """The action of the case that the document belongs to; ``None``: the case itself.

    It is the same as ``id`` where the action took the document in the same act.
    """
    group: FieldGroup | None
    """The field group; ``None`` at ``case`` level."""
    received_from: Country | None
    """The country that disclosed it; ``None`` for the caller's own."""
    is_here: bool
    """True if this node has the content."""
    document: CaseDocument
    signatures: tuple[DocumentSignature, ...]
    """The first act, and the acts of others that signed the same content, as recorded."""


class DocumentPage(Document):
    """Documents of a case: those at ``case`` level, and those of the groups that were opened."""

    reading: Reading | None
    """The entry of the access log, where groups were asked for."""
    documents: tuple[ListedDocument, ...]
    not_opened: tuple[UUID, ...] = ()
    """The cases merged with this one in which nothing recorded allows this reading of the groups.

    Their documents at ``case`` level are listed all the same."""


class DocumentCopyRequest(Document):
    """The case that gets a copy of a document's content as an upload, and the reading of it."""

    to: UUID
    """The case. It may be the same one, where the document must get another field group."""
    purpose: Purpose
    basis: LegalBasis | None = None
