"""Check views and policies for `verify`, and show what holds."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import psycopg
import typer
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from api.background_jobs.timestamper import trusted_roots
from api.cli.output import fail, out, print_json
from api.keys.log_keys import trusted_policy
from api.runtime.node_database import open_store
from api.runtime.settings import Settings
from ledger.application import Ledger, environment
from ledger.events.newer_event import NewerEventError, needs_update
from ledger.export.static_export import ExportError, read_checkpoint, read_export
from ledger.log.note import NoteError
from ledger.log.policy import Policy, PolicyError
from ledger.log.signed_decision import SignedDecision
from ledger.procedure.registry import policy_in_force
from ledger.replication.false_decisions import (
    DecisionCheck,
    LedgerEvents,
    RowsOfExport,
    held_against,
)
from ledger.store.database import set_role
from ledger.store.event_rows import RecordedRow
from ledger.system.bounded_files import read_ordinary
from ledger.vault.missing_disclosures import MissingPart
from ledger.vault.vault_check import VaultFinding
from ledger.verification.evidence_reader import (
    kept_in,
    one_moment,
    registered_keys,
    stored_count,
    stored_keys,
    stored_rows,
)
from ledger.verification.policy_history import FILE_NAME, MAX_BYTES, PolicyHistory, TrustedPolicies
from ledger.verification.verification import ExpectedLedger, Report, verify_ledger
from ledger.vocabulary.action import LedgerModel
from ledger.vocabulary.registration import PublicKey
from projections.tables.all_views import VIEWS
from projections.upkeep.row_comparison import DifferenceKind, RowDifference
from projections.upkeep.view_check import EVENTS, ViewChecker

DOES_NOT_HOLD = 3
IS_FALSE = 5
"""The exit code for a decision that the log's key signed and that the events contradict."""
NEEDS_UPDATE = 7
"""The exit code if nothing is false, and a later program is needed to judge every event."""
_PART_EVENTS = 5_000
"""About so many events are folded and compared at once."""
_CATCH_UP_SECONDS = 5.0
"""So long a view may take to reach the event that was the last when the comparison began."""
_SHOWN_CHARACTERS = 60
_DIFFERENCES = {
    DifferenceKind.CHANGED: "fields were changed",
    DifferenceKind.MISSING: "the row is missing",
    DifferenceKind.SURPLUS: "the ledger has no such row",
    DifferenceKind.UNFOLDED: "the case's events cannot be folded",
    DifferenceKind.EVENT: "the event's bytes are not those that were hashed",
    DifferenceKind.POSITION: "the view does not stand where the ledger ends",
}


class LedgerFinding(LedgerModel):
    """A statement that does not hold, from one position to another."""

    first: int
    last: int
    what: str


class LedgerMark(LedgerModel):
    """A remark on one event that holds."""

    position: int
    what: str


class LedgerVerified(LedgerModel):
    """The result of a verification of events."""

    holds: bool
    """Whether nothing contradicts the events that this program can judge."""
    events: int
    judged: int
    """How many events, from the first one on, this program could judge."""
    newer: int | None
    """The position of the first event that needs a later program."""
    root: str
    checkpoints: int
    covered: int
    timestamps: int
    findings: tuple[LedgerFinding, ...]
    marks: tuple[LedgerMark, ...]

    @classmethod
    def of(cls, report: Report) -> Self:
        return cls(
            holds=report.holds,
            events=report.events,
            judged=report.judged,
            newer=report.newer,
            root=report.root.hex(),
            checkpoints=report.checkpoints,
            covered=report.covered,
            timestamps=report.timestamps,
            findings=tuple(
                LedgerFinding(first=f.first, last=f.last, what=f.what) for f in report.findings
            ),
            marks=tuple(LedgerMark(position=m.first, what=m.what) for m in report.marks),
        )


class ViewsVerified(LedgerModel):
    """The result of a comparison of the views with the ledger."""

    holds: bool
    """Whether the events hold, where they were verified, and every row is as they say."""
    ledger: LedgerVerified | None
    """The findings of the verification of events; ``None`` if it was skipped."""
    events: int
    """Events that were folded anew."""
    rows: Mapping[str, int]
    """Rows that the ledger folds to, by view: each was compared."""
    differing: Mapping[str, int]
    """Rows that differ, by view; ``events`` stands for the ledger's own."""
    differences: tuple[RowDifference, ...]
    """The first of those that differ, each with its fields."""


class VaultVerified(LedgerModel):
    """The findings of a verification of a vault; none if all holds."""

    actions: int
    documents: int | None = None
    """The number of contents that were read; ``None`` where none was to be read."""
    findings: tuple[VaultFinding, ...]
    """The fields that are not as they were deposited and signed."""
    missing: tuple[MissingPart, ...]
    """The fields that the vault must hold by the ledger, and that are not there."""


