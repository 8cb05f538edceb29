"""Each assertion is used once, through crashes, and no request waits for the disk to say so.

The table of used assertions is unlogged: a crash of PostgreSQL empties it. What then keeps an
assertion from being used again is a bound that is durable, ``issued_until``: no assertion issued
after it was ever accepted. It is moved a little ahead of the assertions, every other second, in
the statement that uses the first one beyond it. Who finds that the table was emptied sets
``refused_until`` to that bound, in the transaction that marks the table as complete again, and
every assertion issued up to there is refused from then on.

Everything is decided in one statement, on one connection. A crash ends all connections, so that no
decision stands on what was there before one and on what is there after it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any
from uuid import UUID

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from ledger.store.async_batcher import AsyncBatcher
from ledger.store.async_connection import SharedConnection
from ledger.store.disk import until_given_way
from ledger.store.postgres_arrays import Texts, Uuids
from ledger.system import clock

AHEAD = timedelta(seconds=2)
"""How far the bound is moved ahead: as long as nobody gets in after a crash, at most."""
LATEST = timedelta(seconds=30)
"""How far ahead of the node's clock an agency's clock may be, at most."""
_ATTEMPTS = 3
_LONG_AGO = datetime.fromtimestamp(0, UTC)

# In the order of the key, so that two processes that are sent the same do not wait for each other.
_USE = """
WITH moved AS (
    UPDATE access.assertions SET issued_until = %(ahead)s
    WHERE issued_until < %(latest)s AND %(latest)s > %(known)s
        AND EXISTS (SELECT FROM access.uncrashed)
    RETURNING issued_until
), used AS (
    INSERT INTO access.used_assertions (agency, jti, expires_at)
    SELECT t.* FROM unnest(
            %(agencies)b::text[], %(jtis)b::text[], %(expiries)b::text[]::timestamptz[])
        AS t (agency, jti, expires_at)
    WHERE EXISTS (SELECT FROM access.uncrashed)
    ORDER BY 1, 2
    ON CONFLICT DO NOTHING
    RETURNING agency, jti
)
SELECT EXISTS (SELECT FROM access.uncrashed) AS complete,
    a.refused_until, COALESCE((SELECT issued_until FROM moved), a.issued_until) AS issued_until,
    ARRAY(SELECT agency || ' ' || jti FROM used) AS used,
    ARRAY(SELECT id FROM access.members
        WHERE id = ANY(%(members)b::uuid[]) AND disabled_at IS NOT NULL) AS disabled,
    (SELECT COALESCE(max(originator_version), 0) FROM ledger.events
     WHERE originator_id = %(ledger)s) AS registry_version
FROM access.assertions a
"""


class Use(Enum):
    """The result of the use of an assertion."""

    FIRST = "first"
    REPLAYED = "replayed"
    UNSURE = "unsure"
    """It may have been used before a crash."""


@dataclass(frozen=True, slots=True)
class Using:
    """An assertion about to be used, whose signature holds."""

    agency: str
    jti: str
    issued_at: datetime
    keep_until: datetime
    """Until when it could be accepted."""
    ledger_id: UUID
    member: UUID | None = None
    """The member whose key signed it, if it is a member's."""


@dataclass(frozen=True, slots=True)
class Used:
    """The result of the use, and the version of the registry at that moment."""

    use: Use
    registry_version: int
    refused_until: datetime
    is_disabled: bool = False
    """Whether the member whose key signed it is disabled."""


class UsedAssertions:
    """Uses assertions, those of concurrent requests in one statement."""

    def __init__(
        self,
        lane: SharedConnection,
        moments: Callable[[], Sequence[datetime]] = lambda: (clock.now(),),
    ) -> None:
        """Prepare the check on a shared connection.

        ``moments`` returns the times that it may be now: more than one if clocks differ.
        """
        self._lane = lane
        self._moments = moments
        self._together = AsyncBatcher(self._use_all)
        self._known = _LONG_AGO
        self._known_on = 0

    async def use(self, assertion: Using) -> Used:
        """Use an assertion. Raises ``psycopg.OperationalError``."""
        return await self._together.ask(assertion)

    @until_given_way
    async def _use_all(self, some: Sequence[Using]) -> Sequence[Used]:
        for _ in range(_ATTEMPTS):
            async with self._lane.connection() as connection:
                if self._known_on != self._lane.opened:  # it may be another server by now
                    self._known, self._known_on = _LONG_AGO, self._lane.opened
                found = await self._ask(connection, some)
                if found["complete"]:
                    self._known = found["issued_until"]
                    return list(_told(some, await self._bounded(connection, found)))
                await _recover(connection)
        raise psycopg.OperationalError("the database crashes again and again")

    async def _ask(self, connection: AsyncConnection[DictRow], some: Sequence[Using]) -> DictRow:
        latest = max(one.issued_at for one in some)
        asked: dict[str, Any] = {
            "agencies": Texts(one.agency for one in some),
            "jtis": Texts(one.jti for one in some),
            "expiries": Texts(one.keep_until.isoformat() for one in some),
            "latest": latest,
            "ahead": latest + AHEAD,
            "known": self._known,
            "ledger": some[0].ledger_id,
            "members": Uuids(one.member for one in some if one.member is not None),
        }
        cursor = await connection.execute(_USE, asked, prepare=True)
        found = await cursor.fetchone()
        if found is None:
            raise RuntimeError("access.assertions has no row; run the migrations")
        return found

    async def _bounded(self, connection: AsyncConnection[DictRow], found: DictRow) -> DictRow:
        """Bring back a bound that a clock made which was ahead. Durable.

        No right clock is further than ``LATEST`` ahead of this one. A bound beyond it would lock
        everybody out until its time has come.
        """
        latest = max(self._moments()) + LATEST
        if found["refused_until"] <= latest:
            return found
        await connection.execute(
            "UPDATE access.assertions SET refused_until = LEAST(refused_until, %s)", (latest,)
        )
        return {**found, "refused_until": latest}


async def _recover(connection: AsyncConnection[DictRow]) -> None:
    """Refuse, after a crash, all assertions that may have been used before, and begin anew.

    The refusal is durable.
    """
    async with connection.transaction():
        await connection.execute("SELECT FROM access.assertions FOR UPDATE")
        marked = await connection.execute(
            "INSERT INTO access.uncrashed DEFAULT VALUES ON CONFLICT DO NOTHING"
        )
        if marked.rowcount:  # else another process did it while this one waited
            await connection.execute("UPDATE access.assertions SET refused_until = issued_until")


def _told(some: Sequence[Using], found: DictRow) -> Iterator[Used]:
    first = set(found["used"])
    for one in some:
        name = f"{one.agency} {one.jti}"
        if one.issued_at <= found["refused_until"]:
            use = Use.UNSURE
        elif name in first:
            use = Use.FIRST
            first.remove(name)  # the same may stand twice among them
        else:
            use = Use.REPLAYED
        yield Used(
            use,
            found["registry_version"],
            found["refused_until"],
            one.member in found["disabled"],
        )
