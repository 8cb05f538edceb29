"""Verifies a whole ledger, event by event, trusting nothing but keys that the parties hold.

Positions, bytes, signatures against the keys valid at the time, the procedure's rules,
the tree, and every checkpoint that a party kept: what does not hold is named by position.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from uuid import UUID

from ledger import case as cases
from ledger import entry as entries
from ledger import registry as registries
from ledger import sd_jwt, signing
from ledger.case import Case
from ledger.event import ActionRecorded
from ledger.keys import from_public
from ledger.merkle import Frontier, TileHash, leaf_hash
from ledger.refusals import Refusal
from ledger.registry import Registry
from ledger.signing import SignedAction
from ledger.store.recorder import RecordedRow
from ledger.transparency.checkpoint import Checkpoint
from ledger.transparency.note import Note, NoteError, verify
from ledger.transparency.policy import Policy
from ledger.vocabulary import REGISTRY_ACTIONS
from ledger.vocabulary.registration import PublicKey

CHUNK = 500
_ALONE = 2 * CHUNK
"""Up to so many events, starting processes costs more than it gains."""

Progress = Callable[[int], None]
"""Told how many events are verified."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What does not hold, and where."""

    first: int
    last: int
    what: str

    def __str__(self) -> str:
        if self.first == self.last:
            return f"position {self.first}: {self.what}"
        return f"positions {self.first} to {self.last}: {self.what}"


@dataclass(frozen=True, slots=True)
class Report:
    """What was verified, and what does not hold."""

    events: int
    root: bytes
    checkpoints: int
    """How many checkpoints the events agree with."""
    covered: int
    """The size of the largest of them: later events stand on signatures alone."""
    findings: tuple[Finding, ...]

    @property
    def holds(self) -> bool:
        return not self.findings


@dataclass(frozen=True, slots=True)
class Kept:
    """What the events must agree with."""

    policy: Policy | None = None
    published: Sequence[str] = ()
    """Checkpoints that must have a quorum's cosignatures."""
    held: Sequence[str] = ()
    """Checkpoints that some party kept, such as its witness's: the log's signature is enough."""
    tree: Mapping[tuple[int, int], bytes] | None = None
    """Stored hashes of full tiles, by level and index."""
    frontier: tuple[int, bytes] | None = None
    """The stored size and frontier."""


@dataclass
class _State:
    """The fold of what was read so far."""

    kept: Kept
    findings: list[Finding] = field(default_factory=list)
    frontier: Frontier = field(default_factory=Frontier)
    registry: Registry | None = None
    cases: dict[UUID, Case] = field(default_factory=dict)
    versions: dict[UUID, int] = field(default_factory=dict)
    actions: set[UUID] = field(default_factory=set)
    recorded_at: datetime | None = None
    expected: dict[int, bytes] = field(default_factory=dict)
    agreed: int = 0
    covered: int = 0
    forked: bool = False
    tiles: dict[tuple[int, int], bytes] = field(default_factory=dict)

    def find(self, position: int, what: str, first: int | None = None) -> None:
        self.findings.append(Finding(first or position, position, what))


@dataclass(frozen=True, slots=True)
class _Inspected:
    """What can be said of an event by itself."""

    row: RecordedRow
    leaf: bytes
    action: SignedAction | None
    recorded_at: datetime | None
    is_signed: bool | None
    """Whether the signature verifies; ``None`` where the key was not known yet."""
    problem: str | None = None


def verify_ledger(
    rows: Iterable[RecordedRow],
    kept: Kept,
    *,
    keys: Mapping[str, PublicKey] | None = None,
    workers: int | None = None,
    progress: Progress = lambda _: None,
) -> Report:
    """Verify ``rows``, which are read once, in their order.

    ``keys``, by thumbprint, lets other processes check signatures; which of them was valid
    when is decided here all the same, by what is recorded.
    """
    state = _State(kept)
    _read_checkpoints(state)
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
    )


