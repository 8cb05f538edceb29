"""Keys in one file, apart from the database and its backups; each can be destroyed by itself.

Once a key is destroyed, all that it encrypted stays closed in every copy of the database, an old
backup too.

The file is records of one length: the key's id as text, so that a search in the file finds it, a
check of the record, and the sealed key. Records are appended, many of them with one wait for the
disk. A destroyed record is overwritten where it stands.
"""

import fcntl
import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeAlias
from uuid import UUID

from ledger.system.fsync import sync_directory

Stamp: TypeAlias = bytes

_ID, _CHECK = 36, 8
_HEAD = _ID + 1 + _CHECK
_AT_ONCE = 1_000
_GONE = b"-" * _ID


class KeyStore:
    """One file of keys that are each kept in ``size`` bytes. Several processes may share it.

    Where records are is known by id, so that finding one reads that one alone.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size
        self._length = _HEAD + size + 1
        self._lock = threading.Lock()
        self._places: dict[bytes, int] = {}
        self._file: int | None = None
        self._known_to = 0
        """The file that is known, by its inode, and how far."""
        self._held: _Held | None = None

    def stamp(self, key_id: UUID) -> Stamp | None:
        """Return a value that changes when a key's record is replaced, or ``None`` without one."""
        return self._found(key_id, _HEAD)[_ID + 1 :] or None

    def read(self, key_id: UUID) -> bytes | None:
        """Return the content of a key's record, or ``None`` if it was destroyed or never made."""
        return self._found(key_id, self._length)[_HEAD:-1] or None

    def identity(self) -> tuple[int, int] | None:
        """Return the file's inode and its size in bytes, or ``None`` without a file."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_size

    def add(self, contents: Mapping[UUID, bytes]) -> set[UUID]:
        """Write many new records, all durable on return.

        Returns the ids that had a record before; such a record stays as it is.
        """
        new = {str(key_id).encode(): content for key_id, content in contents.items()}
        if any(len(content) != self._size for content in new.values()):
            raise ValueError(f"a record of this file keeps {self._size} bytes")
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Always the file's lock first and then the process's: two orders would wait for ever.
        with self._locked(os.O_RDWR | os.O_CREAT) as descriptor:
            with self._lock:
                self._learn(descriptor)
                known = {i for i in new if self._holds(descriptor, i)}
                begin = self._known_to
                if os.fstat(descriptor).st_size > begin:  # half a record, of who was stopped
                    os.ftruncate(descriptor, begin)
                wanted = [i for i in new if i not in known]
                records = b"".join(self._record(i, new[i]) for i in wanted)
                # Known to others of this process when it is on the disk, and not before.
                self._known_to += len(records)
            try:
                _write_at(descriptor, records, begin)
                os.fdatasync(descriptor)
                if not begin:
                    sync_directory(self._path.parent)
                    sync_directory(self._path.parent.parent)
            except BaseException:
                with self._lock:
                    self._known_to = begin
                    os.ftruncate(descriptor, begin)
                raise
            with self._lock:
                for n, key_id in enumerate(wanted):
                    self._places[key_id] = begin + n * self._length
        return {key_id for key_id in contents if str(key_id).encode() in known}

    def destroy(self, key_id: UUID) -> bool:
        """Overwrite a record, durably. Returns whether there was one."""
        wanted = str(key_id).encode()
        try:
            with self._locked(os.O_RDWR) as descriptor:
                with self._lock:
                    self._learn(descriptor)
                    if not self._holds(descriptor, wanted):
                        return False
                    place = self._places.pop(wanted)
                _write_at(descriptor, self._record(_GONE, bytes(self._size)), place)
                os.fdatasync(descriptor)
                return True
        except FileNotFoundError:
            return False

    def each(self, look: Callable[[UUID, bytes], None]) -> None:
        """Call ``look`` with the id and the record content of every key."""
        try:
            with self._locked(os.O_RDWR) as descriptor:
                for place in range(0, self._reach(descriptor), self._length):
                    record = os.pread(descriptor, self._length, place)
                    if self._is_live(record):
                        look(UUID(record[:_ID].decode()), record[_HEAD:-1])
        except FileNotFoundError:
            return

    def rewrite(
        self,
        change: Callable[[UUID, bytes], bytes],
        before: Callable[[], None] = lambda: None,
    ) -> int:
        """Replace the content of every record, durably, and return how many records there are.

        ``change`` gets a key's id and its content. The new file takes the old file's place at once.
        The old file is overwritten, so that its content is gone from this disk's files. ``before``
        is called after the new file is written and before the new file takes the place. If
        ``change`` or ``before`` raises, the file stays as it is.
        """
        try:
            with self._locked(os.O_RDWR) as descriptor:
                size, count = self._reach(descriptor), 0
                beside = self._path.with_name(f".{self._path.name}.new")
                beside.unlink(missing_ok=True)  # of a process that was stopped
                new = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                try:
                    # Each record keeps its place: what other processes know of places stays true.
                    for place in range(0, size, self._length):
                        record = os.pread(descriptor, self._length, place)
                        if self._is_live(record):
                            record = self._changed(record[:_ID], record[_HEAD:-1], change)
                            count += 1
                        _write_at(new, record, place)
                    os.fsync(new)
                    before()
                except BaseException:
                    beside.unlink(missing_ok=True)
                    raise
                finally:
                    os.close(new)
                beside.replace(self._path)
                sync_directory(self._path.parent)
                _write_at(descriptor, bytes(size), 0)
                os.fdatasync(descriptor)
                return count
        except FileNotFoundError:
            return 0

    def remove(self) -> None:
        """Overwrite the whole file and remove it, durably."""
        try:
            with self._locked(os.O_RDWR) as descriptor:
                _write_at(descriptor, bytes(os.fstat(descriptor).st_size), 0)
                os.fdatasync(descriptor)
                self._path.unlink()
                sync_directory(self._path.parent)
        except FileNotFoundError:
            return

    def _reach(self, descriptor: int) -> int:
        """Return the number of bytes that hold whole records."""
        with self._lock:
            self._learn(descriptor)
            return self._known_to

    def _is_live(self, record: bytes) -> bool:
        """Return whether a record is whole and was not destroyed."""
        return record[:_ID] != _GONE and record == self._record(record[:_ID], record[_HEAD:-1])

    def _changed(self, key_id: bytes, kept: bytes, change: Callable[[UUID, bytes], bytes]) -> bytes:
        content = change(UUID(key_id.decode()), kept)
        if len(content) != self._size:
            raise ValueError(f"a record of this file keeps {self._size} bytes")
        return self._record(key_id, content)

    def _found(self, key_id: UUID, length: int) -> bytes:
        """Return the first ``length`` bytes of a key's record, or none without a record."""
        if found := self._found_held(str(key_id).encode(), length):
            return found
        while True:
            found, is_current = self._found_once(key_id, length)
            if found or is_current:
                return found

    def _found_held(self, wanted: bytes, length: int) -> bytes:
        """Return the first ``length`` bytes of a record whose offset is known, or none.

        The file is open since the last read. It is read if it is still the one in place.
        """
        held = self._held
        if held is None:
            return b""
        try:
            inode = os.stat(self._path).st_ino  # noqa: PTH116
        except FileNotFoundError:
            return b""
        with self._lock:
            place = self._places.get(wanted) if self._file == inode == held.inode else None
        record = b"" if place is None else os.pread(held.descriptor, length, place)
        return record if record[:_ID] == wanted else b""

    def _found_once(self, key_id: UUID, length: int) -> tuple[bytes, bool]:
        """Return the first bytes of a record, and whether the file just read is still in place."""
        wanted = str(key_id).encode()
        try:
            with self._opened(os.O_RDONLY) as descriptor:
                while (place := self._place(descriptor, wanted)) is not None:
                    record = os.pread(descriptor, length, place)
                    if record[:_ID] == wanted:
                        if (held := self._held) is None or held.inode != self._file:
                            with suppress(FileNotFoundError):  # removed at this very moment
                                self._held = _Held(self._path)
                        return record, True
                    with self._lock:  # another process destroyed it, and may have made another
                        if self._places.get(wanted) == place:
                            del self._places[wanted]
                return b"", self._is_current(descriptor)
        except FileNotFoundError:
            return b"", True

    def _place(self, descriptor: int, wanted: bytes) -> int | None:
        """Return the offset of a record, after reading all that other processes have written."""
        if not self._knows(wanted, os.fstat(descriptor)):
            fcntl.flock(descriptor, fcntl.LOCK_SH)  # no half a record of another process
            with self._lock:
                self._learn(descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        return self._places.get(wanted)

    def _knows(self, key_id: bytes, found: os.stat_result) -> bool:
        """Return whether this process has the key's offset, or has read the whole file."""
        with self._lock:
            if self._file != found.st_ino:
                return False
            return key_id in self._places or found.st_size < self._known_to + self._length

    def _holds(self, descriptor: int, key_id: bytes) -> bool:
        place = self._places.get(key_id)
        return place is not None and os.pread(descriptor, _ID, place) == key_id

    def _learn(self, descriptor: int) -> None:
        """Read the offsets of records that any process added since the last call."""
        found = os.fstat(descriptor)
        if self._file != found.st_ino or found.st_size < self._known_to:
            # Another file was put in its place.
            self._file, self._known_to = found.st_ino, 0
            self._places.clear()
        begun_at = self._known_to
        while part := os.pread(descriptor, self._length * _AT_ONCE, self._known_to):
            whole = len(part) - len(part) % self._length
            if not whole:
                break
            for start in range(0, whole, self._length):
                record = part[start : start + self._length]
                if self._is_live(record):
                    self._places[record[:_ID]] = self._known_to + start
            self._known_to += whole
        if self._known_to > begun_at:
            os.fdatasync(descriptor)  # who wrote them may have been killed before this

    def _record(self, key_id: bytes, content: bytes) -> bytes:
        """Return the bytes of a record, with its check.

        The check shows a record that a power cut tore.
        """
        check = hashlib.blake2b(key_id + content, digest_size=_CHECK).digest()
        return b"".join((key_id, b" ", check, content, b"\n"))

    @contextmanager
    def _locked(self, flags: int) -> Iterator[int]:
        """Open and lock the file that is in place, and yield its descriptor.

        Another process may replace the file before it is locked; then the new file is opened.
        """
        while True:
            with self._opened(flags) as descriptor:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if self._is_current(descriptor):
                    yield descriptor
                    return

    def _is_current(self, descriptor: int) -> bool:
        try:
            return self._path.stat().st_ino == os.fstat(descriptor).st_ino
        except FileNotFoundError:
            return False

    @contextmanager
    def _opened(self, flags: int) -> Iterator[int]:
        descriptor = os.open(self._path, flags | os.O_CLOEXEC, 0o600)
        try:
            yield descriptor
        finally:
            os.close(descriptor)  # and with it the lock


class _Held:
    """A file that stays open, with its inode, which no other file gets meanwhile.

    The last thread that reads it closes it.
    """

    def __init__(self, path: Path) -> None:
        """Open the file that is in place, without a lock.

        Raises ``FileNotFoundError`` if there is none.
        """
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.inode = os.fstat(self.descriptor).st_ino

    def __del__(self) -> None:
        os.close(self.descriptor)


def _write_at(descriptor: int, content: bytes, place: int) -> None:
    while content:
        written = os.pwrite(descriptor, content, place)
        content, place = content[written:], place + written
