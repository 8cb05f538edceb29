"""Witnesses and publication: every answer of the specification, and every way to cheat."""

import base64
import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.application import Ledger
from ledger.log.checkpoint import Checkpoint
from ledger.log.merkle import EMPTY_ROOT, Tree, leaf_hash, proven_older_root
from ledger.log.note import Note, NoteSignature, SignatureType, SignerKey, VerifierKey, verify
from ledger.log.policy import Policy, TrustedWitness
from ledger.publication.publisher import (
    AnotherKeyError,
    HistoryChangedError,
    Publication,
    WitnessWatch,
    published,
)
from ledger.publication.witness import (
    SIZE_TYPE,
    AddCheckpointRequest,
    TrustedLogs,
    Witness,
    WitnessAnswer,
    WitnessClient,
)
from ledger.signing import keys, signed_action
from ledger.store.database import Database
from ledger.store.recorder import LedgerRecorder
from ledger.vocabulary.registration import KeyRegistered
from tests.support.agencies import PAST, Agencies

ORIGIN = "ledger.example/test"


def signer(name: str, kind: SignatureType = SignatureType.COSIGNATURE) -> SignerKey:
    return SignerKey(name, kind, Ed25519PrivateKey.generate())


def trusted(key: SignerKey) -> TrustedLogs:
    return lambda origin: [key.verifier] if origin == key.name else []


@dataclass
class Log:
    """A log that can say whatever it wants."""

    key: SignerKey = field(default_factory=lambda: signer(ORIGIN, SignatureType.ED25519))
    leaves: list[bytes] = field(default_factory=lambda: [leaf_hash(bytes([n])) for n in range(50)])

    @property
    def tree(self) -> Tree:
        return Tree(len(self.leaves), lambda _, start, count: self.leaves[start : start + count])

    def note(self, size: int, root: bytes | None = None, origin: str = ORIGIN) -> Note:
        text = str(Checkpoint(origin, size, self.tree.root(size) if root is None else root))
        return Note(text, (self.key.sign(text),))

    def submission(self, old: int, size: int) -> AddCheckpointRequest:
        return AddCheckpointRequest(old, tuple(self.tree.consistency(old, size)), self.note(size))

    def fork(self, at: int) -> "Log":
        changed = [leaf_hash(b"fork") if n == at else leaf for n, leaf in enumerate(self.leaves)]
        return Log(self.key, changed)


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def pool(database: str) -> Iterator[Database]:
    with Database(database) as opened:
        yield opened


@pytest.fixture
def witness(pool: Database, log: Log) -> Witness:
    return Witness(pool, "ME", signer("witness.example/me"), trusted(log.key))


def test_a_witness_cosigns_what_continues(witness: Witness, log: Log) -> None:
    old = 0
    for size in (0, 1, 7, 7, 8, 50):
        sent = log.submission(old, size)
        answer = witness.add_checkpoint(bytes(sent))
        assert answer.status == 200, answer.body
        held = witness.latest(hashlib.sha256(ORIGIN.encode()).hexdigest())
        assert held is not None
        note = Note.parse(held)
        cosigned = verify(note, [witness.signer.verifier, log.key.verifier])
        assert cosigned.keys() == {witness.signer.verifier, log.key.verifier}
        assert answer.body == str(note.signatures[-1])
        old = size
    assert witness.latest(hashlib.sha256(b"another").hexdigest()) is None


def test_each_refusal_of_the_specification(witness: Witness, log: Log) -> None:
    assert witness.add_checkpoint(bytes(log.submission(0, 10))).status == 200
    good = log.submission(10, 20)
    another = Log()
    refused: Sequence[tuple[int, bytes | AddCheckpointRequest]] = [
        (400, b""),
        (400, b"\xff\n\n"),
        (400, b"old x\n\n" + str(good.note).encode()),
        (400, b"old 010\n\n" + str(good.note).encode()),
        (400, b"old " + b"9" * 5000 + b"\n\n" + str(good.note).encode()),
        (400, bytes(good).replace(b"old 10", b"new 10")),
        (400, bytes(replace(good, proof=(EMPTY_ROOT,) * 64))),
        (400, bytes(good)[:-1]),
        (400, replace(good, old=21)),
        (404, replace(good, note=log.note(20, origin="ledger.example/unknown"))),
        (403, replace(good, note=another.note(20))),
        (403, replace(good, note=replace(good.note, signatures=(
            replace(good.note.signatures[0], signature=bytes(64)),)))),
        (409, log.submission(9, 20)),
        (409, AddCheckpointRequest(0, (), log.note(20))),
        (422, replace(good, proof=good.proof[:-1])),
        (422, replace(good, proof=(*good.proof, EMPTY_ROOT))),
        (422, AddCheckpointRequest(10, (), log.note(10, root=bytes(32)))),
        (422, log.fork(3).submission(10, 20)),
        (422, AddCheckpointRequest(10, (), log.note(20))),
    ]  # fmt: skip
    for status, sent in refused:
        answer = witness.add_checkpoint(bytes(sent))
        assert answer.status == status, (answer, bytes(sent))
        if status == 409:
            assert (answer.body, answer.media_type) == ("10\n", SIZE_TYPE)
    assert witness.add_checkpoint(bytes(good)).status == 200
    fresh = AddCheckpointRequest(0, (), Log(log.key).note(0, root=bytes(32)))
    assert witness.add_checkpoint(bytes(fresh)).status == 409


