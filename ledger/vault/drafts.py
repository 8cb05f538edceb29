"""Drafts: actions that their authors signed, until another member of the agency approved them.

A draft lies in the vault of the agency's country, sealed under the person's data key, so an erasure
closes it, in backups too. Nothing of it is in the ledger or in a parcel. The database opens a draft
only for an entry of the access log that names it.
"""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from psycopg import Connection
from psycopg.rows import DictRow
from psycopg.sql import SQL, Composed

from ledger.procedure.readings import Reading
from ledger.refusals import Ground, Refusal
from ledger.signing.country_key import SealError
from ledger.vault.access_log import open_for
from ledger.vault.erasures import erased_case
from ledger.vault.inventory import key_id
from ledger.vault.under_data_keys import UnderDataKeys

MOST_OF_AGENCY = 200
"""Drafts of one agency that wait or were returned."""
MOST_OF_AUTHOR = 50
"""Of these, drafts of one member: nobody alone keeps the colleagues from sending theirs."""
MOST_REMARK = 1_000
"""Characters of a remark."""
KEPT = timedelta(days=91)
"""No text of the protocol lets an action be recorded later after it was signed."""
STUCK = timedelta(minutes=2)
"""A process that approved a draft and ended before it recorded the action left it so long ago."""
_TRIES = 3
_NONCE_BYTES = 12

_PERSON = "SELECT pg_advisory_xact_lock_shared(hashtextextended(%s, 0))"
_AGENCY = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 8))"
_ACTION = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 9))"
_STANDS = """
SELECT EXISTS (SELECT FROM {schema}.erased WHERE case_id = %(case)s) AS erased,
    EXISTS (SELECT FROM {schema}.replaced_keys
        WHERE case_id = %(case)s AND key_id = %(key_id)s) AS replaced
"""
_COUNT = """
SELECT count(*) AS drafts, count(*) FILTER (WHERE author = %(author)s) AS own
FROM {schema}.drafts WHERE agency = %(agency)s
"""
_PUT = """
INSERT INTO {schema}.drafts (action_id, case_id, agency, author, kind, case_version, sealed)
VALUES (%(action)s, %(case)s, %(agency)s, %(author)s, %(kind)s, %(version)s, %(sealed)s)
ON CONFLICT (action_id) DO NOTHING
"""
_COLUMNS = """action_id, case_id, agency, author, kind, state, case_version, sent_at, decided_by,
    decided_at, refused_by"""
_OF_AGENCY = (
    f"SELECT {_COLUMNS} FROM {{schema}}.drafts"  # noqa: S608 - a constant
    " WHERE agency = %s ORDER BY sent_at, action_id"
)
_ONE = f"SELECT {_COLUMNS} FROM {{schema}}.drafts WHERE action_id = %s"  # noqa: S608 - a constant
_APPROVED = """
UPDATE {schema}.drafts SET state = 'approved', decided_by = %(by)s, decided_at = now(),
    refused_by = NULL
WHERE action_id = %(action)s AND state = 'waiting'
"""
_WAITS_AGAIN = """
UPDATE {schema}.drafts SET state = 'waiting', decided_by = NULL, decided_at = NULL
WHERE action_id = %s AND state = 'approved'
"""
_REFUSED = """
UPDATE {schema}.drafts SET state = 'returned', refused_by = %(rule)s
WHERE action_id = %(action)s AND state = 'approved'
"""
_RETURNED = """
UPDATE {schema}.drafts SET state = 'returned', decided_by = %(by)s, decided_at = now(),
    remark = %(remark)s
WHERE action_id = %(action)s AND state = 'waiting'
"""
_TAKEN_BACK = (
    "INSERT INTO {schema}.drafts_taken_back (action_id) VALUES (%s) ON CONFLICT DO NOTHING"
)
_REMOVED = "DELETE FROM {schema}.drafts WHERE action_id = %s"
_IS_TAKEN_BACK = """
SELECT EXISTS (SELECT FROM {schema}.drafts_taken_back WHERE action_id = %(action)s
    UNION ALL SELECT FROM {schema}.drafts
    WHERE action_id = %(action)s AND state = 'returned') AS found
"""


class DraftState(StrEnum):
    """The state of a draft."""

    WAITING = "waiting"
    """It waits for the approval of a colleague."""
    RETURNED = "returned"
    """A colleague returned it, or the ledger node refused the approved action."""
    APPROVED = "approved"
    """A colleague approved it, and the action is on its way into the ledger."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A draft without its content."""

    action_id: UUID
    case_id: UUID
    agency: str
    author: UUID
    kind: str
    state: DraftState
    case_version: int
    """The version of the case that the author acted on; 0 for a new case."""
    sent_at: datetime
    decided_by: UUID | None
    decided_at: datetime | None
    refused_by: str | None


@dataclass(frozen=True, slots=True)
class DraftContent:
    """The content of a draft."""

    signed: str
    """The action as its author signed it, with its disclosures."""
    form: Mapping[str, Any] | None
    """The values of the author's form, to change it later; ``None`` without a form."""
    remark: str | None
    """The remark with which a colleague returned the draft."""


