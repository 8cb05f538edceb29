"""Ledgers in memory: recorded rows without a database, signed or only said to be."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from uuid import UUID, uuid4

from hypothesis import strategies as st

from ledger.events import event_bytes
from ledger.events.event import ActionRecorded, recorded
from ledger.log.merkle import Frontier, leaf_hash
from ledger.procedure.agreement import Agreement
from ledger.procedure.case import Case, decide
from ledger.refusals import Refusal
from ledger.signing.signed_action import read_recorded
from ledger.store.event_rows import RecordedRow
from ledger.vocabulary import Action
from ledger.vocabulary.registration import NamedCheckpoint
from tests.support.agencies import Agencies
from tests.support.strategies import proposals

BEGAN = datetime(2026, 1, 5, 8, tzinfo=UTC)


@dataclass
class MemoryLedger:
    """Rows as a database would have them; a source of events like any other."""

    agencies: Agencies
    recorded: list[RecordedRow] = field(default_factory=list)
    versions: dict[UUID, int] = field(default_factory=dict)
    now: datetime = BEGAN

    def begin(self) -> None:
        """Adopt the protocol, and register every agency's key."""
        for signed in (self.agencies.adoption(), *self.agencies.registrations()):
            self.put(signed.without_disclosures(), self.agencies.protocol.ledger_id)

    def take(self, agency: str, action: Action, case_id: UUID) -> ActionRecorded:
        """Record an action on a case, whether or not a rule would allow it."""
        return self.put(self.agencies.sign(agency, action, case_id).without_disclosures(), case_id)

    def put(self, sd_jwt: str, originator: UUID) -> ActionRecorded:
        self.now += timedelta(minutes=1)
        state, version = event_bytes.seal(sd_jwt, self.now), self.versions.get(originator, 0) + 1
        self.versions[originator] = version
        event = recorded(state, originator, version, len(self.recorded) + 1)
        self.recorded.append(
            RecordedRow(
                position=len(self.recorded) + 1,
                originator_id=originator,
                version=version,
                kind=event.action.kind,
                state=state,
                action_id=event.action.id,
                recorded_at=self.now,
                leaf_hash=leaf_hash(state),
            )
        )
        return event

    @cached_property
    def frontiers(self) -> list[Frontier]:
        return [Frontier()]

    def head(self) -> int:
        return len(self.recorded)

    def rows(self, after: int, upto: int) -> Iterator[RecordedRow]:
        yield from self.recorded[after:upto]

    def acts(self) -> Iterator[RecordedRow]:
        first = [row.originator_id for row in self.recorded[:1]]
        yield from (row for row in self.recorded if row.originator_id in first)

    def root(self, size: int) -> bytes:
        while len(self.frontiers) <= size:
            leaf = self.recorded[len(self.frontiers) - 1].leaf_hash
            self.frontiers.append(self.frontiers[-1].extend([leaf])[0])
        return self.frontiers[size].root()

    def root_at(self, size: int) -> bytes | None:
        """Return the root of the first events; ``None`` if there are fewer."""
        return self.root(size) if size <= self.head() else None

    def named(self, size: int | None = None) -> NamedCheckpoint:
        """Return the checkpoint of the first events, or of all, as a vote names it."""
        of = self.head() if size is None else size
        return NamedCheckpoint(size=of, root=self.root(of).hex())

    def checkpoint(self) -> str | None:
        return None


@dataclass
class Walk:
    """Cases that go through the procedure at random, by its rules."""

    ledger: MemoryLedger
    cases: dict[UUID, Case | None] = field(default_factory=dict)
    moment: datetime = BEGAN

    def step(self, data: st.DataObject, case_id: UUID) -> None:
        """One more action that the rules allow in the case as it is."""
        protocol = self.ledger.agencies.protocol
        case = self.cases.get(case_id)
        earlier = list(case.history)[-9:] if case else []
        self.moment += timedelta(hours=1)
        while True:
            agency, action = data.draw(
                proposals(case.state if case else None, protocol, earlier, self.moment)
            )
            try:
                signed = self.ledger.agencies.sign(agency, action, case_id).without_disclosures()
                decide(case, read_recorded(signed), case_id, protocol, self.moment)
            except (Refusal, KeyError):
                continue
            event = self.ledger.put(signed, case_id)
            self.cases[case_id] = Case.projector(Agreement.of(protocol))(case, [event])
            return


def random_ledger(
    data: st.DataObject, agencies: Agencies, *, cases: int = 4, steps: int = 40
) -> Walk:
    """A ledger of a few cases, a step of one of them after another."""
    walk = Walk(MemoryLedger(agencies))
    walk.ledger.begin()
    ids: Sequence[UUID] = [uuid4() for _ in range(cases)]
    for _ in range(steps):
        walk.step(data, data.draw(st.sampled_from(ids)))
    return walk
