"""Keys in files of their own, apart from the database and its backups.

Once a key is destroyed, all that it encrypted stays closed in every copy of the database, an old
backup too.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias
from uuid import UUID

from ledger.signing.keys import write_private
from ledger.system.fsync import sync_directory

Stamp: TypeAlias = tuple[int, int]


class KeyFiles:
    """One file a key, by id. Several processes may share the directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lasting: set[Path] = set()
        """Directories that are known to be on the disk themselves."""

    def read(self, key_id: UUID) -> bytes | None:
        """Return the content of a key's file, or ``None`` if it never existed or was destroyed."""
        try:
            return self._path(key_id).read_bytes()
        except FileNotFoundError:
            return None

    def stamp(self, key_id: UUID) -> Stamp | None:
        """Return a value that changes when a key's file is replaced, or ``None`` without a file.

        Reading the stamp costs a tenth of reading the file.
        """
        try:
            found = os.stat(self._name(key_id))  # noqa: PTH116
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns

    def write(self, key_id: UUID, content: bytes) -> None:
        """Write a new file, which is durable on return.

        Raises ``FileExistsError`` if the file exists.
        """
        path = self._path(key_id)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(path, content)
        own = path.parent
        sync_directory(own)
        if own not in self._lasting:
            sync_directory(self._directory)
            self._lasting.add(own)

    def each(self, look: Callable[[UUID, bytes], None]) -> None:
        """Call ``look`` with the id and the file content of every key."""
        for path in sorted(self._directory.glob("[0-9a-f][0-9a-f]/*.key")):
            if (content := self.read(UUID(path.stem))) is not None:
                look(UUID(path.stem), content)

    def rewrite(self, change: Callable[[UUID, bytes], bytes]) -> int:
        """Replace the content of every file, each durably, and return how many files there are."""
        count = 0
        for path in sorted(self._directory.glob("[0-9a-f][0-9a-f]/*.key")):
            key_id = UUID(path.stem)
            beside = path.with_name(f".{path.name}.new")
            beside.unlink(missing_ok=True)  # of a process that was stopped
            try:
                write_private(beside, change(key_id, path.read_bytes()))
            except FileNotFoundError:
                continue  # destroyed at this very moment
            beside.replace(path)
            sync_directory(path.parent)
            count += 1
        return count

    def destroy(self, key_id: UUID) -> bool:
        """Remove a file, durably. Returns whether there was one."""
        path = self._path(key_id)
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        sync_directory(path.parent)
        return True

    def _path(self, key_id: UUID) -> Path:
        return Path(self._name(key_id))

    def _name(self, key_id: UUID) -> str:
        return f"{self._directory}/{key_id.hex[:2]}/{key_id}.key"
