"""Commands on the transparency log: its keys, an export, receipts, a witness."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from api.cli.connection import AsAgency, AsAgencyOrJson, AtNode, asks
from api.cli.output import AsJson, fail, failures, out, print_json

app = typer.Typer(name="log", help="The ledger as a transparency log.", no_args_is_help=True)
witness_app = typer.Typer(name="witness", help="A party's witness.", no_args_is_help=True)


@app.command()
@asks
def policy(
    asked: AtNode,
    in_force: Annotated[
        bool, typer.Option("--in-force", help="Print the policy in force, from the node at --url.")
    ] = False,
) -> None:
    """Print the keys that this node trusts, for the other parties to compare and to keep.

    Run it where the node runs: without a policy file, keys that are missing are made. It prints the
    policy that the ledger began with. With --in-force it prints the policy that the parties adopted
    since.
    """

    from api.cli.steps.log_policies import log_of
    from api.keys.log_keys import trusted_policy
    from api.runtime.settings import Settings

    with failures():
        text = log_of(asked.url, "policy", {}) if in_force else str(trusted_policy(Settings()))
        typer.echo(text, nl=False)


@app.command("key")
def show_log_key() -> None:
    """Print the verifier key of this node's log; made if there is none yet."""

    from api.keys.log_keys import log_key
    from api.runtime.settings import Settings

    with failures():
        typer.echo(str(log_key(Settings()).verifier))


@app.command("new-key")
def make_log_key() -> None:
    """Make another key for the log; it signs once the parties adopt a policy that names it."""

    from api.keys.log_keys import new_log_key
    from api.runtime.settings import Settings

    with failures():
        typer.echo(str(new_log_key(Settings()).verifier))


@app.command("adopt-policy")
@asks
def adopt_policy(
    asked: AsAgencyOrJson,
    file: Annotated[Path, typer.Argument(help="The policy (C2SP tlog-policy).")],
    out_file: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Write the signed act into this file, for `node take-over`. Nothing is recorded.",
        ),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(help="A party that counts as absent (`absence show`). May be repeated."),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="A checkpoint that you verified.", show_default="the one published at --url"
        ),
    ] = None,
) -> None:
    """Adopt a policy as a party's coordinator; it is in force once every party has adopted it.

    With --without it is in force once every other party has, if the protocol's quorum allows it. So
    keys of the log and of witnesses change, and another node takes the ledger over.

    The vote counts only in a ledger that begins with the events of --checkpoint, so that nobody can
    put it on a fork. The address --url is your own country's node, which verified the data that it
    serves.
    """

    from api.cli.steps.named_checkpoints import chosen, tell_named
    from api.cli.steps.signed_acts import sign_act_or_write
    from ledger.log.policy import Policy
    from ledger.system.bounded_files import read_ordinary
    from ledger.verification.policy_history import MAX_BYTES
    from ledger.vocabulary.registration import LogPolicyAdopted

    with asked.client() as client:
        text = read_ordinary(file, MAX_BYTES).decode("utf-8")
        Policy.parse(text)
        named = chosen(client, checkpoint, 1)
        action = LogPolicyAdopted(
            acted_at=datetime.now(UTC),
            policy=text,
            without=tuple(sorted(party.upper() for party in without)) if without else None,
            checkpoint=named,
        )
        if not asked.as_json:
            tell_named(named)
        sign_act_or_write(asked, client, action, out_file)


@app.command()
@asks
def policies(
    asked: AtNode,
    size: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Prove also an older checkpoint of this size. May be repeated."),
    ] = None,
    file: Annotated[Path | None, typer.Option("--out", "-o", help="Where to write it.")] = None,
) -> None:
    """Get every policy that the parties adopted, with proofs, for `verify … --policies`.

    A receipt or an export then verifies under any policy that was ever in force. The request to
    the node at --url needs no key. Every export has the same file as `policies.json`.
    """

    from api.cli.steps.log_policies import recorded_policies

    with failures():
        text = recorded_policies(asked.url, size or [])
        if file is None:
            typer.echo(text, nl=False)
        else:
            file.write_bytes(text.encode())
            out.print(f"Written to {file}", soft_wrap=True)


