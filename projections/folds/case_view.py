"""A country's current view of a case: a pure function of the case's state."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from uuid import UUID

from ledger.events.act import Act
from ledger.procedure.agreement import Agreement
from ledger.procedure.case_state import (
    AnnouncedErasure,
    BreakGlass,
    CaseState,
    ConsentInForce,
    Destruction,
    Erasure,
    ErrorClosing,
    FactInForce,
    HoldInForce,
    LackingSafeguard,
    LeadOffer,
    LinkInForce,
    MeasureInForce,
    MergedInto,
    Parted,
    PlannedReturn,
    ProposedMerge,
    RectificationAsked,
    SentForm,
    ServiceInForce,
    SharingInForce,
    ShelterInForce,
    TakenIn,
)
from ledger.procedure.merged_cases import NO_OTHERS, OtherCases
from ledger.vocabulary.action import LedgerModel
from ledger.vocabulary.picklists import (
    AgeGroup,
    CaseStatus,
    ClosureReason,
    Priority,
    Stage,
    TraffickingStatus,
)
from ledger.vocabulary.types import UtcDatetime, format_utc
from projections.folds.due_index import DueSteps, waiting
from projections.folds.expected_steps import ExpectedStep, expected_steps
from projections.folds.state_json import STATE_FIELDS, Document, document, state_document

OVERSIGHT_VIEWER = "oversight"
"""The viewer that is no party and sees the ``ledger`` level of every case."""


class Turn(StrEnum):
    """The side that has the next move, as the viewer sees it."""

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


class FormView(SentForm):
    action: UUID


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


class RectificationView(RectificationAsked):
    action: UUID


class UnguardedView(LackingSafeguard):
    action: UUID


class DestructionView(Destruction):
    action: UUID


class LinkView(LinkInForce):
    action: UUID


class TakenInView(TakenIn):
    action: UUID


class PartedView(Parted):
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
    closed_at: UtcDatetime | None = None
    """When the closing was recorded."""
    facts: Mapping[str, FactInForce]
    """The facts that hold of the case by the procedure, each with its time and its action."""
    shelter: ShelterInForce | None = None
    services: tuple[ServiceView, ...]
    measures: tuple[MeasureView, ...]
    open_requests: tuple[RequestView, ...]
    forms: tuple[FormView, ...] = ()
    """The communication forms that were sent, the oldest first."""
    joint_actions: tuple[JointActionView, ...]
    lead_offer: LeadOffer | None = None
    planned_return: PlannedReturn | None = None
    consents: tuple[ConsentView, ...] = ()
    """Those that name field groups, on which personal fields may be read."""
    sharing: tuple[SharingView, ...] = ()
    break_glass: tuple[BreakGlassView, ...] = ()
    """Accesses in danger to life that are not reviewed by every party."""
    holds: tuple[HoldView, ...] = ()
    retention: AnnouncedErasure | None = None
    """The announced erasure by the period of retention, while nothing stops it."""
    erasure: Erasure | None = None
    child_since: UtcDatetime | None = None
    of_age_from: str | None = None
    """The first day of the quarter in which a child comes of age, where it was stated."""
    rectifications: tuple[RectificationView, ...] = ()
    """The person's requests to put the record right that have no answer yet."""
    unguarded: tuple[UnguardedView, ...] = ()
    """Actions in force that were taken while the person counted as an adult, without a child's
    safeguards; what lacks now, if the person is a child."""
    error_closing: ErrorClosing | None = None
    """The proposal to close the case as opened in error, while it stands."""
    destructions: tuple[DestructionView, ...] = ()
    """Destructions of what annulled actions disclosed: proposed, ordered or confirmed."""
    links: tuple[LinkView, ...] = ()
    merge_proposal: ProposedMerge | None = None
    """A proposal, without an answer, that this case shall end and continue in another."""
    taken_in: tuple[TakenInView, ...] = ()
    """The cases of the same person that were merged into this one."""
    merged_into: MergedInto | None = None
    """The case in which this one continues; this one has ended."""
    parted: tuple[PartedView, ...] = ()
    """The cases that this one was merged into, until the merge was undone."""
    expected: tuple[StepView, ...]
    """Next steps that the procedure or another agency expects, the first due first."""

    @property
    def awaits_us(self) -> bool:
        """Return whether some expected step is the viewer's."""
        return any(step.turn is Turn.OURS for step in self.expected)


