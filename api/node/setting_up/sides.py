"""The two sides of the set-up, each of which goes on from where it was.

The sides hand four files to each other in three rounds:

1. The ledger node's side makes the log's key and hands its file to every country.
2. Each country's side makes its node's and its witness's keys and hands its file to the ledger
   node's side, with the key of its coordinator.
3. The ledger node's side writes the policy, and the protocol is adopted. It hands its file, now
   complete, to every country. Each country checks it and writes its settings.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from joserfc.jwk import OKPKey

from api.exchange.access_log_anchor import node_of
from api.keys.agency_keys import key_path, own_key
from api.keys.log_keys import log_key, witness_key
from api.node.agreed_protocol import settings_here
from api.node.setting_up.hand_over import (
    Accepted,
    CountryHandOver,
    LedgerHandOver,
    protocol_digest,
    write_whole,
)
from api.node.setting_up.settings_file import read_settings, write_settings
from api.paper.protocol_changes import copy_contents
from api.paper.subject_access.wording import wording
from api.runtime.node_database import NodeDatabase, open_store
from api.runtime.settings import Settings
from api.services.adoption import adopt_protocol
from ledger.log.note import VerifierKey
from ledger.log.policy import Group, Policy, TrustedWitness
from ledger.procedure.protocol import COORDINATOR, Protocol
from ledger.signing import keys
from ledger.signing.key_possession import request_of
from ledger.store.database import set_role
from ledger.vocabulary.registration import KeyRequest

LEDGER = "ledger"
_MANAGED = (
    "database_url",
    "owner_database_url",
    "protocol",
    "ledger_origin",
    "policy",
    "ledger_url",
    "adoption",
)


@dataclass(frozen=True, slots=True)
class SideDirectory:
    """The directory of one side: its keys, its settings and what was handed over."""

    directory: Path

    @property
    def settings_file(self) -> Path:
        return self.directory / "node.env"

    @property
    def policy(self) -> Path:
        return self.directory / "policy"

    @property
    def accepted(self) -> Accepted:
        return Accepted(self.directory / "setup" / "accepted")

    def own_file(self, side: str) -> Path:
        """Return the path of the file that this side hands to the others."""
        return self.directory / "setup" / f"{side.lower()}.hand-over.json"

    def request_file(self, agency: str) -> Path:
        """Return the path of an agency's public key with its proof."""
        return self.directory / "setup" / f"{agency}.public.json"

    def settings(self, values: Mapping[str, str]) -> Settings:
        """Make the settings of these values, whatever the environment has."""
        given: dict[str, object] = {**dict.fromkeys(_MANAGED), **values}
        given["data_directory"] = self.directory
        if "countries" in values:
            given["countries"] = tuple(json.loads(values["countries"]))
        return Settings(**given)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class SetUpResult:
    """The result of a run of the set-up."""

    own_file: Path
    fingerprint: str
    settings_file: Path
    is_complete: bool
    """Whether this side's node can serve."""
    next: Sequence[str] = field(default_factory=tuple)
    """The next steps of people, in order: sentences and commands."""


@dataclass(frozen=True, slots=True)
class Adopter:
    """The coordinator that signs the adoption, where its key is at hand."""

    agency: str
    key: OKPKey
    years: int


def load(place: SideDirectory) -> dict[str, str]:
    """Return the settings that an earlier run wrote."""
    return read_settings(place.settings_file)


def advance_ledger(
    place: SideDirectory, values: Mapping[str, str], address: str, adopter: Adopter | None
) -> SetUpResult:
    """Take the steps that are possible now on the ledger node's side.

    Raises ``ValueError``.
    """
    settings = settings_here(place.settings(values))
    protocol = settings.load_protocol()
    own_log_key = str(log_key(settings).verifier)
    countries = place.accepted.countries()
    for one in countries.values():
        if (one.origin, one.log_key) != (settings.origin, own_log_key):
            raise ValueError(
                f"{one.party} set its node up for another log ({one.origin}): hand it this side's"
                " file again, and let it run `case-ledger node init` anew"
            )
    missing = sorted(protocol.party_codes - countries.keys())
    adoption = None
    if not missing:
        adoption = _agree(place, settings, protocol, countries, adopter)
        values = {**values, "policy": str(place.policy)}
    write_settings(place.settings_file, values)
    made = LedgerHandOver(
        protocol=protocol.id,
        protocol_digest=protocol_digest(protocol),
        origin=settings.origin,
        address=address,
        log_key=own_log_key,
        audience=settings.audience,
        policy=place.policy.read_text(encoding="utf-8") if not missing else None,
        adoption=adoption,
    )
    own = place.own_file(LEDGER)
    write_whole(own, str(made))
    steps = _ledger_steps(place, protocol, made, missing, countries)
    return SetUpResult(own, made.fingerprint, place.settings_file, made.is_complete, steps)


