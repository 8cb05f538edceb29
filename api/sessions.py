"""Who is signed in: sessions in the database, which knows what a browser holds by its hash."""

import hashlib
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from ledger.store.database import Database

LIFETIME = timedelta(hours=8)
IDLE = timedelta(minutes=30)
SIGN_IN_LIFETIME = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Session:
    """A person who is signed in for an agency, at the latest until a time."""

    digest: bytes
    agency: str
    person: str
    until: datetime


class Sessions:
    """Begins, finds and ends sessions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, agency: str, person: str) -> str:
        """A new session. Returns its secret, which is kept nowhere here."""
        secret = secrets.token_urlsafe(32)
        with self._database.connection() as connection:
            connection.execute(
                "INSERT INTO access.sessions (digest, agency, person, expires_at, last_seen_at)"
                " VALUES (%s, %s, %s, now() + %s, now())",
                (_digest(secret), agency, person, LIFETIME),
            )
        return secret

    def seen(self, secret: str) -> Session | None:
        """The session of a secret, which is thereby in use; ``None`` if there is none any more."""
        digest = _digest(secret)
        with self._database.connection() as connection:
            row = connection.execute(
                "UPDATE access.sessions SET last_seen_at = now()"
                " WHERE digest = %s AND expires_at > now() AND last_seen_at > now() - %s"
                " RETURNING agency, person, expires_at",
                (digest, IDLE),
                prepare=True,
            ).fetchone()
        if row is None:
            return None
        return Session(digest, row["agency"], row["person"], row["expires_at"])

    def living(self, digests: Collection[bytes]) -> set[bytes]:
        """Those of these sessions that have not ended. This is no use of them."""
        with self._database.connection() as connection:
            rows = connection.execute(
                "SELECT digest FROM access.sessions"
                " WHERE digest = ANY(%s) AND expires_at > now() AND last_seen_at > now() - %s",
                (list(digests), IDLE),
                prepare=True,
            ).fetchall()
        return {bytes(row["digest"]) for row in rows}

    def end(self, secret: str) -> None:
        """End a session, if there is one."""
        with self._database.connection() as connection:
            connection.execute("DELETE FROM access.sessions WHERE digest = %s", (_digest(secret),))

    def forget_expired(self) -> int:
        """Remove what is over. Returns how many."""
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


class PendingSignIns:
    """People on their way to their provider: each may come back once, and soon."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, return_to: str) -> str:
        """Note that a browser sets out. Returns the secret that it keeps."""
        secret = secrets.token_urlsafe(32)
        with self._database.connection() as connection:
            connection.execute(
                "INSERT INTO access.sign_ins (digest, return_to, expires_at)"
                " VALUES (%s, %s, now() + %s)",
                (_digest(secret), return_to, SIGN_IN_LIFETIME),
            )
        return secret

    def finish(self, secret: str) -> str | None:
        """Where the browser wanted to go, told once; ``None`` where it did not set out lately."""
        with self._database.connection() as connection:
            row = connection.execute(
                "DELETE FROM access.sign_ins WHERE digest = %s"
                " RETURNING return_to, expires_at > now() AS in_time",
                (_digest(secret),),
            ).fetchone()
        return str(row["return_to"]) if row is not None and row["in_time"] else None


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
