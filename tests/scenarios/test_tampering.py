"""A database owner rewrites the database in many ways, and each change is found.

``CASE_LEDGER_TEST_MUTATIONS`` sets how many random mutations are made (default 26).
"""

import base64
import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from random import Random
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from api.demo.story import STORY
from ledger.application import Ledger
from ledger.events import event_bytes
from ledger.log.checkpoint import Checkpoint
from ledger.log.merkle import Frontier, leaf_hash
from ledger.log.note import Note, SignatureType, SignerKey
from ledger.log.policy import Policy, TrustedWitness
from ledger.publication.publisher import Publication
from ledger.publication.witness import Witness, WitnessClient
from ledger.signing import keys, signed_action
from ledger.store.database import Database
from ledger.store.event_rows import RecordedRow
from ledger.verification.evidence_reader import kept_in, stored_keys, stored_rows
from ledger.verification.verification import ExpectedLedger, Report, verify_ledger
from ledger.vocabulary.picklists import RiskLevel
from ledger.vocabulary.protection import RiskAssessed
from tests.support.agencies import Agencies

MUTATIONS = int(os.environ.get("CASE_LEDGER_TEST_MUTATIONS", "26"))
ORIGIN = "ledger.example/tampered"
EVERY = 4
"""A checkpoint is published after so many events."""


@dataclass
class World:
    """A ledger with the whole story, published as it grew; the witnesses remember."""

    database: str
    agencies: Agencies
    log_key: SignerKey
    policy: Policy
    held: tuple[str, ...]
    """What the witnesses cosigned last, kept where the database's owner cannot reach."""

    def verify(self, connection: psycopg.Connection[Any]) -> Report:
        kept = kept_in(connection, self.policy, self.held)
        public = stored_keys(connection)
        return verify_ledger(stored_rows(connection), kept, keys=public, workers=1)


@pytest.fixture
def world(ledger: Ledger, database: str, agencies: Agencies) -> Iterator[World]:
    log_key = SignerKey(ORIGIN, SignatureType.ED25519, Ed25519PrivateKey.generate())
    with Database(database) as pool:
        witnesses = {
            party: Witness(
                pool,
                party,
                SignerKey(
                    f"{ORIGIN}/{party}", SignatureType.COSIGNATURE, Ed25519PrivateKey.generate()
                ),
                lambda origin: [log_key.verifier] if origin == ORIGIN else [],
            )
            for party in ("AL", "ME", "XK")
        }
        policy = Policy.of(
            log_key.verifier, {p: TrustedWitness(w.signer.verifier) for p, w in witnesses.items()}
        )
        clients: Mapping[str, WitnessClient] = witnesses
        publication = Publication(
            ledger.rows, pool, [log_key], lambda name, _: clients.get(name), lambda _: policy
        )
        ids: dict[str, UUID] = {}
        case_ids = {"A": uuid4(), "B": uuid4()}
        for number, step in enumerate(STORY):
            case_id = case_ids[step.case]
            case = ledger.case(case_id)
            signed = agencies.sign(step.agency, step.action(ids), case_id)
            version = case.version if case else 0
            ids[step.name] = ledger.append(signed_action.read(signed), case_id, version).action_id
            if number % EVERY == 0:
                publication.step()
        publication.step()
        held = tuple(
            str(w.latest(hashlib.sha256(ORIGIN.encode()).hexdigest())) for w in witnesses.values()
        )
        yield World(database, agencies, log_key, policy, held)


def test_an_untouched_ledger_verifies(world: World) -> None:
    with psycopg.connect(world.database) as connection:
        report = world.verify(connection)
        assert report.holds, report.findings
        count = sum(1 for _ in stored_rows(connection))
        assert report.events == report.covered == count
        assert report.checkpoints > len(STORY) / EVERY
        # In several processes the same comes out.
        rows = list(stored_rows(connection))
        many = verify_ledger(rows, kept_in(connection, world.policy), workers=2)
        assert (many.root, many.findings) == (report.root, ())


