"""Each person's own data key, sealed to the country's key, apart from the database."""

import secrets
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from cachetools import TTLCache

from ledger.store.grouping import Group
from ledger.vault.country_key import CountryKey, CountryPublicKey, sealed_size
from ledger.vault.key_book import KeyBook
from ledger.vault.key_files import KeyFiles

_BYTES = 32
_AT_MOST = 256
_OPENED_AT_MOST = 512
_OPENED_SECONDS = 60.0
"""For so long a key that was opened is known; opening one takes 25 times a field's sealing."""


class _New(NamedTuple):
    case_id: UUID
    key: bytes
    sealed: bytes


class DataKeys:
    """The data keys of one country's vault."""

    def __init__(self, directory: Path, party: str, key: CountryKey) -> None:
        self._book = KeyBook(directory / "data-keys", sealed_size(_BYTES))
        self._files = KeyFiles(directory)
        """Where an earlier version kept each key, which are left there."""
        self._party = party
        self._key = key
        self._opened: TTLCache[UUID, tuple[object, bytes]] = TTLCache(
            _OPENED_AT_MOST, _OPENED_SECONDS
        )
        self._lock = threading.Lock()
        self._group = Group(self._make_together, at_most=_AT_MOST)

    def get(self, case_id: UUID) -> bytes | None:
        """The person's key; ``None`` where there never was one, or it was destroyed.

        Raises ``SealError`` where it is not this country's.
        """
        stamp = self._book.stamp(case_id) or self._files.stamp(case_id)
        with self._lock:
            known = self._opened.get(case_id)
            if known is not None and known[0] == stamp:
                return known[1]
            self._opened.pop(case_id, None)  # destroyed, or another, since
        if stamp is None:
            return None
        sealed = self._book.read(case_id) or self._files.read(case_id)
        if sealed is None:
            return None
        opened = self._key.open(sealed, self._context(case_id))
        self._keep(case_id, stamp, opened)
        return opened

    def has(self, case_id: UUID) -> bool:
        """Whether the person's key is there, which is not opened."""
        return (self._book.stamp(case_id) or self._files.stamp(case_id)) is not None

    def identity(self) -> tuple[int, int] | None:
        """The inode and the size of the file of keys; ``None`` where there is no file."""
        return self._book.identity()

    def copy_from(self, directory: Path, case_ids: Iterable[UUID]) -> int:
        """Take in the keys of persons from a copy of this directory, durably. Returns how many.

        A key that is here already stays. Raises ``SealError`` where one is not this country's.
        """
        other = KeyBook(directory / "data-keys", sealed_size(_BYTES))
        found = {i: sealed for i in case_ids if (sealed := other.read(i)) is not None}
        for case_id, sealed in found.items():
            self._key.open(sealed, self._context(case_id))
        return len(found.keys() - self._book.add(found)) if found else 0

    def make(self, case_id: UUID) -> bytes:
        """A person's key, new unless another process was first. It is durable on return."""
        return self._group.call(self._new(case_id))

    def make_all(self, case_ids: Sequence[UUID]) -> Mapping[UUID, bytes]:
        """As :meth:`make` for each of many persons."""
        made = self._make_together([self._new(case_id) for case_id in case_ids])
        return dict(zip(case_ids, made, strict=True))

    def reseal(self) -> int:
        """Seal every data key to the country's newest key. Gives how many there are.

        Raises ``SealError`` where one does not open with any key that is here; nothing is changed
        in its file then. Repeating it is harmless.
        """
        return self._book.rewrite(self._resealed) + self._files.rewrite(self._resealed)

    def _resealed(self, case_id: UUID, sealed: bytes) -> bytes:
        context = self._context(case_id)
        return self._key.public.seal(self._key.open(sealed, context), context)

    def check_each(self, holds: Callable[[bytes, bytes], bool]) -> int:
        """Count the data keys of which ``holds`` is false, by what is sealed and its context."""
        wrong: list[UUID] = []

        def look(case_id: UUID, sealed: bytes) -> None:
            if not holds(sealed, self._context(case_id)):
                wrong.append(case_id)

        self._book.each(look)
        self._files.each(look)
        return len(wrong)

    def destroy(self, case_id: UUID) -> bool:
        """Remove a person's key, durably. Returns whether there was one."""
        had_one = self._book.destroy(case_id) | self._files.destroy(case_id)
        with self._lock:
            self._opened.pop(case_id, None)
        return had_one

    def _new(self, case_id: UUID) -> _New:
        key = secrets.token_bytes(_BYTES)
        return _New(case_id, key, self._public.seal(key, self._context(case_id)))

    def _make_together(self, wanted: Sequence[_New]) -> list[bytes]:
        """The keys that hold, which wait for the disk together."""
        known = {one.case_id for one in wanted if self._files.stamp(one.case_id) is not None}
        new = {one.case_id: one for one in wanted if one.case_id not in known}
        known |= self._book.add({case_id: one.sealed for case_id, one in new.items()})
        for case_id in new.keys() - known:
            if (stamp := self._book.stamp(case_id)) is not None:
                self._keep(case_id, stamp, new[case_id].key)
        return [
            self._there(one.case_id) if one.case_id in known else new[one.case_id].key
            for one in wanted
        ]

    def _there(self, case_id: UUID) -> bytes:
        found = self.get(case_id)
        if found is None:
            raise FileNotFoundError("a person's key was destroyed at this very moment")
        return found

    @property
    def _public(self) -> CountryPublicKey:
        return self._key.public

    def _keep(self, case_id: UUID, stamp: object, opened: bytes) -> None:
        with self._lock:
            self._opened[case_id] = (stamp, opened)

    def _context(self, case_id: UUID) -> bytes:
        return f"case-ledger data key 1\n{self._party}\n{case_id}\n".encode()
