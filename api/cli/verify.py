"""Commands that verify: a ledger, its views, an export, a receipt, a vault, its access log.

They exit with 3 where something does not hold.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Self

import psycopg
import typer
from cryptography.x509 import load_pem_x509_certificates
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

from api.cli.missing import missing_table
from api.cli.output import AsJson, fail, failures, out, print_json
from api.exchange.access_log_anchor import anchored_readings
from api.keys.country_keys import country_keys, person_keys
from api.keys.log_keys import own_parties, trusted_policy
from api.runtime.node_database import open_store
from api.runtime.settings import Settings
from api.workers.timestamper import trusted_roots
from api.workers.vault_checker import vault_check
from ledger.application import Ledger, environment
from ledger.events.event_bytes import unseal
from ledger.export.static_export import ExportError, read_checkpoint, read_export
from ledger.log.checkpoint import Checkpoint
from ledger.log.merkle import ProofError, leaf_hash
from ledger.log.note import Note, NoteError
from ledger.log.policy import Policy, PolicyError
from ledger.log.proof import TlogProof
from ledger.log.signed_decision import DecisionError, DecisionFile, SignedDecision
from ledger.log.timestamp import TimestampError, check
from ledger.procedure.registry import policy_in_force
from ledger.replication.false_decisions import (
    DecisionCheck,
    LedgerEvents,
    NotCoveredError,
    RowsOfExport,
    held_against,
)
from ledger.replication.outbox import Outbox
from ledger.signing.signed_action import read_recorded
from ledger.store.database import Database, set_role
from ledger.store.event_rows import RecordedRow
from ledger.system import clock
from ledger.system.bounded_files import read_ordinary
from ledger.vault.access_log import Readings
from ledger.vault.missing_disclosures import MissingPart
from ledger.vault.required_disclosures import FieldPart
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

app = typer.Typer(
    name="verify",
    help="Verify a ledger, an export, a receipt, a timestamp, an access log.",
    no_args_is_help=True,
)

DOES_NOT_HOLD = 3
IS_FALSE = 5
"""The exit code for a decision that the log's key signed and that the events contradict."""
NOT_COVERED = 6
"""The exit code for a decision of more events than there are."""
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
PolicyFile = Annotated[
    Path | None,
    typer.Option("--policy", "-p", help="Trusted log and witness keys (C2SP tlog-policy)."),
]
PoliciesFile = Annotated[
    Path | None,
    typer.Option(help="Policies that the parties adopted: `log policies`' file, or an export."),
]
_GET_POLICIES = "give the recorded policies, --policies FILE, from `case-ledger log policies`"
Held = Annotated[
    list[Path] | None,
    typer.Option(help="A checkpoint that you kept, such as your witness's. May be repeated."),
]


class LedgerFinding(LedgerModel):
    """What does not hold, from one position to another."""

    first: int
    last: int
    what: str


class LedgerMark(LedgerModel):
    """What is noted of one event, which holds all the same."""

    position: int
    what: str


class LedgerVerified(LedgerModel):
    """What a verification of events found."""

    holds: bool
    events: int
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
    """What a comparison of the views with the ledger found."""

    holds: bool
    """Whether the events hold, where they were verified, and every row is as they say."""
    ledger: LedgerVerified | None
    """What the verification of the events found; ``None`` where it was skipped."""
    events: int
    """Events that were folded anew."""
    rows: Mapping[str, int]
    """Rows that the ledger folds to, by view: each was compared."""
    differing: Mapping[str, int]
    """Rows that differ, by view; ``events`` stands for the ledger's own."""
    differences: tuple[RowDifference, ...]
    """The first of those that differ, each with its fields."""


class VaultVerified(LedgerModel):
    """What a verification of a vault found; nothing, where all holds."""

    actions: int
    findings: tuple[VaultFinding, ...]
    """What is not as it was deposited and signed."""
    missing: tuple[MissingPart, ...]
    """What the ledger says that the vault must hold, and is not there."""


@app.command()
def ledger(policy: PolicyFile = None, held: Held = None, as_json: AsJson = False) -> None:
    """Verify every event of this database: bytes, order, signatures, rules, tree, checkpoints."""
    settings = Settings()
    with failures(as_json), open_store(settings) as store:
        trusted = _policy(policy) if policy else trusted_policy(settings)
        _report(_ledger_report(store.conninfo, settings, trusted, _notes(held), as_json), as_json)