def advance_country(
    place: SideDirectory,
    party: str,
    values: Mapping[str, str],
    address: str,
    coordinators: Sequence[KeyRequest],
) -> SetUpResult:
    """Take the steps that are possible now on a country's side.

    Raises ``ValueError``.
    """
    of_ledger = place.accepted.ledger
    if of_ledger is None:
        raise ValueError(
            "the ledger node's file is missing: name it with --from (its side makes it by"
            " `case-ledger node init ledger`)"
        )
    values = {
        **values,
        "ledger_origin": of_ledger.origin,
        "ledger_url": of_ledger.address,
        "audience": of_ledger.audience,
    }
    settings = settings_here(place.settings(values))
    protocol = settings.load_protocol()
    of_ledger.check(protocol)
    node = node_of(protocol, party)
    if node is None:
        raise ValueError(f"the protocol has no node agency for {party}")
    path = key_path(settings, node.id)
    if not path.exists():
        keys.save(keys.generate(), path)
    private = own_key(settings, node.id, path)
    known = {one.key.x: one for one in _known_coordinators(place, protocol, party)}
    for one in coordinators:
        write_whole(place.request_file(one.agency), one.model_dump_json() + "\n")
        known[one.key.x] = one
    made = CountryHandOver(
        protocol=protocol.id,
        protocol_digest=protocol_digest(protocol),
        origin=settings.origin,
        address=address,
        log_key=of_ledger.log_key,
        party=party,
        witness_key=str(witness_key(settings, party).verifier),
        node_key=request_of(private, protocol=protocol.id, agency=node.id),
        coordinators=tuple(known.values()),
    )
    made.check(protocol)
    if of_ledger.policy is not None and of_ledger.adoption is not None:
        if not joins_later(of_ledger, protocol, party):
            check_policy(of_ledger, made, protocol)
        write_whole(place.policy, of_ledger.policy)
        values = {**values, "policy": str(place.policy), "adoption": of_ledger.adoption}
    write_settings(place.settings_file, values)
    write_whole(place.request_file(node.id), made.node_key.model_dump_json() + "\n")
    own = place.own_file(party)
    write_whole(own, str(made))
    steps = _country_steps(place, protocol, made, of_ledger)
    return SetUpResult(own, made.fingerprint, place.settings_file, of_ledger.is_complete, steps)


def joins_later(of_ledger: LedgerHandOver, protocol: Protocol, party: str) -> bool:
    """Return whether a country joins a ledger that the other parties began without it."""
    policy = Policy.parse(of_ledger.policy or "quorum none\n")
    return protocol.version > 1 and of_ledger.is_complete and party not in policy.witnesses


def check_policy(of_ledger: LedgerHandOver, own: CountryHandOver, protocol: Protocol) -> None:
    """Check that the policy names this country's witness and the agreed quorum.

    Every country checks its own witness, and all compare the fingerprint of the same file. Raises
    ``ValueError`` if the policy names another.
    """
    policy = Policy.parse(of_ledger.policy or "")
    if [str(key) for key in policy.logs] != [of_ledger.log_key]:
        raise ValueError("the policy names another log key than the ledger node's file")
    named = policy.witnesses.get(own.party)
    if named is None or (str(named.key), named.url) != (own.witness_key, own.witness_url):
        raise ValueError(
            f"the policy does not name this side's witness at {own.witness_url} with its key: hand"
            " the ledger node's side this side's file again"
        )
    expected = Group(protocol.publishing_parties, tuple(sorted(protocol.party_codes)))
    found = policy.groups.get(policy.quorum)
    if found is None or (found.threshold, tuple(sorted(found.members))) != (
        expected.threshold,
        expected.members,
    ):
        raise ValueError(
            f"the policy's quorum is not {expected.threshold} of {len(expected.members)} parties,"
            " as the protocol says"
        )


