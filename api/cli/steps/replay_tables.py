"""Open the events that a replay reads, and show cases, differences and moments."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from rich.table import Table

from api.cli.output import fail, out, print_json
from api.cli.steps.case_tables import case_panel
from api.cli.steps.table_words import words
from api.runtime.settings import Settings
from ledger.events.event import ActionRecorded
from ledger.procedure.agreement import Agreement
from ledger.procedure.registry import registry_of
from ledger.vocabulary.case_reference import case_reference, read_reference
from ledger.vocabulary.types import format_utc
from projections.folds.case_view import CaseView
from projections.time.bitemporal import Moment, acts_of, corrections_at
from projections.time.case_diff import CaseDifference
from projections.time.ledger_at import LedgerMoment

if TYPE_CHECKING:
    from projections.time.event_sources import EventSource


def case_in(source: "EventSource", name: str) -> UUID:
    """Return the id of the case that an id or a short reference names.

    Raises ``ValueError`` if the text is neither, or if the reference is not that of one case.
    """
    try:
        return UUID(name)
    except ValueError:
        reference = read_reference(name)
    ids = {event.originator_id for event in source.events()}
    found = [one for one in ids if case_reference(one) == reference]
    if len(found) != 1:
        named = ", ".join(map(str, found)) or "none"
        raise ValueError(f"the reference {reference} is that of {len(found)} cases: {named}")
    return found[0]


@contextmanager
def source_of(export: Path | None, database: bool) -> Iterator["EventSource"]:
    """Open the events of an export or of this machine's database."""
    from api.runtime.node_database import open_store
    from projections.time.event_sources import DatabaseEvents, ExportEvents

    if export is not None and database:
        fail("give --export or --database, not both")
    if export is not None:
        yield ExportEvents(export)
        return
    with open_store(Settings()) as store:
        yield DatabaseEvents(store.conninfo)


def agreement_of(source: "EventSource") -> Agreement:
    """Return the versions of the ledger's protocol."""
    first = next(iter(source.events()), None)
    if first is None:
        fail("there is no event here")
    return registry_of(source.case(first.originator_id)).agreement


def show_case(view: CaseView, as_json: bool) -> None:
    """Print a case as it was at the moment."""
    if as_json:
        print_json(view)
    else:
        out.print(case_panel(view, view.last_recorded_at))


def show_corrections(events: Sequence[ActionRecorded], moment: Moment) -> None:
    """Print the events that were corrected after the moment."""
    for one in corrections_at(acts_of(events), moment):
        known = "known then" if one.known_then else "[yellow]not known then[/]"
        out.print(
            f"{words(one.kind)} was {one.effect} at position {one.position} by {one.agency} "
            f"({words(one.reason)}): {known}.",
            soft_wrap=True,
        )


def show_difference(found: CaseDifference) -> None:
    """Print what differs between two moments of a case."""
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


def show_moments(told: list[LedgerMoment], as_json: bool) -> None:
    """Print the whole ledger at each moment."""
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
