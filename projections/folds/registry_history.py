"""The registry as it was at each position, for folding cases out of the ledger's order."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from ledger.events.event import ActionRecorded
from ledger.procedure import registry as registries
from ledger.procedure.registry import Registry, SignatureState
from projections.folds.case_folder import RegistryStep, applied_act

_CHANGES_NO_RULE = "readings_anchored"
"""The one act that comes often, and that no case's fold asks for."""


@dataclass(frozen=True, slots=True)
class _Mark:
    """A revocation of a key, or the time ``since`` when it was compromised."""

    position: int
    since: datetime | None


@dataclass
class RegistryHistory:
    """Every act on the protocol up to a position, folded.

    How far access logs are fixed is left out of what :meth:`at` gives.
    """

    _positions: list[int] = field(default_factory=list)
    _registries: list[Registry] = field(default_factory=list)
    _marks: dict[str, list[_Mark]] = field(default_factory=dict)

    def fold(self, events: Iterable[ActionRecorded]) -> Iterator[RegistryStep]:
        """Fold all of the registry's events once, and yield each as a step when it is asked for.

        Raises ``NewerEventError`` if an event needs a later program.
        """
        registry: Registry | None = None
        for event in events:
            if event.position is None or event.recorded_at is None:
                raise ValueError("the event is not recorded yet")
            before = registry
            registry, noted = applied_act(before, event)
            if event.action.kind != _CHANGES_NO_RULE:
                self._positions.append(event.position)
                self._registries.append(registry)
            for key_id, since in registries.ended_keys(before, registry):
                self._marks.setdefault(key_id, []).append(_Mark(event.position, since))
            yield RegistryStep(event, before, registry, noted)

    @property
    def latest(self) -> Registry:
        """Return the registry after all acts. Raises ``ValueError`` if there are none."""
        if not self._registries:
            raise ValueError("the ledger does not begin with the adoption of a protocol")
        return self._registries[-1]

    def at(self, position: int) -> Registry:
        """Return the registry in force for the event at ``position``.

        Raises ``ValueError`` if no protocol is adopted there.
        """
        place = bisect_right(self._positions, position)
        if place == 0:
            raise ValueError("the ledger does not begin with the adoption of a protocol")
        return self._registries[place - 1]

    def marked(self, state: SignatureState, event: ActionRecorded) -> SignatureState:
        """Return an event's signature state after later acts, given its first ``state``."""
        marks = self._marks.get(event.action.key_id)
        if not marks or event.position is None or event.recorded_at is None:
            return state
        for mark in marks:
            if mark.position < event.position:
                continue  # known to the registry that judged the signature
            if state is SignatureState.VALID:
                state = SignatureState.VALID_KEY_SINCE_REVOKED
            if (
                state is SignatureState.VALID_KEY_SINCE_REVOKED
                and mark.since is not None
                and event.recorded_at >= mark.since
            ):
                state = SignatureState.KEY_COMPROMISED_THEN
        return state
