"""A country's copy: equal to the ledger, and nothing in it that does not verify."""

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest

from ledger.application import Ledger
from ledger.events import event_bytes
from ledger.events.newer_event import NewerEventError
from ledger.log.cosigned_times import CosignedTimes
from ledger.log.merkle import leaf_hash
from ledger.log.note import Note, verify
from ledger.publication.dated_checkpoints import cosigned_times, freshest, keep_dated
from ledger.publication.publisher import published
from ledger.publication.witness import AddCheckpointRequest, Witness
from ledger.refusals import Refusal
from ledger.replication.event_source import SourceError
from ledger.replication.failover import take_over
from ledger.replication.mirror import DivergedError, Mirror
from ledger.signing import keys, signed_action
from ledger.store.database import Database
from ledger.system import clock
from ledger.verification.evidence_reader import kept_in, stored_rows
from ledger.verification.verification import verify_ledger
from ledger.vocabulary import Action
from ledger.vocabulary.coordination import CasePrioritised
from ledger.vocabulary.picklists import Priority
from ledger.vocabulary.registration import KeyRegistered, KeyRevoked
from tests.support.actions import START, opening
from tests.support.agencies import PAST, Agencies
from tests.support.copies import Copy, one_copy
from tests.support.logs import Log, LogSource, signer


@pytest.fixture
def log(ledger: Ledger, database: str, agencies: Agencies) -> Iterator[Log]:
    with Database(database) as pool:
        yield Log(ledger, pool, agencies)


@pytest.fixture
def source(log: Log) -> LogSource:
    return LogSource(log)


@pytest.fixture
def copy(server: str, migrated: str, log: Log) -> Iterator[Copy]:
    with one_copy(server, migrated, log) as made:
        yield made


def test_a_copy_is_the_ledger(log: Log, source: LogSource, copy: Copy, database: str) -> None:
    for _ in range(3):
        log.open_case()
    copy.catch_up(source)
    log.open_case()
    log.publication.step()
    copy.catch_up(source)
    assert copy.tables() == copy.tables(database)
    assert copy.mirror.step_published(source)
    last = published(copy.database)
    assert last is not None
    assert last[1].size == copy.mirror.size
    with psycopg.connect(copy.conninfo) as connection:
        kept = kept_in(connection, log.policy)
        report = verify_ledger(stored_rows(connection), kept, workers=1)
    assert report.holds, report.findings
    assert report.covered == report.events == copy.mirror.size
    assert copy.ledger.adopted().keys.keys() == log.registry().keys.keys()


def test_copying_goes_on_where_it_stopped(
    log: Log, source: LogSource, copy: Copy, database: str
) -> None:
    """Whatever ends a copy, the next one begins at a size that the log signed."""
    copy.catch_up(source)
    size = copy.mirror.size
    case_id = log.open_case()
    source.is_down = True
    with pytest.raises(ConnectionError):
        copy.mirror.step(source)
    source.is_down = False
    with psycopg.connect(copy.conninfo) as other:
        # The transaction cannot end: nothing of it is kept.
        other.execute(f"ALTER TABLE log.signed ADD CONSTRAINT no CHECK (size <= {size})")
        other.commit()
        with pytest.raises(psycopg.errors.CheckViolation):
            copy.mirror.step(source)
        assert copy.mirror.size == size
        other.execute("ALTER TABLE log.signed DROP CONSTRAINT no")
    # A new process knows nothing but what is stored.
    again = Mirror(copy.ledger, copy.database, log.policy)
    log.act("xk-prosecution-prishtina", prioritised(), case_id)
    while again.step(source):
        pass
    assert copy.tables() == copy.tables(database)


def prioritised() -> CasePrioritised:
    return CasePrioritised(acted_at=START + timedelta(hours=1), priority=Priority.HIGH)


def test_a_source_that_is_away_or_behind_is_no_divergence(
    log: Log, source: LogSource, copy: Copy
) -> None:
    early = log.note(5)
    copy.catch_up(source)
    with pytest.raises(SourceError, match="5 events"):
        copy.mirror.step(source.lying(early))
    assert copy.mirror.evidence() == []
    assert not copy.mirror.step(source)


