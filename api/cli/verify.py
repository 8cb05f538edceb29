"""Commands that verify: a ledger, an export, a receipt, a log of readings; 3 where one fails."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import psycopg
import typer
from cryptography.x509 import load_pem_x509_certificates
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from api.anchoring import anchored_readings
from api.cli.output import AsJson, fail, failures, out, print_json
from api.log_keys import own_parties, trusted_policy
from api.settings import Settings
from api.store import open_store
from api.timestamping import trusted_roots
from ledger.application import Ledger, environment
from ledger.entry import unseal
from ledger.merkle import ProofError, leaf_hash
from ledger.signing import read_recorded
from ledger.store.database import Database, set_role
from ledger.store.evidence import (
    kept_in,
    one_moment,
    registered_keys,
    stored_count,
    stored_keys,
    stored_rows,
)
from ledger.store.recorder import RecordedRow
from ledger.transparency.checkpoint import Checkpoint
from ledger.transparency.export import ExportError, read_checkpoint, read_export
from ledger.transparency.note import Note, NoteError
from ledger.transparency.policy import Policy, PolicyError
from ledger.transparency.proof import TlogProof
from ledger.transparency.timestamp import TimestampError, check
from ledger.vault.readings import Readings
from ledger.verification import Kept, Report, verify_ledger
from ledger.vocabulary.registration import PublicKey

app = typer.Typer(
    name="verify",
    help="Verify a ledger, an export, a receipt, a timestamp, an access log.",
    no_args_is_help=True,
)

DOES_NOT_HOLD = 3
PolicyFile = Annotated[
    Path | None,
    typer.Option("--policy", "-p", help="Trusted log and witness keys (C2SP tlog-policy)."),
]
Held = Annotated[
    list[Path] | None,
    typer.Option(help="A checkpoint that you kept, such as your witness's. May be repeated."),
]


@app.command()
def ledger(policy: PolicyFile = None, held: Held = None, as_json: AsJson = False) -> None:
    """Verify every event of this database: bytes, order, signatures, rules, tree, checkpoints."""
    settings = Settings()
    with failures(as_json), open_store(settings) as store:
        trusted = _policy(policy) if policy else trusted_policy(settings)
        notes = _notes(held)
        roots = trusted_roots(settings)
        with psycopg.connect(store.conninfo) as connection:
            set_role(connection)
            with one_moment(connection):
                keys = stored_keys(connection)
                kept = kept_in(connection, trusted, notes, roots)
                count = stored_count(connection)
                _verify(stored_rows(connection), kept, keys, count, as_json)


@app.command()
def export(
    directory: Annotated[Path, typer.Argument(help="What `case-ledger log export` wrote.")],
    policy: PolicyFile = None,
    held: Held = None,
    as_json: AsJson = False,
) -> None:
    """Verify a directory of static files, with no database and no server."""
    with failures(as_json):
        trusted = _policy(policy)
        try:
            kept = Kept(trusted, (read_checkpoint(directory),), _notes(held))
            keys = registered_keys(read_export(directory))
            _verify(read_export(directory), kept, keys, None, as_json)
        except ExportError as error:
            fail(str(error), DOES_NOT_HOLD)


@app.command()
def receipt(
    file: Annotated[Path, typer.Argument(help="A receipt (C2SP tlog-proof).")],
    policy: PolicyFile = None,
    as_json: AsJson = False,
) -> None:
    """Verify offline that an event is in the ledger, as every needed witness saw it."""
    with failures(as_json):
        trusted = _policy(policy)
        try:
            proof = TlogProof.parse(file.read_text(encoding="utf-8"))
            checkpoint, cosigned = proof.check(leaf_hash(proof.extra), trusted)
            text, recorded_at = unseal(proof.extra)
            action = read_recorded(text)
        except (NoteError, ProofError, ValueError, KeyError) as error:
            fail(f"the receipt does not hold: {error}", DOES_NOT_HOLD)
        told = {
            "position": proof.index + 1,
            "kind": action.kind,
            "agency": action.agency,
            "case": str(action.case_id) if action.case_id else None,
            "recorded_at": recorded_at.isoformat(),
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
        trusted = load_pem_x509_certificates(roots.read_bytes())
        try:
            text = Note.parse(checkpoint.read_bytes()).text
            head = Checkpoint.parse(text)
            moment = check(token.read_bytes(), text, trusted)
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
    """Verify a country's access log against what the ledger recorded of it."""
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


def _notes(files: list[Path] | None) -> tuple[str, ...]:
    return tuple(file.read_text(encoding="utf-8") for file in files or ())


def _policy(file: Path | None) -> Policy:
    if file is None:
        fail("say whom you trust: --policy FILE")
    try:
        return Policy.parse(file.read_text(encoding="utf-8"))
    except PolicyError as error:
        fail(f"{file}: {error}")


def _verify(
    rows: Iterable[RecordedRow],
    kept: Kept,
    keys: dict[str, PublicKey],
    count: int | None,
    as_json: bool,
) -> None:
    with _progress(count, as_json) as progress:
        report = verify_ledger(rows, kept, keys=keys, progress=progress)
    if as_json:
        print_json(
            {
                "holds": report.holds,
                "events": report.events,
                "root": report.root.hex(),
                "checkpoints": report.checkpoints,
                "covered": report.covered,
                "timestamps": report.timestamps,
                "findings": [
                    {"first": f.first, "last": f.last, "what": f.what} for f in report.findings
                ],
                "marks": [{"position": m.first, "what": m.what} for m in report.marks],
            }
        )
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


@contextmanager
def _progress(count: int | None, as_json: bool) -> Iterator[Callable[[int], None]]:
    columns = (
        SpinnerColumn(),
        TextColumn("Verifying"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=out, disable=as_json, transient=True) as progress:
        task = progress.add_task("", total=count)
        yield lambda done: progress.update(task, completed=done)