def adoption_of(store: NodeDatabase) -> str | None:
    """Return the leaf hash of the first event in hexadecimal digits, if there is one."""
    with psycopg.connect(store.conninfo, autocommit=True) as connection:
        if connection.execute("SELECT to_regclass('ledger.events')").fetchone() == (None,):
            return None
        set_role(connection)
        row = connection.execute(
            "SELECT leaf_hash FROM ledger.events WHERE notification_id = 1"
        ).fetchone()
    return None if row is None else bytes(row[0]).hex()


def _agree(
    place: SideDirectory,
    settings: Settings,
    protocol: Protocol,
    countries: Mapping[str, CountryHandOver],
    adopter: Adopter | None,
) -> str | None:
    """Write the policy of all sides' keys, and adopt the protocol if that can be done now."""
    witnesses = {
        code: TrustedWitness(VerifierKey.parse(one.witness_key), one.witness_url)
        for code, one in sorted(countries.items())
    }
    policy = str(Policy.of(log_key(settings).verifier, witnesses, protocol.publishing_parties))
    with open_store(settings) as store:
        adoption = adoption_of(store)
        if adoption is None:
            write_whole(place.policy, policy)
            if adopter is not None:
                adoption = _adopt(store, protocol, countries, adopter)
        elif place.policy.read_text(encoding="utf-8") != policy:
            raise ValueError(
                f"the protocol is adopted, and {place.policy} was agreed on: the parties change it"
                " by `case-ledger log adopt-policy`, not here"
            )
    return adoption


def _adopt(
    store: NodeDatabase,
    protocol: Protocol,
    countries: Mapping[str, CountryHandOver],
    adopter: Adopter,
) -> str:
    own = request_of(adopter.key, protocol=protocol.id, agency=adopter.agency)
    told = {one.key.x: one for country in countries.values() for one in country.coordinators}
    party = protocol.agencies_by_id[adopter.agency].party
    if own.key.x not in told and countries[party].coordinators:
        raise ValueError(
            f"the key of {adopter.agency} is not one of those that {party} handed in: name the"
            " right file with --key"
        )
    requests = {**told, own.key.x: own}.values()
    receipt = adopt_protocol(store, protocol, adopter.agency, adopter.key, requests, adopter.years)
    return receipt.leaf_hash.hex()


def _known_coordinators(place: SideDirectory, protocol: Protocol, party: str) -> list[KeyRequest]:
    """Return the coordinator's keys of an earlier run."""
    found = []
    for agency in protocol.agencies:
        path = place.request_file(agency.id)
        if (agency.party, agency.role) == (party, COORDINATOR) and path.exists():
            found.append(KeyRequest.model_validate_json(path.read_bytes()))
    return found


def _serve(place: SideDirectory) -> list[str]:
    """Return the steps to start the node.

    If another login owns the database, its migration is the first step.
    """
    values = load(place)
    steps = []
    if "database_url" in values and "owner_database_url" not in values:
        steps = [
            "Migrate the database as its owner, for the login that the settings name:",
            "CASE_LEDGER_DATABASE_URL=OWNERS_URL case-ledger migrate --grant-to LOGIN",
        ]
    command = f"set -a; . {place.settings_file}; set +a; case-ledger serve"
    return [*steps, "Start this node (in systemd: EnvironmentFile=):", command]


def _ledger_steps(
    place: SideDirectory,
    protocol: Protocol,
    made: LedgerHandOver,
    missing: Sequence[str],
    countries: Mapping[str, CountryHandOver],
) -> list[str]:
    again = f"case-ledger node init ledger --directory {place.directory}"
    if missing:
        return [
            f"Hand {place.own_file(LEDGER)} to every country ({', '.join(sorted(missing))} did not"
            " answer yet). Each compares the fingerprint above with you by telephone.",
            "When their files are here, compare their fingerprints the same way, and run:",
            " ".join([again, *(f"--from {code.lower()}.hand-over.json" for code in missing)]),
        ]
    if made.adoption is None:
        keyless = [code for code, one in sorted(countries.items()) if not one.coordinators]
        if keyless:
            return [
                f"The keys of the coordinators of {', '.join(keyless)} are missing: these countries"
                " run `case-ledger node init` again with --coordinator, and hand in their file.",
            ]
        signer = next(a.id for a in protocol.agencies if a.role == COORDINATOR)
        return [
            f"The policy is written to {place.policy}. Adopt the protocol: a coordinator signs it"
            " here, with its own key file:",
            f"{again} --adopt-as {signer} --key {signer}.jwk",
        ]
    return [
        f"Hand {place.own_file(LEDGER)} to every country again: it has the policy and the adoption"
        " now. All compare this fingerprint by telephone: it is what they trust.",
        *_serve(place),
        "Each country's coordinator then registers the key of its node at this node's address, as"
        " `node init` on its side says, and adopts the policy.",
        "Whoever needs the log's key later (a witness that runs alone, a new policy) gets it by"
        " `case-ledger log key` with these settings.",
    ]


