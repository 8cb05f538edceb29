"""Each person's own data key, sealed to the country's key, in a file of its own."""

import secrets
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from uuid import UUID

from cachetools import TTLCache

from ledger.vault.country_key import CountryKey
from ledger.vault.key_files import KeyFiles

_BYTES = 32
_OPENED_AT_MOST = 512
_OPENED_SECONDS = 60.0
"""For so long a key that was opened is known; opening one takes 25 times a field's sealing."""


class DataKeys:
    """The data keys of one country's vault."""

    def __init__(self, directory: Path, party: str, key: CountryKey) -> None:
        self._files = KeyFiles(directory)
        self._party = party
        self._key = key
        self._opened: TTLCache[UUID, tuple[bytes, bytes]] = TTLCache(
            _OPENED_AT_MOST, _OPENED_SECONDS
        )
        self._lock = threading.Lock()

    def get(self, case_id: UUID) -> bytes | None:
        """The person's key; ``None`` where there never was one, or it was destroyed.

        Raises ``SealError`` where it is not this country's.
        """
        sealed = self._files.read(case_id)
        with self._lock:
            known = self._opened.get(case_id)
            if known is not None and known[0] == sealed:
                return known[1]
            self._opened.pop(case_id, None)  # destroyed, or another, since
        if sealed is None:
            return None
        opened = self._key.open(sealed, self._context(case_id))
        with self._lock:
            self._opened[case_id] = (sealed, opened)
        return opened

    def make(self, case_id: UUID) -> bytes:
        """A person's key, new unless another process was first. It is durable on return."""
        made = secrets.token_bytes(_BYTES)
        try:
            self._files.write(case_id, self._key.public.seal(made, self._context(case_id)))
        except FileExistsError:
            found = self.get(case_id)
            if found is None:
                raise
            return found
        return made

    def make_all(self, case_ids: Sequence[UUID], threads: Executor) -> Mapping[UUID, bytes]:
        """As :meth:`make` for each of many persons. All are durable on return."""
        made = {case_id: secrets.token_bytes(_BYTES) for case_id in case_ids}
        seal = self._key.public.seal
        sealed = {case_id: seal(key, self._context(case_id)) for case_id, key in made.items()}
        for case_id in self._files.write_all(sealed, threads):
            found = self.get(case_id)
            if found is None:
                raise FileNotFoundError("a person's key was destroyed at this very moment")
            made[case_id] = found
        return made

    def destroy(self, case_id: UUID) -> bool:
        """Remove a person's key, durably. Returns whether there was one."""
        had_one = self._files.destroy(case_id)
        with self._lock:
            self._opened.pop(case_id, None)
        return had_one

    def _context(self, case_id: UUID) -> bytes:
        return f"case-ledger data key 1\n{self._party}\n{case_id}\n".encode()
