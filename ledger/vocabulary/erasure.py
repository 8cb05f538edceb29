"""The end of the data held on a person: legal holds, erasure, and each country's confirmation."""

from typing import Annotated, ClassVar

from pydantic import Field

from ledger.vocabulary.action import Action, OnCase, OnLedger
from ledger.vocabulary.picklists import ErasureGround, HoldGround
from ledger.vocabulary.picklists import Stage as S
from ledger.vocabulary.types import ActionId, Text, UtcDatetime

RetentionDays = Annotated[int, Field(ge=1, le=36600)]
"""For how many days after the closing what is held on a person is kept."""


class LegalHoldPlaced(Action):
    """A hold: the data on the person must be kept until the hold is lifted."""

    kind: ClassVar[str] = "legal_hold_placed"
    stage: ClassVar[S] = S.COORDINATION

    ground: OnLedger[HoldGround]
    reasoning: OnCase[Text | None] = None


class LegalHoldLifted(Action):
    """The country that placed a hold lifts it."""

    kind: ClassVar[str] = "legal_hold_lifted"
    stage: ClassVar[S] = S.COORDINATION

    hold: OnLedger[ActionId]


class RetentionAnnounced(Action):
    """The period of retention ends: what is held on the person will be erased, from when on.

    A later announcement by a coordinator, with a later ``erase_from``, takes the place of the
    one before it. A legal hold, or the reopening of the case, ends an announcement.
    """

    kind: ClassVar[str] = "retention_announced"
    stage: ClassVar[S] = S.COORDINATION

    closed_at: OnLedger[UtcDatetime]
    """When the closing was recorded from which the period runs."""
    kept_days: OnLedger[RetentionDays]
    """The protocol's period for the reason of that closing."""
    erase_from: OnLedger[UtcDatetime]
    """Nothing is erased before this moment."""


class ErasureProposed(Action):
    """The first of two parties proposes to erase all that is held on the person."""

    kind: ClassVar[str] = "erasure_proposed"
    stage: ClassVar[S] = S.COORDINATION

    ground: OnLedger[ErasureGround]


class ErasureApproved(Action):
    """The second party approves: every country that holds anything now owes its erasure."""

    kind: ClassVar[str] = "erasure_approved"
    stage: ClassVar[S] = S.COORDINATION

    proposal: OnLedger[ActionId]


class ErasureConfirmed(Action):
    """A country confirms that its vault holds nothing on the person any more.

    With ``upto`` it states which digests it no longer holds: all that the case's actions have up to
    this version of the case.
    """

    kind: ClassVar[str] = "erasure_confirmed"
    stage: ClassVar[S] = S.COORDINATION

    order: OnLedger[ActionId | None] = None
    """The approval that is carried out; none where the period of retention is over."""
    upto: OnLedger[Annotated[int, Field(ge=1, le=2**53)] | None] = None
    """The version of the case up to which nothing is held any more."""
