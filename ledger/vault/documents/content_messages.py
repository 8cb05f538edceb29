"""The messages by which countries' nodes exchange contents of documents, each in a sealed parcel.

The receiving node asks for some chunks. It makes a random **transfer key** for each document that
it fetches, and sends the key in the question, which is sealed to the other country. The other node
encrypts each chunk under the transfer key, bound to document, place and count, and sends it in a
parcel of its own, which is sealed to the receiving country. So nobody but these two nodes can make
a chunk or an answer that opens, or read one.
"""

from base64 import b64decode, b64encode
from enum import StrEnum
from typing import Annotated, Literal, TypeAlias
from uuid import UUID, uuid5

from pydantic import Field

from ledger.signing.country_key import SealError
from ledger.vault.documents.chunk_encryption import CHUNK_BYTES, OVERHEAD_BYTES, DocumentPlace
from ledger.vocabulary.action import LedgerModel
from ledger.vocabulary.sharing import Digest
from ledger.vocabulary.types import Country, UnixTime

TYPE = "content-held+jwt"
AT_MOST_CHUNKS = 16
"""Of one question: 4 MiB. So the mailbox has little of a document at a time."""
_SEALED_CHARACTERS = 4 * -(-(CHUNK_BYTES + OVERHEAD_BYTES) // 3)


class ContentRefusal(StrEnum):
    """The rule by which a content is not given, or not taken in."""

    NOT_DUE = "not-due"
    """By the ledger the asking country must not hold it: its action is annulled, for example."""
    WITHDRAWN = "withdrawn"
    """The consent that the release stands on was withdrawn, or has ended."""
    ACCESS_MATRIX = "access-matrix"
    """The protocol in force does not allow the release of this field group any more."""
    NOT_HERE = "not-here"
    """The country that was asked does not have the content."""
    TOO_LARGE = "too-large"
    """The document is larger than the protocol allows, or the case has too many of that country."""
    DIGEST = "digest"
    """The content does not have the SHA-256 that the agency signed."""
    TYPE = "document-type"
    """The content is of another type than the one that the agency signed, or of a refused one."""
    INFECTED = "document-infected"
    """The malware scanner of the receiving node refuses the content."""


class ContentAsked(LedgerModel):
    """The sender must hold a document by the ledger, and lacks chunks of its content."""

    kind: Literal["content_asked"] = "content_asked"
    transfer: UUID
    """Random, and repeated in each answer."""
    key: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{43}=$")]
    """The transfer key in base64."""
    action: UUID
    field: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,60}$")]
    digest: Digest
    """Of the disclosure that names the document."""
    first: Annotated[int, Field(ge=0, le=100_000)]
    count: Annotated[int, Field(ge=1, le=AT_MOST_CHUNKS)]


class ContentPart(LedgerModel):
    """One chunk of a content."""

    kind: Literal["content_part"] = "content_part"
    transfer: UUID
    number: Annotated[int, Field(ge=0, le=100_000)]
    sealed: Annotated[str, Field(max_length=_SEALED_CHARACTERS)]
    """The chunk under the transfer key, in base64."""


class ContentRefused(LedgerModel):
    """The answer that a content is not given."""

    kind: Literal["content_refused"] = "content_refused"
    transfer: UUID
    sealed: Annotated[str, Field(max_length=400)]
    """The rule under the transfer key, in base64."""


class ContentHeld(LedgerModel):
    """The sender holds a content, as a statement that its node signed."""

    kind: Literal["content_held"] = "content_held"
    statement: Annotated[str, Field(max_length=4096)]


class HeldContent(LedgerModel):
    """The claims of the statement that a content is held."""

    protocol: Annotated[str, Field(max_length=200)]
    sender: Country
    """The country that holds the content now."""
    recipient: Country
    """The country that gave it."""
    action: UUID
    digest: Digest
    """Of the disclosure that names the document, and so its SHA-256. The content has that one."""
    iat: UnixTime


ContentMessage: TypeAlias = ContentAsked | ContentPart | ContentRefused | ContentHeld
CONTENT_MESSAGES = (ContentAsked, ContentPart, ContentRefused, ContentHeld)


def transfer_place(asked: ContentAsked, case_id: UUID, size: int) -> DocumentPlace:
    """Return the place to which each chunk of a transfer is bound."""
    named = f"{asked.action} {asked.field} {asked.digest}"
    return DocumentPlace(uuid5(asked.transfer, named), case_id, size)


def refusal_place(asked: ContentAsked, case_id: UUID) -> DocumentPlace:
    """Return the place to which a refusal is bound: the country that refuses may know no size."""
    return transfer_place(asked, case_id, 1)


def as_text(content: bytes) -> str:
    """Return bytes in base64."""
    return b64encode(content).decode("ascii")


def as_bytes(text: str) -> bytes:
    """Read bytes from base64. Raises ``SealError`` if the text is none."""
    try:
        return b64decode(text, validate=True)
    except ValueError as error:
        raise SealError("this is no base64") from error
