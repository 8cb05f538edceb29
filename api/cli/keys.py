"""Commands on keys: an agency makes its own; its coordinator registers and revokes it."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from api.cli.connection import AsAgencyOrJson, asks
from api.cli.key_ids import TakesKeyId
from api.cli.output import AsJson, err, fail, failures, out, print_json

_PASSPHRASE_CHARACTERS = 16

app = typer.Typer(name="keys", help="Make, register, list and revoke keys.", no_args_is_help=True)
Proposal = Annotated[UUID, typer.Argument(help="As `keys proposals` lists it.")]


@app.command()
def new(
    agency: Annotated[str, typer.Argument(help="The agency whose key it will be.")],
    file: Annotated[Path | None, typer.Option(help="Where to keep the private key.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make an Ed25519 key. The private part stays in a file that only you can read."""

    from api.cli.steps.key_requests import request_for
    from api.keys.agency_keys import key_path
    from api.runtime.settings import Settings
    from ledger.signing.keys import generate, key_id, save

    with failures(as_json):
        path = file or key_path(Settings(), agency)
        key = generate()
        save(key, path)
        public = path.with_suffix(".public.json")
        public.write_text(request_for(key, agency).model_dump_json() + "\n")
        if as_json:
            print_json({"key_id": key_id(key), "private": str(path), "public": str(public)})
        else:
            out.print(f"Key {key_id(key)}", soft_wrap=True)
            out.print(f"private, never to be shared: {path}", soft_wrap=True)
            out.print(f"public, for your coordinator: {public}", soft_wrap=True)


@app.command()
def public(
    agency: Annotated[str, typer.Argument(help="The agency whose key it is.")],
    file: Annotated[Path | None, typer.Option(help="Where the private key is kept.")] = None,
) -> None:
    """Print the public part of a key for the coordinator, with the proof that you hold the key."""

    from api.cli.steps.key_requests import request_for
    from api.keys.agency_keys import own_key
    from api.runtime.settings import Settings

    with failures():
        print_json(request_for(own_key(Settings(), agency, file), agency))


@app.command("list")
@asks
def list_keys(asked: AsAgencyOrJson) -> None:
    """List the agencies of the protocol with their keys."""

    from api.cli.steps.case_tables import agency_table

    with asked.client() as client:
        agencies = client.agencies()
        if asked.as_json:
            print_json([a.model_dump(mode="json") for a in agencies])
        else:
            out.print(agency_table(agencies, datetime.now(UTC)))


@app.command()
@asks
def register(
    asked: AsAgencyOrJson,
    owner: Annotated[str, typer.Argument(help="The agency that will sign with the key.")],
    public_key: Annotated[
        Path,
        typer.Argument(help="The file with the output of `keys public` or of the sign-in page."),
    ],
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long it is valid.")] = 730,
    member: Annotated[
        UUID | None,
        typer.Option(help="The member who holds the key. Left out: a system of the agency."),
    ] = None,
) -> None:
    """Register a key, as the coordinator of the agency's country."""

    from api.cli.steps.key_requests import change_key, read_request
    from ledger.signing.key_possession import grant_of
    from ledger.signing.keys import from_public, key_id
    from ledger.vocabulary.registration import KeyRegistered

    with asked.client() as client:
        now = datetime.now(UTC)
        request = read_request(public_key, owner)
        grant = grant_of(request, valid_from=now, valid_until=now + timedelta(days=days))
        kid = key_id(from_public(grant.key))
        act = KeyRegistered(acted_at=now, grant=grant, member=member)
        change_key(asked, client, act, f"Registered {kid} for {owner}")


@app.command(cls=TakesKeyId)
@asks
def revoke(
    asked: AsAgencyOrJson,
    kid: Annotated[str, typer.Argument(metavar="KEY_ID", help="The key's thumbprint.")],
) -> None:
    """Revoke a key, as its agency or the coordinator; its earlier signatures stay valid."""

    from api.cli.steps.key_requests import change_key
    from ledger.vocabulary.registration import KeyRevoked

    with asked.client() as client:
        revoked = KeyRevoked(acted_at=datetime.now(UTC), key_id=kid)
        change_key(asked, client, revoked, f"Revoked {kid}")


