"""Commands that verify: a ledger, its views, an export, a receipt, a vault, its access log.

They exit with 3 where something does not hold.
"""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from api.cli.output import AsJson, fail, failures, out, print_json

app = typer.Typer(
    name="verify",
    help="Verify a ledger, an export, a receipt, a timestamp, an access log.",
    no_args_is_help=True,
)
NOT_COVERED = 6
"""The exit code for a decision of more events than there are."""
PolicyFile = Annotated[
    Path | None,
    typer.Option("--policy", "-p", help="Trusted log and witness keys (C2SP tlog-policy)."),
]
PoliciesFile = Annotated[
    Path | None,
    typer.Option(help="Adopted policies: the file of `log policies`, or an export."),
]
_GET_POLICIES = "give the recorded policies, --policies FILE, from `case-ledger log policies`"
Held = Annotated[
    list[Path] | None,
    typer.Option(help="A checkpoint that you kept, such as your witness's. May be repeated."),
]


@app.command()
def ledger(policy: PolicyFile = None, held: Held = None, as_json: AsJson = False) -> None:
    """Verify every event of this database: bytes, order, signatures, rules, tree, checkpoints."""

    from api.cli.steps.verification_reports import ledger_report, notes_in, policy_in, report_of
    from api.keys.log_keys import trusted_policy
    from api.runtime.node_database import open_store
    from api.runtime.settings import Settings

    settings = Settings()
    with failures(as_json), open_store(settings) as store:
        trusted = policy_in(policy) if policy else trusted_policy(settings)
        report_of(
            ledger_report(store.conninfo, settings, trusted, notes_in(held), as_json), as_json
        )


