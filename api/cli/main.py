"""The commands of ``case-ledger``, each of which loads what it needs and no more.

What all of them need together takes longer to load than most of them take to run.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from itertools import chain
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group


@dataclass(frozen=True, slots=True)
class CommandPlace:
    """The modules of a command, and its line in the list of commands."""

    modules: tuple[str, ...]
    """The modules of ``api.cli`` that it is in. Several may have commands of one group."""
    summary: str
    """The first sentences of the command's own help."""
    extra: str | None = None
    """The extra that all of it needs, where that is more than the first missing module tells."""


COMMANDS: Mapping[str, CommandPlace] = {
    "demo": CommandPlace(
        ("demos",),
        "Play the story of two children through the real API, and show what each country sees.",
        extra="all",
    ),
    "demo-nodes": CommandPlace(
        ("demos",),
        "Play the story across a ledger node and three countries' nodes, each of which fails once.",
        extra="all",
    ),
    "practice": CommandPlace(
        ("demos",),
        "Serve a ledger of invented people with exercises, to train people on the same pages.",
        extra="all",
    ),
    "serve": CommandPlace(
        ("operating",),
        "Run a node: request processes, a worker process, and a supervisor that restarts them.",
    ),
    "migrate": CommandPlace(("operating",), "Bring the database up to date, as its owner."),
    "adopt": CommandPlace(
        ("operating",),
        "Begin a ledger: record the protocol and its coordinators' keys as the first event.",
    ),
    "rebuild": CommandPlace(
        ("operating",), "Rebuild views beside the live ones, and swap them in."
    ),
    "backup": CommandPlace(("backup",), "Prove that a backup restores."),
    "doctor": CommandPlace(
        ("doctor",), "Check a node and its surroundings, and say what to do about each fault."
    ),
    "act": CommandPlace(
        ("acting",), "Sign an action and record it. With a kind alone, show its fields."
    ),
    "case": CommandPlace(
        ("acting",), "Show a case as the agency's country sees it, or list its cases."
    ),
    "find": CommandPlace(
        ("finding",),
        "Find cases by reference, file number or day, or by the person, for a purpose.",
    ),
    "file-number": CommandPlace(
        ("finding",), "Show, set or remove the agency's own file number of a case."
    ),
    "trail": CommandPlace(
        ("acting",), "Show an audit trail: each event with its agency, its time and its changes."
    ),
    "events": CommandPlace(("acting",), "Show the ledger's events by position."),
    "outbox": CommandPlace(
        ("acting",),
        "Show the outcome of actions that were sent while the ledger node was away.",
    ),
    "read": CommandPlace(
        ("personal",),
        "Open personal fields that the agency's country holds. The access log records the reading.",
    ),
    "readings": CommandPlace(
        ("personal",),
        "List the readings of a person's fields in this country, with their purposes and results.",
    ),
    "subject-access": CommandPlace(
        ("personal",), "Write all that this country holds on a person into a file for that person."
    ),
    "document": CommandPlace(
        ("documents",),
        "Documents of a case: add, file, list, download, sign, move, redact or compare one.",
    ),
    "review-destruction": CommandPlace(
        ("personal",), "Open what a proposed destruction would remove, to decide on it."
    ),
    "release": CommandPlace(
        ("personal",), "Release personal fields to another country, field by field."
    ),
    "erase": CommandPlace(
        ("personal",),
        "Erase all data on a person, in every country: one party proposes, another approves.",
    ),
    "retention": CommandPlace(
        ("retention",),
        "Retention: the cases whose data are erased, and when. For coordinators and oversight.",
    ),
    "webhooks": CommandPlace(
        ("webhooks",),
        "An agency's webhooks for cases: list them, and send again from a position on.",
    ),
    "breach": CommandPlace(
        ("breach",),
        "Report what a key, a member, a person or an agency saw and did. Nobody is notified by it.",
    ),
    "privacy": CommandPlace(
        ("privacy",),
        "Papers for data-protection officers: records, arrangement, retention, in Markdown.",
    ),
    "access": CommandPlace(
        ("personal",), "Print the protocol's access matrix of personal data, in Markdown."
    ),
    "import": CommandPlace(
        ("importing",),
        "Record a country's existing cases, each row a new case, signed by the agency.",
    ),
    "export-cases": CommandPlace(
        ("htcds_export",), "Write the cases that the agency's country sees as HTCDS, a row each."
    ),
    "obligations": CommandPlace(
        ("accountability",),
        "Obligations between countries and agencies: for coordinators and oversight.",
    ),
    "report": CommandPlace(("reports",), "Reports, made from the ledger alone."),
    "export": CommandPlace(
        ("columnar",),
        "Write the ledger as columns: Parquet files by kind and position, cases and obligations.",
        extra="analysis",
    ),
    "view": CommandPlace(("view",), "Analysts' own views of the ledger.", extra="analysis"),
    "statistics": CommandPlace(
        ("statistics",), "Counts that can be published.", extra="statistics"
    ),
    "replay": CommandPlace(
        ("replay",),
        "Step through time: a case or the whole ledger, as known then and as valid then.",
    ),
    "verify": CommandPlace(
        ("verify",), "Verify a ledger, an export, a receipt, a timestamp, an access log."
    ),
    "protocol": CommandPlace(
        ("protocol", "joining"),
        "The agreement: read it, propose an amendment, accept or decline one, join or leave.",
    ),
    "agencies": CommandPlace(
        ("agencies",), "A country's agencies: list, register, rename, retire, and invite a body."
    ),
    "contacts": CommandPlace(
        ("contacts",),
        "The parties' contact points and deputies, and who holds them: list, name, card, end.",
    ),
    "drafts": CommandPlace(
        ("drafts",),
        "Actions that wait for a second member: list, show, approve, return, withdraw.",
    ),
    "members": CommandPlace(
        ("members",),
        "The people who work for agencies: list, add, change, invite, disable, enable, erase.",
    ),
    "messages": CommandPlace(
        ("messages",), "Catalogues of messages: check a language's folder, or complete it."
    ),
    "keys": CommandPlace(("keys",), "Make, register, list and revoke keys."),
    "duplicates": CommandPlace(
        ("duplicates",),
        "Duplicates: cases that may be of one person. For coordinators.",
    ),
    "absence": CommandPlace(
        ("absence",), "Absent parties: announce an absence, end it, show what it covers."
    ),
    "log": CommandPlace(("log",), "The ledger as a transparency log."),
    "witness": CommandPlace(("log",), "A party's witness."),
    "node": CommandPlace(
        ("nodes", "history", "missing", "node_init", "parcels", "rejoining", "submissions"),
        "A node: set-up, evidence, history, takeover, parcels.",
    ),
}
"""Every command by its name."""


