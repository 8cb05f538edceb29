"""Signs the ledger's checkpoints, has them cosigned, and publishes those with a quorum."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Protocol

import structlog
from psycopg import Connection
from psycopg.rows import DictRow

from ledger.log.checkpoint import Checkpoint
from ledger.log.merkle import Tree
from ledger.log.note import Note, NoteError, NoteSignature, SignerKey, VerifierKey, verify
from ledger.log.policy import Policy, TrustedWitness
from ledger.publication.dated_checkpoints import is_stale, keep_dated
from ledger.publication.witness import SIZE_TYPE, AddCheckpointRequest, WitnessAnswer, WitnessClient
from ledger.store.database import Database
from ledger.store.recorder import LedgerRecorder
from ledger.system import clock

STRIDE = 1000
"""At most so many events lie between two signed sizes, for those who copy from one to the next."""

REFRESHED_AFTER = timedelta(hours=6)
"""Times of the last published checkpoint that differ so much from the clock are asked for anew."""
_REFRESH_SECONDS = 10.0
_FOR_ALL_SECONDS = 1.0
"""Publication waits so long for the witnesses that cosigned what was published last."""

PolicyAt = Callable[[int], Policy]
"""The policy for a checkpoint of some size."""
Heard = Callable[[TrustedWitness, datetime], None]
"""Told when a witness says that it cosigned just now."""
ClientOf = Callable[[str, TrustedWitness], WitnessClient | None]
"""How to reach a witness of the policy; ``None`` where there is no way."""

_SIGNED_AFTER = """
SELECT COALESCE(
    (SELECT note FROM log.signed
     WHERE size > %(size)s AND size <= least(%(size)s + %(stride)s, %(upto)s)
     ORDER BY size DESC LIMIT 1),
    (SELECT note FROM log.signed WHERE size > %(size)s ORDER BY size LIMIT 1),
    (SELECT note FROM log.signed ORDER BY size DESC LIMIT 1)
) AS note
"""

MAX_SIZE = 2**62
"""A size beyond every ledger's."""
_log = structlog.get_logger(__name__)


class HistoryChangedError(RuntimeError):
    """The tree is not the one that was signed: its history was altered, and nothing is signed."""


class AnotherKeyError(RuntimeError):
    """No key of this node is the one that must sign, and nothing is signed."""


@dataclass(frozen=True, slots=True)
class LogProgress:
    """The sizes up to which the log is signed, cosigned by each witness, and published."""

    signed: int
    published: int
    witnesses: Mapping[str, int]


class WitnessWatch(Protocol):
    """The receiver of findings about witnesses that do not stand where this log left them."""

    def witness_is_ahead(self, name: str, size: int) -> None:
        """Note that a witness shows a checkpoint with more events than this ledger has.

        The key of this ledger's log signed the checkpoint.
        """

    def witness_claims(self, name: str, size: int) -> None:
        """Note that a witness claims more events than this ledger has, and shows no proof."""

    def witness_went_back(self, name: str, cosigned: int, holds: int) -> None:
        """Note that a witness holds fewer events than it cosigned."""

    def witness_follows(self, name: str) -> None:
        """Note that a witness cosigned the checkpoint that it was sent."""


