"""Check that events which this program cannot read are one history, by the log's signatures.

A copy stops before the first event that needs a later program. The log goes on. Its checkpoints and
tree hashes need no understanding of the events: so the copy takes the events' leaf hashes and the
log's notes, and checks that each note continues the ones before. A log that shows two histories is
found out while the program is old, and again when the events are copied after the update.
"""

from collections.abc import Callable, Sequence

from psycopg import Connection
from psycopg.rows import DictRow

from ledger.log.checkpoint import Checkpoint
from ledger.log.merkle import Frontier, leaf_hash
from ledger.log.note import Note
from ledger.log.policy import Policy
from ledger.replication.event_source import MirrorSource, SourceError, check_signed, parsed
from ledger.store.database import Database
from ledger.system import clock

_PATIENCE = 3
"""So many times in a row events may not fit their note: a broken transfer is no fork."""
_MOST_AT_ONCE = 5_000
"""So many events are fetched for one note at most. The log signs at least every 1,000 events."""
_LEAVES = "SELECT position, leaf_hash FROM log.unread_leaves WHERE position > %s ORDER BY position"
_KEEP_LEAVES = """
INSERT INTO log.unread_leaves (position, leaf_hash)
SELECT * FROM unnest(%s::bigint[], %s::bytea[]) ON CONFLICT DO NOTHING
"""
_KEEP_NOTE = """
INSERT INTO log.unread_signed (size, root, note, signed_at) VALUES (%s, %s, %s, %s)
ON CONFLICT DO NOTHING
"""
_MOVE_NOTES = """
INSERT INTO log.signed (size, root, note, signed_at)
SELECT size, root, note, signed_at FROM log.unread_signed WHERE size <= %s
ON CONFLICT DO NOTHING
"""


class UnreadForkError(RuntimeError):
    """The log signed a note that contradicts an earlier one. Both are of unread events."""

    def __init__(self, what: str, note: Note) -> None:
        super().__init__(what)
        self.note = note


class UnreadEvents:
    """The leaf hashes and notes of the events after a copy, in one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._base = Frontier()
        """The frontier of the copy."""
        self._leaves: list[bytes] | None = None
        """The leaf hashes after the copy; ``None`` until they are read from the database."""
        self._end = Frontier()
        """The frontier with these leaves."""
        self._misfits = 0

    def follow(
        self,
        source: MirrorSource,
        copied: Frontier,
        seen: tuple[Note, Checkpoint],
        policy_at: Callable[[int], Policy],
    ) -> int:
        """Check what the log signed after the copy's end, keep it, and return how far it goes.

        ``copied`` is the frontier of the copy. ``seen`` is a note that the source gave just now.
        Raises ``UnreadForkError`` if the log signed two histories, ``SourceError`` if the source
        gives nothing that can be checked, and ``ConnectionError``.
        """
        self._load(copied)
        self._compare(*seen, policy_at)
        head = source.head(self._end.size)
        if head is None:
            return self._end.size
        note, checkpoint = parsed(head)
        if checkpoint.size <= self._end.size:
            self._compare(note, checkpoint, policy_at)
            return self._end.size
        check_signed(note, policy_at(checkpoint.size))
        count = checkpoint.size - self._end.size
        if count > _MOST_AT_ONCE:
            raise SourceError(f"the log signed no checkpoint within {count} events")
        entries = source.entries(self._end.size, checkpoint.size)
        if len(entries) != count:
            raise SourceError(f"the source gave {len(entries)} events of {count}")
        leaves = [leaf_hash(entry) for entry in entries]
        end, _ = self._end.extend(leaves)
        if end.root() != checkpoint.root:
            self._misfits += 1
            if self._misfits < _PATIENCE:
                raise SourceError("the events are not those of the note that the log signed")
            raise UnreadForkError(
                f"the events given after position {self._end.size} are not those that the log"
                " signed",
                note,
            )
        self._misfits = 0
        self._keep(leaves, note, checkpoint)
        self._end = end
        return end.size

    def root_at(self, copied: Frontier, size: int) -> bytes | None:
        """Return the root of the first ``size`` events; ``None`` if it is not known here.

        ``size`` is more than the copy has.
        """
        self._load(copied)
        leaves = self._leaves or []
        if not self._base.size < size <= self._end.size:
            return None
        return self._base.extend(leaves[: size - self._base.size])[0].root()

    def check_same(self, copied: Frontier, leaves: Sequence[bytes], note: Note) -> None:
        """Check that the events that follow the copy are the ones that the log signed before.

        ``leaves`` are their leaf hashes. ``note`` is the note by which they are to be copied.
        Raises ``UnreadForkError`` if one of them is another.
        """
        self._load(copied)
        pairs = zip(self._leaves or [], leaves, strict=False)
        for position, (before, now) in enumerate(pairs, copied.size + 1):
            if before != now:
                raise UnreadForkError(
                    f"the event at position {position} is another one than the log signed while"
                    " this program could not read it",
                    note,
                )

    def forget(self) -> None:
        """Read the database again before the next use."""
        self._leaves = None

    def _load(self, copied: Frontier) -> None:
        if self._leaves is not None and self._base == copied:
            return
        with self._database.connection() as connection:
            rows = connection.execute(_LEAVES, (copied.size,)).fetchall()
        leaves: list[bytes] = []
        for row in rows:
            if row["position"] != copied.size + len(leaves) + 1:
                break  # the copy was put back: what follows belongs to events that it had
            leaves.append(bytes(row["leaf_hash"]))
        self._base, self._leaves = copied, leaves
        self._end = copied.extend(leaves)[0]

    def _compare(
        self, note: Note, checkpoint: Checkpoint, policy_at: Callable[[int], Policy]
    ) -> None:
        """Compare a note of unread events with what the log signed of them before."""
        root = self.root_at(self._base, checkpoint.size)
        if root is None or root == checkpoint.root:
            return
        check_signed(note, policy_at(checkpoint.size))
        raise UnreadForkError(
            f"the log signed another history of the first {checkpoint.size} events than the one it"
            " signed before, of events that this program cannot read",
            note,
        )

    def _keep(self, leaves: Sequence[bytes], note: Note, checkpoint: Checkpoint) -> None:
        first = self._end.size + 1
        positions = list(range(first, first + len(leaves)))
        with self._database.transaction() as connection:
            connection.execute(_KEEP_LEAVES, (positions, list(leaves)))
            connection.execute(
                _KEEP_NOTE, (checkpoint.size, checkpoint.root, str(note), clock.now())
            )
        if self._leaves is not None:
            self._leaves.extend(leaves)


def keep_with_events(connection: Connection[DictRow], size: int) -> None:
    """Move the notes of unread events into the log's signed ones, once ``size`` events are copied.

    The leaf hashes of these events go: the tree of the copy has them.
    """
    connection.execute(_MOVE_NOTES, (size,))
    drop_unread(connection, upto=size)


def drop_unread(
    connection: Connection[DictRow], *, upto: int | None = None, after: int = 0
) -> None:
    """Delete what is kept of unread events from ``after + 1`` to ``upto``, or to the end."""
    for statement in (
        "DELETE FROM log.unread_leaves WHERE position > %(after)s"
        " AND position <= coalesce(%(upto)s, position)",
        "DELETE FROM log.unread_signed WHERE size > %(after)s AND size <= coalesce(%(upto)s, size)",
    ):
        connection.execute(statement, {"after": after, "upto": upto})
