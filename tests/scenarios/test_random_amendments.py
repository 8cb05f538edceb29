"""Random amendments between random actions: every reader judges each event by the same version.

Several ledgers in memory, of both editions. Each is read by a copy that follows it, by one that
knows only acts and the one case, by an auditor's script and by the folds of the views.
"""

import importlib.util
import os
import sys
from datetime import date, timedelta
from types import ModuleType
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ledger.events.event import ActionRecorded
from ledger.procedure.amendments import text_of
from ledger.procedure.case import Case, decide
from ledger.procedure.deciding import decide_on_protocol
from ledger.procedure.protocol import Protocol, shipped_protocol
from ledger.procedure.registry import Registry, applied, registry_of
from ledger.refusals import Refusal
from ledger.signing.signed_action import read_recorded
from ledger.verification.revalidation import Revalidation, inspect
from ledger.vocabulary import Action
from projections.columnar.decoding import Decoder
from projections.folds.obligations import after_act, obligations
from projections.reports.annual_report import ReportedCheckpoint, Year, annual_report, canonical
from tests.support.agencies import Agencies
from tests.support.amending import acceptance, declining, proposal, random_amendment
from tests.support.auditor import AUDITOR
from tests.support.recorded import MemoryLedger
from tests.support.strategies import proposals

