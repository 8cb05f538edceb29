"""Plays the story through the real API, and prints what each country then sees."""

import shlex
import signal
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from rich import box
from rich.console import Console, Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from api.cli.output import print_json
from api.cli.steps.case_tables import brief_trail, case_panel, trail_table
from api.client import RefusedError
from api.client.schemas.problem import ProblemDetails
from api.demo import DemoError
from api.demo.begun_ledger import (
    BEFORE,
    Players,
    granted,
    prepared_ledger,
    register_agencies,
    register_countries,
    register_key,
)
from api.demo.derived_story import derived_story
from api.demo.enrolment import Enrolment
from api.demo.officials import name_case_managers, name_contact_points
from api.demo.personal_scene import play_personal_scene
from api.demo.picture import save
from api.demo.play_derived import coordinators_of, tell_derived
from api.demo.story import FORBIDDEN, STORY, Forbidden, has_story
from api.processes.server import listen, serving
from api.runtime.node_database import create_database, open_store
from api.runtime.settings import Settings
from ledger.procedure.protocol import (
    Protocol,
    with_assumptions_adopted,
)
from ledger.signing import keys
from ledger.system.identifiers import new_id
from ledger.vocabulary.registration import (
    KeyRequest,
)
from projections.folds.audit_trail import TrailEntry
from projections.folds.case_view import CaseView

DATABASE = "case_ledger_demo"
CHILDREN = {"A": "a girl of about 15, given in marriage", "B": "her brother of about 11"}
_WIDE = 190
"""Columns that three panels beside each other need."""


def play(
    settings: Settings, *, keep_running: bool, as_json: bool, picture: Path | None = None
) -> None:
    """Play the whole story on a database of its own.

    Without the agencies of the two children's story, it plays a story derived from the protocol's
    rules.

    The database is made again each time; the ledger of `serve` is not touched. ``picture`` is the
    file for the printed text, as SVG. Raises ``DemoError``.
    """
    wide = picture is not None or not Console().is_terminal
    console = Console(width=_WIDE if wide else None, record=picture is not None)
    # The demonstration's parties adopt what the text marks as assumed, so deadlines can pass.
    protocol = with_assumptions_adopted(settings.load_protocol())
    settings = settings.with_protocol(protocol)
    derived = None if has_story(protocol) else derived_story(protocol, _recently())
    if keep_running:
        _check_address(settings)  # before the database of who has it is made anew
    with open_store(settings) as server:
        create_database(server.owner_conninfo, DATABASE, anew=True)
    # A log key of its own: the demo's ledger begins anew each time.
    changes: dict[str, Any] = {"data_directory": settings.data_directory / "demo"}
    if not keep_running:
        changes["port"] = 0
    directory = settings.data_directory / "demo" / "keys"
    enrolment = Enrolment(protocol)
    with (
        open_store(settings, database=DATABASE) as store,
        serving(
            settings.model_copy(update=changes),
            prepared_ledger(store.owner_conninfo, store.conninfo, protocol, directory),
            enrolment.add_to if keep_running else None,
        ) as url,
    ):
        held = {a.id: keys.load(directory / f"{a.id}.jwk") for a in protocol.agencies}
        players = Players(url, protocol, held)
        try:
            register_agencies(players, protocol, held)
            register_countries(players, protocol, settings.model_copy(update=changes))
            name_contact_points(players, protocol, BEFORE)
            if derived is None:
                _tell(players, console, protocol, as_json=as_json)
            else:
                tell_derived(players, console, protocol, derived, as_json=as_json)
            if picture is not None:
                save(console, picture, "make demo")
            if keep_running:
                enrolment.open(partial(_enrol, players, protocol))
                # A connection string that a person named may have a password: it is not printed.
                private = store.conninfo if settings.database_url is None else None
                _stay(console, url, directory, enrolment.links(url), protocol, private)
            elif not as_json:
                console.print("`make serve` shows all this in a browser, as each role sees it.")
        finally:
            players.close()


def _recently() -> datetime:
    return datetime.now(UTC).replace(microsecond=0) - timedelta(days=20)


def _enrol(players: Players, protocol: Protocol, request: KeyRequest) -> None:
    """Register a key that a browser made, as the coordinator of the agency's country."""
    register_key(players, protocol, granted(request), datetime.now(UTC))


