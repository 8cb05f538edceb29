"""Stage 3: long-term assistance and social inclusion."""

from datetime import date
from typing import Annotated, ClassVar

from pydantic import Field

from ledger.vocabulary.action import Action, Care, OnCase, OnLedger, Whereabouts
from ledger.vocabulary.documents import CaseDocument
from ledger.vocabulary.picklists import MonitoringFinding, SupportPlanType
from ledger.vocabulary.picklists import Stage as S
from ledger.vocabulary.types import ActionId, Text


class ReintegrationPlanned(Action):
    """A reintegration plan was agreed with the person or the guardian."""

    kind: ClassVar[str] = "reintegration_planned"
    stage: ClassVar[S] = S.INCLUSION

    plan_types: OnLedger[Annotated[tuple[SupportPlanType, ...], Field(min_length=1, max_length=9)]]
    planned_end_date: OnLedger[date | None] = None
    objectives: OnCase[Text | None] = None
    action_plan: Care[Text | None] = None
    care_document: Care[CaseDocument | None] = None
    """The plan."""


class ReintegrationPlanAgreed(Action):
    """The other country agrees with the plan of reintegration, before the departure."""

    kind: ClassVar[str] = "reintegration_plan_agreed"
    stage: ClassVar[S] = S.INCLUSION

    plan: OnLedger[ActionId]
    comments: OnCase[Text | None] = None


class ReintegrationMonitored(Action):
    """A follow-up visit or report on the person's reintegration."""

    kind: ClassVar[str] = "reintegration_monitored"
    stage: ClassVar[S] = S.INCLUSION

    finding: OnLedger[MonitoringFinding]
    next_visit: OnCase[date | None] = None
    report: OnCase[Text | None] = None
    care_note: Care[Text | None] = None
    home_address: Whereabouts[Text | None] = None
    care_document: Care[CaseDocument | None] = None
    """The report of the visit."""


class MonitoringClosed(Action):
    """No further visits are made; the finding says why."""

    kind: ClassVar[str] = "monitoring_closed"
    stage: ClassVar[S] = S.INCLUSION

    finding: OnLedger[MonitoringFinding]
    agreed_by_person: OnLedger[bool]
    report: OnCase[Text | None] = None