def _read_checkpoints(state: _State) -> None:
    policy = state.kept.policy
    for content, needs_quorum in (
        *((text, True) for text in state.kept.published),
        *((text, False) for text in state.kept.held),
    ):
        size = 1
        try:
            note = Note.parse(content)
            checkpoint = Checkpoint.parse(note.text)
            size = max(checkpoint.size, 1)
            if policy is not None:
                if needs_quorum:
                    policy.check(note)
                elif not verify(note, policy.logs):
                    raise NoteError("the log did not sign it")
        except NoteError as error:
            state.find(size, f"a checkpoint is not to be believed: {error}")
            continue
        known = state.expected.setdefault(checkpoint.size, checkpoint.root)
        if known != checkpoint.root:
            state.find(size, "two checkpoints of this size have two roots: the log forked")


def _check(state: _State, inspected: _Inspected) -> None:
    row = inspected.row
    position = state.frontier.size + 1
    if row.position != position:
        state.find(position, f"the event at this place says that it is at {row.position}")
    if inspected.leaf != row.leaf_hash:
        state.find(position, "the stored leaf hash is not that of the event's bytes")
    _grow(state, position, inspected.leaf)
    action, recorded_at = inspected.action, inspected.recorded_at
    if action is None or recorded_at is None:
        state.find(position, inspected.problem or "the event cannot be read")
        return
    _check_columns(state, position, row, action, recorded_at)
    if state.recorded_at is not None and recorded_at < state.recorded_at:
        state.find(position, "it is recorded before the event that it follows")
    state.recorded_at = recorded_at
    try:
        _replay(state, position, inspected, action, recorded_at)
    except Refusal as refusal:
        state.find(position, f"the rules refuse it ({refusal.rule})")
    except (ValueError, KeyError, TypeError) as error:
        state.find(position, f"it cannot be replayed ({type(error).__name__})")


def _grow(state: _State, position: int, leaf: bytes) -> None:
    state.frontier, completed = state.frontier.extend([leaf])
    for made in completed:
        state.tiles[made.level, made.index] = made.hash
        _check_tile(state, position, made)
    expected = state.expected.pop(position, None)
    if expected is None or state.forked:
        return
    if expected == state.frontier.root():
        state.agreed += 1
        state.covered = position
    else:
        state.forked = True
        what = "these are not the events of the checkpoint that was signed of them"
        state.find(position, what, first=state.covered + 1)


def _check_tile(state: _State, position: int, made: TileHash) -> None:
    stored = state.kept.tree
    if stored is not None and stored.get((made.level, made.index)) != made.hash:
        state.find(position, f"the stored tile hash {made.level}/{made.index} is not theirs")


def _check_columns(
    state: _State, position: int, row: RecordedRow, action: SignedAction, recorded_at: datetime
) -> None:
    """The row says of the event what its bytes say."""
    originator = row.originator_id
    version = state.versions.get(originator, 0) + 1
    state.versions[originator] = version
    differences = {
        "kind": row.kind != action.kind,
        "action id": row.action_id != action.id,
        "time of recording": row.recorded_at != recorded_at,
        "case": action.case_id is not None and originator != action.case_id,
        "case version": row.version != version,
    }
    for name, differs in differences.items():
        if differs:
            state.find(position, f"the stored {name} is not the event's")
    if action.id in state.actions:
        state.find(position, "its action was recorded before")
    state.actions.add(action.id)


def _replay(
    state: _State,
    position: int,
    inspected: _Inspected,
    action: SignedAction,
    recorded_at: datetime,
) -> None:
    registry = state.registry
    if action.kind in REGISTRY_ACTIONS:
        registries.decide(registry, action)
        after = registries.evolve(registry, action, recorded_at)
        _check_signature(state, position, inspected, action, registry or after, recorded_at)
        if inspected.row.originator_id != after.protocol.ledger_id:
            state.find(position, "the stored case is not the event's")
        state.registry = after
        return
    if registry is None:
        state.find(position, "a ledger begins with the adoption of its protocol")
        return
    _check_signature(state, position, inspected, action, registry, recorded_at)
    if action.protocol != registry.protocol.id:
        state.find(position, "it was signed for another protocol")
    case_id = inspected.row.originator_id
    case = state.cases.get(case_id)
    decided = cases.decide(case, action, case_id, registry.protocol, recorded_at)
    event = ActionRecorded(case_id, decided.originator_version, action, position, recorded_at)
    project = Case.projector(registry.protocol)
    if (after_case := project(case, [event])) is not None:
        state.cases[case_id] = after_case


