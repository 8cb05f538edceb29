"""Every command is found where it is said to be, and loads no more than it needs."""

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

import api.cli
from api.cli import app
from api.cli.connection import DEFAULT_URL, AsAgencyOrJson, Url, asks
from api.cli.main import COMMANDS, commands_of
from projections.tables.all_views import VIEWS

OWN = ("api", "projections", "ledger")
COMMAND_FILES = sorted(Path(api.cli.__file__).parent.glob("*.py"))
MODULES = sorted(
    path.stem for path in COMMAND_FILES if ".command(" in path.read_text() and path.stem != "main"
)


def test_every_command_is_listed_with_its_module() -> None:
    found: dict[str, set[str]] = {}
    for module in MODULES:
        for name in commands_of((module,)):
            found.setdefault(name, set()).add(module)
    assert found == {name: set(place.modules) for name, place in COMMANDS.items()}
    words = (
        "from api.cli.main import COMMANDS, commands_of as of\n"
        "print(*of(COMMANDS['node'].modules)['node'].commands)"
    )
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert {"take-over", "accept-history", "missing", "parcels"} <= set(done.stdout.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_explains_itself(name: str) -> None:
    said = CliRunner().invoke(app, [name, "--help"])
    assert said.exit_code == 0, said.output
    assert name in said.output


@pytest.mark.parametrize("name", COMMANDS)
def test_a_summary_is_what_the_command_says_of_itself(name: str) -> None:
    own = commands_of(COMMANDS[name].modules)[name].help
    assert COMMANDS[name].summary == " ".join(own.split("\n\n")[0].split())


@pytest.mark.parametrize(
    ("environment", "address"),
    [
        ({}, "http://127.0.0.1:8420"),
        ({"CASE_LEDGER_PORT": "9"}, "http://127.0.0.1:9"),
        ({"CASE_LEDGER_PORT": "", "CASE_LEDGER_HOST": "0.0.0.0"}, DEFAULT_URL),
        ({"CASE_LEDGER_PORT": "9", "CASE_LEDGER_HOST": "fd00::1"}, "http://[fd00::1]:9"),
        ({"CASE_LEDGER_PORT": "9", "CASE_LEDGER_URL": "http://127.0.0.1:8"}, "http://127.0.0.1:8"),
    ],
)
def test_a_command_asks_where_the_settings_let_the_node_listen(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], address: str
) -> None:
    for name in ("CASE_LEDGER_URL", "CASE_LEDGER_HOST", "CASE_LEDGER_PORT"):
        monkeypatch.delenv(name, raising=False)
    asked: list[str] = []
    app = typer.Typer()

    @app.command()
    def ask(url: Url = DEFAULT_URL) -> None:
        asked.append(url)

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert CliRunner().invoke(app, []).exit_code == 0
    named = "http://127.0.0.1:7"
    assert CliRunner().invoke(app, ["--url", named]).exit_code == 0
    assert asked == [address, named]


def test_the_version_is_the_distributions() -> None:
    said = CliRunner().invoke(app, ["--version"])
    assert (said.exit_code, said.output) == (0, f"case-ledger {version('case-ledger')}\n")