def viewers(state: CaseState) -> tuple[str, ...]:
    """Return the viewers that have a view of this case: its parties, and oversight."""
    return (*state.parties, OVERSIGHT_VIEWER)


def case_view(
    state: CaseState,
    viewer: str,
    agreement: Agreement,
    acts: Mapping[UUID, Act],
    others: OtherCases = NO_OTHERS,
) -> CaseView:
    """Return the view of ``viewer``, who must be one of :func:`viewers`.

    ``acts`` are the case's acts by id, and ``others`` the cases that were ever joined with it.
    Raises ``ValueError`` if ``viewer`` has no view of the case.
    """
    if viewer not in viewers(state):
        raise ValueError(f"{viewer} has no view of this case")
    documents = CaseDocuments(state, agreement, acts, state_document(state), others)
    return CaseView.model_validate(documents.of(viewer))


class CaseDocuments:
    """The views of a case as their JSON documents: what every viewer sees is written once."""

    def __init__(
        self,
        state: CaseState,
        agreement: Agreement,
        acts: Mapping[UUID, Act],
        told: Document,
        others: OtherCases = NO_OTHERS,
    ) -> None:
        """Write the parts of the case's document that every viewer sees.

        ``acts`` are the case's acts by id. ``told`` is the state's document. ``others`` are the
        cases that were ever joined with it.
        """
        self._protocol = agreement.at(state.position, state.last_recorded_at)
        self._common: Document = {
            "version": state.version,
            "position": state.position,
            "last_recorded_at": format_utc(state.last_recorded_at),
        }
        for name in _COMMON:
            self._common[name] = told[name]
        for name in _BY_ACTION:
            parts = told[name]
            self._common[name] = [part | {"action": action} for action, part in parts.items()]
        self._requests = [
            (part | {"action": action}, self._parties([part["addressee"]]))
            for action, part in told["open_requests"].items()
        ]
        self._joint_actions = [
            (part | {"action": action}, self._parties(part["responsible"]))
            for action, part in told["joint_actions"].items()
        ]
        self._steps = expected_steps(state, agreement, acts, others)
        self._expected = [(document(step), {step.party}) for step in self._steps]

    def waiting(self, viewer: str) -> DueSteps:
        """Return the viewer's agencies and roles that the case waits for."""
        return waiting(self._steps, viewer, self._protocol)

    def of(self, viewer: str) -> Document:
        """Return the :class:`CaseView` of ``viewer`` as its JSON document."""
        return self._common | {
            "viewer": viewer,
            "open_requests": [p | {"turn": _turn(whose, viewer)} for p, whose in self._requests],
            "joint_actions": [
                p | {"turn": _turn(whose, viewer)} for p, whose in self._joint_actions
            ],
            "expected": [p | {"turn": _turn(whose, viewer)} for p, whose in self._expected],
        }

    def _parties(self, agencies: Iterable[str]) -> set[str | None]:
        return {self._protocol.agencies_by_id[agency].party for agency in agencies}


_BY_ACTION = (
    "forms",
    "services",
    "measures",
    "consents",
    "sharing",
    "break_glass",
    "holds",
    "rectifications",
    "unguarded",
    "destructions",
    "links",
    "taken_in",
    "parted",
)
"""Parts that the state keeps by the action that brought them; a view lists them."""
_COMMON = tuple(
    name
    for name in CaseView.model_fields
    if name in STATE_FIELDS and name not in (*_BY_ACTION, "open_requests", "joint_actions")
)


def _turn(parties: set[str | None], viewer: str) -> str:
    if viewer in parties:
        return Turn.OURS.value
    return Turn.ANY.value if None in parties else Turn.THEIRS.value
