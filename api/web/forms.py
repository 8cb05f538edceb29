"""A form made of an action's model: its fields by level, each with the control that fits it."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Any

from api.paper.languages.found import offered
from api.paper.subject_access.value_shapes import Plain, shape
from api.paper.subject_access.wording import Wording, wording
from api.web.date_entry import EARLIEST, LATEST
from ledger.procedure.available_actions import Offer
from ledger.procedure.case_fold import joining_field
from ledger.procedure.dates import ADULT_AT_YEARS, OLDEST_YEARS, quarter_end, quarter_of
from ledger.procedure.operational_indicators import IndicatorDimension
from ledger.procedure.protocol import NODE, OVERSIGHT, Agency, Protocol
from ledger.system import clock
from ledger.vocabulary import CASE_ACTIONS
from ledger.vocabulary.action import Action, field_adapter, values_of
from ledger.vocabulary.documents import DOCUMENT_FIELDS
from ledger.vocabulary.indicators import OperationalIndicator
from ledger.vocabulary.iso_codes import COUNTRIES
from ledger.vocabulary.levels import FieldGroup, Level
from ledger.vocabulary.upcasting import upcasters

NOT_BY_FORM = frozenset({"information_released", "document_added"})
"""Kinds whose forms are not made of their models: a release is made on the page that shows the
fields, and documents are uploaded."""
_SHORT = 200
_QUARTER = "of_age_from"
"""The field that names a quarter of a year by its first day."""
_CASES = frozenset({"linked_case", "continues_in", "ended_case", "continued_in"})
"""The fields that name another case."""
_ID_LENGTH = 36
_LISTED = 12
_CHECKED = 70
"""A choice of several of so many values has a box for each: those of all countries' agencies."""
_WHOLE_AT_ONCE = 30
"""A form with more controls is shown in steps; each box of a choice of several is a control."""
_IN_A_STEP = 20
"""So many controls a step of a long form has, unless one field alone has more."""
_TODAY = "today"
"""The bound of a date that the page sets to the present day."""
_NOT_LATER = frozenset({"acted_at", "birthdate", "born_on", "died_on", "last_seen", "opened_at"})
"""The dates and moments of what has happened."""
_TELEPHONES = frozenset({"phone", "telephone_24h", "deputy_telephone"})
_NAMED_BY_OTHERS = frozenset({"addressee", "to_agency", "referred_to", "responsible"})
"""The fields of agencies that are not those of the form's agency itself."""
_OWN_COUNTRIES = frozenset({"countries"})
"""The fields that begin with the country of the form's agency."""
Options = tuple[tuple[str, str], ...]
"""Values with their labels."""
Grouped = tuple[tuple[str, Options], ...]
"""Headings with the options under each."""


class Control(StrEnum):
    """The control of a form for a value."""

    TEXT = "text"
    LONG = "long"
    NUMBER = "number"
    DATE = "date"
    MOMENT = "moment"
    ONE = "one"
    SEVERAL = "several"
    TELEPHONE = "telephone"


class Sent(StrEnum):
    """The type of a value in the signed JSON."""

    STRING = "string"
    NUMBER = "number"
    FLAG = "flag"
    MOMENT = "moment"
    LIST = "list"
    DIGITS = "digits"
    """A text that is sent without its spaces."""


@dataclass(frozen=True, slots=True)
class FormField:
    """One field of an action."""

    name: str
    label: str
    level: Level
    group: FieldGroup | None
    control: Control
    sent: Sent
    required: bool
    options: Options = ()
    grouped: Grouped = ()
    """The options under headings, if there are any."""
    first: str = ""
    """The earliest date that can be put in, in ISO 8601."""
    last: str = ""
    """The latest one, or ``today``."""
    minimum: float | None = None
    maximum: float | None = None
    max_length: int | None = None
    pattern: str | None = None
    joining: Mapping[str, str] = field(default_factory=dict)
    """Of values that bring a new country into the case: the value, and the country's name."""
    withheld: tuple[str, ...] = ()
    """The names of the values of its picklist that the rules refuse now."""

    @property
    def weight(self) -> int:
        """Return the number of its controls."""
        is_boxes = self.control is Control.SEVERAL and not is_long(self)
        return len(self.options) if is_boxes else 1

    @property
    def choices(self) -> Grouped:
        """Return the options under their headings; under none, if they have none."""
        return self.grouped or (("", self.options),)


