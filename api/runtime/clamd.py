"""Asks ``clamd`` of ClamAV whether a content has malware, over its socket.

The content goes over the socket in pieces (``INSTREAM``,
https://docs.clamav.net/manual/Usage/Scanning.html#clamd), and is never whole in memory here. Only
the answer that the whole stream is clean counts as clean.
"""

import socket
import struct
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final, Self

from api.client.schemas.health import Effect
from api.runtime.settings import Settings
from api.runtime.trouble import Trouble
from ledger.vault.documents.scanning import MalwareError, NotScannedError

_AT_ONCE: Final = 4
"""Contents that are examined at once; ``MaxThreads`` of clamd is 10 by default."""
_MOST_ANSWER_BYTES: Final = 4096
_LONGEST_NAME: Final = 200
_PING_SECONDS: Final = 1.0
_AWAY: Final = Trouble(
    rule="scanner-away",
    message="The malware scanner does not answer, so no action can have a new document. Start"
    " clamd, and compare its socket with CASE_LEDGER_SCANNER.",
    effect=Effect.WARNING,
    title="No new documents",
)


class ClamdScanner:
    """A scanner at one address."""

    def __init__(self, address: str, seconds: float) -> None:
        """``address`` is as in the settings; ``seconds`` bound the examination of one content."""
        self._address = address
        self._seconds = seconds
        self._places = threading.BoundedSemaphore(_AT_ONCE)

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """Return the scanner that the settings name, or ``None``."""
        if settings.scanner is None:
            return None
        return cls(settings.scanner, settings.scanner_seconds)

    def scan(self, content: Iterable[bytes]) -> None:
        """Return if clamd examined the whole content and found nothing.

        Raises ``MalwareError`` if it found something, and ``NotScannedError`` in any other case.
        """
        ends = time.monotonic() + self._seconds
        if not self._places.acquire(timeout=self._seconds):
            raise NotScannedError("the scanner is busy")
        try:
            with _Line(self._address, ends) as line:
                line.send(b"zINSTREAM\x00")
                for part in content:
                    if part:
                        line.send(struct.pack(">I", len(part)) + part)
                line.send(bytes(4))
                _check(line.answer())
        except OSError as error:
            # A refused connection, a timeout, or a line that broke.
            raise NotScannedError(f"no answer: {type(error).__name__}") from None
        finally:
            self._places.release()

    def troubles(self) -> Sequence[Trouble]:
        """Return the trouble of a scanner that does not answer."""
        try:
            with _Line(self._address, time.monotonic() + _PING_SECONDS) as line:
                line.send(b"zPING\x00")
                return () if line.answer() == b"PONG" else (_AWAY,)
        except (OSError, NotScannedError):
            return (_AWAY,)


class _Line:
    """A connection to clamd, all of which ends at a time."""

    def __init__(self, address: str, ends: float) -> None:
        self._ends = ends
        scheme, _, place = address.partition(":")
        if scheme == "unix":
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                self._socket.settimeout(self._left())
                self._socket.connect(place)
            except OSError:
                self._socket.close()
                raise
        else:
            host, _, port = place.removeprefix("//").rpartition(":")
            self._socket = socket.create_connection((host.strip("[]"), int(port)), self._left())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send all of it. A line that clamd closed may still have its answer, so that is no error.

        Raises ``OSError`` once the time is over.
        """
        self._socket.settimeout(self._left())
        with suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(data)

    def answer(self) -> bytes:
        """Return the one answer, without its end. Raises ``NotScannedError``, and ``OSError``."""
        told = bytearray()
        while not told.endswith(b"\x00"):
            self._socket.settimeout(self._left())
            part = self._socket.recv(_MOST_ANSWER_BYTES)
            told += part
            if not part or len(told) > _MOST_ANSWER_BYTES:
                raise NotScannedError("the answer is cut or too long")
        return bytes(told[:-1])

    def _left(self) -> float:
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def _check(answer: bytes) -> None:
    """Return if the answer is that the stream is clean.

    Raises ``MalwareError`` or ``NotScannedError``.
    """
    if answer == b"stream: OK":
        return
    text = "".join(one for one in answer.decode("utf-8", "replace") if one.isprintable())
    if text.startswith("stream: ") and text.endswith(" FOUND"):
        name = text.removeprefix("stream: ").removesuffix(" FOUND")
        raise MalwareError(name[:_LONGEST_NAME])
    raise NotScannedError(f"the scanner answered: {text[:_LONGEST_NAME]}")
