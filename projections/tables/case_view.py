"""The table of case views: one row for each viewer and case."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar
from uuid import UUID

from psycopg import Cursor
from psycopg.rows import DictRow
from pydantic_core import to_json

from ledger.procedure.case import Case
from ledger.procedure.case_access import agencies_with_access
from ledger.procedure.retention import is_owed_erasure, period_end
from ledger.vocabulary.case_reference import case_reference
from projections.folds.case_folder import CaseStep, Step
from projections.folds.case_view import CaseDocuments, Turn, viewers
from projections.folds.indicator_key import counted_as
from projections.folds.registry_history import RegistryHistory
from projections.tables.view import Row, View

# A correction can undo what had brought a country into a case.
_LEAVE = """
DELETE FROM views.case_views
WHERE slot = %(slot)s AND case_id = %(case_id)s AND NOT viewer = ANY(%(viewers)s)
"""


class CaseViews(View):
    """Every party's current view of its cases, and oversight's of all."""

    name: ClassVar[str] = "case_views"
    table: ClassVar[str] = "case_views"
    columns: ClassVar[Mapping[str, str]] = {
        "slot": "text",
        "viewer": "text",
        "case_id": "uuid",
        "version": "int8",
        "position": "int8",
        "opened_position": "int8",
        "reference": "text",
        "status": "text",
        "stage": "text",
        "priority": "text",
        "lead_agency": "text",
        "awaits_us": "bool",
        "next_due": "timestamptz",
        "waits_for": "text[]",
        "waits_until": "timestamptz[]",
        "counted_as": "text",
        "has_request": "bool",
        "has_basis": "bool",
        "has_danger": "bool",
        "shares_with": "text[]",
        "met_at": "timestamptz",
        "retention_due": "timestamptz",
        "opened_at": "timestamptz",
        "age_group": "text",
        "parties": "text[]",
        "our_steps": "text[]",
        "agencies": "text[]",
        "document": "jsonb",
    }
    key: ClassVar[tuple[str, ...]] = ("slot", "viewer", "case_id")
    identity: ClassVar[tuple[str, ...]] = key

    def write(self, curs: Cursor[DictRow], steps: Sequence[Step]) -> None:
        of_cases = [step for step in steps if isinstance(step, CaseStep)]
        last_of_case = {case.id: (step, case) for step in of_cases for case in _written(step)}
        left = {step.event.originator_id for step in of_cases if _a_party_left(step)}
        self.insert(curs, [row for last in last_of_case.values() for row in self._rows(*last)])
        for case_id in left:
            curs.execute(_LEAVE, self._remaining(*last_of_case[case_id]))

    def lasting(self, step: Step, history: RegistryHistory, *, is_last: bool) -> Iterator[Row]:  # noqa: ARG002
        if is_last and isinstance(step, CaseStep) and step.after is not None:
            yield from self._rows(step, step.after)

    def _rows(self, step: CaseStep, case: Case) -> Iterator[Row]:
        """Yield the rows of a case after an event, of its own or of a joined case."""
        state, agreement = case.state, step.registry.agreement
        told = step.documents.of(state)
        documents = CaseDocuments(state, agreement, case.history, told, _others(step, case))
        reference = case_reference(state.case_id)
        agencies = sorted(agencies_with_access(case.history.values()))
        alike, met = counted_as(state), state.facts.get("meeting_held")
        due = period_end(state, agreement.at(state.position, state.last_recorded_at))
        for viewer in viewers(state):
            view, waits = documents.of(viewer), documents.waiting(viewer)
            yield (
                self.slot,
                viewer,
                state.case_id,
                state.version,
                state.position,
                state.opened_position,
                reference,
                view["status"],
                view["stage"],
                view["priority"],
                view["lead_agency"],
                any(step["turn"] == Turn.OURS for step in view["expected"]),
                waits.next_due,
                list(waits.until),
                list(waits.until.values()),
                alike,
                bool(state.open_requests),
                bool(state.consents or state.sharing or "consent_return" in state.facts),
                bool(state.break_glass),
                [] if state.is_closed else [p for p in state.parties if p != viewer],
                met.since if met is not None else None,
                None if is_owed_erasure(state, viewer) else due,
                state.opened_at,
                view["age_group"],
                list(state.parties),
                sorted({s["action"] for s in view["expected"] if s["turn"] != Turn.THEIRS}),
                agencies,
                to_json(view),
            )

    def _remaining(self, _: CaseStep, case: Case) -> dict[str, Any]:
        return {"slot": self.slot, "case_id": case.id, "viewers": list(viewers(case.state))}


def _written(step: CaseStep) -> Iterator[Case]:
    """Yield the cases whose views an event may change: its own, and those joined with it."""
    if step.after is not None:
        yield step.after
    if step.reaches_joined:
        yield from step.joined.values()


def _others(step: CaseStep, case: Case) -> Mapping[UUID, Case]:
    """Return the cases that were joined with a case of the step."""
    cases = dict(step.joined)
    if step.joined and step.after is not None:
        cases[step.after.id] = step.after
    cases.pop(case.id, None)
    return cases


def _a_party_left(step: CaseStep) -> bool:
    if step.before is None or step.after is None:
        return False
    return not set(step.before.state.parties) <= set(step.after.state.parties)
