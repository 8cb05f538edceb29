"""Every command is found where it is said to be, and loads no more than it needs."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import api.cli
from api.cli import app
from api.cli.main import WHERE, commands_of

MODULES = sorted(
    path.stem
    for path in Path(api.cli.__file__).parent.glob("*.py")
    if "typer.Typer(" in path.read_text() and path.stem != "main"
)


def test_every_command_is_listed_with_its_module() -> None:
    # A group that two modules add commands to is named with the one that imports the other.
    modules = [m for m in MODULES if m != "nodes"] + [WHERE["node"]]
    assert {name: module for module in modules for name in commands_of(module)} == dict(WHERE)
    words = (
        "from api.cli.main import WHERE, commands_of;"
        " print(*commands_of(WHERE['node'])['node'].commands)"
    )
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert {"take-over", "history", "accept-history", "missing", "parcels"} <= set(
        done.stdout.split()
    )


@pytest.mark.parametrize("name", WHERE)
def test_a_command_explains_itself(name: str) -> None:
    said = CliRunner().invoke(app, [name, "--help"])
    assert said.exit_code == 0, said.output
    assert name in said.output


def test_help_names_them_all_and_an_unknown_one_is_refused() -> None:
    said = CliRunner().invoke(app, ["--help"]).output
    assert [name for name in WHERE if name not in said] == []
    assert CliRunner().invoke(app, ["no-such-command"]).exit_code == 2


def test_making_a_key_loads_no_server() -> None:
    program = (
        "import sys\n"
        "from api.cli.main import commands_of\n"
        "commands_of('keys'), commands_of('acting')\n"
        "heavy = {'fastapi', 'uvicorn', 'duckdb', 'pyarrow', 'opentelemetry.sdk', 'typst'}\n"
        "sys.exit(' '.join(heavy & sys.modules.keys()) or None)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
