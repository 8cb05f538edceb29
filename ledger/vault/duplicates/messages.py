"""The messages by which two countries' nodes find duplicates, each in a sealed parcel.

For each case, a country sends its masked points, and gets each back under the mask of the other
country too. Where a point of two cases is then equal, the country whose code comes first asks for
the evidence of that pair, and weighs the answer.
"""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from ledger.vault.duplicates.identity_forms import BLOCKING_FORMS, EVIDENCE_FORMS
from ledger.vocabulary.action import LedgerModel
from ledger.vocabulary.duplicates import Finding, MatchKind
from ledger.vocabulary.types import UtcDatetime

PointText = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
MaskId = PointText
"""The public key of a mask."""
ProofText = Annotated[str, Field(pattern="^[0-9a-f]{128}$")]
DigestText = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
CasePoints = Annotated[
    tuple[PointText, ...], Field(min_length=BLOCKING_FORMS, max_length=BLOCKING_FORMS)
]
EvidencePoints = Annotated[
    tuple[PointText, ...], Field(min_length=EVIDENCE_FORMS, max_length=EVIDENCE_FORMS)
]


class MaskedCase(LedgerModel):
    """The points of one of the sender's cases, in place of all that were sent for it before."""

    kind: Literal["masked_case"] = "masked_case"
    reference: UUID
    """Random, and another for each receiver: it is not the case's id."""
    case_id: UUID | None = None
    """Where the receiver is party to the case and knows it anyway."""
    mask: MaskId
    points: CasePoints
    """Under the sender's mask."""


class DoubledCase(LedgerModel):
    """The points of one of the receiver's cases, under the sender's mask too."""

    kind: Literal["doubled_case"] = "doubled_case"
    reference: UUID
    """The receiver's."""
    mask: MaskId
    """The receiver's, under which the points came."""
    by: MaskId
    """The sender's."""
    doubled: CasePoints
    proof: ProofText
    """That each of ``doubled`` is the receiver's point under the mask ``by``."""


class TokensWithdrawn(LedgerModel):
    """The person was erased: nothing of this reference is kept."""

    kind: Literal["tokens_withdrawn"] = "tokens_withdrawn"
    reference: UUID


class MaskedEvidence(LedgerModel):
    """The evidence of one of the sender's cases, to be compared with one of the receiver's."""

    kind: Literal["masked_evidence"] = "masked_evidence"
    sender_reference: UUID
    receiver_reference: UUID
    points: EvidencePoints
    """Under the sender's mask for this pair of cases alone."""


class DoubledEvidence(LedgerModel):
    """The answer to ``MaskedEvidence``."""

    kind: Literal["doubled_evidence"] = "doubled_evidence"
    sender_reference: UUID
    receiver_reference: UUID
    question: DigestText
    """The SHA-256 of the points that were asked about."""
    doubled: EvidencePoints
    """The receiver's points, in its order, under the sender's mask too."""
    own: EvidencePoints
    """The evidence of the sender's case, under the sender's mask."""


class DuplicateFound(LedgerModel):
    """The sender finds that a case of its own and one of the receiver's agree."""

    kind: Literal["duplicate_found"] = "duplicate_found"
    sender_reference: UUID
    receiver_reference: UUID
    agrees: Annotated[tuple[MatchKind, ...], Field(min_length=1, max_length=len(MatchKind))]
    strength: Annotated[int, Field(ge=0, le=100)]
    found_at: UtcDatetime


class DuplicateWithdrawn(LedgerModel):
    """The sender compared a pair again, after an identity changed, and the two agree no more."""

    kind: Literal["duplicate_withdrawn"] = "duplicate_withdrawn"
    duplicate: UUID


class DuplicateAssessed(LedgerModel):
    """The finding of the sender's coordinator."""

    kind: Literal["duplicate_assessed"] = "duplicate_assessed"
    duplicate: UUID
    finding: Finding
    assessed_at: UtcDatetime


Message = (
    MaskedCase
    | DoubledCase
    | TokensWithdrawn
    | MaskedEvidence
    | DoubledEvidence
    | DuplicateFound
    | DuplicateWithdrawn
    | DuplicateAssessed
)
