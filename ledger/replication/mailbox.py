"""Parcels that wait at the ledger node for the country that can open them.

A country's key opens a parcel for ever, also in each backup that was made while the parcel
waited. Therefore each parcel is also encrypted with a key of its own, in a file apart from the
database. A fetch leaves parcel and key in place, since its answer may be lost. The recipient's
signed acknowledgement destroys the key; so does expiry. The row stays, empty, until the sender has
collected the parcel's outcome.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from psycopg import Connection
from psycopg.rows import DictRow
from psycopg.sql import SQL

from ledger.refusals import Ground, Refusal
from ledger.replication.outcomes import MailboxOutcome
from ledger.store.database import Database
from ledger.vault.acknowledgements import ParcelOutcome, Signed, digest_of
from ledger.vault.arrived_parcels import PairStanding
from ledger.vault.key_files import KeyFiles
from ledger.vault.sealed_parcels import Parcel

MAX_BYTES = 380_000
"""Of one parcel. In base64 it fits into a request of 512 KiB."""
MAX_PARCELS = 20_000
"""Of one sender for one recipient, those included whose outcome the sender has not collected."""
MAX_TOTAL_BYTES = 200_000_000
"""Of one sender for one recipient, as they lie in the table."""
MAX_PAGE_BYTES = 4_000_000
EXPIRES = timedelta(days=30)
_log = structlog.get_logger(__name__)
_KEY_BYTES, _NONCE_BYTES = 32, 12
_ENCLOSED = b"case-ledger parcel at rest 1\n"
"""Before what lies under a key of its own. An earlier version kept parcels as they came."""

_WAITING = """
WITH senders AS (
    SELECT * FROM unnest(%(senders)s::text[], %(after)s::bigint[]) AS s (sender, after)
),
turns AS (
    SELECT p.seq, row_number() OVER (PARTITION BY p.sender ORDER BY p.seq) AS turn, p.bytes
    FROM senders CROSS JOIN LATERAL (
        SELECT seq, sender, bytes FROM mailbox.parcels
        WHERE recipient = %(recipient)s AND sender = senders.sender AND outcome IS NULL
        AND seq > senders.after ORDER BY seq LIMIT %(limit)s
    ) p
),
page AS (
    SELECT seq, turn, sum(bytes) OVER (ORDER BY turn, seq) - bytes AS before
    FROM turns ORDER BY turn, seq LIMIT %(limit)s
)
SELECT seq, id, sender, recipient, sealed FROM page JOIN mailbox.parcels USING (seq)
WHERE before < %(bytes)s ORDER BY turn, seq
"""
_STANDING = """
SELECT sender, recipient, count(*) AS parcels, min(received_at) AS oldest_at
FROM mailbox.parcels
WHERE outcome IS NULL AND (recipient = %(recipient)s OR %(recipient)s IS NULL)
GROUP BY sender, recipient ORDER BY sender, recipient
"""


@dataclass(frozen=True, slots=True)
class ParcelInMailbox:
    """One parcel that waits, with its place in the mailbox."""

    seq: int
    parcel: Parcel


@dataclass(frozen=True, slots=True)
class WaitingPage:
    """Some of the parcels that wait for a recipient; ``standing`` counts all of them."""

    parcels: tuple[ParcelInMailbox, ...]
    standing: tuple[PairStanding, ...]


@dataclass(frozen=True, slots=True)
class Left:
    """The outcome of a parcel, for its sender."""

    seq: int
    parcel_id: UUID
    outcome: MailboxOutcome
    acknowledgement: str | None


class QuotaError(Refusal):
    """Too much of one sender waits for one recipient: the sender tries later.

    The sender keeps the parcel until then.
    """

    def __init__(self) -> None:
        super().__init__(
            Ground.CONFLICT,
            "mailbox-quota",
            f"At most {MAX_PARCELS} parcels and {MAX_TOTAL_BYTES} bytes of one country wait for "
            "another. Collect the outcomes, and send the rest once the recipient has fetched.",
        )


class Mailbox:
    """The table of parcels, and their keys in ``directory``."""

    def __init__(self, database: Database, directory: Path) -> None:
        self._database = database
        self._keys = KeyFiles(directory)

    def put(self, parcel: Parcel) -> None:
        """Keep a parcel until its recipient acknowledges it; it is durable on return.

        The same bytes again change nothing. Other bytes under the id replace the bytes that wait,
        or the outcome that the sender has not collected. Raises ``Refusal`` (``parcel``) if the
        parcel is too large, and ``QuotaError``.
        """
        if len(parcel.sealed) > MAX_BYTES:
            raise Refusal(Ground.INVALID, "parcel", f"A parcel has at most {MAX_BYTES} bytes.")
        digest = digest_of(parcel)
        row = (parcel.id, parcel.sender, parcel.recipient)
        with self._database.transaction() as connection:
            # One parcel of a pair after the other: readers go by ``seq`` and must miss none.
            _lock(connection, f"parcels {parcel.sender} {parcel.recipient}")
            _lock(connection, f"parcel {parcel.id}")
            before = connection.execute(
                "SELECT sender, recipient, digest, outcome FROM mailbox.parcels WHERE id = %s",
                (parcel.id,),
                prepare=True,
            ).fetchone()
            if before is not None and (before["sender"], before["recipient"]) != row[1:]:
                raise Refusal(
                    Ground.NOT_ALLOWED, "own-parcels", "Another parcel has this id.", "id"
                )
            _check_quota(connection, parcel)
            key, is_new = self._key(parcel.id)
            waits = before is not None and before["outcome"] is None and not is_new
            if waits and before is not None and bytes(before["digest"] or b"") == digest:
                return
            connection.execute(
                "INSERT INTO mailbox.parcels (id, sender, recipient, sealed, digest)"
                " VALUES (%s, %s, %s, %s, %s) ON CONFLICT (id) DO UPDATE"
                " SET seq = DEFAULT, sealed = EXCLUDED.sealed, digest = EXCLUDED.digest,"
                " received_at = now(), outcome = NULL, acknowledgement = NULL, decided_at = NULL",
                (*row, _enclose(parcel, key), digest),
                prepare=True,
            )

    def waiting(
        self, recipient: str, limit: int, after: Mapping[str, int] | None = None
    ) -> WaitingPage:
        """Return parcels for a country: the first one of each sender first, then the second ones.

        So a sender whose parcels cannot be taken in does not delay the other senders' parcels.
        ``after`` has the last place that the recipient has looked at, by sender. At most ``limit``
        parcels come, and no more after ``MAX_PAGE_BYTES``.
        """
        with self._database.transaction() as connection:
            standing = _standing(connection, recipient)
            if not standing:
                return WaitingPage((), ())
            senders = [one.sender for one in standing]
            rows = connection.execute(
                _WAITING,
                {
                    "recipient": recipient,
                    "senders": senders,
                    "after": [(after or {}).get(sender, 0) for sender in senders],
                    "limit": limit,
                    "bytes": MAX_PAGE_BYTES,
                },
                prepare=True,
            ).fetchall()
        return WaitingPage(self._opened(rows), standing)

    def get(self, recipient: str, parcel_ids: Sequence[UUID]) -> tuple[ParcelInMailbox, ...]:
        """Return the parcels among these that wait for a country, as far as a page holds them."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                "SELECT seq, id, sender, recipient, sealed FROM (SELECT *, sum(bytes) OVER"
                " (ORDER BY seq) - bytes AS before FROM mailbox.parcels"
                " WHERE recipient = %s AND id = ANY(%s) AND outcome IS NULL) p"
                " WHERE before < %s ORDER BY seq",
                (recipient, list(parcel_ids), MAX_PAGE_BYTES),
                prepare=True,
            ).fetchall()
        return self._opened(rows)

    def acknowledge(self, recipient: str, acknowledgements: Sequence[Signed]) -> int:
        """Take out the parcels that the recipient has acknowledged by a signature; return how many.

        An acknowledgement that is not of the bytes that wait changes nothing, unless it says that
        the parcel arrived damaged.
        """
        return sum(self._acknowledge(recipient, one) for one in acknowledgements)

    def _acknowledge(self, recipient: str, signed: Signed) -> bool:
        content = signed.content
        is_damaged = content.outcome is ParcelOutcome.DAMAGED
        digest = None if is_damaged else bytes.fromhex(content.digest)
        return self._leave(
            content.parcel,
            MailboxOutcome.ACKNOWLEDGED,
            signed.text,
            "recipient = %s AND sender = %s"
            " AND (%s::bytea IS NULL OR digest = %s OR digest IS NULL)",
            (recipient, content.sender, digest, digest),
        )

    def outcomes(self, sender: str, limit: int) -> tuple[Left, ...]:
        """Return the outcomes of a country's parcels that the country has not settled."""
        with self._database.connection() as connection:
            rows = connection.execute(
                "SELECT seq, id, outcome, acknowledgement FROM mailbox.parcels"
                " WHERE sender = %s AND outcome IS NOT NULL ORDER BY seq LIMIT %s",
                (sender, limit),
                prepare=True,
            ).fetchall()
        return tuple(
            Left(row["seq"], row["id"], MailboxOutcome(row["outcome"]), row["acknowledgement"])
            for row in rows
        )

    def settle(self, sender: str, seqs: Sequence[int]) -> int:
        """Forget outcomes that the sender has collected, and return how many there were."""
        with self._database.transaction() as connection:
            return connection.execute(
                "DELETE FROM mailbox.parcels"
                " WHERE sender = %s AND seq = ANY(%s) AND outcome IS NOT NULL",
                (sender, list(seqs)),
                prepare=True,
            ).rowcount

    def missing(self, sender: str, sent: Mapping[UUID, bytes]) -> set[UUID]:
        """Return which of a country's parcels are not here, by id and digest of the sent bytes.

        A parcel whose outcome was not collected is here.
        """
        with self._database.connection() as connection:
            rows = connection.execute(
                "SELECT id, digest, outcome FROM mailbox.parcels"
                " WHERE sender = %s AND id = ANY(%s)",
                (sender, list(sent)),
                prepare=True,
            ).fetchall()
        here = {row["id"] for row in rows if row["outcome"] is not None}
        here |= {
            row["id"]
            for row in rows
            if row["outcome"] is None
            and bytes(row["digest"] or b"") == sent[row["id"]]
            and self._keys.stamp(row["id"]) is not None
        }
        return set(sent) - here

    def take_back(self, sender: str, parcel_ids: Sequence[UUID]) -> int:
        """Remove a country's parcels that wait, destroy their keys, and return how many they were.

        A parcel that has an outcome stays until the sender settles it.
        """
        taken = 0
        for parcel_id in parcel_ids:
            with self._database.transaction() as connection:
                _lock(connection, f"parcel {parcel_id}")
                gone = connection.execute(
                    "DELETE FROM mailbox.parcels WHERE id = %s AND sender = %s AND outcome IS NULL",
                    (parcel_id, sender),
                    prepare=True,
                ).rowcount
                if gone:
                    self._keys.destroy(parcel_id)
                taken += gone
        return taken

    def standing(self) -> tuple[PairStanding, ...]:
        """Return how much waits, and since when, for each sender and recipient."""
        with self._database.connection() as connection:
            return _standing(connection, None)

    def expire(self, age: timedelta = EXPIRES) -> int:
        """Take out the parcels that have waited longer than ``age``, and return how many.

        The sender gets a notice. A notice that was not collected for as long again is removed: it
        takes room, and its sender finds its parcel missing.
        """
        with self._database.connection() as connection:
            rows = connection.execute(
                "SELECT id FROM mailbox.parcels"
                " WHERE outcome IS NULL AND received_at < now() - %s::interval",
                (age,),
            ).fetchall()
            connection.execute(
                "DELETE FROM mailbox.parcels WHERE decided_at < now() - %s::interval", (age,)
            )
        return sum(
            self._leave(
                row["id"],
                MailboxOutcome.EXPIRED,
                None,
                "received_at < now() - %s::interval",
                (age,),
            )
            for row in rows
        )

    def _leave(
        self,
        parcel_id: UUID,
        outcome: MailboxOutcome,
        acknowledgement: str | None,
        condition: LiteralString,
        values: Sequence[object],
    ) -> bool:
        """Write a parcel's outcome and destroy its key, if it waits and ``condition`` holds."""
        update = SQL(
            "UPDATE mailbox.parcels SET sealed = '', outcome = %s, acknowledgement = %s,"
            " decided_at = now() WHERE id = %s AND outcome IS NULL AND {}"
        ).format(SQL(condition))
        with self._database.transaction() as connection:
            _lock(connection, f"parcel {parcel_id}")
            left = connection.execute(
                update,
                (outcome.value, acknowledgement, parcel_id, *values),
                prepare=True,
            ).rowcount
            # The key before the row is empty for others: from then on no copy of it opens.
            if left:
                self._keys.destroy(parcel_id)
        return left > 0

    def _opened(self, rows: Sequence[DictRow]) -> tuple[ParcelInMailbox, ...]:
        """Take off the mailbox's own encryption; a parcel without its key leaves as lost.

        The key went when the parcel was acknowledged, and the row came back with a backup; or only
        the keys were lost. The sender can tell which.
        """
        found, lost = [], 0
        for row in rows:
            kept = Parcel(row["id"], row["sender"], row["recipient"], bytes(row["sealed"]))
            parcel = self._disclose(kept)
            if parcel is not None:
                found.append(ParcelInMailbox(row["seq"], parcel))
            else:
                lost += self._leave(kept.id, MailboxOutcome.LOST, None, "seq = %s", (row["seq"],))
        if lost:
            _log.warning("parcels whose key is gone", parcels=lost)
        return tuple(found)

    def _key(self, parcel_id: UUID) -> tuple[bytes, bool]:
        """Return the parcel's key, and whether it is new."""
        key = secrets.token_bytes(_KEY_BYTES)
        try:
            self._keys.write(parcel_id, key)
        except FileExistsError:
            found = self._keys.read(parcel_id)
            if found is None:
                raise
            return found, False
        return key, True

    def _disclose(self, kept: Parcel) -> Parcel | None:
        """Return the parcel as the sender handed it in; ``None`` if its key is destroyed."""
        if not kept.sealed.startswith(_ENCLOSED):
            return kept
        key = self._keys.read(kept.id)
        if key is None:
            return None
        content = kept.sealed.removeprefix(_ENCLOSED)
        try:
            sealed = AESGCM(key).decrypt(
                content[:_NONCE_BYTES], content[_NONCE_BYTES:], _bound(kept)
            )
        except (InvalidTag, ValueError):
            return kept  # its receiver acknowledges it as damaged
        return Parcel(kept.id, kept.sender, kept.recipient, sealed)