class Publication:
    """One log's checkpoints. Every step is safe to repeat, and to run in several processes."""

    def __init__(
        self,
        rows: LedgerRecorder,
        database: Database,
        signers: Iterable[SignerKey],
        client_of: ClientOf,
        policy_at: PolicyAt,
        heard: Heard = lambda _witness, _moment: None,
        watch: WitnessWatch | None = None,
    ) -> None:
        self.policy_at = policy_at
        self._heard = heard
        self._watch = watch
        self._rows = rows
        self._database = database
        self._signers = signers
        self._client_of = client_of
        self._workers = ThreadPoolExecutor(max_workers=8, thread_name_prefix="witness")
        self._asked: dict[str, Future[None]] = {}

    def close(self) -> None:
        """Let the requests that are under way end."""
        self._workers.shutdown()

    def step(self) -> LogProgress:
        """Sign new events, ask witnesses that are behind, publish a checkpoint with a quorum."""
        self.sign()
        return self.gather()

    def sign(self) -> int:
        """Sign a checkpoint of new events, and return the last signed size.

        Raises ``HistoryChangedError`` if the tree no longer continues the last signed checkpoint,
        and ``AnotherKeyError`` if no key of this node is one that must sign.
        """
        tree = self._rows.tree()
        last = self._last_signed()
        signed = 0
        if last is not None:
            note, checkpoint = last
            signed = checkpoint.size
            if tree.size < signed or tree.root(signed) != checkpoint.root:
                raise HistoryChangedError(
                    f"the events up to position {signed} are not those that were signed"
                )
            self._check_key(note, signed)
        for size in _strides(signed, tree.size):
            signer = self._signer(size)
            if signer is not None:
                checkpoint = Checkpoint(signer.name, size, tree.root(size))
                text = str(checkpoint)
                with self._database.connection() as connection:
                    keep_signed(connection, checkpoint, Note(text, (signer.sign(text),)))
                signed = size
            elif size == tree.size:
                raise _another_key()
        if self._signer(tree.size + 1) is None:
            raise _another_key()  # said before the next event, which nobody would sign
        return signed

    def gather(self) -> LogProgress:
        """Ask for cosignatures of the last signed checkpoint, and publish it with a quorum.

        All witnesses are asked about the same checkpoint, at the same time. A published checkpoint
        shall carry the cosignature of every witness that is not away. So the witnesses that
        cosigned the checkpoint before have a second to answer. After that a quorum is enough.
        """
        last = self._last_signed()
        if last is not None:
            note, checkpoint = last
            policy = self.policy_at(checkpoint.size)
            waiting = self._ask_all(policy, note, checkpoint)
            wait(self._present(policy), timeout=_FOR_ALL_SECONDS)
            while not self._publish(policy, note, checkpoint) and waiting:
                _, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        return self.standing()

    def standing(self) -> LogProgress:
        """Return how far the log is signed, cosigned and published, as stored."""
        return standing(self._database, self.policy_at)

    def _last_signed(self) -> tuple[Note, Checkpoint] | None:
        return signed(self._database)

    def _signer(self, size: int) -> SignerKey | None:
        accepted = self.policy_at(size).logs
        return next((signer for signer in self._signers if signer.verifier in accepted), None)

    def _check_key(self, last: Note, size: int) -> None:
        accepted = {key.key_id for key in self.policy_at(size).logs}
        if not any(signature.key_id in accepted for signature in last.signatures):
            raise AnotherKeyError(
                "the ledger was signed before with a log key that is not in the policy; put the "
                "key back, or agree on a policy that names both"
            )

    def _ask_all(self, policy: Policy, note: Note, checkpoint: Checkpoint) -> set[Future[None]]:
        sizes = _cosigned_sizes(self._database, policy)
        tree = Tree(checkpoint.size, self._rows.read_hashes)
        for name, trusted in policy.witnesses.items():
            under_way = name in self._asked and not self._asked[name].done()
            client = self._client_of(name, trusted)
            # Each is asked once in any case: it may know of more than this database does.
            is_due = sizes[name] < checkpoint.size or name not in self._asked
            if is_due and not under_way and client is not None:
                self._asked[name] = self._workers.submit(
                    self._ask, name, trusted, client, sizes[name], tree, note, checkpoint
                )
        return {asked for asked in self._asked.values() if not asked.done()}

    def _present(self, policy: Policy) -> set[Future[None]]:
        """Return the open requests to witnesses that cosigned the last published checkpoint."""
        _, before = sizes(self._database)
        cosigned = _cosigned_sizes(self._database, policy)
        asked = {name: self._asked[name] for name in policy.witnesses if name in self._asked}
        return {one for name, one in asked.items() if cosigned[name] >= before and not one.done()}

    def _ask(
        self,
        name: str,
        trusted: TrustedWitness,
        witness: WitnessClient,
        old: int,
        tree: Tree,
        note: Note,
        checkpoint: Checkpoint,
    ) -> None:
        held: int | None = None
        try:
            answer = self._submit(witness, old, tree, note, checkpoint)
            if answer.status == 409 and answer.media_type.startswith(SIZE_TYPE):
                held = int(answer.body)
                self._look_ahead(name, witness, held)
                if held > checkpoint.size:
                    return
                answer = self._submit(witness, held, tree, note, checkpoint)
            if answer.status == 503:
                _log.info("a witness does not have the events yet", witness=name)
                return
            if answer.status != 200:
                _log.error("a witness refused the checkpoint", witness=name, status=answer.status)
                return
            self._keep(name, trusted, checkpoint, note, answer)
            if self._watch is not None:
                if held is not None and held < old and self._cosigned_by(name, trusted, old):
                    # It cosigned from there on, so it held no more. Its word alone could be an
                    # old answer that came late.
                    self._watch.witness_went_back(name, old, held)
                self._watch.witness_follows(name)
        except Exception as error:
            # Publication waits for the witness; appends do not.
            _log.warning("no cosignature", witness=name, error=type(error).__name__)

    def _look_ahead(self, name: str, witness: WitnessClient, held: int) -> None:
        """Report to the watch a witness that holds more events than this ledger has."""
        # Another process may have asked it meanwhile.
        if self._watch is None or held <= self._rows.frontier().size:
            return
        if (shown := self._shown(witness)) is None:
            self._watch.witness_claims(name, held)
        else:
            self._watch.witness_is_ahead(name, shown)

    def _shown(self, witness: WitnessClient) -> int | None:
        """Return the size of a larger checkpoint that a witness shows; ``None`` without one.

        The checkpoint counts only if a key of this log signed it. A witness's word alone proves
        nothing: any party could stop the ledger by it.
        """
        last = self._last_signed()
        if last is None:
            return None
        # An older database may lack the decision by which this node's own key counts.
        current = [signer.verifier for signer in self._signers][-1:]
        keys = {*self.policy_at(last[1].size).logs, *current}
        origin = last[1].origin
        try:
            note = Note.parse(witness.latest(sha256(origin.encode()).hexdigest()) or "")
            checkpoint = Checkpoint.parse(note.text)
            is_signed = verify(note, [key for key in keys if key.name == origin])
        except (NoteError, ConnectionError):
            return None
        is_larger = checkpoint.size > self._rows.frontier().size
        return checkpoint.size if is_signed and is_larger and checkpoint.origin == origin else None

    def _cosigned_by(self, name: str, trusted: TrustedWitness, size: int) -> bool:
        """Return whether the witness's present key cosigned a checkpoint of this size."""
        with self._database.connection() as connection:
            row = connection.execute(
                "SELECT line FROM log.cosignatures WHERE size = %s AND witness = %s", (size, name)
            ).fetchone()
        return row is not None and trusted.key.made(NoteSignature.parse(row["line"]))

    def _submit(
        self, witness: WitnessClient, old: int, tree: Tree, note: Note, checkpoint: Checkpoint
    ) -> WitnessAnswer:
        proof = tuple(tree.consistency(old, checkpoint.size)) if old else ()
        return witness.add_checkpoint(bytes(AddCheckpointRequest(old, proof, note)))

    def _keep(
        self,
        name: str,
        trusted: TrustedWitness,
        checkpoint: Checkpoint,
        note: Note,
        answer: WitnessAnswer,
    ) -> None:
        key = trusted.key
        for line in answer.body.splitlines():
            signature = NoteSignature.parse(line)
            if key.made(signature):
                cosigned_at = key.verify(note.text, signature)
                if cosigned_at is not None:
                    self._heard(trusted, cosigned_at)
                with self._database.connection() as connection:
                    connection.execute(
                        "INSERT INTO log.cosignatures (size, witness, line, received_at)"
                        " VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
                        (checkpoint.size, name, str(signature), clock.now()),
                    )
                return
        raise NoteError("the answer has no cosignature by the witness's key")

    def _publish(self, policy: Policy, note: Note, checkpoint: Checkpoint) -> bool:
        with self._database.connection() as connection:
            rows = connection.execute(
                "SELECT witness, line FROM log.cosignatures WHERE size = %s ORDER BY witness",
                (checkpoint.size,),
            ).fetchall()
        lines = {row["witness"]: NoteSignature.parse(row["line"]) for row in rows}
        cosigned = {
            name: lines[name]
            for name, trusted in policy.witnesses.items()
            if name in lines and trusted.key.made(lines[name])
        }
        if not policy.is_met(cosigned):
            return False
        whole = note.with_signatures(cosigned.values())
        policy.check(whole)
        with self._database.connection() as connection:
            keep_published(connection, checkpoint, whole)
            keep_dated(connection, checkpoint.size, whole, policy)
        return True

    def refresh(self, now: datetime) -> bool:
        """Have the last published checkpoint cosigned again if its times are not of ``now``.

        So a log that does not grow shows that time passes. Return whether there are new times.
        """
        last, signed = published(self._database), self._last_signed()
        if last is None or signed is None or last[1].size != signed[1].size:
            return False
        if not is_stale(self._database, now, REFRESHED_AFTER):
            return False
        note, checkpoint = last
        policy = self.policy_at(checkpoint.size)
        by_log = [one for one in note.signatures if any(key.made(one) for key in policy.logs)]
        plain = Note(note.text, tuple(by_log))
        lines = self._cosigned_again(policy, plain, checkpoint)
        if not policy.is_met(lines):
            return False
        whole = plain.with_signatures(lines.values())
        _, times = policy.check(whole)
        for name, moment in times.items():
            self._heard(policy.witnesses[name], moment)
        with self._database.connection() as connection:
            return keep_dated(connection, checkpoint.size, whole, policy)

    def _cosigned_again(
        self, policy: Policy, note: Note, checkpoint: Checkpoint
    ) -> Mapping[str, NoteSignature]:
        """Ask all witnesses at once, and wait for all of them, for some seconds at most."""
        request = bytes(AddCheckpointRequest(checkpoint.size, (), note))
        asked = {
            name: self._workers.submit(client.add_checkpoint, request)
            for name, trusted in policy.witnesses.items()
            if (client := self._client_of(name, trusted)) is not None
        }
        wait(asked.values(), timeout=_REFRESH_SECONDS)
        lines: dict[str, NoteSignature] = {}
        for name, future in asked.items():
            if not future.done() or future.exception() is not None:
                continue
            line = _cosignature(policy.witnesses[name].key, note, future.result())
            if line is not None:
                lines[name] = line
        return lines


