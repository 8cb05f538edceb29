"""Notes and reminders of an agency on a case, and flags: in the vault of its country alone.

A note is a text; a reminder is a text for a day. The text is sealed under the person's data key, so
an erasure closes it, in backups too. Nothing of it is in the ledger or in a parcel.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, LiteralString
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from psycopg import Connection
from psycopg.rows import DictRow
from psycopg.sql import SQL, Composed

from ledger.refusals import Ground, Refusal
from ledger.signing.country_key import SealError
from ledger.system.identifiers import new_id
from ledger.vault.erasures import erased_case
from ledger.vault.inventory import key_id
from ledger.vault.under_data_keys import UnderDataKeys

MOST_CHARACTERS = 2_000
"""Of one note."""
MOST_OF_CASE = 200
"""Notes and open reminders of one agency on one case."""
MOST_FLAGS = 500
"""Flags of one agency."""
_TRIES = 3
"""A data key may be replaced while a note is sealed under it; it is sealed again then."""
_NONCE_BYTES = 12

# `deposit` and `erase` take this lock of a person too.
_PERSON = "SELECT pg_advisory_xact_lock_shared(hashtextextended(%s, 0))"
_STANDS = """
SELECT EXISTS (SELECT FROM {schema}.erased WHERE case_id = %(case)s) AS erased,
    EXISTS (SELECT FROM {schema}.replaced_keys
        WHERE case_id = %(case)s AND key_id = %(key_id)s) AS replaced,
    (SELECT count(*) FROM {schema}.working_notes WHERE case_id = %(case)s
        AND agency = %(agency)s AND member = %(member)s AND done_at IS NULL) AS notes
"""
_PUT = """
INSERT INTO {schema}.working_notes (id, case_id, agency, member, day, sealed)
VALUES (%(id)s, %(case)s, %(agency)s, %(member)s, %(day)s, %(sealed)s)
RETURNING written_at
"""
_OWN: LiteralString = """
SELECT id, case_id, agency, member, day, sealed, written_at, done_at FROM {schema}.working_notes
WHERE agency = %(agency)s AND member = %(member)s
"""
_OF_CASE: LiteralString = _OWN + " AND case_id = %(case)s ORDER BY written_at DESC, id LIMIT 1000"
_DUE: LiteralString = (
    _OWN
    + """ AND day IS NOT NULL AND done_at IS NULL
  AND (%(first)s::date IS NULL OR day >= %(first)s) AND day <= %(last)s
ORDER BY day, id LIMIT %(limit)s"""
)
_COUNT = """
SELECT count(*) AS number FROM {schema}.working_notes
WHERE agency = %(agency)s AND member = %(member)s AND day IS NOT NULL AND done_at IS NULL
  AND day <= %(last)s
"""
_DONE = """
UPDATE {schema}.working_notes SET done_at = now()
WHERE id = %(id)s AND agency = %(agency)s AND member = %(member)s AND day IS NOT NULL
  AND done_at IS NULL
"""
_REMOVE = """
DELETE FROM {schema}.working_notes
WHERE id = %(id)s AND agency = %(agency)s AND member = %(member)s
"""
_FLAG = """
INSERT INTO {schema}.flags (agency, member, case_id)
SELECT %(agency)s, %(member)s, %(case)s
WHERE NOT EXISTS (SELECT FROM {schema}.erased WHERE case_id = %(case)s)
ON CONFLICT DO NOTHING
"""
_UNFLAG = """
DELETE FROM {schema}.flags
WHERE agency = %(agency)s AND member = %(member)s AND case_id = %(case)s
"""
_FLAGGED = """
SELECT case_id FROM {schema}.flags WHERE agency = %(agency)s AND member = %(member)s
ORDER BY flagged_at DESC, case_id LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class Desk:
    """The owner of notes, reminders and flags."""

    agency: str
    member: str = ""
    """Empty for the whole agency."""


