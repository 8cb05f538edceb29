"""The bounds of one run of a view, and the clock that ends it."""

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Timer

from projections.analysis.view_class import ViewError

GIB = 1024**3
_STATM = Path("/proc/self/statm")
_BESIDE_BYTES = 2 * GIB
"""Addresses for threads, for the tables' files and for what an allocator reserves ahead."""


class TooLongError(ViewError):
    """A view runs for longer than its limit."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one view in a run. A run that needs more ends with a message that says so."""

    seconds: float = 3600
    """By the clock, for each view of a run."""
    memory_bytes: int = GIB
    """DuckDB's memory, before it writes to the disk. A fold has 8 GiB of addresses."""
    spill_bytes: int = 20 * GIB
    """The files that DuckDB writes while it runs, which are removed afterwards."""
    rows_bytes: int = GIB
    """The rows of the result; as JSON, where a process answers them."""
    state_bytes: int = GIB // 4
    """The state of a fold, as JSON."""

    def too_long(self, name: str) -> TooLongError:
        """Return the error of a view that takes too long."""
        return TooLongError(
            f"{name}: it ran for more than {self.seconds / 60:g} minutes and was ended; ask for "
            "fewer kinds or a range, or allow more with --minutes"
        )

    def rows_too_large(self, name: str) -> ViewError:
        """Return the error of a view whose result is too large."""
        return ViewError(
            f"{name}: its rows are larger than {mebibytes(self.rows_bytes)}; a view counts or "
            "groups, and an export (`case-ledger export --parquet`) has the single events"
        )


def mebibytes(count: int) -> str:
    """Return a number of bytes for people."""
    return f"{count / GIB:g} GiB" if count >= GIB // 4 else f"{count / 1024**2:g} MiB"


@contextmanager
def ended_after(seconds: float, end: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    """Call ``end`` in another thread if the block takes longer; yield whether that happened."""
    passed = []

    def stop() -> None:
        passed.append(True)
        end()

    timer = Timer(seconds, stop)
    timer.daemon = True
    timer.start()
    try:
        yield lambda: bool(passed)
    finally:
        timer.cancel()


@contextmanager
def bounded_addresses(memory_bytes: int) -> Iterator[None]:
    """Let this process have no more memory than it has, some bytes and what lies beside them.

    DuckDB's own limit does not count every value: a list of a row is allocated besides. An
    allocation past the bound fails as any that lacks memory. Nothing is bounded on a system without
    ``/proc``, or below an earlier bound of the process.
    """
    try:
        pages = int(_STATM.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = pages * resource.getpagesize() + 2 * memory_bytes + _BESIDE_BYTES
    earlier = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min([most, *earlier]), hard))
    try:
        yield
    finally:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