@dataclass(frozen=True, slots=True)
class FormSection:
    """A part of a form: a level, or a step of a long form."""

    level: Level
    group: FieldGroup | None
    """The field group of all its fields, if the part is a step of a personal level."""
    title: str
    """The name of a step by its first field; empty if the level or the group names it."""
    fields: tuple[FormField, ...]


@dataclass(frozen=True, slots=True)
class ActionForm:
    """The fields of a kind of action, those of each level together."""

    kind: str
    version: int
    """Of the kind's schema, which the signed action names where it is not the first."""
    digests: int
    """How many digests an action of the kind carries, whatever is filled in."""
    levels: tuple[tuple[Level, tuple[FormField, ...]], ...]

    @property
    def is_in_steps(self) -> bool:
        """Return whether the form is too long to be shown at once."""
        return sum(one.weight for _, own in self.levels for one in own) > _WHOLE_AT_ONCE

    @property
    def sections(self) -> tuple[FormSection, ...]:
        """Return the parts of the form in their order: its steps, or its levels."""
        if self.is_in_steps:
            return tuple(step for level, own in self.levels for step in _steps(level, own))
        return self.levels_as_sections

    @property
    def levels_as_sections(self) -> tuple[FormSection, ...]:
        """Return the levels as parts of the form."""
        return tuple(FormSection(level, None, "", own) for level, own in self.levels)


def _steps(level: Level, fields: Sequence[FormField]) -> Iterator[FormSection]:
    """Yield the steps of a level: of each field group, as many fields as a step holds."""
    for group in dict.fromkeys(one.group for one in fields):
        own = [one for one in fields if one.group is group]
        cut: list[list[FormField]] = [[]]
        for one in own:
            if cut[-1] and sum(f.weight for f in cut[-1]) + one.weight > _IN_A_STEP:
                cut.append([])
            cut[-1].append(one)
        for place, part in enumerate(cut):
            yield FormSection(level, group, part[0].label if place else "", tuple(part))


def usual_values(made: ActionForm, agency: Agency) -> dict[str, tuple[str, ...]]:
    """Return the values to begin with: the agency and its country, where they can be named."""
    found: dict[str, tuple[str, ...]] = {}
    for one in (one for _, own in made.levels for one in own):
        values = {value for value, _ in one.options}
        is_agency = shape(made.kind, one.name) is Plain.AGENCY and one.name not in _NAMED_BY_OTHERS
        if is_agency and agency.id in values:
            found[one.name] = (agency.id,)
        elif one.name in _OWN_COUNTRIES and agency.party in values:
            found[one.name] = (agency.party,)
    return found


def form(
    kind: str,
    offer: Offer,
    named: Mapping[str, str],
    protocol: Protocol,
    words: Wording,
    parties: Collection[str] | None = None,
    own: str | None = None,
) -> ActionForm:
    """Return the form of an action on offer.

    ``named`` has agencies and actions by their ids; ``parties`` are the countries of the case, if
    there is one; ``own`` is the country of the form's agency, whose choices come first.
    """
    model = CASE_ACTIONS[kind]
    fields = [
        _field(model, name, offer, named, protocol, words, own)
        for name in model.model_fields
        if name not in DOCUMENT_FIELDS  # a document is uploaded, and has no control of its own
    ]
    if parties is not None:
        fields = [
            replace(one, joining=_joining(one, protocol, words, parties))
            if one.name == joining_field(kind)
            else one
            for one in fields
        ]
    by_level = [(level, _by_group(f for f in fields if f.level is level)) for level in Level]
    return ActionForm(
        kind=kind,
        version=upcasters().version(kind),
        digests=len(model.disclosable_fields()),
        levels=tuple((level, own) for level, own in by_level if own),
    )


def _by_group(fields: Iterable[FormField]) -> tuple[FormField, ...]:
    """Return fields with those of one group together, each group where its first field was."""
    listed = list(fields)
    groups = list(dict.fromkeys(one.group for one in listed))
    return tuple(sorted(listed, key=lambda one: groups.index(one.group)))


def _joining(
    chosen: FormField, protocol: Protocol, words: Wording, parties: Collection[str]
) -> dict[str, str]:
    """Return the options of a field that bring in a country that is not among ``parties``."""
    agencies = protocol.agencies_by_id
    countries = {
        value: agencies[value].party if value in agencies else value for value, _ in chosen.options
    }
    return {
        value: words.country(country)
        for value, country in countries.items()
        if country not in parties
    }