def loaded(*words: str, **environment: str) -> set[str]:
    """Return the modules that the program loads when it is run with ``words``."""
    program = (
        "import sys\n"
        "from api.cli import app\n"
        "try:\n"
        "    app(sys.argv[1:], prog_name='case-ledger')\n"
        "finally:\n"
        "    print(*sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


def test_help_and_completion_load_nothing_of_a_node() -> None:
    completion = {
        "_CASE_LEDGER_COMPLETE": "complete_bash",
        "COMP_WORDS": "case-ledger re",
        "COMP_CWORD": "1",
    }
    for modules in (loaded("--help"), loaded("--version"), loaded(**completion)):
        ours = {name for name in modules if name.split(".")[0] in OWN}
        assert ours - {"ledger.system.version"} == {
            "api",
            "api.cli",
            "api.cli.main",
            "ledger",
            "ledger.system",
            "ledger.system.extras",
            "ledger.system.gc_tuning",
        }
        assert not modules & {"psycopg", "fastapi", "pydantic", "eventsourcing", "cryptography"}


EXPLAIN = """
import contextlib, io, sys
from api.cli.main import COMMANDS, commands_of

def explain(command, name):
    command.get_help(command.make_context(name, [], resilient_parsing=True))
    return 1 + sum(explain(own, name) for name, own in getattr(command, "commands", {}).items())

with contextlib.redirect_stdout(io.StringIO()):
    places = {place.modules for place in COMMANDS.values()}
    explained = sum(explain(own, name) for of in places for name, own in commands_of(of).items())
print(explained, *sys.modules)
"""


def test_the_help_of_every_command_loads_nothing_of_a_node() -> None:
    done = subprocess.run([sys.executable, "-c", EXPLAIN], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    explained, *names = done.stdout.split()
    assert int(explained) > len(COMMANDS)
    tops = {name.split(".")[0] for name in names}
    assert not tops & {
        "babel",
        "cryptography",
        "fastapi",
        "httpx",
        "joserfc",
        "psycopg",
        "pydantic",
    }
    declared = {"api.cli", *(f"api.cli.{path.stem}" for path in COMMAND_FILES)}
    ours = {name for name in names if "." in name and name.split(".")[0] in OWN}
    assert ours - declared == {
        "ledger.system",
        "ledger.system.extras",
        "ledger.system.gc_tuning",
        "ledger.vocabulary",
        "ledger.vocabulary.characters",
        "ledger.vocabulary.duplicates",
        "ledger.vocabulary.levels",
        "ledger.vocabulary.picklists",
        "projections.folds",
        "projections.folds.obligation_terms",
    }


def test_no_help_text_has_brackets_that_help_takes_for_markup() -> None:
    def texts(command: Any) -> Iterator[str]:
        yield from (str(parameter.help or "") for parameter in command.params)
        for own in getattr(command, "commands", {}).values():
            yield from texts(own)

    found = [
        text
        for place in COMMANDS.values()
        for command in commands_of(place.modules).values()
        for text in texts(command)
    ]
    assert len(found) > 300
    assert [text for text in found if "[" in text] == []


def test_the_help_of_rebuild_names_every_view() -> None:
    said = CliRunner().invoke(app, ["rebuild", "--help"]).output
    assert [name for name in VIEWS if name not in said] == []


def test_help_names_them_all_and_an_unknown_one_is_refused() -> None:
    said = CliRunner().invoke(app, ["--help"]).output
    assert [name for name in COMMANDS if name not in said] == []
    assert CliRunner().invoke(app, ["no-such-command"]).exit_code == 2


def test_making_a_key_loads_no_server() -> None:
    program = (
        "import sys\n"
        "from api.cli.main import commands_of\n"
        "commands_of(('keys', 'acting'))\n"
        "heavy = {'fastapi', 'uvicorn', 'duckdb', 'pyarrow', 'opentelemetry.sdk', 'typst'}\n"
        "sys.exit(' '.join(heavy & sys.modules.keys()) or None)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "declared", ['"--json"', '"--agency"', '"CASE_LEDGER_URL"', '"CASE_LEDGER_KEY"']
)
def test_an_option_that_many_commands_have_is_declared_once(declared: str) -> None:
    files = Path(api.cli.__file__).parent.glob("*.py")
    assert sum(file.read_text(encoding="utf-8").count(declared) for file in files) == 1


def test_a_command_has_its_own_options_and_those_of_its_group() -> None:
    def show(asked: AsAgencyOrJson, case: Annotated[str, typer.Argument()], limit: int = 5) -> None:
        seen.append((asked, case, limit))

    seen: list[tuple[AsAgencyOrJson, str, int]] = []
    program = typer.Typer()
    program.command()(asks(show))
    ran = CliRunner().invoke(program, ["a-case", "-a", "xk-nac", "--url", "http://there", "--json"])
    assert ran.exit_code == 0, ran.output
    assert seen == [
        (AsAgencyOrJson(agency="xk-nac", url="http://there", as_json=True), "a-case", 5)
    ]
    missing = CliRunner().invoke(program, ["a-case"])
    assert missing.exit_code == 2
    assert "--agency" in missing.output
