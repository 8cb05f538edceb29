"""Statements of a country's node that it handed an action in, for the other countries' nodes.

An action that gets no answer leaves no trace at the ledger node. So the country's node states since
when it waits: the action's id and digest, and the time, signed with the node agency's key. Nothing
else of the action is in it. The other nodes keep the statement and hold it against their own copies
of the ledger: they see whether the action came, and when.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Self
from uuid import UUID

from joserfc.jwk import OKPKey
from psycopg.rows import DictRow
from pydantic import Field

from ledger.log.signed_decision import action_digest
from ledger.procedure.registry import Registry
from ledger.replication.node_statements import MAX_CHARACTERS, StatementError, sign, verify
from ledger.replication.outbox import Outgoing
from ledger.store.database import Database
from ledger.system import clock
from ledger.vocabulary.action import LedgerModel
from ledger.vocabulary.types import Country, UnixTime, UtcDatetime

TYPE = "submitted-at+jwt"
KEPT_PER_PARTY = 1_000
"""The newest statements of each country are kept, so that no node fills another's disk."""
_AHEAD = timedelta(minutes=5)

_KEEP = """
INSERT INTO log.submissions (party, action_id, digest, submitted_at, statement)
VALUES (%(party)s, %(action_id)s, %(digest)s, %(submitted_at)s, %(statement)s)
ON CONFLICT (party, action_id) DO UPDATE
SET digest = EXCLUDED.digest, submitted_at = EXCLUDED.submitted_at,
    statement = EXCLUDED.statement, received_at = now()
WHERE submissions.submitted_at > EXCLUDED.submitted_at
RETURNING action_id
"""
_BOUND = """
DELETE FROM log.submissions WHERE party = %(party)s AND action_id NOT IN (
    SELECT action_id FROM log.submissions WHERE party = %(party)s
    ORDER BY received_at DESC, action_id LIMIT %(most)s)
"""
_LIST = """
SELECT s.*, e.notification_id AS position, e.recorded_at
FROM log.submissions s LEFT JOIN ledger.events e USING (action_id)
ORDER BY e.notification_id IS NOT NULL, s.submitted_at DESC LIMIT %(limit)s
"""


class Submission(LedgerModel):
    """The claims of a statement."""

    protocol: Annotated[str, Field(max_length=200)]
    party: Country
    """The country whose node handed the action in."""
    action: UUID
    digest: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$")]
    """SHA-256 of the signed action without disclosures, base64url."""
    submitted_at: UtcDatetime
    """When the action came to the country's node, which has sent it since."""
    iat: UnixTime


def state(waiting: Outgoing, protocol: str, key: OKPKey) -> str:
    """Sign that an action in the outbox waits, with the key of the country's node."""
    content = Submission(
        protocol=protocol,
        party=waiting.party,
        action=waiting.action_id,
        digest=action_digest(waiting.sd_jwt),
        submitted_at=waiting.received_at,
        iat=int(clock.now().timestamp()),
    )
    return sign(content, TYPE, key)


def read(text: str, registry: Registry, party: str | None = None) -> Submission:
    """Read a statement, of ``party``'s node if it is named.

    Raises ``StatementError`` if it is no such statement.
    """
    if len(text) > MAX_CHARACTERS:
        raise StatementError(f"it has more than {MAX_CHARACTERS} characters")
    now = clock.now()
    for code in [party] if party is not None else sorted(registry.directory.party_codes):
        try:
            content = verify(text, TYPE, Submission, party=code, registry=registry, at=now)
        except StatementError:
            if party is not None:
                raise
            continue
        if content.party != code or content.protocol != registry.protocol_id:
            raise StatementError("it is of another country or protocol than its key")
        if content.submitted_at > now + _AHEAD:
            raise StatementError("its time is in the future")
        return content
    raise StatementError("no registered key of a country's node signed it")


@dataclass(frozen=True, slots=True)
class KeptSubmission:
    """A kept statement, with the event of its action in this node's copy, if it has one."""

    party: str
    action_id: UUID
    digest: str
    submitted_at: datetime
    statement: str
    received_at: datetime
    position: int | None
    """Where the action is recorded; ``None`` while it is not in this node's copy."""
    recorded_at: datetime | None

    @classmethod
    def of(cls, row: DictRow) -> Self:
        return cls(**row)


class Submissions:
    """The statements that this node keeps."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, content: Submission, statement: str) -> bool:
        """Keep a statement, the earliest of an action, and return whether it is new."""
        with self._database.transaction() as connection:
            row = connection.execute(
                _KEEP,
                {
                    "party": content.party,
                    "action_id": content.action,
                    "digest": content.digest,
                    "submitted_at": content.submitted_at,
                    "statement": statement,
                },
            ).fetchone()
            if row is not None:
                connection.execute(_BOUND, {"party": content.party, "most": KEPT_PER_PARTY})
        return row is not None

    def all(self, limit: int) -> Sequence[KeptSubmission]:
        """Return statements: first the ones of unrecorded actions, the newest first."""
        with self._database.connection() as connection:
            rows = connection.execute(_LIST, {"limit": limit}).fetchall()
        return [KeptSubmission.of(row) for row in rows]