def _field(
    model: type[Action],
    name: str,
    offer: Offer,
    named: Mapping[str, str],
    protocol: Protocol,
    words: Wording,
    own: str | None,
) -> FormField:
    declared = model.level(name)
    schema = _schema(model, name)
    several = schema.get("type") == "array"
    item = _resolved(schema.get("items", {}), schema) if several else schema
    options = _options(model.kind, name, item, offer, named, protocol, words)
    control = _control(model.kind, name, item, several=several)
    if name in _CASES and not options:
        control = Control.TEXT
    if name == _QUARTER:
        control, options = Control.ONE, _quarters(words)
    sent = _sent(model.kind, name, item, several=several)
    if (found := _fixed(shape(model.kind, name), offer.choices.get(name), words)) is not None:
        control, options = Control.ONE, found
        sent = Sent.STRING if sent is Sent.MOMENT else sent
    pattern = _pattern(item)
    if name in _TELEPHONES:
        control = Control.TELEPHONE
        sent = Sent.STRING if pattern is not None and " " in pattern else Sent.DIGITS
        pattern = None  # the page has the node read the number
    first, last = _bounds(name, words) if control in (Control.DATE, Control.MOMENT) else ("", "")
    return FormField(
        name=name,
        label=words.field(name),
        level=declared.level,
        group=declared.group,
        control=control,
        sent=sent,
        required=model.model_fields[name].is_required(),
        options=options,
        grouped=_grouped(model.kind, name, options, protocol, words, own),
        first=first,
        last=last,
        minimum=item.get("minimum"),
        maximum=item.get("maximum"),
        max_length=_ID_LENGTH if name in _CASES else item.get("maxLength"),
        pattern=pattern,
        withheld=_withheld(model.kind, name, offer, words),
    )


def _bounds(name: str, words: Wording) -> tuple[str, str]:
    """Return the first and the last day that a field of a date or a moment takes."""
    if name not in _NOT_LATER:
        return EARLIEST.isoformat(), LATEST.isoformat()
    year = words.local_day(clock.now()).year - OLDEST_YEARS
    return date(year, 1, 1).isoformat(), _TODAY


def _grouped(
    kind: str,
    name: str,
    options: Options,
    protocol: Protocol,
    words: Wording,
    own: str | None,
) -> Grouped:
    """Return options under headings: agencies by country, indicators by dimension.

    The country ``own`` comes first.
    """
    match shape(kind, name):
        case Plain.AGENCY:
            party_of = {one.id: one.party for one in protocol.agencies}
            order = dict.fromkeys((*filter(None, (own,)), *(p.code for p in protocol.parties)))
            groups = [
                (words.country(code), tuple(o for o in options if party_of.get(o[0]) == code))
                for code in order
            ]
        case picklist if picklist is OperationalIndicator:
            dimension = {one.indicator.value: one.dimension for one in protocol.indicators}
            groups = [
                (words.picked(of), tuple(o for o in options if dimension.get(o[0]) is of))
                for of in IndicatorDimension
            ]
        case _:
            return ()
    found = tuple((heading, listed) for heading, listed in groups if listed)
    return found if sum(len(listed) for _, listed in found) == len(options) else ()


def _withheld(kind: str, name: str, offer: Offer, words: Wording) -> tuple[str, ...]:
    """Return the names of the values of a picklist that the rules refuse now."""
    offered, values = offer.choices.get(name), shape(kind, name)
    if offered is None or isinstance(values, Plain):
        return ()
    possible = values_of(CASE_ACTIONS[kind], name)
    return tuple(
        words.picked(one) for one in values if one.value in possible and one.value not in offered
    )


@cache
def _whole_schema(model: type[Action], name: str) -> dict[str, Any]:
    return field_adapter(model, name).json_schema()


def _schema(model: type[Action], name: str) -> dict[str, Any]:
    """Return the JSON Schema of a field's value, without the ``null`` of an optional one."""
    whole = _whole_schema(model, name)
    definitions = {"$defs": whole.get("$defs", {})}
    found = whole
    if "anyOf" in whole:
        told = [one for one in whole["anyOf"] if one.get("type") != "null"]
        numbers = [one for one in told if one.get("type") in ("number", "integer")]
        found = (numbers or told)[0]
    return {**_resolved(found, definitions), **definitions}


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    if reference is None:
        return dict(schema)
    found: dict[str, Any] = root["$defs"][reference.rsplit("/", 1)[-1]]
    return found


def _pattern(item: Mapping[str, Any]) -> str | None:
    """Return a pattern as HTML has it: without anchors, since HTML matches it whole."""
    pattern = item.get("pattern")
    return str(pattern).removeprefix("^").removesuffix("$") if pattern is not None else None