# What follows mutates a list of rows and tells at which position that must show.
Rows = list[RecordedRow]
Mutation = Callable[[Rows, Random, World], int]


def rewritten(row: RecordedRow, state: bytes) -> RecordedRow:
    """A row with other bytes, and a leaf hash that fits them."""
    return row._replace(state=state, leaf_hash=leaf_hash(state))


def sealed(row: RecordedRow, text: str) -> RecordedRow:
    return rewritten(row, event_bytes.seal(text, row.recorded_at))


def text_of(row: RecordedRow) -> str:
    return event_bytes.unseal(row.state)[0]


def renumbered(rows: Rows) -> None:
    """Positions and case versions without a gap again."""
    versions: Counter[UUID] = Counter()
    for index, row in enumerate(rows):
        versions[row.originator_id] += 1
        rows[index] = row._replace(position=index + 1, version=versions[row.originator_id])


def of_a_case(rows: Rows, random: Random, world: World) -> int:
    """The index of an event on a case."""
    after_registry = len(world.agencies.protocol.agencies)
    return random.randrange(after_registry, len(rows))


def change_a_byte(rows: Rows, random: Random, _: World) -> int:
    index = random.randrange(len(rows))
    state = bytearray(rows[index].state)
    at = random.randrange(len(state))
    state[at] ^= 1 << random.randrange(7)
    rows[index] = rows[index]._replace(state=bytes(state))
    return index + 1


def change_a_byte_and_its_hash(rows: Rows, random: Random, world: World) -> int:
    position = change_a_byte(rows, random, world)
    rows[position - 1] = rewritten(rows[position - 1], rows[position - 1].state)
    return position


def change_what_was_done(rows: Rows, random: Random, world: World) -> int:
    index = of_a_case(rows, random, world)
    header, payload, signature = text_of(rows[index]).rstrip("~").split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    claims["act"]["acted_at"] = "2025-12-24T00:00:00Z"
    changed = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    rows[index] = sealed(rows[index], f"{header}.{changed}.{signature}~")
    return index + 1


def delete_an_event(rows: Rows, random: Random, _: World) -> int:
    index = random.randrange(len(rows) - 1)
    del rows[index]
    return index + 1


def delete_and_renumber(rows: Rows, random: Random, world: World) -> int:
    position = delete_an_event(rows, random, world)
    renumbered(rows)
    return position


def insert_a_copy(rows: Rows, random: Random, world: World) -> int:
    index = of_a_case(rows, random, world)
    copy = rows[index]._replace(action_id=uuid4())
    at = random.randrange(index + 1, len(rows) + 1)
    rows.insert(at, copy)
    renumbered(rows)
    return at + 1


def insert_with_a_stolen_key(rows: Rows, random: Random, world: World) -> int:
    """A registered agency's own key signs what was never done, put into the past."""
    index = of_a_case(rows, random, world)
    row = rows[index]
    action_id = uuid4()
    assessed = RiskAssessed(acted_at=row.recorded_at, risk_level=RiskLevel.HIGH)
    signed = world.agencies.sign("xk-csw-prishtina", assessed, row.originator_id, action_id)
    made = sealed(row._replace(kind="risk_assessed", action_id=action_id), f"{signed.jwt}~")
    rows.insert(index, made)
    renumbered(rows)
    return index + 1


def swap_two_events(rows: Rows, random: Random, world: World) -> int:
    first = of_a_case(rows, random, world)
    second = of_a_case(rows, random, world)
    while second == first:
        second = of_a_case(rows, random, world)
    rows[first], rows[second] = rows[second], rows[first]
    renumbered(rows)
    return min(first, second) + 1


