"""Documents of a case, and their uploads."""

from enum import StrEnum
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, Field, model_validator

from api.client.schemas.document import Document
from ledger.procedure.readings import Reading
from ledger.vocabulary.documents import CaseDocument, PageCount, PageRanges
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import LegalBasis, Purpose
from ledger.vocabulary.types import AgencyId, Country, LanguageTag


class VersionOfDocument(Document):
    """The document that an upload is a version of: the node made it, or compared the two."""

    document: UUID
    """The action that has the document: `redacts` of the action that adds the version."""
    pages_of_original: int | None = None
    """``None`` if no page could be compared, as of a DOCX file."""
    pages_left_out: str | None = None
    """The pages that the version leaves out, such as ``2,5-7``."""
    pages_marked: str | None = None
    """The pages of which the version hides a part."""


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
    version_of: VersionOfDocument | None = None
    """The document that it is a version of, with the fields that its action must state."""


class DocumentSignature(Document):
    """An act that signed a document by its digest."""

    action: UUID
    agency: AgencyId
    acted_at: AwareDatetime
    """The time at which the agency signed it, as it says."""
    recorded_at: AwareDatetime


PICTURES = frozenset(("image/heic", "image/jpeg", "image/png", "image/tiff"))
"""The media types of pictures. A client sends a picture without its metadata."""
WITHOUT_METADATA = PICTURES | {
    "application/pdf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/vnd.oasis.opendocument.text",
}
"""The media types of which a node makes copies without metadata."""
STAYING: frozenset[str] = frozenset(("attachments", "scripts", "signature"))
"""Parts that a copy without metadata keeps: they are content. A signed file has no such copy."""
MetadataPart = Literal[
    "after_the_picture",
    "attachments",
    "comment",
    "exif",
    "iptc",
    "other",
    "scripts",
    "signature",
    "thumbnail",
    "xmp",
]
"""A part of a file that may have metadata, or what the file shows to nobody."""


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("has characters that are not shown, or that turn the text around them")
    return text


_Told = Annotated[str, Field(max_length=200), AfterValidator(_printable)]


class FoundMetadata(Document):
    """The metadata that were found in a file. A text is as the file has it, cut if it is long."""

    latitude: Annotated[float | None, Field(ge=-90, le=90)] = None
    """Of the place where the photograph was taken, in degrees. South is negative."""
    longitude: Annotated[float | None, Field(ge=-180, le=180)] = None
    """In degrees. West is negative."""
    made_at: _Told | None = None
    """The time of the photograph or of the file's making, as ISO 8601, by the device's clock."""
    camera: _Told | None = None
    serial_number: _Told | None = None
    """Of the camera."""
    author: _Told | None = None
    """Of an office file each person that it names: who made it, changed it last or printed it."""
    organisation: _Told | None = None
    title: _Told | None = None
    program: _Told | None = None
    """The program that made the file."""
    other: tuple[MetadataPart, ...] = ()
    """Parts of the file that have metadata, with those above."""


class FileMetadata(FoundMetadata):
    """The metadata of an upload."""

    is_removable: bool
    """True if the node makes a copy of the file without metadata. Of a signed one it makes none."""

    @property
    def carries_any(self) -> bool:
        """Return whether the file has any metadata."""
        return any(
            value not in (None, ()) for name, value in self if name in FoundMetadata.model_fields
        )


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
    redacts: UUID | None = None
    """The document that this one is a version of, without some of its content.

    It and what it says of pages are the statement of the agency. The node of its country made the
    version or compared the two. Another country can only compare them once it has both.
    """
    redacts_known: bool = False
    """True if the case has that document, recorded before this one."""
    pages_left_out: str | None = None
    """The pages of that document which this one leaves out, such as ``2,5-7``."""
    pages_marked: str | None = None
    """The pages of that document of which this one hides a part."""
    pages_of_original: int | None = None
    """The number of pages of that document."""
    pages_contradict: bool = False
    """True if what it says of these pages contradicts itself: an honest node refuses that."""
    paper_as_of: int | None = None
    """Of a paper that the node made: the version of the case of which it was made."""
    annulled_in_it: tuple[UUID, ...] = ()
    """Actions that such a paper may tell of and that were annulled after it was made.

    It is the same for a redacted version of the paper."""
    group: FieldGroup | None
    """The field group; ``None`` at ``case`` level."""
    received_from: Country | None
    """The country that disclosed it; ``None`` for the caller's own."""
    is_here: bool
    """True if this node has the content."""
    document: CaseDocument
    signatures: tuple[DocumentSignature, ...]
    """The first act, and the acts of others that signed the same content, as recorded."""
    unsigned_by: tuple[Country, ...] = ()
    """Of the minutes of a meeting: the countries that met whose coordinator did not sign them."""


class MadeKind(StrEnum):
    """A paper that a node makes of what it holds."""

    SUMMARY = "summary"
    FORM = "form"
    PERSON_FILE = "person_file"


class MakingRequest(Document):
    """The paper to make, and its language."""

    made: MadeKind
    language: LanguageTag
    form: UUID | None = None
    """The sending of the communication form; only for a form."""
    beside: LanguageTag | None = None
    """The second language of a form, beside the first; English without one."""


