"""Commands that step through time: a case or the whole ledger, at a moment and between two.

From a live node, from this machine's own database, or from an export with no database at all.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from api.cli.case_tables import case_panel, words
from api.cli.connection import MayAsk, asks
from api.cli.output import AsJson, fail, failures, out, print_json
from api.runtime.settings import Settings
from ledger.events.event import ActionRecorded
from ledger.procedure.agreement import Agreement
from ledger.procedure.registry import registry_of
from ledger.vocabulary.types import format_utc
from projections.folds.case_view import OVERSIGHT_VIEWER, CaseView, case_view
from projections.time.bitemporal import Moment, acts_of, corrections_at, state_at
from projections.time.case_diff import CaseDifference, difference
from projections.time.ledger_at import LedgerMoment, ledger_at, ledger_difference

if TYPE_CHECKING:
    from projections.time.event_sources import EventSource

app = typer.Typer(
    name="replay",
    help="Step through time: a case or the whole ledger, as known then and as valid then.",
    no_args_is_help=True,
)

At = Annotated[
    str,
    typer.Option(
        help="The moment that is looked from: a position, a time with its offset, or now."
    ),
]
ValidAt = Annotated[
    str | None,
    typer.Option(help="What had happened by this time, by all that is known at the moment."),
]
Export = Annotated[
    Path | None, typer.Option(help="A directory that `case-ledger log export` wrote.")
]
Database = Annotated[
    bool, typer.Option("--database", help="This machine's own database: a ledger or a mirror.")
]


@app.command()
@asks
def case(
    asked: MayAsk,
    case_id: Annotated[UUID, typer.Argument(help="The case.")],
    at: At = "now",
    valid_at: ValidAt = None,
    export: Export = None,
    database: Database = False,
) -> None:
    """Show a case as it was known at a moment, or as it was on a day."""
    with failures(asked.as_json):
        moment = Moment.parse(at, valid_at)
        if export is None and not database:
            with asked.connect(_asking(asked.agency), asked.key) as client:
                seen = client.case(
                    case_id,
                    as_of_position=moment.position,
                    as_of_time=moment.time,
                    valid_at=moment.valid_at,
                )
                _show_case(seen.view, asked.as_json)
                return
        with _source(export, database) as source:
            events = source.case(case_id)
            acts, agreement = acts_of(events), _agreement(source)
            state = state_at(acts, agreement, moment)
            if state is None:
                fail("no such case was open at that moment")
            by_id = {act.id: act for act in acts}
            _show_case(case_view(state, OVERSIGHT_VIEWER, agreement, by_id), asked.as_json)
            if not asked.as_json:
                _show_corrections(events, moment)


@app.command("difference")
@asks
def difference_of(
    asked: MayAsk,
    case_id: Annotated[UUID, typer.Argument(help="The case.")],
    before: Annotated[str, typer.Option("--from", help="The earlier moment.")],
    after: Annotated[str, typer.Option("--to", help="The later moment.")] = "now",
    from_valid_at: ValidAt = None,
    to_valid_at: ValidAt = None,
    export: Export = None,
    database: Database = False,
) -> None:
    """Show the difference of a case between two moments, and the events that made it."""
    with failures(asked.as_json):
        moments = Moment.parse(before, from_valid_at), Moment.parse(after, to_valid_at)
        if export is None and not database:
            with asked.connect(_asking(asked.agency), asked.key) as client:
                found = client.difference(case_id, *moments)
        else:
            with _source(export, database) as source:
                acts = acts_of(source.case(case_id))
                if not acts:
                    fail("there is no such case")
                found = difference(case_id, acts, _agreement(source), *moments)
        if asked.as_json:
            print_json(found)
        else:
            _show_difference(found)


@app.command()
def steps(
    case_id: Annotated[UUID, typer.Argument(help="The case.")],
    export: Export = None,
    database: Database = False,
    as_json: AsJson = False,
) -> None:
    """Step through a case, event by event, with the changes of each."""
    with failures(as_json), _source(export, database) as source:
        acts, agreement = acts_of(source.case(case_id)), _agreement(source)
        if not acts:
            fail("there is no such case")
        positions = [0, *(act.position for act in acts)]
        found = [
            difference(case_id, acts, agreement, Moment(position=a), Moment(position=b))
            for a, b in pairwise(positions)
        ]
        if as_json:
            print_json([one.model_dump(mode="json") for one in found])
        else:
            for one in found:
                _show_difference(one)


@app.command()
@asks
def ledger(
    asked: MayAsk,
    at: At = "now",
    since: Annotated[
        str | None, typer.Option("--from", help="Show what moved since this moment.")
    ] = None,
    export: Export = None,
    database: Database = False,
) -> None:
    """Show the whole ledger at a moment, in numbers, or the changes between two moments."""
    with failures(asked.as_json):
        moment = Moment.parse(at)
        earlier = Moment.parse(since) if since is not None else None
        if export is None and not database:
            with asked.connect(_asking(asked.agency), asked.key) as client:
                told = [client.ledger_moment(m) for m in (earlier, moment) if m is not None]
            _show_moments(told, asked.as_json)
            return
        with _source(export, database) as source, _progress(asked.as_json) as progress:
            if earlier is None:
                told = [ledger_at(source.events(), moment, progress)]
                moved = None
            else:
                moved = ledger_difference(source.events(), earlier, moment, progress)
                told = [moved.before, moved.after]
        if moved is not None and asked.as_json:
            print_json(moved)
            return
        _show_moments(told, asked.as_json)
        if moved is not None:
            table = Table("Case", "What moved")
            for one in moved.cases:
                changed = (
                    f"{words(name)}: {one.before.get(name, '—')} → {now}"
                    for name, now in one.after.items()
                )
                table.add_row(str(one.case_id), "; ".join(changed))
            out.print(table)


@contextmanager
def _source(export: Path | None, database: bool) -> Iterator["EventSource"]:
    from api.runtime.node_database import open_store
    from projections.time.event_sources import DatabaseEvents, ExportEvents

    if export is not None and database:
        fail("give --export or --database, not both")
    if export is not None:
        yield ExportEvents(export)
        return
    with open_store(Settings()) as store:
        yield DatabaseEvents(store.conninfo)


def _asking(agency: str | None) -> str:
    if agency is None:
        fail("say where to read: --agency to ask a live node, --database, or --export DIRECTORY")
    return agency


def _agreement(source: "EventSource") -> Agreement:
    """Return the versions of the ledger's protocol."""
    first = next(iter(source.events()), None)
    if first is None:
        fail("there is no event here")
    return registry_of(source.case(first.originator_id)).agreement