def swap_two_signatures(rows: Rows, random: Random, world: World) -> int:
    first = of_a_case(rows, random, world)
    second = of_a_case(rows, random, world)
    while second == first:
        second = of_a_case(rows, random, world)
    parts = [text_of(rows[i]).rstrip("~").split(".") for i in (first, second)]
    for index, own, other in ((first, 0, 1), (second, 1, 0)):
        text = ".".join((*parts[own][:2], parts[other][2])) + "~"
        rows[index] = sealed(rows[index], text)
    return min(first, second) + 1


def sign_with_a_key_of_ones_own(rows: Rows, random: Random, world: World) -> int:
    index = of_a_case(rows, random, world)
    row = rows[index]
    action = signed_action.read_recorded(text_of(row))
    assessed = RiskAssessed(acted_at=action.acted_at, risk_level=RiskLevel.HIGH)
    signed = signed_action.sign(
        assessed,
        agency=action.agency,
        key=keys.generate(),
        protocol=action.protocol,
        case_id=row.originator_id,
        action_id=row.action_id,
    )
    rows[index] = sealed(row._replace(kind="risk_assessed"), f"{signed.jwt}~")
    return index + 1


def backdate(rows: Rows, random: Random, world: World) -> int:
    """Another time of recording: no signature covers it, and the times stay in order."""
    index = of_a_case(rows, random, world)
    row = rows[index]
    moment = row.recorded_at - timedelta(microseconds=1)
    if index and moment < rows[index - 1].recorded_at:
        moment = rows[index - 1].recorded_at
    if moment == row.recorded_at:
        moment = row.recorded_at + timedelta(microseconds=1)
    state = event_bytes.seal(text_of(row), moment)
    rows[index] = rewritten(row._replace(recorded_at=moment), state)
    return index + 1


def change_a_column(rows: Rows, random: Random, world: World) -> int:
    index = of_a_case(rows, random, world)
    row = rows[index]
    rows[index] = random.choice(
        (
            row._replace(kind="case_closed" if row.kind != "case_closed" else "correction"),
            row._replace(action_id=uuid4()),
            row._replace(recorded_at=row.recorded_at - timedelta(days=30)),
            row._replace(leaf_hash=leaf_hash(b"another")),
            row._replace(originator_id=uuid4()),
            row._replace(version=row.version + 100),
        )
    )
    return index + 1


def truncate_the_tail(rows: Rows, random: Random, world: World) -> int:
    keep = of_a_case(rows, random, world)
    del rows[keep:]
    return keep + 1


MUTATION_KINDS: tuple[Mutation, ...] = (
    change_a_byte,
    change_a_byte_and_its_hash,
    change_what_was_done,
    delete_an_event,
    delete_and_renumber,
    insert_a_copy,
    insert_with_a_stolen_key,
    swap_two_events,
    swap_two_signatures,
    sign_with_a_key_of_ones_own,
    backdate,
    change_a_column,
    truncate_the_tail,
)


def write(connection: psycopg.Connection[Any], rows: Rows) -> None:
    """Replace the ledger by ``rows``, with a tree and a head that fit them."""
    connection.execute("TRUNCATE ledger.events, ledger.tree")
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO ledger.events (notification_id, originator_id, originator_version, topic,"
            " state, action_id, recorded_at, leaf_hash) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            [
                (r.position, r.originator_id, r.version, r.kind, r.state, r.action_id,
                 r.recorded_at, r.leaf_hash)
                for r in rows
            ],
        )  # fmt: skip
        frontier, completed = Frontier().extend([r.leaf_hash for r in rows])
        cursor.executemany(
            "INSERT INTO ledger.tree VALUES (%s, %s, %s)",
            [(made.level, made.index, made.hash) for made in completed],
        )
        cursor.execute(
            "UPDATE ledger.head SET position = %s, frontier = %s",
            (frontier.size, frontier.to_bytes()),
        )


