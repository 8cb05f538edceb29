"""The state of a case: what the rules and the views need of its actions' ``ledger`` fields.

The state is folded from the actions by ``ledger.procedure.case_fold``.
"""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from pydantic import ConfigDict

from ledger.vocabulary.action import LedgerModel
from ledger.vocabulary.picklists import (
    CLOSED,
    AgeGroup,
    CaseStatus,
    ClosureReason,
    Priority,
    Stage,
    TraffickingStatus,
)
from ledger.vocabulary.types import UtcDatetime


class _StatePart(LedgerModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False)


class FactInForce(_StatePart):
    """Since when a fact holds, and by which action."""

    action: UUID
    since: UtcDatetime
    party: str


class ServiceInForce(_StatePart):
    service: str
    party: str
    since: UtcDatetime


class MeasureInForce(_StatePart):
    measure: str
    party: str
    since: UtcDatetime
    until: UtcDatetime | None = None


class ShelterInForce(_StatePart):
    """A country shelters the person. The case's countries alone know which shelter it is."""

    party: str
    since: UtcDatetime


class OpenRequest(_StatePart):
    """A request for information that has no full answer yet."""

    by: str
    addressee: str
    topics: tuple[str, ...]
    purpose: str
    since: UtcDatetime
    answer_by: str | None = None
    acknowledged: bool = False
    partly_answered: bool = False


class SentForm(_StatePart):
    """A communication form that one country sent another."""

    number: int
    by: str
    addressee: str
    since: UtcDatetime
    answers: UUID | None = None
    """The sending of the form that this one answers."""
    answered_by: int | None = None
    """The number of the form that is its answer, by the text in force when it was sent."""
    acknowledged: bool = False
    answered: bool = False


class OpenJointAction(_StatePart):
    joint_action: str
    responsible: tuple[str, ...]
    since: UtcDatetime
    due: str | None = None


class LeadOffer(_StatePart):
    offer: UUID
    by: str
    to: str
    since: UtcDatetime


class PlannedReturn(_StatePart):
    destination: str
    departed_from: str | None = None


class ConsentInForce(_StatePart):
    """A consent that names field groups: what may be read on it, and released to whom."""

    party: str
    scopes: tuple[str, ...]
    groups: tuple[str, ...]
    recipients: tuple[str, ...]
    since: UtcDatetime
    expires: str | None = None


class SharingInForce(_StatePart):
    """A best-interests decision on sharing."""

    party: str
    groups: tuple[str, ...]
    recipients: tuple[str, ...]
    since: UtcDatetime
    until: str | None = None


class BreakGlass(_StatePart):
    """An access in danger to life that some party's coordinator has not reviewed yet."""

    by: str
    danger: str
    groups: tuple[str, ...]
    since: UtcDatetime
    until: UtcDatetime
    to_review: tuple[str, ...]
    """The parties that have not said yet whether it was justified."""


class HoldInForce(_StatePart):
    party: str
    ground: str
    since: UtcDatetime


class AnnouncedErasure(_StatePart):
    """An announcement, in force, that what is held will be erased by the period of retention."""

    announcement: UUID
    by: str
    position: int
    announced_at: UtcDatetime
    """When the announcement was recorded."""
    closed_at: UtcDatetime
    kept_days: int
    erase_from: UtcDatetime


class RectificationAsked(_StatePart):
    """A request of the person to put the record right, which has no answer yet."""

    by: str
    """The agency that took the request."""
    party: str
    since: UtcDatetime


class LackingSafeguard(_StatePart):
    """The safeguards that an action lacked, while the person counted as an adult."""

    kind: str
    since: UtcDatetime
    safeguards: tuple[str, ...]
    """The facts that the protocol requires of that action for a child."""


class LinkInForce(_StatePart):
    """A link to another case, which the countries in ``told`` alone can read."""

    by: str
    party: str
    told: tuple[str, ...]
    since: UtcDatetime


class ProposedMerge(_StatePart):
    """A proposal that this case shall end and continue in another, which has no answer yet."""

    proposal: UUID
    by: str
    addressee: str
    since: UtcDatetime
    answer_by: str | None = None
    joined: str | None = None
    """The country that is party to the case by this proposal alone."""


class TakenIn(_StatePart):
    """A case of the same person that this case took in."""

    case: UUID
    proposal: UUID
    by: str
    since: UtcDatetime
    countries: tuple[str, ...] = ()
    """The countries that were party to that case before the proposal, or joined it otherwise."""


class AnnouncedUndoing(_StatePart):
    """An announcement that a merge shall be undone, which is not done yet."""

    announcement: UUID
    by: str
    since: UtcDatetime


class MergedInto(_StatePart):
    """The case in which this one continues."""

    case: UUID
    action: UUID
    """The action by which this case ended."""
    acceptance: UUID
    """The acceptance in the case that continues."""
    since: UtcDatetime
    undoing: AnnouncedUndoing | None = None