@dataclass
class Forged:
    """A source whose history was changed after ``size`` events."""

    log: Log
    size: int
    entries: list[bytes] = field(default_factory=list)

    def add(self, sd_jwt: str, recorded_at: datetime | None = None) -> None:
        last = self.log.ledger.rows.last_recorded_at()
        self.entries.append(event_bytes.seal(sd_jwt, recorded_at or max(last, datetime.now(UTC))))

    def note(self) -> Note:
        frontier = self.log.ledger.rows.tree().frontier(self.size)
        extended, _ = frontier.extend(map(leaf_hash, self.entries))
        return self.log.note(extended.size, extended.root())


def bare(log: Log, agency: str, action: Action, case_id: UUID | None = None) -> str:
    return log.agencies.sign(agency, action, case_id).without_disclosures()


def by_a_stranger(log: Log, forged: Forged) -> None:
    stranger = Agencies(keys=dict.fromkeys(log.agencies.keys, keys.generate()))
    forged.add(stranger.sign("xk-dhtqnj", opening(), (c := uuid4()), c).without_disclosures())


def with_another_signature(log: Log, forged: Forged) -> None:
    one, other = (bare(log, "xk-dhtqnj", opening(), case_id=uuid4()) for _ in range(2))
    forged.add(one.rpartition(".")[0] + "." + other.rpartition(".")[2])


def against_the_rules(log: Log, forged: Forged) -> None:
    forged.add(bare(log, "xk-prosecution-prishtina", prioritised(), case_id=uuid4()))


def by_the_wrong_role(log: Log, forged: Forged) -> None:
    grant = log.agencies.grant("me-police-thb", keys.generate())
    forged.add(bare(log, "xk-nac", KeyRegistered(acted_at=PAST, grant=grant)))


def with_a_revoked_key(log: Log, forged: Forged) -> None:
    key_id = keys.key_id(log.agencies.keys["xk-dhtqnj"])
    forged.add(bare(log, "xk-nac", KeyRevoked(acted_at=PAST, key_id=key_id)))
    forged.add(bare(log, "xk-dhtqnj", opening(), case_id=uuid4()))


def backdated(log: Log, forged: Forged) -> None:
    long_ago = log.ledger.rows.last_recorded_at() - timedelta(days=1)
    forged.add(bare(log, "xk-dhtqnj", opening(), case_id=uuid4()), long_ago)


def recorded_twice(log: Log, forged: Forged) -> None:
    signed = bare(log, "xk-dhtqnj", opening(), case_id=uuid4())
    forged.add(signed)
    forged.add(signed)


def recorded_before(log: Log, forged: Forged) -> None:
    rows = log.ledger.rows.select_rows(0, forged.size)
    case = next(row for row in rows if row.kind == "case_opened")
    forged.add(event_bytes.unseal(case.state)[0])


def not_an_event(_: Log, forged: Forged) -> None:
    forged.entries.append(b'{"recorded_at":"2026-01-01T00:00:00.000000Z","sd_jwt":"x"}')


def with_its_disclosures(log: Log, forged: Forged) -> None:
    signed = log.agencies.sign("xk-dhtqnj", opening(first_name="zqNobody"), uuid4())
    forged.add(str(signed))


def under_another_protocol(log: Log, forged: Forged) -> None:
    case_id = uuid4()
    signed = signed_action.sign(
        opening(),
        agency="xk-dhtqnj",
        key=log.agencies.keys["xk-dhtqnj"],
        protocol="another-protocol",
        case_id=case_id,
    )
    forged.add(signed.without_disclosures())


Forge = Callable[[Log, Forged], None]
FORGERIES: tuple[Forge, ...] = (
    by_a_stranger,
    with_another_signature,
    against_the_rules,
    by_the_wrong_role,
    with_a_revoked_key,
    backdated,
    recorded_twice,
    recorded_before,
    not_an_event,
    with_its_disclosures,
    under_another_protocol,
)


