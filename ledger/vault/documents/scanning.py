"""The scanner that looks at each upload before an action can have it, where one is configured."""

from collections.abc import Iterable
from typing import Protocol


class MalwareError(Exception):
    """The scanner found malware. The message is the scanner's name for it."""


class NotScannedError(RuntimeError):
    """The scanner did not examine a content. The message says why, and holds nothing of it."""


class Scanner(Protocol):
    """Examines contents."""

    def scan(self, content: Iterable[bytes]) -> None:
        """Return if the scanner examined the whole content and found nothing.

        Raises ``MalwareError`` if it found something, and ``NotScannedError`` in any other case.
        """
