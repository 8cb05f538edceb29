"""A witness (C2SP ``tlog-witness``): cosigns a log's checkpoints, each consistent with the last."""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from psycopg import Connection
from psycopg.rows import DictRow
from psycopg.sql import SQL, Identifier

from ledger.log.checkpoint import Checkpoint, read_hash, read_number, write_hash
from ledger.log.merkle import EMPTY_ROOT, ProofError, check_consistency, proven_older_root
from ledger.log.note import Note, NoteError, NoteSignature, SignerKey, VerifierKey, verify
from ledger.log.policy import Policy
from ledger.log.tlog_proof import MAX_PATH
from ledger.store.database import Database
from ledger.store.migrate import witness_role, witness_schema
from ledger.system import clock

SIZE_TYPE = "text/x.tlog.size"
MAX_EVIDENCE_ROWS = 64
"""So many contradictions of one log are kept. Only the log's own key can sign one."""


@dataclass(frozen=True, slots=True)
class WitnessAnswer:
    """An HTTP answer: 200 with cosignature lines, or a refusal."""

    status: int
    body: str = ""
    media_type: str = "text/plain; charset=utf-8"


TrustedLogs = Callable[[str], Collection[VerifierKey]]
"""The keys that are trusted now for a log, by its origin; none for an unknown log."""


class Copy(Protocol):
    """The events themselves, as this party's node copied and verified them."""

    def root_at(self, size: int) -> bytes | None:
        """Return the root of the first ``size`` events; ``None`` until the copy has all of them."""


class WitnessClient(Protocol):
    """A witness, here or elsewhere."""

    def add_checkpoint(self, request: bytes) -> WitnessAnswer:
        """Send the witness a checkpoint to cosign, and return its answer.

        Raises ``ConnectionError`` if the witness does not answer.
        """

    def latest(self, origin_hash: str) -> str | None:
        """Return the last checkpoint that the witness has of a log.

        ``origin_hash`` is the SHA-256 of the log's origin. Raises ``ConnectionError`` if the
        witness does not answer.
        """


@dataclass(frozen=True, slots=True)
class AddCheckpointRequest:
    """A request to a witness: a checkpoint, and a proof that it continues one of ``old`` leaves."""

    old: int
    proof: tuple[bytes, ...]
    note: Note

    def __bytes__(self) -> bytes:
        lines = [f"old {self.old}", *map(write_hash, self.proof)]
        return ("\n".join(lines) + f"\n\n{self.note}").encode()

    @classmethod
    def parse(cls, request: bytes) -> "AddCheckpointRequest":
        """Read a request's body.

        Raises ``NoteError`` if the body is no such request.
        """
        try:
            head, blank, note = request.decode("utf-8").partition("\n\n")
        except UnicodeDecodeError:
            raise NoteError("a request is UTF-8") from None
        first, *lines = head.split("\n")
        if not blank or not first.startswith("old "):
            raise NoteError("a request begins with the old size, and an empty line follows")
        if len(lines) > MAX_PATH:
            raise NoteError(f"a proof has at most {MAX_PATH} hashes")
        old = read_number(first.removeprefix("old "))
        return cls(old, tuple(map(read_hash, lines)), Note.parse(note))


class AnotherDecisionError(ValueError):
    """The parties' adopted policy does not allow the witness to follow it, or to go back."""


@dataclass(frozen=True, slots=True)
class Adopted:
    """A policy that every party adopted, with the ledger in which its adoption is recorded.

    The code that makes one has verified the events, their signatures and the adoption by all
    parties.
    """

    policy: Policy
    since: int
    """The size from which on it holds."""
    note: Note
    """A checkpoint of ``since`` events or more, of the verified events."""
    root_at: Callable[[int], bytes | None]
    """The root of the first so many of them; ``None`` where there are fewer."""


@dataclass(frozen=True, slots=True)
class Applied:
    """The changes that following an adopted policy made."""

    size: int
    """The size that the witness holds now."""
    reset_from: int | None
    """The size that it held of another history, if it did; that note is kept as evidence."""


@dataclass(frozen=True, slots=True)
class _Held:
    size: int
    root: bytes
    note: str