@pytest.mark.parametrize("forge", FORGERIES, ids=lambda f: f.__name__)
def test_what_the_log_signed_against_the_rules_is_not_copied(
    forge: Forge, log: Log, source: LogSource, copy: Copy
) -> None:
    log.open_case()
    copy.catch_up(source)
    size = copy.mirror.size
    forged = Forged(log, size)
    forge(log, forged)
    with pytest.raises(DivergedError, match=f"position {size + len(forged.entries)}"):
        copy.mirror.step(source.lying(forged.note(), forged.entries))
    assert copy.mirror.size == size
    (found,) = copy.mirror.evidence()
    assert (found.source, found.refused) == ("test", str(forged.note()))
    held = Note.parse(found.held)
    assert verify(held, [log.key.verifier])
    assert verify(Note.parse(found.refused), [log.key.verifier])


def test_a_fork_stops_copying_until_a_person_has_looked(
    log: Log, source: LogSource, copy: Copy
) -> None:
    copy.catch_up(source)
    size = copy.mirror.size
    # The log signs a past in which the last event was another one.
    forged = Forged(log, size - 1)
    forged.add(bare(log, "xk-dhtqnj", opening(), case_id=uuid4()))
    same_size = forged.note()
    with pytest.raises(DivergedError, match="another history"):
        copy.mirror.step(source.lying(same_size))
    log.open_case()
    for _ in range(2):  # also by a mirror that begins anew
        with pytest.raises(DivergedError):
            Mirror(copy.ledger, copy.database, log.policy).step(source)
    assert copy.mirror.size == size
    assert copy.mirror.settle("it was a test") == 1
    copy.catch_up(source)
    assert copy.mirror.size == size + 1
    (found,) = copy.mirror.evidence()
    assert found.settled_why == "it was a test"
    # Two notes of one size that the same key signed: proof for everyone.
    held, refused = Note.parse(found.held), Note.parse(found.refused)
    assert held.text.split("\n")[1] == refused.text.split("\n")[1]
    assert held.text != refused.text


def test_a_longer_fork_is_told_from_a_broken_transfer(
    log: Log, source: LogSource, copy: Copy
) -> None:
    copy.catch_up(source)
    size = copy.mirror.size
    forged = Forged(log, size - 1)
    for _ in range(3):
        forged.add(bare(log, "xk-dhtqnj", opening(), case_id=uuid4()))
    lying = source.lying(forged.note(), forged.entries[1:])
    for _ in range(2):
        with pytest.raises(SourceError):
            copy.mirror.step(lying)
        assert copy.mirror.evidence() == []
    with pytest.raises(DivergedError, match="not those that the log signed"):
        copy.mirror.step(lying)
    assert copy.mirror.size == size
    assert len(copy.mirror.evidence()) == 1


def test_an_older_root_is_compared_too(log: Log, source: LogSource, copy: Copy) -> None:
    copy.catch_up(source)
    with pytest.raises(DivergedError):
        copy.mirror.step(source.lying(log.note(3, b"\x01" * 32)))


def test_a_published_checkpoint_of_another_history_is_evidence(
    log: Log, source: LogSource, copy: Copy
) -> None:
    copy.catch_up(source)
    text = str(log.note(4, b"\x01" * 32).text)
    signatures = [k.sign(text) for k in (log.key, *log.witness_keys.values())]
    forged = Note(text, tuple(signatures))

    class Publishing(LogSource):
        def published(self) -> str:
            return str(forged)

    with pytest.raises(DivergedError):
        copy.mirror.step_published(Publishing(log))
    assert copy.mirror.evidence()[0].refused == str(forged)