class Parted(_StatePart):
    """A case that this one was merged into, until the merge was undone."""

    case: UUID
    undoing: UUID
    """The undoing in that case."""


class Erasure(_StatePart):
    """The erasure of all that is held on the person: proposed, then owed, then confirmed."""

    ground: str | None
    """``None`` where the period of retention was over."""
    since: UtcDatetime
    proposal: UUID | None = None
    by: str | None = None
    order: UUID | None = None
    """The approval by a second person."""
    pending: tuple[str, ...] = ()
    """The parties that have not confirmed yet."""
    confirmed: tuple[str, ...] = ()


class ErrorClosing(_StatePart):
    """A proposal to close the case as opened in error."""

    proposal: UUID
    by: str
    since: UtcDatetime
    pending: tuple[str, ...]
    """The parties that have not agreed yet."""
    until: UtcDatetime | None = None
    """After this time the agreement counts no more; ``None`` where the rules have no period."""


class Destruction(_StatePart):
    """The destruction of what one annulled action disclosed: proposed, owed, then confirmed."""

    annulled: UUID
    """The action whose disclosures are destroyed."""
    by: str
    """The agency that proposed it."""
    since: UtcDatetime
    order: UUID | None = None
    """The approval by a second party."""
    position: int | None = None
    """The position of the approval."""
    stoppable_until: UtcDatetime | None = None
    """Until this time a legal hold, or the annulment of proposal or approval, stops it.

    ``None`` where the rules have no days of grace."""
    pending: tuple[str, ...] = ()
    """The parties that have not confirmed yet."""
    confirmed: tuple[str, ...] = ()

    def is_stoppable(self, at: datetime) -> bool:
        """Return whether the destruction is ordered and can still be stopped at a time."""
        return (
            self.order is not None
            and self.stoppable_until is not None
            and at < self.stoppable_until
            and not self.confirmed
        )


class CaseState(_StatePart):
    """Everything that the rules and the views need to know of a case."""

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
    facts: Mapping[str, FactInForce] = {}
    services: Mapping[UUID, ServiceInForce] = {}
    measures: Mapping[UUID, MeasureInForce] = {}
    shelter: ShelterInForce | None = None
    open_requests: Mapping[UUID, OpenRequest] = {}
    forms: Mapping[UUID, SentForm] = {}
    """The communication forms that were sent, by the action that sent each."""
    joint_actions: Mapping[UUID, OpenJointAction] = {}
    lead_offer: LeadOffer | None = None
    planned_return: PlannedReturn | None = None
    closed_at: UtcDatetime | None = None
    """When the closing was recorded, from which retention runs."""
    consents: Mapping[UUID, ConsentInForce] = {}
    sharing: Mapping[UUID, SharingInForce] = {}
    break_glass: Mapping[UUID, BreakGlass] = {}
    holds: Mapping[UUID, HoldInForce] = {}
    retention: AnnouncedErasure | None = None
    erasure: Erasure | None = None
    child_since: UtcDatetime | None = None
    """Since when a person counts as a child who counted as an adult before.

    From then on a child's safeguards are owed."""
    of_age_from: str | None = None
    """The first day of the quarter in which a child comes of age, where it was stated."""
    rectifications: Mapping[UUID, RectificationAsked] = {}
    unguarded: Mapping[UUID, LackingSafeguard] = {}
    """Actions in force that were taken without a child's safeguards."""
    error_closing: ErrorClosing | None = None
    destructions: Mapping[UUID, Destruction] = {}
    """Destructions of annulled actions' disclosures, by the proposal."""

    links: Mapping[UUID, LinkInForce] = {}
    merge_proposal: ProposedMerge | None = None
    taken_in: Mapping[UUID, TakenIn] = {}
    """The cases of the same person that were merged into this one, by the acceptance."""
    merged_into: MergedInto | None = None
    """The case in which this one continues; this one has ended."""
    parted: Mapping[UUID, Parted] = {}
    """The cases that this one was merged into once, by the undoing of the merge."""

    @property
    def is_erased(self) -> bool:
        """Return whether every party owes or has confirmed the erasure of its data."""
        erasure = self.erasure
        return erasure is not None and bool(erasure.order or erasure.confirmed)

    @property
    def opening(self) -> UUID | None:
        """Return the action that opened the case; ``None`` if the protocol has no such fact."""
        opened = self.facts.get("case_opened")
        return None if opened is None else opened.action

    @property
    def is_closed(self) -> bool:
        return self.status in CLOSED

    @property
    def is_child(self) -> bool:
        """Return whether the person has a child's safeguards.

        A person presumed to be a child has them too.
        """
        return self.age_group is not AgeGroup.ADULT

    def lacks_safeguard(self, action: UUID) -> bool:
        """Return whether an action in force lacks a safeguard that the person has now."""
        return self.is_child and action in self.unguarded