@app.command()
def views(
    names: Annotated[
        list[str] | None, typer.Argument(help="The views to compare.", show_default="all")
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
    """Verify every event, fold all events again, and compare every field of every view.

    The command reads alone. `case-ledger rebuild` repairs a view that differs.
    """

    from api.cli.steps.verification_reports import (
        DOES_NOT_HOLD,
        NEEDS_UPDATE,
        ViewsVerified,
        check_views,
        ledger_report,
        notes_in,
        policy_in,
        show_report,
        show_views,
    )
    from api.keys.log_keys import trusted_policy
    from api.runtime.node_database import open_store
    from api.runtime.settings import Settings
    from projections.tables.all_views import VIEWS

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
            trusted = policy_in(policy) if policy else trusted_policy(settings)
            report = ledger_report(store.conninfo, settings, trusted, notes_in(held), as_json)
        verified = check_views(store.conninfo, chosen, report, as_json)
    if as_json:
        print_json(verified)
    else:
        if report is not None:
            show_report(report)
        show_views(verified)
    if not verified.holds:
        raise typer.Exit(DOES_NOT_HOLD)
    if report is not None and report.newer is not None:
        raise typer.Exit(NEEDS_UPDATE)


@app.command()
def columns(
    directory: Annotated[
        Path, typer.Argument(help="A directory that `case-ledger export --parquet` wrote.")
    ],
    static: Annotated[
        Path | None,
        typer.Option(
            "--export",
            help="Prove it against what `case-ledger log export` wrote, and not this database.",
        ),
    ] = None,
    policy: PolicyFile = None,
    as_json: AsJson = False,
) -> None:
    """Verify an export's columns: the ledger's events are hashed, and every row is made anew.

    With --policy, the published checkpoint must cover the export, signed as the policy asks.
    """

    from api.cli.steps.column_proofs import prove_columns
    from api.cli.steps.verification_reports import policy_in

    prove_columns(directory, static, None if policy is None else policy_in(policy), as_json)


@app.command()
def export(
    directory: Annotated[
        Path, typer.Argument(help="A directory that `case-ledger log export` wrote.")
    ],
    policy: PolicyFile = None,
    policies: PoliciesFile = None,
    held: Held = None,
    as_json: AsJson = False,
) -> None:
    """Verify a directory of static files, with no database and no server."""

    from api.cli.steps.verification_reports import (
        DOES_NOT_HOLD,
        given_policies,
        notes_in,
        policy_in,
        report_of,
        verified_rows,
    )
    from ledger.export.static_export import ExportError, read_checkpoint, read_export
    from ledger.log.note import NoteError
    from ledger.verification.evidence_reader import registered_keys
    from ledger.verification.verification import ExpectedLedger

    with failures(as_json):
        trusted = policy_in(policy)
        try:
            believed = given_policies(trusted, policies or directory)
            kept = ExpectedLedger(trusted, believed, (read_checkpoint(directory),), notes_in(held))
            keys = registered_keys(read_export(directory))
            report_of(verified_rows(read_export(directory), kept, keys, None, as_json), as_json)
        except (ExportError, NoteError) as error:
            fail(str(error), DOES_NOT_HOLD)


@app.command()
def receipt(
    file: Annotated[Path, typer.Argument(help="A receipt (C2SP tlog-proof).")],
    policy: PolicyFile = None,
    policies: PoliciesFile = None,
    as_json: AsJson = False,
) -> None:
    """Verify offline that an event is in the ledger, and that every needed witness cosigned it."""

    from api.cli.steps.verification_reports import (
        DOES_NOT_HOLD,
        given_policies,
        policy_in,
        shown_text,
    )
    from ledger.events.event_bytes import unseal
    from ledger.log.merkle import ProofError, leaf_hash
    from ledger.log.note import NoteError
    from ledger.log.tlog_proof import TlogProof
    from ledger.signing.signed_action import read_recorded

    with failures(as_json):
        trusted = policy_in(policy)
        try:
            believed = given_policies(trusted, policies)
            proof = TlogProof.parse(shown_text(file))
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
        typer.Option(
            help="Compare the decision with this export instead of this node's own events."
        ),
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

    from api.cli.steps.verification_reports import (
        DOES_NOT_HOLD,
        judged_by,
        judged_here,
        show_decision,
        shown_text,
    )
    from ledger.export.static_export import ExportError
    from ledger.log.note import NoteError
    from ledger.log.signed_decision import DecisionError, DecisionFile, SignedDecision
    from ledger.replication.false_decisions import NotCoveredError

    with failures(as_json):
        try:
            given = DecisionFile.parse(shown_text(file))
            read = SignedDecision.parse(given.decision)
            if export is None:
                verdict = judged_here(read, given.action, policy)
            else:
                verdict = judged_by(export, read, given.action, policy, policies)
        except NotCoveredError as error:
            fail(str(error), NOT_COVERED)
        except (DecisionError, ExportError, NoteError) as error:
            fail(f"the decision does not hold: {error}", DOES_NOT_HOLD)
        show_decision(read, verdict, as_json)


@app.command()
def timestamp(
    checkpoint: Annotated[Path, typer.Option(help="The checkpoint that was timestamped.")],
    token: Annotated[Path, typer.Option(help="The authority's answer (`/log/timestamp/SIZE`).")],
    roots: Annotated[Path, typer.Option(help="Root certificates that you trust, as PEM.")],
    as_json: AsJson = False,
) -> None:
    """Verify offline that an authority saw a checkpoint (RFC 3161), and show when.

    The checkpoint's own signatures are not looked at: `verify export --held` does that.
    """

    from cryptography.x509 import load_pem_x509_certificates

    from api.cli.steps.verification_reports import DOES_NOT_HOLD
    from ledger.log.checkpoint import Checkpoint
    from ledger.log.note import Note, NoteError
    from ledger.log.timestamp import TimestampError, check
    from ledger.system.bounded_files import read_ordinary

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

    from api.cli.steps.verification_reports import DOES_NOT_HOLD
    from api.exchange.access_log_anchor import anchored_readings
    from api.keys.log_keys import own_parties
    from api.runtime.node_database import open_store
    from api.runtime.settings import Settings
    from ledger.application import Ledger, environment
    from ledger.store.database import Database
    from ledger.vault.access_log import Readings

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


@app.command()
def vault(
    party: Annotated[str, typer.Argument(help="The country whose vault it is, such as XK.")],
    documents: Annotated[
        bool,
        typer.Option(
            "--documents",
            help="Read the content of each document too, as the database's owner, and compare it"
            " with the signed digest.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Verify a country's vault: every disclosure is there, as it was deposited and signed.

    Opens nothing without --documents. Each row is compared with the vault's inventory, which is
    authenticated under the person's data key, and with the digests that the ledger has. Fields that
    the country must hold by the ledger, and that are not there, are named too.
    """

    from api.background_jobs.vault_checker import vault_check
    from api.cli.steps.missing_tables import missing_table
    from api.cli.steps.verification_reports import DOES_NOT_HOLD, VaultVerified, progress_bar
    from api.keys.country_keys import country_keys, person_keys
    from api.keys.log_keys import own_parties
    from api.runtime.document_store import document_chunks
    from api.runtime.node_database import open_store
    from api.runtime.settings import Settings
    from ledger.application import Ledger, environment
    from ledger.replication.outbox import Outbox
    from ledger.store.database import Database
    from ledger.system import clock
    from ledger.vault.documents.content_check import ContentCheck
    from ledger.vault.missing_disclosures import MissingPart
    from ledger.vault.required_disclosures import FieldPart
    from ledger.vault.vault_check import VaultFinding

    settings = Settings()
    with failures(as_json), open_store(settings) as store:
        if party not in own_parties(settings):
            raise ValueError(f"this is no node of {party} (CASE_LEDGER_COUNTRIES)")
        keys = person_keys(settings, country_keys(settings, [party]))[party]
        chunks = document_chunks(settings)(party)
        with (
            Ledger(environment(store.conninfo)) as ledger,
            Database(store.conninfo) as database,
            progress_bar("Checking", None, as_json) as progress,
        ):
            check = vault_check(ledger, database, Outbox(database), party, keys, chunks)
            findings, registry = [], ledger.adopted()
            for finding in check.findings(registry.directory, registry.protocol_today(clock.now())):
                findings.append(finding)
                progress(check.actions)
        contents = ContentCheck(party, keys, chunks)
        if documents:
            with progress_bar("Reading documents", None, as_json) as progress:
                for row, what in contents.findings(store.owner_conninfo, progress):
                    where = {"case_id": row["case_id"], "action": row["action_id"]}
                    findings.append(VaultFinding(what=what, field=row["field"], **where))
    awaited_since = clock.now() - timedelta(seconds=settings.missing_after_seconds)
    missing = tuple(
        MissingPart.of(lack)
        for lack in check.lacks
        if lack.due.part is FieldPart.OWN or lack.due.recorded_at <= awaited_since
    )
    if as_json:
        verified = VaultVerified(
            actions=check.actions,
            documents=contents.checked if documents else None,
            findings=tuple(findings),
            missing=missing,
        )
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
        read = f" The contents of {contents.checked} documents were read." if documents else ""
        out.print(f"[green]Holds[/]: the disclosures of {check.actions} actions.{read}")
