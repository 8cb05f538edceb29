"""The exercises are data that the rules of the shipped protocol allow, and their checks see."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from api.demo.practice.checks import (
    Finding,
    TaskState,
    WrongOrder,
    WrongRole,
    WrongValue,
    check,
    is_done,
)
from api.demo.practice.exercises import Exercise, ExercisesError, read_exercises
from ledger.procedure.practice_protocol import is_practice
from tests.support.practice import BOOK, PROTOCOL, SOLUTIONS, PlayedCase

DAYS = [datetime(2026, 11, 20, 9, tzinfo=UTC), datetime(2027, 6, 20, 9, tzinfo=UTC)]
"""Before and after the day from which several bodies decide together."""
LANGUAGES = ("sq", "cnr")


def findings(case: PlayedCase) -> dict[str, Finding]:
    return {one.task.id: one for one in check(case.exercise, case.acts, PROTOCOL)}


def begun(number: int, at: datetime = DAYS[1]) -> PlayedCase:
    return PlayedCase(BOOK.by_number[number], at)


def test_there_is_an_exercise_for_each_step_of_the_procedure() -> None:
    numbers = [exercise.number for exercise in BOOK.exercises]
    assert numbers == [form.number for form in PROTOCOL.forms or ()]
    assert BOOK.protocol == "kosovo-montenegro-albania"
    assert is_practice(PROTOCOL.id)
    BOOK.check_agencies(PROTOCOL)


def test_every_text_is_in_the_three_languages() -> None:
    for exercise in BOOK.exercises:
        texts = [exercise.situation, *(t for one in exercise.tasks for t in (one.do, one.hint))]
        for text in texts:
            in_all = [text.en, *(text.in_language(code) for code in LANGUAGES)]
            assert len(set(in_all)) == 3, text.en
        assert len({exercise.title(PROTOCOL, code) for code in ("en", *LANGUAGES)}) == 3


@pytest.mark.parametrize("at", DAYS, ids=lambda at: f"{at:%Y}")
@pytest.mark.parametrize("exercise", BOOK.exercises, ids=lambda one: str(one.number))
def test_an_exercise_is_done_by_its_solution_and_by_nothing_less(
    exercise: Exercise, at: datetime
) -> None:
    case = PlayedCase(exercise, at)
    for number, task in enumerate(exercise.tasks):
        states = [one.state for one in findings(case).values()]
        done = [TaskState.DONE] * number
        assert states == done + [TaskState.MISSING] * (len(exercise.tasks) - number)
        case.do(task)
    assert is_done(list(findings(case).values()))


def test_every_exercise_has_a_solution() -> None:
    tasks = {one.number: [task.id for task in one.tasks] for one in BOOK.exercises}
    assert {number: list(done) for number, done in SOLUTIONS.items()} == tasks


def test_a_wrong_value_is_named_and_a_right_one_afterwards_does_the_task() -> None:
    case = begun(5)
    assess = case.exercise.tasks[0]
    case.do(assess, {"risk_level": "immediate"})
    found = findings(case)["assess"]
    assert found.state is TaskState.WRONG
    assert found.faults == (WrongValue("risk_level", "immediate", "high"),)
    again = begun(5)
    again.do(assess)
    assert findings(again)["assess"].state is TaskState.DONE


def test_a_value_that_a_list_lacks_is_named() -> None:
    case = begun(3)
    case.do(case.exercise.tasks[0], {"topics": ["identity"]})
    found = findings(case)["ask"]
    assert found.faults == (WrongValue("topics", ["identity"], ["identity", "family"]),)


def test_a_field_that_was_left_out_is_named() -> None:
    case = begun(2)
    _, manager, send = case.exercise.tasks
    case.do(manager)
    case.do(send, {"answers": None})
    found = findings(case)["send"]
    assert found.faults == (WrongValue("answers", None, str(case.ids["form_1"])),)


def test_an_agency_of_another_role_is_named_and_of_the_same_role_is_right() -> None:
    case = begun(5)
    assess = case.exercise.tasks[0]
    case.do(assess, agency="xk-csw-peja")
    assert findings(case)["assess"].faults == (WrongRole("xk-csw-peja"),)
    other = begun(7)
    other.do(other.exercise.tasks[0], agency="xk-nac")
    assert findings(other)["request"].state is TaskState.DONE


def test_what_was_recorded_too_early_is_wrong_with_the_step_that_comes_first() -> None:
    case = begun(5)
    assess, protect, send = case.exercise.tasks
    case.do(assess)
    case.do(send, {"actions": ["@assess"]})
    found = findings(case)
    assert found["send"].faults == (WrongOrder(protect),)
    case.do(protect)
    assert findings(case)["send"].faults == (WrongOrder(protect),)
    case.do(send)
    assert findings(case)["send"].state is TaskState.DONE


def test_an_annulled_action_is_missing_again_and_named() -> None:
    case = begun(10)
    annul, visit, *_ = case.exercise.tasks
    case.do(annul)
    case.do(visit)
    case.ids["wrong_visit"] = case.ids["visit"]
    case.do(annul)
    found = findings(case)["visit"]
    assert found.state is TaskState.MISSING
    assert found.annulled is not None


def test_a_form_of_another_number_is_no_try() -> None:
    case = begun(3)
    ask, send = case.exercise.tasks
    case.do(ask)
    case.do(send, {"form_number": 1, "actions": ["@opened"]}, agency="xk-nac")
    assert findings(case)["send"].state is TaskState.MISSING


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ('kind = "case_opened"', "there is no such action: no_such_kind"),
        ('after = ["open"]', "`after` names earlier tasks"),
        ('fields = { age_group = "child", countries = ["XK"] }', "not first_name"),
        ("number = 1\n", "exercises.0.number"),
    ],
)
def test_a_file_that_cannot_be_used_says_where(changed: str, said: str, tmp_path: Path) -> None:
    import api.demo.practice

    text = (Path(api.demo.practice.__file__).parent / "exercises.toml").read_text("utf-8")
    assert changed in text
    instead = {
        'kind = "case_opened"': 'kind = "no_such_kind"',
        'after = ["open"]': 'after = ["send"]',
        'fields = { age_group = "child", countries = ["XK"] }': 'fields = { first_name = "Ana" }',
        "number = 1\n": "number = 0\n",
    }
    path = tmp_path / "exercises.toml"
    path.write_text(text.replace(changed, instead[changed], 1), "utf-8")
    with pytest.raises(ExercisesError, match=said.replace("`", ".")):
        read_exercises(path)