def _tell(players: Players, console: Console, protocol: Protocol, *, as_json: bool) -> None:
    cases = {child: new_id() for child in CHILDREN}
    versions = dict.fromkeys(CHILDREN, 0)
    ids: dict[str, UUID] = {}
    refused: list[tuple[Forbidden, ProblemDetails]] = []
    position = 0
    columns = (TextColumn("[dim]{task.fields[day]}[/] {task.description}"), BarColumn(20))
    with Progress(*columns, MofNCompleteColumn(), console=console, disable=as_json) as progress:
        task = progress.add_task("", total=len(STORY), day="")
        for step in STORY:
            action = step.action(ids)
            progress.update(task, description=step.caption, day=f"{action.acted_at:%d %b %Y}")
            receipt = players[step.agency].append(action, cases[step.case], versions[step.case])
            versions[step.case] = receipt.case_version
            ids[step.name] = receipt.action_id
            position = receipt.position
            progress.advance(task)
            for attempt in (f for f in FORBIDDEN if f.after == step.name):
                refused.append((attempt, _try(players, attempt, ids, cases, versions)))
    told_until = max(step.action(ids).acted_at for step in STORY)
    for child, case_id in cases.items():
        view = players["xk-nac"].case(case_id, at_least=position).view
        versions[child], position = name_case_managers(players, protocol, view, told_until)
    views = {
        child: {
            country: players[f"{country.lower()}-nac"].case(case_id, at_least=position).view
            for country in ("XK", "ME")
        }
        for child, case_id in cases.items()
    }
    trails = {
        child: list(players["xk-ombudsperson"].trail(case_id, at_least=position))
        for child, case_id in cases.items()
    }
    personal = play_personal_scene(players, cases["A"], versions["A"], ids["A.consent_given"])
    if as_json:
        print_json(
            {
                "personal": personal.as_json(),
                "cases": {
                    child: {
                        "views": {c: v.model_dump(mode="json") for c, v in views[child].items()},
                        "trail": [e.model_dump(mode="json") for e in trails[child]],
                    }
                    for child in CHILDREN
                },
                "refused": [p.model_dump(mode="json", exclude_none=True) for _, p in refused],
            }
        )
        return
    for child, who in CHILDREN.items():
        console.rule(f"[bold]Case {child}[/]: {who}")
        console.print(_side_by_side(console, views[child], trails[child], told_until))
    console.rule("[bold]One case's trail in full[/]: case B")
    console.print(trail_table(trails["B"]))
    console.rule("[bold]What may be known of the girl, and who asked[/]")
    console.print(personal)
    console.rule("[bold]What was tried and refused[/]")
    console.print(_refusals(refused))


def _try(
    players: Players,
    attempt: Forbidden,
    ids: Mapping[str, UUID],
    cases: Mapping[str, UUID],
    versions: Mapping[str, int],
) -> ProblemDetails:
    try:
        players[attempt.agency].append(
            attempt.action(ids), cases[attempt.case], versions[attempt.case]
        )
    except RefusedError as error:
        if error.problem.rule != attempt.rule:
            raise DemoError(f"{attempt.name}: refused by {error.problem.rule}") from error
        return error.problem
    raise DemoError(f"{attempt.name} was not refused")


def _side_by_side(
    console: Console,
    views: Mapping[str, CaseView],
    trail: list[TrailEntry],
    now: datetime,
) -> Table | Group:
    panels = [case_panel(view, now) for view in views.values()]
    if console.width < _WIDE - 20:
        return Group(*panels, brief_trail(trail))
    side = Table.grid(expand=True, padding=(0, 1))
    for ratio in (6, 6, 8):
        side.add_column(ratio=ratio)
    side.add_row(*panels, brief_trail(trail))
    return side


def _refusals(refused: list[tuple[Forbidden, ProblemDetails]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_lines=False)
    for column in ("Who", "Tried", "Status", "Rule", "Answer"):
        table.add_column(column)
    for attempt, problem in refused:
        table.add_row(
            attempt.agency,
            attempt.caption,
            f"[red]{problem.status}[/]",
            problem.rule,
            problem.detail or problem.title,
        )
    return table


def _check_address(settings: Settings) -> None:
    """Check that no other process, such as another demonstration, serves at the address.

    Raises ``DemoError`` if one does.
    """
    try:
        listen(settings).close()
    except OSError as error:
        raise DemoError(
            f"cannot serve at {settings.host}:{settings.port} ({error.strerror}): end what is "
            "there, set CASE_LEDGER_PORT to another port, or take --no-keep-running"
        ) from error


def _stay(
    console: Console,
    url: str,
    directory: Path,
    links: Mapping[str, str],
    protocol: Protocol,
    private: str | None,
) -> None:
    started = Path(sys.argv[0])
    command = started if started.name == "case-ledger" else Path("case-ledger")
    first, last = coordinators_of(protocol)[:2]
    # Without a frame, and not broken into lines: these commands are copied.
    console.print(
        f"The ledger is served at [bold]{url}[/] with the demo's cases. Try:\n"
        f"  export CASE_LEDGER_URL={url}\n"
        f"  {command} case -a {last} -k {directory / f'{last}.jwk'}\n"
        f"  {command} events -a {first} -k {directory / f'{first}.jwk'} -f\n"
        + (
            f"For commands that read the node's database, such as {command.name} export:\n"
            f"  export CASE_LEDGER_DATABASE_URL={shlex.quote(private)}\n"
            f"  export CASE_LEDGER_DATA_DIRECTORY={shlex.quote(str(directory.parent))}\n"
            if private is not None
            else ""
        )
        + "Stop it with Ctrl-C.",
        soft_wrap=True,
        highlight=False,
    )
    console.print(
        f"In a browser: [bold]{url}[/] with a link for each role, and for the coordinators of "
        "every country. Each is good once; open two in two browser profiles to meet at /meeting:",
        soft_wrap=True,
        highlight=False,
    )
    for agency, link in links.items():
        role = protocol.agencies_by_id[agency].role
        console.print(f"  {role:<22} {agency:<26} {link}", soft_wrap=True)
    try:
        signal.pause()
    except (KeyboardInterrupt, SystemExit):
        console.print("Stopped.")
