"""Documents: the paper that belongs to an action or to the case."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal, NamedTuple, Self, get_args

from pydantic import AfterValidator, Field, model_validator

from ledger.vocabulary.action import (
    Action,
    Care,
    Contact,
    Exploitation,
    Family,
    Health,
    Identity,
    LedgerModel,
    OnCase,
    Proceedings,
    Whereabouts,
)
from ledger.vocabulary.characters import shown_name
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import DocumentKind
from ledger.vocabulary.picklists import Stage as S
from ledger.vocabulary.types import RECORDED, ActionId, Language, Name

MediaType = Literal[
    "application/pdf",
    "image/png",
    "image/jpeg",
    "image/heic",
    "image/tiff",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/vnd.oasis.opendocument.text",
]
"""PDF, PNG, JPEG, HEIC, TIFF, DOCX and ODT."""
MEDIA_TYPES: tuple[str, ...] = get_args(MediaType)
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 in hexadecimal, as ``sha256sum`` prints it."""


_LONGEST_TITLE = 200
"""In characters, as a ``Name`` has them."""


def _ordered(ranges: str) -> str:
    """Return ranges of pages as they are. Raises ``ValueError`` if they are not in order."""
    before = 0
    for first, last in page_ranges(ranges):
        if not before < first <= last:
            raise ValueError("names pages in order, each once, such as 2,5-7")
        before = last
    return ranges


def page_ranges(ranges: str) -> Sequence[tuple[int, int]]:
    """Return the first and the last page of each range."""
    pairs = (one.partition("-") for one in ranges.split(","))
    return [(int(first), int(last or first)) for first, _, last in pairs]


PageRanges = Annotated[
    str,
    Field(
        max_length=500, pattern=r"^[1-9]\d{0,5}(-[1-9]\d{0,5})?(,[1-9]\d{0,5}(-[1-9]\d{0,5})?)*$"
    ),
    AfterValidator(_ordered),
]
"""Pages of a document in order, such as ``2,5-7``. The first page is 1."""
MOST_PAGES = 999_999
PageCount = Annotated[int, Field(ge=1, le=MOST_PAGES)]
"""The number of pages of a document."""


CaseVersion = Annotated[int, Field(ge=1, le=10_000_000)]
"""The number of actions of a case up to a moment."""


def ranges_of(pages: Iterable[int]) -> str | None:
    """Return pages as ranges in order, such as ``2,5-7``; ``None`` for no page."""
    found: list[list[int]] = []
    for page in sorted(set(pages)):
        if found and found[-1][1] == page - 1:
            found[-1][1] = page
        else:
            found.append([page, page])
    said = (str(first) if first == last else f"{first}-{last}" for first, last in found)
    return ",".join(said) or None


def number_of_pages(ranges: str | None) -> int:
    """Return how many pages ranges name."""
    return sum(last - first + 1 for first, last in page_ranges(ranges)) if ranges else 0


class VersionClaim(NamedTuple):
    """The statement of a redacted version about its original. Each part may be unknown."""

    pages_of_original: int | None
    pages_left_out: str | None
    pages_marked: str | None

    @property
    def pages(self) -> int | None:
        """Return the number of pages that the version has by this statement, if it tells."""
        if self.pages_of_original is None:
            return None
        return self.pages_of_original - number_of_pages(self.pages_left_out)


def version_trouble(claim: VersionClaim) -> str | None:
    """Return what contradicts itself in a statement about an original, or ``None``."""
    left_out, marked = (page_ranges(one) if one else [] for one in claim[1:])
    if any(first <= b and a <= last for first, last in marked for a, b in left_out):
        return "hides a part of a page that it leaves out: name the page once"
    if claim.pages is not None and claim.pages_of_original is not None:
        if any(last > claim.pages_of_original for _, last in (*left_out, *marked)):
            return "names a page that the document does not have"
        if claim.pages < 1:
            return "leaves out every page"
    return None


class CaseDocument(LedgerModel):
    """The signed description of a document. The content itself is in the country's vault."""

    sha256: Sha256
    size: Annotated[int, Field(ge=1, le=1_000_000_000)]
    """In bytes."""
    media_type: MediaType
    document_kind: DocumentKind
    language: Language | None = None
    title: Name


class DocumentAdded(Action):
    """A document is added to the case, or to an action of it.

    One field has the document: that of the field group to which the content belongs, or the one of
    the ``case`` level. Decoys stand for the others, so the ledger does not tell the group.
    """

    kind: ClassVar[str] = "document_added"
    stage: ClassVar[S] = S.COORDINATION
    example_fields: ClassVar[tuple[str, ...]] = ("case_document",)

    belongs_to: OnCase[ActionId | None] = None
    """The action of this case that the document belongs to."""
    signs: OnCase[ActionId | None] = None
    """The action whose document this act signs too: the same content, by the same digest."""
    redacts: OnCase[ActionId | None] = None
    """The action whose document this one is a version of, without some of its content."""
    pages_left_out: OnCase[PageRanges | None] = None
    """The pages of that document which this one leaves out."""
    pages_marked: OnCase[PageRanges | None] = None
    """The pages of that document of which this one hides a part."""
    pages_of_original: OnCase[PageCount | None] = None
    """The number of pages of that document."""
    paper_as_of: OnCase[CaseVersion | None] = None
    """The version of the case of which the node made this paper: a summary, form or person's file.

    The paper tells of actions up to this version. It does not change if they are annulled."""
    case_document: OnCase[CaseDocument | None] = None
    identity_document: Identity[CaseDocument | None] = None
    contact_document: Contact[CaseDocument | None] = None
    family_document: Family[CaseDocument | None] = None
    health_document: Health[CaseDocument | None] = None
    exploitation_document: Exploitation[CaseDocument | None] = None
    proceedings_document: Proceedings[CaseDocument | None] = None
    whereabouts_document: Whereabouts[CaseDocument | None] = None
    care_document: Care[CaseDocument | None] = None

    @model_validator(mode="after")
    def _has_one_document(self) -> Self:
        named = {name for name in type(self).model_fields if getattr(self, name) is not None}
        if not named & set(DOCUMENT_FIELDS):
            raise ValueError(_NAMES_ONE)
        for name in _OF_VERSIONS:
            if getattr(self, name) is not None and self.redacts is None:
                raise ValueError(f"names the document that {name} is about, in redacts")
        if (wrong := version_trouble(self.version_claim)) is not None:
            raise ValueError(wrong)
        if (wrong := contradiction(named)) is not None:
            raise ValueError(wrong)
        return self

    @property
    def version_claim(self) -> "VersionClaim":
        """Return what the act says of the pages of the document that it redacts."""
        return VersionClaim(self.pages_of_original, self.pages_left_out, self.pages_marked)


