"""Commands that step through time: a case or the whole ledger, at a moment and between two.

From a live node, from this machine's own database, or from an export with no database at all.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from api.cli.connection import MayAsk, asks
from api.cli.output import AsJson, fail, failures, out, print_json

app = typer.Typer(
    name="replay",
    help="Step through time: a case or the whole ledger, as known then and as valid then.",
    no_args_is_help=True,
)

At = Annotated[
    str,
    typer.Option(
        help="The moment of knowledge: a position, a time with its offset, a day of your country, "
        "or now."
    ),
]
ValidAt = Annotated[
    str | None,
    typer.Option(help="Show what had happened by this time or day, as known at the moment."),
]
CaseName = Annotated[str, typer.Argument(help="The case: its id or its short reference.")]
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
    case_name: CaseName,
    at: At = "now",
    valid_at: ValidAt = None,
    export: Export = None,
    database: Database = False,
) -> None:
    """Show a case as it was known at a moment, or as it was on a day."""

    from api.cli.steps.own_time import own_zone
    from api.cli.steps.replay_tables import (
        agreement_of,
        case_in,
        show_case,
        show_corrections,
        source_of,
    )
    from projections.folds.case_view import OVERSIGHT_VIEWER, case_view
    from projections.folds.joined_cases import cases_then
    from projections.time.bitemporal import Moment, acts_at, acts_of, state_at

    with failures(asked.as_json):
        moment = Moment.parse(at, valid_at, own_zone(asked.agency))
        if export is None and not database:
            with asked.connect(_asking(asked.agency), asked.key) as client:
                seen = client.case(
                    client.case_named(case_name),
                    as_of_position=moment.position,
                    as_of_time=moment.time,
                    valid_at=moment.valid_at,
                )
                show_case(seen.view, asked.as_json)
                return
        with source_of(export, database) as source:
            events = source.case(case_in(source, case_name))
            acts, agreement = acts_of(events), agreement_of(source)
            state = state_at(acts, agreement, moment)
            if state is None:
                fail("no such case was open at that moment")
            by_id = {act.id: act for act in acts}
            joined = source.joined(events).items()
            others = cases_then(
                {one: acts_at(acts_of(found), moment) for one, found in joined}, agreement
            )
            show_case(case_view(state, OVERSIGHT_VIEWER, agreement, by_id, others), asked.as_json)
            if not asked.as_json:
                show_corrections(events, moment)


@app.command("difference")
@asks
def difference_of(
    asked: MayAsk,
    case_name: CaseName,
    before: Annotated[str, typer.Option("--from", help="The earlier moment.")],
    after: Annotated[str, typer.Option("--to", help="The later moment.")] = "now",
    from_valid_at: ValidAt = None,
    to_valid_at: ValidAt = None,
    export: Export = None,
    database: Database = False,
) -> None:
    """Show the difference of a case between two moments, and the events that made it."""

    from api.cli.steps.own_time import own_zone
    from api.cli.steps.replay_tables import (
        agreement_of,
        case_in,
        show_difference,
        source_of,
    )
    from projections.time.bitemporal import Moment, acts_of
    from projections.time.case_diff import difference

    with failures(asked.as_json):
        zone = own_zone(asked.agency)
        moments = (
            Moment.parse(before, from_valid_at, zone),
            Moment.parse(after, to_valid_at, zone),
        )
        if export is None and not database:
            with asked.connect(_asking(asked.agency), asked.key) as client:
                found = client.difference(client.case_named(case_name), *moments)
        else:
            with source_of(export, database) as source:
                case_id = case_in(source, case_name)
                acts = acts_of(source.case(case_id))
                if not acts:
                    fail("there is no such case")
                found = difference(case_id, acts, agreement_of(source), *moments)
        if asked.as_json:
            print_json(found)
        else:
            show_difference(found)


@app.command()
def steps(
    case_name: CaseName,
    export: Export = None,
    database: Database = False,
    as_json: AsJson = False,
) -> None:
    """Step through a case, event by event, with the changes of each."""

    from api.cli.steps.replay_tables import agreement_of, case_in, show_difference, source_of
    from projections.time.bitemporal import Moment, acts_of
    from projections.time.case_diff import difference

    with failures(as_json), source_of(export, database) as source:
        case_id = case_in(source, case_name)
        acts, agreement = acts_of(source.case(case_id)), agreement_of(source)
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
                show_difference(one)


@app.command()
@asks
def ledger(
    asked: MayAsk,
    at: At = "now",
    since: Annotated[
        str | None, typer.Option("--from", help="Show the changes since this moment.")
    ] = None,
    export: Export = None,
    database: Database = False,
) -> None:
    """Show the whole ledger at a moment, in numbers, or the changes between two moments."""

    from api.cli.steps.own_time import own_zone
    from api.cli.steps.replay_tables import show_moments, source_of
    from api.cli.steps.table_words import words
    from projections.time.bitemporal import Moment
    from projections.time.ledger_at import ledger_at, ledger_difference

    with failures(asked.as_json):
        zone = own_zone(asked.agency)
        moment = Moment.parse(at, zone=zone)
        earlier = Moment.parse(since, zone=zone) if since is not None else None
        if export is None and not database:
            with asked.connect(_asking(asked.agency), asked.key) as client:
                told = [client.ledger_moment(m) for m in (earlier, moment) if m is not None]
            show_moments(told, asked.as_json)
            return
        with source_of(export, database) as source, _progress(asked.as_json) as progress:
            if earlier is None:
                told = [ledger_at(source.events(), moment, progress)]
                moved = None
            else:
                moved = ledger_difference(source.events(), earlier, moment, progress)
                told = [moved.before, moved.after]
        if moved is not None and asked.as_json:
            print_json(moved)
            return
        show_moments(told, asked.as_json)
        if moved is not None:
            table = Table("Case", "What moved")
            for one in moved.cases:
                changed = (
                    f"{words(name)}: {one.before.get(name, '—')} → {now}"
                    for name, now in one.after.items()
                )
                table.add_row(str(one.case_id), "; ".join(changed))
            out.print(table)


def _asking(agency: str | None) -> str:
    if agency is None:
        fail("say where to read: --agency to ask a live node, --database, or --export DIRECTORY")
    return agency


@contextmanager
def _progress(as_json: bool) -> Iterator[Callable[[int], None]]:
    columns = (SpinnerColumn(), TextColumn("Folding {task.completed} events"), TimeElapsedColumn())
    with Progress(*columns, console=out, disable=as_json, transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda done: progress.update(task, completed=done)