def _joining_steps(
    place: SideDirectory, protocol: Protocol, made: CountryHandOver, coordinator: str
) -> list[str]:
    """Return the steps by which a country joins a ledger that others began."""
    again = f"case-ledger node init {made.party} --directory {place.directory}"
    if protocol.parties_by_code[made.party].accession is None:
        key = f"{made.party.lower()}.country"
        return [
            copy_contents(made.party, wording("en")),
            "Before the next step, set CASE_LEDGER_COUNTRY_KEY_PASSPHRASE from wherever secrets are"
            " kept: otherwise a passphrase is made and kept beside the country's key.",
            "With these settings, make the key to which the others seal what is for this country:",
            f"case-ledger keys country {made.party} > {key}",
            f"Hand {place.own_file(made.party)} and {key} to a party's coordinator, and compare the"
            " fingerprint above by telephone. It writes the text by `case-ledger protocol join`"
            " and proposes it.",
            "When the proposal is there, the coordinator signs this country's acceptance:",
            f"case-ledger protocol join-statement next.json --proposal ID --agency {coordinator}"
            f" --key {coordinator}.jwk --out {made.party.lower()}.statement.json",
            "Once the text is adopted, run this again with the text:",
            f"{again} --protocol next.json",
        ]
    return [
        copy_contents(made.party, wording("en")),
        "The text names this node's keys: nothing is to be registered for it. Once the text is in"
        " force, start the node. Its witness comes into the log's policy by itself.",
        *_serve(place),
        "Register the keys of this country's agencies, through this node:",
        f"case-ledger keys register -a {coordinator} AGENCY AGENCY.public.json"
        f" --url {made.address}",
    ]


def _country_steps(
    place: SideDirectory, protocol: Protocol, made: CountryHandOver, of_ledger: LedgerHandOver
) -> list[str]:
    coordinator = next(
        a.id for a in protocol.agencies if (a.party, a.role) == (made.party, COORDINATOR)
    )
    if made.coordinators and joins_later(of_ledger, protocol, made.party):
        return _joining_steps(place, protocol, made, coordinator)
    again = f"case-ledger node init {made.party} --directory {place.directory}"
    if not made.coordinators:
        return [
            "The adoption of the protocol names the coordinator's key. The coordinator makes it"
            " on its own machine, and hands over the public part:",
            f"case-ledger keys new {coordinator}",
            "Then, here:",
            f"{again} --coordinator {coordinator}.public.json",
        ]
    if not of_ledger.is_complete:
        return [
            f"Hand {place.own_file(made.party)} to the ledger node's side. It compares the"
            " fingerprint above with you by telephone.",
            "When all countries did so and the protocol is adopted, it hands its file to you again."
            " Compare its fingerprint, and run:",
            f"{again} --from ledger.hand-over.json",
        ]
    node, url = made.node_key.agency, of_ledger.address
    return [
        "Once the ledger node serves, the coordinator registers this node's key there, with its"
        " own key (--key), and adopts the policy, so that it is on record:",
        f"case-ledger keys register -a {coordinator} {node} {place.request_file(node)} --url {url}",
        f"case-ledger log adopt-policy -a {coordinator} {place.policy} --url {url}",
        "Before the first start, set CASE_LEDGER_COUNTRY_KEY_PASSPHRASE from wherever secrets are"
        " kept: otherwise a passphrase is made and kept beside the country's key.",
        *_serve(place),
        "Register the country's key, to which the others seal what this country may have. In"
        " another shell with the same settings:",
        f"case-ledger keys country {made.party} > {made.party.lower()}.country",
        f"case-ledger keys register-country -a {coordinator} --public-key"
        f" {made.party.lower()}.country --url {made.address}",
        "Register the keys of this country's agencies, through this node:",
        f"case-ledger keys register -a {coordinator} AGENCY AGENCY.public.json"
        f" --url {made.address}",
    ]
