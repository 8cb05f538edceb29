"""Commands on keys: an agency makes its own; its coordinator registers and revokes it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from api.agency_keys import key_path, own_key
from api.cli.connection import DEFAULT_URL, Agency, KeyFile, Url, connect
from api.cli.output import AsJson, fail, failures, out, print_json
from api.cli.tables import agency_table
from api.country_keys import (
    country_key,
    new_country_key,
    pair_shares,
    person_keys,
    retire_country_keys,
)
from api.history import mark_file
from api.log_keys import own_parties
from api.settings import Settings
from api.store import open_store
from ledger.application import Ledger, environment
from ledger.key_recovery import GRACE
from ledger.keys import from_public, generate, key_id, public_part, save
from ledger.reading_files import read_ordinary
from ledger.vault.country_key import CountryPublicKey
from ledger.vocabulary.registration import (
    CoordinatorKeyRecovered,
    CountryKeyRegistered,
    KeyCompromised,
    KeyGrant,
    KeyRegistered,
    KeyRevoked,
    PublicKey,
)

app = typer.Typer(name="keys", help="Make, register, list and revoke keys.", no_args_is_help=True)


@app.command()
def new(
    agency: Annotated[str, typer.Argument(help="The agency whose key it will be.")],
    file: Annotated[Path | None, typer.Option(help="Where to keep the private key.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make an Ed25519 key. The private part stays in a file that only you can read."""
    with failures(as_json):
        path = file or key_path(Settings(), agency)
        key = generate()
        save(key, path)
        public = path.with_suffix(".public.json")
        public.write_text(public_part(key).model_dump_json() + "\n")
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
    """Print the public part of a key, as a JWK."""
    with failures():
        print_json(public_part(own_key(Settings(), agency, file)))


@app.command("list")
def list_keys(
    agency: Agency, url: Url = DEFAULT_URL, key: KeyFile = None, as_json: AsJson = False
) -> None:
    """List the agencies of the protocol with their keys."""
    with failures(as_json), connect(url, agency, key) as client:
        agencies = client.agencies()
        if as_json:
            print_json([a.model_dump(mode="json") for a in agencies])
        else:
            out.print(agency_table(agencies, datetime.now(UTC)))


