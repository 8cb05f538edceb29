"""Writes a case as the row that an import would read.

The standard's name where it has one for a field, else ``kind.field``. What a row has no place for
(requests and answers, corrections, what other agencies did in return) is named, not lost silently.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ledger.importing.fields import (
    ADDRESS,
    CARRIED,
    CONSENT,
    ENDS,
    KINDS,
    STATEMENT,
    STATUS,
    FieldPlace,
)
from ledger.vocabulary.picklists import CorrectionEffect

_AT_MOST = 99
_NAMES = {at: name for name, at in CARRIED.items()} | {
    FieldPlace("case_opened", "address"): ADDRESS[0],
    FieldPlace("victim_identified", "statement"): STATEMENT[1],
}


@dataclass(frozen=True, slots=True)
class ActionInRow:
    """One recorded action, with the fields that the row's writer may read, as JSON values."""

    id: UUID
    kind: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CaseRow:
    """A case's row, by column, and how many actions of which kinds it does not tell."""

    values: Mapping[str, Any]
    not_told: Mapping[str, int]


def case_row(actions: Sequence[ActionInRow], status: str) -> CaseRow:
    """Return the row of a case from its actions in ledger order, without the annulled ones."""
    annulled = {
        UUID(one.fields["corrects"])
        for one in actions
        if one.kind == "correction" and one.fields["effect"] == CorrectionEffect.ANNULLED
    }
    values: dict[str, Any] = {}
    counted: Counter[str] = Counter()
    numbers: dict[UUID, int] = {}
    not_told: Counter[str] = Counter()
    for one in actions:
        if one.id in annulled:
            continue
        number = _number(one, numbers, counted)
        if one.kind not in KINDS or number is None:
            not_told[one.kind] += 1
            continue
        numbers[one.id] = number
        names_another = ENDS.get(one.kind, ("",))[0]
        for field, value in one.fields.items():
            if field != names_another and value not in (None, [], ()):
                at = FieldPlace(one.kind, field, number)
                values[_NAMES.get(at, str(at))] = value
        if one.kind == "consent_given" and number == 1:
            values[CONSENT[0]] = True
    values[STATUS] = status
    return CaseRow(values, dict(not_told))


def _number(one: ActionInRow, numbers: Mapping[UUID, int], counted: Counter[str]) -> int | None:
    """Return the number of an action among the actions of its kind.

    An action that ends another has the other's number. ``None`` is an action that a row has no
    place for.
    """
    if one.kind in ENDS:
        return numbers.get(UUID(one.fields[ENDS[one.kind][0]]))
    if one.kind == "case_opened" and counted[one.kind]:
        return None
    counted[one.kind] += 1
    return counted[one.kind] if counted[one.kind] <= _AT_MOST else None
