"""The exercises as data: situations, tasks and hints, read from a file."""

import tomllib
from collections.abc import Mapping
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ledger.procedure.protocol import Protocol
from ledger.refusals import OperatorError
from ledger.vocabulary import CASE_ACTIONS

_FILE = "exercises.toml"
_SOURCE_LANGUAGE = "en"
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,40}$")]
Fields = Mapping[str, Any]


class ExercisesError(OperatorError):
    """A file of exercises cannot be used; the message says where it is wrong."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Text(BaseModel):
    """A text in several languages, English among them."""

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, str] = Field(init=False)
    en: str

    def in_language(self, code: str) -> str:
        """Return the text in a language, in English where the language lacks it."""
        return self.en if code == _SOURCE_LANGUAGE else self.__pydantic_extra__.get(code, self.en)


class Step(_Part):
    """An action of a situation, which is recorded before the exercise begins."""

    name: Name
    agency: str
    kind: str
    days_ago: Annotated[float, Field(gt=0, le=1000)]
    fields: Fields = Field(default_factory=dict)


class Task(_Part):
    """An action that the person has to record, and the conditions that make it right."""

    id: Name
    agency: str
    """The agency that is proposed. Others of its country and role do as well."""
    by: tuple[str, ...] = ()
    """The roles that may do it. Without any, the role of ``agency``."""
    kind: str
    form: int | None = None
    """The number of the form, for a form that is sent: others are no try at this task."""
    fields: Fields = Field(default_factory=dict)
    """The right values of ``ledger`` fields. Of a list, each value must be among the recorded."""
    after: tuple[Name, ...] = ()
    """Earlier tasks of the exercise that come first."""
    do: Text
    hint: Text


class Exercise(_Part):
    """One exercise, after one step of the procedure."""

    number: Annotated[int, Field(ge=1, le=99)]
    """That of the step and of its communication form, which gives the exercise its title."""
    setup: tuple[Name, ...]
    """The steps of the situation. Without any, the first task opens the case."""
    situation: Text
    tasks: Annotated[tuple[Task, ...], Field(min_length=1)]

    def title(self, protocol: Protocol, language: str) -> str:
        """Return the title of the step's form, in a language that the protocol has it in."""
        form = protocol.forms_by_number.get(self.number)
        return form.title_in(language) if form is not None else ""


class ExerciseBook(_Part):
    """All exercises for a protocol, and the actions that their situations are made of."""

    protocol: str
    first_names: Annotated[tuple[str, ...], Field(min_length=1)]
    second_names: Annotated[tuple[str, ...], Field(min_length=1)]
    steps: tuple[Step, ...]
    exercises: tuple[Exercise, ...]

    @cached_property
    def steps_by_name(self) -> Mapping[str, Step]:
        return {step.name: step for step in self.steps}

    @cached_property
    def by_number(self) -> Mapping[int, Exercise]:
        return {exercise.number: exercise for exercise in self.exercises}

    @model_validator(mode="after")
    def _names_what_is_there(self) -> Self:
        kinds = {one.kind for one in self.steps}
        kinds |= {task.kind for exercise in self.exercises for task in exercise.tasks}
        if unknown := kinds - set(CASE_ACTIONS):
            raise ValueError(f"there is no such action: {', '.join(sorted(unknown))}")
        for exercise in self.exercises:
            known: set[str] = set()
            for task in exercise.tasks:
                if task.id in known or set(task.after) - known:
                    raise ValueError(f"exercise {exercise.number}: `after` names earlier tasks")
                known.add(task.id)
                hidden = set(task.fields) - set(CASE_ACTIONS[task.kind].ledger_fields())
                if hidden:
                    raise ValueError(
                        f"exercise {exercise.number}, {task.id}: a check sees fields of every party"
                        f" alone, and not {', '.join(sorted(hidden))}"
                    )
            if missing := set(exercise.setup) - set(self.steps_by_name):
                raise ValueError(f"exercise {exercise.number}: no step {', '.join(missing)}")
        return self

    def check_agencies(self, protocol: Protocol) -> None:
        """Check that a protocol has the agencies of the exercises. Raises ``ExercisesError``."""
        named = {step.agency for step in self.steps}
        named |= {task.agency for exercise in self.exercises for task in exercise.tasks}
        if missing := named - set(protocol.agencies_by_id):
            raise ExercisesError(
                f"the exercises name agencies that {protocol.id} lacks:"
                f" {', '.join(sorted(missing))}"
            )


def shipped_exercises() -> ExerciseBook:
    """Return the exercises that ship with the program."""
    return _read((resources.files("api.demo.practice") / _FILE).read_text("utf-8"), _FILE)


def read_exercises(path: Path) -> ExerciseBook:
    """Return the exercises of a file. Raises ``ExercisesError``."""
    try:
        return _read(path.read_text("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ExercisesError(f"{path} cannot be read: {error}") from error


def _read(text: str, name: str) -> ExerciseBook:
    try:
        return ExerciseBook.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ExercisesError(f"{name} is no TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise ExercisesError(f"{name}: {place}: {first['msg']}") from error
