"""The end of what is held on a person: legal holds, erasure, and each country's confirmation."""

from typing import ClassVar

from ledger.vocabulary.action import Action, OnCase, OnLedger
from ledger.vocabulary.picklists import ErasureGround, HoldGround
from ledger.vocabulary.picklists import Stage as S
from ledger.vocabulary.types import ActionId, Text


class LegalHoldPlaced(Action):
    """What is held on the person must be kept until the hold is lifted."""

    kind: ClassVar[str] = "legal_hold_placed"
    stage: ClassVar[S] = S.COORDINATION

    ground: OnLedger[HoldGround]
    reasoning: OnCase[Text | None] = None


class LegalHoldLifted(Action):
    """The country that placed a hold lifts it."""

    kind: ClassVar[str] = "legal_hold_lifted"
    stage: ClassVar[S] = S.COORDINATION

    hold: OnLedger[ActionId]


class ErasureProposed(Action):
    """The first of two persons proposes to erase all that is held on the person."""

    kind: ClassVar[str] = "erasure_proposed"
    stage: ClassVar[S] = S.COORDINATION

    ground: OnLedger[ErasureGround]


class ErasureApproved(Action):
    """The second person approves: every country that holds anything now owes its erasure."""

    kind: ClassVar[str] = "erasure_approved"
    stage: ClassVar[S] = S.COORDINATION

    proposal: OnLedger[ActionId]


class ErasureConfirmed(Action):
    """A country confirms that its vault holds nothing on the person any more."""

    kind: ClassVar[str] = "erasure_confirmed"
    stage: ClassVar[S] = S.COORDINATION

    order: OnLedger[ActionId | None] = None
    """The approval that is carried out; none where the period of retention is over."""
