"""One row as the actions that it tells, with the dates that it gives and no others."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from ledger.importing.days import Days
from ledger.importing.fields import (
    ADDRESS,
    CARRIED,
    CONSENT,
    DECEASED,
    ENDS,
    KINDS,
    NOT_IMPORTED,
    SECOND_PHONE,
    STATEMENT,
    STATUS,
    FieldPlace,
    ValueFormat,
    place,
    shape,
)
from ledger.importing.garbled import has_lost_zero
from ledger.importing.import_map import ImportMap
from ledger.procedure.disclosed_dates import quarter_to_state
from ledger.vocabulary import CASE_ACTIONS, Action
from ledger.vocabulary.action import field_adapter
from ledger.vocabulary.picklists import (
    CLOSED,
    AgeGroup,
    CaseStatus,
    ClosureReason,
    TraffickingStatus,
)

_TRUE = frozenset({"true", "1", "yes"})
_FALSE = frozenset({"false", "0", "no"})
_OF_ANY_FINDING = ("acted_at", "decided_by")
"""The fields of a decision on a status, for every status."""
ADULT_AT = 18


@dataclass(frozen=True, slots=True)
class Fault:
    """The fault of a refused row: the column and the rule, but never the column's content."""

    rule: str
    column: str = ""
    action: str = ""
    field: str = ""


@dataclass(frozen=True, slots=True)
class MappedAction:
    """One action that a row tells."""

    id: UUID
    action: Action
    columns: Mapping[str, str]
    """The column of each field. Under the empty name: the column that tells the action."""

    def fault(self, rule: str, field: str | None) -> Fault:
        """Return a fault of this action, at the column that caused it.

        If no column has the field, the fault names the column that tells the action.
        """
        name = (field or "").removeprefix("act.").split(".")[0]
        kind = self.action.kind
        column = self.columns.get(name) or self.columns.get("", "")
        return Fault(rule, column, kind, name if name in type(self.action).model_fields else "")


@dataclass(frozen=True, slots=True)
class Mapped:
    """The actions that a row tells, in the order in which they took place, or the row's faults."""

    told: Sequence[MappedAction] = ()
    faults: Sequence[Fault] = ()
    status: CaseStatus | None = None
    """The status that the row says the case has."""
    status_column: str = ""
    not_imported: Sequence[str] = ()
    """Columns with a value that no action has."""


