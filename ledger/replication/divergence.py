"""The point at which a copy and the ledger that the parties decided on begin to differ.

A takeover is a decision of the parties that makes another node the ledger node. A copy that
followed the old ledger node beyond that decision has a *tail*: events that the ledger does not
have. The tail is found, and the ledger is verified from the last common checkpoint up to the
decision, before anything is changed.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ledger.application import Ledger
from ledger.events.event import readable
from ledger.events.newer_event import needs_update
from ledger.log.checkpoint import Checkpoint
from ledger.log.merkle import Beginning, Frontier, leaf_hash
from ledger.log.note import Note, verify
from ledger.log.policy import Policy
from ledger.procedure.merged_cases import joined_cases, named_cases
from ledger.procedure.registry import AgreedPolicy, policy_in_force
from ledger.replication.event_source import MirrorSource, SourceError, check_signed, parsed
from ledger.store.database import Database
from ledger.verification.revalidation import Revalidation, RowReader, inspect


class NoDecisionError(SourceError):
    """The copy and the source differ, and no decision of the parties says which is the ledger."""


class DisplacedVoteError(SourceError):
    """The source's ledger has a coordinator's vote that was given in another history.

    A log key that counts there signed that ledger. So the holder of that key put the vote on a
    fork.
    """

    def __init__(self, position: int, note: Note) -> None:
        super().__init__(
            f"the source's position {position} is a vote that names a checkpoint of another history"
            " than the source's: it was put on a fork of the ledger; nothing is dropped here, and"
            " the vote counts for nothing"
        )
        self.note = note


@dataclass(frozen=True, slots=True)
class Divergence:
    """A tail, and the verified decision by which another history is the ledger's."""

    size: int
    """How many events the copy has."""
    common: int
    """How many events both begin with."""
    checkpoint: int
    """The largest size that the log signed and that is no larger than ``common``; or 0."""
    decision: AgreedPolicy
    note: Note
    """A note of the ledger's that one of the decision's log keys signed."""

    def __str__(self) -> str:
        return (
            f"the parties' decision at position {self.decision.since} made another node the ledger "
            f"node; the last {self.size - self.common} events of this copy are not in its ledger"
        )


class Continuation:
    """Events after a beginning of this copy, verified one after the other and not stored."""

    def __init__(self, ledger: Ledger, after: int, trusted: Policy) -> None:
        self._ledger = ledger
        self._after = after
        self._trusted = trusted
        tree = ledger.tree()
        self._frontier: Frontier = tree.frontier(after)
        self._beginning = Beginning(tree, self._frontier)
        last = ledger.rows_at([after])
        self._replay = Revalidation(
            registry=ledger.registry_at(after),
            recorded_at=last[0].recorded_at if last else None,
        )
        if (registry := self._replay.registry) is not None:
            self._replay.versions[registry.ledger_id] = registry.version

    @property
    def size(self) -> int:
        """Return how many events there are: the beginning of this copy and the verified events."""
        return self._frontier.size

    def decision(self) -> AgreedPolicy | None:
        """Return the last policy that every party adopted among the verified events, if any."""
        registry = self._replay.registry
        agreed = [] if registry is None else [*registry.policies]
        return agreed[-1] if agreed and agreed[-1].since > self._after else None

    def extend(self, entries: Sequence[bytes], note: Note, checkpoint: Checkpoint) -> None:
        """Verify the next events, which ``note`` covers.

        Raises ``DisplacedVoteError`` if all holds but the history of a vote, else ``SourceError``.
        """
        replay, size = self._replay, self.size
        self._load(entries)
        ledger_id = replay.registry.ledger_id if replay.registry else None
        reader = RowReader(Counter(replay.versions), *((ledger_id,) if ledger_id else ()))
        rows = [reader.row(size + place, entry) for place, entry in enumerate(entries, 1)]
        for row in rows:
            problems = list(replay.judge(row.position, inspect(row), self._beginning.root_at))
            if len(problems) > replay.displaced.count(row.position):
                raise SourceError(f"the source's position {row.position}: {problems[0]}")
            self._beginning.add(row.leaf_hash)
        if replay.newer is not None:
            raise SourceError(needs_update(replay.newer))
        check_signed(note, policy_in_force(replay.registry, checkpoint.size, self._trusted))
        extended, _ = self._frontier.extend([row.leaf_hash for row in rows])
        if extended.size != checkpoint.size or extended.root() != checkpoint.root:
            raise SourceError("the source's events are not those that its log signed")
        if replay.displaced:
            raise DisplacedVoteError(replay.displaced[0], note)
        self._frontier = extended

    def _load(self, entries: Sequence[bytes]) -> None:
        """Read the older events of this copy that the next events need."""
        replay = self._replay
        actions = [action for action, _ in map(readable, entries)]
        ids = [action.id for action in actions]
        replay.actions |= self._ledger.recorded_actions(ids, upto=self._after)
        if replay.registry is None:
            return
        waiting = [action.case_id for action in actions if action.case_id]
        for action in actions:
            waiting += named_cases(action.kind, action.fields)
        while waiting:
            case_id = waiting.pop()
            if case_id not in replay.versions:
                case = self._ledger.case(case_id, upto_position=self._after)
                if case is not None:
                    replay.cases[case_id] = case
                    replay.versions[case_id] = case.version
                    waiting += joined_cases(case.state)


