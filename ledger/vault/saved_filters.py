"""The filters of the list of cases that an agency saved by name.

A name is what its people typed, and may say something of a person. So names and filters are sealed,
under a data key of the agency.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

import structlog
from psycopg import Connection
from psycopg.rows import DictRow

from ledger.procedure.subject_ids import agency_subject
from ledger.refusals import Ground, Refusal
from ledger.signing.country_key import SealError
from ledger.system.identifiers import new_id
from ledger.vault.agency_values import AgencyValues, seal_value
from ledger.vocabulary.characters import checked_name

KIND = "saved_filter"
MOST = 30
"""Filters of one agency."""
MOST_CHARACTERS = 60
"""Of a name."""
_log = structlog.get_logger(__name__)

_OF_AGENCY = """
SELECT * FROM {schema}.agency_values WHERE agency = %s AND kind = 'saved_filter'
"""
_INSERT = """
INSERT INTO {schema}.agency_values (id, case_id, agency, kind, sealed)
VALUES (%(id)s, %(case_id)s, %(agency)s, 'saved_filter', %(sealed)s)
"""
_DELETE = """
DELETE FROM {schema}.agency_values WHERE id = %s AND agency = %s AND kind = 'saved_filter'
"""


@dataclass(frozen=True, slots=True)
class SavedFilter:
    """A filter that an agency saved. ``query`` is the part of an address that names its choices."""

    id: UUID
    name: str
    query: str


class _Stored(NamedTuple):
    name: str
    query: str


class SavedFilters(AgencyValues):
    """The saved filters in one country's vault."""

    def of_agency(self, agency: str) -> Sequence[SavedFilter]:
        """Return the filters of an agency, by name. One that does not open is left out."""
        with self._database.transaction(role=self._role) as connection:
            rows = connection.execute(self._sql(_OF_AGENCY), (agency,)).fetchall()
        return self._read(rows)

    def save(self, agency: str, name: str, query: str) -> None:
        """Save a filter, in place of one of the same name.

        Raises ``Refusal`` (``filter-name``, ``too-many-filters``).
        """
        name = read_name(name)
        subject = agency_subject(agency)
        place = {"id": new_id(), "case_id": subject, "agency": agency, "kind": KIND}

        def write(connection: Connection[DictRow], data_key: bytes) -> None:
            # Another person of the agency may save a filter of this name now.
            connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"filters {agency}",)
            )
            saved = self._read(connection.execute(self._sql(_OF_AGENCY), (agency,)).fetchall())
            same = [one for one in saved if one.name.casefold() == name.casefold()]
            if len(saved) - len(same) >= MOST:
                raise Refusal(
                    Ground.OUT_OF_PROCEDURE,
                    "too-many-filters",
                    f"An agency saves at most {MOST} filters. Remove one first.",
                    "name",
                )
            for one in same:
                connection.execute(self._sql(_DELETE), (one.id, agency))
            value = json.dumps(_Stored(name, query))
            connection.execute(
                self._sql(_INSERT), {**place, "sealed": seal_value(data_key, value, place)}
            )

        self._write(subject, lambda _: self._keys.get(subject) or self._keys.make(subject), write)

    def remove(self, agency: str, filter_id: UUID) -> bool:
        """Remove a filter of an agency. Returns whether there was one."""
        with self._database.transaction(role=self._role) as connection:
            return connection.execute(self._sql(_DELETE), (filter_id, agency)).rowcount > 0

    def _read(self, rows: Sequence[DictRow]) -> Sequence[SavedFilter]:
        found = []
        for row in rows:
            try:
                stored = _Stored(*json.loads(self._opened(row)))
            except SealError:
                _log.error("a saved filter does not open", filter=str(row["id"]))
                continue
            found.append(SavedFilter(row["id"], *stored))
        return sorted(found, key=lambda one: one.name.casefold())


def read_name(text: str) -> str:
    """Return the name of a filter without needless spaces. Raises ``Refusal`` (``filter-name``)."""
    name = " ".join(text.split())
    try:
        if len(name) > MOST_CHARACTERS:
            raise ValueError(f"has more than {MOST_CHARACTERS} characters")
        return checked_name(name)
    except ValueError as error:
        raise Refusal(
            Ground.INVALID, "filter-name", f"The name of the filter {error}.", "name"
        ) from None