@app.command(cls=TakesKeyId)
@asks
def compromised(
    asked: AsAgencyOrJson,
    kid: Annotated[str, typer.Argument(metavar="KEY_ID", help="The key's thumbprint.")],
    since: Annotated[
        str,
        typer.Option(
            help="Since when others had the key: a time with its offset, or a day of your country."
        ),
    ],
) -> None:
    """Declare that a key was in other hands since a time.

    The key is revoked, and the later events that it signed are marked.
    """

    from api.cli.steps.key_requests import change_key
    from api.cli.steps.own_time import own_zone
    from ledger.vocabulary.registration import KeyCompromised
    from projections.time.bitemporal import beginning_of

    with asked.client() as client:
        began = beginning_of(since, own_zone(asked.agency))
        declared = KeyCompromised(acted_at=datetime.now(UTC), key_id=kid, since=began)
        change_key(asked, client, declared, "Declared")


@app.command()
@asks
def proposals(asked: AsAgencyOrJson) -> None:
    """List the changes of keys that wait until another party has confirmed them."""
    with asked.client() as client:
        waiting = client.key_proposals()
        if asked.as_json:
            print_json([one.model_dump(mode="json") for one in waiting])
            return
        for one in waiting:
            mark = "[yellow]yours to confirm[/]" if one.yours else "waits"
            out.print(
                f"{one.id}  {one.change.value} of {one.key_id} for {one.agency}, by {one.by}:"
                f" {mark}",
                soft_wrap=True,
            )
        if not waiting:
            out.print("No change of a key waits.")


@app.command()
@asks
def confirm(asked: AsAgencyOrJson, proposal: Proposal) -> None:
    """Confirm a change of another party's key. Compare the thumbprint with its holder before."""

    from api.cli.steps.key_requests import change_key
    from ledger.vocabulary.registration import KeyChangeConfirmed

    with asked.client() as client:
        act = KeyChangeConfirmed(acted_at=datetime.now(UTC), proposal=proposal)
        change_key(asked, client, act, "Confirmed")


@app.command()
@asks
def decline(asked: AsAgencyOrJson, proposal: Proposal) -> None:
    """Decline a change of another party's key, or withdraw one of your own."""

    from api.cli.steps.key_requests import change_key
    from ledger.vocabulary.registration import KeyChangeDeclined

    with asked.client() as client:
        act = KeyChangeDeclined(acted_at=datetime.now(UTC), proposal=proposal)
        change_key(asked, client, act, "Declined")


@app.command()
@asks
def recover(
    asked: AsAgencyOrJson,
    owner: Annotated[str, typer.Argument(help="The coordinator that lost every key.")],
    public_key: Annotated[
        Path, typer.Argument(help="The file with the output of `keys public` for its new key.")
    ],
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long it is valid.")] = 730,
) -> None:
    """Register a key for another country's coordinator that lost every one of its keys.

    The coordinators of all other parties sign the same key. The key counts seven days after the
    first signature, once one of them signs it again. Any act that the coordinator signs itself
    ends the recovery.
    """

    from api.cli.steps.key_requests import read_request
    from api.cli.steps.signed_acts import sign_act
    from ledger.procedure.key_recovery import GRACE
    from ledger.signing.key_possession import grant_of
    from ledger.signing.keys import from_public, key_id
    from ledger.vocabulary.registration import CoordinatorKeyRecovered

    with asked.client() as client:
        now = datetime.now(UTC)
        request = read_request(public_key, owner)
        grant = grant_of(request, valid_from=now, valid_until=now + timedelta(days=days))
        kid = key_id(from_public(grant.key))
        act = CoordinatorKeyRecovered(acted_at=now, grant=grant)
        sign_act(asked, client, act, f"Recorded {kid} for {owner}")
        if not asked.as_json:
            out.print(
                "The key counts once every other party has signed it and "
                f"{GRACE.days} days are over since the first did. Sign it again then.",
                soft_wrap=True,
            )