_OF_VERSIONS = ("pages_left_out", "pages_marked", "pages_of_original")
DOCUMENT_FIELDS: tuple[str, ...] = tuple(
    name for name in DocumentAdded.model_fields if name.endswith("_document")
)
DocumentAdded.between_fields = {
    "oneOf": [{"required": [name]} for name in DOCUMENT_FIELDS],
    "dependentRequired": {
        **{name: ["redacts"] for name in _OF_VERSIONS},
        "signs": [DOCUMENT_FIELDS[0]],
    },
    "dependentSchemas": {"signs": {"properties": {"redacts": False}}},
}
"""The fields that may have a document, of any kind of action; the first is at ``case`` level.

``document_added`` has all of them. Each other kind that has paper has one.
"""
_NAMES_ONE = "names exactly one document, in the field of its group: " + ", ".join(DOCUMENT_FIELDS)
USUAL_KINDS: Mapping[str, DocumentKind] = MappingProxyType(
    {
        "age_assessed": DocumentKind.ASSESSMENT,
        "best_interests_assessed": DocumentKind.ASSESSMENT,
        "child_born": DocumentKind.CIVIL_STATUS_CERTIFICATE,
        "consent_given": DocumentKind.CONSENT_FORM,
        "death_recorded": DocumentKind.CIVIL_STATUS_CERTIFICATE,
        "family_assessed": DocumentKind.ASSESSMENT,
        "form_sent": DocumentKind.LETTER,
        "guardian_appointed": DocumentKind.ADMINISTRATIVE_DECISION,
        "handover_recorded": DocumentKind.REPORT,
        "hearing_held": DocumentKind.MINUTES,
        "judgment_given": DocumentKind.COURT_DECISION,
        "meeting_held": DocumentKind.MINUTES,
        "reintegration_monitored": DocumentKind.REPORT,
        "reintegration_planned": DocumentKind.REPORT,
        "risk_assessed": DocumentKind.ASSESSMENT,
        "statement_taken": DocumentKind.MINUTES,
        "travel_document_held": DocumentKind.TRAVEL_DOCUMENT,
        "travel_document_issued": DocumentKind.TRAVEL_DOCUMENT,
    }
)
"""The usual kind of document of each kind of action that takes its document in the same act."""


def contradiction(fields: Collection[str]) -> str | None:
    """Return what contradicts itself in the fields that an action has, or ``None``.

    It needs the names alone, and some of them are enough: a country that has a part of the fields
    of another country's action can judge that part.
    """
    if sum(name in DOCUMENT_FIELDS for name in fields) > 1:
        return _NAMES_ONE
    if "signs" in fields and any(name in DOCUMENT_FIELDS[1:] for name in fields):
        return "signs only a document at the case level: name it in case_document"
    if "signs" in fields and "redacts" in fields:
        return "signs a document or redacts one, and not both"
    return None


def shown_document(value: object) -> CaseDocument:
    """Return the description of a document for people, whose title has no hidden character.

    The node of another country may have let its agency sign such a title.
    """
    document = CaseDocument.model_validate(value, context=RECORDED)
    title = shown_name(document.title)
    if title == document.title:
        return document
    return document.model_copy(update={"title": title[:_LONGEST_TITLE]})


def document_field(model: type[Action]) -> str | None:
    """Return the field in which a kind of action takes its document in the same act.

    It is ``None`` for a kind that takes none, and for ``document_added``, which has a choice.
    """
    found = [name for name in DOCUMENT_FIELDS if name in model.model_fields]
    return found[0] if len(found) == 1 else None


def document_of(action: Action) -> tuple[str, CaseDocument] | None:
    """Return the document of an action with the name of its field, or ``None`` without one."""
    for name in document_fields(type(action)):
        document = getattr(action, name)
        if isinstance(document, CaseDocument):
            return name, document
    return None


def field_of(group: FieldGroup | None) -> str:
    """Return the name of the field for a document of a group, or at ``case`` level."""
    return f"{group.value}_document" if group is not None else DOCUMENT_FIELDS[0]


@cache
def document_fields(model: type[Action]) -> tuple[str, ...]:
    """Return the fields of a kind of action that may have a document."""
    return tuple(name for name in DOCUMENT_FIELDS if name in model.model_fields)