@app.command()
def views(
    names: Annotated[
        list[str] | None, typer.Argument(help="Views to compare; all where none is named.")
    ] = None,
    policy: PolicyFile = None,
    held: Held = None,
    skip_ledger: Annotated[
        bool,
        typer.Option("--skip-ledger", help="Compare only; the events were verified just before."),
    ] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of what --json prints.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Verify every event, fold all of them again, and compare every field of every view with that.

    Reads alone and repairs nothing: `case-ledger rebuild` rebuilds a view that differs.
    """
    if schema:
        print_json(ViewsVerified.model_json_schema())
        return
    settings = Settings()
    chosen = tuple(names or VIEWS)
    if unknown := sorted(set(chosen) - set(VIEWS)):
        fail(f"there is no view {unknown[0]}; there are {', '.join(VIEWS)}")
    with failures(as_json), open_store(settings) as store:
        report = None
        if not skip_ledger:
            trusted = _policy(policy) if policy else trusted_policy(settings)
            report = _ledger_report(store.conninfo, settings, trusted, _notes(held), as_json)
        verified = _check_views(store.conninfo, chosen, report, as_json)
    if as_json:
        print_json(verified)
    else:
        if report is not None:
            _show(report)
        _show_views(verified)
    if not verified.holds:
        raise typer.Exit(DOES_NOT_HOLD)


@app.command()
def export(
    directory: Annotated[Path, typer.Argument(help="What `case-ledger log export` wrote.")],
    policy: PolicyFile = None,
    policies: PoliciesFile = None,
    held: Held = None,
    as_json: AsJson = False,
) -> None:
    """Verify a directory of static files, with no database and no server."""
    with failures(as_json):
        trusted = _policy(policy)
        try:
            believed = _believed(trusted, policies or directory)
            kept = ExpectedLedger(trusted, believed, (read_checkpoint(directory),), _notes(held))
            keys = registered_keys(read_export(directory))
            _report(_verified(read_export(directory), kept, keys, None, as_json), as_json)
        except (ExportError, NoteError) as error:
            fail(str(error), DOES_NOT_HOLD)


@app.command()
def receipt(
    file: Annotated[Path, typer.Argument(help="A receipt (C2SP tlog-proof).")],
    policy: PolicyFile = None,
    policies: PoliciesFile = None,
    as_json: AsJson = False,
) -> None:
    """Verify offline that an event is in the ledger, as every needed witness saw it."""
    with failures(as_json):
        trusted = _policy(policy)
        try:
            believed = _believed(trusted, policies)
            proof = TlogProof.parse(_text(file))
            checkpoint, cosigned = proof.check(leaf_hash(proof.extra), believed or trusted)
            text, recorded_at = unseal(proof.extra)
            action = read_recorded(text, recorded_at)
        except (NoteError, ProofError, ValueError, KeyError) as error:
            hint = "" if policies else f" (if the parties changed keys since: {_GET_POLICIES})"
            fail(f"the receipt does not hold: {error}{hint}", DOES_NOT_HOLD)
        told = {
            "position": proof.index + 1,
            "kind": action.kind,
            "agency": action.agency,
            "case": str(action.case_id) if action.case_id else None,
            "recorded_at": recorded_at.isoformat(),
            **({"mark": action.mark.value} if action.mark else {}),
            "ledger": checkpoint.origin,
            "size": checkpoint.size,
            "cosigned": {name: moment.isoformat() for name, moment in cosigned.items()},
        }
        if as_json:
            print_json(told)
            return
        table = Table.grid(padding=(0, 2))
        for name, value in told.items():
            if name != "cosigned":
                table.add_row(f"[dim]{name}[/]", str(value))
        for name, moment in cosigned.items():
            table.add_row("[dim]cosigned by[/]", f"{name} at {moment:%d %b %Y %H:%M:%S} UTC")
        out.print("[green]The receipt holds.[/]")
        out.print(table)


@app.command()
def decision(
    file: Annotated[Path, typer.Argument(help="An action and the decision on it.")],
    export: Annotated[
        Path | None,
        typer.Option(help="Hold it against this export, instead of this node's own events."),
    ] = None,
    policy: PolicyFile = None,
    policies: PoliciesFile = None,
    as_json: AsJson = False,
) -> None:
    """Verify the ledger node's decision on an action: a signed receipt or refusal.

    Exits with 0 if the events bear the decision out, with 5 if they contradict it, which is
    evidence against the ledger node, with 6 if there are fewer events than the decision covers, and
    with 3 if the log's key did not sign it or the export does not hold.
    """
    with failures(as_json):
        try:
            given = DecisionFile.parse(_text(file))
            read = SignedDecision.parse(given.decision)
            if export is None:
                verdict = _judged_here(read, given.action, policy)
            else:
                verdict = _judged_by(export, read, given.action, policy, policies)
        except NotCoveredError as error:
            fail(str(error), NOT_COVERED)
        except (DecisionError, ExportError, NoteError) as error:
            fail(f"the decision does not hold: {error}", DOES_NOT_HOLD)
        _show_decision(read, verdict, as_json)


def _judged_here(read: SignedDecision, action: str, policy: Path | None) -> DecisionCheck:
    """Hold a decision against the events of this node."""
    settings = Settings()
    trusted = _policy(policy) if policy else trusted_policy(settings)
    with open_store(settings) as store, Ledger(environment(store.conninfo)) as ledger:
        read.verify(policy_in_force(ledger.registry(), read.statement.size, trusted))
        return held_against(read, action, LedgerEvents(ledger))


def _judged_by(
    export: Path, read: SignedDecision, action: str, policy: Path | None, policies: Path | None
) -> DecisionCheck:
    """Hold a decision against an export, whose events are verified first."""
    trusted = _policy(policy)
    believed = _believed(trusted, policies or export) or TrustedPolicies.alone(trusted)
    kept = ExpectedLedger(trusted, believed, (read_checkpoint(export),), ())
    report = verify_ledger(read_export(export), kept, keys=registered_keys(read_export(export)))
    if not report.holds:
        raise ExportError(f"the export does not hold: {report.findings[0]}")
    read.verify(believed.of_decisions(read.statement.size))
    return held_against(read, action, RowsOfExport(read_export(export)))


def _show_decision(read: SignedDecision, verdict: DecisionCheck, as_json: bool) -> None:
    statement = read.statement
    if as_json:
        told = statement.model_dump(mode="json", exclude_none=True)
        print_json({"is_true": verdict.untrue is None, "contradiction": verdict.untrue, **told})
    else:
        table = Table.grid(padding=(0, 2))
        for name, value in statement.model_dump(mode="json", exclude_none=True).items():
            table.add_row(f"[dim]{name}[/]", escape(str(value)))
        if verdict.untrue is None:
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


@app.command()
def timestamp(
    checkpoint: Annotated[Path, typer.Option(help="The checkpoint that was timestamped.")],
    token: Annotated[Path, typer.Option(help="The authority's answer (`/log/timestamp/SIZE`).")],
    roots: Annotated[Path, typer.Option(help="Root certificates that you believe, as PEM.")],
    as_json: AsJson = False,
) -> None:
    """Verify offline that an authority saw a checkpoint (RFC 3161), and show when.

    The checkpoint's own signatures are not looked at: `verify export --held` does that.
    """
    with failures(as_json):
        trusted = load_pem_x509_certificates(read_ordinary(roots))
        try:
            text = Note.parse(read_ordinary(checkpoint)).text
            head = Checkpoint.parse(text)
            moment = check(read_ordinary(token), text, trusted)
        except (NoteError, TimestampError) as error:
            fail(f"the timestamp does not hold: {error}", DOES_NOT_HOLD)
        if as_json:
            told = {"ledger": head.origin, "size": head.size, "moment": moment.isoformat()}
            print_json(told)
        else:
            out.print(
                f"[green]The timestamp holds.[/] {head.origin} had {head.size} events "
                f"at {moment:%d %b %Y %H:%M:%S} UTC.",
                soft_wrap=True,
            )


@app.command()
def readings(
    party: Annotated[str, typer.Argument(help="The country whose access log it is, such as XK.")],
    as_json: AsJson = False,
) -> None:
    """Verify a country's access log against its anchors in the ledger."""
    with failures(as_json), open_store(Settings()) as store:
        if party not in own_parties(Settings()):
            raise ValueError(f"this is no node of {party} (CASE_LEDGER_COUNTRIES)")
        with Ledger(environment(store.conninfo)) as ledger, Database(store.conninfo) as database:
            anchored = anchored_readings(ledger, party)
            log = Readings(database, party)
            findings = list(log.findings(anchored))
            entries, _ = log.head()
        fixed = max(anchored, default=0)
        if as_json:
            print_json({"entries": entries, "fixed": fixed, "findings": findings})
        elif findings:
            out.print("[bold red]Does not hold:[/] " + "; ".join(findings), highlight=False)
        else:
            out.print(f"[green]Holds[/]: {entries} entries, {fixed} of them fixed in the ledger.")
        if findings:
            raise typer.Exit(DOES_NOT_HOLD)


def _text(file: Path) -> str:
    """Read a text as it is, since its line ends are part of the signed text."""
    try:
        return read_ordinary(file).decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{file} is not UTF-8") from None


@app.command()
def vault(
    party: Annotated[str, typer.Argument(help="The country whose vault it is, such as XK.")],
    as_json: AsJson = False,
) -> None:
    """Verify a country's vault: every disclosure is there, as it was deposited and signed.

    Opens nothing. Each row is compared with the vault's inventory, which is authenticated under the
    person's data key, and with the digests that the ledger has. Fields that the country must hold
    by the ledger, and that are not there, are named too.
    """
    settings = Settings()
    with failures(as_json), open_store(settings) as store:
        if party not in own_parties(settings):
            raise ValueError(f"this is no node of {party} (CASE_LEDGER_COUNTRIES)")
        keys = person_keys(settings, country_keys(settings, [party]))[party]
        with (
            Ledger(environment(store.conninfo)) as ledger,
            Database(store.conninfo) as database,
            _progress("Checking", None, as_json) as progress,
        ):
            check = vault_check(ledger, database, Outbox(database), party, keys)
            findings, registry = [], ledger.adopted()
            for finding in check.findings(registry.directory, registry.protocol_today(clock.now())):
                findings.append(finding)
                progress(check.actions)
    awaited_since = clock.now() - timedelta(seconds=settings.missing_after_seconds)
    missing = tuple(
        MissingPart.of(lack)
        for lack in check.lacks
        if lack.due.part is FieldPart.OWN or lack.due.recorded_at <= awaited_since
    )
    if as_json:
        verified = VaultVerified(actions=check.actions, findings=tuple(findings), missing=missing)
        print_json(verified)
    if findings and not as_json:
        table = Table("Case", "Action", "Kind", "Field", "What does not hold")
        table.title = "[red]The vault does not hold[/]"
        for one in findings:
            named = (one.case_id, one.action, one.kind, one.field, one.what)
            table.add_row(*("" if part is None else escape(str(part)) for part in named))
        out.print(table)
    if missing and not as_json:
        out.print(missing_table(party, missing))
    if findings or missing:
        raise typer.Exit(DOES_NOT_HOLD)
    if not as_json:
        out.print(f"[green]Holds[/]: the disclosures of {check.actions} actions.")


def _notes(files: list[Path] | None) -> tuple[str, ...]:
    return tuple(map(_text, files or ()))


def _believed(trusted: Policy, path: Path | None) -> TrustedPolicies | None:
    """Return the recorded policies of a file, or of an export that has them.

    Raises ``NoteError``.
    """
    file = path / FILE_NAME if path is not None and path.is_dir() else path
    if file is None or (file != path and not file.exists()):
        return None
    if file.stat().st_size > MAX_BYTES:
        raise NoteError(f"{file} has more than {MAX_BYTES} bytes")
    return PolicyHistory.parse(_text(file)).believed(trusted)


def _policy(file: Path | None) -> Policy:
    if file is None:
        fail("say whom you trust: --policy FILE")
    try:
        return Policy.parse(_text(file))
    except PolicyError as error:
        fail(f"{file}: {error}")


def _ledger_report(
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
            return _verified(stored_rows(connection), kept, keys, count, as_json)


def _verified(
    rows: Iterable[RecordedRow],
    kept: ExpectedLedger,
    keys: dict[str, PublicKey],
    count: int | None,
    as_json: bool,
) -> Report:
    with _progress("Verifying", count, as_json) as progress:
        return verify_ledger(rows, kept, keys=keys, progress=progress)


def _report(report: Report, as_json: bool) -> None:
    """Print the result for the events, and exit if they do not hold."""
    if as_json:
        print_json(LedgerVerified.of(report))
    else:
        _show(report)
    if not report.holds:
        raise typer.Exit(DOES_NOT_HOLD)


def _show(report: Report) -> None:
    if report.holds:
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


def _check_views(
    conninfo: str, names: Sequence[str], report: Report | None, as_json: bool
) -> ViewsVerified:
    with (
        ViewChecker(conninfo, names) as checker,
        _progress("Comparing", checker.head(), as_json) as progress,
    ):
        head = checker.head()
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


def _show_views(verified: ViewsVerified) -> None:
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
def _progress(what: str, count: int | None, as_json: bool) -> Iterator[Callable[[int], None]]:
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