class Drafts(UnderDataKeys):
    """The table of drafts in one country's vault."""

    def add(self, draft: Draft, content: DraftContent, *, replaces: UUID | None = None) -> None:
        """Keep a draft durably, in the place of another one that is taken back with it.

        Raises ``KeyMissingError``, and ``Refusal`` (``erased-case``, ``too-many-drafts``,
        ``action-id-reused``, ``draft-over``).
        """
        for _ in range(_TRIES):
            key = self._data_key(draft.case_id)
            sealed = _seal(key, _content_text(content), _bound(draft, "content"))
            if self._put(draft, key, sealed, replaces):
                return
        raise SealError("the data key of a person was replaced three times at once")

    def of_agency(self, agency: str) -> Sequence[Draft]:
        """Return the drafts of an agency, the oldest first, without their content."""
        with self._database.transaction(role=self._role) as connection:
            rows = connection.execute(self._sql(_OF_AGENCY), (agency,)).fetchall()
        return [_draft(row) for row in rows]

    def get(self, action_id: UUID) -> Draft | None:
        """Return a draft without its content, or ``None`` if there is none."""
        with self._database.transaction(role=self._role) as connection:
            row = connection.execute(self._sql(_ONE), (action_id,)).fetchone()
        return None if row is None else _draft(row)

    def open(self, reading: Reading) -> DraftContent | None:
        """Return the content of the draft that an entry of the access log names.

        Returns ``None`` if there is no such draft. Raises ``SealError`` if it does not open.
        """
        select = self._sql("SELECT * FROM {schema}.drafts WHERE action_id = %s")
        with self._database.transaction(role=self._reader) as connection:
            open_for(connection, reading)
            row = connection.execute(select, (reading.concerning,)).fetchone()
        if row is None:
            return None
        for find in (self._keys.get, self._keys.replaced):
            key = find(row["case_id"])
            if key is None:
                continue
            try:
                return _opened(key, row)
            except SealError:
                continue
        raise SealError("a draft does not open at its place")

    def approve(self, action_id: UUID, by: UUID) -> None:
        """Take a draft that waits for one approval. Raises ``Refusal`` (``draft-over``)."""
        self._decide(_APPROVED, {"action": action_id, "by": by})

    def wait_again(self, action_id: UUID) -> None:
        """Let an approved draft wait again, whose action was not recorded."""
        with self._database.transaction(role=self._role) as connection:
            connection.execute(self._sql(_WAITS_AGAIN), (action_id,))

    def refuse(self, action_id: UUID, rule: str) -> None:
        """Return an approved draft whose action the ledger node refused."""
        with self._database.transaction(role=self._role) as connection:
            connection.execute(self._sql(_REFUSED), {"action": action_id, "rule": rule})

    def give_back(self, draft: Draft, by: UUID, remark: str) -> None:
        """Return a draft that waits to its author. Raises ``Refusal`` (``draft-over``)."""
        for _ in range(_TRIES):
            key = self._data_key(draft.case_id)
            asked: dict[str, Any] = {
                "action": draft.action_id,
                "case": draft.case_id,
                "agency": draft.agency,
                "key_id": key_id(key),
                "by": by,
                "remark": _seal(key, remark, _bound(draft, "remark")),
            }
            with self._database.transaction(role=self._role) as connection:
                if not self._may_seal(connection, asked):
                    continue
                if not connection.execute(self._sql(_RETURNED), asked).rowcount:
                    raise draft_over()
                return
        raise SealError("the data key of a person was replaced three times at once")

    def take_back(self, action_id: UUID) -> None:
        """Remove a draft for ever. Raises ``Refusal`` (``draft-over``) if it was approved."""
        with self._database.transaction(role=self._role) as connection:
            self._remove(connection, action_id)

    def is_taken_back(self, action_id: UUID) -> bool:
        """Return whether the author took a draft back, or a colleague returned it."""
        with self._database.transaction(role=self._role) as connection:
            row = connection.execute(self._sql(_IS_TAKEN_BACK), {"action": action_id}).fetchone()
        return bool(row and row["found"])

    def settle(self, action_id: UUID) -> None:
        """Remove the draft of an action that is recorded."""
        with self._database.transaction(role=self._role) as connection:
            connection.execute(self._sql(_REMOVED), (action_id,))

    def clean_up(self) -> int:
        """Remove drafts that no text lets be recorded any more. Return how many there were."""
        old = self._sql("DELETE FROM {schema}.drafts WHERE sent_at < now() - %s")
        gone = self._sql("DELETE FROM {schema}.drafts_taken_back WHERE at < now() - %s")
        with self._database.transaction(role=self._role) as connection:
            connection.execute(gone, (KEPT,))
            return connection.execute(old, (KEPT,)).rowcount

    def forget(self, connection: Connection[DictRow], case_id: UUID) -> int:
        """Remove all drafts of a case, in the keeper's role. Return how many there were."""
        delete = self._sql("DELETE FROM {schema}.drafts WHERE case_id = %s")
        return connection.execute(delete, (case_id,)).rowcount

    def _put(self, draft: Draft, key: bytes, sealed: bytes, replaces: UUID | None) -> bool:
        """Return whether the draft was kept; otherwise its data key was replaced meanwhile."""
        asked: dict[str, Any] = {
            "action": draft.action_id,
            "case": draft.case_id,
            "agency": draft.agency,
            "author": draft.author,
            "kind": draft.kind,
            "version": draft.case_version,
            "key_id": key_id(key),
            "sealed": sealed,
        }
        with self._database.transaction(role=self._role) as connection:
            connection.execute(_AGENCY, (draft.agency,))
            if not self._may_seal(connection, asked):
                return False
            found = connection.execute(self._sql(_COUNT), asked).fetchone()
            if replaces is not None:
                self._remove(connection, replaces)
            elif (
                found is None or found["drafts"] >= MOST_OF_AGENCY or found["own"] >= MOST_OF_AUTHOR
            ):
                raise Refusal(
                    Ground.OUT_OF_PROCEDURE,
                    "too-many-drafts",
                    f"At most {MOST_OF_AGENCY} drafts of an agency wait, and at most"
                    f" {MOST_OF_AUTHOR} of one member. Approve or withdraw some.",
                )
            if not connection.execute(self._sql(_PUT), asked).rowcount:
                raise Refusal(
                    Ground.CONFLICT,
                    "action-id-reused",
                    "A draft with this action id waits already; use a new id.",
                    "jti",
                )
        return True

    def _may_seal(self, connection: Connection[DictRow], asked: Mapping[str, Any]) -> bool:
        """Return whether a person's data key was not replaced, for the rest of the transaction.

        Raises ``Refusal`` (``erased-case``).
        """
        connection.execute(_PERSON, (str(asked["case"]),))
        stands = connection.execute(self._sql(_STANDS), asked).fetchone()
        if stands is None or stands["erased"]:
            self._keys.destroy(asked["case"])  # one made since the erasure closes nothing
            raise erased_case()
        return not stands["replaced"]

    def _remove(self, connection: Connection[DictRow], action_id: UUID) -> None:
        delete = self._sql(
            "DELETE FROM {schema}.drafts WHERE action_id = %s AND state <> 'approved'"
        )
        connection.execute(_ACTION, (str(action_id),))
        if not connection.execute(delete, (action_id,)).rowcount:
            raise draft_over()
        connection.execute(self._sql(_TAKEN_BACK), (action_id,))

    def _decide(self, statement: str, asked: Mapping[str, Any]) -> None:
        with self._database.transaction(role=self._role) as connection:
            if not connection.execute(self._sql(statement), asked).rowcount:
                raise draft_over()

    def _sql(self, statement: str) -> Composed:
        return SQL(statement).format(schema=self._schema)


