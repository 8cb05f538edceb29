"""The state of each exercise of a trainee, read from the ledger at each request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from api.demo.practice.checks import Finding, TaskState, check, is_done
from api.demo.practice.exercises import Exercise, ExerciseBook
from api.demo.practice.runs import Run, Runs
from api.node.node import Node
from ledger.procedure.case import Case
from ledger.procedure.protocol import Protocol


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a trainee in an exercise."""

    exercise: Exercise
    begun: bool = False
    case_id: UUID | None = None
    case: Case | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def done(self) -> int:
        """Return the number of tasks that are done."""
        return sum(one.state is TaskState.DONE for one in self.findings)

    @property
    def is_done(self) -> bool:
        return self.begun and is_done(self.findings)


def progress(
    node: Node, runs: Runs, book: ExerciseBook, trainee: str, protocol: Protocol
) -> Sequence[Progress]:
    """Return how far a trainee is with each exercise."""
    begun = runs.of(trainee)
    return [
        _of(node, runs, one, begun.get(one.number), trainee, protocol) for one in book.exercises
    ]


def progress_of(
    node: Node, runs: Runs, exercise: Exercise, trainee: str, protocol: Protocol
) -> Progress:
    """Return how far a trainee is with one exercise."""
    begun: Mapping[int, Run] = runs.of(trainee)
    return _of(node, runs, exercise, begun.get(exercise.number), trainee, protocol)


def _of(
    node: Node, runs: Runs, exercise: Exercise, run: Run | None, trainee: str, protocol: Protocol
) -> Progress:
    if run is None:
        return Progress(exercise)
    case_id = run.case_id or _opened_since(node, runs, run, trainee)
    case = node.ledger.case(case_id) if case_id is not None else None
    history = tuple(case.history.values()) if case is not None else ()
    return Progress(exercise, True, case_id, case, check(exercise, history, protocol))


def _opened_since(node: Node, runs: Runs, run: Run, trainee: str) -> UUID | None:
    """Return the newest case that a trainee opened since an exercise began."""
    opened = node.ledger.subjects_of_kinds(
        ["case_opened"], after=run.position, upto=node.ledger.head()
    )
    own = runs.keys_of(trainee)
    for case_id in reversed(opened):
        case = node.ledger.case(case_id)
        first = next(iter(case.history.values()), None) if case is not None else None
        if first is not None and first.key_id in own:
            return case_id
    return None
