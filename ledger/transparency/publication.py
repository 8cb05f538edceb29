"""Signs the ledger's checkpoints, has them cosigned, and publishes those with a quorum."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from ledger.merkle import Tree
from ledger.store.database import Database
from ledger.store.recorder import LedgerRecorder
from ledger.transparency.checkpoint import Checkpoint
from ledger.transparency.note import Note, NoteError, NoteSignature, SignerKey
from ledger.transparency.policy import Policy
from ledger.transparency.witness import SIZE_TYPE, Answer, Submission, WitnessClient

_log = structlog.get_logger(__name__)


class HistoryChangedError(RuntimeError):
    """The tree is not the one that was signed: its history was altered. Nothing is signed."""


class AnotherKeyError(RuntimeError):
    """The log was signed with another key before. Nothing is signed with this one."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How far the log is signed, cosigned by each witness, and published."""

    signed: int
    published: int
    witnesses: Mapping[str, int]


class Publication:
    """One log's checkpoints. Every step is safe to repeat, and to run in several processes."""

    def __init__(
        self,
        rows: LedgerRecorder,
        database: Database,
        signer: SignerKey,
        witnesses: Mapping[str, WitnessClient],
        policy: Policy,
    ) -> None:
        self.policy = policy
        self._rows = rows
        self._database = database
        self._signer = signer
        self._witnesses = witnesses

    def step(self) -> Standing:
        """Sign what is new, ask each witness that is behind, publish what has a quorum.

        Raises ``HistoryChangedError`` where what was signed is no longer so, and
        ``AnotherKeyError`` where it was signed with a key that is not known here.
        """
        tree = self._rows.tree()
        signed = self._sign(tree)
        if signed is not None:
            note, checkpoint = signed
            sizes = self._cosigned_sizes()
            for name, witness in self._witnesses.items():
                if sizes[name] < checkpoint.size:
                    self._ask(name, witness, sizes[name], tree, note, checkpoint)
            self._publish(note, checkpoint)
        return self.standing()

    def standing(self) -> Standing:
        """Where the log stands, as stored."""
        with self._database.connection() as connection:
            signed = connection.execute("SELECT max(size) AS size FROM log.signed").fetchone()
            last = connection.execute("SELECT max(size) AS size FROM log.published").fetchone()
        sizes = self._cosigned_sizes()
        return Standing(
            signed=(signed or {}).get("size") or 0,
            published=(last or {}).get("size") or 0,
            witnesses=sizes,
        )

    def _sign(self, tree: Tree) -> tuple[Note, Checkpoint] | None:
        with self._database.connection() as connection:
            last = connection.execute(
                "SELECT size, root, note FROM log.signed ORDER BY size DESC LIMIT 1"
            ).fetchone()
        if last is not None and (
            tree.size < last["size"] or tree.root(last["size"]) != bytes(last["root"])
        ):
            raise HistoryChangedError(
                f"the events up to position {last['size']} are not those that were signed"
            )
        if last is not None:
            self._check_key(Note.parse(last["note"]))
        if tree.size == 0:
            return None
        if last is not None and last["size"] == tree.size:
            note = Note.parse(last["note"])
            return note, Checkpoint.parse(note.text)
        checkpoint = Checkpoint(self._signer.name, tree.size, tree.root())
        text = str(checkpoint)
        note = Note(text, (self._signer.sign(text),))
        with self._database.connection() as connection:
            connection.execute(
                "INSERT INTO log.signed (size, root, note, signed_at) VALUES (%s, %s, %s, %s)"
                " ON CONFLICT DO NOTHING",
                (checkpoint.size, checkpoint.root, str(note), datetime.now(UTC)),
            )
        return note, checkpoint

    def _check_key(self, last: Note) -> None:
        accepted = {key.key_id for key in self.policy.logs} | {self._signer.verifier.key_id}
        if not any(signature.key_id in accepted for signature in last.signatures):
            raise AnotherKeyError(
                "this node's log key is not the one that signed the ledger before, nor is that "
                "key in the policy; put the key back, or agree on a policy that names both"
            )

    def _ask(
        self,
        name: str,
        witness: WitnessClient,
        old: int,
        tree: Tree,
        note: Note,
        checkpoint: Checkpoint,
    ) -> None:
        try:
            answer = self._submit(witness, old, tree, note, checkpoint)
            if answer.status == 409 and answer.media_type.startswith(SIZE_TYPE):
                held = int(answer.body)
                if held > checkpoint.size:
                    _log.error("a witness holds a larger tree", witness=name, size=held)
                    return
                answer = self._submit(witness, held, tree, note, checkpoint)
            if answer.status != 200:
                _log.error("a witness refused the checkpoint", witness=name, status=answer.status)
                return
            self._keep(name, checkpoint, note, answer)
        except (ConnectionError, NoteError, ValueError) as error:
            # Publication waits for the witness; appends do not.
            _log.warning("no cosignature", witness=name, error=type(error).__name__)

    def _submit(
        self, witness: WitnessClient, old: int, tree: Tree, note: Note, checkpoint: Checkpoint
    ) -> Answer:
        proof = tuple(tree.consistency(old, checkpoint.size)) if old else ()
        return witness.add_checkpoint(bytes(Submission(old, proof, note)))

    def _keep(self, name: str, checkpoint: Checkpoint, note: Note, answer: Answer) -> None:
        key = self.policy.witnesses[name].key
        for line in answer.body.splitlines():
            signature = NoteSignature.parse(line)
            if key.made(signature):
                key.verify(note.text, signature)
                with self._database.connection() as connection:
                    connection.execute(
                        "INSERT INTO log.cosignatures (size, witness, line, received_at)"
                        " VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
                        (checkpoint.size, name, str(signature), datetime.now(UTC)),
                    )
                return
        raise NoteError("the answer has no cosignature by the witness's key")

    def _publish(self, note: Note, checkpoint: Checkpoint) -> None:
        with self._database.connection() as connection:
            rows = connection.execute(
                "SELECT witness, line FROM log.cosignatures WHERE size = %s ORDER BY witness",
                (checkpoint.size,),
            ).fetchall()
            known = {r["witness"]: r["line"] for r in rows if r["witness"] in self.policy.witnesses}
            if not self.policy.is_met(known):
                return
            whole = note.with_signatures(map(NoteSignature.parse, known.values()))
            self.policy.check(whole)
            connection.execute(
                "INSERT INTO log.published (size, note, published_at) VALUES (%s, %s, %s)"
                " ON CONFLICT DO NOTHING",
                (checkpoint.size, str(whole), datetime.now(UTC)),
            )

    def _cosigned_sizes(self) -> dict[str, int]:
        """The size that each witness of the policy cosigned last: one index probe each."""
        with self._database.connection() as connection:
            rows = connection.execute(
                "SELECT witness, COALESCE((SELECT max(size) FROM log.cosignatures c"
                " WHERE c.witness = w.witness), 0) AS size"
                " FROM unnest(%s::text[]) AS w (witness)",
                (list(self.policy.witnesses),),
            ).fetchall()
        return {row["witness"]: row["size"] for row in rows}


def published(database: Database) -> tuple[Note, Checkpoint] | None:
    """The last published checkpoint, with its cosignatures."""
    with database.connection() as connection:
        row = connection.execute(
            "SELECT note FROM log.published ORDER BY size DESC LIMIT 1", prepare=True
        ).fetchone()
    if row is None:
        return None
    note = Note.parse(row["note"])
    return note, Checkpoint.parse(note.text)