class MadeDocument(Document):
    """A paper that the node made: an upload of the agency, and its description to sign."""

    upload: UploadState
    group: FieldGroup | None
    """The field group of its content; ``None`` at ``case`` level."""
    belongs_to: UUID | None
    """The action that the paper is of; ``None``: the case itself."""
    paper_as_of: int
    """The version of the case of which it was made: its action states it."""
    document: CaseDocument


class MadeDocuments(Document):
    """The papers that the node made. No action names them yet."""

    documents: tuple[MadeDocument, ...]


class DocumentPage(Document):
    """Documents of a case: those at ``case`` level, and those of the groups that were opened."""

    reading: Reading | None
    """The entry of the access log, where groups were asked for."""
    documents: tuple[ListedDocument, ...]
    not_opened: tuple[UUID, ...] = ()
    """The cases merged with this one in which nothing recorded allows this reading of the groups.

    Their documents at ``case`` level are listed all the same."""


_Place = Annotated[int, Field(ge=0, le=9_999)]
_Length = Annotated[int, Field(ge=1, le=10_000)]


class PageMark(Document):
    """A rectangle of a page to hide, in 1/10,000 of the width and the height of the page.

    It is measured from the upper left of the page as its preview shows it.
    """

    page: PageCount
    """The number of the page, from 1."""
    left: _Place
    top: _Place
    width: _Length
    height: _Length

    @model_validator(mode="after")
    def _is_on_page(self) -> Self:
        if self.left + self.width > 10_000 or self.top + self.height > 10_000:
            raise ValueError("lies beyond the edge of the page")
        return self


class RedactionRequest(Document):
    """The pages and parts to hide of a document, and the reading of it.

    With `upload` the node makes nothing: the agency has made the version itself. The node compares
    it with the document, page by page. Pages that are neither left out nor marked must look alike.
    """

    leave_out: PageRanges | None = None
    """Pages in order, such as ``2,5-7``."""
    marks: Annotated[tuple[PageMark, ...], Field(max_length=2_000)] = ()
    """Rectangles to hide. The node makes the version."""
    upload: UUID | None = None
    """The agency's own upload that is the version."""
    pages_marked: PageRanges | None = None
    """With `upload`: the pages of which it hides a part."""
    purpose: Purpose
    basis: LegalBasis | None = None

    @model_validator(mode="after")
    def _hides_something(self) -> Self:
        if self.upload is None and self.pages_marked is not None:
            raise ValueError("names the pages with marks only of an own upload: give marks")
        if self.upload is not None and self.marks:
            raise ValueError("an own upload has its marks already: name their pages")
        if not (self.leave_out or self.marks or self.pages_marked):
            raise ValueError("hides nothing: name pages to leave out, or marks")
        return self


class ComparisonRequest(Document):
    """The reading of a redacted version and of its original, to compare them."""

    purpose: Purpose
    basis: LegalBasis | None = None


class VersionComparison(Document):
    """The outcome of a check of a redacted version: of its own pages, and beside its original."""

    pages: int
    """The pages that the version has."""
    pages_said: int | None
    """The pages that it has by what its action says; ``None`` if that does not tell."""
    is_compared: bool
    """True if this node has the original, and compared the two."""
    pages_of_original: int | None
    differing: tuple[int, ...]
    """The original's pages that are said to be unchanged and look different."""
    agrees: bool
    """True if nothing that could be checked contradicts what the action says."""


class DocumentCopyRequest(Document):
    """The case that gets a copy of a document's content as an upload, and the reading of it."""

    to: UUID
    """The case. It may be the same one, where the document must get another field group."""
    purpose: Purpose
    basis: LegalBasis | None = None


class AwaitedDocument(Document):
    """The content of a document that another country's node gives the caller's country."""

    id: UUID
    """The action that has the document."""
    origin: Country | None
    """The country whose agency added it; ``None``: the caller's own, and another gives it back."""
    size: int
    received: int
    """The bytes that are durable at this node."""
    state: Literal["expected", "fetching", "missing", "refused", "held"]
    """``missing``: it has not come for ten times as long as anything may take."""
    since: AwareDatetime
    """The time at which the document was named here; of one that is held, of its arrival."""
    refused: str | None
    """The rule by which it is not given or was not taken in."""
    asked: Country | None
    """The country that was asked last."""
    asked_at: AwareDatetime | None
    tries: int
    """The number of questions since a part came."""
    trouble: str | None
    """The reason for which the other node did not take in the question."""


class GivenDocument(Document):
    """The content of a document that the caller's country gave another one."""

    id: UUID
    """The action that has the document."""
    recipient: Country
    begun_at: AwareDatetime
    """The time at which the first part was sent."""
    last_at: AwareDatetime
    held_at: AwareDatetime | None
    """The time at which the other node's signed statement came that it holds the content."""
    statement: str | None
    """The statement, a JWS by a key of the other country's node."""


class DocumentInventory(Document):
    """The contents of a case that countries' nodes exchange, as the caller's node knows them."""

    awaited: tuple[AwaitedDocument, ...]
    """Those that this node should hold because another country disclosed them, and held ones."""
    given: tuple[GivenDocument, ...]
