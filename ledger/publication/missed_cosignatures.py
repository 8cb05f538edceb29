"""The checkpoints that were published without a witness, as this node's database has them."""

from dataclasses import dataclass
from datetime import datetime

from ledger.store.database import Database

_MISSED = """
WITH marked AS (
    SELECT size, published_at, is_there,
           count(*) FILTER (WHERE is_there) OVER (ORDER BY size) AS island
    FROM (SELECT size, published_at, position(%(line)s IN note) > 0 AS is_there
          FROM log.published) AS published
), islands AS (
    SELECT island,
           min(size) FILTER (WHERE NOT is_there) AS first,
           max(size) FILTER (WHERE NOT is_there) AS last,
           count(*) FILTER (WHERE NOT is_there) AS count,
           min(published_at) FILTER (WHERE NOT is_there) AS began_at,
           max(published_at) FILTER (WHERE NOT is_there) AS ended_at,
           lead(min(size) FILTER (WHERE is_there)) OVER (ORDER BY island) AS next
    FROM marked GROUP BY island
)
SELECT first, last, count, began_at, ended_at,
       LEAST(next, (SELECT min(size) FROM log.cosignatures
                    WHERE witness = %(witness)s AND size >= last)) AS covered_by
FROM islands WHERE count > 0 ORDER BY first
"""
_LAST_WITH = """
SELECT size, published_at FROM log.published WHERE position(%s IN note) > 0
ORDER BY size DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class MissedCosignatures:
    """Published checkpoints, one after the other, that lack a witness's cosignature."""

    first: int
    """The size of the first one."""
    last: int
    count: int
    began_at: datetime
    """When the first one was published, by this node's clock."""
    ended_at: datetime
    covered_by: int | None
    """The size that the witness cosigned next. It vouches for all sizes before."""


def missed_publications(
    database: Database, witness: str, key_name: str
) -> list[MissedCosignatures]:
    """Return the published checkpoints without a witness, in runs.

    ``witness`` is its name in the policy, and ``key_name`` the name of its key. Only the ledger
    node stores cosignatures that came after the publication.
    """
    wanted = {"witness": witness, "line": _line(key_name)}
    with database.connection() as connection:
        rows = connection.execute(_MISSED, wanted).fetchall()
    return [MissedCosignatures(**row) for row in rows]


def last_publication_with(database: Database, key_name: str) -> tuple[int, datetime] | None:
    """Return the size and time of the last published checkpoint that a witness cosigned."""
    with database.connection() as connection:
        row = connection.execute(_LAST_WITH, (_line(key_name),)).fetchone()
    return None if row is None else (row["size"], row["published_at"])


def _line(key_name: str) -> str:
    """Return the beginning of the line of a note that holds a key's cosignature."""
    return f"\n\N{EM DASH} {key_name} "
