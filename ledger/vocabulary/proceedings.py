"""Stage 5: criminal and civil proceedings."""

from datetime import date
from decimal import Decimal
from typing import Annotated, ClassVar

from pydantic import Field

from ledger.vocabulary.action import Action, OnCase, OnLedger, Proceedings
from ledger.vocabulary.documents import CaseDocument
from ledger.vocabulary.picklists import (
    AppealOutcome,
    Appellant,
    CompensationBody,
    CompensationState,
    HearingKind,
    InvestigationState,
    NonPunishment,
    Offence,
    PerpetratorRole,
    StatementSetting,
    Verdict,
)
from ledger.vocabulary.picklists import Stage as S
from ledger.vocabulary.types import Name, Text


class Investigated(Action):
    """An investigation was opened, extended, suspended or completed."""

    kind: ClassVar[str] = "investigated"
    stage: ClassVar[S] = S.PROCEEDINGS

    state: OnLedger[InvestigationState]
    reference: OnCase[Name | None] = None
    perpetrator_roles: OnCase[
        Annotated[tuple[PerpetratorRole, ...], Field(max_length=15)] | None
    ] = None
    suspects: Proceedings[Text | None] = None


class Charged(Action):
    """Charges were brought."""

    kind: ClassVar[str] = "charged"
    stage: ClassVar[S] = S.PROCEEDINGS

    offences: OnCase[Annotated[tuple[Offence, ...], Field(min_length=1, max_length=6)]]
    reference: OnCase[Name | None] = None
    accused: Proceedings[Text | None] = None


class HearingHeld(Action):
    """A hearing was held."""

    kind: ClassVar[str] = "hearing_held"
    stage: ClassVar[S] = S.PROCEEDINGS

    hearing: OnLedger[HearingKind]
    victim_protected: OnLedger[bool]
    """Whether the victim was heard with protective measures, or not exposed at all."""
    minutes: Proceedings[Text | None] = None
    proceedings_document: Proceedings[CaseDocument | None] = None
    """The minutes of the hearing."""


class JudgmentGiven(Action):
    """A court gave judgment."""

    kind: ClassVar[str] = "judgment_given"
    stage: ClassVar[S] = S.PROCEEDINGS

    final: OnLedger[bool]
    verdict: OnCase[Verdict]
    summary: Proceedings[Text | None] = None
    proceedings_document: Proceedings[CaseDocument | None] = None
    """The judgment."""


class CompensationRecorded(Action):
    """Compensation of the victim was claimed, awarded, paid or refused."""

    kind: ClassVar[str] = "compensation_recorded"
    stage: ClassVar[S] = S.PROCEEDINGS

    state: OnLedger[CompensationState]
    amount_eur: Proceedings[Annotated[Decimal, Field(ge=0, decimal_places=2)] | None] = None
    due: OnCase[date | None] = None


class StatementTaken(Action):
    """A statement of the victim was taken before charges were brought."""

    kind: ClassVar[str] = "statement_taken"
    stage: ClassVar[S] = S.PROCEEDINGS

    setting: OnLedger[StatementSetting]
    support_person: OnLedger[bool]
    """Whether a person of trust was present."""
    recorded_once: OnLedger[bool]
    """Whether the statement was recorded, so that it need not be given again."""
    testimony: Proceedings[Text | None] = None
    proceedings_document: Proceedings[CaseDocument | None] = None
    """The record of the statement."""


class AppealFiled(Action):
    """An appeal was filed against the finding that the person is not a victim."""

    kind: ClassVar[str] = "appeal_filed"
    stage: ClassVar[S] = S.PROCEEDINGS

    filed_by: OnLedger[Appellant]
    appeal_grounds: OnCase[Text | None] = None


class AppealDecided(Action):
    """An appeal against the finding that the person is not a victim was decided."""

    kind: ClassVar[str] = "appeal_decided"
    stage: ClassVar[S] = S.PROCEEDINGS

    appeal_outcome: OnLedger[AppealOutcome]
    reasoning: OnCase[Text | None] = None


class NonPunishmentRecorded(Action):
    """A decision on the punishment of the person for an act that the exploiters compelled."""

    kind: ClassVar[str] = "non_punishment_recorded"
    stage: ClassVar[S] = S.PROCEEDINGS

    non_punishment: OnLedger[NonPunishment]
    compelled_act: Proceedings[Text | None] = None


class CompensationLimitSet(Action):
    """The last day on which compensation can be claimed."""

    kind: ClassVar[str] = "compensation_limit_set"
    stage: ClassVar[S] = S.PROCEEDINGS

    claim_by: OnLedger[date]
    claim_body: OnCase[CompensationBody]
