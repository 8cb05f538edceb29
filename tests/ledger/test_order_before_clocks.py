"""Order decides before clocks do: by position what was revoked, by the stored time what lasts."""

import gzip
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest

from ledger.application import Ledger, environment
from ledger.events import event_bytes
from ledger.log.checkpoint import Checkpoint
from ledger.log.merkle import leaf_hash
from ledger.log.note import Note
from ledger.log.policy import Policy
from ledger.refusals import Refusal
from ledger.replication.mirror import Mirror
from ledger.signing import keys, signed_action
from ledger.store.database import Database
from ledger.store.event_rows import RecordedRow
from ledger.system import clock
from ledger.verification.evidence_reader import stored_rows
from ledger.verification.revalidation import RowReader
from ledger.verification.verification import ExpectedLedger, Report, verify_ledger
from ledger.vocabulary import Action
from ledger.vocabulary.coordination import CasePrioritised
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import Danger, LegalBasis, Priority, Purpose
from ledger.vocabulary.registration import KeyRegistered, KeyRevoked
from ledger.vocabulary.sharing import BreakGlassOpened, InformationReleased
from tests.support.actions import opening
from tests.support.agencies import PAST, Agencies
from tests.support.auditor import auditor_names
from tests.support.logs import ORIGIN, signer

# Recorded by the program before this rule, under edition 1: one action with a clock three hours
# ahead, then, with the right clock, the revocation of a key, an action that it signed (35), and a
# release on a basis that was over by the ledger's time (37).
ROOT = Path(__file__).parents[2]
FAULTY = ROOT / "tests" / "ledgers" / "clock-went-back.jsonl.gz"
MARKED = (35, 37)
HOUR = timedelta(hours=1)
POLICE = "xk-dhtqnj"


@dataclass
class Clock:
    """This machine's clock, as a test sets it: each reading takes the next offset, if any."""

    offset: timedelta = timedelta()
    next: list[timedelta] = field(default_factory=list)

    def now(self) -> datetime:
        if self.next:
            self.offset = self.next.pop(0)
        return datetime.now(UTC) + self.offset


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(clock, "now", made.now)
    return made


@dataclass
class Book:
    """A ledger, and agencies that act in it."""

    ledger: Ledger
    agencies: Agencies
    conninfo: str

    def act(self, agency: str, action: Action, case_id: UUID) -> signed_action.SignedAction:
        signed = signed_action.read(self.agencies.sign(agency, action, case_id))
        known = self.ledger.case(case_id)
        self.ledger.append(signed, case_id, known.version if known else 0)
        return signed

    def decide(self, agency: str, action: Action) -> RecordedRow:
        return self.ledger.append_to_registry(
            signed_action.read(self.agencies.sign(agency, action, None))
        )

    def open(self, agency: str = POLICE, **more: object) -> UUID:
        case_id = uuid4()
        self.act(agency, opening(("XK", "ME"), **more), case_id)
        return case_id

    def revoke(self, agency: str, by: str = "xk-nac") -> RecordedRow:
        kid = keys.key_id(self.agencies.keys[agency])
        return self.decide(by, KeyRevoked(acted_at=PAST, key_id=kid))

    def refused(self, agency: str, action: Action, case_id: UUID) -> str:
        with pytest.raises(Refusal) as refusal:
            self.act(agency, action, case_id)
        return refusal.value.rule

    def verified(self) -> Report:
        with psycopg.connect(self.conninfo) as connection:
            return verify_ledger(stored_rows(connection), ExpectedLedger(), workers=1)


@pytest.fixture
def book(ledger: Ledger, database: str, agencies: Agencies) -> Book:
    return Book(ledger, agencies, database)