def _cosignature(key: VerifierKey, note: Note, answer: WitnessAnswer) -> NoteSignature | None:
    """Return a witness's cosignature from its answer; ``None`` if none verifies."""
    if answer.status != 200:
        return None
    try:
        for line in map(NoteSignature.parse, answer.body.splitlines()):
            if key.made(line):
                key.verify(note.text, line)
                return line
    except NoteError:
        _log.error("a witness gave a cosignature that does not verify", witness=key.name)
    return None


def keep_signed(connection: Connection[DictRow], checkpoint: Checkpoint, note: Note) -> None:
    """Store a checkpoint that the log signed; the first note of a size stays."""
    connection.execute(
        "INSERT INTO log.signed (size, root, note, signed_at) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT DO NOTHING",
        (checkpoint.size, checkpoint.root, str(note), clock.now()),
    )


def keep_published(connection: Connection[DictRow], checkpoint: Checkpoint, note: Note) -> None:
    """Store a checkpoint that a quorum cosigned; the first note of a size stays."""
    connection.execute(
        "INSERT INTO log.published (size, note, published_at) VALUES (%s, %s, %s)"
        " ON CONFLICT DO NOTHING",
        (checkpoint.size, str(note), clock.now()),
    )


def sizes(database: Database) -> tuple[int, int]:
    """Return how many events the last signed and the last published checkpoint cover."""
    with database.connection() as connection:
        row = connection.execute(
            "SELECT COALESCE((SELECT max(size) FROM log.signed), 0) AS signed,"
            " COALESCE((SELECT max(size) FROM log.published), 0) AS published"
        ).fetchone()
    return (row["signed"], row["published"]) if row else (0, 0)