@dataclass(frozen=True, slots=True)
class WorkingNote:
    """A note, or the reminder of a day."""

    id: UUID
    case_id: UUID
    day: date | None
    """``None``: it is a note."""
    text: str | None
    """``None``: the text does not open. Somebody changed the row, or the key is lost."""
    written_at: datetime
    done_at: datetime | None = None


class WorkingNotes(UnderDataKeys):
    """The tables of notes and flags in one country's vault."""

    def add(self, desk: Desk, case_id: UUID, text: str, day: date | None = None) -> WorkingNote:
        """Store a note, or the reminder of a day, durably.

        Raises ``KeyMissingError``, and ``Refusal`` (``erased-case``, ``too-many-notes``).
        """
        note_id = new_id()
        for _ in range(_TRIES):
            key = self._data_key(case_id)
            sealed = seal_note(key, text, note_id, case_id, desk, day)
            written_at = self._put(desk, case_id, note_id, day, key, sealed)
            if written_at is not None:
                return WorkingNote(note_id, case_id, day, text, written_at)
        raise SealError("the data key of a person was replaced three times at once")

    def of_case(self, desk: Desk, case_id: UUID) -> Sequence[WorkingNote]:
        """Return the notes and reminders of an agency on a case, the newest first."""
        return self._read(_OF_CASE, desk, {"case": case_id})

    def due(
        self, desk: Desk, first: date | None, last: date, *, limit: int
    ) -> Sequence[WorkingNote]:
        """Return the open reminders of the days from ``first`` to ``last``, the earliest first."""
        return self._read(_DUE, desk, {"first": first, "last": last, "limit": limit})

    def count_due(self, desk: Desk, last: date) -> int:
        """Return how many open reminders there are up to a day, without opening any."""
        with self._database.transaction(role=self._role) as connection:
            row = connection.execute(self._sql(_COUNT), {**_of(desk), "last": last}).fetchone()
        return row["number"] if row else 0

    def mark_done(self, desk: Desk, note_id: UUID) -> bool:
        """Mark a reminder as done. Returns whether there was such an open reminder."""
        return self._change(_DONE, desk, {"id": note_id}) > 0

    def remove(self, desk: Desk, note_id: UUID) -> bool:
        """Remove a note or a reminder. Returns whether there was one."""
        return self._change(_REMOVE, desk, {"id": note_id}) > 0

    def flag(self, desk: Desk, case_id: UUID) -> None:
        """Flag a case. Raises ``Refusal`` (``too-many-flags``)."""
        if len(self.flagged(desk)) >= MOST_FLAGS:
            raise Refusal(
                Ground.OUT_OF_PROCEDURE,
                "too-many-flags",
                f"An agency flags at most {MOST_FLAGS} cases. Take the flag off another one.",
            )
        self._change(_FLAG, desk, {"case": case_id})

    def unflag(self, desk: Desk, case_id: UUID) -> None:
        """Take the flag off a case."""
        self._change(_UNFLAG, desk, {"case": case_id})

    def flagged(self, desk: Desk, limit: int = MOST_FLAGS) -> Sequence[UUID]:
        """Return the flagged cases, the last flagged first."""
        asked = {**_of(desk), "limit": limit}
        with self._database.transaction(role=self._role) as connection:
            rows = connection.execute(self._sql(_FLAGGED), asked).fetchall()
        return [row["case_id"] for row in rows]

    def forget(self, connection: Connection[DictRow], case_id: UUID) -> int:
        """Remove all notes, reminders and flags of a case, in the keeper's role.

        Returns how many notes and reminders there were.
        """
        flags = self._sql("DELETE FROM {schema}.flags WHERE case_id = %s")
        notes = self._sql("DELETE FROM {schema}.working_notes WHERE case_id = %s")
        connection.execute(flags, (case_id,))
        return connection.execute(notes, (case_id,)).rowcount

    def _put(
        self, desk: Desk, case_id: UUID, note_id: UUID, day: date | None, key: bytes, sealed: bytes
    ) -> datetime | None:
        """Return when the note was stored; ``None``: its data key was replaced meanwhile."""
        asked: dict[str, Any] = {**_of(desk), "case": case_id, "key_id": key_id(key)}
        with self._database.transaction(role=self._role) as connection:
            connection.execute(_PERSON, (str(case_id),))
            stands = connection.execute(self._sql(_STANDS), asked).fetchone()
            if stands is None or stands["erased"]:
                self._keys.destroy(case_id)  # one made since the erasure closes nothing
                raise erased_case()
            if stands["notes"] >= MOST_OF_CASE:
                raise Refusal(
                    Ground.OUT_OF_PROCEDURE,
                    "too-many-notes",
                    f"An agency keeps at most {MOST_OF_CASE} notes and reminders on a case. Remove"
                    " one that is not needed any more.",
                )
            if stands["replaced"]:
                return None
            asked |= {"id": note_id, "day": day, "sealed": sealed}
            row = connection.execute(self._sql(_PUT), asked).fetchone()
        return row["written_at"] if row else None

    def _read(
        self, statement: LiteralString, desk: Desk, asked: Mapping[str, Any]
    ) -> Sequence[WorkingNote]:
        with self._database.transaction(role=self._reader) as connection:
            connection.execute(
                "SELECT set_config('case_ledger.notes_of', %s, true)", (desk.agency,)
            )
            rows = connection.execute(self._sql(statement), {**_of(desk), **asked}).fetchall()
        return [self._opened(row) for row in rows]

    def _opened(self, row: DictRow) -> WorkingNote:
        text: str | None = None
        keys = (self._keys.get, self._keys.replaced)
        for find in keys:
            key = find(row["case_id"])
            if key is not None and (text := _opened_with(key, row)) is not None:
                break
        return WorkingNote(
            row["id"], row["case_id"], row["day"], text, row["written_at"], row["done_at"]
        )

    def _change(self, statement: LiteralString, desk: Desk, asked: Mapping[str, Any]) -> int:
        with self._database.transaction(role=self._role) as connection:
            return connection.execute(self._sql(statement), {**_of(desk), **asked}).rowcount

    def _sql(self, statement: LiteralString) -> Composed:
        return SQL(statement).format(schema=self._schema)