@dataclass
class _Draft:
    """The actions of a row while it is read."""

    values: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    columns: dict[tuple[str, int], dict[str, str]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    parts: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Column and text of what is put together in the end, by the standard's name."""
    dates: dict[FieldPlace, tuple[str, Any]] = field(default_factory=dict)
    """Of columns that date several actions: such a column alone tells none of them."""
    not_imported: list[str] = field(default_factory=list)

    def touch(self, kind: str, column: str, number: int = 1) -> None:
        """Note that the row tells an action of this kind, even if no column fills its fields."""
        self.values.setdefault((kind, number), {})
        self.columns.setdefault((kind, number), {}).setdefault("", column)

    def put(self, at: FieldPlace, column: str, value: Any) -> None:
        self.touch(at.kind, column, at.number)
        self.values[at.kind, at.number][at.field] = value
        self.columns[at.kind, at.number][at.field] = column

    def has(self, kind: str, name: str) -> bool:
        return name in self.values.get((kind, 1), {})


class Mapper:
    """Reads rows by one map, for an agency of one country.

    Raises ``ValueError`` for a default that its field cannot have.
    """

    def __init__(self, import_map: ImportMap, party: str) -> None:
        self._map = import_map
        self._party = party
        self._zone = ZoneInfo(import_map.time_zone)
        self._days = Days(import_map.date_format, import_map.last_year_of_this_century)
        self._split = re.compile(f"{re.escape(import_map.separator)}|\n")
        self._names: dict[str, tuple[str, ...]] = {}
        self._defaults = {
            at: self._default(at, name) for name in import_map.defaults if (at := place(name))
        }

    def read(self, row: Mapping[str, Any], action_id: Callable[[str, int], UUID]) -> Mapped:
        """Return the actions that a row tells by its columns that have a value.

        ``action_id`` makes the id of each action, of its kind and number.
        """
        draft = _Draft()
        draft.touch("case_opened", "")
        for column, value in row.items():
            names = self._names.get(column)
            if names is None:
                names = self._names.setdefault(column, self._map.names(column))
            for name in names:
                self._take(draft, name, column, value, is_shared=len(names) > 1)
        self._put_together(draft)
        status = self._close(draft)
        for at, (column, value) in draft.dates.items():
            if at.field not in draft.values.get((at.kind, at.number), {"acted_at"}):
                draft.put(at, column, value)
        self._judge_status(draft)
        self._fill_in(draft)
        told = self._build(draft, action_id)
        return Mapped(
            told=told if not draft.faults else (),
            faults=draft.faults,
            status=status,
            status_column=draft.parts[STATUS][0] if status else "",
            not_imported=draft.not_imported,
        )

    def _take(self, draft: _Draft, name: str, column: str, value: Any, *, is_shared: bool) -> None:
        value = self._meant(name, value)
        if value in ("", None, []):
            return
        at = CARRIED.get(name) or place(name)
        if at is not None:
            try:
                converted = self._converted(at, value)
                if is_shared and at.field == "acted_at":
                    draft.dates[at] = (column, converted)
                else:
                    draft.put(at, column, converted)
            except (ValueError, OverflowError):
                draft.touch(at.kind, column, at.number)
                draft.faults.append(Fault("value", column, at.kind, at.field))
        elif name in CONSENT or name == DECEASED:
            checked = _checked(value)
            if checked is None:
                draft.faults.append(Fault("value", column))
            elif checked and name == DECEASED:
                draft.parts[name] = (column, "")
            elif checked:
                draft.touch("consent_given", column)
        elif name in NOT_IMPORTED:
            draft.not_imported.append(column)
        elif isinstance(value, str | int | float):
            draft.parts[name] = (column, str(value))
        else:
            draft.faults.append(Fault("value", column))

    def _meant(self, name: str, value: Any) -> Any:
        """Return the standard's value for a value of the file, as the import map translates it."""
        meanings = self._map.values.get(name)
        if meanings is None:
            return value
        if isinstance(value, str) and value not in meanings:
            parts = [part.strip() for part in self._split.split(value)]
            if len(parts) > 1:
                value = parts
        if isinstance(value, list):
            meant = [meanings.get(str(part), part) for part in value]
            return [part for part in dict.fromkeys(meant) if part != ""]
        return meanings.get(str(value), value)

    def _converted(self, at: FieldPlace, value: Any) -> Any:
        model = CASE_ACTIONS[at.kind]
        expected = shape(model, at.field)
        if not expected.several:
            if isinstance(value, list) and len(value) == 1:
                value = value[0]
            return self._one(expected.form, value)
        if isinstance(value, str):
            value = [part.strip() for part in self._split.split(value) if part.strip()]
        if not isinstance(value, list | tuple):
            raise ValueError("several values are a list")
        return tuple(dict.fromkeys(self._one(expected.form, part) for part in value))

    def _one(self, form: ValueFormat, value: Any) -> Any:
        if form is ValueFormat.TEXT and isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str):
            return value
        match form:
            case ValueFormat.DATE:
                return self._day(value)
            case ValueFormat.MOMENT:
                return self._moment(value)
            case ValueFormat.PHONE:
                return re.sub(r"[\s()/.-]", "", value)
        return value

    def _day(self, text: str) -> date:
        return self._days.read(text)

    def _moment(self, text: str) -> datetime:
        try:
            return datetime.combine(self._day(text), time(), self._zone)
        except ValueError:
            moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=self._zone)

    def _default(self, at: FieldPlace, name: str) -> Any:
        try:
            value = self._converted(at, self._map.defaults[name])
            field_adapter(CASE_ACTIONS[at.kind], at.field).validate_python(value)
        except (ValueError, OverflowError):
            raise ValueError(f"the map's default of {name} is none that this field has") from None
        return value

    def _put_together(self, draft: _Draft) -> None:
        """Join the standard's fields that are parts of one text here."""
        address = [draft.parts[name] for name in ADDRESS if name in draft.parts]
        if address and not draft.has("case_opened", "address"):
            text = ", ".join(text for _, text in address)
            draft.put(FieldPlace("case_opened", "address"), address[0][0], text)
        phone = draft.parts.get(SECOND_PHONE)
        if phone is not None and not draft.has("case_opened", "phone"):
            at = FieldPlace("case_opened", "phone")
            draft.put(at, phone[0], self._converted(at, phone[1]))
        statement = [(name, *draft.parts[name]) for name in STATEMENT if name in draft.parts]
        if statement and not draft.has("victim_identified", "statement"):
            lines = (t if name in STATEMENT[:2] else f"{name}: {t}" for name, _, t in statement)
            draft.put(
                FieldPlace("victim_identified", "statement"), statement[0][1], "\n".join(lines)
            )

    def _close(self, draft: _Draft) -> CaseStatus | None:
        """Add the closing that a status or a death tells, and return the status."""
        status: CaseStatus | None = None
        reason = FieldPlace("case_closed", "reason")
        if STATUS in draft.parts:
            column, text = draft.parts[STATUS]
            try:
                status = CaseStatus(text)
            except ValueError:
                draft.faults.append(Fault("value", column))
            if status in CLOSED:
                draft.touch("case_closed", column)
            if status is CaseStatus.CLOSED_REFERRED and not draft.has(*reason[:2]):
                draft.put(reason, column, ClosureReason.REFERRED)
        if DECEASED in draft.parts and not draft.has(*reason[:2]):
            draft.put(reason, draft.parts[DECEASED][0], ClosureReason.DECEASED)
        return status

    def _judge_status(self, draft: _Draft) -> None:
        """Replace the identification of a person who is no victim by the action ``not_a_victim``.

        That action has fewer fields. A field that it lacks is a fault.
        """
        said = draft.values.get(("victim_identified", 1), {})
        if said.get("status") != TraffickingStatus.NOT_A_VICTIM:
            return
        columns = draft.columns.pop(("victim_identified", 1))
        del draft.values["victim_identified", 1]
        draft.touch("not_a_victim", columns["status"])
        for name, value in said.items():
            if name in _OF_ANY_FINDING:
                if not draft.has("not_a_victim", name):
                    draft.put(FieldPlace("not_a_victim", name), columns[name], value)
            elif name != "status":
                draft.faults.append(Fault("not-of-a-non-victim", columns[name], "not_a_victim"))

    def _fill_in(self, draft: _Draft) -> None:
        """Fill in the fields that all rows share, and the fields that follow from the row."""
        for at, value in self._defaults.items():
            for kind, number in draft.values:
                if kind == at.kind and at.field not in draft.values[kind, number]:
                    draft.values[kind, number][at.field] = value
                    draft.columns[kind, number][at.field] = f"(map) {at}"
        opened, columns = draft.values["case_opened", 1], draft.columns["case_opened", 1]
        opened.setdefault("countries", (self._party,))
        born, at_opening = opened.get("birthdate"), opened.get("acted_at")
        self._check_number(draft, opened, columns)
        if "age_group" not in opened and isinstance(born, date) and isinstance(at_opening, date):
            is_adult = _age(born, at_opening) >= ADULT_AT
            opened["age_group"] = AgeGroup.ADULT if is_adult else AgeGroup.CHILD
            columns["age_group"] = columns["birthdate"]
        elif isinstance(born, date):
            opened.setdefault("age_group", AgeGroup.PRESUMED_CHILD)  # the date alone is missing
        if isinstance(born, date) and isinstance(at_opening, date):
            on = at_opening.date() if isinstance(at_opening, datetime) else at_opening
            quarter = quarter_to_state(born, on)
            if quarter is not None and opened["age_group"] != AgeGroup.ADULT:
                opened.setdefault("of_age_from", quarter)
                columns.setdefault("of_age_from", columns["birthdate"])

    def _check_number(
        self, draft: _Draft, opened: Mapping[str, Any], columns: Mapping[str, str]
    ) -> None:
        number, born = opened.get("identity_number"), opened.get("birthdate")
        known = born if isinstance(born, date) else None
        if isinstance(number, str) and has_lost_zero(number, known):
            at = ("case_opened", "identity_number")
            draft.faults.append(Fault("lost-digits", columns["identity_number"], *at))

    def _build(self, draft: _Draft, action_id: Callable[[str, int], UUID]) -> list[MappedAction]:
        """Return the actions in the order in which they took place; the opening comes first."""
        made: list[tuple[bool, datetime, int, int, MappedAction]] = []
        for (kind, number), values in draft.values.items():
            columns = draft.columns[kind, number]
            if kind in ENDS:
                name, ended = ENDS[kind]
                if (ended, number) in draft.values:
                    values[name] = action_id(ended, number)
            try:
                action = CASE_ACTIONS[kind].model_validate(values)
            except ValidationError as error:
                draft.faults += self._invalid(draft, FieldPlace(kind, "", number), error)
                continue
            told = MappedAction(action_id(kind, number), action, columns)
            later = kind != "case_opened"
            made.append((later, action.acted_at, KINDS.index(kind), number, told))
        return [told for *_, told in sorted(made, key=lambda one: one[:4])]

    def _invalid(self, draft: _Draft, of: FieldPlace, error: ValidationError) -> list[Fault]:
        """Return the faults that an action's model finds in fields without an earlier fault."""
        columns = draft.columns[of.kind, of.number]
        known = {(fault.action, fault.field) for fault in draft.faults}
        faults = {}
        for one in error.errors(include_url=False, include_context=False, include_input=False):
            name = str(one["loc"][0]) if one["loc"] else ""
            if (of.kind, name) in known:
                continue
            missing = one["type"] == "missing"
            rule = "value" if not missing else "no-date" if name == "acted_at" else "missing"
            column = columns.get(name) or _usual_name(of._replace(field=name))
            faults[column, rule] = Fault(rule, column, of.kind, name)
        return list(faults.values())


def _usual_name(at: FieldPlace) -> str:
    """Return the usual name of a column that a row lacks."""
    return next((name for name, carried in CARRIED.items() if carried == at), str(at))


def _checked(value: Any) -> bool | None:
    text = str(value).lower()
    return True if text in _TRUE else False if text in _FALSE else None


def _age(born: date, at: date) -> int:
    return at.year - born.year - ((at.month, at.day) < (born.month, born.day))