def test_a_log_that_does_not_grow_shows_that_time_passes(
    log: Log, source: LogSource, copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last checkpoint is cosigned again now and then, and countries keep the times."""
    now = clock.now()
    log.publication.step()
    copy.catch_up(source)
    copy.mirror.step_published(source)

    class Publishing(LogSource):
        def published(self) -> str:
            return str(freshest(log.database, copy.mirror.size))

    def kept() -> CosignedTimes:
        return cosigned_times(copy.database, copy.mirror.policy_at, latest=10)

    assert len(kept().checkpoints) == 1
    assert not log.publication.refresh(now)
    for hours in (7, 14, 24 * 365, 20):
        then = now + timedelta(hours=hours)
        monkeypatch.setattr("ledger.system.clock.now", lambda then=then: then)
        assert log.publication.refresh(then)
        assert not log.publication.refresh(then)
        for _ in range(2):
            copy.mirror.step_published(Publishing(log))
    dated = kept()
    assert [one.size for one in dated.checkpoints] == [copy.mirror.size] * 5
    hour = timedelta(hours=1)
    assert dated.now is not None
    assert abs(dated.now - now - 20 * hour) < hour
    # The year in between is contradicted by what came after it.
    assert abs(dated.elapsed(1) - 20 * hour) < hour
    # Rows that somebody adds prove nothing without the witnesses' signatures.
    forged = Note.parse(Publishing(log).published())
    with copy.database.connection() as connection:
        later = [replace(s, signature=bytes([255]) * 72) for s in forged.signatures]
        added = replace(forged, signatures=tuple(later))
        keep_dated(connection, copy.mirror.size, added, copy.mirror.policy_at(copy.mirror.size))
    assert kept().now == dated.now


def test_a_checkpoint_without_a_quorum_is_not_kept(log: Log, source: LogSource, copy: Copy) -> None:
    copy.catch_up(source)

    class Publishing(LogSource):
        def published(self) -> str:
            return str(log.note(4))

    with pytest.raises(SourceError, match="no quorum"):
        copy.mirror.step_published(Publishing(log))
    assert published(copy.database) is None
    assert copy.mirror.evidence() == []


def test_what_the_log_did_not_sign_proves_nothing(log: Log, source: LogSource, copy: Copy) -> None:
    """Else anyone on the way could stop a country's copy."""
    copy.catch_up(source)
    log.open_case()
    size = copy.mirror.size
    cheats: Sequence[LogSource] = (
        source.lying(log.note(size + 1, key=signer())),
        source.lying(log.note(size, b"\x01" * 32, key=signer())),
        source.lying(Note("nonsense\n", log.note(size).signatures)),
    )
    for cheat in cheats:
        with pytest.raises(SourceError):
            copy.mirror.step(cheat)
    one = log.ledger.rows.select_rows(0, 1)[0].state
    for entries in ([], [one, one]):
        with pytest.raises(SourceError, match="gave"):
            copy.mirror.step(source.lying(log.note(size + 1), entries))
    assert (copy.mirror.size, copy.mirror.evidence()) == (size, [])
    copy.catch_up(source)
    assert copy.mirror.size == size + 1


def test_a_copy_begins_with_the_adoption_that_was_compared(
    server: str, migrated: str, log: Log, source: LogSource
) -> None:
    first = log.ledger.rows.select_rows(0, 1)[0].leaf_hash
    with one_copy(server, migrated, log, adoption=bytes(32)) as copy:
        with pytest.raises(SourceError, match="another adoption"):
            copy.mirror.step(source)
        assert copy.mirror.size == 0
    with one_copy(server, migrated, log, adoption=first) as copy:
        copy.catch_up(source)
        assert copy.mirror.size == log.ledger.head()


def test_an_action_of_a_later_program_asks_for_an_update(
    log: Log, source: LogSource, copy: Copy
) -> None:
    copy.catch_up(source)
    forged = Forged(log, copy.mirror.size)
    signed = bare(log, "xk-dhtqnj", opening(), case_id=uuid4())
    header, payload, signature = signed.rstrip("~").split(".")
    content = json.loads(base64.urlsafe_b64decode(payload + "=="))
    changed = json.dumps(content | {"kind": "invented_later"}).encode()
    later = base64.urlsafe_b64encode(changed).decode().rstrip("=")
    forged.add(f"{header}.{later}.{signature}~")
    with pytest.raises(NewerEventError, match="Update this program"):
        copy.mirror.step(source.lying(forged.note(), forged.entries))
    assert copy.mirror.evidence() == []


def test_a_witness_cosigns_only_what_its_node_has(log: Log, source: LogSource, copy: Copy) -> None:
    own = signer("ledger.example/me", log.witness_keys["ME"].type)
    witness = Witness(copy.database, "ME", own, lambda _: [log.key.verifier], copy.mirror)
    size = log.ledger.head()
    sent = bytes(AddCheckpointRequest(0, (), log.note(size)))
    assert witness.add_checkpoint(sent).status == 503
    copy.catch_up(source)
    # The log shows this country's witness another history than its node.
    forked = bytes(AddCheckpointRequest(0, (), log.note(size, b"\x01" * 32)))
    assert witness.add_checkpoint(forked).status == 422
    assert len(witness.evidence()) == 1
    assert witness.add_checkpoint(sent).status == 200


def test_a_copy_takes_the_ledger_over(
    server: str, migrated: str, log: Log, source: LogSource, copy: Copy
) -> None:
    case_id = log.open_case()
    log.publication.step()
    copy.catch_up(source)
    copy.mirror.step_published(source)
    size = copy.mirror.size
    with one_copy(server, migrated, log) as third:
        third.catch_up(source)
        third.mirror.step_published(source)
        # The ledger node is gone; what follows is without it.
        heirs_key = signer()
        decisions = log.decisions(log.policy_of(heirs_key))
        receipts = take_over(copy.ledger, decisions, [heirs_key.verifier])
        assert [r.position for r in receipts] == [size + 1, size + 2, size + 3]
        assert take_over(copy.ledger, decisions, [heirs_key.verifier]) == receipts
        heir = replace(log, ledger=copy.ledger, database=copy.database, later_keys=[heirs_key])
        heir.act("xk-prosecution-prishtina", prioritised(), case_id)
        standing = heir.publication.step()
        assert standing.signed == size + 4
        third.catch_up(LogSource(heir))
        assert third.tables() == copy.tables()
        # From here on the old key signs nothing that anyone believes.
        with pytest.raises(SourceError, match="not signed"):
            third.mirror.step(source.lying(heir.note(size + 4, key=log.key)))
        for one in (third, copy):
            with psycopg.connect(one.conninfo) as connection:
                kept = kept_in(connection, log.policy)
                report = verify_ledger(stored_rows(connection), kept, workers=1)
            assert report.holds, report.findings


def test_nothing_is_taken_over_without_every_partys_word(
    log: Log, source: LogSource, copy: Copy
) -> None:
    copy.catch_up(source)
    own, other = signer(), signer()
    ours = log.policy_of(own)
    stranger = Agencies(keys=dict.fromkeys(log.agencies.keys, keys.generate()))
    forged = Log(log.ledger, log.database, stranger).decisions
    attempts: dict[str, list[str]] = {
        "XK is missing": log.decisions(ours, ("me-nac", "al-nac")),
        "another node's log key": log.decisions(log.policy_of(other)),
        "one and the same": [
            *log.decisions(ours, ("xk-nac",)),
            *log.decisions(log.policy_of(other), ("me-nac", "al-nac")),
        ],
        "not registered": [*log.decisions(ours, ("xk-nac", "me-nac")), *forged(ours, ("al-nac",))],
        "coordinators": [
            *log.decisions(ours, ("xk-nac", "me-nac")),
            *log.decisions(ours, ("al-police-thb",)),
        ],
    }
    size = copy.mirror.size
    for said, decisions in attempts.items():
        with pytest.raises(Refusal, match=said):
            take_over(copy.ledger, decisions, [own.verifier])
        assert copy.mirror.size == size, said


def test_a_copy_goes_by_strides(
    log: Log, source: LogSource, copy: Copy, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much was recorded at once, one transaction of the copy is bounded."""
    monkeypatch.setattr("ledger.publication.publisher.STRIDE", 7)
    sizes = []
    while copy.mirror.step(source):
        sizes.append(copy.mirror.size)
    end = log.ledger.head()
    assert sizes == [*range(7, end, 7), end]
    assert copy.tables() == copy.tables(database)


def test_two_processes_copy_as_one(log: Log, source: LogSource, copy: Copy, database: str) -> None:
    other = Mirror(copy.ledger, copy.database, log.policy)
    copy.mirror.step(source)
    for _ in range(5):
        log.open_case()
        other.step(source)
        log.open_case()
        copy.mirror.step(source)
    assert copy.tables() == copy.tables(database)
