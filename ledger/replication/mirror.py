"""A country's own copy of the ledger: copied as it grows, and trusted only as far as verified.

Every event is judged as if it were decided here, and copied only up to a size whose root the
log signed. If the log contradicts a note that it signed before, copying stops, and the two
signed notes are kept as evidence.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn, Self
from uuid import UUID

import structlog
from psycopg.rows import DictRow

from ledger.application import Ledger
from ledger.events.event import readable
from ledger.events.newer_event import NewerEventError
from ledger.log.checkpoint import Checkpoint
from ledger.log.merkle import Beginning, Frontier
from ledger.log.note import Note, NoteError
from ledger.log.policy import Policy
from ledger.procedure.merged_cases import joined_cases, named_cases
from ledger.procedure.registry import policy_in_force
from ledger.publication.dated_checkpoints import keep_dated
from ledger.publication.publisher import keep_published, keep_signed
from ledger.replication.divergence import DisplacedVoteError, find_divergence
from ledger.replication.earlier_checkpoints import keep_earlier, lacking_periods
from ledger.replication.event_source import (
    MirrorSource,
    SourceError,
    UntrustedKeyError,
    check_signed,
    parsed,
)
from ledger.replication.unread_events import (
    UnreadEvents,
    UnreadForkError,
    drop_unread,
    keep_with_events,
)
from ledger.store.database import Database
from ledger.system import clock
from ledger.verification.revalidation import Revalidation, RowReader, inspect

_log = structlog.get_logger(__name__)
_KEEP_CASES = 5_000
_PATIENCE = 3
"""So many times in a row events may not fit their note: a broken transfer is no fork."""


_HELD = """
SELECT note FROM (
    SELECT size, note FROM log.signed UNION ALL SELECT size, note FROM log.unread_signed
) AS kept
ORDER BY size < %(size)s, abs(size - %(size)s) LIMIT 1
"""
"""The note to hold against a refused one: the smallest that covers it, or else the largest."""


class DivergedError(RuntimeError):
    """The log contradicts itself, and nothing more is copied until a person has looked."""


class _UnsignedNewerError(NewerEventError):
    """An event needs a later program, and no key that counts here signed the note over it.

    The parties may have changed the log's key after that event, or anyone wrote the note.
    """

    def __init__(self, position: int, why: SourceError) -> None:
        super().__init__(position)
        self.why = why


@dataclass(frozen=True, slots=True)
class Evidence:
    """Two notes that the log signed and that cannot both be true."""

    id: int
    found_at: datetime
    source: str
    what: str
    held: str
    refused: str
    settled_at: datetime | None
    settled_why: str | None

    @classmethod
    def of(cls, row: DictRow) -> Self:
        return cls(**row)


def unsettled(database: Database) -> str | None:
    """Return the text of the first unsettled evidence that the log contradicted itself.

    The result is ``None`` if there is no unsettled evidence.
    """
    with database.connection() as connection:
        row = connection.execute(
            "SELECT what FROM log.evidence WHERE settled_at IS NULL ORDER BY id LIMIT 1",
            prepare=True,
        ).fetchone()
    return None if row is None else str(row["what"])


class Mirror:
    """The copy in one database; ``trusted`` holds until the ledger records a policy."""

    def __init__(
        self,
        ledger: Ledger,
        database: Database,
        trusted: Policy,
        *,
        adoption: bytes | None = None,
    ) -> None:
        self._ledger = ledger
        self._database = database
        self._trusted = trusted
        self._adoption = adoption
        self._replay: Revalidation | None = None
        self.when_shorter: Callable[[int], None] = lambda _: None
        """Called where this copy has fewer events than it had, with how many it had."""
        self._seen = 0
        """How many events were copied at the last step."""
        self._replayed = 0
        """Up to which position the fold goes."""
        self._misfits = 0
        self._stopped: tuple[int, int] | None = None
        """The size of the copy, and the position of the later event that needs an update."""
        self._unread = UnreadEvents(database)
        self._looked_at: Note | None = None
        """The last note for which a decision to take over was looked for."""

    @property
    def size(self) -> int:
        """Return how many events are copied."""
        return self._ledger.head()

    def step(self, source: MirrorSource) -> bool:
        """Copy the next events that the log signed, and return whether there may be more at once.

        Raises ``SourceError``, ``ConnectionError``, and ``DivergedError`` for ever after the log
        was found to contradict itself. Raises ``NewerEventError`` where the next events need a
        later program: no more is copied, and no event is called false. What the log signs of these
        events is followed all the same, and must be one history.
        """
        self.check_unsettled()
        frontier = self._ledger.rows.frontier()
        if frontier.size < self._seen:
            self.when_shorter(self._seen)  # an older copy of the database was put here
            self._ledger.forget()
            self._unread.forget()
        self._seen = frontier.size
        head = source.head(frontier.size)
        if head is None:
            return False
        note, checkpoint = parsed(head)
        try:
            if checkpoint.size > frontier.size:
                self._copy_understood(source, frontier, note, checkpoint)
                return True
            self._compare(source, note, checkpoint)
        except NewerEventError:
            self._replay = None
            self._follow_unread(source, frontier, note, checkpoint)
            raise
        except BaseException as error:
            self._replay = None  # it may hold what was not copied in the end
            if isinstance(error, UntrustedKeyError):
                self._look_for_takeover(source, note)
            raise
        if checkpoint.size < frontier.size:
            raise SourceError(
                f"the source has {checkpoint.size} events, and {frontier.size} are copied here"
            )
        return False

    def step_published(self, source: MirrorSource) -> int:
        """Keep the source's last published checkpoint if it is of events copied here.

        Returns its size; 0 if none was kept. Raises as :meth:`step` does.
        """
        self.check_unsettled()
        text = source.published()
        if text is None:
            return 0
        note, checkpoint = parsed(text)
        root = self.root_at(checkpoint.size)
        if root is None or checkpoint.size == 0:
            self._compare_unread(source, note, checkpoint)
            return 0
        try:
            policy = self.policy_at(checkpoint.size)
            policy.check(note)
        except NoteError as error:
            raise SourceError(f"the published checkpoint is not to be believed: {error}") from error
        self._compare(source, note, checkpoint)
        with self._database.connection() as connection:
            keep_signed(connection, checkpoint, note)
            keep_published(connection, checkpoint, note)
            keep_dated(connection, checkpoint.size, note, policy)
        return checkpoint.size

    def keep_earlier_checkpoints(self, recorded_policies: Callable[[], str]) -> int:
        """Keep a checkpoint of the time of each earlier policy that this copy has none of.

        ``recorded_policies`` is called only if one is missing. Return how many were kept. Raises
        ``SourceError`` if the call gives no file of recorded policies.
        """
        periods = lacking_periods(self._database, self._ledger.registry())
        if not periods:
            return 0
        try:
            return keep_earlier(
                self._database, self._ledger.rows, self.policy_at, periods, recorded_policies()
            )
        except NoteError as error:
            raise SourceError(f"the recorded policies are not to be believed: {error}") from error

    def root_at(self, size: int) -> bytes | None:
        """Return the root of the first ``size`` events; ``None`` until all of them are copied."""
        return self._ledger.root_at(size)

    def policy_at(self, size: int) -> Policy:
        """Return the policy in force for a checkpoint of ``size`` events."""
        return policy_in_force(self._ledger.registry(), size, self._trusted)

    def evidence(self) -> list[Evidence]:
        """Return all evidence, the oldest first."""
        with self._database.connection() as connection:
            rows = connection.execute("SELECT * FROM log.evidence ORDER BY id").fetchall()
        return [Evidence.of(row) for row in rows]

    def settle(self, why: str) -> int:
        """Note that a person looked at the evidence, and why copying may go on; return how many.

        What is kept of unread events is dropped: the evidence has the notes that matter.
        """
        self._unread.forget()
        with self._database.transaction() as connection:
            drop_unread(connection)
            return connection.execute(
                "UPDATE log.evidence SET settled_at = now(), settled_why = %s"
                " WHERE settled_at IS NULL",
                (why,),
            ).rowcount

    def check_unsettled(self) -> None:
        """Check that there is no evidence that nobody has settled.

        Raises ``DivergedError`` if there is.
        """
        if (what := unsettled(self._database)) is not None:
            raise DivergedError(what)

    def _compare(self, source: MirrorSource, note: Note, checkpoint: Checkpoint) -> None:
        """Compare a note of events that are copied already with this copy's root.

        If the roots differ, the log forked: the note becomes evidence.
        """
        check_signed(note, self.policy_at(checkpoint.size))
        root = self.root_at(checkpoint.size)
        if root is None:  # an older copy of the database was put here meanwhile: that is no fork
            raise SourceError(f"this copy no longer has {checkpoint.size} events")
        if checkpoint.root != root:
            what = (
                f"the log signed another history of the first {checkpoint.size} events than the "
                "one copied here"
            )
            self._diverge(source, what, note)

    def _follow_unread(
        self, source: MirrorSource, frontier: Frontier, note: Note, checkpoint: Checkpoint
    ) -> None:
        """Check what the log signs of events that this program cannot read, and keep it.

        Raises ``DivergedError`` if the log signed two histories of them. A source that gives
        nothing to check is asked again at the next step.
        """
        try:
            self._unread.follow(source, frontier, (note, checkpoint), self.policy_at)
        except UnreadForkError as fork:
            self._diverge(source, str(fork), fork.note)
        except SourceError as error:
            _log.warning("what this program cannot read is not followed", why=str(error))

    def _compare_unread(self, source: MirrorSource, note: Note, checkpoint: Checkpoint) -> None:
        """Compare a published checkpoint with what the log signed of unread events.

        Raises ``DivergedError`` if it is of another history.
        """
        root = self._unread.root_at(self._ledger.rows.frontier(), checkpoint.size)
        if root is None or root == checkpoint.root:
            return
        check_signed(note, self.policy_at(checkpoint.size))
        what = (
            f"the log published another history of the first {checkpoint.size} events than the one"
            " it signed, of events that this program cannot read"
        )
        self._diverge(source, what, note)

    def _look_for_takeover(self, source: MirrorSource, note: Note) -> None:
        """Look for a takeover in the source's ledger, and for a tail of this copy beyond it.

        Raises ``DivergedError`` if this copy went on beyond the parties' decision. Then the source
        has the ledger that the parties decided on, and this copy has other events. Raises
        ``DivergedError`` too if the parties' votes were put on a fork: that is evidence.
        """
        if note == self._looked_at:
            return
        try:
            found = find_divergence(self._ledger, self._database, source, self._trusted)
        except DisplacedVoteError as error:
            self._diverge(source, str(error), error.note)
        except SourceError:
            found = None
        self._looked_at = note
        if found is not None:
            self._diverge(source, f"{found}: run `case-ledger node rejoin`", found.note)

    def _copy_understood(
        self, source: MirrorSource, frontier: Frontier, note: Note, checkpoint: Checkpoint
    ) -> None:
        """Copy the events of a note, or those before the first one that needs a later program.

        Every copy ends at a size that the log signed. So the source is asked for a note of the
        events before that one. Raises as :meth:`step` does. This copy stops at a later event only
        if the log signed it: any source can make up such an event.
        """
        size = frontier.size
        if self._stopped is not None and self._stopped[0] == size:
            raise NewerEventError(self._stopped[1])
        try:
            self._copy(source, frontier, note, checkpoint)
        except NewerEventError as newer:
            self._replay = None
            head = source.head(size, newer.position - 1) if newer.position - 1 > size else None
            if head is not None:
                note, checkpoint = parsed(head)
                if size < checkpoint.size < newer.position:
                    self._copy(source, frontier, note, checkpoint)
                    return
            if isinstance(newer, _UnsignedNewerError):
                raise type(newer.why)(
                    f"{newer.why}; the event at position {newer.position} under it needs a later"
                    " program: if the parties changed the log's key after that event, update this"
                    " program"
                ) from None
            self._stopped = (size, newer.position)
            raise

    def _copy(
        self, source: MirrorSource, frontier: Frontier, note: Note, checkpoint: Checkpoint
    ) -> None:
        size = frontier.size
        entries = source.entries(size, checkpoint.size)
        if len(entries) != checkpoint.size - size:
            raise SourceError(f"the source gave {len(entries)} events of {checkpoint.size - size}")
        if self._replayed != size:
            self._replay = None  # the copy is not where it was left
        replay = self._loaded(entries)
        reader = RowReader(Counter(replay.versions), _ledger_id(replay))
        rows = [reader.row(size + place, entry) for place, entry in enumerate(entries, 1)]
        if size == 0 and self._adoption not in (None, rows[0].leaf_hash):
            raise SourceError("the ledger begins with another adoption than the one agreed on")
        problems: list[str] = []
        beginning = Beginning(self._ledger.tree(), frontier)
        for row in rows:
            found = replay.judge(row.position, inspect(row), beginning.root_at)
            problems += [f"position {row.position}: {problem}" for problem in found]
            beginning.add(row.leaf_hash)
            for mark in replay.marks:
                _log.warning("an event is marked", position=row.position, mark=mark)
        # Judged first: these events may be what makes the key count that signed the note.
        policy = policy_in_force(replay.registry, checkpoint.size, self._trusted)
        try:
            check_signed(note, policy)
        except SourceError as error:
            if replay.newer is not None:
                raise _UnsignedNewerError(replay.newer, error) from None
            raise
        extended, _ = frontier.extend([row.leaf_hash for row in rows])
        if extended.root() != checkpoint.root:
            self._misfits += 1
            if self._misfits < _PATIENCE:
                raise SourceError("the events are not those of the note that the log signed")
            what = f"the events given after position {size} are not those that the log signed"
            self._check_unmoved(frontier)
            self._diverge(source, what, note)
        self._misfits = 0
        try:
            self._unread.check_same(frontier, [row.leaf_hash for row in rows], note)
        except UnreadForkError as fork:
            self._check_unmoved(frontier)
            self._diverge(source, str(fork), fork.note)
        if problems:
            self._check_unmoved(frontier)
            self._diverge(source, problems[0], note)
        if replay.newer is not None:
            raise NewerEventError(replay.newer)
        with self._database.transaction() as connection:
            self._ledger.rows.copy(connection, rows)
            keep_signed(connection, checkpoint, note)
            keep_with_events(connection, checkpoint.size)
        self._replayed = checkpoint.size

    def _check_unmoved(self, frontier: Frontier) -> None:
        """Check that this copy still ends at ``frontier``.

        Raises ``SourceError`` if an older copy of the database was put here meanwhile. Then the
        events were judged by rows that are gone.
        """
        if self._ledger.rows.frontier() != frontier:
            raise SourceError("this copy is not where it was when the events were asked for")

    def _loaded(self, entries: Sequence[bytes]) -> Revalidation:
        """Return the fold up to now, with the older events that the next ones need."""
        replay = self._replay
        if replay is None:
            last = self._ledger.rows.last_recorded_at()
            replay = Revalidation(registry=self._ledger.registry(), recorded_at=last)
        elif len(replay.cases) > _KEEP_CASES:
            replay = Revalidation(registry=replay.registry, recorded_at=replay.recorded_at)
        if replay.registry is not None:
            replay.versions[replay.registry.ledger_id] = replay.registry.version
        actions = [action for action, _ in map(readable, entries)]
        waiting = [action.case_id for action in actions if action.case_id]
        for action in actions:
            waiting += named_cases(action.kind, action.fields)
        while waiting:
            waiting += self._load(replay, waiting.pop())
        self._ledger.check_understood()  # a later program may have copied some before
        replay.actions = self._ledger.recorded_actions([action.id for action in actions])
        self._replay = replay
        return replay

    def _load(self, replay: Revalidation, case_id: UUID) -> list[UUID]:
        """Read a case, and return the cases that were merged with it."""
        if replay.registry is None or case_id in replay.cases:
            return []
        case = self._ledger.case(case_id)
        if case is None:
            return []
        replay.cases[case_id] = case
        replay.versions[case_id] = case.version
        return list(joined_cases(case.state))

    def _diverge(self, source: MirrorSource, what: str, refused: Note) -> NoReturn:
        with self._database.connection() as connection:
            size = Checkpoint.parse(refused.text).size
            held = connection.execute(_HELD, {"size": size}).fetchone()
            connection.execute(
                "INSERT INTO log.evidence (found_at, source, what, held, refused)"
                " VALUES (%s, %s, %s, %s, %s)",
                (clock.now(), source.name, what, held["note"] if held else "", str(refused)),
            )
        raise DivergedError(what)


def _ledger_id(replay: Revalidation) -> UUID:
    return replay.registry.ledger_id if replay.registry else UUID(int=0)
