"""Events in ledger order become steps: each event with its case before and after it."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol as Interface
from uuid import UUID

from ledger import registry as registries
from ledger.case import Case
from ledger.event import ActionRecorded
from ledger.registry import Registry
from ledger.vocabulary import REGISTRY_ACTIONS


class History(Interface):
    """Where earlier events are read when they are not at hand."""

    def events(self, originator_id: UUID, *, before: int) -> Sequence[ActionRecorded]:
        """The events of a case, or of the registry, at positions below ``before``."""

    def ledger_id(self) -> UUID | None:
        """The id of the registry's events, or ``None`` while the ledger is empty."""


@dataclass(frozen=True, slots=True)
class CaseStep:
    """One event of a case, with the case before and after it."""

    event: ActionRecorded
    before: Case | None
    after: Case
    registry: Registry


@dataclass(frozen=True, slots=True)
class RegistryStep:
    """One act on the protocol, with the registry before and after it."""

    event: ActionRecorded
    before: Registry | None
    after: Registry


Step = CaseStep | RegistryStep


class Folder:
    """Keeps the cases last touched, and reads the others' histories again when needed."""

    def __init__(self, history: History, *, keep: int = 2_000) -> None:
        self._history = history
        self._keep = keep
        self._cases: OrderedDict[UUID, Case] = OrderedDict()
        self._registry: Registry | None = None

    def step(self, event: ActionRecorded) -> Step:
        """Fold the next event in ledger order."""
        position = event.position
        if position is None or event.recorded_at is None:
            raise ValueError("the event is not recorded yet")
        if self._registry is None and position > 1:
            self._registry = self._registry_before(position)
        if event.action.kind in REGISTRY_ACTIONS:
            before = self._registry
            self._registry = registries.evolve(before, event.action, event.recorded_at, position)
            return RegistryStep(event, before, self._registry)
        if self._registry is None:
            raise ValueError("the ledger does not begin with the adoption of a protocol")
        return self._case_step(event, position, self._registry)

    def _case_step(self, event: ActionRecorded, position: int, registry: Registry) -> CaseStep:
        project = Case.projector(registry.protocol)
        before = self._cases.pop(event.originator_id, None)
        if (before.version if before else 0) != event.originator_version - 1:
            before = project(None, self._history.events(event.originator_id, before=position))
        after = project(before, [event])
        if after is None:
            raise ValueError("an event leaves its case")
        self._cases[after.id] = after
        if len(self._cases) > self._keep:
            self._cases.popitem(last=False)
        return CaseStep(event, before, after, registry)

    def _registry_before(self, position: int) -> Registry | None:
        ledger_id = self._history.ledger_id()
        registry: Registry | None = None
        if ledger_id is not None:
            for event in self._history.events(ledger_id, before=position):
                if event.recorded_at is not None and event.position is not None:
                    registry = registries.evolve(
                        registry, event.action, event.recorded_at, event.position
                    )
        return registry
