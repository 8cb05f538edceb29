"""Machine names, codes, dates and values in the words of one language."""

import json
import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from functools import cache, cached_property

import pycountry
from babel import Locale
from babel.dates import format_date
from babel.numbers import format_decimal
from pydantic import JsonValue, TypeAdapter

from api.client.schemas.personal import Language
from api.paper.subject_access.catalogues import SOURCE, messages
from api.paper.subject_access.messages import value_id
from api.paper.subject_access.value_shapes import Plain, shape
from ledger.procedure.protocol import Agency
from ledger.vocabulary.types import UtcDatetime

LOCALES: Mapping[Language, str] = {"sq": "sq", "cnr": "sr_Latn_ME", "en": "en_GB"}
"""CLDR has Montenegrin as Serbian in Latin script as it is written in Montenegro."""

_NUMBER = re.compile(r"-?\d{1,15}(\.\d{1,6})?")
_moment: TypeAdapter[datetime] = TypeAdapter(UtcDatetime)


class Wording:
    """The words for machine names in ``language``.

    Nothing here fails for a name that is not known: the name is then given as it is, since a
    person's file must be readable even where a translation is late.
    """

    def __init__(self, language: Language) -> None:
        self.language = language
        self._messages = messages(language)
        self._locale = Locale.parse(LOCALES[language])

    def text(self, name: str, **values: str) -> str:
        """Return one of the document's fixed texts, with its ``{places}`` filled in."""
        return self._message(f"text.{name}", name).format(**values)

    def kind(self, kind: str) -> str:
        return self._message(f"kind.{kind}", kind)

    def field(self, field: str) -> str:
        return self._message(f"field.{field}", field)

    def picked(self, value: StrEnum) -> str:
        """Return the label of a picklist's value."""
        return self._message(value_id(value), value.value)

    def change(self, change: str) -> str:
        """Return the sentence on a change of the protocol, with ``{places}`` for its values."""
        return self._message(f"change.{change}", change)

    def role(self, role: str) -> str:
        return self._message(f"role.{role}", role)

    def proper_name(self, name: str) -> str:
        """Translate a name of the protocol that ships with the ledger, or return it as it is."""
        message = _proper_names().get(name)
        return name if message is None else self._message(message, name)

    def agency(self, agency: Agency) -> str:
        """Return an agency's name as its country gave it in this language, or the catalogue's."""
        given = (agency.names or {}).get(self.language)
        return self.proper_name(agency.name) if given is None else given

    def country(self, code: str) -> str:
        """Return a country's name, from its ISO 3166-1 code."""
        return str(
            self._messages.get(f"country.{code}") or self._locale.territories.get(code) or code
        )

    def language_name(self, code: str) -> str:
        """Return a language's name, from its ISO 639-3 code."""
        known = pycountry.languages.get(alpha_3=code)
        short = getattr(known, "alpha_2", code)
        own = self._messages.get(f"language.{code}") or self._locale.languages.get(short)
        return str(own or getattr(known, "name", code))

    def day(self, day: date) -> str:
        return format_date(day, "long", locale=self._locale)

    def quarter(self, first: str) -> str:
        """Return the quarter of a year that begins on a day, such as "3rd quarter 2027"."""
        return format_date(date.fromisoformat(first), "QQQQ y", locale=self._locale)

    def moment(self, moment: datetime) -> str:
        """Return a day and the time of day, in UTC."""
        return f"{self.day(moment.date())} {moment:%H:%M}"

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
        as_it_is = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        known = shape(kind, field)
        try:
            if not isinstance(known, Plain):
                return self.picked(known(as_it_is))
            return self._plain(known, as_it_is, named)
        except (ValueError, OverflowError):
            return as_it_is

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

    def _message(self, message: str, otherwise: str) -> str:
        return self._messages.get(message) or self._english.get(message) or otherwise

    @cached_property
    def _english(self) -> Mapping[str, str]:
        return messages(SOURCE)


@cache
def wording(language: Language) -> Wording:
    """Return the wording of a language; its catalogue is read once."""
    return Wording(language)


@cache
def _proper_names() -> Mapping[str, str]:
    """Return the ids of the messages that are proper names, by the protocol's name."""
    return {
        text: message
        for message, text in messages(SOURCE).items()
        if message.startswith(("agency.", "protocol."))
    }
