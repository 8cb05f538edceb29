"""Joint decisions, decisions against an outcome, and the person's requests and refusals."""

from typing import Annotated, ClassVar

from pydantic import Field

from ledger.vocabulary.action import Action, Care, OnCase, OnLedger
from ledger.vocabulary.identification import VictimStatus
from ledger.vocabulary.picklists import (
    ConsentGiver,
    JointDecision,
    OverrideReason,
    RefusalSubject,
    RiskLevel,
)
from ledger.vocabulary.picklists import Stage as S
from ledger.vocabulary.types import ActionId, Country, Text


class IdentificationRequested(Action):
    """The person, or the guardian, asks for formal identification as a victim."""

    kind: ClassVar[str] = "identification_requested"
    stage: ClassVar[S] = S.IDENTIFICATION

    requested_by: OnLedger[ConsentGiver]
    circumstances: Care[Text | None] = None


class DecisionProposed(Action):
    """A body proposes a decision that the protocol has it take together with others.

    It has no effect of its own. Once the others have confirmed it, the body takes the decision."""

    kind: ClassVar[str] = "decision_proposed"
    stage: ClassVar[S] = S.COORDINATION

    decision: OnLedger[JointDecision]
    status: OnLedger[VictimStatus | None] = None
    """The status that is proposed, of an identification."""
    risk_level: OnLedger[RiskLevel | None] = None
    """The level that is proposed, of an assessment of the risk."""
    reasoning: OnCase[Text | None] = None


class DecisionConfirmed(Action):
    """A body confirms the proposed decision that it takes part in."""

    kind: ClassVar[str] = "decision_confirmed"
    stage: ClassVar[S] = S.COORDINATION

    proposal: OnLedger[ActionId]
    reasoning: OnCase[Text | None] = None


class OutcomeOverridden(Action):
    """A body that the protocol names decides for a return against the outcome of an assessment.

    The country of destination joins the case, so that both countries see it."""

    kind: ClassVar[str] = "outcome_overridden"
    stage: ClassVar[S] = S.RETURN

    overrides: OnLedger[ActionId]
    """The assessment against whose outcome the body decides."""
    destination: OnLedger[Country]
    reasons: OnLedger[Annotated[tuple[OverrideReason, ...], Field(min_length=1, max_length=5)]]
    reasoning: OnCase[Text]


class RefusalRecorded(Action):
    """The person or the guardian refuses help, contact, exchange of information or a return."""

    kind: ClassVar[str] = "refusal_recorded"
    stage: ClassVar[S] = S.COORDINATION

    subject: OnLedger[RefusalSubject]
    refused_by: OnLedger[ConsentGiver]
    circumstances: Care[Text | None] = None