def draft_over() -> Refusal:
    """Make the refusal of a decision on a draft that somebody decided on before."""
    return Refusal(
        Ground.CONFLICT,
        "draft-over",
        "This draft was approved, returned or withdrawn meanwhile. Read the list of drafts again.",
    )


def draft_sealed_again(row: DictRow, old: bytes, new: bytes) -> tuple[bytes, bytes | None]:
    """Return the content and the remark of a draft's row sealed under a new data key.

    Raises ``SealError`` if one opens under neither key.
    """
    draft = _draft(row)

    def again(sealed: bytes, bound: bytes) -> bytes:
        try:
            _unseal(new, sealed, bound)
        except SealError:
            return _seal(new, _unseal(old, sealed, bound), bound)
        return sealed

    remark = row["remark"]
    return (
        again(bytes(row["sealed"]), _bound(draft, "content")),
        None if remark is None else again(bytes(remark), _bound(draft, "remark")),
    )


def _opened(key: bytes, row: DictRow) -> DraftContent:
    draft = _draft(row)
    content = json.loads(_unseal(key, bytes(row["sealed"]), _bound(draft, "content")))
    remark = row["remark"]
    return DraftContent(
        content["signed"],
        content["form"],
        None if remark is None else _unseal(key, bytes(remark), _bound(draft, "remark")),
    )


def _draft(row: Mapping[str, Any]) -> Draft:
    return Draft(
        row["action_id"],
        row["case_id"],
        row["agency"],
        row["author"],
        row["kind"],
        DraftState(row["state"]),
        row["case_version"],
        row["sent_at"],
        row["decided_by"],
        row["decided_at"],
        row["refused_by"],
    )


def _content_text(content: DraftContent) -> str:
    return json.dumps({"signed": content.signed, "form": content.form}, ensure_ascii=False)


def _seal(key: bytes, text: str, bound: bytes) -> bytes:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, text.encode(), bound)


def _unseal(key: bytes, sealed: bytes, bound: bytes) -> str:
    try:
        content = AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound)
    except (InvalidTag, ValueError) as error:
        raise SealError("a draft does not open at its place") from error
    return content.decode()


def _bound(draft: Draft, what: str) -> bytes:
    place = f"{draft.action_id}\n{draft.case_id}\n{draft.agency}\n{draft.author}\n{what}\n"
    return f"case-ledger draft 1\n{place}".encode()
