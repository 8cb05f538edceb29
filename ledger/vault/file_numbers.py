"""The agencies' own file numbers of cases.

An agency has at most one number for a case, and uses no number for two cases. A keyed token finds
a number and shows whether it is taken; the number itself is sealed under the person's data key.
"""

import re
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog
from anyascii import anyascii
from psycopg import Connection
from psycopg.errors import UniqueViolation
from psycopg.rows import DictRow

from ledger.refusals import Ground, Refusal
from ledger.signing.country_key import SealError
from ledger.store.database import Database
from ledger.store.postgres_arrays import Uuids
from ledger.system.identifiers import new_id
from ledger.vault.agency_values import AgencyValues, seal_value
from ledger.vault.data_keys import DataKeys
from ledger.vault.search.search_tokens import SearchKey
from ledger.vocabulary.case_reference import case_reference
from ledger.vocabulary.characters import checked_name

KIND = "file_number"
MOST_CHARACTERS = 40
_BETWEEN = re.compile(r"[\W_]+")
_PAGE = 500
_log = structlog.get_logger(__name__)

_PUT = """
INSERT INTO {schema}.agency_values (id, case_id, agency, kind, sealed, key_id, token)
VALUES (%(id)s, %(case_id)s, %(agency)s, 'file_number', %(sealed)s, %(key)s, %(token)s)
"""
_REMOVE = """
DELETE FROM {schema}.agency_values
WHERE case_id = %(case_id)s AND agency = %(agency)s AND kind = 'file_number'
"""
_OF_CASES = """
SELECT * FROM {schema}.agency_values
WHERE case_id = ANY(%s) AND kind = 'file_number' ORDER BY agency
"""
_TOKENED = """
SELECT case_id, agency FROM {schema}.agency_values
WHERE token = %s AND key_id = %s AND kind = 'file_number' LIMIT %s
"""
_OF_OTHER_KEYS = """
SELECT * FROM {schema}.agency_values WHERE kind = 'file_number' AND key_id <> %(key)s
    AND id <> ALL(%(but)s) ORDER BY id LIMIT %(limit)s
"""
_RETOKENED = """
UPDATE {schema}.agency_values SET token = %(token)s, key_id = %(key)s
WHERE id = %(id)s AND sealed = %(sealed)s
"""


@dataclass(frozen=True, slots=True)
class FileNumber:
    """An agency's number of a case."""

    case_id: UUID
    agency: str
    number: str | None
    """``None`` if the number does not open here."""
    changed_at: datetime


