"""The commands of ``case-ledger``, each of which loads what it needs and no more.

What all of them need together takes longer to load than most of them take to run.
"""

import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

WHERE: Mapping[str, str] = {
    "demo": "demos",
    "demo-nodes": "demos",
    "serve": "running",
    "migrate": "running",
    "adopt": "running",
    "rebuild": "running",
    "act": "acting",
    "case": "acting",
    "trail": "acting",
    "events": "acting",
    "outbox": "acting",
    "read": "personal",
    "readings": "personal",
    "subject-access": "personal",
    "release": "personal",
    "erase": "personal",
    "retention": "retention",
    "access": "personal",
    "import": "importing",
    "export-cases": "exporting",
    "obligations": "accountability",
    "report": "reports",
    "export": "columnar",
    "view": "view",
    "statistics": "statistics",
    "replay": "replay",
    "verify": "verify",
    "keys": "keys",
    "duplicates": "duplicates",
    "absence": "absence",
    "log": "log",
    "witness": "log",
    "node": "parcels",
}
"""The module of ``api.cli`` that each command is in."""


class Commands(TyperGroup):
    """Looks for a command in its module when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        return list(WHERE)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        module = WHERE.get(cmd_name)
        return None if module is None else commands_of(module).get(cmd_name)


def commands_of(module: str) -> Mapping[str, Any]:
    """The commands of a module, by name: those of each of its applications, or itself."""
    found: dict[str, Any] = {}
    for own in vars(import_module(f"api.cli.{module}")).values():
        if isinstance(own, typer.Typer):
            group = get_group(own)
            if isinstance(own.info.name, str):
                group.name = own.info.name
                found[own.info.name] = group
            else:
                found |= group.commands
    return found


class Program(typer.Typer):
    """The program as the operating system starts it."""

    def __call__(self, *given: Any, **named: Any) -> Any:
        """Run a command. What it writes is its user's alone, whatever the umask was."""
        os.umask(0o077)
        return super().__call__(*given, **named)


app = Program(
    name="case-ledger",
    cls=Commands,
    help="The transnational case ledger: signed case actions, shared by countries.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a traceback with locals could print a child's data
)


@app.callback()
def main() -> None:
    """The transnational case ledger: signed case actions, shared by countries."""