def test_a_revoked_key_records_nothing_while_clocks_are_behind_the_ledger(
    book: Book, machine: Clock
) -> None:
    case_id = book.open()
    machine.offset = HOUR
    book.open("xk-csw-prishtina")
    machine.offset = timedelta()
    revoked = book.revoke(POLICE)
    assert revoked.recorded_at > datetime.now(UTC) + HOUR - timedelta(minutes=5)
    assert book.refused(POLICE, opening(), uuid4()) == "revoked-key"
    # A process that holds an older registry finds out by the guard.
    with Ledger(environment(book.conninfo)) as other:
        other.append(
            signed_action.read(book.agencies.sign("xk-nac", prioritised(), case_id)), case_id, 1
        )
    report = book.verified()
    assert report.holds, report.findings
    assert report.marks == ()


def prioritised() -> CasePrioritised:
    return CasePrioritised(acted_at=datetime.now(UTC), priority=Priority.HIGH)


def test_a_clock_that_goes_back_before_a_revocation_leaves_what_came_first_valid(
    book: Book, machine: Clock
) -> None:
    machine.offset = HOUR
    case_id = book.open()
    machine.offset = -HOUR
    book.revoke(POLICE)
    event = book.ledger.case_events(case_id)[0]
    assert event.recorded_at is not None
    assert event.position is not None
    state = book.ledger.adopted().signature_state(event.action, event.recorded_at, event.position)
    assert state == "valid, key since revoked"
    later = book.ledger.adopted().signature_state(event.action, PAST, event.position + 99)
    assert later == "key not valid then"
    assert book.verified().holds


def lasting(book: Book, agency: str, begins: datetime, ends: datetime) -> None:
    """A key for an agency that lasts from one moment to another; the agency signs with it."""
    book.agencies.keys[agency] = keys.generate()
    grant = book.agencies.grant_between(agency, begins, ends)
    book.decide("xk-nac", KeyRegistered(acted_at=PAST, grant=grant))


@pytest.fixture
def agencies_of_one_test(agencies: Agencies) -> Iterator[None]:
    kept = dict(agencies.keys)
    yield
    agencies.keys.update(kept)


@pytest.mark.usefixtures("agencies_of_one_test")
def test_a_key_lasts_by_the_time_that_is_stored(book: Book, machine: Clock) -> None:
    now = datetime.now(UTC)
    machine.offset = 2 * HOUR
    book.open()
    machine.offset = timedelta()
    lasting(book, POLICE, now - HOUR, now + HOUR)
    assert book.refused(POLICE, opening(), uuid4()) == "key-not-valid"
    lasting(book, POLICE, now + HOUR, now + 9 * HOUR)  # not yet by the clock, by the ledger it is
    book.open()
    assert book.verified().holds


@pytest.mark.usefixtures("agencies_of_one_test")
@pytest.mark.parametrize("jump", [3 * HOUR, -3 * HOUR])
def test_a_clock_that_jumps_between_decision_and_record_makes_the_decision_be_taken_again(
    book: Book, machine: Clock, jump: timedelta
) -> None:
    now = datetime.now(UTC)
    lasting(book, POLICE, now - HOUR, now + HOUR)
    held = book.ledger.rows.next_time
    taken: list[datetime] = []

    def jumping(*, ask: bool = False) -> datetime:
        taken.append(held(ask=ask))
        machine.offset = jump if jump > timedelta() else machine.offset
        return taken[-1]

    book.ledger.rows.next_time = jumping  # type: ignore[method-assign]
    if jump > timedelta():
        assert book.refused(POLICE, opening(), uuid4()) == "key-not-valid"
        assert len(taken) > 1
    else:
        machine.offset = jump
        book.open()  # stored with the head's time, within the key's
    assert book.verified().holds


