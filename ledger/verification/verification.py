"""Verifies a whole ledger, event by event, trusting nothing but keys that the parties hold.

Positions, bytes, signatures against the keys valid at the time, the procedure's rules,
the tree, and every checkpoint that a party kept are checked: each problem is named by its position.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import TypeAlias

from cryptography.x509 import Certificate

from ledger.log.checkpoint import Checkpoint
from ledger.log.merkle import HASH_SIZE, Frontier, TileHash, Tree
from ledger.log.note import Note, NoteError, verify
from ledger.log.policy import Policy
from ledger.log.timestamp import StoredTimestamp, TimestampError, check, is_before
from ledger.signing.signed_action import SignedAction
from ledger.store.event_rows import RecordedRow
from ledger.verification.policy_history import TrustedPolicies
from ledger.verification.revalidation import Inspected, Revalidation, inspect
from ledger.vocabulary.registration import PublicKey

CHUNK = 500
_ALONE = 2 * CHUNK
"""Up to so many events, starting processes costs more than it gains."""

Progress = Callable[[int], None]
"""Told how many events are verified."""


@dataclass(frozen=True, slots=True)
class VerificationFinding:
    """A problem, and the positions at which it stands."""

    first: int
    last: int
    what: str

    def __str__(self) -> str:
        if self.first == self.last:
            return f"position {self.first}: {self.what}"
        return f"positions {self.first} to {self.last}: {self.what}"


@dataclass(frozen=True, slots=True)
class Report:
    """The verified events and checkpoints, and the findings."""

    events: int
    root: bytes
    checkpoints: int
    """How many checkpoints the events agree with."""
    covered: int
    """The size of the largest of them: later events stand on signatures alone."""
    findings: tuple[VerificationFinding, ...]
    marks: tuple[VerificationFinding, ...] = ()
    """Remarks on events that hold, such as actions that an earlier edition let in."""
    timestamps: int = 0
    """How many timestamps verify."""
    newer: int | None = None
    """The position of the first event that needs a later program.

    From there on only the tree, and checkpoints by the policy that was in force before, are
    checked."""

    @property
    def holds(self) -> bool:
        """Return whether nothing contradicts what could be checked; see ``newer``."""
        return not self.findings

    @property
    def judged(self) -> int:
        """Return how many events, from the first one on, were judged."""
        return self.events if self.newer is None else self.newer - 1


@dataclass(frozen=True, slots=True)
class ExpectedLedger:
    """The checkpoints, tree and timestamps that the events must agree with."""

    policy: Policy | None = None
    policies: TrustedPolicies | None = None
    """The recorded policies, as they follow from ``policy`` by a file that came with the events."""
    published: Sequence[str] = ()
    """Checkpoints that must have a quorum's cosignatures."""
    held: Sequence[str] = ()
    """Checkpoints that some party kept, such as its witness's: the log's signature is enough."""
    tree: Mapping[tuple[int, int], bytes] | None = None
    """Stored hashes of full tiles, by level and index."""
    frontier: tuple[int, bytes] | None = None
    """The stored size and frontier."""
    timestamps: Sequence[StoredTimestamp] = ()
    roots: Sequence[Certificate] = ()
    """The authorities whose timestamps are believed."""


@dataclass(frozen=True, slots=True)
class _Expected:
    """A checkpoint that the events must agree with, as someone kept it."""

    note: Note
    checkpoint: Checkpoint
    needs_quorum: bool


@dataclass
class _State:
    """The fold of the rows read so far."""

    kept: ExpectedLedger
    replay: Revalidation = field(default_factory=Revalidation)
    findings: list[VerificationFinding] = field(default_factory=list)
    marks: list[VerificationFinding] = field(default_factory=list)
    frontier: Frontier = field(default_factory=Frontier)
    leaves: bytearray = field(default_factory=bytearray)
    """The leaf hash of every event, 32 bytes each: votes name older checkpoints."""
    expected: dict[int, list[_Expected]] = field(default_factory=dict)
    timestamps: dict[int, list[StoredTimestamp]] = field(default_factory=dict)
    stamped: int = 0
    agreed: int = 0
    covered: int = 0
    forked: bool = False
    anchored: bool = False
    """Whether a checkpoint was believed by the policy that was given, not by a recorded one."""
    doubted: list[VerificationFinding] = field(default_factory=list)
    """Checkpoints that the given policy does not believe, from before any recorded one."""
    tiles: dict[tuple[int, int], bytes] = field(default_factory=dict)

    def root_at(self, size: int) -> bytes | None:
        """Return the root of the first ``size`` events; ``None`` if there are fewer."""
        if size > self.frontier.size:
            return None
        return Tree(self.frontier.size, self._hashes).root(size)

    def _hashes(self, level: int, start: int, count: int) -> list[bytes]:
        if level:
            return [self.tiles[level, index] for index in range(start, start + count)]
        chosen = range(start * HASH_SIZE, (start + count) * HASH_SIZE, HASH_SIZE)
        return [bytes(self.leaves[at : at + HASH_SIZE]) for at in chosen]

    def find(self, position: int, what: str, first: int | None = None) -> None:
        self.findings.append(VerificationFinding(first or position, position, what))