def judged_here(read: SignedDecision, action: str, policy: Path | None) -> DecisionCheck:
    """Hold a decision against the events of this node."""
    settings = Settings()
    trusted = policy_in(policy) if policy else trusted_policy(settings)
    with open_store(settings) as store, Ledger(environment(store.conninfo)) as ledger:
        read.verify(policy_in_force(ledger.registry(), read.statement.size, trusted))
        return held_against(read, action, LedgerEvents(ledger))


def judged_by(
    export: Path, read: SignedDecision, action: str, policy: Path | None, policies: Path | None
) -> DecisionCheck:
    """Hold a decision against an export, whose events are verified first."""
    trusted = policy_in(policy)
    believed = given_policies(trusted, policies or export) or TrustedPolicies.alone(trusted)
    kept = ExpectedLedger(trusted, believed, (read_checkpoint(export),), ())
    report = verify_ledger(read_export(export), kept, keys=registered_keys(read_export(export)))
    if not report.holds:
        raise ExportError(f"the export does not hold: {report.findings[0]}")
    if report.newer is not None:
        raise NewerEventError(report.newer)
    read.verify(believed.of_decisions(read.statement.size))
    return held_against(read, action, RowsOfExport(read_export(export)))


def show_decision(read: SignedDecision, verdict: DecisionCheck, as_json: bool) -> None:
    """Print a signed decision and whether it holds."""
    statement = read.statement
    if as_json:
        told = statement.model_dump(mode="json", exclude_none=True)
        print_json({"is_true": verdict.untrue is None, "contradiction": verdict.untrue, **told})
    else:
        table = Table.grid(padding=(0, 2))
        for name, value in statement.model_dump(mode="json", exclude_none=True).items():
            table.add_row(f"[dim]{name}[/]", escape(str(value)))
        if verdict.is_outdated:
            out.print(
                "[yellow]The log's key signed the decision: that node's program did not have what"
                " the text names. This program has it, and would accept the action.[/]",
                soft_wrap=True,
            )
        elif verdict.untrue is None:
            out.print("[green]The log's key signed the decision, and the events bear it out.[/]")
        else:
            out.print(
                f"[bold red]The log's key signed the decision, and it is false:[/] "
                f"{escape(verdict.untrue)}.",
                soft_wrap=True,
            )
        out.print(table)
    if verdict.untrue is not None:
        raise typer.Exit(IS_FALSE)


def shown_text(file: Path) -> str:
    """Read a text as it is, since its line ends are part of the signed text."""
    try:
        return read_ordinary(file).decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{file} is not UTF-8") from None


def notes_in(files: list[Path] | None) -> tuple[str, ...]:
    """Return the signed notes in some files."""
    return tuple(map(shown_text, files or ()))


def given_policies(trusted: Policy, path: Path | None) -> TrustedPolicies | None:
    """Return the recorded policies of a file, or of an export that has them.

    Raises ``NoteError``.
    """
    file = path / FILE_NAME if path is not None and path.is_dir() else path
    if file is None or (file != path and not file.exists()):
        return None
    if file.stat().st_size > MAX_BYTES:
        raise NoteError(f"{file} has more than {MAX_BYTES} bytes")
    return PolicyHistory.parse(shown_text(file)).believed(trusted)


def policy_in(file: Path | None) -> Policy:
    """Return the policy of a file. Exit if no file is named, or if it is none."""
    if file is None:
        fail("say whom you trust: --policy FILE")
    try:
        return Policy.parse(shown_text(file))
    except PolicyError as error:
        fail(f"{file}: {error}")


def ledger_report(
    conninfo: str,
    settings: Settings,
    trusted: Policy | None,
    notes: tuple[str, ...],
    as_json: bool,
) -> Report:
    """Verify every event of a database, of one moment."""
    roots = trusted_roots(settings)
    with psycopg.connect(conninfo) as connection:
        set_role(connection)
        with one_moment(connection):
            keys = stored_keys(connection)
            kept = kept_in(connection, trusted, notes, roots)
            count = stored_count(connection)
            return verified_rows(stored_rows(connection), kept, keys, count, as_json)


def verified_rows(
    rows: Iterable[RecordedRow],
    kept: ExpectedLedger,
    keys: dict[str, PublicKey],
    count: int | None,
    as_json: bool,
) -> Report:
    """Verify rows of a ledger with a progress bar, and return the report."""
    with progress_bar("Verifying", count, as_json) as progress:
        return verify_ledger(rows, kept, keys=keys, progress=progress)


