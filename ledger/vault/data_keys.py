"""Each person's own data key, sealed to the country's key, apart from the database.

A replacement (``ledger/vault/data_key_rotation.py``) puts a new key in the place of a person's key.
The replaced key stays in a second file until every row of the person is sealed under the new key.
"""

import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from uuid import UUID, uuid4

from cachetools import TTLCache

from ledger.signing.country_key import CountryKey, CountryPublicKey, sealed_size
from ledger.store.group_commit import GroupCommit
from ledger.vault.key_files import KeyFiles
from ledger.vault.key_store import KeyStore

_BYTES = 32
_ID_BYTES = 16
_AT_MOST = 256
_KEPT_AT_ONCE = 1_000
_REPLACED = "replaced-"
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
        self._directory = directory
        self._book = KeyStore(directory / "data-keys", sealed_size(_BYTES))
        self._replaced: dict[Path, KeyStore] = {}
        """Each file of replaced keys that this process read. None is ever used twice."""
        self._destroyed = KeyStore(directory / "destroyed-disclosures", _ID_BYTES)
        """Actions whose disclosures were destroyed, each with its case."""
        self._uploads = KeyStore(directory / "upload-keys", sealed_size(_BYTES))
        """The key of each case's uploads, under which documents are until an action has them."""
        self._members = KeyStore(directory / "member-keys", sealed_size(_BYTES))
        """The key of each member of an agency, under which the name is."""
        self._files = KeyFiles(directory)
        """Where an earlier version kept each key, which are left there."""
        self._party = party
        self._key = key
        self._opened: TTLCache[UUID, tuple[object, bytes]] = TTLCache(
            _OPENED_AT_MOST, _OPENED_SECONDS
        )
        self._lock = threading.Lock()
        self._group = GroupCommit(self._make_together, at_most=_AT_MOST)

    def get(self, case_id: UUID) -> bytes | None:
        """Return the person's key, or ``None`` if the key never existed or was destroyed.

        Raises ``SealError`` if the key is not sealed to this country's key.
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

    def replaced(self, case_id: UUID) -> bytes | None:
        """Return the person's replaced key, or ``None`` if no replacement of the key is under way.

        Raises ``SealError`` as :meth:`get` does.
        """
        for book in self._replaced_books():
            if (sealed := book.read(case_id)) is not None:
                return self._key.open(sealed, self._context(case_id))
        return None

    def has(self, case_id: UUID) -> bool:
        """Return whether the person's key exists, without opening the key."""
        return (self._book.stamp(case_id) or self._files.stamp(case_id)) is not None

    def identity(self) -> tuple[int, int] | None:
        """Return the inode and the size in bytes of the key file, or ``None`` without a file."""
        return self._book.identity()

    def copy_from(
        self,
        directory: Path,
        case_ids: Iterable[UUID],
        is_current: Callable[[UUID, bytes], bool] = lambda _, __: True,
    ) -> int:
        """Take in the keys of persons from a copy of this directory, and return how many.

        The keys are durable on return. A key that exists here stays. A key for which ``is_current``
        returns false is left out. Raises ``SealError`` if a key is not sealed to this country's
        key.
        """
        other = KeyStore(directory / "data-keys", sealed_size(_BYTES))
        copied = {i: sealed for i in case_ids if (sealed := other.read(i)) is not None}
        found = {
            case_id: sealed
            for case_id, sealed in copied.items()
            if is_current(case_id, self._key.open(sealed, self._context(case_id)))
        }
        return len(found.keys() - self._book.add(found)) if found else 0

    def make(self, case_id: UUID) -> bytes:
        """Return the person's key, and make the key if it does not exist yet.

        If another process made the key first, that key is returned. The key is durable on return.
        """
        return self._group.call(self._new(case_id))

    def make_all(self, case_ids: Sequence[UUID]) -> Mapping[UUID, bytes]:
        """Return the keys of many persons, and make the missing keys as :meth:`make` does."""
        made = self._make_together([self._new(case_id) for case_id in case_ids])
        return dict(zip(case_ids, made, strict=True))

    def reseal(self) -> int:
        """Seal every data key to the country's newest key, and return how many there are.

        Repeating the call is harmless. Raises ``SealError`` if a key does not open with any of the
        country's keys here; the file of that key is unchanged then.
        """
        return sum(place.rewrite(self._resealed) for place in self._places())

    def upload_key(self, case_id: UUID) -> bytes | None:
        """Return the key of a case's uploads, or ``None`` if there is none.

        Raises ``SealError`` as :meth:`get` does.
        """
        sealed = self._uploads.read(case_id)
        return None if sealed is None else self._key.open(sealed, self._context(case_id))

    def make_upload_key(self, case_id: UUID) -> bytes:
        """Return the key of a case's uploads, and make it if it does not exist. It is durable.

        It is no data key: an upload is of no person's until an action has it. Raises ``SealError``
        as :meth:`get` does.
        """
        while (key := self.upload_key(case_id)) is None:
            self._uploads.add({case_id: self._new(case_id).sealed})
        return key

    def destroy_upload_key(self, case_id: UUID) -> bool:
        """Destroy the key of a case's uploads, durably, and return whether there was one."""
        return self._uploads.destroy(case_id)

    def member_key(self, member: UUID) -> bytes | None:
        """Return the key of a member's name, or ``None`` if it never existed or was destroyed.

        Raises ``SealError`` as :meth:`get` does.
        """
        sealed = self._members.read(member)
        return None if sealed is None else self._key.open(sealed, self._context(member))

    def make_member_key(self, member: UUID) -> bytes:
        """Return the key of a member's name, and make it if it does not exist. It is durable.

        Raises ``SealError`` as :meth:`get` does.
        """
        while (key := self.member_key(member)) is None:
            self._members.add({member: self._new(member).sealed})
        return key

    def destroy_member_key(self, member: UUID) -> bool:
        """Destroy the key of a member's name, durably, and return whether there was one."""
        return self._members.destroy(member)

    def cases_with_upload_key(self) -> list[UUID]:
        """Return the cases whose uploads have a key."""
        found: list[UUID] = []
        self._uploads.each(lambda case_id, _: found.append(case_id))
        return found

    def begin_replacement(self, case_id: UUID | None = None) -> bool:
        """Replace every data key, or one person's, by a new key, and keep the replaced keys.

        Returns false if an earlier replacement was stopped: that one must be completed first. Only
        one process may call this at a time. The new keys are durable on return. A process that is
        killed leaves every old key or every new key in place. Raises ``SealError`` if a key does
        not open; nothing is changed then.
        """
        if self._is_being_replaced():
            return False
        for path in self._replaced_paths():  # of one that was stopped before it took effect
            KeyStore(path, sealed_size(_BYTES)).remove()
        self._gather_files(case_id)
        kept = KeyStore(self._directory / f"{_REPLACED}{uuid4()}", sealed_size(_BYTES))
        pending: dict[UUID, bytes] = {}

        def keep() -> None:
            kept.add(pending)
            pending.clear()

        def renewed(person: UUID, sealed: bytes) -> bytes:
            if case_id not in (None, person):
                return sealed
            context = self._context(person)
            self._key.open(sealed, context)
            pending[person] = sealed
            if len(pending) >= _KEPT_AT_ONCE:
                keep()
            return self._public.seal(secrets.token_bytes(_BYTES), context)

        # Under the lock of the file: a key that is destroyed meanwhile is destroyed in both.
        self._book.rewrite(renewed, before=keep)
        return True

    def being_replaced(self) -> list[UUID]:
        """Return the persons whose replaced key still exists."""
        found: list[UUID] = []
        for book in self._replaced_books():
            book.each(lambda case_id, _: found.append(case_id))
        return found

    def forget_replaced(self, case_id: UUID) -> None:
        """Destroy a person's replaced key, durably."""
        for book in self._replaced_books():
            book.destroy(case_id)

    def end_replacement(self) -> None:
        """Remove the files of replaced keys, unless a key is left in them."""
        if not self.being_replaced():
            for book in self._replaced_books():
                book.remove()

    def _is_being_replaced(self) -> bool:
        """Return whether a replacement took effect and is not complete."""
        took_effect: list[UUID] = []

        def look(case_id: UUID, kept: bytes) -> None:
            if not took_effect and not self._is_same(case_id, self._book.read(case_id), kept):
                took_effect.append(case_id)

        for book in self._replaced_books():
            book.each(look)
        return bool(took_effect)

    def _is_same(self, case_id: UUID, sealed: bytes | None, kept: bytes) -> bool:
        """Return whether two records hold the same key, perhaps sealed anew in one of them."""
        if sealed is None or sealed == kept:
            return sealed is not None
        context = self._context(case_id)
        return self._key.open(sealed, context) == self._key.open(kept, context)

    def _gather_files(self, case_id: UUID | None) -> None:
        """Move the keys that an earlier version kept in files of their own to the one file."""
        found: dict[UUID, bytes] = {}
        self._files.each(lambda person, sealed: found.update({person: sealed}))
        wanted = {one: found[one] for one in found if case_id in (None, one)}
        if wanted:
            self._book.add(wanted)
        for one in wanted:
            self._files.destroy(one)

    def _places(self) -> Iterator[KeyFiles | KeyStore]:
        """Return every place of keys: data keys in the order in which a replacement moves them."""
        yield self._files
        yield self._book
        yield from self._replaced_books()
        yield self._uploads
        yield self._members

    def _replaced_paths(self) -> list[Path]:
        return sorted(self._directory.glob(f"{_REPLACED}*"))

    def _replaced_books(self) -> list[KeyStore]:
        paths = self._replaced_paths()
        with self._lock:
            known = self._replaced
            self._replaced = {
                path: known.get(path) or KeyStore(path, sealed_size(_BYTES)) for path in paths
            }
            return list(self._replaced.values())

    def _resealed(self, case_id: UUID, sealed: bytes) -> bytes:
        context = self._context(case_id)
        return self._key.public.seal(self._key.open(sealed, context), context)

    def check_each(self, holds: Callable[[bytes, bytes], bool]) -> int:
        """Return how many data keys fail ``holds``, called with the sealed key and its context."""
        wrong: list[UUID] = []

        def look(case_id: UUID, sealed: bytes) -> None:
            if not holds(sealed, self._context(case_id)):
                wrong.append(case_id)

        for place in self._places():
            place.each(look)
        return len(wrong)

    def destroy(self, case_id: UUID) -> bool:
        """Remove a person's key and that of the uploads, durably.

        Returns whether there was a key of the person.
        """
        had_one = self._book.destroy(case_id) | self._files.destroy(case_id)
        self.destroy_upload_key(case_id)
        self.forget_replaced(case_id)  # last: until then a replacement may keep the key there
        with self._lock:
            self._opened.pop(case_id, None)
        return had_one

    def note_destroyed(self, action: UUID, case_id: UUID) -> None:
        """Note that an action's disclosures were destroyed, durably.

        The note is beside the keys, so an older copy of the database does not undo it.
        """
        self._destroyed.add({action: case_id.bytes})

    def is_destroyed(self, action: UUID) -> bool:
        """Return whether an action's disclosures were destroyed."""
        return self._destroyed.stamp(action) is not None

    def destroyed_actions(self) -> list[UUID]:
        """Return the actions whose disclosures were destroyed."""
        found: list[UUID] = []
        self._destroyed.each(lambda action, _: found.append(action))
        return found

    def _new(self, case_id: UUID) -> _New:
        key = secrets.token_bytes(_BYTES)
        return _New(case_id, key, self._public.seal(key, self._context(case_id)))

    def _make_together(self, wanted: Sequence[_New]) -> list[bytes]:
        """Add new keys with one wait for the disk, and return each person's valid key."""
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