@app.command()
def register(
    agency: Agency,
    owner: Annotated[str, typer.Argument(help="The agency that will sign with the key.")],
    public_key: Annotated[Path, typer.Argument(help="Its public key, a JWK.")],
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long it is valid.")] = 730,
    url: Url = DEFAULT_URL,
    key: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Register a key, as the coordinator of the agency's country."""
    with failures(as_json), connect(url, agency, key) as client:
        now = datetime.now(UTC)
        grant = KeyGrant(
            agency=owner,
            key=PublicKey.model_validate_json(read_ordinary(public_key)),
            valid_from=now,
            valid_until=now + timedelta(days=days),
        )
        receipt = client.append_to_registry(KeyRegistered(acted_at=now, grant=grant))
        if as_json:
            print_json(receipt)
        else:
            kid = key_id(from_public(grant.key))
            out.print(f"[green]Registered[/] {kid} for {owner}", soft_wrap=True)


@app.command()
def revoke(
    agency: Agency,
    kid: Annotated[str, typer.Argument(metavar="KEY_ID", help="The key's thumbprint.")],
    url: Url = DEFAULT_URL,
    key: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a key, as its agency or the coordinator. What it signed before stays valid."""
    with failures(as_json), connect(url, agency, key) as client:
        revoked = KeyRevoked(acted_at=datetime.now(UTC), key_id=kid)
        receipt = client.append_to_registry(revoked)
        if as_json:
            print_json(receipt)
        else:
            out.print(f"[green]Revoked[/] {kid} at position {receipt.position}", soft_wrap=True)


@app.command()
def compromised(
    agency: Agency,
    kid: Annotated[str, typer.Argument(metavar="KEY_ID", help="The key's thumbprint.")],
    since: Annotated[str, typer.Option(help="Since when, with its offset (RFC 3339).")],
    url: Url = DEFAULT_URL,
    key: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Declare that a key was in other hands since a time: revoked, and what followed is marked."""
    with failures(as_json), connect(url, agency, key) as client:
        declared = KeyCompromised(
            acted_at=datetime.now(UTC), key_id=kid, since=datetime.fromisoformat(since)
        )
        receipt = client.append_to_registry(declared)
        if as_json:
            print_json(receipt)
        else:
            out.print(f"[green]Declared[/] at position {receipt.position}", soft_wrap=True)


@app.command()
def recover(
    agency: Agency,
    owner: Annotated[str, typer.Argument(help="The coordinator that lost every key.")],
    public_key: Annotated[Path, typer.Argument(help="Its new public key, a JWK.")],
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long it is valid.")] = 730,
    url: Url = DEFAULT_URL,
    key: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Register a key for another country's coordinator that lost every one of its keys.

    The coordinators of all other parties sign the same key. It counts seven days after the first of
    them did, once one of them signs it again. An act that the coordinator signs itself ends it.
    """
    with failures(as_json), connect(url, agency, key) as client:
        now = datetime.now(UTC)
        grant = KeyGrant(
            agency=owner,
            key=PublicKey.model_validate_json(public_key.read_text()),
            valid_from=now,
            valid_until=now + timedelta(days=days),
        )
        receipt = client.append_to_registry(CoordinatorKeyRecovered(acted_at=now, grant=grant))
        if as_json:
            print_json(receipt)
        else:
            kid = key_id(from_public(grant.key))
            out.print(
                f"Recorded at position {receipt.position}: {kid} for {owner}. It counts once every "
                f"other party signed it and {GRACE.days} days are over since the first; sign it "
                "again then.",
                soft_wrap=True,
            )


@app.command("register-country")
def register_country(
    agency: Agency,
    public_key: Annotated[
        Path | None,
        typer.Option(help="The country's public key. [default: of the key on this machine]"),
    ] = None,
    url: Url = DEFAULT_URL,
    key: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Register the key that others seal to, as the country's coordinator."""
    with failures(as_json), connect(url, agency, key) as client:
        if public_key is None:
            party = Settings().load_protocol().agencies_by_id[agency].party
            public_part_of = country_key(Settings(), party).public
        else:
            public_part_of = CountryPublicKey.from_text(
                read_ordinary(public_key).decode("ascii").strip()
            )
        registered = CountryKeyRegistered(acted_at=datetime.now(UTC), key=str(public_part_of))
        receipt = client.append_to_registry(registered)
        if as_json:
            print_json(receipt)
        else:
            out.print(f"[green]Registered[/] the country's key {public_part_of.id}", soft_wrap=True)


@app.command("new-country")
def make_country_key(
    party: Annotated[str, typer.Argument(help="The country whose node this is, such as XK.")],
) -> None:
    """Make another key for a country, and print its public part. The earlier ones stay.

    A running node seals to it from then on, and opens with all of them. Register it next
    (`keys register-country`), then seal the data keys to it (`keys reseal`).
    """
    with failures():
        settings = _of_own_country(party)
        typer.echo(str(new_country_key(settings, party)))


@app.command()
def reseal(
    party: Annotated[str, typer.Argument(help="The country whose node this is, such as XK.")],
    as_json: AsJson = False,
) -> None:
    """Seal every person's data key, and the shares with other countries, to the newest key.

    The node may run meanwhile. Repeating it is harmless.
    """
    with failures(as_json):
        settings = _of_own_country(party)
        held = {party: country_key(settings, party)}
        persons = person_keys(settings, held)[party].reseal()
        shares = pair_shares(settings, held)[party].reseal()
        if as_json:
            print_json({"data_keys": persons, "shares": shares, "key": held[party].public.id})
        else:
            out.print(
                f"{persons} data keys and {shares} shares are sealed to {held[party].public.id}",
                soft_wrap=True,
            )


@app.command("retire-country")
def retire_country(
    party: Annotated[str, typer.Argument(help="The country whose node this is, such as XK.")],
    as_json: AsJson = False,
) -> None:
    """Destroy the earlier keys of a country on this machine, once nothing needs them.

    Refused while the newest key is not the registered one, or a data key is sealed to an earlier
    one. Parcels that others sealed to an earlier key and that were not fetched stay closed.
    """
    settings = Settings()
    with failures(as_json), open_store(settings) as store:
        _of_own_country(party)
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


def _of_own_country(party: str) -> Settings:
    """The settings, of a node of this country. Raises ``ValueError``."""
    settings = Settings()
    if party not in own_parties(settings):
        raise ValueError(f"this is no node of {party} (CASE_LEDGER_COUNTRIES)")
    return settings


@app.command()
def country(
    party: Annotated[str, typer.Argument(help="The country whose node this is, such as XK.")],
) -> None:
    """Print the public part of the country's key on this machine, for its coordinator."""
    with failures():
        settings = _of_own_country(party)
        typer.echo(str(country_key(settings, party).public))
