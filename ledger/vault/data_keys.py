"""Each person's own data key, sealed to the country's key, in a file of its own."""

import secrets
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from functools import cached_property
from pathlib import Path
from uuid import UUID

from cachetools import TTLCache

from ledger.vault.country_key import CountryKey, CountryPublicKey
from ledger.vault.key_files import KeyFiles, Stamp

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
        self._opened: TTLCache[UUID, tuple[Stamp, bytes]] = TTLCache(
            _OPENED_AT_MOST, _OPENED_SECONDS
        )
        self._lock = threading.Lock()

    def get(self, case_id: UUID) -> bytes | None:
        """The person's key; ``None`` where there never was one, or it was destroyed.

        Raises ``SealError`` where it is not this country's.
        """
        stamp = self._files.stamp(case_id)
        with self._lock:
            known = self._opened.get(case_id)
            if known is not None and known[0] == stamp:
                return known[1]
            self._opened.pop(case_id, None)  # destroyed, or another, since
        sealed = self._files.read(case_id) if stamp is not None else None
        if stamp is None or sealed is None:
            return None
        opened = self._key.open(sealed, self._context(case_id))
        self._keep(case_id, stamp, opened)
        return opened

    def make(self, case_id: UUID) -> bytes:
        """A person's key, new unless another process was first. It is durable on return."""
        made = secrets.token_bytes(_BYTES)
        try:
            self._files.write(case_id, self._public.seal(made, self._context(case_id)))
        except FileExistsError:
            found = self.get(case_id)
            if found is None:
                raise
            return found
        if (stamp := self._files.stamp(case_id)) is not None:
            self._keep(case_id, stamp, made)
        return made

    def make_all(self, case_ids: Sequence[UUID], threads: Executor) -> Mapping[UUID, bytes]:
        """As :meth:`make` for each of many persons. All are durable on return."""
        made = {case_id: secrets.token_bytes(_BYTES) for case_id in case_ids}
        seal = self._public.seal
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

    @cached_property
    def _public(self) -> CountryPublicKey:
        return self._key.public

    def _keep(self, case_id: UUID, stamp: Stamp, opened: bytes) -> None:
        with self._lock:
            self._opened[case_id] = (stamp, opened)

    def _context(self, case_id: UUID) -> bytes:
        return f"case-ledger data key 1\n{self._party}\n{case_id}\n".encode()
