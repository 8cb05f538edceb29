"""Each person's own data key, sealed to the country's key, in a file of its own.

They lie apart from the database and its backups: what was written under a key that is destroyed
stays closed in every copy of the database, an old backup too.
"""

import os
import secrets
from pathlib import Path
from uuid import UUID

from ledger.keys import write_private
from ledger.vault.country_key import CountryKey

_BYTES = 32


class DataKeys:
    """The data keys of one country's vault. Several processes may share the directory."""

    def __init__(self, directory: Path, party: str, key: CountryKey) -> None:
        self._directory = directory
        self._party = party
        self._key = key

    def get(self, case_id: UUID) -> bytes | None:
        """The person's key; ``None`` where there never was one, or it was destroyed.

        Raises ``SealError`` where it is not this country's.
        """
        try:
            sealed = self._path(case_id).read_bytes()
        except FileNotFoundError:
            return None
        return self._key.open(sealed, self._context(case_id))

    def make(self, case_id: UUID) -> bytes:
        """A person's key, new unless another process was first. It is durable on return."""
        path = self._path(case_id)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = secrets.token_bytes(_BYTES)
        try:
            write_private(path, self._key.public.seal(made, self._context(case_id)))
        except FileExistsError:
            found = self.get(case_id)
            if found is None:
                raise
            return found
        for directory in (path.parent, self._directory):
            _sync(directory)
        return made

    def destroy(self, case_id: UUID) -> bool:
        """Remove a person's key, durably. Returns whether there was one."""
        path = self._path(case_id)
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        _sync(path.parent)
        return True

    def _path(self, case_id: UUID) -> Path:
        return self._directory / case_id.hex[:2] / f"{case_id}.key"

    def _context(self, case_id: UUID) -> bytes:
        return f"case-ledger data key 1\n{self._party}\n{case_id}\n".encode()


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
