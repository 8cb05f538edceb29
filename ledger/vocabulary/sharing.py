"""The legal bases for reading and releasing personal fields: decisions, releases, break-glass."""

from datetime import date
from typing import Annotated, ClassVar

from pydantic import Field

from ledger.vocabulary.action import Action, LedgerModel, OnCase, OnLedger
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import Danger, LegalBasis, Purpose, ReviewFinding
from ledger.vocabulary.picklists import Stage as S
from ledger.vocabulary.types import ActionId, Countries, Country, Text, UtcDatetime

Digest = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$")]
"""base64url SHA-256 of a disclosure (RFC 9901 section 4.2.3), as the action's agency signed it."""

Groups = Annotated[tuple[FieldGroup, ...], Field(min_length=1, max_length=8)]


class ReleasedFields(LedgerModel):
    """The released fields of one earlier action, by the digests signed at the time."""

    action: ActionId
    digests: Annotated[tuple[Digest, ...], Field(min_length=1, max_length=40)]


class SharingDecided(Action):
    """Best-interests decision that information on a child may be read, or given to a country."""

    kind: ClassVar[str] = "sharing_decided"
    stage: ClassVar[S] = S.COORDINATION

    groups: OnLedger[Groups]
    recipients: OnLedger[Countries | None] = None
    until: OnLedger[date | None] = None
    child_heard: OnLedger[bool]
    reasoning: OnCase[Text | None] = None


class SharingEnded(Action):
    """A decision on sharing no longer stands; what was released before stays released."""

    kind: ClassVar[str] = "sharing_ended"
    stage: ClassVar[S] = S.COORDINATION

    decision: OnLedger[ActionId]
    reasoning: OnCase[Text | None] = None


class InformationReleased(Action):
    """Personal fields are released to another country, field by field, on a legal basis."""

    kind: ClassVar[str] = "information_released"
    stage: ClassVar[S] = S.COORDINATION

    recipient: OnLedger[Country]
    request: OnLedger[ActionId | None] = None
    """The request that this answers, if one asked for it."""
    groups: OnLedger[Groups]
    purpose: OnLedger[Purpose]
    basis: OnLedger[LegalBasis]
    basis_action: OnLedger[ActionId]
    """The action that the basis stands on: a consent, a decision, the start of a duty."""
    released: OnLedger[Annotated[tuple[ReleasedFields, ...], Field(min_length=1, max_length=40)]]


class BreakGlassOpened(Action):
    """Access in danger to life, before any other basis: at once, for a short time, seen by all."""

    kind: ClassVar[str] = "break_glass_opened"
    stage: ClassVar[S] = S.COORDINATION

    danger: OnLedger[Danger]
    groups: OnLedger[Groups]
    until: OnLedger[UtcDatetime]
    circumstances: OnCase[Text | None] = None


class BreakGlassReviewed(Action):
    """A coordinator says whether an access in danger to life was justified."""

    kind: ClassVar[str] = "break_glass_reviewed"
    stage: ClassVar[S] = S.COORDINATION

    access: OnLedger[ActionId]
    finding: OnLedger[ReviewFinding]
    reasoning: OnCase[Text | None] = None
