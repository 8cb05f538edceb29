"""Events in ledger order become steps: each event with its case before and after it."""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Protocol as Interface
from uuid import UUID

from ledger.events.event import ActionRecorded
from ledger.events.newer_event import NewerEventError, check_understood, understood
from ledger.procedure import registry as registries
from ledger.procedure.case import Case, after_event
from ledger.procedure.protocol import NewerTextError
from ledger.procedure.registry import Registry
from ledger.signing.signed_action import Mark
from projections.folds.joined_cases import ACCEPTANCE, REACHING, JoinedCases
from projections.folds.state_json import Document, StateDocuments


class EarlierEvents(Interface):
    """A source of earlier events that are not in memory."""

    def events(self, originator_ids: Collection[UUID], *, before: int) -> Iterable[ActionRecorded]:
        """Return the events of cases at positions below ``before``, one case after another."""

    def acts(self, *, before: int) -> Iterable[ActionRecorded]:
        """Return the acts on the protocol at positions below ``before``, one page at a time.

        Only one page is in memory.
        """

    def acceptances(self, *, before: int) -> Iterable[ActionRecorded]:
        """Return the acceptances of merges at positions below ``before``."""


@dataclass(frozen=True, slots=True)
class CaseStep:
    """One event of a case, with the case before and after it."""

    event: ActionRecorded
    before: Case | None
    after: Case | None
    """``None`` while no event that is understood has opened the case."""
    registry: Registry
    documents: StateDocuments
    """Of the case's states, so that they are made once for all views."""
    mark: Mark | None = None
    """The marks on the event."""
    joined: Mapping[UUID, Case] = field(default_factory=dict)
    """The other cases that were ever joined with it by a merge, as far as the fold has come."""

    @property
    def reaches_joined(self) -> bool:
        """Return whether the event may change what is owed in the joined cases."""
        return bool(self.joined) and self.event.action.kind in REACHING

    @property
    def document_before(self) -> Document:
        """Return the state before the event, which is empty if the event opened the case."""
        return self.documents.of(self.before.state if self.before else None)

    @property
    def document_after(self) -> Document:
        """Return the state after the event."""
        return self.documents.of(self.after.state if self.after else None)


@dataclass(frozen=True, slots=True)
class RegistryStep:
    """One act on the protocol, with the registry before and after it."""

    event: ActionRecorded
    before: Registry | None
    after: Registry
    mark: Mark | None = None
    """The marks on the event."""


Step = CaseStep | RegistryStep


class Folder:
    """Keeps the cases last touched, and reads the others' histories again when needed."""

    def __init__(self, history: EarlierEvents, *, keep: int = 2_000) -> None:
        self._history = history
        self._keep = keep
        self._cases: OrderedDict[UUID, Case] = OrderedDict()
        self._documents = StateDocuments(keep)
        self._registry: Registry | None = None
        self._joined = JoinedCases()

    def steps(self, events: Sequence[ActionRecorded]) -> list[Step]:
        """Fold the next events in ledger order; the histories they need are read at once.

        The steps end before the first event that needs a later program. Raises ``NewerEventError``
        if there is no event before it.
        """
        if not events or events[0].position is None:
            return [self.step(event) for event in events]
        self._begin(events[0].position)
        if self._registry is not None:
            first_seen = {e.originator_id: e.originator_version for e in reversed(events)}
            behind = [
                originator
                for originator, version in first_seen.items()
                if version > 1
                and originator != self._registry.ledger_id
                and self._version(originator) != version - 1
            ]
            if len(behind) > 1:
                self._load(behind, events[0].position, self._registry)
        folded: list[Step] = []
        for event in events:
            try:
                folded.append(self.step(event))
            except NewerEventError:
                if not folded:
                    raise
                break
        return folded

    def step(self, event: ActionRecorded) -> Step:
        """Fold the next event in ledger order.

        Raises ``NewerEventError`` if the event, or an earlier one of its case, needs a later
        program.
        """
        position = event.position
        if position is None:
            raise ValueError("the event is not recorded yet")
        self._begin(position)
        before = self._registry
        if before is None or event.originator_id == before.ledger_id:
            self._registry, mark = applied_act(before, event)
            return RegistryStep(event, before, self._registry, mark)
        check_understood(event)
        return self._case_step(event, position, before)

    def _case_step(self, event: ActionRecorded, position: int, registry: Registry) -> CaseStep:
        case_id = event.originator_id
        if self._version(case_id) != event.originator_version - 1:
            self._cases.pop(case_id, None)
            self._load([case_id], position, registry)
        before = self._cases.pop(case_id, None)
        after, mark = after_event(before, event, registry.agreement)
        if after is not None:
            self._cases[case_id] = after
            while len(self._cases) > self._keep:
                self._cases.popitem(last=False)
        joined = self._joined_with(event, position, registry)
        return CaseStep(event, before, after, registry, self._documents, mark, joined)

    def _joined_with(
        self, event: ActionRecorded, position: int, registry: Registry
    ) -> Mapping[UUID, Case]:
        """Return the cases that were ever joined with that of an event, as of the event."""
        if event.action.kind == ACCEPTANCE:
            self._joined.add(event.as_act())
        others = self._joined.others(event.originator_id)
        self._load(others - self._cases.keys(), position, registry)
        return {other: self._cases[other] for other in others if other in self._cases}

    def _version(self, case_id: UUID) -> int:
        case = self._cases.get(case_id)
        return case.version if case else 0

    def _load(self, case_ids: Collection[UUID], before: int, registry: Registry) -> None:
        if not case_ids:
            return
        project = Case.projector(registry.agreement)
        earlier = self._history.events(case_ids, before=before)
        for case_id, events in groupby(earlier, key=lambda event: event.originator_id):
            if (case := project(None, understood(events))) is not None:
                self._cases[case_id] = case

    def _begin(self, position: int) -> None:
        if self._registry is None and position > 1:
            earlier = self._history.acceptances(before=position)
            self._joined = JoinedCases(event.as_act() for event in earlier)
            self._registry = self._registry_before(position)

    def _registry_before(self, position: int) -> Registry | None:
        registry: Registry | None = None
        for event in self._history.acts(before=position):
            registry, _ = applied_act(registry, event)
        return registry


def applied_act(registry: Registry | None, event: ActionRecorded) -> tuple[Registry, Mark | None]:
    """Return the registry after an act on the protocol, and the act's mark, if it has one.

    Raises ``NewerEventError`` if the act needs a later program.
    """
    try:
        after, mark = registries.applied(registry, event)
    except NewerTextError as error:
        raise NewerEventError(event.position or 0) from error
    if mark is not None and mark.is_newer:
        raise NewerEventError(event.position or 0)
    return after, mark