def _another_key() -> AnotherKeyError:
    return AnotherKeyError(
        "the policy in force names another log key than this node has; put that key "
        "into its key directory, or agree on a policy that names this node's, which "
        "`case-ledger log key` prints"
    )


def signed_since(database: Database, size: int) -> datetime | None:
    """Return the time when the log signed its first checkpoint of more than ``size`` events.

    The result is ``None`` if the log signed none.
    """
    with database.connection() as connection:
        row = connection.execute(
            "SELECT signed_at FROM log.signed WHERE size > %s ORDER BY size LIMIT 1", (size,)
        ).fetchone()
    return None if row is None else row["signed_at"]


def standing(database: Database, policy_at: PolicyAt) -> LogProgress:
    """Return how far the log is signed, cosigned and published, as the ledger node stored it."""
    signed, published = sizes(database)
    return LogProgress(signed, published, _cosigned_sizes(database, policy_at(signed)))


def published(database: Database) -> tuple[Note, Checkpoint] | None:
    """Return the last published checkpoint, with its cosignatures; ``None`` before the first."""
    with database.connection() as connection:
        row = connection.execute(
            "SELECT note FROM log.published ORDER BY size DESC LIMIT 1", prepare=True
        ).fetchone()
    return None if row is None else _read(row["note"])


