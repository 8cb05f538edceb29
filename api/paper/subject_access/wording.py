"""Machine names, codes, dates and values in the words of one language."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal
from enum import StrEnum
from functools import cache

import pycountry
from babel.dates import format_date
from babel.numbers import format_decimal
from pydantic import JsonValue, TypeAdapter, ValidationError

from api.paper.languages.catalogue import english, messages
from api.paper.languages.found import SOURCE, language
from api.paper.subject_access.messages import value_id
from api.paper.subject_access.value_shapes import Plain, shape
from ledger.procedure.practice_protocol import is_practice
from ledger.procedure.protocol import Agency, Protocol
from ledger.procedure.time_zones import end_of_day, offset, zone_of, zone_of_days
from ledger.vocabulary.documents import shown_document
from ledger.vocabulary.sharing import ReleasedFields
from ledger.vocabulary.types import UtcDatetime

_NUMBER = re.compile(r"-?\d{1,15}(\.\d{1,6})?")
_moment: TypeAdapter[datetime] = TypeAdapter(UtcDatetime)


class Wording:
    """The words for machine names in a language, under a protocol, at a party's local time.

    The protocol's own labels go first, then the language's catalogues, then English. Nothing here
    fails for a name that is not known: the name is then given as it is, since a person's file must
    be readable even where a translation is late.
    """

    def __init__(
        self, code: str, protocol: Protocol | None = None, party: str | None = None
    ) -> None:
        self.known = language(code)
        self.language = code
        self.protocol = protocol
        labels = (protocol.labels if protocol is not None else None) or {}
        self._labels: Mapping[str, str] = labels.get(code, {})
        self._english_labels: Mapping[str, str] = labels.get(SOURCE, {})
        parties = protocol.parties if protocol is not None else ()
        self._party_names = {
            one.code: one.names[code] for one in parties if one.names and code in one.names
        }
        self._messages = messages(self.known)
        self._english = english()
        self._locale = self.known.locale
        self.party = party
        self._zone = zone_of(protocol, party)

    def text(self, name: str, **values: str) -> str:
        """Return one of the document's fixed texts, with its ``{places}`` filled in."""
        return self._message(f"text.{name}", name).format(**values)

    @property
    def practice_mark(self) -> str | None:
        """Return the words on each paper of a practice ledger; ``None`` for a real one."""
        is_marked = self.protocol is not None and is_practice(self.protocol.id)
        return self.text("practice.paper") if is_marked else None

    def kind(self, kind: str) -> str:
        return self._message(f"kind.{kind}", kind)

    def owed(self, kind: str) -> str:
        """Return the name of a step that is owed: that of its action, unless it has its own."""
        return self._message(f"owed.{kind}", "") or self.kind(kind)

    def field(self, field: str) -> str:
        return self._message(f"field.{field}", field)

    def picked(self, value: StrEnum) -> str:
        """Return the label of a picklist's value."""
        return self._message(value_id(value), value.value)

    def change(self, change: str) -> str:
        """Return the sentence on a change of the protocol, with ``{places}`` for its values."""
        return self._message(f"change.{change}", change)

    def role(self, role: str) -> str:
        """Return a role's name: the protocol's own, unless it is that of this program."""
        message = f"role.{role}"
        own = self.protocol.roles.get(role) if self.protocol is not None else None
        if own is None or own == self._english.get(message):
            return self._message(message, role)
        return self._labels.get(message) or self._english_labels.get(message) or own

    def proper_name(self, name: str) -> str:
        """Translate a name of the protocol that ships with the ledger, or return it as it is.

        The title of the protocol is given by its label, if it has one.
        """
        if self.protocol is not None and name == self.protocol.title and "title" in self._labels:
            return self._labels["title"]
        message = _proper_names().get(name)
        return name if message is None else self._message(message, name)

    def agency(self, agency: Agency) -> str:
        """Return an agency's name as its country gave it in this language, or the catalogue's."""
        given = (agency.names or {}).get(self.language)
        return self.proper_name(agency.name) if given is None else given

    def agency_name(self, agency_id: str) -> str:
        """Return the name of the protocol's agency of this id; the id if there is none."""
        agencies = self.protocol.agencies_by_id if self.protocol is not None else {}
        agency = agencies.get(agency_id)
        return agency_id if agency is None else self.agency(agency)

    def country(self, code: str) -> str:
        """Return a country's name, from its ISO 3166-1 code."""
        message = f"country.{code}"
        own = self._labels.get(message) or self._party_names.get(code)
        return str(own or self._messages.get(message) or self._locale.territories.get(code) or code)

    def language_name(self, code: str) -> str:
        """Return a language's name, from its ISO 639-3 code."""
        known = pycountry.languages.get(alpha_3=code)
        short = getattr(known, "alpha_2", code)
        message = f"language.{code}"
        own = self._labels.get(message) or self._messages.get(message)
        return str(own or self._locale.languages.get(short) or getattr(known, "name", code))

    def spoken_languages(self) -> tuple[str, ...]:
        """Return the ISO 639-3 codes of the languages that a form lists.

        These have a two-letter code, or a name in a catalogue or the protocol.
        """
        named = {*self._english, *self._messages, *self._english_labels, *self._labels}
        own = {one.removeprefix("language.") for one in named if one.startswith("language.")}
        short = {one.alpha_3 for one in pycountry.languages if hasattr(one, "alpha_2")}
        return tuple(sorted(short | own))

    def spoken_code(self) -> str | None:
        """Return the ISO 639-3 code of this language, or ``None`` if it has none."""
        primary = self.known.primary
        found = pycountry.languages.get(alpha_2=primary) or pycountry.languages.get(alpha_3=primary)
        return found.alpha_3 if found is not None else None

    def day(self, day: date) -> str:
        """Return a day; of a moment, the day at the party's local time."""
        if isinstance(day, datetime):
            day = self._local(day).date()
        return format_date(day, "long", locale=self._locale)

    def local_day(self, moment: datetime) -> date:
        """Return the day of a moment at the party's local time."""
        return self._local(moment).date()

    def quarter(self, first: str) -> str:
        """Return the quarter of a year that begins on a day, such as "3rd quarter 2027"."""
        return format_date(date.fromisoformat(first), "QQQQ y", locale=self._locale)

    def due_day(self, due: datetime, party: str | None = None) -> str:
        """Return the day on which something is due that ``party`` owes.

        Where the protocol counts local days, it is that party's day; else it is a day of UTC.
        """
        return format_date(self.local_due_day(due, party), "long", locale=self._locale)

    def local_due_day(self, due: datetime, party: str | None = None) -> date:
        """Return the day that :meth:`due_day` names."""
        return due.astimezone(self._zone_of_days(party)).date()

    def end_of_due_day(self, day: date) -> datetime:
        """Return the end of a day on which something is due, for the reader's party."""
        return end_of_day(day, self._zone_of_days(self.party))

    def _zone_of_days(self, party: str | None) -> tzinfo:
        return zone_of_days(self.protocol, party)

    def moment(self, moment: datetime) -> str:
        """Return a day and the time of day at the party's local time, with its offset from UTC."""
        local = self._local(moment)
        return f"{self.day(local.date())} {local:%H:%M} {offset(local)}"

    def zone_name(self, now: datetime) -> str:
        """Return the name of the party's time zone with its present offset from UTC."""
        told = offset(self._local(now))
        return told if self._zone is UTC else f"{self._zone} ({told})"

    def zone_offset(self, now: datetime) -> str:
        """Return the present offset of the party's local time from UTC."""
        return offset(self._local(now))

    @property
    def locale_name(self) -> str:
        """Return the name of the language's locale in the CLDR."""
        return str(self._locale)

    def zone(self) -> str:
        """Return the IANA name of the party's time zone, as scripts need it."""
        return str(self._zone)

    def _local(self, moment: datetime) -> datetime:
        try:
            return moment.astimezone(self._zone)
        except OverflowError:  # a hostile node may have recorded any time
            return moment.astimezone(UTC)

    def number(self, number: Decimal) -> str:
        return format_decimal(number, locale=self._locale, decimal_quantization=False)

    def value(
        self, kind: str, field: str, value: JsonValue, named: Mapping[str, str]
    ) -> tuple[str, ...]:
        """Return the value of an action's field, a line for each item of a list.

        ``named`` has the names of agencies by id and of the case's actions by id.
        """
        items = value if isinstance(value, list) else [value]
        return tuple(self._item(kind, field, item, named) for item in items)

    def _item(self, kind: str, field: str, value: JsonValue, named: Mapping[str, str]) -> str:
        if isinstance(value, bool):
            return self._message(f"value.bool.{str(value).lower()}", str(value))
        if isinstance(value, dict):
            return self._document(value) or self._released(value, named)
        as_it_is = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        known = shape(kind, field)
        try:
            if not isinstance(known, Plain):
                return self.picked(known(as_it_is))
            return self._plain(known, as_it_is, named)
        except (ValueError, OverflowError):
            return as_it_is

    def _document(self, value: Mapping[str, JsonValue]) -> str:
        """Return a document's title, kind, language, media type, size in bytes and SHA-256.

        The text is empty if the value is no document.
        """
        try:
            document = shown_document(value)
        except ValidationError:
            return ""
        language = (self.language_name(document.language),) if document.language else ()
        size = f"{self.number(Decimal(document.size))} B"
        parts = (document.title, self.picked(document.document_kind), *language)
        return ", ".join((*parts, document.media_type, size, f"SHA-256 {document.sha256}"))

    def _released(self, value: Mapping[str, JsonValue], named: Mapping[str, str]) -> str:
        """Return the action of released fields with their number; an unknown value as JSON."""
        try:
            released = ReleasedFields.model_validate(value)
        except ValidationError:
            return json.dumps(value, ensure_ascii=False)
        action = str(released.action)
        said = self._message("value.released", "{action} (fields: {number})")
        return said.format(action=named.get(action, action), number=len(released.digests))

    def _plain(self, known: Plain, value: str, named: Mapping[str, str]) -> str:
        match known:
            case Plain.NUMBER if _NUMBER.fullmatch(value):
                return self.number(Decimal(value))
            case Plain.DATE:
                return self.day(date.fromisoformat(value))
            case Plain.MOMENT:
                return self.moment(_moment.validate_python(value))
            case Plain.COUNTRY:
                return self.country(value)
            case Plain.LANGUAGE:
                return self.language_name(value)
            case Plain.AGENCY | Plain.ACTION:
                return named.get(value, value)
            case _:
                return value

    def named(self, head: str) -> Mapping[str, str]:
        """Return the texts of the messages whose ids begin with ``head``, by the rest of the id."""
        return {
            one.removeprefix(head): self._message(one, one)
            for one in (*self._english, *self._messages)
            if one.startswith(head)
        }

    def _message(self, message: str, otherwise: str) -> str:
        return (
            self._labels.get(message)
            or self._messages.get(message)
            or self._english_labels.get(message)
            or self._english.get(message)
            or otherwise
        )


def wording(code: str, protocol: Protocol | None = None, party: str | None = None) -> Wording:
    """Return the wording of a language under a protocol, for a reader of a party.

    Without a protocol it has the program's words alone; without a party times are in UTC. Raises
    ``LanguageError`` if there is no such language.
    """
    return Wording(code, protocol, party)


@cache
def _proper_names() -> Mapping[str, str]:
    """Return the ids of the messages that are proper names, by the protocol's name."""
    return {
        text: message
        for message, text in english().items()
        if message.startswith(("agency.", "protocol."))
    }
