"""The messages by which two countries' nodes find duplicates, each in a sealed parcel."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from ledger.vault.duplicates.tokens import COUNT
from ledger.vocabulary.action import LedgerModel
from ledger.vocabulary.duplicates import Finding, MatchKind
from ledger.vocabulary.types import UtcDatetime

Fingerprint = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
TokenText = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
ShareText = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class ShareGiven(LedgerModel):
    """The sender's share of the key of two countries."""

    kind: Literal["share_given"] = "share_given"
    share: ShareText
    holds: Fingerprint | None = None
    """Which share of the receiver the sender holds; the receiver sends its own if not that."""


class MatchTokens(LedgerModel):
    """The tokens of one of the sender's cases, in place of all that were sent for it before."""

    kind: Literal["match_tokens"] = "match_tokens"
    reference: UUID
    """Random, and another for each receiver: it is not the case's id."""
    case_id: UUID | None = None
    """Where the receiver is party to the case and knows it anyway."""
    tokens: Annotated[tuple[TokenText, ...], Field(min_length=COUNT, max_length=COUNT)]


class TokensWithdrawn(LedgerModel):
    """The person was erased: nothing of this reference is kept."""

    kind: Literal["tokens_withdrawn"] = "tokens_withdrawn"
    reference: UUID


class DuplicateFound(LedgerModel):
    """The sender finds that a case of its own and one of the receiver's agree."""

    kind: Literal["duplicate_found"] = "duplicate_found"
    sender_reference: UUID
    receiver_reference: UUID
    agrees: Annotated[tuple[MatchKind, ...], Field(min_length=1, max_length=len(MatchKind))]
    found_at: UtcDatetime


class DuplicateAssessed(LedgerModel):
    """The finding of the sender's coordinator."""

    kind: Literal["duplicate_assessed"] = "duplicate_assessed"
    duplicate: UUID
    finding: Finding
    assessed_at: UtcDatetime


Message = ShareGiven | MatchTokens | TokensWithdrawn | DuplicateFound | DuplicateAssessed