class Witness:
    """One party's witness, with its state in a schema and role of its own.

    With a ``copy`` of the events, the witness cosigns only events that the copy has. So no event
    that a checkpoint covers is lost while one of the witnesses is left.
    """

    def __init__(
        self,
        database: Database,
        party: str,
        signer: SignerKey,
        logs: TrustedLogs,
        copy: Copy | None = None,
        also: Sequence[SignerKey] = (),
    ) -> None:
        """Set up the witness; ``also`` are later keys of the party.

        Where no policy is known, each of these keys cosigns too.
        """
        self.party = party
        self.signer = signer
        self._also = tuple(also)
        self._database = database
        self._logs = logs
        self._copy = copy
        self._role = witness_role(party)
        self._schema = Identifier(witness_schema(party))

    def add_checkpoint(self, request: bytes) -> WitnessAnswer:
        """Cosign a checkpoint that continues the last one, or refuse it as the spec says."""
        try:
            sent = AddCheckpointRequest.parse(request)
            checkpoint = Checkpoint.parse(sent.note.text)
        except NoteError as error:
            return WitnessAnswer(400, f"{error}\n")
        keys = self._recorded_keys(checkpoint.origin) or self._logs(checkpoint.origin)
        if not keys:
            return WitnessAnswer(404, "this log is not known here\n")
        try:
            if not verify(sent.note, keys):
                return WitnessAnswer(403, "no trusted key of the log signed the checkpoint\n")
        except NoteError as error:
            return WitnessAnswer(403, f"{error}\n")
        if sent.old > checkpoint.size:
            return WitnessAnswer(400, "the old size is greater than the checkpoint's\n")
        copied = None if self._copy is None else self._copy.root_at(checkpoint.size)
        if self._copy is not None and copied is None:
            return WitnessAnswer(503, "the events are not copied here yet\n")
        with self._database.transaction(role=self._role) as connection:
            return self._decide(connection, sent, checkpoint, keys, copied)

    def follow(self, adopted: Adopted) -> Applied:
        """Trust the log keys of an adopted policy from now on, and no others.

        A leaked log key can make a witness cosign events that the log never had. If the last note
        that the witness cosigned is of another history than the verified events, and by a key that
        counts no more, the witness goes back to those events. It keeps that note as evidence.
        Raises ``AnotherDecisionError``, and changes nothing then.
        """
        checkpoint = Checkpoint.parse(adopted.note.text)
        own = [key for key in adopted.policy.logs if key.name == checkpoint.origin]
        if checkpoint.size < adopted.since or adopted.root_at(checkpoint.size) != checkpoint.root:
            raise AnotherDecisionError("the checkpoint is not of the events that were given")
        try:
            if not verify(adopted.note, own):
                raise NoteError("no log key of the adopted policy signed the checkpoint")
        except NoteError as error:
            raise AnotherDecisionError(str(error)) from error
        with self._database.transaction(role=self._role) as connection:
            self._lock(connection, checkpoint.origin)
            self._believe(connection, checkpoint.origin, own, adopted.since)
            held = self._held(connection, checkpoint.origin)
            if adopted.root_at(held.size) == held.root:
                return Applied(held.size, None)
            if verify(Note.parse(held.note), own):
                raise AnotherDecisionError(
                    f"the witness holds {held.size} events that a key still in force signed, and "
                    "these are others: get newer ones, or let the parties adopt another log key"
                )
            now = clock.now()
            note, _ = self._cosigned(adopted.note, own, now)
            self._reset(connection, held, checkpoint, note, str(note), adopted.since, now)
            return Applied(checkpoint.size, held.size)

    def go_back(
        self, connection: Connection[DictRow], common: Note | None, ledger_note: Note
    ) -> int:
        """Go back to a checkpoint that this party's copy goes back to, and return the earlier size.

        It runs in the caller's transaction. ``common`` is a checkpoint that the log signed, of the
        events that the copy and the ledger begin with alike; ``None`` stands for no events. Each
        later checkpoint that the witness cosigned is kept as evidence, beside ``ledger_note`` of
        the ledger that the parties decided on. The caller's role owns the witness's tables.
        """
        shown = Checkpoint.parse(ledger_note.text)
        self._lock(connection, shown.origin)
        held = self._held(connection, shown.origin)
        if common is None and held.size > 0:
            self._keep_astray(connection, shown.origin, str(ledger_note), held)
            connection.execute(
                SQL("DELETE FROM {}.cosigned WHERE origin = %s").format(self._schema),
                (shown.origin,),
            )
        elif common is not None and held.size > (back := Checkpoint.parse(common.text)).size:
            now = clock.now()
            signers = (self.signer, *self._also)
            note = common.with_signatures([one.sign(common.text, now) for one in signers])
            self._reset(connection, held, back, note, str(ledger_note), shown.size, now)
        return held.size

    def latest(self, origin_hash: str) -> str | None:
        """Return the last cosigned checkpoint of a log; ``origin_hash`` is its origin's SHA-256."""
        select = SQL("SELECT note FROM {}.cosigned WHERE origin_hash = %s").format(self._schema)
        with self._database.transaction(role=self._role) as connection:
            row = connection.execute(select, (origin_hash,)).fetchone()
        return None if row is None else str(row["note"])

    def evidence(self) -> Sequence[Mapping[str, object]]:
        """Return each refused checkpoint beside the one that it contradicts, the oldest first.

        ``proof`` is the consistency proof that shows the contradiction, a hash a line. It is empty
        if the two sizes are equal, and if this party's copy of the events shows the contradiction.
        """
        select = SQL("SELECT * FROM {}.evidence ORDER BY received_at").format(self._schema)
        with self._database.transaction(role=self._role) as connection:
            return connection.execute(select).fetchall()

    def _decide(
        self,
        connection: Connection[DictRow],
        sent: AddCheckpointRequest,
        checkpoint: Checkpoint,
        keys: Collection[VerifierKey],
        copied: bytes | None,
    ) -> WitnessAnswer:
        self._lock(connection, checkpoint.origin)
        held = self._held(connection, checkpoint.origin)
        if _contradicts(sent, checkpoint, held, copied):
            status = 422 if sent.old == held.size else 409
            self._keep_evidence(connection, checkpoint, status, held, sent, keys)
        if sent.old != held.size:
            return WitnessAnswer(409, f"{held.size}\n", SIZE_TYPE)
        if checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT:
            return WitnessAnswer(422, "an empty tree has another root\n")
        try:
            check_consistency(held.size, checkpoint.size, sent.proof, held.root, checkpoint.root)
        except ProofError as error:
            return WitnessAnswer(422, f"{error}\n")
        if copied not in (None, checkpoint.root):
            return WitnessAnswer(422, "these are not the events that were copied here\n")
        now = clock.now()
        note, cosignatures = self._cosigned(sent.note, keys, now)
        self._store(connection, checkpoint, note, now)
        return WitnessAnswer(200, "".join(map(str, cosignatures)))

    def _cosigned(
        self, note: Note, keys: Collection[VerifierKey], now: datetime
    ) -> tuple[Note, Sequence[NoteSignature]]:
        """Return the note with the log's and this witness's signatures, and the latter alone."""
        made = [signer.sign(note.text, now) for signer in (self.signer, *self._also)]
        return Note(note.text, (*_only_by(keys, note).signatures, *made)), made

    def _lock(self, connection: Connection[DictRow], origin: str) -> None:
        """Lock a log until the transaction ends.

        So one request at a time is checked and stored, as one step.
        """
        connection.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))",
            (f"{witness_schema(self.party)} {origin}",),
        )

    def _recorded_keys(self, origin: str) -> list[VerifierKey]:
        """Return the log keys of the last policy that the witness recorded for a log."""
        select = SQL("SELECT vkey FROM {}.log_keys WHERE origin = %s ORDER BY vkey")
        with self._database.transaction(role=self._role) as connection:
            rows = connection.execute(select.format(self._schema), (origin,)).fetchall()
        return [VerifierKey.parse(row["vkey"]) for row in rows]

    def _believe(
        self,
        connection: Connection[DictRow],
        origin: str,
        own: Sequence[VerifierKey],
        since: int,
    ) -> None:
        of = SQL("{}.log_keys").format(self._schema)
        newest = connection.execute(
            SQL("SELECT max(since) AS since FROM {} WHERE origin = %s").format(of), (origin,)
        ).fetchone()
        if newest is not None and newest["since"] is not None and newest["since"] > since:
            raise AnotherDecisionError(
                f"the witness follows a policy since size {newest['since']}; this one is older"
            )
        connection.execute(SQL("DELETE FROM {} WHERE origin = %s").format(of), (origin,))
        for key in own:
            connection.execute(
                SQL("INSERT INTO {} (origin, vkey, since) VALUES (%s, %s, %s)").format(of),
                (origin, str(key), since),
            )

    def _reset(
        self,
        connection: Connection[DictRow],
        held: _Held,
        checkpoint: Checkpoint,
        note: Note,
        shown: str,
        since: int,
        now: datetime,
    ) -> None:
        """Go back to ``note``; keep the held note as evidence beside the one that is ``shown``."""
        self._keep_astray(connection, checkpoint.origin, shown, held)
        connection.execute(
            SQL(
                "INSERT INTO {}.resets (origin, since, from_size, from_root, from_note,"
                " to_size, to_root, to_note) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"
            ).format(self._schema),
            (
                checkpoint.origin,
                since,
                held.size,
                held.root,
                held.note,
                checkpoint.size,
                checkpoint.root,
                str(note),
            ),
        )
        self._store(connection, checkpoint, note, now)

    def _keep_astray(
        self, connection: Connection[DictRow], origin: str, shown: str, held: _Held
    ) -> None:
        connection.execute(
            SQL(
                "INSERT INTO {}.evidence (received_at, origin, status, held, refused)"
                " VALUES (now(), %s, 409, %s, %s)"
            ).format(self._schema),
            (origin, shown, held.note),
        )

    def _held(self, connection: Connection[DictRow], origin: str) -> _Held:
        select = SQL("SELECT size, root, note FROM {}.cosigned WHERE origin = %s")
        row = connection.execute(select.format(self._schema), (origin,)).fetchone()
        return _Held(0, EMPTY_ROOT, "") if row is None else _Held(**row)

    def _store(
        self,
        connection: Connection[DictRow],
        checkpoint: Checkpoint,
        note: Note,
        now: datetime,
    ) -> None:
        upsert = SQL(
            "INSERT INTO {}.cosigned (origin, origin_hash, size, root, note, cosigned_at)"
            " VALUES (%(origin)s, %(origin_hash)s, %(size)s, %(root)s, %(note)s, %(now)s)"
            " ON CONFLICT (origin) DO UPDATE SET size = %(size)s, root = %(root)s,"
            " note = %(note)s, cosigned_at = %(now)s"
        ).format(self._schema)
        connection.execute(
            upsert,
            {
                "origin": checkpoint.origin,
                "origin_hash": hashlib.sha256(checkpoint.origin.encode()).hexdigest(),
                "size": checkpoint.size,
                "root": checkpoint.root,
                "note": str(note),
                "now": now,
            },
        )

    def _keep_evidence(
        self,
        connection: Connection[DictRow],
        checkpoint: Checkpoint,
        status: int,
        held: _Held,
        sent: AddCheckpointRequest,
        keys: Collection[VerifierKey],
    ) -> None:
        # The caller holds the lock of this log: two requests cannot insert the same one.
        insert = SQL(
            "INSERT INTO {schema}.evidence (received_at, origin, status, held, refused, proof)"
            " SELECT now(), %(origin)s, %(status)s, %(held)s, %(refused)s, %(proof)s"
            " WHERE NOT EXISTS (SELECT FROM {schema}.evidence WHERE origin = %(origin)s"
            "   AND split_part(refused, E'\\n\\n', 1) = %(text)s)"
            " AND (SELECT count(*) FROM {schema}.evidence WHERE origin = %(origin)s) < %(most)s"
        ).format(schema=self._schema)
        needed = sent.old == held.size and 0 < sent.old < checkpoint.size
        connection.execute(
            insert,
            {
                "origin": checkpoint.origin,
                "status": status,
                "held": held.note,
                "refused": str(_only_by(keys, sent.note)),
                "proof": "\n".join(map(write_hash, sent.proof)) if needed else "",
                "text": sent.note.text.removesuffix("\n"),
                "most": MAX_EVIDENCE_ROWS,
            },
        )


def _contradicts(
    sent: AddCheckpointRequest, checkpoint: Checkpoint, held: _Held, copied: bytes | None
) -> bool:
    """Return whether a signed checkpoint certainly belongs to another history than the one held.

    Anybody may send an old checkpoint, or a new one with a wrong proof: that shows nothing.
    """
    if copied not in (None, checkpoint.root):
        return True
    if checkpoint.size == held.size:
        return checkpoint.root != held.root
    if sent.old != held.size:
        return False
    older = proven_older_root(held.size, checkpoint.size, sent.proof, checkpoint.root)
    return older not in (None, held.root)


def _only_by(keys: Collection[VerifierKey], note: Note) -> Note:
    """Return a note with the signatures of these keys alone: anybody can add other lines."""
    return Note(note.text, tuple(s for s in note.signatures if any(k.made(s) for k in keys)))
