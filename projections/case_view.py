"""A country's current view of a case: a pure function of the case's state."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from uuid import UUID

from ledger.case_state import (
    BreakGlass,
    CaseState,
    ConsentInForce,
    Erasure,
    FactInForce,
    HoldInForce,
    LeadOffer,
    MeasureInForce,
    PlannedReturn,
    ServiceInForce,
    SharingInForce,
    ShelterInForce,
)
from ledger.protocol import Protocol
from ledger.vocabulary.action import LedgerModel
from ledger.vocabulary.picklists import (
    AgeGroup,
    CaseStatus,
    ClosureReason,
    Priority,
    Stage,
    TraffickingStatus,
)
from ledger.vocabulary.types import UtcDatetime
from projections.expected_steps import ExpectedStep, expected_steps

OVERSIGHT_VIEWER = "oversight"
"""The viewer that is no party and sees the ``ledger`` level of every case."""


class Turn(StrEnum):
    """Whose move it is, as the viewer sees it."""

    OURS = "ours"
    THEIRS = "theirs"
    ANY = "any"


class ServiceView(ServiceInForce):
    action: UUID


class MeasureView(MeasureInForce):
    action: UUID


class RequestView(LedgerModel):
    """A request for information that waits for its answer."""

    action: UUID
    turn: Turn
    by: str
    addressee: str
    topics: tuple[str, ...]
    purpose: str
    since: UtcDatetime
    answer_by: str | None = None
    acknowledged: bool
    partly_answered: bool


class JointActionView(LedgerModel):
    """A joint action that was agreed and is not reported done."""

    action: UUID
    turn: Turn
    joint_action: str
    responsible: tuple[str, ...]
    since: UtcDatetime
    due: str | None = None


class ConsentView(ConsentInForce):
    action: UUID


class SharingView(SharingInForce):
    action: UUID


class BreakGlassView(BreakGlass):
    action: UUID


class HoldView(HoldInForce):
    action: UUID


class StepView(ExpectedStep):
    turn: Turn


class CaseView(LedgerModel):
    """A case as one country sees it now, or saw it at a position."""

    viewer: str
    case_id: UUID
    version: int
    position: int
    opened_position: int
    status: CaseStatus
    stage: Stage
    age_group: AgeGroup
    trafficking_status: TraffickingStatus
    priority: Priority
    lead_agency: str
    parties: tuple[str, ...]
    opened_at: UtcDatetime
    last_acted_at: UtcDatetime
    last_recorded_at: UtcDatetime
    closure: ClosureReason | None = None
    facts: Mapping[str, FactInForce]
    """What holds of the case by the procedure, since when, by which action."""
    shelter: ShelterInForce | None = None
    services: tuple[ServiceView, ...]
    measures: tuple[MeasureView, ...]
    open_requests: tuple[RequestView, ...]
    joint_actions: tuple[JointActionView, ...]
    lead_offer: LeadOffer | None = None
    planned_return: PlannedReturn | None = None
    consents: tuple[ConsentView, ...] = ()
    """Those that name field groups, on which personal fields may be read."""
    sharing: tuple[SharingView, ...] = ()
    break_glass: tuple[BreakGlassView, ...] = ()
    """Accesses in danger to life that are not reviewed by every party."""
    holds: tuple[HoldView, ...] = ()
    erasure: Erasure | None = None
    expected: tuple[StepView, ...]
    """Next steps that the procedure or another agency expects, the first due first."""

    @property
    def awaits_us(self) -> bool:
        """Whether some expected step is the viewer's."""
        return any(step.turn is Turn.OURS for step in self.expected)


def viewers(state: CaseState) -> tuple[str, ...]:
    """Who has a view of this case: its parties, and oversight."""
    return (*state.parties, OVERSIGHT_VIEWER)


def case_view(state: CaseState, viewer: str, protocol: Protocol) -> CaseView:
    """The view of ``viewer``, who must be one of :func:`viewers`. Raises ``ValueError``."""
    if viewer not in viewers(state):
        raise ValueError(f"{viewer} has no view of this case")

    def turn(agencies: Iterable[str]) -> Turn:
        return _turn({protocol.agencies_by_id[a].party for a in agencies}, viewer)

    return CaseView(
        viewer=viewer,
        case_id=state.case_id,
        version=state.version,
        position=state.position,
        opened_position=state.opened_position,
        status=state.status,
        stage=state.stage,
        age_group=state.age_group,
        trafficking_status=state.trafficking_status,
        priority=state.priority,
        lead_agency=state.lead_agency,
        parties=state.parties,
        opened_at=state.opened_at,
        last_acted_at=state.last_acted_at,
        last_recorded_at=state.last_recorded_at,
        closure=state.closure,
        facts=state.facts,
        shelter=state.shelter,
        services=tuple(
            ServiceView(action=action, **service.model_dump())
            for action, service in state.services.items()
        ),
        measures=tuple(
            MeasureView(action=action, **measure.model_dump())
            for action, measure in state.measures.items()
        ),
        open_requests=tuple(
            RequestView(action=action, turn=turn([request.addressee]), **request.model_dump())
            for action, request in state.open_requests.items()
        ),
        joint_actions=tuple(
            JointActionView(action=action, turn=turn(agreed.responsible), **agreed.model_dump())
            for action, agreed in state.joint_actions.items()
        ),
        lead_offer=state.lead_offer,
        planned_return=state.planned_return,
        consents=tuple(ConsentView(action=a, **c.model_dump()) for a, c in state.consents.items()),
        sharing=tuple(SharingView(action=a, **d.model_dump()) for a, d in state.sharing.items()),
        break_glass=tuple(
            BreakGlassView(action=a, **b.model_dump()) for a, b in state.break_glass.items()
        ),
        holds=tuple(HoldView(action=a, **h.model_dump()) for a, h in state.holds.items()),
        erasure=state.erasure,
        expected=tuple(
            StepView(turn=_turn({step.party}, viewer), **step.model_dump())
            for step in expected_steps(state, protocol)
        ),
    )


def _turn(parties: set[str | None], viewer: str) -> Turn:
    if viewer in parties:
        return Turn.OURS
    return Turn.ANY if None in parties else Turn.THEIRS
