"""Tables of commands are in the language of the person at the terminal; JSON has machine names."""

import json
import sys
from datetime import timedelta

import pytest
from rich.console import Console, RenderableType

from api.cli.main import COMMANDS, commands_of
from api.cli.steps import table_words
from api.cli.steps.case_tables import case_list, case_panel
from api.cli.steps.english_texts import TEXTS
from api.cli.steps.obligation_tables import obligation_table
from api.paper.subject_access.wording import wording
from ledger.procedure.agreement import Agreement
from projections.folds.case_view import CaseView, case_view
from projections.folds.obligations import Obligation, obligations
from tests.support.played import POLICE, PROTOCOL, Played

LATER = timedelta(days=60)


@pytest.fixture
def case(monkeypatch: pytest.MonkeyPatch) -> Played:
    for variable in table_words.VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    case = Played()
    case.take(POLICE, "case_opened", age_group="child", countries=["XK", "ME"])
    return case


def view_of(case: Played) -> CaseView:
    assert case.state is not None
    acts = {one.id: one for one in case.acts}
    return case_view(case.state, "XK", Agreement.of(PROTOCOL), acts)


def owed_in(case: Played) -> list[Obligation]:
    return list(obligations(case.acts, Agreement.of(PROTOCOL)).by_id.values())


def printed(what: RenderableType) -> str:
    console = Console(width=220, force_terminal=False)
    with console.capture() as captured:
        console.print(what)
    return captured.get()


def tables(case: Played) -> str:
    now = case.now + LATER
    view, owed = view_of(case), owed_in(case)
    shown = (case_panel(view, now), case_list([view], now, {}), obligation_table(owed, now))
    return "\n".join(map(printed, shown))


@pytest.mark.parametrize(
    ("variable", "value", "code"),
    [
        ("CASE_LEDGER_LANGUAGE", "sq", "sq"),
        ("LC_ALL", "sq_AL.UTF-8", "sq"),
        ("LANG", "cnr_ME.UTF-8", "cnr"),
    ],
)
def test_tables_have_columns_kinds_stages_and_obligations_in_the_language(
    case: Played, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, code: str
) -> None:
    monkeypatch.setenv(variable, value)
    said, words = tables(case), wording(code)
    (guardian,) = [one for one in owed_in(case) if one.action == "guardian_appointed"]
    wanted = [words.text(f"cli.{name}") for name in ("case", "stage", "our_step", "owes", "due")]
    wanted += [words.owed("guardian_appointed"), words.picked(view_of(case).stage)]
    wanted += [words.picked(view_of(case).status), words.country("XK")]
    assert [one for one in wanted if one not in said] == []
    english = tables_in_english(case, monkeypatch)
    assert [one for one in wanted[:5] if one in english and one != words.text("cli.case")] == []
    assert guardian.model_dump(mode="json")["action"] == "guardian_appointed"


def tables_in_english(case: Played, monkeypatch: pytest.MonkeyPatch) -> str:
    for variable in table_words.VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    return tables(case)


@pytest.mark.parametrize("value", ["", "C", "C.UTF-8", "POSIX", "de_DE.UTF-8", "en_GB.UTF-8"])
def test_any_other_locale_has_english(
    case: Played, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("LANG", value)
    said = tables(case)
    assert "Our next step" in said
    assert "guardian appointed: XK" in said or "guardian appointed" in said
    assert json.loads(view_of(case).model_dump_json())["stage"] == "identification"


def test_a_client_without_libraries_for_catalogues_has_english(
    case: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The texts are those of the English catalogue."""
    own = {name.removeprefix("cli."): text for name, text in wording("en").named("text.").items()
           if name.startswith("cli.")}  # fmt: skip
    assert own == TEXTS
    monkeypatch.setenv("LANG", "sq_AL.UTF-8")
    for module in [*sys.modules]:
        if module.startswith(("babel", "pycountry", "api.paper")):
            monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "babel", None)
    assert "Our next step" in tables(case)


def test_every_command_still_loads_with_the_language_option() -> None:
    for place in COMMANDS.values():
        assert commands_of(place.modules)