def test_contradictions_are_kept_with_what_proves_them(witness: Witness, log: Log) -> None:
    assert witness.add_checkpoint(bytes(log.submission(0, 20))).status == 200
    assert list(witness.evidence()) == []
    forked = log.fork(5)
    later, same = forked.submission(20, 30), AddCheckpointRequest(0, (), forked.note(20))
    assert witness.add_checkpoint(bytes(later)).status == 422
    assert witness.add_checkpoint(bytes(same)).status == 409
    by_proof, by_size = witness.evidence()
    for kept, size in ((by_proof, 30), (by_size, 20)):
        held, refused = Note.parse(str(kept["held"])), Note.parse(str(kept["refused"]))
        # Both are signed by the log: together they show what it did, whoever looks.
        assert log.key.verifier in verify(held, [log.key.verifier])
        assert log.key.verifier in verify(refused, [log.key.verifier])
        assert Checkpoint.parse(held.text).size == 20
        assert Checkpoint.parse(refused.text).size == size
    assert by_size["proof"] == ""
    proof = [base64.b64decode(line) for line in str(by_proof["proof"]).split("\n")]
    old_root = proven_older_root(20, 30, proof, forked.tree.root(30))
    assert old_root == forked.tree.root(20) != log.tree.root(20)


def test_what_anybody_can_send_is_no_evidence(witness: Witness, log: Log) -> None:
    """Published checkpoints, and any proof beside them, show nothing against an honest log."""
    assert witness.add_checkpoint(bytes(log.submission(0, 21))).status == 200
    genuine = log.submission(21, 30)
    sent = [
        log.submission(0, 9), log.submission(9, 15), log.submission(21, 21),
        replace(genuine, proof=()), replace(genuine, proof=genuine.proof[:-1]),
        replace(genuine, proof=(EMPTY_ROOT, *genuine.proof[1:])),
        replace(genuine, proof=tuple(reversed(genuine.proof))),
        replace(genuine, proof=(*genuine.proof, EMPTY_ROOT)),
        log.submission(20, 30), replace(log.submission(15, 30), old=21),
    ]  # fmt: skip
    for submission in sent:
        witness.add_checkpoint(bytes(submission))
    assert list(witness.evidence()) == []
    assert witness.add_checkpoint(bytes(genuine)).status == 200


