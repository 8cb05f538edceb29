"""The Case aggregate: its state, its history, and the one decision it takes."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from ledger import rules
from ledger.case_state import Act, CaseState, annuls, evolve, fold
from ledger.event import ActionRecorded
from ledger.protocol import Protocol
from ledger.signing import SignedAction


@dataclass(frozen=True, slots=True)
class Case:
    """One person's case across countries: an immutable aggregate."""

    id: UUID
    version: int
    state: CaseState
    history: Mapping[UUID, Act]

    @staticmethod
    def projector(
        protocol: Protocol,
    ) -> Callable[["Case | None", Iterable[ActionRecorded]], "Case | None"]:
        """A projector function for ``eventsourcing``'s repository, under ``protocol``."""

        def project(case: Case | None, events: Iterable[ActionRecorded]) -> Case | None:
            for event in events:
                case = _after(case, event.as_act(), protocol)
            return case

        return project


def decide(
    case: Case | None,
    action: SignedAction,
    case_id: UUID,
    protocol: Protocol,
    now: datetime,
    *,
    not_before: datetime | None = None,
) -> ActionRecorded:
    """The event that ``action`` becomes. Raises ``Refusal`` where the rules refuse it.

    ``not_before`` is when it was decided at the earliest, where that was before ``now``.
    """
    version = (case.version if case else 0) + 1
    proposed = Act(
        id=action.id,
        kind=action.kind,
        case_id=case_id,
        version=version,
        position=0,
        agency=action.agency,
        acted_at=action.acted_at,
        recorded_at=now,
        fields=action.fields,
        key_id=action.key_id,
        digests=frozenset(action.digests),
    )
    rules.decide(
        case.state if case else None,
        case.history if case else {},
        proposed,
        protocol,
        now,
        not_before,
    )
    return ActionRecorded(case_id, version, action)


def _after(case: Case | None, act: Act, protocol: Protocol) -> Case:
    if case is None:
        return Case(act.case_id, act.version, evolve(None, act, protocol), {act.id: act})
    history = {**case.history, act.id: act}
    state = (
        fold(tuple(history.values()), protocol)
        if annuls(act)
        else evolve(case.state, act, protocol)
    )
    if state is None:
        raise ValueError(f"case {act.case_id} has no opening")
    return replace(case, version=act.version, state=state, history=history)