class FileNumbers(AgencyValues):
    """The file numbers in one country's vault."""

    def __init__(
        self,
        database: Database,
        party: str,
        keys: DataKeys,
        data_key: Callable[[UUID], bytes],
        search_key: Callable[[], SearchKey | None],
    ) -> None:
        """Prepare the numbers.

        ``data_key`` returns the key of a person, and makes it where the vault holds nothing yet.
        ``search_key`` returns the key of the tokens, if it opens here.
        """
        super().__init__(database, party, keys)
        self._data_key = data_key
        self._search_key = search_key
        self._unread: set[UUID] = set()
        """Rows that do not open here; each is logged, and tried, once."""
        self._renewed_for = b""
        """The key under which this process found all tokens, or put them."""

    def put(self, case_id: UUID, agency: str, number: str) -> None:
        """Give a case the number of an agency, in place of an earlier one. Durable on return.

        Raises ``Refusal`` (``file-number-form``, ``file-number-taken``, ``search-closed``,
        ``erased-case``), and ``KeyMissingError`` as a deposit does.
        """
        number = read_file_number(number)
        key = self.tokens_key()
        token = key.token(number_form(number))
        place = {"id": new_id(), "case_id": case_id, "agency": agency, "kind": KIND}

        def write(connection: Connection[DictRow], data_key: bytes) -> None:
            sealed = seal_value(data_key, number, place)
            values = {**place, "sealed": sealed, "key": key.id, "token": token}
            connection.execute(self._sql(_REMOVE), place)
            connection.execute(self._sql(_PUT), values)

        try:
            self._write(case_id, self._data_key, write)
        except UniqueViolation:
            raise self._taken(agency, number, key) from None

    def remove(self, case_id: UUID, agency: str) -> bool:
        """Take an agency's number from a case. Returns whether there was one."""
        place = {"case_id": case_id, "agency": agency}
        with self._database.transaction(role=self._role) as connection:
            return connection.execute(self._sql(_REMOVE), place).rowcount > 0

    def of_cases(self, case_ids: Collection[UUID]) -> Mapping[UUID, Sequence[FileNumber]]:
        """Return the numbers of some cases, by case, in the order of the agencies."""
        if not case_ids:
            return {}
        with self._database.transaction(role=self._role) as connection:
            rows = connection.execute(self._sql(_OF_CASES), (Uuids(case_ids),)).fetchall()
        found: dict[UUID, list[FileNumber]] = {}
        for row in rows:
            one = FileNumber(row["case_id"], row["agency"], self._number(row), row["changed_at"])
            found.setdefault(row["case_id"], []).append(one)
        return found

    def find(self, text: str, limit: int) -> Sequence[tuple[UUID, str]]:
        """Return the cases, with the agencies, whose number a text is, in any writing.

        Raises ``Refusal`` (``search-closed``).
        """
        form = number_form(text)
        if not form or len(text) > MOST_CHARACTERS or not _has_digit(form):
            return ()
        key = self.tokens_key()
        with self._database.transaction(role=self._role) as connection:
            asked = (key.token(form), key.id, limit)
            rows = connection.execute(self._sql(_TOKENED), asked).fetchall()
        return [(row["case_id"], row["agency"]) for row in rows]

    def renew_tokens(self, key: SearchKey) -> None:
        """Make the tokens of all numbers under this key, where they are under another one.

        A number that another process puts meanwhile under the other key is renewed by a later call.
        """
        while True:
            asked = {"key": key.id, "but": Uuids(self._unread), "limit": _PAGE}
            with self._database.transaction(role=self._role) as connection:
                rows = connection.execute(self._sql(_OF_OTHER_KEYS), asked).fetchall()
            for row in rows:
                self._renew(row, key)
            if len(rows) < _PAGE:
                self._renewed_for = key.id
                return

    def _renew(self, row: DictRow, key: SearchKey) -> None:
        try:
            token = key.token(number_form(self._opened(row)))
            values = {"token": token, "key": key.id, "id": row["id"], "sealed": row["sealed"]}
            with self._database.transaction(role=self._role) as connection:
                connection.execute(self._sql(_RETOKENED), values)
        except (SealError, UniqueViolation) as error:
            self._unread.add(row["id"])
            _log.error("a file number gets no token", error=type(error).__name__)

    def tokens_key(self) -> SearchKey:
        """Return the key under which all tokens are. Raises ``Refusal`` (``search-closed``)."""
        key = self._search_key()
        if key is None:
            raise Refusal(
                Ground.OUT_OF_PROCEDURE,
                "search-closed",
                "The search index of this node does not open. Tell the operator of this node.",
            )
        if key.id != self._renewed_for:
            self.renew_tokens(key)
        return key

    def _number(self, row: DictRow) -> str | None:
        try:
            return self._opened(row)
        except SealError as error:
            _log.error("a file number does not open", error=type(error).__name__)
            return None

    def _taken(self, agency: str, number: str, key: SearchKey) -> Refusal:
        with self._database.transaction(role=self._role) as connection:
            asked = (key.token(number_form(number)), key.id, _PAGE)
            rows = connection.execute(self._sql(_TOKENED), asked).fetchall()
        other = next((row["case_id"] for row in rows if row["agency"] == agency), None)
        named = "another case" if other is None else f"case {case_reference(other)}"
        return Refusal(
            Ground.CONFLICT,
            "file-number-taken",
            f"Your agency uses this file number for {named}. Choose another one, or change it there"
            " first. Two numbers that differ only in signs and in small or capital letters are the"
            " same.",
            "number",
        )


def read_file_number(text: str) -> str:
    """Return a file number without needless spaces. Raises ``Refusal`` (``file-number-form``)."""
    number = " ".join(unicodedata.normalize("NFC", text).split())
    if not number or len(number) > MOST_CHARACTERS or not _has_digit(number_form(number)):
        raise _no_number(
            f"A file number has at most {MOST_CHARACTERS} characters, and at least one digit."
        )
    try:
        return checked_name(number)
    except ValueError as error:
        raise _no_number(f"The file number {error}.") from None


def _no_number(message: str) -> Refusal:
    return Refusal(Ground.INVALID, "file-number-form", message, "number")


def _has_digit(form: str) -> bool:
    return any(map(str.isdigit, form))


def number_form(text: str) -> str:
    """Return the form in which two writings of one number are equal, in either script."""
    plain = anyascii(unicodedata.normalize("NFKC", text).casefold()).casefold()
    return f"file|{form}" if (form := _BETWEEN.sub("-", plain).strip("-")) else ""