def _standing(connection: Connection[DictRow], recipient: str | None) -> tuple[PairStanding, ...]:
    rows = connection.execute(_STANDING, {"recipient": recipient}, prepare=True).fetchall()
    return tuple(
        PairStanding(row["sender"], row["recipient"], row["parcels"], row["oldest_at"])
        for row in rows
    )


def _check_quota(connection: Connection[DictRow], parcel: Parcel) -> None:
    """Check that the sender's parcels for this recipient leave room for one more.

    Raises ``QuotaError`` if they do not.
    """
    row = connection.execute(
        "SELECT count(*) AS parcels, coalesce(sum(bytes), 0) AS bytes FROM (SELECT bytes"
        " FROM mailbox.parcels WHERE sender = %s AND recipient = %s AND id <> %s LIMIT %s) p",
        (parcel.sender, parcel.recipient, parcel.id, MAX_PARCELS),
        prepare=True,
    ).fetchone()
    if row is not None and (
        row["parcels"] >= MAX_PARCELS or row["bytes"] + len(parcel.sealed) > MAX_TOTAL_BYTES
    ):
        raise QuotaError


def _lock(connection: Connection[Any], name: str) -> None:
    """Lock a name until the transaction ends.

    The key and the row of a parcel come and go together.
    """
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (name,))


def _enclose(parcel: Parcel, key: bytes) -> bytes:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return _ENCLOSED + nonce + AESGCM(key).encrypt(nonce, parcel.sealed, _bound(parcel))


def _bound(parcel: Parcel) -> bytes:
    return f"{parcel.id}\n{parcel.sender}\n{parcel.recipient}\n".encode()