@app.command("register-country")
@asks
def register_country(
    asked: AsAgencyOrJson,
    public_key: Annotated[
        Path | None,
        typer.Option(help="The country's public key.", show_default="of the key on this machine"),
    ] = None,
) -> None:
    """Register the country's key, to which other countries seal, as its coordinator."""

    from api.cli.steps.signed_acts import sign_act
    from api.runtime.settings import Settings
    from ledger.signing.country_key import CountryPublicKey
    from ledger.system.bounded_files import read_ordinary
    from ledger.vocabulary.registration import CountryKeyRegistered

    with asked.client() as client:
        if public_key is None:
            from api.keys.country_keys import country_key

            (party,) = {one.party for one in client.agencies() if one.id == asked.agency}
            public_part_of = country_key(Settings(), party).public
        else:
            public_part_of = CountryPublicKey.from_text(
                read_ordinary(public_key).decode("ascii").strip()
            )
        registered = CountryKeyRegistered(acted_at=datetime.now(UTC), key=str(public_part_of))
        sign_act(asked, client, registered, f"Registered the country's key {public_part_of.id}")


@app.command("new-country")
def make_country_key(
    party: Annotated[str, typer.Argument(help="The country whose node this is, such as XK.")],
) -> None:
    """Make another key for a country, and print its public part. The earlier ones stay.

    A running node seals to it from then on, and opens with all of them. Register it next
    (`keys register-country`), then seal the data keys to it (`keys reseal`).
    """

    from api.cli.steps.key_requests import of_own_country
    from api.keys.country_keys import new_country_key

    with failures():
        settings = of_own_country(party)
        typer.echo(str(new_country_key(settings, party)))


@app.command()
def reseal(
    party: Annotated[str, typer.Argument(help="The country whose node this is, such as XK.")],
    as_json: AsJson = False,
) -> None:
    """Seal every person's data key, and the masks for other countries, to the newest key.

    The node may run meanwhile. Repeating it is harmless.
    """

    from api.cli.steps.key_requests import of_own_country
    from api.keys.country_keys import country_key, pair_masks, person_keys

    with failures(as_json):
        settings = of_own_country(party)
        held = {party: country_key(settings, party)}
        persons = person_keys(settings, held)[party].reseal()
        masks = pair_masks(settings, held)[party].reseal()
        if as_json:
            print_json({"data_keys": persons, "masks": masks, "key": held[party].public.id})
        else:
            out.print(
                f"{persons} data keys and {masks} masks are sealed to {held[party].public.id}",
                soft_wrap=True,
            )