def seal_note(
    data_key: bytes, text: str, note_id: UUID, case_id: UUID, desk: Desk, day: date | None
) -> bytes:
    """Encrypt the text of a note for its place, and return the nonce and the ciphertext."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    bound = _bound(note_id, case_id, desk, day)
    return nonce + AESGCM(data_key).encrypt(nonce, text.encode(), bound)


def unseal_note(data_key: bytes, row: DictRow) -> str:
    """Decrypt the text of a note's row. Raises ``SealError`` if it was altered or moved."""
    sealed = bytes(row["sealed"])
    desk = Desk(row["agency"], row["member"])
    bound = _bound(row["id"], row["case_id"], desk, row["day"])
    try:
        content = AESGCM(data_key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound)
    except (InvalidTag, ValueError) as error:
        raise SealError("a note does not open at its place") from error
    return content.decode()


def note_sealed_again(row: DictRow, old: bytes, new: bytes) -> bytes:
    """Return the text of a note's row sealed under a new data key.

    Raises ``SealError`` if it opens under neither key.
    """
    if _opened_with(new, row) is not None:
        return bytes(row["sealed"])
    desk = Desk(row["agency"], row["member"])
    return seal_note(new, unseal_note(old, row), row["id"], row["case_id"], desk, row["day"])


def _opened_with(key: bytes, row: DictRow) -> str | None:
    try:
        return unseal_note(key, row)
    except SealError:
        return None


def _bound(note_id: UUID, case_id: UUID, desk: Desk, day: date | None) -> bytes:
    at = day.isoformat() if day is not None else "-"
    place = f"{note_id}\n{case_id}\n{desk.agency}\n{desk.member}\n{at}\n"
    return f"case-ledger working note 1\n{place}".encode()


def _of(desk: Desk) -> dict[str, Any]:
    return {"agency": desk.agency, "member": desk.member}