@app.command()
def fingerprints(
    size: Annotated[
        int | None,
        typer.Option(
            min=1, help="Up to a checkpoint of this size.", show_default="the last published one"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the fingerprints that parties and auditors compare by telephone.

    They are of the policy, the adoption and the root. Run it on the machine of a node whose copy
    you trust.
    """

    from api.cli.steps.log_policies import adoption
    from api.keys.log_keys import policy_at
    from api.runtime.node_database import open_store
    from api.runtime.settings import Settings
    from ledger.application import Ledger, environment
    from ledger.log.fingerprint import spoken
    from ledger.publication.publisher import published
    from ledger.store.database import Database

    settings = Settings()
    with (
        failures(as_json),
        open_store(settings) as store,
        Ledger(environment(store.conninfo)) as ledger,
        Database(store.conninfo) as database,
    ):
        last = published(database)
        if size is None and last is None:
            fail("no checkpoint is published yet; name a --size")
        at = size or (last[1].size if last else 0)
        tree = ledger.tree()
        if at > tree.size:
            fail(f"there are {tree.size} events here, not {at}")
        policy = str(policy_at(ledger, settings)(at))
        digests = {
            "policy": hashlib.sha256(policy.encode()).digest(),
            "adoption": adoption(ledger),
            "root": tree.root(at),
        }
        told = {name: spoken(digest) for name, digest in digests.items()}
        if as_json:
            print_json({"size": at, **told})
            return
        for name, text in told.items():
            of = f"   (of {at} events)" if name == "root" else ""
            out.print(f"{name:<9} {text}{of}", highlight=False, soft_wrap=True)


@app.command("export")
def export_log(
    directory: Annotated[
        Path, typer.Argument(help="The directory to write. It may hold an older export.")
    ],
    signed_only: Annotated[
        bool,
        typer.Option(
            "--signed", help="Up to the last signed checkpoint, also if no quorum cosigned it."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write the events of the last published checkpoint as a directory that stands alone.

    It holds static files, the recorded policies, a verifier and instructions (README.md). With
    --signed it is for `witness follow`: while witnesses refuse, nothing new is published.
    """

    from api.cli.steps.log_policies import adoption
    from api.keys.log_keys import policy_at, trusted_policy
    from api.runtime.node_database import open_store
    from api.runtime.settings import Settings
    from ledger.application import Ledger, environment
    from ledger.export.stand_alone import stand_alone_files
    from ledger.export.static_export import write_export
    from ledger.publication.publisher import published, signed
    from ledger.publication.timestamping import earliest_timestamps
    from ledger.store.database import Database
    from ledger.verification.policy_history import policy_history

    settings = Settings()
    columns = (TextColumn("Writing"), BarColumn(), MofNCompleteColumn())
    with (
        failures(as_json),
        open_store(settings) as store,
        Ledger(environment(store.conninfo)) as ledger,
        Database(store.conninfo) as database,
        Progress(*columns, console=out, disable=as_json, transient=True) as progress,
    ):
        last = signed(database) if signed_only else published(database)
        if last is None:
            fail("no checkpoint is published yet; a quorum of witnesses must cosign one")
        note, checkpoint = last
        task = progress.add_task("", total=None)
        trusted = trusted_policy(settings, ledger.registry())
        history = policy_history(ledger.rows, database, ledger.registry(), trusted)
        policy = policy_at(ledger, settings)(checkpoint.size)
        written = write_export(
            ledger.rows,
            note,
            directory,
            lambda done, of: progress.update(task, completed=done, total=of),
            earliest_timestamps(database, 1, checkpoint.size),
            stand_alone_files(note, policy, history, adoption(ledger)),
        )
        if as_json:
            print_json({"size": checkpoint.size, "files": written})
        else:
            out.print(f"{checkpoint.size} events, {written} files written to {directory}")


@app.command()
@asks
def receipt(
    asked: AsAgency,
    position: Annotated[int, typer.Argument(min=1, help="The position of an event.")],
    file: Annotated[Path | None, typer.Option("--out", "-o", help="Where to write it.")] = None,
) -> None:
    """Get a receipt that verifies offline (`case-ledger verify receipt`)."""
    with asked.client() as client:
        proof = client.proof(position)
        if file is None:
            typer.echo(proof, nl=False)
        else:
            file.write_text(proof, encoding="utf-8")
            out.print(f"Written to {file}", soft_wrap=True)


@witness_app.command("key")
def show_key(party: Annotated[str, typer.Argument(help="The party's country code.")]) -> None:
    """Print the verifier key of a party's witness; made if there is none yet."""

    from api.keys.log_keys import witness_key
    from api.runtime.settings import Settings

    with failures():
        typer.echo(str(witness_key(Settings(), party).verifier))


@witness_app.command("new-key")
def make_witness_key(
    party: Annotated[str, typer.Argument(help="The party's country code.")],
) -> None:
    """Make another key for a witness; it cosigns once a policy that names it is in force."""

    from api.keys.log_keys import new_witness_key
    from api.runtime.settings import Settings

    with failures():
        typer.echo(str(new_witness_key(Settings(), party).verifier))


@witness_app.command()
def follow(
    party: Annotated[str, typer.Argument(help="The party whose witness it is.")],
    ledger_from: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="An export (`log export --signed`).",
            show_default="this node's own events",
        ),
    ] = None,
    adopted: Annotated[
        str | None,
        typer.Option(
            "--adoption", help="The adoption's hash.", show_default="CASE_LEDGER_ADOPTION"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Follow the log policy that the parties adopted: its log keys count, and no others.

    Run it on the witness's machine after a log key was rotated. If a leaked key led the witness
    astray, this resets it: it goes back to the verified events, and keeps the forged note as
    evidence. It may run while the witness serves.
    """

    from api.cli.steps.log_policies import adoption_here, adoption_in_export
    from api.keys.log_keys import witness_keys
    from api.runtime.node_database import open_store
    from api.runtime.settings import Settings
    from ledger.publication.witness import Witness
    from ledger.store.database import Database
    from ledger.store.migrate import migrate, witness_component, witness_role

    settings, code = Settings(), party.upper()
    with failures(as_json), open_store(settings) as store:
        if ledger_from is not None:
            migrate(store.owner_conninfo, [witness_component(code)], roles=[witness_role(code)])
            first = adopted or settings.adoption
            if first is None:
                fail("name the adoption's hash that the parties compared: --adoption HASH")
            decided = adoption_in_export(ledger_from, bytes.fromhex(first))
        else:
            decided = adoption_here(store.conninfo)
        with Database(store.conninfo) as database:
            signer, *later = witness_keys(settings, code)
            witness = Witness(database, code, signer, lambda _: (), also=later)
            applied = witness.follow(decided)
        if as_json:
            print_json(
                {
                    "since": decided.since,
                    "log_keys": [str(key) for key in decided.policy.logs],
                    "size": applied.size,
                    "reset_from": applied.reset_from,
                }
            )
            return
        keys = ", ".join(str(key) for key in decided.policy.logs)
        out.print(f"The witness believes the policy since size {decided.since}: {keys}")
        if applied.reset_from is not None:
            out.print(
                f"[yellow]It was led astray[/] and held {applied.reset_from} events of another "
                f"history. It stands at size {applied.size} again; the forged note is kept as "
                "evidence in its schema.",
                soft_wrap=True,
            )


@witness_app.command("serve")
def serve_witness(
    party: Annotated[str, typer.Argument(help="The party whose witness it is.")],
    log: Annotated[
        list[str], typer.Option(help="The output of `log key` on the ledger node. May be repeated.")
    ],
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
) -> None:
    """Run a witness alone, with a database of its own (C2SP tlog-witness).

    Once it follows an adopted policy (`witness follow`), that policy's log keys count and --log
    does not.
    """

    from api.keys.log_keys import witness_keys
    from api.processes.server import log_as_json, run
    from api.processes.supervisor import leave_when_told
    from api.processes.witness_app import create_witness_app
    from api.runtime.node_database import open_store
    from api.runtime.settings import Settings
    from ledger.log.note import SignatureType, VerifierKey
    from ledger.publication.witness import Witness
    from ledger.store.database import Database
    from ledger.store.migrate import migrate, witness_component, witness_role

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
            first, *later = witness_keys(settings, code)
            witness = Witness(
                database, code, first, lambda origin: logs.get(origin, ()), also=later
            )
            run(create_witness_app(witness, settings.submissions_per_minute), settings)
