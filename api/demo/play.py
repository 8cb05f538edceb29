"""Plays the story through the real API, and prints what each country then sees."""

import signal
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from joserfc.jwk import OKPKey
from rich import box
from rich.console import Console, Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from api.cli.output import print_json
from api.cli.steps.case_tables import brief_trail, case_panel, trail_table
from api.client import LedgerClient, RefusedError
from api.client.schemas.problem import ProblemDetails
from api.demo import DemoError
from api.demo.derived_story import derived_story
from api.demo.enrolment import Enrolment
from api.demo.officials import name_case_managers, name_contact_points
from api.demo.personal_scene import play_personal_scene
from api.demo.picture import save
from api.demo.play_derived import coordinators_of, tell_derived
from api.demo.story import FORBIDDEN, STORY, Forbidden, has_story
from api.keys.country_keys import country_key
from api.processes.server import listen, serving
from api.runtime.node_database import create_database, open_store
from api.runtime.schema import migrate_all
from api.runtime.settings import Settings
from ledger.application import Ledger, environment
from ledger.procedure.amendments import text_of
from ledger.procedure.protocol import (
    COORDINATOR,
    KeyChange,
    Protocol,
    with_assumptions_adopted,
)
from ledger.signing import keys, signed_action
from ledger.signing.key_possession import grant_of, request_of
from ledger.vocabulary.registration import (
    CountryKeyRegistered,
    KeyChangeConfirmed,
    KeyGrant,
    KeyRegistered,
    KeyRequest,
    ProtocolAdopted,
)
from projections.folds.audit_trail import TrailEntry
from projections.folds.case_view import CaseView

DATABASE = "case_ledger_demo"
CHILDREN = {"A": "a girl of about 15, given in marriage", "B": "her brother of about 11"}
_BEFORE = datetime(2025, 11, 1, tzinfo=UTC)
_WIDE = 190
"""Columns that three panels beside each other need."""


class Players:
    """One client for each agency of the protocol, each with a key of its own."""

    def __init__(self, url: str, protocol: Protocol, held: Mapping[str, OKPKey]) -> None:
        self._stack = ExitStack()
        self._clients = {
            agency: self._stack.enter_context(
                LedgerClient(url, agency=agency, key=key, protocol=protocol.id)
            )
            for agency, key in held.items()
        }

    def __getitem__(self, agency: str) -> LedgerClient:
        return self._clients[agency]

    def close(self) -> None:
        self._stack.close()


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
            _prepared(store.owner_conninfo, store.conninfo, protocol, directory),
            enrolment.add_to if keep_running else None,
        ) as url,
    ):
        held = {a.id: keys.load(directory / f"{a.id}.jwk") for a in protocol.agencies}
        players = Players(url, protocol, held)
        try:
            _register(players, protocol, held)
            _register_countries(players, protocol, settings.model_copy(update=changes))
            name_contact_points(players, protocol, _BEFORE)
            if derived is None:
                _tell(players, console, protocol, as_json=as_json)
            else:
                tell_derived(players, console, protocol, derived, as_json=as_json)
            if picture is not None:
                save(console, picture, "make demo")
            if keep_running:
                enrolment.open(partial(_enrol, players, protocol))
                _stay(console, url, directory, enrolment.links(url), protocol)
            elif not as_json:
                console.print("`make serve` shows all this in a browser, as each role sees it.")
        finally:
            players.close()


def _recently() -> datetime:
    return datetime.now(UTC).replace(microsecond=0) - timedelta(days=20)


def _prepared(owner: str, conninfo: str, protocol: Protocol, directory: Path) -> str:
    """Migrate, make every agency's key, and adopt the protocol. Gives ``conninfo`` back."""
    migrate_all(owner, protocol)
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    for agency in protocol.agencies:
        path = directory / f"{agency.id}.jwk"
        path.unlink(missing_ok=True)
        keys.save(keys.generate(), path)
    # A key signs one history. With it go its public part, which marks it as used, and the mark of
    # how far the history had come.
    for pattern in ("log.*", "witness-*", "history-mark*"):
        for path in directory.glob(pattern):
            path.unlink()
    coordinators = [a.id for a in protocol.agencies if a.role == COORDINATOR]
    held = {c: keys.load(directory / f"{c}.jwk") for c in coordinators}
    adopted = ProtocolAdopted(
        acted_at=_BEFORE,
        protocol=text_of(protocol),
        keys=tuple(_grant(protocol, agency, key) for agency, key in held.items()),
    )
    first = coordinators[0]
    signed = signed_action.sign(
        adopted, agency=first, key=held[first], protocol=protocol.id, case_id=None
    )
    with Ledger(environment(conninfo)) as ledger:
        ledger.append_to_registry(signed_action.read(signed))
    return conninfo


def _register(players: Players, protocol: Protocol, held: Mapping[str, OKPKey]) -> None:
    for agency in protocol.agencies:
        if agency.role != COORDINATOR:
            _register_one(players, protocol, _grant(protocol, agency.id, held[agency.id]), _BEFORE)


def _enrol(players: Players, protocol: Protocol, request: KeyRequest) -> None:
    """Register a key that a browser made, as the coordinator of the agency's country."""
    _register_one(players, protocol, _granted(request), datetime.now(UTC))


def _register_one(
    players: Players, protocol: Protocol, grant: KeyGrant, acted_at: datetime
) -> None:
    """Register a key; where the protocol asks for it, confirm it as another coordinator."""
    owner = protocol.agencies_by_id[grant.agency]
    coordinators = [a for a in protocol.agencies if a.role == COORDINATOR]
    own = next(a.id for a in coordinators if a.party == owner.party)
    receipt = players[own].append_to_registry(KeyRegistered(acted_at=acted_at, grant=grant))
    if protocol.confirming_roles(owner.role, KeyChange.REGISTRATION):
        other = next(a.id for a in coordinators if a.party != owner.party)
        confirmed = KeyChangeConfirmed(acted_at=acted_at, proposal=receipt.action_id)
        players[other].append_to_registry(confirmed)


def _register_countries(players: Players, protocol: Protocol, settings: Settings) -> None:
    for agency in protocol.agencies:
        if agency.role == COORDINATOR:
            key = country_key(settings, agency.party).public
            players[agency.id].append_to_registry(
                CountryKeyRegistered(acted_at=_BEFORE, key=str(key))
            )


def _grant(protocol: Protocol, agency: str, key: OKPKey) -> KeyGrant:
    return _granted(request_of(key, protocol=protocol.id, agency=agency))


def _granted(request: KeyRequest) -> KeyGrant:
    now = datetime.now(UTC)
    return grant_of(
        request, valid_from=now - timedelta(days=1), valid_until=now + timedelta(days=365)
    )


def _tell(players: Players, console: Console, protocol: Protocol, *, as_json: bool) -> None:
    cases = {child: uuid4() for child in CHILDREN}
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
    console: Console, url: str, directory: Path, links: Mapping[str, str], protocol: Protocol
) -> None:
    started = Path(sys.argv[0])
    command = started if started.name == "case-ledger" else "case-ledger"
    first, last = coordinators_of(protocol)[:2]
    # Without a frame, and not broken into lines: these commands are copied.
    console.print(
        f"The ledger is served at [bold]{url}[/] with the demo's cases. Try:\n"
        f"  export CASE_LEDGER_URL={url}\n"
        f"  {command} case -a {last} -k {directory / f'{last}.jwk'}\n"
        f"  {command} events -a {first} -k {directory / f'{first}.jwk'} -f\n"
        "Stop it with Ctrl-C.",
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