_NAME = "case_ledger.command"
"""Under this key a context's ``meta`` has the name of the command that was asked for."""


class Commands(TyperGroup):
    """Looks for a command in its module when it is asked for. To list them loads none."""

    _listing = False

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        if self._listing:
            return TyperCommand(cmd_name, help=place.summary)
        ctx.meta[_NAME] = cmd_name
        try:
            return commands_of(place.modules).get(cmd_name)
        except ModuleNotFoundError:
            if not ctx.resilient_parsing:
                raise
            return TyperCommand(cmd_name, help=place.summary)  # a shell asks how to complete it

    def invoke(self, ctx: Any) -> Any:
        """Run a command. Where an extra is missing, say which one it needs."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as missing:
            from ledger.system.extras import how_to_install

            name = ctx.meta.get(_NAME, "")
            place = COMMANDS.get(name)
            how = how_to_install(missing, place.extra if place is not None else None)
            if how is None:
                raise
            needs = f"`case-ledger {name}` needs a library that is not installed"
            typer.secho(f"case-ledger: {needs}; {how}", err=True)
            raise typer.Exit(1) from None

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help of the program, with each command's summary."""
        with self._only_listed():
            super().format_help(ctx, formatter)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Return the commands and options that begin with the typed text."""
        with self._only_listed():
            return super().shell_complete(ctx, incomplete)

    @contextmanager
    def _only_listed(self) -> Iterator[None]:
        self._listing = True
        try:
            yield
        finally:
            self._listing = False


def commands_of(modules: tuple[str, ...]) -> Mapping[str, Any]:
    """Return the commands of ``modules`` by name: of each application its group, or its own."""
    found: dict[str, Any] = {}
    imported = [import_module(f"api.cli.{module}") for module in modules]
    for own in chain.from_iterable(vars(module).values() for module in imported):
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
        """Run a command; its files are readable by its user alone, whatever the umask was."""
        os.umask(0o077)
        return super().__call__(*given, **named)


app = Program(
    name="case-ledger",
    cls=Commands,
    help="The transnational case ledger: signed case actions, shared by countries.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a traceback with locals could print a child's data
)


def _print_version(asked: bool) -> None:
    if asked:
        from ledger.system.version import program_version

        typer.echo(f"case-ledger {program_version()}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[  # noqa: ARG001  # its callback prints it
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version and exit."
        ),
    ] = False,
    language: Annotated[
        str | None,
        typer.Option(
            help="The language of tables and of the server's messages, such as sq.",
            envvar="CASE_LEDGER_LANGUAGE",
            show_default="that of the locale",
        ),
    ] = None,
) -> None:
    """The transnational case ledger: signed case actions, shared by countries."""  # noqa: D401  # a title, which help shows
    if language is not None:
        os.environ["CASE_LEDGER_LANGUAGE"] = language
