"""Detect that a node's key files are older copies of its own.

Two things tell. The mark (:mod:`ledger.replication.history_mark`) has the name of each file and
what tells its key from another. The vault's rows say which persons have a data key, and which were
erased.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias
from uuid import UUID

from api.client.schemas.health import Effect
from api.runtime.settings import Settings
from api.runtime.trouble import Trouble
from ledger.replication.history_mark import HistoryMark, MarkFile
from ledger.signing import keys
from ledger.vault.vault import Vault

Identity: TypeAlias = tuple[int, int] | None
"""The file of data keys, and its size."""
_TITLE = "Key files are not those that were there"
_PERSONS_AT_ONCE_SECONDS = 600.0
"""The persons' keys are looked through so often, and at once where the file is another."""


@dataclass(frozen=True, slots=True)
class KeyFaults:
    """The faults of the key files."""

    there: Mapping[str, str] = field(default_factory=dict)
    """Each file that is there, with what tells its key from another."""
    gone: tuple[str, ...] = ()
    """Files that were there, and are not."""
    changed: tuple[str, ...] = ()
    """Files that hold another key than before."""
    missing: Mapping[str, frozenset[UUID]] = field(default_factory=dict)
    """Persons, by country, who have disclosures and no data key."""
    returned: Mapping[str, frozenset[UUID]] = field(default_factory=dict)
    """Persons, by country, who were erased and whose data key is there again."""

    def __bool__(self) -> bool:
        return bool(self.gone or self.changed or self.missing or self.returned)


def find(directory: Path, mark: HistoryMark | None, vaults: Iterable[Vault]) -> KeyFaults:
    """Compare the key files with the mark and with the vaults' rows."""
    there = fingerprints(directory)
    retired = mark.retired_key_files if mark else ()
    known = {n: one for n, one in mark.key_files.items() if n not in retired} if mark else {}
    lost = mark.lost_keys if mark else {}
    missing: dict[str, frozenset[UUID]] = {}
    returned: dict[str, frozenset[UUID]] = {}
    for vault in vaults:
        without, again = vault.key_faults()
        if unknown := without - set(lost.get(vault.party, ())):
            missing[vault.party] = frozenset(unknown)
        if again:
            returned[vault.party] = frozenset(again)
    return KeyFaults(
        there,
        tuple(sorted(known.keys() - there.keys())),
        tuple(sorted(n for n, one in there.items() if known.get(n, one) != one)),
        missing,
        returned,
    )


def fingerprints(directory: Path) -> dict[str, str]:
    """Return the thumbprint of the key in each of a node's private key files, by file name.

    An encrypted file (``.jwe``) has ``encrypted`` instead, since its key cannot be read.
    """
    found = {path.name: keys.key_id(keys.load(path)) for path in directory.glob("*.jwk")}
    return found | {path.name: "encrypted" for path in directory.glob("*.jwe")}


def troubles_of(faults: KeyFaults) -> list[Trouble]:
    """Return the troubles that key faults mean for the node."""
    found = []
    if faults.gone or faults.changed:
        names = ", ".join([*faults.gone, *faults.changed])
        what = f"These files of keys are missing or hold another key than before: {names}."
        found.append(_trouble("key-files-changed", what, Effect.WARNING))
    if faults.missing:
        count = sum(map(len, faults.missing.values()))
        what = f"The data keys of {count} persons are missing; what is held on them does not open."
        # A new person's key would go into another file than the one that is put back later.
        found.append(_trouble("vault-keys-missing", what, Effect.NO_RECORDING))
    if faults.returned:
        count = sum(map(len, faults.returned.values()))
        what = f"The data keys of {count} persons who were erased are there again."
        found.append(_trouble("vault-keys-returned", what, Effect.NOT_READY))
    return found


def _trouble(rule: str, what: str, effect: Effect) -> Trouble:
    message = (
        f"{what} Run `case-ledger node restore-keys --from DIR` with the newest copy of persons' "
        "keys, which adds what is missing, and put missing files of other keys back. Copy no file "
        "of persons' keys over another. What is lost for good is given up with `case-ledger node "
        "accept-history`."
    )
    is_recording = effect is not Effect.NO_RECORDING
    return Trouble(
        rule=rule, message=message, effect=effect, title=_TITLE, protocol_goes_on=not is_recording
    )


class KeyCheck:
    """Compares now and then, and notes new key files in the mark."""

    def __init__(self, settings: Settings, vaults: Iterable[Vault], file: MarkFile) -> None:
        self._directory = settings.key_directory
        self._vaults = tuple(vaults)
        self._file = file
        self._seen: dict[str, str] = {}
        """The key files that this process saw: the mark may have been put back with them."""
        self._decisions = -1
        self._books: Sequence[Identity] = ()
        self._persons_at = 0.0
        self._of_persons = KeyFaults()

    def look(self) -> Sequence[Trouble]:
        """Compare the key files with their record, and return the troubles.

        It is a check of readiness.
        """
        now = time.monotonic()
        mark = self._file.read()
        if mark is None:
            return ()
        if len(mark.decisions) != self._decisions:
            self._decisions, self._seen, self._persons_at = len(mark.decisions), {}, 0.0
        mark = mark.changed(key_files={**self._seen, **mark.key_files})
        books = tuple(vault.key_identity() for vault in self._vaults)
        is_due = now - self._persons_at >= _PERSONS_AT_ONCE_SECONDS or not self._persons_at
        if is_due or _is_another(self._books, books) or self._of_persons:
            self._of_persons = find(self._directory, mark, self._vaults)
            self._persons_at = now
            faults = self._of_persons
        else:
            faults = find(self._directory, mark, ())
        self._books = books
        if not (faults.gone or faults.changed):
            self._note(mark, faults.there)
        return troubles_of(faults)

    def _note(self, mark: HistoryMark, there: Mapping[str, str]) -> None:
        self._seen = dict(there)
        if there.items() - mark.key_files.items():
            self._file.change(
                lambda m: m.changed(key_files={**m.key_files, **there}) if m else None
            )


def _is_another(before: Sequence[Identity], now: Sequence[Identity]) -> bool:
    """Return whether a file of data keys was replaced or became shorter."""
    for old, new in zip(before, now, strict=False):
        if old is not None and (new is None or new[0] != old[0] or new[1] < old[1]):
            return True
    return False
