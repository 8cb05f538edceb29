"""Makes the situation of an exercise: actions with invented values, dated before today."""

import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Self
from uuid import UUID

from api.demo.practice.exercises import Exercise, ExerciseBook, Step
from ledger.vocabulary import CASE_ACTIONS, Action
from ledger.vocabulary.types import format_utc

_DAYS = re.compile(r"([+-]\d{1,4})d")
_YEARS = re.compile(r"-(\d{1,3})y")


@dataclass(frozen=True, slots=True)
class InventedPerson:
    """The invented values of one situation."""

    first_name: str
    second_name: str
    birthday: int
    """Days between the birthday of this year and today."""

    @classmethod
    def drawn(cls, book: ExerciseBook, chance: random.Random) -> Self:
        """Draw a person. Persons differ, so that they are not found as one person twice."""
        return cls(
            chance.choice(book.first_names), chance.choice(book.second_names), chance.randrange(300)
        )


def situation(exercise: Exercise, book: ExerciseBook) -> Iterator[Step]:
    """Yield the steps of an exercise's situation, in the order in which they are recorded."""
    for name in exercise.setup:
        yield book.steps_by_name[name]


def action_of(step: Step, person: InventedPerson, ids: Mapping[str, UUID], now: datetime) -> Action:
    """Return the action of a step. ``ids`` has those of the earlier steps, by their names."""
    values = _filled(dict(step.fields), person, ids, now.date())
    acted_at = format_utc((now - timedelta(days=step.days_ago)).replace(microsecond=0))
    return CASE_ACTIONS[step.kind].model_validate({"acted_at": acted_at, **values})


def _filled(value: Any, person: InventedPerson, ids: Mapping[str, UUID], today: date) -> Any:
    if isinstance(value, dict):
        return {name: _filled(one, person, ids, today) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(one, person, ids, today) for one in value]
    if not isinstance(value, str):
        return value
    if value.startswith("@"):
        return str(ids[value[1:]])
    if days := _DAYS.fullmatch(value):
        return (today + timedelta(days=int(days[1]))).isoformat()
    if years := _YEARS.fullmatch(value):
        born = today - timedelta(days=person.birthday)
        return born.replace(year=born.year - int(years[1]), day=min(born.day, 28)).isoformat()
    return value.replace("{first_name}", person.first_name).replace(
        "{second_name}", person.second_name
    )