def test_a_release_is_judged_by_the_time_that_is_stored(book: Book, machine: Clock) -> None:
    now = datetime.now(UTC)
    social_work = "xk-csw-prishtina"
    case_id = uuid4()
    opened = book.act(social_work, opening(("XK", "ME"), first_name="zqNobody"), case_id)
    glass = book.act(
        social_work,
        BreakGlassOpened(
            acted_at=now,
            danger=Danger.MISSING_CHILD,
            groups=(FieldGroup.IDENTITY,),
            until=now + HOUR / 2,
        ),
        case_id,
    )
    released = InformationReleased(
        acted_at=now,
        purpose=Purpose.PROTECTION,
        recipient="ME",
        groups=(FieldGroup.IDENTITY,),
        basis=LegalBasis.DANGER_TO_LIFE,
        basis_action=glass.id,
        released=({"action": opened.id, "digests": sorted(opened.digests)[:1]},),
    )
    book.act(social_work, released, case_id)
    machine.offset = 3 * HOUR
    book.open()
    machine.offset = timedelta()
    assert book.refused(social_work, released, case_id) == "no-legal-basis"
    assert book.verified().holds


def rows_of(entries: list[bytes]) -> list[RecordedRow]:
    reader = RowReader()
    return [reader.row(position, state) for position, state in enumerate(entries, 1)]


@pytest.fixture(scope="module")
def faulty() -> list[bytes]:
    return gzip.decompress(FAULTY.read_bytes()).splitlines()


def test_a_ledger_that_the_faulty_rule_made_holds_with_marks(faulty: list[bytes]) -> None:
    report = verify_ledger(rows_of(faulty), ExpectedLedger(), workers=1)
    assert report.findings == ()
    assert tuple(mark.first for mark in report.marks) == MARKED
    assert "its key was revoked" in report.marks[0].what
    assert "its legal basis was over" in report.marks[1].what


@pytest.mark.parametrize("position", MARKED)
def test_the_mark_is_for_what_the_faulty_rule_recorded_and_no_more(
    faulty: list[bytes], position: int
) -> None:
    """It stored the ledger's last time once more. With a time of its own, an event is refused."""
    entries = list(faulty)
    for place in range(position - 1, len(entries)):
        text, recorded_at = event_bytes.unseal(entries[place])
        entries[place] = event_bytes.seal(text, recorded_at + timedelta(microseconds=1))
    report = verify_ledger(rows_of(entries), ExpectedLedger(), workers=1)
    assert [f.first for f in report.findings] == [position]


@dataclass
class Given:
    """A source that gives these events, and a head that the log signed."""

    entries_given: list[bytes]
    note: Note
    name: str = "faulty"

    def head(self, after: int, upto: int | None = None) -> str:  # noqa: ARG002
        return str(self.note)

    def entries(self, after: int, upto: int) -> list[bytes]:
        return self.entries_given[after:upto]

    def published(self) -> None:
        return None


def test_a_copy_takes_a_ledger_that_the_faulty_rule_made(
    faulty: list[bytes], database: str
) -> None:
    key = signer()
    with Ledger(environment(database)) as ledger, Database(database) as pool:
        mirror = Mirror(ledger, pool, Policy.of(key.verifier, {}))
        for size in (MARKED[0] - 1, len(faulty)):  # the second part begins at a marked event
            frontier, _ = ledger.rows.frontier().extend(
                map(leaf_hash, faulty[ledger.head() : size])
            )
            text = str(Checkpoint(ORIGIN, size, frontier.root()))
            source = Given(faulty, Note(text, (key.sign(text),)))
            mirror = Mirror(ledger, pool, Policy.of(key.verifier, {}))
            assert mirror.step(source)
        assert mirror.size == len(faulty)
        assert mirror.evidence() == []


def test_the_auditors_script_marks_what_the_faulty_rule_recorded(faulty: list[bytes]) -> None:
    script = auditor_names()

    def check(entries: list[bytes]) -> list[str]:
        registry = script["Registry"]()
        for position, recorded in enumerate(entries, 1):
            registry.take(position, script["event_of"](recorded))
        marks: list[str] = registry.marks
        return marks

    assert check(faulty) == ["position 35: recorded after its key was revoked (edition 1)"]
    moved = list(faulty)
    text, recorded_at = event_bytes.unseal(moved[MARKED[0] - 1])
    moved[MARKED[0] - 1] = event_bytes.seal(text, recorded_at + timedelta(microseconds=1))
    with pytest.raises(Exception, match="position 35: its key was revoked"):
        check(moved)
