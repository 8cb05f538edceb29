"""The interface of a store that is measured."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

PAGE = 1000
"""How many events are read at a time, where a store is read in pages."""


@dataclass(frozen=True, slots=True)
class Given:
    """An event that every store is given alike: the signed bytes, and where they belong."""

    case_id: UUID
    version: int
    """From 1; what each store is told to expect is derived from it."""
    kind: str
    content: bytes
    action_id: UUID
    agency: str
    sent: str
    """The same with its disclosures, as the agency hands it in."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A way of appending: the number of writers, and of events in one append."""

    name: str
    writers: int
    batch: int = 1


ALONE = Workload("1 writer", 1)
EIGHT = Workload("8 writers", 8)
MANY = Workload("32 writers", 32)
BATCHES = Workload("batches of 100", 1, 100)
WORKLOADS = (ALONE, EIGHT, MANY, BATCHES)
READING = "sequential read"
"""Of all that was just appended in batches."""


class Peer(Protocol):
    """A store, empty when it is opened. ``append`` is called by several threads at once."""

    name: str
    about: str
    """What exactly is measured, in one line."""
    server: str
    """Where it stores: results on one server are comparable most directly."""
    workloads: Sequence[Workload]
    """Those that the store has a way to do."""
    verifies: bool
    """Whether it takes events only once, with signatures that hold and in an allowed order."""

    def available(self) -> str | None:
        """Return why the store cannot be measured on this machine; ``None`` if it can."""

    def version(self) -> str:
        """Return the version of the store that was measured."""

    def open(self, writers: int) -> None:
        """Begin with an empty store, each writer having all that it needs to append."""

    def durability(self) -> str:
        """Return the settings by which an append of the open store is on the disk on return."""

    def append(self, writer: int, events: Sequence[Given]) -> None:
        """Append events atomically and durably, expecting the versions before them.

        The events are of one case, or of whole cases that are new.
        """

    def read(self) -> Iterator[bytes]:
        """Yield the content of every event that was appended, in order."""

    def close(self) -> None:
        """Leave nothing behind, also of what :meth:`open` did before it failed."""
