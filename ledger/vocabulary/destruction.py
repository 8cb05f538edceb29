"""The destruction of the disclosures of one annulled action, without an erasure of the person."""

from typing import ClassVar

from ledger.vocabulary.action import Action, OnLedger
from ledger.vocabulary.picklists import Stage as S
from ledger.vocabulary.types import ActionId


class DestructionProposed(Action):
    """The first of two persons proposes to destroy the disclosures of an annulled action."""

    kind: ClassVar[str] = "destruction_proposed"
    stage: ClassVar[S] = S.COORDINATION

    annulled: OnLedger[ActionId]
    """The annulled action whose disclosures are to be destroyed."""


class DestructionApproved(Action):
    """A second person approves: every country of the case now owes the destruction."""

    kind: ClassVar[str] = "destruction_approved"
    stage: ClassVar[S] = S.COORDINATION

    proposal: OnLedger[ActionId]


class DestructionConfirmed(Action):
    """A country confirms that its vault holds no disclosure of the annulled action any more."""

    kind: ClassVar[str] = "destruction_confirmed"
    stage: ClassVar[S] = S.COORDINATION

    order: OnLedger[ActionId]
    """The approval that is carried out."""