def test_a_contradiction_is_kept_once_and_they_are_bounded(
    witness: Witness, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert witness.add_checkpoint(bytes(log.submission(0, 20))).status == 200
    monkeypatch.setattr("ledger.publication.witness.MAX_EVIDENCE_ROWS", 3)
    forked = AddCheckpointRequest(0, (), log.fork(5).note(20))
    for _ in range(4):
        # Anybody can add signature lines to a note of the log's.
        by_anybody = signer("anybody.example").sign(forked.note.text)
        varied = replace(forked, note=forked.note.with_signatures([by_anybody]))
        assert witness.add_checkpoint(bytes(varied)).status == 409
    (kept,) = witness.evidence()
    assert Note.parse(str(kept["refused"])) == forked.note
    for at in range(6, 12):
        witness.add_checkpoint(bytes(AddCheckpointRequest(0, (), log.fork(at).note(20))))
    assert len(witness.evidence()) == 3


def test_a_copy_shows_which_shorter_checkpoint_is_of_another_history(
    pool: Database, log: Log
) -> None:
    class Copied:
        def root_at(self, size: int) -> bytes | None:
            return log.tree.root(size)

    witness = Witness(pool, "ME", signer("witness.example/me"), trusted(log.key), Copied())
    assert witness.add_checkpoint(bytes(log.submission(0, 20))).status == 200
    assert witness.add_checkpoint(bytes(AddCheckpointRequest(0, (), log.note(11)))).status == 409
    assert list(witness.evidence()) == []
    assert (
        witness.add_checkpoint(bytes(AddCheckpointRequest(0, (), log.fork(5).note(11)))).status
        == 409
    )
    assert len(witness.evidence()) == 1


def test_a_witness_never_cosigns_two_histories_at_once(witness: Witness, log: Log) -> None:
    assert witness.add_checkpoint(bytes(log.submission(0, 10))).status == 200
    sent = [bytes(side.submission(10, 20)) for side in (log, log.fork(15)) for _ in range(4)]
    answers: list[WitnessAnswer] = []
    threads = [
        threading.Thread(target=lambda s=s: answers.append(witness.add_checkpoint(s))) for s in sent
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(a.status for a in answers) == [200] + [409] * 7


def test_the_databases_roles(witness: Witness, log: Log, database: str) -> None:
    assert witness.add_checkpoint(bytes(log.submission(0, 10))).status == 200
    for role, statement in [
        ("case_ledger_witness_me", "UPDATE witness_me.cosigned SET size = 5"),
        ("case_ledger_witness_me", "DELETE FROM witness_me.cosigned"),
        ("case_ledger_witness_me", "DELETE FROM witness_me.evidence"),
        ("case_ledger_witness_me", "SELECT * FROM witness_xk.cosigned"),
        ("case_ledger_app", "SELECT * FROM witness_me.cosigned"),
        ("case_ledger_app", "UPDATE log.signed SET size = 5"),
        ("case_ledger_app", "DELETE FROM log.published"),
        ("case_ledger_app", "DELETE FROM log.cosignatures"),
    ]:
        with psycopg.connect(database) as connection:
            connection.execute(f"SET ROLE {role}")  # type: ignore[arg-type]
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)  # type: ignore[arg-type]


class Unreachable:
    """A witness that is down until it is not."""

    def __init__(self, witness: Witness) -> None:
        self.witness = witness
        self.is_down = True

    def add_checkpoint(self, request: bytes) -> WitnessAnswer:
        if self.is_down:
            raise ConnectionError
        return self.witness.add_checkpoint(request)

    def latest(self, origin_hash: str) -> str | None:
        return self.witness.latest(origin_hash)


@dataclass
class Boaster:
    """A witness that says to hold more, and shows ``note`` for it."""

    size: int
    note: str | None

    def add_checkpoint(self, request: bytes) -> WitnessAnswer:  # noqa: ARG002
        return WitnessAnswer(409, f"{self.size}\n", SIZE_TYPE)

    def latest(self, origin_hash: str) -> str | None:  # noqa: ARG002
        return self.note


@dataclass
class Watched:
    """The statements of publication on witnesses."""

    told: list[tuple[str, str, int]] = field(default_factory=list)

    def witness_is_ahead(self, name: str, size: int) -> None:
        self.told.append(("ahead", name, size))

    def witness_claims(self, name: str, size: int) -> None:
        self.told.append(("claims", name, size))

    def witness_went_back(self, name: str, cosigned: int, holds: int) -> None:  # noqa: ARG002
        self.told.append(("went back", name, holds))

    def witness_follows(self, name: str) -> None:
        self.told.append(("follows", name, 0))


def publish_with(
    rows: LedgerRecorder,
    pool: Database,
    key: SignerKey,
    clients: Mapping[str, WitnessClient],
    policy: Policy,
    watch: WitnessWatch | None = None,
) -> Publication:
    """Publication by a policy that never changes."""
    return Publication(
        rows, pool, [key], lambda name, _: clients.get(name), lambda _: policy, watch=watch
    )


@dataclass
class Published:
    publication: Publication
    witnesses: dict[str, Witness]
    flaky: Unreachable
    policy: Policy


@pytest.fixture
def publishing(ledger: Ledger, pool: Database) -> Published:
    key = signer(ORIGIN, SignatureType.ED25519)
    logs = trusted(key)
    witnesses = {p: Witness(pool, p, signer(f"w.example/{p}"), logs) for p in ("AL", "ME", "XK")}
    flaky = Unreachable(witnesses["AL"])
    clients: dict[str, WitnessClient] = {**witnesses, "AL": flaky}
    policy = Policy.of(
        key.verifier, {p: TrustedWitness(w.signer.verifier) for p, w in witnesses.items()}
    )
    publication = publish_with(ledger.rows, pool, key, clients, policy)
    return Published(publication, witnesses, flaky, policy)


def append(ledger: Ledger, agencies: Agencies) -> int:
    grant = agencies.grant("xk-dhtqnj", keys.generate())
    signed = agencies.sign("xk-nac", KeyRegistered(acted_at=PAST, grant=grant), None)
    return ledger.append_to_registry(signed_action.read(signed)).position


def test_what_a_quorum_cosigned_is_published(
    publishing: Published, ledger: Ledger, agencies: Agencies, pool: Database
) -> None:
    size = ledger.head()
    standing = publishing.publication.step()
    assert (standing.signed, standing.published) == (size, 0)
    assert standing.witnesses == {"AL": 0, "ME": size, "XK": size}
    assert published(pool) is None
    # Appends go on; what is published waits.
    position = append(ledger, agencies)
    assert publishing.publication.step().published == 0
    publishing.flaky.is_down = False
    standing = publishing.publication.step()
    assert standing.published == standing.signed == position
    last = published(pool)
    assert last is not None
    note, checkpoint = last
    assert publishing.policy.check(note)[1].keys() == {"AL", "ME", "XK"}
    assert checkpoint == Checkpoint(ORIGIN, position, ledger.rows.frontier().root())
    assert publishing.publication.step() == standing


def test_a_witness_that_says_to_be_ahead_proves_it(ledger: Ledger, pool: Database) -> None:
    """Its word alone proves nothing: one party could stop the ledger by it, again and again."""
    key, other = (signer(ORIGIN, SignatureType.ED25519) for _ in range(2))
    policy = Policy.of(key.verifier, {"ME": TrustedWitness(signer("w.example/ME").verifier)})
    size = ledger.head()

    def note(by: SignerKey, signed: int, origin: str = ORIGIN) -> str:
        text = str(Checkpoint(origin, signed, bytes(32)))
        return str(Note(text, (by.sign(text),)))

    shown = {
        None: "claims",
        "no note": "claims",
        note(other, 10**6): "claims",
        note(key, size): "claims",
        note(key, 10**6): "ahead",
    }
    for text, verdict in shown.items():
        watch, boaster = Watched(), Boaster(10**6, text)
        clients: dict[str, WitnessClient] = {"ME": boaster}
        publish_with(ledger.rows, pool, key, clients, policy, watch).step()
        assert watch.told == [(verdict, "ME", 10**6)]


@dataclass
class Late:
    """A witness of which an old answer comes first, once ``size`` is set."""

    witness: Witness
    size: int | None = None

    def add_checkpoint(self, request: bytes) -> WitnessAnswer:
        if self.size is not None:
            size, self.size = self.size, None
            return WitnessAnswer(409, f"{size}\n", SIZE_TYPE)
        return self.witness.add_checkpoint(request)

    def latest(self, origin_hash: str) -> str | None:
        return self.witness.latest(origin_hash)


def test_an_old_answer_of_a_witness_is_not_taken_for_a_loss(
    ledger: Ledger, agencies: Agencies, pool: Database, database: str
) -> None:
    key = signer(ORIGIN, SignatureType.ED25519)
    late = Late(Witness(pool, "ME", signer("w.example/ME"), trusted(key)))
    policy = Policy.of(key.verifier, {"ME": TrustedWitness(late.witness.signer.verifier)})
    watch = Watched()
    publication = publish_with(ledger.rows, pool, key, {"ME": late}, policy, watch)
    first = publication.step().published
    between = append(ledger, agencies)
    publication.step()
    append(ledger, agencies)
    late.size = first
    publication.step()
    assert publication.step().published == between + 1
    assert {verdict for verdict, *_ in watch.told} == {"follows"}
    # A witness that lost what it had cosigns from what it holds on: that is told.
    with psycopg.connect(database) as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute("DELETE FROM witness_me.cosigned")
    append(ledger, agencies)
    publication.step()
    assert ("went back", "ME", 0) in watch.told


@dataclass
class Garbled:
    """A witness whose cosignatures do not verify."""

    witness: Witness
    garble: Callable[[str], str]
    is_garbled: bool = False

    def add_checkpoint(self, request: bytes) -> WitnessAnswer:
        answer = self.witness.add_checkpoint(request)
        return replace(answer, body=self.garble(answer.body)) if self.is_garbled else answer

    def latest(self, origin_hash: str) -> str | None:
        return self.witness.latest(origin_hash)


def _other_signature(body: str) -> str:
    line = NoteSignature.parse(body.splitlines()[0])
    return str(replace(line, signature=line.signature[:8] + bytes(64)))


@pytest.mark.parametrize("garble", [_other_signature, lambda _: "no signature\n"])
def test_times_are_asked_anew_though_one_witness_garbles(
    publishing: Published,
    ledger: Ledger,
    pool: Database,
    garble: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else one party could stop the time by which erasures are counted."""
    garbled = Garbled(publishing.witnesses["ME"], garble)
    clients: dict[str, WitnessClient] = {**publishing.witnesses, "ME": garbled}
    key = signer(ORIGIN, SignatureType.ED25519)
    policy = Policy.of(key.verifier, publishing.policy.witnesses, threshold=2)
    for one in publishing.witnesses.values():
        one._logs = trusted(key)
    publication = publish_with(ledger.rows, pool, key, clients, policy)
    publication.step()
    garbled.is_garbled = True
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    monkeypatch.setattr("ledger.system.clock.now", lambda: tomorrow)
    heard: set[str] = set()
    publication._heard = lambda witness, _: heard.add(witness.key.name)
    publication.refresh(tomorrow)
    assert heard == {"w.example/AL", "w.example/XK"}


def test_nothing_is_signed_with_another_key_than_before(
    publishing: Published, ledger: Ledger, pool: Database
) -> None:
    publishing.publication.step()
    other = signer(ORIGIN, SignatureType.ED25519)
    replaced = publish_with(
        ledger.rows, pool, other, {}, Policy.of(other.verifier, publishing.policy.witnesses)
    )
    with pytest.raises(AnotherKeyError):
        replaced.step()
    # A policy that names both is how the parties agree to a new key.
    both = replace(publishing.policy, logs=(*publishing.policy.logs, other.verifier))
    publish_with(ledger.rows, pool, other, {}, both).step()


def test_nothing_is_signed_once_history_was_changed(
    publishing: Published, ledger: Ledger, agencies: Agencies, database: str
) -> None:
    publishing.flaky.is_down = False
    publishing.publication.step()
    append(ledger, agencies)
    with psycopg.connect(database) as connection:  # as the owner
        connection.execute("ALTER TABLE ledger.events DISABLE TRIGGER ALL")
        connection.execute(
            "UPDATE ledger.events SET leaf_hash = sha256('x') WHERE notification_id = 3"
        )
    with pytest.raises(HistoryChangedError):
        publishing.publication.step()


def test_witnesses_refuse_a_log_that_forgot_what_it_signed(
    publishing: Published, ledger: Ledger, agencies: Agencies, database: str
) -> None:
    """The operator rolls back its own tables too; the witnesses' memory is not its own."""
    publishing.flaky.is_down = False
    before = publishing.publication.step()
    with psycopg.connect(database) as connection:
        connection.execute("ALTER TABLE ledger.events DISABLE TRIGGER ALL")
        connection.execute("ALTER TABLE ledger.head DISABLE TRIGGER ALL")
        connection.execute("TRUNCATE log.signed, log.cosignatures, log.published, log.timestamps")
        connection.execute("DELETE FROM ledger.events WHERE notification_id > 20")
        leaves = connection.execute(
            "SELECT leaf_hash FROM ledger.events ORDER BY notification_id"
        ).fetchall()
        tree = Tree(
            20, lambda _, start, count: [bytes(r[0]) for r in leaves[start : start + count]]
        )
        connection.execute(
            "UPDATE ledger.head SET position = 20, frontier = %s", (tree.frontier().to_bytes(),)
        )
    rolled_back = Ledger(ledger.env)
    with rolled_back:
        forgetful = Publication(
            rolled_back.rows,
            publishing.publication._database,
            publishing.publication._signers,
            publishing.publication._client_of,
            publishing.publication.policy_at,
        )
        assert forgetful.step().published == 0
        for _ in range(before.signed - 20 + 3):
            append(rolled_back, agencies)
        assert forgetful.step().published == 0
    for witness in publishing.witnesses.values():
        assert witness.evidence()


def test_a_submission_is_read_back(log: Log) -> None:
    sent = log.submission(5, 20)
    assert AddCheckpointRequest.parse(bytes(sent)) == sent
    lines = bytes(sent).decode().split("\n")
    assert lines[0] == "old 5"
    assert base64.b64decode(lines[1]) == sent.proof[0]
    assert VerifierKey.parse(str(log.key.verifier)) == log.key.verifier