def signed(database: Database) -> tuple[Note, Checkpoint] | None:
    """Return the last checkpoint that the log signed, with or without cosignatures."""
    with database.connection() as connection:
        row = connection.execute(
            "SELECT note FROM log.signed ORDER BY size DESC LIMIT 1", prepare=True
        ).fetchone()
    return None if row is None else _read(row["note"])


def signed_after(
    database: Database, size: int, upto: int | None = None
) -> tuple[Note, Checkpoint] | None:
    """Return a checkpoint of more than ``size`` events, or else the last signed one.

    It is the largest one within one stride after ``size`` that has no more than ``upto`` events. If
    there is none, it is the next larger one. The result is ``None`` if the log signed nothing yet.
    """
    with database.connection() as connection:
        row = connection.execute(
            _SIGNED_AFTER,
            {"size": size, "stride": STRIDE, "upto": MAX_SIZE if upto is None else upto},
            prepare=True,
        ).fetchone()
    return None if row is None or row["note"] is None else _read(row["note"])


def _cosigned_sizes(database: Database, policy: Policy) -> dict[str, int]:
    """Return the size that each witness of the policy cosigned last: one index probe each."""
    with database.connection() as connection:
        rows = connection.execute(
            "SELECT witness, COALESCE((SELECT max(size) FROM log.cosignatures c"
            " WHERE c.witness = w.witness), 0) AS size"
            " FROM unnest(%s::text[]) AS w (witness)",
            (list(policy.witnesses),),
        ).fetchall()
    return {row["witness"]: row["size"] for row in rows}


def _strides(signed: int, size: int) -> Iterable[int]:
    yield from range(signed + STRIDE, size, STRIDE)
    if size > signed:
        yield size


def _read(content: str) -> tuple[Note, Checkpoint]:
    note = Note.parse(content)
    return note, Checkpoint.parse(note.text)
