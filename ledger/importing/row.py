"""Writes a case as the row that an import would read.

The standard's name where it has one for a field, else ``kind.field``. What a row has no place for
(requests and answers, corrections, what other agencies did in return) is named, not lost silently.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
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
from ledger.procedure.dates import ADULT_AT_YEARS
from ledger.procedure.disclosed_dates import years_old
from ledger.procedure.statements import PERSON_FIELDS
from ledger.vocabulary.documents import DOCUMENT_FIELDS, DocumentAdded
from ledger.vocabulary.identification import CaseOpened
from ledger.vocabulary.person import AgeAssessed, IdentityRecorded
from ledger.vocabulary.picklists import AgeGroup, AgeMethod, CorrectionEffect

DOCUMENTS = "documents."
"""The columns that count documents begin so; the rest is the kind of document."""
_NOT_OPENED = "not_opened"
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
    counting = [one for one in actions if one.id not in annulled]
    for one in _with_what_counts(counting):
        if one.kind == DocumentAdded.kind:
            continue  # it is counted by its kind of document
        number = _number(one, numbers, counted)
        if one.kind not in KINDS or number is None:
            not_told[one.kind] += 1
            continue
        numbers[one.id] = number
        names_another = ENDS.get(one.kind, ("",))[0]
        for field, value in one.fields.items():
            if field in DOCUMENT_FIELDS:
                continue  # it is counted
            if field != names_another and value not in (None, [], ()):
                at = FieldPlace(one.kind, field, number)
                values[_NAMES.get(at, str(at))] = value
        if one.kind == "consent_given" and number == 1:
            values[CONSENT[0]] = True
    values[STATUS] = status
    values |= {DOCUMENTS + kind: number for kind, number in sorted(_documents(counting).items())}
    return CaseRow(values, dict(not_told))


def _documents(actions: Sequence[ActionInRow]) -> Counter[str]:
    """Count the documents of a case by their kind, without a second signature of a document.

    A document of a field group that was not opened is counted as ``not_opened`` if an action
    ``document_added`` has it. In the other kinds of action it is not seen at all.
    """
    counted: Counter[str] = Counter()
    for one in actions:
        found = [one.fields[name] for name in DOCUMENT_FIELDS if one.fields.get(name) is not None]
        if one.fields.get("signs") is not None:
            continue
        if found:
            counted[str(found[0]["document_kind"])] += 1
        elif one.kind == DocumentAdded.kind:
            counted[_NOT_OPENED] += 1
    return counted


def _with_what_counts(actions: Sequence[ActionInRow]) -> Sequence[ActionInRow]:
    """Return the actions, with the newest statement of each field on the person in the opening.

    What states the person's identity anew is told by that. An assessment of the age stays an action
    of its own, and the opening has the age group that was right then.
    """
    opening = next((one for one in actions if one.kind == CaseOpened.kind), None)
    if opening is None:
        return actions
    fields = dict(opening.fields)
    for one in actions:
        if one.kind == IdentityRecorded.kind:
            _state_anew(fields, one.fields)
        elif one.kind == AgeAssessed.kind and one.fields.get("method") != AgeMethod.CAME_OF_AGE:
            fields["age_group"] = one.fields["age_group"]
    _fit_age_group(fields)
    told = replace(opening, fields=fields)
    others = (one for one in actions if one.kind != IdentityRecorded.kind)
    return [told if one is opening else one for one in others]


def _state_anew(fields: dict[str, Any], stated: Mapping[str, Any]) -> None:
    """Put a later statement on the person into the fields of the opening."""
    for name in stated.get("retracted") or ():
        fields.pop(name, None)
    if stated.get("birthdate") is not None:
        fields.pop("of_age_from", None)  # of the earlier birth date
    for name in (*PERSON_FIELDS, "of_age_from"):
        if stated.get(name) is not None:
            fields[name] = stated[name]
    confirmed = [*(fields.get("confirmed") or ()), *(stated.get("confirmed") or ())]
    if confirmed:
        fields["confirmed"] = list(dict.fromkeys(confirmed))


def _fit_age_group(fields: dict[str, Any]) -> None:
    """Put the age group at the opening in by the birth date, where one is told."""
    born = fields.get("birthdate")
    if born is None:
        return
    age = years_old(date.fromisoformat(born), datetime.fromisoformat(fields["acted_at"]).date())
    if age < ADULT_AT_YEARS and fields["age_group"] == AgeGroup.ADULT:
        fields["age_group"] = AgeGroup.CHILD.value
    elif age >= ADULT_AT_YEARS and fields["age_group"] == AgeGroup.CHILD:
        fields["age_group"] = AgeGroup.ADULT.value
    if fields["age_group"] == AgeGroup.ADULT:
        fields.pop("of_age_from", None)


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
