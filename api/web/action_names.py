"""The names of a case's recorded actions: the kind, and the value that tells it from its like."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import NamedTuple
from uuid import UUID

from pydantic import JsonValue

from api.paper.subject_access.value_shapes import Plain, shapes
from api.paper.subject_access.wording import Wording
from ledger.vocabulary import ALL_ACTIONS
from ledger.vocabulary.levels import Level

_ITEMS = 2
"""Items of a list that a name has; it says how many more there are."""
_FORM_NUMBER = "form_number"


class Recorded(NamedTuple):
    """The part of a recorded action that its name is made of."""

    id: UUID
    kind: str
    fields: Mapping[str, JsonValue]


def action_names(actions: Iterable[Recorded], words: Wording) -> Mapping[UUID, str]:
    """Return the name of each action, such as "Service started: legal counselling".

    The value is that of the kind's main field, which every country reads. An action that is about
    an earlier one of ``actions``, as the end of a service is, has the earlier one's value first.
    ``actions`` are in the order of the case.
    """
    found: dict[UUID, str] = {}
    subjects: dict[str, str] = {}
    for one in actions:
        own = _value(one, words)
        subject = _subject(one, subjects)
        subjects[str(one.id)] = subject or own
        told = ", ".join(dict.fromkeys(part for part in (subject, own) if part))
        kind = words.kind(one.kind)
        found[one.id] = f"{kind}: {told}" if told else kind
    return found


def _subject(one: Recorded, subjects: Mapping[str, str]) -> str:
    """Return the value of the earlier action that an action is about; empty if there is none."""
    name = _reference(one.kind)
    return subjects.get(str(one.fields.get(name)), "") if name is not None else ""


def _value(one: Recorded, words: Wording) -> str:
    """Return the value of the main field of an action in words; empty if it has none."""
    name = next((n for n in main_fields(one.kind) if _tells(one, n)), None)
    if name is None:
        return ""
    items = words.value(one.kind, name, one.fields[name], {})
    more = f" +{len(items) - _ITEMS}" if len(items) > _ITEMS else ""
    return ", ".join(items[:_ITEMS]) + more


def _tells(one: Recorded, name: str) -> bool:
    """Return whether a main field has a value; a list of countries says who is told, not what."""
    value = one.fields.get(name)
    is_list = isinstance(value, list) and shapes(one.kind)[name] is Plain.COUNTRY
    return value is not None and not is_list


@cache
def main_fields(kind: str) -> tuple[str, ...]:
    """Return the fields by which an action of a kind is told from its like, the best one first.

    They are those that every country reads and whose value is of a picklist, a country, or the
    number of a form, in the order of the model. A field that says who acted comes last.
    """
    found = [name for name in _read_by_all(kind) if _is_telling(kind, name)]
    return tuple(sorted(found, key=lambda name: name.endswith("_by")))


def _is_telling(kind: str, name: str) -> bool:
    shape = shapes(kind)[name]
    return not isinstance(shape, Plain) or shape is Plain.COUNTRY or name == _FORM_NUMBER


@cache
def _reference(kind: str) -> str | None:
    """Return the field that names the action which one of a kind is about, if it has one.

    It is the first field of the model. A later field that names an action is a further detail.
    """
    first = next(iter(_read_by_all(kind)), None)
    return first if first is not None and shapes(kind)[first] is Plain.ACTION else None


def _read_by_all(kind: str) -> list[str]:
    """Return the fields of a kind that every country reads, but for the time of the act."""
    model = ALL_ACTIONS.get(kind)
    if model is None:
        return []
    names = (name for name in model.model_fields if name != "acted_at")
    return [name for name in names if model.level(name).level is Level.LEDGER]
