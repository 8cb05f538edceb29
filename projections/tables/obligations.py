"""The table of obligations: one row for each that there ever was."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar
from uuid import UUID

from psycopg import Cursor
from psycopg.rows import DictRow
from pydantic_core import to_json

from ledger.procedure.agreement import Agreement
from ledger.procedure.case import Case
from projections.folds.case_folder import CaseStep, Step
from projections.folds.joined_cases import acts_of
from projections.folds.obligations import CaseObligations, Obligation, after_act, obligations
from projections.folds.registry_history import RegistryHistory
from projections.folds.state_json import document
from projections.tables.view import Row, View

_KEEP = 2_000
"""Cases whose obligations are kept folded, as many as cases."""


class ObligationViews(View):
    """The obligations of every case, with the events that opened and closed each."""

    name: ClassVar[str] = "obligations"
    table: ClassVar[str] = "obligations"
    columns: ClassVar[Mapping[str, str]] = {
        "slot": "text",
        "id": "uuid",
        "case_id": "uuid",
        "kind": "text",
        "debtor": "text",
        "debtor_agency": "text",
        "creditors": "text[]",
        "state": "text",
        "outcome": "text",
        "late": "bool",
        "opened_position": "int8",
        "opened_at": "timestamptz",
        "due": "timestamptz",
        "closed_at": "timestamptz",
        "action": "text",
        "roles": "text[]",
        "creditor_agency": "text",
        "expected_by": "timestamptz",
        "document": "jsonb",
    }
    key: ClassVar[tuple[str, ...]] = ("slot", "id")
    identity: ClassVar[tuple[str, ...]] = key

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._known: OrderedDict[UUID, CaseObligations] = OrderedDict()

    def write(self, curs: Cursor[DictRow], steps: Sequence[Step]) -> None:
        changed: dict[UUID, Obligation] = {}
        for step in steps:
            if isinstance(step, CaseStep) and step.joined:
                changed |= {one.id: one for one in self._of_joined(step)}
            elif isinstance(step, CaseStep):
                before = self._before(step)
                after = _after(before, step)
                changed |= {obligation.id: obligation for obligation in after.since(before)}
                self._keep(step.event.originator_id, after)
        self.insert(curs, [self._row(obligation) for obligation in changed.values()])

    def lasting(self, step: Step, history: RegistryHistory, *, is_last: bool) -> Iterator[Row]:
        if is_last and isinstance(step, CaseStep) and step.after is not None:
            agreement = history.latest.agreement if step.joined else step.registry.agreement
            folded = _folded(step.after, step.joined, agreement)
            yield from map(self._row, folded.by_id.values())

    def _of_joined(self, step: CaseStep) -> Iterator[Obligation]:
        """Yield all obligations of a case that was joined with others.

        Those of the others come too, if the event may change them. Such cases are few, and each is
        folded from its first event.
        """
        own = step.event.originator_id
        cases = dict(step.joined) if step.after is None else {**step.joined, own: step.after}
        for case_id, case in cases.items():
            self._known.pop(case_id, None)
            if case_id == own or step.reaches_joined:
                others = {other: one for other, one in cases.items() if other != case_id}
                yield from _folded(case, others, step.registry.agreement).by_id.values()

    def _before(self, step: CaseStep) -> CaseObligations:
        if step.before is None:
            return CaseObligations()
        known = self._known.pop(step.before.id, None)
        if known is not None and known.version == step.before.version:
            return known
        return _folded(step.before, {}, step.registry.agreement)

    def _keep(self, case_id: UUID, folded: CaseObligations) -> None:
        self._known[case_id] = folded
        if len(self._known) > _KEEP:
            self._known.popitem(last=False)

    def _row(self, obligation: Obligation) -> Row:
        closed = obligation.closed
        return (
            self.slot,
            obligation.id,
            obligation.case_id,
            obligation.kind.value,
            obligation.debtor,
            obligation.debtor_agency,
            list(obligation.creditors),
            obligation.state.value,
            obligation.outcome.value if obligation.outcome is not None else None,
            obligation.late,
            obligation.opened.position,
            obligation.opened.acted_at,
            obligation.due,
            closed.acted_at if closed is not None else None,
            obligation.action,
            list(obligation.roles),
            obligation.creditor_agency,
            obligation.expected_by,
            to_json(document(obligation)),
        )


def _folded(case: Case, others: Mapping[UUID, Case], agreement: Agreement) -> CaseObligations:
    return obligations(tuple(case.history.values()), agreement, acts_of(others))


def _after(before: CaseObligations, step: CaseStep) -> CaseObligations:
    if step.after is None or (step.mark is not None and not step.mark.has_effect):
        return replace(before, version=step.event.originator_version)
    return after_act(before, step.after, step.event.as_act(), step.registry.agreement)