def report_of(report: Report, as_json: bool) -> None:
    """Print the result for the events, and exit if they do not hold."""
    if as_json:
        print_json(LedgerVerified.of(report))
    else:
        show_report(report)
    if not report.holds:
        raise typer.Exit(DOES_NOT_HOLD)
    if report.newer is not None:
        raise typer.Exit(NEEDS_UPDATE)


def show_report(report: Report) -> None:
    """Print the result of a verification of events."""
    if report.newer is not None:
        out.print(f"[bold yellow]Update this program.[/] {needs_update(report.newer)}")
    if report.holds and report.newer is not None:
        out.print(
            f"The first {report.judged} of {report.events} events hold. The later ones were not"
            f" judged: that is no fault of the ledger. Root {report.root.hex()}"
        )
    elif report.holds:
        out.print(f"[green]All {report.events} events hold.[/] Root {report.root.hex()}")
    else:
        table = Table("Positions", "What does not hold", title="[red]The ledger does not hold[/]")
        for finding in report.findings:
            span = (
                str(finding.first)
                if finding.first == finding.last
                else f"{finding.first} to {finding.last}"
            )
            table.add_row(span, finding.what)
        out.print(table)
    if report.marks:
        table = Table("Position", "What to know of it", title="[yellow]Events that are marked[/]")
        for mark in report.marks:
            table.add_row(str(mark.first), mark.what)
        out.print(table)
    out.print(f"{report.checkpoints} checkpoints agree; the last covers {report.covered} events.")
    if report.timestamps:
        out.print(f"Timestamps that verify: {report.timestamps}.")
    if report.covered < report.events:
        out.print(
            f"[yellow]Events after position {report.covered} stand on their agencies' signatures "
            "alone: no checkpoint covers them yet.[/]"
        )


def check_views(
    conninfo: str, names: Sequence[str], report: Report | None, as_json: bool
) -> ViewsVerified:
    """Compare views with the ledger, and return the result as a document.

    The views must reach the last event that the report judged. Raises ``NewerEventError`` if a view
    was folded beyond an event that needs a later program.
    """
    with (
        ViewChecker(conninfo, names) as checker,
        progress_bar("Comparing", checker.head(), as_json) as progress,
    ):
        head = checker.head() if report is None or report.newer is None else report.judged
        checked = checker.check_acts()
        for part in checker.parts(_PART_EVENTS):
            progress(checked.events)
            checked.merge(checker.check(part))
        checked.merge(checker.behind(head, seconds=_CATCH_UP_SECONDS))
    return ViewsVerified(
        holds=not checked.differing and (report is None or report.holds),
        ledger=LedgerVerified.of(report) if report is not None else None,
        events=checked.events,
        rows={name: checked.rows[name] for name in names},
        differing=dict(checked.differing),
        differences=tuple(checked.described),
    )


def show_views(verified: ViewsVerified) -> None:
    """Print how the views differ from the ledger."""
    rows = ", ".join(f"{name} {count}" for name, count in verified.rows.items())
    if not verified.differing:
        out.print(
            f"[green]Every view is as the ledger says:[/] {verified.events} events folded anew; "
            f"rows compared: {rows}.",
            highlight=False,
            soft_wrap=True,
        )
        return
    title = "[red]Views differ from the ledger[/]"
    table = Table("View", "Row", "What differs", "Shown", "By the ledger", title=title)
    for one in verified.differences:
        row = "\n".join(f"{name} {value}" for name, value in one.row.items())
        said = escape(_DIFFERENCES[one.kind])
        if not one.fields:
            table.add_row(one.view, escape(row), said, "", "")
        for field in one.fields:
            shown, folded = (escape(_short(value)) for value in (field.shown, field.folded))
            table.add_row(one.view, escape(row), escape(field.field), shown, folded)
    out.print(table)
    for name, count in verified.differing.items():
        out.print(f"[red]{name}[/]: {count} rows differ.", highlight=False)
    damaged = [name for name in verified.differing if name in VIEWS]
    if damaged:
        out.print(
            "Find out who could write to the database, and write these views anew: "
            + "; ".join(f"case-ledger rebuild {name}" for name in damaged),
            highlight=False,
            soft_wrap=True,
        )
    if EVENTS in verified.differing:
        out.print("Events themselves were changed: see `case-ledger verify ledger`.")


def _short(value: str | None) -> str:
    if value is None:
        return "(none)"
    return value if len(value) <= _SHOWN_CHARACTERS else value[:_SHOWN_CHARACTERS] + "…"


@contextmanager
def progress_bar(what: str, count: int | None, as_json: bool) -> Iterator[Callable[[int], None]]:
    """Return a progress bar for the terminal."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=out, disable=as_json, transient=True) as progress:
        task = progress.add_task(what, total=count)
        yield lambda done: progress.update(task, completed=done)
