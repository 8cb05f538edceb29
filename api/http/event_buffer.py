"""The latest events as followers are sent them: each written once, within a bound for all."""

from collections import deque
from dataclasses import dataclass

EVENTS = 2_000
BYTES = 16 * 1024 * 1024
CHUNK_BYTES = 128 * 1024
_CHUNKS = 16


@dataclass(frozen=True, slots=True)
class EventFrame:
    """One event on the wire."""

    position: int
    content: bytes


class EventBuffer:
    """The events after ``start`` that followers with the same rights share.

    A follower is a position and no queue: who falls behind ``start`` reads pages until it is back.
    """

    def __init__(self, at: int) -> None:
        self.start = at
        self.upto = at
        self._frames: deque[EventFrame] = deque()
        self._bytes = 0
        self._chunks: dict[int, tuple[bytes, int]] = {}

    def grow(self, frames: list[EventFrame], upto: int) -> None:
        """Add the next events; the tail is then complete up to a position."""
        self._frames.extend(frames)
        self._bytes += sum(len(frame.content) for frame in frames)
        self.upto = max(self.upto, upto)
        while len(self._frames) > EVENTS or self._bytes > BYTES:
            gone = self._frames.popleft()
            self._bytes -= len(gone.content)
            self.start = gone.position
        self._chunks.clear()

    def after(self, position: int) -> tuple[bytes, int]:
        """Return the events after ``position``, or the first of them, and their last position.

        Followers at the same position get the same bytes.
        """
        known = self._chunks.get(position)
        if known is None:
            known = self._joined(position)
            if len(self._chunks) < _CHUNKS:
                self._chunks[position] = known
        return known

    def _joined(self, position: int) -> tuple[bytes, int]:
        following: list[EventFrame] = []
        for frame in reversed(self._frames):
            if frame.position <= position:
                break
            following.append(frame)
        length = 0
        chunk: list[bytes] = []
        for frame in reversed(following):
            if chunk and length + len(frame.content) > CHUNK_BYTES:
                return b"".join(chunk), frame.position - 1
            chunk.append(frame.content)
            length += len(frame.content)
        return b"".join(chunk), max(position, self.upto)