def find_divergence(
    ledger: Ledger, database: Database, source: MirrorSource, trusted: Policy
) -> Divergence | None:
    """Return how this copy differs from the source's ledger; ``None`` if it does not differ.

    It does not differ if one of the two is the beginning of the other. Raises ``NoDecisionError``
    if no decision of the parties is found in the source's ledger alone, ``SourceError`` if its
    events do not verify, and ``ConnectionError`` if the source does not answer.
    """
    own = ledger.head()
    text = source.head(own)
    if text is None:
        return None
    _, theirs = parsed(text)
    common = common_events(ledger, source, min(own, theirs.size))
    if common in (own, theirs.size):
        return None
    registry = ledger.registry()
    policies = registry.policies if registry is not None else ()
    if any(agreed.since > common for agreed in policies):
        raise NoDecisionError(
            "the events that only this copy has contain a decision of all parties too; nothing is "
            "dropped: compare with the other parties"
        )
    checkpoint = _last_signed(database, common)
    following = Continuation(ledger, checkpoint, trusted)
    while True:
        text = source.head(following.size)
        note, signed = parsed(text or "")
        if signed.size <= following.size:
            raise NoDecisionError(
                f"this copy and the source differ after {common} events, and the source's ledger "
                "has no decision of the parties to take over; nothing is dropped"
            )
        following.extend(source.entries(following.size, signed.size), note, signed)
        decision = following.decision()
        if decision is not None and decision.since > common:
            _check_takes_over(database, decision, common)
            return Divergence(own, common, checkpoint, decision, note)


def common_events(ledger: Ledger, source: MirrorSource, upto: int) -> int:
    """Return how many events this copy and a source begin with alike, ``upto`` at most.

    The function asks the source for single events, by binary search. That is no proof;
    :class:`Continuation` is. Raises as the source's methods do.
    """
    low, high = 0, upto
    while low < high:
        middle = (low + high + 1) // 2
        (own,) = ledger.rows.read_hashes(0, middle - 1, 1)
        entries = source.entries(middle - 1, middle)
        if [leaf_hash(entry) for entry in entries] == [own]:
            low = middle
        else:
            high = middle - 1
    return low


def _check_takes_over(database: Database, decision: AgreedPolicy, common: int) -> None:
    """Check that no log key of the parties' decision signed the tail.

    Raises ``NoDecisionError`` if one did.
    """
    with database.connection() as connection:
        rows = connection.execute(
            "SELECT note FROM log.signed WHERE size > %s ORDER BY size", (common,)
        ).fetchall()
    if any(verify(Note.parse(row["note"]), decision.policy.logs) for row in rows):
        raise NoDecisionError(
            "a log key that the parties' decision names signed the events that only this copy has; "
            "nothing is dropped: compare with the other parties"
        )


def _last_signed(database: Database, upto: int) -> int:
    with database.connection() as connection:
        row = connection.execute(
            "SELECT max(size) AS size FROM log.signed WHERE size <= %s", (upto,)
        ).fetchone()
    return int(row["size"] or 0) if row is not None else 0
