"""A case's trail as a picture: a lane for each country, a column for each stage, handovers across.

Pure: positions and lines, which the template draws. The table under it says the same in words.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from ledger.vocabulary import ALL_ACTIONS
from ledger.vocabulary.picklists import Stage
from projections.folds.audit_trail import TrailEntry

STAGES = (
    Stage.IDENTIFICATION,
    Stage.PROTECTION,
    Stage.INCLUSION,
    Stage.RETURN,
    Stage.PROCEEDINGS,
)
_LEFT, _HEAD, _LANE, _STEP, _PAD, _NARROWEST = 110, 34, 74, 25, 16, 116
_ANSWERS = ("request", "offer", "agreed_action")
"""Fields by which an action answers another country's."""


@dataclass(frozen=True, slots=True)
class TimelineColumn:
    stage: Stage
    x: int
    width: int


@dataclass(frozen=True, slots=True)
class TimelineLane:
    party: str
    y: int


@dataclass(frozen=True, slots=True)
class Dot:
    """One action, at its country's lane in its stage's column."""

    entry: TrailEntry
    stage: Stage
    x: int
    y: int
    coordination: bool
    handover: bool


@dataclass(frozen=True, slots=True)
class Crossing:
    """From one country's action to the other's that takes it over or answers it."""

    path: str


@dataclass(frozen=True, slots=True)
class Timeline:
    columns: tuple[TimelineColumn, ...]
    lanes: tuple[TimelineLane, ...]
    dots: tuple[Dot, ...]
    crossings: tuple[Crossing, ...]
    width: int
    height: int


def timeline(entries: Sequence[TrailEntry], parties: Sequence[str]) -> Timeline:
    """Draw a trail as a picture; ``parties`` are the lanes, from top to bottom."""
    staged = list(_staged(entries))
    counts = {stage: sum(of == stage for _, of in staged) for stage in STAGES}
    columns, x = [], _LEFT
    for stage in STAGES:
        width = max(_NARROWEST, counts[stage] * _STEP + _PAD)
        columns.append(TimelineColumn(stage, x, width))
        x += width
    lanes = tuple(TimelineLane(p, _HEAD + _LANE * i + _LANE // 2) for i, p in enumerate(parties))
    lane_of, place = {lane.party: lane.y for lane in lanes}, dict.fromkeys(STAGES, 0)
    start = {column.stage: column.x for column in columns}
    pairs = dict(handovers(entries))
    ends = {*pairs, *pairs.values()}
    dots: dict[UUID, Dot] = {}
    for entry, stage in staged:
        if entry.party not in lane_of:
            continue
        dots[entry.action_id] = Dot(
            entry=entry,
            stage=stage,
            x=start[stage] + _PAD // 2 + _STEP * place[stage] + _STEP // 2,
            y=lane_of[entry.party],
            coordination=stage_of(entry) is Stage.COORDINATION,
            handover=entry.action_id in ends,
        )
        place[stage] += 1
    crossings = tuple(
        Crossing(_curve(dots[begun], dots[taken]))
        for taken, begun in pairs.items()
        if begun in dots and taken in dots
    )
    height = _HEAD + _LANE * len(lanes)
    return Timeline(tuple(columns), lanes, tuple(dots.values()), crossings, x, height)


def handovers(entries: Sequence[TrailEntry]) -> Iterator[tuple[UUID, UUID]]:
    """Yield each action that took over or answered another country's, with the answered action."""
    by_id: Mapping[str, TrailEntry] = {str(e.action_id): e for e in entries}
    departed: TrailEntry | None = None
    for entry in entries:
        begun = next((by_id.get(str(entry.fields[f])) for f in _ANSWERS if f in entry.fields), None)
        if entry.kind == "departed":
            departed = entry
        elif entry.kind == "received":
            begun = departed
        if begun is not None and begun.party != entry.party:
            yield entry.action_id, begun.action_id


def _staged(entries: Sequence[TrailEntry]) -> Iterator[tuple[TrailEntry, Stage]]:
    """Yield each entry with its column.

    An act of coordination is in the column of the stage that the case had then.
    """
    current = Stage.IDENTIFICATION
    for entry in entries:
        for change in entry.changes:
            if change.path == "/stage" and change.after in STAGES:
                current = Stage(str(change.after))
        own = stage_of(entry)
        yield entry, current if own is Stage.COORDINATION else own


def stage_of(entry: TrailEntry) -> Stage:
    """Return the stage of the action itself."""
    model = ALL_ACTIONS.get(entry.kind)
    return model.stage if model is not None else Stage.COORDINATION


def _curve(begun: Dot, taken: Dot) -> str:
    middle = (begun.y + taken.y) // 2
    return f"M{begun.x} {begun.y} C{begun.x} {middle} {taken.x} {middle} {taken.x} {taken.y}"