_Found: TypeAlias = tuple[bytes, SignedAction, datetime, bool | None, str | None]
"""The fields of ``Inspected`` after the row."""


def verify_ledger(
    rows: Iterable[RecordedRow],
    kept: ExpectedLedger,
    *,
    keys: Mapping[str, PublicKey] | None = None,
    workers: int | None = None,
    progress: Progress = lambda _: None,
) -> Report:
    """Verify ``rows``, which are read once, in their order.

    ``keys``, by thumbprint, lets other processes check signatures. This process decides by the
    recorded events which key was valid when.
    """
    state = _State(kept)
    _read_checkpoints(state)
    for stored in kept.timestamps:
        state.timestamps.setdefault(stored.size, []).append(stored)
    for done, inspected in enumerate(_inspect_all(rows, keys or {}, workers), 1):
        _check(state, inspected)
        progress(done)
    _check_end(state)
    return Report(
        events=state.frontier.size,
        root=state.frontier.root(),
        checkpoints=state.agreed,
        covered=state.covered,
        findings=tuple(sorted(set(state.findings), key=lambda f: (f.first, f.last, f.what))),
        marks=tuple(state.marks),
        timestamps=state.stamped,
        newer=state.replay.newer,
    )


def _read_checkpoints(state: _State) -> None:
    for content, needs_quorum in (
        *((text, True) for text in state.kept.published),
        *((text, False) for text in state.kept.held),
    ):
        try:
            note = Note.parse(content)
            checkpoint = Checkpoint.parse(note.text)
        except NoteError as error:
            state.find(1, f"a checkpoint is not to be believed: {error}")
            continue
        expected = _Expected(note, checkpoint, needs_quorum)
        state.expected.setdefault(checkpoint.size, []).append(expected)


def _check(state: _State, inspected: Inspected) -> None:
    position = state.frontier.size + 1
    for problem in state.replay.judge(position, inspected, state.root_at):
        state.find(position, problem)
    state.marks += [VerificationFinding(position, position, what) for what in state.replay.marks]
    state.leaves += inspected.leaf
    state.frontier, completed = state.frontier.extend([inspected.leaf])
    for made in completed:
        state.tiles[made.level, made.index] = made.hash
        _check_tile(state, position, made)
    _check_timestamps(state, position, inspected.recorded_at)
    believed = _believed(state, position)
    if not believed or state.forked:
        return
    if believed == {state.frontier.root()}:
        state.agreed += 1
        state.covered = position
    else:
        state.forked = True
        what = "these are not the events of the checkpoint that was signed of them"
        state.find(position, what, first=state.covered + 1)


def _believed(state: _State, size: int) -> set[bytes]:
    """Return the roots of the trusted checkpoints of this size, by the policy in force then."""
    registry = state.replay.registry
    agreed = registry.policy_at(size) if registry else None
    policy = agreed or state.kept.policy
    roots = set()
    for expected in state.expected.pop(size, ()):
        try:
            if state.kept.policies is not None:
                state.kept.policies.check(expected.note, quorum=expected.needs_quorum)
            elif policy is not None:
                _check_note(policy, expected)
        except NoteError as error:
            if state.replay.newer is not None:
                continue  # the parties may have changed the policy since that event
            what = f"a checkpoint is not to be believed: {error}"
            if agreed is None and state.kept.policies is None:
                state.doubted.append(VerificationFinding(max(size, 1), max(size, 1), what))
            else:
                state.find(size, what)
            continue
        if agreed is None or str(agreed) == str(state.kept.policy):
            state.anchored = True
        roots.add(expected.checkpoint.root)
    if len(roots) > 1:
        what = "two checkpoints of this size have two roots: the log forked"
        state.find(max(size, 1), what)
    return roots


def _check_note(policy: Policy, expected: _Expected) -> None:
    if expected.needs_quorum:
        policy.check(expected.note)
    elif not verify(expected.note, policy.logs):
        raise NoteError("the log did not sign it")