def _control(kind: str, name: str, item: Mapping[str, Any], *, several: bool) -> Control:
    if several:
        return Control.SEVERAL
    match shape(kind, name):
        case Plain.NUMBER:
            return Control.NUMBER
        case Plain.DATE:
            return Control.DATE
        case Plain.MOMENT:
            return Control.MOMENT
        case Plain.TEXT:
            return Control.LONG if item.get("maxLength", 0) > _SHORT else Control.TEXT
    return Control.ONE


def _sent(kind: str, name: str, item: Mapping[str, Any], *, several: bool) -> Sent:
    if several:
        return Sent.LIST
    match shape(kind, name):
        case Plain.FLAG:
            return Sent.FLAG
        case Plain.MOMENT:
            return Sent.MOMENT
        case Plain.NUMBER if item.get("type") == "integer":
            return Sent.NUMBER
    return Sent.STRING


def _options(
    kind: str,
    name: str,
    item: Mapping[str, Any],
    offer: Offer,
    named: Mapping[str, str],
    protocol: Protocol,
    words: Wording,
) -> Options:
    offered = offer.choices.get(name)
    match shape(kind, name):
        case Plain.FLAG:
            return tuple(
                (code, words.value(kind, name, code == "true", {})[0]) for code in ("true", "false")
            )
        case Plain.AGENCY:
            rule = protocol.actions.get(kind)
            roles = rule.named_roles.get(name) if rule is not None else None
            people = [
                a.id
                for a in protocol.working_agencies
                if (a.role in roles if roles else a.role not in (NODE, OVERSIGHT))
            ]
            return tuple((a, named[a]) for a in offered or people)
        case Plain.ACTION:
            actions = [a for a in named if a not in protocol.agencies_by_id]
            known = actions if offered is None and name not in _CASES else offered or ()
            return tuple((a, named[a]) for a in known if a in named)
        case Plain.COUNTRY:
            countries = _countries(kind, name, protocol, words)
            return tuple(one for one in countries if offered is None or one[0] in offered)
        case Plain.LANGUAGE:
            return language_options(words)
        case Plain():
            return ()
        case picklist:
            listed = item.get("enum") or [item.get("const")]
            codes = listed if offered is None else offered
            return tuple((v.value, words.picked(v)) for v in picklist if v.value in codes)


def _fixed(
    of: type[StrEnum] | Plain, offered: Sequence[str] | None, words: Wording
) -> Options | None:
    """Return the values of a moment or a number, if the rules accept only these."""
    if offered is None:
        return None
    match of:
        case Plain.MOMENT:
            return tuple((one, words.moment(datetime.fromisoformat(one))) for one in offered)
        case Plain.NUMBER:
            return tuple((one, one) for one in offered)
    return None


def _countries(kind: str, name: str, protocol: Protocol, words: Wording) -> Options:
    """Return the parties for a field of the rules, and every country for a field of the person."""
    if CASE_ACTIONS[kind].level(name).level is Level.LEDGER:
        staying = [p.code for p in protocol.parties if p.code in protocol.party_codes]
        return tuple((code, words.country(code)) for code in staying)
    parties = [p.code for p in protocol.parties]
    others = [(code, words.country(code)) for code in (*COUNTRIES, "XK") if code not in parties]
    return (*((code, words.country(code)) for code in parties), *_sorted(others))


def language_options(words: Wording) -> Options:
    """Return the languages of the pages, then the others by their names.

    The others have a two-letter code, or a name in a catalogue.
    """
    own = {wording(one.code).spoken_code() for one in offered(words.protocol)}
    listed = _sorted([(code, words.language_name(code)) for code in words.spoken_languages()])
    return tuple(sorted(listed, key=lambda option: option[0] not in own))


def _quarters(words: Wording) -> Options:
    """Return the quarters of the next 18 years, in which a child can come of age."""
    first = quarter_of(words.local_day(clock.now()))
    quarters = [first]
    while len(quarters) <= ADULT_AT_YEARS * 4:
        quarters.append(quarter_of(quarter_end(quarters[-1]) + timedelta(days=1)))
    return tuple((one.isoformat(), words.quarter(one.isoformat())) for one in quarters)


def _sorted(options: Sequence[tuple[str, str]]) -> Options:
    return tuple(sorted(set(options), key=lambda one: one[1].casefold()))


def is_long(field: FormField) -> bool:
    """Return whether a choice of several has too many values to list them."""
    return len(field.options) > _CHECKED
