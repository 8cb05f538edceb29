"""Documents: the paper that belongs to an action or to the case."""

from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import Field, model_validator

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
from ledger.vocabulary.picklists import DocumentKind
from ledger.vocabulary.picklists import Stage as S
from ledger.vocabulary.types import ActionId, Language, Name

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

    belongs_to: OnCase[ActionId | None] = None
    """The action of this case that the document belongs to."""
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
        if sum(getattr(self, name) is not None for name in DOCUMENT_FIELDS) != 1:
            raise ValueError(
                "names exactly one document, in the field of its group: "
                + ", ".join(DOCUMENT_FIELDS)
            )
        return self

    @property
    def document(self) -> tuple[str, CaseDocument]:
        """Return the document, with the name of its field."""
        return next((n, d) for n in DOCUMENT_FIELDS if (d := getattr(self, n)) is not None)


DOCUMENT_FIELDS: tuple[str, ...] = tuple(
    name for name in DocumentAdded.model_fields if name.endswith("_document")
)
"""The fields that may have the document; the first is at ``case`` level."""
