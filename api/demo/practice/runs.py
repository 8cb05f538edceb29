"""The exercises that people began, in the practice ledger's own database.

A trainee is a random text in a cookie. No name and no agency is with it: one person acts for many.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

import psycopg
from psycopg.rows import class_row

_TABLES = """
CREATE SCHEMA IF NOT EXISTS practice;
CREATE TABLE IF NOT EXISTS practice.runs (
    trainee text NOT NULL,
    exercise int NOT NULL,
    position bigint NOT NULL,
    case_id uuid,
    PRIMARY KEY (trainee, exercise)
);
CREATE TABLE IF NOT EXISTS practice.keys (
    key_id text NOT NULL,
    trainee text NOT NULL,
    PRIMARY KEY (key_id, trainee)
);
"""


@dataclass(frozen=True, slots=True)
class Run:
    """One exercise that a trainee began."""

    exercise: int
    position: int
    """That of the ledger when the exercise began."""
    case_id: UUID | None
    """``None`` until the trainee opened the case of an exercise without a set-up."""


class Runs:
    """The table of what was begun, and the keys of each trainee's roles."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo

    def create(self) -> None:
        """Make the tables where they are missing."""
        with self._connection() as connection:
            connection.execute(_TABLES)

    def begin(self, trainee: str, exercise: int, position: int, case_id: UUID | None) -> None:
        """Note that a trainee began an exercise, in place of an earlier beginning."""
        with self._connection() as connection:
            connection.execute(
                "INSERT INTO practice.runs (trainee, exercise, position, case_id)"
                " VALUES (%s, %s, %s, %s) ON CONFLICT (trainee, exercise) DO UPDATE"
                " SET position = EXCLUDED.position, case_id = EXCLUDED.case_id",
                (trainee, exercise, position, case_id),
            )

    def of(self, trainee: str) -> Mapping[int, Run]:
        """Return what a trainee began, by the exercises' numbers."""
        with (
            self._connection() as connection,
            connection.cursor(row_factory=class_row(Run)) as cursor,
        ):
            rows = cursor.execute(
                "SELECT exercise, position, case_id FROM practice.runs WHERE trainee = %s",
                (trainee,),
            ).fetchall()
        return {run.exercise: run for run in rows}

    def add_key(self, trainee: str, key_id: str) -> None:
        """Note that a trainee signs with a key."""
        with self._connection() as connection:
            connection.execute(
                "INSERT INTO practice.keys (key_id, trainee) VALUES (%s, %s)"
                " ON CONFLICT DO NOTHING",
                (key_id, trainee),
            )

    def keys_of(self, trainee: str) -> frozenset[str]:
        """Return the keys that a trainee signs with."""
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT key_id FROM practice.keys WHERE trainee = %s", (trainee,)
            ).fetchall()
        return frozenset(str(key) for (key,) in rows)

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection]:
        with psycopg.connect(self._conninfo, connect_timeout=10) as connection:
            yield connection
