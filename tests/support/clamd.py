"""A clamd for the tests: it speaks the protocol, and answers as a test says."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CLEAN = b"stream: OK\x00"


class FakeClamd:
    """Answers ``INSTREAM`` with :attr:`answer`, which gets the whole stream, and ``PING``."""

    def __init__(self, path: Path) -> None:
        self.address = f"unix:{path}"
        self.answer: Callable[[bytes], bytes] = lambda _: CLEAN
        self.streams: list[bytes] = []
        self.half_closed = False
        """Closes its side for writing at once, and goes on reading."""
        self.most_bytes = 10**9
        """Closes the line after so many bytes of a stream, as clamd does at ``StreamMaxLength``."""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                line, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=[line], daemon=True).start()

    def _talk(self, line: socket.socket) -> None:
        # A client that gave up closes the line.
        with line, line.makefile("rb") as read, suppress(OSError, struct.error):
            if self.half_closed:
                line.shutdown(socket.SHUT_WR)
            command = b""
            while not command.endswith(b"\x00"):
                command += read.read(1)
            if command == b"zPING\x00":
                line.sendall(b"PONG\x00")
                return
            assert command == b"zINSTREAM\x00"
            stream = b""
            while (length := struct.unpack(">I", read.read(4))[0]) > 0:
                stream += read.read(length)
                if len(stream) > self.most_bytes:
                    line.sendall(b"INSTREAM size limit exceeded. ERROR\x00")
                    return
            self.streams.append(stream)
            if not self.half_closed:
                line.sendall(self.answer(stream))


@contextmanager
def fake_clamd(path: Path) -> Iterator[FakeClamd]:
    made = FakeClamd(path)
    try:
        yield made
    finally:
        made.close()