@app.command("replace-data-keys")
def replace_persons_keys(
    party: Annotated[str, typer.Argument(help="The country whose node this is, such as XK.")],
    case: Annotated[
        UUID | None, typer.Option(help="One person's case.", show_default="every person")
    ] = None,
    destroyed: Annotated[
        bool,
        typer.Option(
            help="Of each person of whom something was destroyed since the last replacement."
        ),
    ] = False,
    give_up_damaged: Annotated[
        bool,
        typer.Option(help="Destroy replaced keys even where a disclosure does not open."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Replace persons' data keys: seal again all that they sealed, and destroy the replaced ones.

    The node may run meanwhile. A run that was stopped goes on when this is run again. Backups of
    the database from before open no more: make a new one afterwards. With --destroyed, no older
    backup opens what two parties had destroyed.
    """

    from api.cli.steps.key_requests import of_own_country
    from api.keys.country_keys import country_key, pair_masks, person_keys
    from api.runtime.node_database import open_store
    from api.runtime.settings import Settings
    from ledger.vault.data_key_rotation import Replacement, open_in_backups, replace_data_keys
    from ledger.vault.search.search_tokens import SEARCH

    settings = Settings()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with (
        failures(as_json),
        open_store(settings) as store,
        Progress(*columns, TimeRemainingColumn(), console=err, disable=as_json) as bar,
    ):
        of_own_country(party)
        if destroyed and case is not None:
            raise ValueError("give --destroyed or --case, not both")
        task = bar.add_task("Persons")
        country = country_key(settings, party)
        keys = person_keys(settings, {party: country})[party]
        conninfo = store.owner_conninfo
        done = Replacement(resumed=False, persons=0, disclosures=0, damaged=0, kept=0)
        for person in open_in_backups(conninfo, party) if destroyed else [case]:
            run = replace_data_keys(
                conninfo,
                party,
                keys,
                case_id=person,
                gives_up_damaged=give_up_damaged,
                progress=lambda number, total: bar.update(task, completed=number, total=total),
            )
            done = done.with_run(run)
            if run.resumed:
                break
        if case is None and not destroyed:
            # The tokens in older backups are of no use once their secret is gone.
            pair_masks(settings, {party: country})[party].renew(SEARCH)
    if as_json:
        print_json(asdict(done))
    else:
        what = "Completed the run that was stopped" if done.resumed else "Replaced"
        out.print(
            f"{what}: {done.persons} data keys, {done.disclosures} disclosures sealed again.",
            soft_wrap=True,
        )
        if done.resumed:
            out.print("No other key was replaced. Run this again to replace more.")
    if done.kept:
        fail(
            f"the replaced keys of {done.kept} persons are kept: {done.damaged} disclosures do not"
            f" open. `case-ledger verify vault {party}` names them. Put their rows back from a"
            " backup and run this again, or give them up with --give-up-damaged"
        )


@app.command("change-passphrase")
def new_passphrase(
    file: Annotated[Path, typer.Argument(help="A file with the new passphrase in its first line.")],
    as_json: AsJson = False,
) -> None:
    """Encrypt the files of this node's countries' keys with another passphrase.

    Stop the node first, and start it with the new CASE_LEDGER_COUNTRY_KEY_PASSPHRASE. Repeating it
    after a crash completes it.
    """

    from api.keys.country_keys import change_passphrase
    from api.keys.log_keys import own_parties
    from api.runtime.settings import Settings

    with failures(as_json):
        settings = Settings()
        if settings.country_key_passphrase is None:
            raise ValueError(
                "no passphrase is set: name yours in CASE_LEDGER_COUNTRY_KEY_PASSPHRASE"
            )
        new = file.read_text(encoding="utf-8").split("\n")[0]
        if len(new) < _PASSPHRASE_CHARACTERS:
            raise ValueError(f"a passphrase has at least {_PASSPHRASE_CHARACTERS} characters")
        changed = [p.name for p in change_passphrase(settings, own_parties(settings), new)]
        if as_json:
            print_json({"changed": changed})
        else:
            out.print("Encrypted anew: " + (", ".join(changed) or "nothing"))


@app.command("retire-country")
def retire_country(
    party: Annotated[str, typer.Argument(help="The country whose node this is, such as XK.")],
    as_json: AsJson = False,
) -> None:
    """Destroy the earlier keys of a country on this machine, once nothing needs them.

    Refused while the newest key is not the registered one, or a data key is sealed to an earlier
    one. Parcels that others sealed to an earlier key and that were not fetched stay closed.
    """

    from api.cli.steps.key_requests import of_own_country
    from api.continuity.history_guard import mark_file
    from api.keys.country_keys import country_key, person_keys, retire_country_keys
    from api.runtime.node_database import open_store
    from api.runtime.settings import Settings
    from ledger.application import Ledger, environment

    settings = Settings()
    with failures(as_json), open_store(settings) as store:
        of_own_country(party)
        held = {party: country_key(settings, party)}
        with Ledger(environment(store.conninfo)) as ledger:
            registered = ledger.adopted().country_keys.get(party)
        if registered != held[party].public:
            fail(f"the newest key is not registered: case-ledger keys register-country for {party}")
        left = person_keys(settings, held)[party].check_each(held[party].opens_with_newest)
        if left:
            fail(f"{left} data keys are sealed to an earlier key: case-ledger keys reseal {party}")
        gone = [path.name for path in retire_country_keys(settings, party)]
        mark_file(settings).change(
            lambda mark: (
                mark.changed(retired_key_files=(*mark.retired_key_files, *gone)) if mark else None
            )
        )
        if as_json:
            print_json({"destroyed": gone})
        else:
            out.print("Destroyed: " + (", ".join(gone) or "nothing"))


@app.command()
def country(
    party: Annotated[str, typer.Argument(help="The country whose node this is, such as XK.")],
) -> None:
    """Print the public part of the country's key on this machine, for its coordinator."""

    from api.cli.steps.key_requests import of_own_country
    from api.keys.country_keys import country_key

    with failures():
        settings = of_own_country(party)
        typer.echo(str(country_key(settings, party).public))