def _show_case(view: CaseView, as_json: bool) -> None:
    if as_json:
        print_json(view)
    else:
        out.print(case_panel(view, view.last_recorded_at))


def _show_corrections(events: Sequence[ActionRecorded], moment: Moment) -> None:
    for one in corrections_at(acts_of(events), moment):
        known = "known then" if one.known_then else "[yellow]not known then[/]"
        out.print(
            f"{words(one.kind)} was {one.effect} at position {one.position} by {one.agency} "
            f"({words(one.reason)}): {known}.",
            soft_wrap=True,
        )


def _show_difference(found: CaseDifference) -> None:
    table = Table("Where", "Before", "After", "By", title=f"Case {found.case_id}")
    for one in found.differences:
        by = ", ".join(f"#{position}" for position in one.reasons)
        table.add_row(one.path, _short(one.before), _short(one.after), by)
    out.print(table)
    for event in found.events:
        mark = "+" if event.because == "came" else "-"
        corrects = f", corrects {event.corrects}" if event.corrects else ""
        out.print(
            f"{mark} #{event.position} [bold]{words(event.kind)}[/] by {event.agency}, acted "
            f"{format_utc(event.acted_at)}, recorded {format_utc(event.recorded_at)}{corrects}",
            soft_wrap=True,
        )


def _short(value: object) -> str:
    if value is None:
        return "—"
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _show_moments(told: list[LedgerMoment], as_json: bool) -> None:
    if as_json:
        print_json([one.model_dump(mode="json") for one in told] if len(told) > 1 else told[0])
        return
    heads = [f"#{one.position}" for one in told]
    table = Table("", "", *heads, title="The ledger as it was known")
    table.add_row("cases", "", *(str(one.cases) for one in told))
    groups = [
        *((name, [one.counts[name] for one in told]) for name in told[-1].counts),
        ("party to", [one.parties for one in told]),
        ("leads", [one.leads for one in told]),
        ("events", [one.kinds for one in told]),
    ]
    for name, tallies in groups:
        values = sorted({value for tally in tallies for value in tally})
        for place, value in enumerate(values):
            row = (str(tally.get(value, 0)) for tally in tallies)
            table.add_row(words(name) if place == 0 else "", words(value), *row)
    out.print(table)


@contextmanager
def _progress(as_json: bool) -> Iterator[Callable[[int], None]]:
    columns = (SpinnerColumn(), TextColumn("Folding {task.completed} events"), TimeElapsedColumn())
    with Progress(*columns, console=out, disable=as_json, transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda done: progress.update(task, completed=done)
