"""Commands on the transparency log: its keys, an export, receipts, a witness."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from api.cli.connection import DEFAULT_URL, Agency, KeyFile, Url, connect
from api.cli.output import AsJson, fail, failures, out, print_json
from api.log_keys import (
    log_key,
    new_log_key,
    new_witness_key,
    trusted_policy,
    witness_key,
)
from api.processes import leave_when_told
from api.server import log_as_json, run
from api.settings import Settings
from api.store import open_store
from api.witness_app import create_witness_app
from ledger.application import Ledger, environment
from ledger.store.database import Database
from ledger.store.migrate import migrate, witness_component, witness_role
from ledger.transparency.export import write_export
from ledger.transparency.note import SignatureType, VerifierKey
from ledger.transparency.policy import Policy
from ledger.transparency.publication import published
from ledger.transparency.timestamping import earliest_timestamps
from ledger.transparency.witness import Witness
from ledger.vocabulary.registration import LogPolicyAdopted

app = typer.Typer(name="log", help="The ledger as a transparency log.", no_args_is_help=True)
witness_app = typer.Typer(name="witness", help="A party's witness.", no_args_is_help=True)


@app.command()
def policy() -> None:
    """Print the keys that this node believes, for the other parties to compare and to keep.

    Run it where the node runs: without a policy file, keys that are missing are made.
    """
    with failures():
        typer.echo(str(trusted_policy(Settings())), nl=False)


@app.command("key")
def show_log_key() -> None:
    """Print the verifier key of this node's log; made if there is none yet."""
    with failures():
        typer.echo(str(log_key(Settings()).verifier))


@app.command("new-key")
def make_log_key() -> None:
    """Make another key for the log; it signs once the parties adopt a policy that names it."""
    with failures():
        typer.echo(str(new_log_key(Settings()).verifier))


@app.command("adopt-policy")
def adopt_policy(
    agency: Agency,
    file: Annotated[Path, typer.Argument(help="The policy (C2SP tlog-policy).")],
    out_file: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Only sign, into a file, for `node take-over`."),
    ] = None,
    url: Url = DEFAULT_URL,
    key: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Adopt a policy as a party's coordinator; it is in force once every party has.

    So keys of the log and of witnesses change, and another node takes the ledger over.
    """
    with failures(as_json), connect(url, agency, key) as client:
        text = file.read_text(encoding="utf-8")
        Policy.parse(text)
        action = LogPolicyAdopted(acted_at=datetime.now(UTC), policy=text)
        if out_file is not None:
            out_file.write_text(f"{client.sign(action, None)}\n", encoding="ascii")
            out.print(f"Signed into {out_file}", soft_wrap=True)
            return
        receipt = client.append_to_registry(action)
        if as_json:
            print_json(receipt)
        else:
            out.print(f"[green]Recorded[/] at position {receipt.position}.")


@app.command("export")
def export_log(
    directory: Annotated[Path, typer.Argument(help="Where to write; may hold an older export.")],
    as_json: AsJson = False,
) -> None:
    """Write what the last published checkpoint covers as a directory of static files."""
    columns = (TextColumn("Writing"), BarColumn(), MofNCompleteColumn())
    with (
        failures(as_json),
        open_store(Settings()) as store,
        Ledger(environment(store.conninfo)) as ledger,
        Database(store.conninfo) as database,
        Progress(*columns, console=out, disable=as_json, transient=True) as progress,
    ):
        last = published(database)
        if last is None:
            fail("no checkpoint is published yet; a quorum of witnesses must cosign one")
        note, checkpoint = last
        task = progress.add_task("", total=None)
        written = write_export(
            ledger.rows,
            note,
            directory,
            lambda done, of: progress.update(task, completed=done, total=of),
            earliest_timestamps(database, 1, checkpoint.size),
        )
        if as_json:
            print_json({"size": checkpoint.size, "files": written})
        else:
            out.print(f"{checkpoint.size} events, {written} files written to {directory}")


@app.command()
def receipt(
    agency: Agency,
    position: Annotated[int, typer.Argument(min=1, help="The position of an event.")],
    file: Annotated[Path | None, typer.Option("--out", "-o", help="Where to write it.")] = None,
    url: Url = DEFAULT_URL,
    key: KeyFile = None,
) -> None:
    """Get a receipt that verifies offline (`case-ledger verify receipt`)."""
    with failures(), connect(url, agency, key) as client:
        proof = client.proof(position)
        if file is None:
            typer.echo(proof, nl=False)
        else:
            file.write_text(proof, encoding="utf-8")
            out.print(f"Written to {file}", soft_wrap=True)


@witness_app.command("key")
def show_key(party: Annotated[str, typer.Argument(help="The party's country code.")]) -> None:
    """Print the verifier key of a party's witness; made if there is none yet."""
    with failures():
        typer.echo(str(witness_key(Settings(), party).verifier))


@witness_app.command("new-key")
def make_witness_key(
    party: Annotated[str, typer.Argument(help="The party's country code.")],
) -> None:
    """Make another key for a witness; it cosigns once a policy that names it is in force."""
    with failures():
        typer.echo(str(new_witness_key(Settings(), party).verifier))


@witness_app.command("serve")
def serve_witness(
    party: Annotated[str, typer.Argument(help="The party whose witness it is.")],
    log: Annotated[
        list[str], typer.Option(help="Verifier key of a log to witness. May be repeated.")
    ],
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
) -> None:
    """Run a witness alone, with a database of its own (C2SP tlog-witness)."""
    log_as_json()
    leave_when_told()
    settings = Settings().listening_on(host, port)
    code = party.upper()
    with failures(), open_store(settings) as store:
        logs: dict[str, list[VerifierKey]] = {}
        for vkey in log:
            key = VerifierKey.parse(vkey)
            if key.type is not SignatureType.ED25519:
                fail(f"{key.name} is not the key of a log")
            logs.setdefault(key.name, []).append(key)
        migrate(store.owner_conninfo, [witness_component(code)], roles=[witness_role(code)])
        with Database(store.conninfo) as database:
            witness = Witness(
                database, code, witness_key(settings, code), lambda origin: logs.get(origin, ())
            )
            run(create_witness_app(witness, settings.submissions_per_minute), settings)