LEDGERS = int(os.environ.get("CASE_LEDGER_TEST_AMENDED_LEDGERS", "2"))
STEPS = 28
COORDINATORS = ("xk-nac", "me-nac", "al-nac")
CASES = (UUID(int=1), UUID(int=2), UUID(int=3))


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("auditor_of_random_amendments", AUDITOR)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["auditor_of_random_amendments"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def begun() -> dict[int, MemoryLedger]:
    """A ledger of each edition that adopted its protocol, with every agency's key."""
    made = {}
    for edition in (1, 2):
        text = text_of(shipped_protocol()) | {"edition": edition}
        made[edition] = MemoryLedger(Agencies(Protocol.model_validate(text)))
        made[edition].begin()
    return made


class Amended:
    """A ledger in which cases go on while the agreement changes."""

    def __init__(self, begun: MemoryLedger) -> None:
        self.agencies = begun.agencies
        self.ledger = MemoryLedger(
            begun.agencies, [*begun.recorded], dict(begun.versions), begun.now
        )
        self.cases: dict[UUID, Case | None] = dict.fromkeys(CASES)
        registry = registry_of(row.event() for row in self.ledger.acts())
        self.registries: list[tuple[int, Registry]] = [(len(begun.recorded), registry)]
        """The registry as it was after the event at each position that changed it."""

    def events(self) -> list[ActionRecorded]:
        return [row.event() for row in self.ledger.recorded]

    def registry(self) -> Registry:
        return self.registries[-1][1]

    def registry_before(self, position: int) -> Registry:
        """The registry by which the event at ``position`` was decided."""
        return [registry for at, registry in self.registries if at < position][-1]

    def amend(self, data: st.DataObject) -> None:
        """Propose; then some accept or one declines, so that some texts are adopted."""
        registry = self.registry()
        text = random_amendment(data, registry.agreement.latest.protocol)
        days = data.draw(st.sampled_from((None, None, None, 0, 1)), label="days")
        earliest = max(self.ledger.now, registry.agreement.latest.earliest).date()
        day: date | None = None if days is None else earliest + timedelta(days=days + 1)
        if day is None and registry.agreement.latest.earliest > self.ledger.now:
            return
        first, *others = data.draw(st.permutations(COORDINATORS), label="parties")
        try:
            proposed = self._put(first, proposal(text, day))
        except Refusal as refusal:
            # The text changes nothing, or an open proposal has it already.
            if "says the same" not in refusal.message and refusal.rule != "amendment-known":
                raise
            return
        for other in others[: data.draw(st.sampled_from((1, 2, 2, 2, 2)), label="acceptances")]:
            self._put(other, acceptance(proposed, text, self.ledger.named()))
        if data.draw(st.integers(0, 4), label="declines") == 0:
            open_ones = [one for one in self.registry().amendments if one.closed_at is None]
            for one in open_ones:
                self._put(first, declining(one.proposal, one.text))

    def _put(self, agency: str, action: Action) -> UUID:
        """Record an act that the rules allow. Raises ``Refusal``."""
        text = self.agencies.sign(agency, action, None).without_disclosures()
        at = self.ledger.now + timedelta(minutes=1)
        decide_on_protocol(read_recorded(text), self.registry(), at, self.ledger.root)
        event = self.ledger.put(text, self.agencies.protocol.ledger_id)
        registry, mark = applied(self.registry(), event)
        assert mark is None
        self.registries.append((len(self.ledger.recorded), registry))
        return event.action.id

    def act(self, data: st.DataObject) -> None:
        """One more action on a case, by the version in force for it."""
        case_id = data.draw(st.sampled_from(CASES))
        case, agreement = self.cases[case_id], self.registry().agreement
        self.ledger.now += timedelta(hours=data.draw(st.sampled_from((1, 5, 30))))
        at = self.ledger.now + timedelta(minutes=1)
        protocol = agreement.next_at(at)
        earlier = list(case.history)[-9:] if case else []
        for _ in range(200):
            agency, action = data.draw(
                proposals(case.state if case else None, protocol, earlier, self.ledger.now)
            )
            if agency not in self.agencies.keys:
                continue  # an amendment named it; it has no key yet
            try:
                text = self.agencies.sign(agency, action, case_id).without_disclosures()
                decide(case, read_recorded(text), case_id, protocol, at)
            except (Refusal, KeyError):
                continue
            event = self.ledger.put(text, case_id)
            self.cases[case_id] = Case.projector(agreement)(case, [event])
            return


def check(amended: Amended, script: ModuleType) -> None:
    rows, last = amended.ledger.recorded, amended.registry()
    agreement = last.agreement
    copy, auditor = Revalidation(), script.Registry()
    for row in rows:
        assert list(copy.judge(row.position, inspect(row), amended.ledger.root)) == []
        auditor.take(row.position, script.event_of(row.state))
        if row.position <= amended.registries[0][0]:
            continue
        # Each reader used the version that the last registry still names for this event.
        before = amended.registry_before(row.position)
        judged = agreement.at(row.position, row.recorded_at)
        assert before.agreement.at(row.position, row.recorded_at) == judged
        assert auditor.versions[auditor.in_force][2]["version"] == judged.version
    assert copy.registry is not None
    assert copy.registry.agreement == agreement
    assert {i: case.state for i, case in copy.cases.items()} == {
        i: case.state for i, case in amended.cases.items() if case is not None
    }
    by_case = {i: [e for e in amended.events() if e.originator_id == i] for i in CASES}
    for case_id, events in by_case.items():
        # As a rebuild folds it: the one case, by the registry of the end.
        assert Case.projector(agreement)(None, events) == amended.cases[case_id]
        _check_obligations(amended, events)
    decoded = Decoder(agreement).tables(rows)
    told = {r["position"]: r["role"] for t in decoded.values() for r in t.to_pylist()}
    for row in rows:
        agency = row.event().action.agency
        at = agreement.at(row.position, row.recorded_at)
        assert told[row.position] == at.agencies_by_id[agency].role
    _check_reports(amended, by_case)


def _check_obligations(amended: Amended, events: list[ActionRecorded]) -> None:
    """Followed one event after another by the registry of its time, as folded at the end."""
    agreement = amended.registry().agreement
    acts = [event.as_act() for event in events]
    whole = obligations(acts, agreement)
    followed, case = obligations((), agreement), None
    for place, event in enumerate(events):
        then = amended.registry_before(event.position or 0).agreement
        case = Case.projector(then)(case, [event])
        assert case is not None
        followed = after_act(followed, case, acts[place], then)
    assert followed == whole


def _check_reports(amended: Amended, by_case: dict[UUID, list[ActionRecorded]]) -> None:
    """The report up to an earlier size is the same, whatever was adopted since."""
    rows = amended.ledger.recorded
    size = len(rows) * 3 // 4
    early = amended.registry_before(size + 1)
    cases = [
        [e.as_act() for e in events if (e.position or 0) <= size] for events in by_case.values()
    ]
    last = rows[size - 1].recorded_at
    until = Year.of(last.year, last, early.agreement)
    at = ReportedCheckpoint(size=size, root="A" * 44)
    made = [
        canonical(annual_report([c for c in cases if c], registry.agreement, until, at))
        for registry in (early, amended.registry())
    ]
    assert made[0] == made[1]


@pytest.mark.parametrize("edition", [1, 2])
def test_every_reader_judges_by_the_same_version(
    edition: int, begun: dict[int, MemoryLedger], script: ModuleType
) -> None:
    adopted: list[int] = []

    @settings(
        max_examples=LEDGERS,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @given(st.data())
    def each_ledger(data: st.DataObject) -> None:
        amended = Amended(begun[edition])
        for step in range(STEPS):
            if step % 4 == 3:
                amended.amend(data)
            else:
                amended.act(data)
        check(amended, script)
        adopted.append(len(amended.registry().agreement.versions))

    each_ledger()
    assert sum(adopted) > len(adopted)
