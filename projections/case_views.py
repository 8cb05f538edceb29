"""The table of case views: one row for each viewer and case."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar
from uuid import UUID

from psycopg import Cursor
from psycopg.rows import DictRow

from projections.case_view import CaseView, case_view, viewers
from projections.folding import CaseStep, Step
from projections.view import View

_UPSERT = """
INSERT INTO views.case_views (slot, viewer, case_id, version, position, opened_position,
    status, stage, priority, lead_agency, awaits_us, document)
VALUES (%(slot)s, %(viewer)s, %(case_id)s, %(version)s, %(position)s, %(opened_position)s,
    %(status)s, %(stage)s, %(priority)s, %(lead_agency)s, %(awaits_us)s, %(document)s::jsonb)
ON CONFLICT (slot, viewer, case_id) DO UPDATE SET
    version = EXCLUDED.version, position = EXCLUDED.position,
    opened_position = EXCLUDED.opened_position, status = EXCLUDED.status,
    stage = EXCLUDED.stage, priority = EXCLUDED.priority,
    lead_agency = EXCLUDED.lead_agency, awaits_us = EXCLUDED.awaits_us,
    document = EXCLUDED.document
"""

# A correction can undo what had brought a country into a case.
_LEAVE = """
DELETE FROM views.case_views
WHERE slot = %(slot)s AND case_id = %(case_id)s AND NOT viewer = ANY(%(viewers)s)
"""


class CaseViews(View):
    """Every party's current view of its cases, and oversight's of all."""

    name: ClassVar[str] = "case_views"
    table: ClassVar[str] = "case_views"

    def write(self, curs: Cursor[DictRow], steps: Sequence[Step]) -> None:
        last_of_case = {s.after.id: s for s in steps if isinstance(s, CaseStep)}
        left = [s for s in steps if isinstance(s, CaseStep) and _a_party_left(s)]
        rows = [row for step in last_of_case.values() for row in self._rows(step)]
        if rows:
            curs.executemany(_UPSERT, rows)
        for case_id in {step.after.id for step in left}:
            curs.execute(_LEAVE, self._remaining(case_id, last_of_case[case_id]))

    def _rows(self, step: CaseStep) -> Iterator[dict[str, Any]]:
        state = step.after.state
        for viewer in viewers(state):
            view = case_view(state, viewer, step.registry.protocol)
            yield {"slot": self.slot, **_columns(view)}

    def _remaining(self, case_id: UUID, step: CaseStep) -> dict[str, Any]:
        return {"slot": self.slot, "case_id": case_id, "viewers": list(viewers(step.after.state))}


def _columns(view: CaseView) -> dict[str, Any]:
    return {
        "viewer": view.viewer,
        "case_id": view.case_id,
        "version": view.version,
        "position": view.position,
        "opened_position": view.opened_position,
        "status": view.status.value,
        "stage": view.stage.value,
        "priority": view.priority.value,
        "lead_agency": view.lead_agency,
        "awaits_us": view.awaits_us,
        "document": view.model_dump_json(),
    }


def _a_party_left(step: CaseStep) -> bool:
    return step.before is not None and not set(step.before.state.parties) <= set(
        step.after.state.parties
    )