def cover_up(connection: psycopg.Connection[Any], how: str, rows: Rows, world: World) -> None:
    """Rewrite the checkpoints as an owner who has the log's key."""
    if how == "leaves the checkpoints":
        return
    connection.execute("TRUNCATE log.signed, log.cosignatures, log.published, log.timestamps")
    if how == "signs anew":
        frontier, _ = Frontier().extend([r.leaf_hash for r in rows])
        text = str(Checkpoint(ORIGIN, frontier.size, frontier.root()))
        note = Note(text, (world.log_key.sign(text),))
        connection.execute(
            "INSERT INTO log.signed VALUES (%s, %s, %s, now())",
            (frontier.size, frontier.root(), str(note)),
        )
        connection.execute(
            "INSERT INTO log.published VALUES (%s, %s, now())", (frontier.size, str(note))
        )


def test_no_mutation_goes_unnoticed(world: World) -> None:
    random = Random(11)
    tried: Counter[str] = Counter()
    with psycopg.connect(world.database) as connection:
        connection.execute("SET session_replication_role = replica")  # no trigger will fire
        connection.commit()
        original = list(stored_rows(connection))
        sizes = [r[0] for r in connection.execute("SELECT size FROM log.published ORDER BY 1")]
        longest = max(b - a for a, b in pairwise([0, *sizes]))
        for number in range(MUTATIONS):
            mutation = MUTATION_KINDS[number % len(MUTATION_KINDS)]
            covered_up = random.choice(
                ("leaves the checkpoints", "leaves the checkpoints", "drops them", "signs anew")
            )
            rows = list(original)
            position = mutation(rows, random, world)
            write(connection, rows)
            cover_up(connection, covered_up, rows, world)
            report = world.verify(connection)
            connection.rollback()
            named = [f for f in report.findings if f.first <= position <= f.last]
            what = (mutation.__name__, covered_up, position, report.findings)
            assert named, what
            if covered_up == "leaves the checkpoints":
                # And nearly: it begins between the checkpoints that are next to it.
                assert min(position - f.first for f in named) <= longest, what
            tried[mutation.__name__] += 1
        assert world.verify(connection).holds
    assert tried.total() == MUTATIONS
    assert len(tried) == min(MUTATIONS, len(MUTATION_KINDS))


def test_a_rollback_to_an_old_backup_is_noticed(world: World) -> None:
    """All of the database as it once truly was: only who remembers more can tell."""
    with psycopg.connect(world.database) as connection:
        connection.execute("SET session_replication_role = replica")
        rows = list(stored_rows(connection))
        old = connection.execute(
            "SELECT size FROM log.published ORDER BY size DESC OFFSET 3 LIMIT 1"
        ).fetchone()
        assert old is not None
        size = old[0]
        write(connection, rows[:size])
        for table in ("published", "cosignatures", "signed"):
            connection.execute(f"DELETE FROM log.{table} WHERE size > %s", (size,))  # type: ignore[arg-type]
        alone = verify_ledger(stored_rows(connection), kept_in(connection, world.policy))
        assert alone.holds, "the backup is consistent in itself"
        report = world.verify(connection)
        assert [(f.first, f.last) for f in report.findings] == [(size + 1, len(rows))]


def test_a_fork_shown_to_one_country_is_noticed(world: World) -> None:
    """A history made for one country, consistent and signed by the log, with no quorum."""
    with psycopg.connect(world.database) as connection:
        connection.execute("SET session_replication_role = replica")
        rows = list(stored_rows(connection))
        position = backdate(rows, Random(3), world)
        write(connection, rows)
        cover_up(connection, "signs anew", rows, world)
        report = world.verify(connection)
        assert any(f.first <= position <= f.last for f in report.findings)
        assert any("no quorum" in f.what for f in report.findings)
        # Even with no policy at hand, the two notes that the log signed contradict each other.
        published = connection.execute("SELECT note FROM log.published").fetchone()
        assert published is not None
        kept = ExpectedLedger(published=(published[0],), held=world.held)
        told = [f.what for f in verify_ledger(rows, kept).findings]
        assert any("forked" in what for what in told)
