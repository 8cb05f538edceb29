"""The statement that counts of each field on the person: the newest that is not annulled."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ledger.events.act import Act
from ledger.procedure.case_fold import annuls
from ledger.vocabulary.identification import CaseOpened
from ledger.vocabulary.person import AgeAssessed, IdentityRecorded
from ledger.vocabulary.picklists import PersonField

STATING = frozenset({CaseOpened.kind, IdentityRecorded.kind})
"""The kinds of actions that state who the person is."""
PERSON_FIELDS = frozenset(field.value for field in PersonField)
_AGE_FIELDS = frozenset({"birth_year", "age_from", "age_to"})
_RETRACTED = "retracted"


@dataclass(frozen=True, slots=True)
class Statement:
    """One field that an action stated, as a vault holds it."""

    action: UUID
    field: str
    value: Any = None


def superseded(
    history: Mapping[UUID, Act], statements: Iterable[Statement]
) -> Mapping[tuple[UUID, str], UUID]:
    """Return the statements that do not count, each with the action by which it counts no more.

    ``history`` has the case's actions by id, in order; ``statements`` are those that one country
    holds. A statement is named by its action and its field. It counts no more by the action that
    states the field anew or retracts it, or by the correction that annuls it. A field of any other
    kind of action counts unless it is annulled.
    """
    annulled = {UUID(act.fields["corrects"]): act.id for act in history.values() if annuls(act)}
    place = {action: number for number, action in enumerate(history)}
    ended: dict[tuple[UUID, str], UUID] = {}
    by_field: dict[str, list[UUID]] = {}
    stating: dict[str, list[UUID]] = {}
    for one in statements:
        act = history.get(one.action)
        if act is None:
            continue
        if act.id in annulled:
            ended[act.id, one.field] = annulled[act.id]
        elif act.kind in STATING and one.field in PERSON_FIELDS:
            by_field.setdefault(one.field, []).append(act.id)
            stating.setdefault(one.field, []).append(act.id)
        elif act.kind == IdentityRecorded.kind and one.field == _RETRACTED:
            for field in one.value or ():
                by_field.setdefault(field, []).append(act.id)
        elif act.kind == AgeAssessed.kind and one.field in _AGE_FIELDS:
            stating.setdefault(one.field, []).append(act.id)
    assessed = [
        a.id for a in history.values() if a.kind == AgeAssessed.kind if a.id not in annulled
    ]
    for field, actions in stating.items():
        ending = assessed if field in _AGE_FIELDS else by_field[field]
        newest = max(ending, key=place.__getitem__)
        ended |= {(action, field): newest for action in actions if action != newest}
    return ended