def _check_tile(state: _State, position: int, made: TileHash) -> None:
    stored = state.kept.tree
    if stored is not None and stored.get((made.level, made.index)) != made.hash:
        state.find(position, f"the stored tile hash {made.level}/{made.index} is not theirs")


def _check_timestamps(state: _State, size: int, recorded_at: datetime | None) -> None:
    """Check the timestamps of a size, whose last event was recorded at ``recorded_at``."""
    for stored in state.timestamps.pop(size, ()):
        by = f"the timestamp by {stored.authority}"
        try:
            moment = check(stored.token, Note.parse(stored.note).text, state.kept.roots)
        except (NoteError, TimestampError) as error:
            state.find(size, f"{by} does not hold: {error}")
            continue
        state.stamped += 1
        if moment != stored.moment:
            state.find(size, f"{by} is stored with another moment than its own")
        if recorded_at is not None and is_before(moment, recorded_at):
            state.find(size, f"{by} was given before the time that this event says it has")


def _check_end(state: _State) -> None:
    size = state.frontier.size
    for beyond in state.timestamps:
        state.find(beyond, "events are missing here that a timestamp covers", first=size + 1)
    missing = [
        beyond for beyond in sorted(state.expected) if _believed(state, beyond) and beyond > size
    ]
    if missing:
        what = "events are missing here that a signed checkpoint covers"
        state.find(max(missing), what, first=state.covered + 1)
    _check_policies(state)
    if state.kept.frontier is not None:
        stored = state.kept.frontier
        if stored != (size, state.frontier.to_bytes()):
            state.find(max(size, stored[0], 1), "the stored head is not that of these events")
    extra = (state.kept.tree or {}).keys() - state.tiles.keys()
    for level, index in sorted(extra):
        state.find(max(size, 1), f"the stored tile hash {level}/{index} is of no tile")


def _check_policies(state: _State) -> None:
    """Check that the given policy is the first one, or one of the recorded policies."""
    if state.replay.newer is not None:
        return
    registry = state.replay.registry
    policies = state.kept.policies
    if policies is not None:
        if registry and not policies.matches(registry.policies):
            what = "the policies recorded here are others than the file of policies tells"
            state.find(registry.policies[0].since, what)
        return
    recorded = {str(agreed.policy) for agreed in registry.policies} if registry else set()
    if str(state.kept.policy) not in recorded:
        state.findings += state.doubted  # else they were signed before its time
    if registry and registry.policies and state.kept.policy is not None and not state.anchored:
        what = "the policies recorded here do not follow from the one that you trust"
        state.find(registry.policies[0].since, what)


def _inspect_all(
    rows: Iterable[RecordedRow], keys: Mapping[str, PublicKey], workers: int | None
) -> Iterator[Inspected]:
    """Yield each row inspected, in order, by as many processes as there are cores."""
    source = iter(rows)
    first = list(islice(source, _ALONE))
    count = workers if workers is not None else os.cpu_count() or 1
    if len(first) < _ALONE or count == 1:
        yield from _inspect(first, keys)
        for row in source:
            yield from _inspect([row], keys)
        return
    with ProcessPoolExecutor(count) as pool:
        waiting: deque[tuple[list[RecordedRow], Future[list[_Found]]]] = deque()
        for chunk in _chunks(first, source):
            waiting.append((chunk, pool.submit(_found, chunk, keys)))
            if len(waiting) > 2 * count:
                yield from _with_rows(*waiting.popleft())
        while waiting:
            yield from _with_rows(*waiting.popleft())


def _chunks(
    first: Sequence[RecordedRow], rest: Iterator[RecordedRow]
) -> Iterator[list[RecordedRow]]:
    for start in range(0, len(first), CHUNK):
        yield list(first[start : start + CHUNK])
    while chunk := list(islice(rest, CHUNK)):
        yield chunk


def _found(rows: Sequence[RecordedRow], keys: Mapping[str, PublicKey]) -> list[_Found]:
    """Inspect rows in another process, which need not send the rows back."""
    return [
        (one.leaf, one.action, one.recorded_at, one.is_signed, one.problem)
        for one in _inspect(rows, keys)
    ]


def _with_rows(rows: Sequence[RecordedRow], found: Future[list[_Found]]) -> Iterator[Inspected]:
    for row, one in zip(rows, found.result(), strict=True):
        yield Inspected(row, *one)


def _inspect(rows: Sequence[RecordedRow], keys: Mapping[str, PublicKey]) -> list[Inspected]:
    return [inspect(row, keys) for row in rows]
