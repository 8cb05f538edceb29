"""Sessions of signed-in people. The database has each session by the hash of its secret."""

import hashlib
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from ledger.store.async_connection import SharedConnection
from ledger.store.database import Database
from ledger.store.disk import until_given_way

LIFETIME = timedelta(hours=8)
IDLE = timedelta(minutes=30)
SIGN_IN_LIFETIME = timedelta(minutes=10)
MAX_PENDING = 5_000
"""Unfinished sign-ins that are noted at once."""
_NOTED = timedelta(seconds=30)
_LONGEST = LIFETIME + timedelta(minutes=5)
"""A session that would last longer was begun while the database's clock was ahead; it is over."""
_SEEN = """
WITH living AS (
    SELECT digest, agency, person, key_id, member, expires_at, last_seen_at FROM access.sessions
    WHERE digest = %(digest)s AND expires_at > now() AND last_seen_at > now() - %(idle)s
        AND expires_at <= now() + %(longest)s
        AND NOT EXISTS (SELECT FROM access.members m
            WHERE m.id = sessions.member AND m.disabled_at IS NOT NULL)
), noted AS (
    UPDATE access.sessions s SET last_seen_at = now() FROM living
    WHERE s.digest = living.digest
        AND living.last_seen_at NOT BETWEEN now() - %(noted)s AND now() + %(noted)s
)
SELECT living.*, (SELECT COALESCE(max(originator_version), 0) FROM ledger.events
    WHERE originator_id = %(ledger)s) AS registry_version
FROM (VALUES (1)) AS one LEFT JOIN living ON true
"""


@dataclass(frozen=True, slots=True)
class Session:
    """A person who is signed in for an agency, at the latest until a time."""

    digest: bytes
    agency: str
    person: str
    until: datetime
    key_id: str | None = None
    """The agency's key that it was begun with, and ends with; ``None`` where a provider was."""
    member: UUID | None = None
    """The member of the agency, if the node knows which one."""


class Sessions:
    """Begins, finds and ends sessions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @until_given_way
    def begin(
        self, agency: str, person: str, key_id: str | None = None, member: UUID | None = None
    ) -> str:
        """Begin a new session and return its secret, which the node does not keep."""
        secret = secrets.token_urlsafe(32)
        with self._database.connection() as connection:
            connection.execute(
                "INSERT INTO access.sessions"
                " (digest, agency, person, key_id, member, expires_at, last_seen_at) "
                "VALUES (%s, %s, %s, %s, %s, now() + %s, now())",
                (_digest(secret), agency, person, key_id, member, LIFETIME),
            )
        return secret

    def living(self, digests: Collection[bytes]) -> set[bytes]:
        """Return those of these sessions' digests whose session has not ended.

        The look-up does not count as a use of the sessions.
        """
        with self._database.connection() as connection:
            rows = connection.execute(
                "SELECT digest FROM access.sessions"
                " WHERE digest = ANY(%s) AND expires_at > now() AND last_seen_at > now() - %s"
                " AND expires_at <= now() + %s"
                " AND NOT EXISTS (SELECT FROM access.members m"
                "  WHERE m.id = sessions.member AND m.disabled_at IS NOT NULL)",
                (list(digests), IDLE, _LONGEST),
                prepare=True,
            ).fetchall()
        return {bytes(row["digest"]) for row in rows}

    def end(self, secret: str) -> None:
        """End a session, if there is one."""
        with self._database.connection() as connection:
            connection.execute("DELETE FROM access.sessions WHERE digest = %s", (_digest(secret),))

    def forget_expired(self) -> int:
        """Remove the sessions that have ended, and return their number."""
        with self._database.connection() as connection:
            over = connection.execute(
                "DELETE FROM access.sessions"
                " WHERE expires_at <= now() OR last_seen_at <= now() - %s",
                (IDLE,),
            ).rowcount
            return (
                over
                + connection.execute(
                    "DELETE FROM access.sign_ins WHERE expires_at <= now()"
                ).rowcount
            )


class SessionsInUse:
    """Finds the session that a request comes with, which is thereby in use."""

    def __init__(self, lane: SharedConnection) -> None:
        self._lane = lane

    @until_given_way
    async def seen(self, secret: str, ledger_id: UUID) -> tuple[Session | None, int]:
        """Return the session of a secret, and the registry's version.

        The session is ``None`` if it has ended. The use of a session is noted twice a minute, which
        is exact enough for half an hour.
        """
        digest = _digest(secret)
        asked = {
            "digest": digest,
            "idle": IDLE,
            "longest": _LONGEST,
            "noted": _NOTED,
            "ledger": ledger_id,
        }
        async with self._lane.connection() as connection:
            cursor = await connection.execute(_SEEN, asked, prepare=True)
            row = await cursor.fetchone()
        if row is None:
            raise RuntimeError("a question for one row has no answer")
        if row["agency"] is None:
            return None, row["registry_version"]
        session = Session(
            digest, row["agency"], row["person"], row["expires_at"], row["key_id"], row["member"]
        )
        return session, row["registry_version"]


class PendingSignIns:
    """People on their way to their provider: each may come back once, and soon."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @until_given_way
    def begin(self, return_to: str) -> str:
        """Note that a browser sets out. Returns the secret that it keeps.

        The oldest notes beyond ``MAX_PENDING`` are dropped: anybody can set out and not come back.
        """
        secret = secrets.token_urlsafe(32)
        with self._database.connection() as connection:
            connection.execute(
                "INSERT INTO access.sign_ins (digest, return_to, expires_at)"
                " VALUES (%s, %s, now() + %s)",
                (_digest(secret), return_to, SIGN_IN_LIFETIME),
            )
            connection.execute(
                "DELETE FROM access.sign_ins WHERE digest IN"
                " (SELECT digest FROM access.sign_ins ORDER BY expires_at DESC OFFSET %s)",
                (MAX_PENDING,),
            )
        return secret

    def finish(self, secret: str) -> str | None:
        """Return the address that the browser wanted, and delete the pending sign-in.

        Returns ``None`` if no sign-in was begun with this secret, or if it was begun too long ago.
        """
        with self._database.connection() as connection:
            row = connection.execute(
                "DELETE FROM access.sign_ins WHERE digest = %s"
                " RETURNING return_to, expires_at > now() AS in_time",
                (_digest(secret),),
            ).fetchone()
        return str(row["return_to"]) if row is not None and row["in_time"] else None


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