def _check_signature(
    state: _State,
    position: int,
    inspected: _Inspected,
    action: SignedAction,
    registry: Registry,
    recorded_at: datetime,
) -> None:
    try:
        key = registry.signing_key(action.key_id, action.agency, recorded_at)
    except Refusal as refusal:
        state.find(position, f"its signature does not count ({refusal.rule})")
        return
    is_signed = inspected.is_signed
    if is_signed is None:
        try:
            signing.verify(action, key)
            is_signed = True
        except Refusal:
            is_signed = False
    if not is_signed:
        state.find(position, "its signature does not verify")


def _check_end(state: _State) -> None:
    size = state.frontier.size
    missing = [expected for expected in state.expected if expected > size]
    if missing:
        what = "events are missing here that a signed checkpoint covers"
        state.find(max(missing), what, first=state.covered + 1)
    if state.kept.frontier is not None:
        stored = state.kept.frontier
        if stored != (size, state.frontier.to_bytes()):
            state.find(max(size, stored[0], 1), "the stored head is not that of these events")
    extra = (state.kept.tree or {}).keys() - state.tiles.keys()
    for level, index in sorted(extra):
        state.find(max(size, 1), f"the stored tile hash {level}/{index} is of no tile")


def _inspect_all(
    rows: Iterable[RecordedRow], keys: Mapping[str, PublicKey], workers: int | None
) -> Iterator[_Inspected]:
    """Each row inspected, in order, by as many processes as there are cores."""
    source = iter(rows)
    first = list(islice(source, _ALONE))
    count = workers if workers is not None else os.cpu_count() or 1
    if len(first) < _ALONE or count == 1:
        yield from _inspect(first, keys)
        for row in source:
            yield from _inspect([row], keys)
        return
    with ProcessPoolExecutor(count) as pool:
        waiting: deque[Future[list[_Inspected]]] = deque()
        for chunk in _chunks(first, source):
            waiting.append(pool.submit(_inspect, chunk, keys))
            if len(waiting) > 2 * count:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def _chunks(
    first: Sequence[RecordedRow], rest: Iterator[RecordedRow]
) -> Iterator[list[RecordedRow]]:
    for start in range(0, len(first), CHUNK):
        yield list(first[start : start + CHUNK])
    while chunk := list(islice(rest, CHUNK)):
        yield chunk


def _inspect(rows: Sequence[RecordedRow], keys: Mapping[str, PublicKey]) -> list[_Inspected]:
    return [_inspect_one(row, keys) for row in rows]


def _inspect_one(row: RecordedRow, keys: Mapping[str, PublicKey]) -> _Inspected:
    leaf = leaf_hash(row.state)
    try:
        text, recorded_at = entries.unseal(row.state)
        if entries.seal(text, recorded_at) != row.state:
            raise ValueError("the bytes are not written as events are")
        parsed = signing.parse(text)
        action = signing.read(parsed)
        if action.sd_jwt != text:
            raise ValueError("the event carries disclosures")
    except Refusal as refusal:
        return _Inspected(row, leaf, None, None, None, f"it is malformed ({refusal.rule})")
    except (ValueError, TypeError):
        return _Inspected(row, leaf, None, None, None, "its bytes are not those of an event")
    is_signed: bool | None = None
    if (key := keys.get(action.key_id)) is not None:
        try:
            sd_jwt.verify(parsed, from_public(key))
            is_signed = True
        except ValueError:
            is_signed = False
    return _Inspected(row, leaf, action, recorded_at, is_signed)
