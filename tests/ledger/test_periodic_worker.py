"""A worker repeats its step, waits longer after each failure, and stops at once."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ledger.system import periodic_worker
from ledger.system.backoff import Backoff
from ledger.system.periodic_worker import NothingMoreToDo, PeriodicWorker, stop_together

HOUR = 3600.0
SECONDS = 30.0


class Steps:
    """A step that counts, and does next what a test puts in."""

    def __init__(self) -> None:
        self.count = 0
        self.outcomes: list[Exception] = []
        self.taken = threading.Condition()

    def __call__(self) -> None:
        with self.taken:
            self.count += 1
            self.taken.notify_all()
            if self.outcomes:
                raise self.outcomes.pop(0)

    def wait_for(self, count: int) -> None:
        with self.taken:
            assert self.taken.wait_for(lambda: self.count >= count, SECONDS), self.count


def test_a_step_is_repeated_until_the_block_ends() -> None:
    step = Steps()
    with PeriodicWorker("repeated", step, every=0.001):
        step.wait_for(5)
    count = step.count
    assert count >= 5
    assert step.count == count


def test_a_wake_up_ends_the_wait_also_where_it_comes_during_a_step() -> None:
    began, goes_on = threading.Semaphore(0), threading.Semaphore(0)

    def step() -> None:
        began.release()
        goes_on.acquire()

    with PeriodicWorker("woken", step, every=HOUR) as worker:
        assert began.acquire(timeout=SECONDS)
        worker.wake()  # during the first step
        goes_on.release()
        assert began.acquire(timeout=SECONDS)
        goes_on.release(2)


def test_a_wake_up_may_leave_time_and_one_step_answers_several() -> None:
    step = Steps()
    with PeriodicWorker("later", step, every=HOUR) as worker:
        worker.wait_for_step(SECONDS)
        began, count = time.monotonic(), step.count
        for within in (HOUR, 0.2, HOUR, 0.3):
            worker.wake(within)
        step.wait_for(count + 1)
        assert time.monotonic() - began >= 0.2
        worker.wake(HOUR)
        worker.wait_for_step(SECONDS)  # at once, whatever was asked before
        assert step.count == count + 2


def test_a_wake_up_shortens_neither_the_least_wait_nor_a_pause_after_a_failure() -> None:
    for least, backoff, outcomes in (
        (HOUR, Backoff(0.0, 0.0), []),
        (0.0, Backoff(HOUR, HOUR), [ValueError()]),
    ):
        step = Steps()
        step.outcomes = list(outcomes)
        worker = PeriodicWorker("rare", step, every=0.0, at_most_every=least, backoff=backoff)
        with worker:
            step.wait_for(1)
            with pytest.raises(TimeoutError):
                worker.wait_for_step(0.1)
        assert step.count == 1


def test_failures_are_counted_until_a_step_succeeds() -> None:
    step = Steps()
    step.outcomes = [ValueError(), OSError()]
    pauses: list[int] = []

    class Noted(Backoff):
        def seconds(self, failures: int) -> float:
            pauses.append(failures)
            health = worker.health
            assert (health.steps, health.failures) == (0, failures)
            assert health.error == ["ValueError", "OSError"][failures - 1]
            return 0.0

    worker = PeriodicWorker("failing", step, every=HOUR, backoff=Noted())
    with worker:
        step.wait_for(3)
        worker.wait_for_step(SECONDS)
    assert pauses == [1, 2]
    assert (worker.health.failures, worker.health.error) == (0, None)
    assert worker.health.steps == 2


def test_pauses_double_up_to_a_bound_and_are_spread() -> None:
    backoff = Backoff(0.2, 5.0)
    for failures, bound in ((1, 0.2), (2, 0.4), (3, 0.8), (6, 5.0), (10**6, 5.0)):
        found = [backoff.seconds(failures) for _ in range(50)]
        assert all(bound / 2 <= one <= bound for one in found)
        assert len(set(found)) > 1


def test_one_whole_step_after_now_is_one_that_begins_after_now() -> None:
    began, goes_on = threading.Semaphore(0), threading.Semaphore(0)
    count = 0

    def step() -> None:
        nonlocal count
        began.release()
        goes_on.acquire()
        count += 1

    with PeriodicWorker("whole", step, every=HOUR) as worker:
        assert began.acquire(timeout=SECONDS)
        counted: list[int] = []

        def wait() -> None:
            worker.wait_for_step(SECONDS)
            counted.append(count)

        waiting = threading.Thread(target=wait)
        waiting.start()
        goes_on.release()  # the step that was under way does not count
        assert began.acquire(timeout=SECONDS)
        goes_on.release(9)
        waiting.join(SECONDS)
        assert counted == [2]


def test_a_worker_without_more_to_do_ends() -> None:
    step = Steps()
    step.outcomes = [NothingMoreToDo()]
    with PeriodicWorker("ending", step, every=HOUR) as worker:
        assert worker.join(SECONDS)
        with pytest.raises(RuntimeError, match="ending ended"):
            worker.wait_for_step()
    assert (step.count, worker.health.failures) == (1, 0)


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


def test_a_stop_ends_every_wait() -> None:
    waiting, failing, first = Steps(), Steps(), Steps()
    failing.outcomes = [ValueError()]
    workers = [
        PeriodicWorker("waiting", waiting, every=HOUR),
        PeriodicWorker("failing", failing, every=HOUR, backoff=Backoff(HOUR, HOUR)),
        PeriodicWorker("first", first, every=HOUR, first_after=HOUR),
    ]
    for worker in workers:
        worker.start()
    waiting.wait_for(1)
    failing.wait_for(1)
    with at_most(SECONDS):
        stop_together(workers)
    assert [waiting.count, failing.count, first.count] == [1, 1, 0]


def test_a_step_that_does_not_end_loses_what_it_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(periodic_worker, "STOP_GRACE_SECONDS", 0.05)
    told: list[str] = []

    class Stuck(PeriodicWorker):
        def __init__(self) -> None:
            self.lost = threading.Event()
            self.began = threading.Event()
            super().__init__("stuck", self._step, every=HOUR)

        def _step(self) -> None:
            self.began.set()
            assert self.lost.wait(SECONDS)
            raise OSError("the connection is closed")

        def _asked_to_stop(self) -> None:
            told.append("asked")

        def _let_go(self) -> None:
            told.append("let go")
            self.lost.set()

        def _close(self) -> None:
            told.append("closed")

    worker = Stuck()
    worker.start()
    assert worker.began.wait(SECONDS)
    with at_most(SECONDS / 2):
        stop_together([worker], lambda: told.append("shared"))
    assert told == ["asked", "shared", "let go", "closed"]
