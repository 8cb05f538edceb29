"""Countries' nodes are put back to older copies, or lost: their vaults complete themselves.

Database older, data keys older, both, and a database that is lost for good. Each ends by itself or
with a command of ``docs/operations.md``; nothing is done in the database. The sender's database is
lost in each run; ``CASE_LEDGER_TEST_RESTORES`` says in how many ways the receiver's is put back.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from api.client import LedgerClient, RefusedError
from api.demo.machines import Machine
from api.keys.country_keys import country_key
from api.runtime.settings import Settings
from ledger.log.note import VerifierKey
from ledger.log.policy import Policy, TrustedWitness
from ledger.procedure.protocol import shipped_protocol
from ledger.signing import keys, signed_action
from ledger.signing.sd_jwt import SdJwt
from ledger.vault.documents.chunk_encryption import CHUNK_BYTES
from ledger.vocabulary.identification import VictimIdentified
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import (
    DecisionMakingOrg,
    DocumentKind,
    LegalBasis,
    Purpose,
    TraffickingStatus,
    TypeOfExploitation,
)
from ledger.vocabulary.registration import CountryKeyRegistered
from tests.support.actions import START, opening
from tests.support.agencies import PAST, Agencies
from tests.support.databases import name_of, new_database, put_back
from tests.support.papers import pdf
from tests.support.required_disclosures import VaultStanding, vault_standings
from tests.support.two_nodes import troubles
from tests.support.waiting import until

WAYS = ("both", "database", "keys", "lost")
CHOSEN = WAYS[: int(os.environ.get("CASE_LEDGER_TEST_RESTORES", "0"))]
DECIDED = ("node", "accept-history", "--by", "A. Operator", "--why", "an older copy was put back")
NAME, NOTE = "zqNobodysName", "zqNobodysNote"
IDENTITY, PROTECTION = [FieldGroup.IDENTITY], Purpose.PROTECTION


@dataclass
class World:
    """A ledger node and the nodes of Kosovo and Montenegro, each with a database of its own."""

    server: str
    migrated: str
    agencies: Agencies
    machines: dict[str, Machine]
    databases: dict[str, str]
    paper: Path
    """A document with more chunks than one question asks for."""

    def client(self, agency: str) -> LedgerClient:
        return LedgerClient(
            self.machines[agency[:2]].url,
            agency=agency,
            key=self.agencies.keys[agency],
            protocol=shipped_protocol().id,
            patience=30,
        )

    def settings(self, party: str) -> Settings:
        machine = self.machines[party]
        own = {"data_directory": machine.home, "countries": (party.upper(),)}
        return Settings.model_validate({**own, "missing_after_seconds": 1})

    def standing(self, party: str) -> VaultStanding:
        (found,) = vault_standings([(self.settings(party), self.databases[party])])
        return found

    def missing(self, party: str) -> list[dict[str, Any]]:
        """Return the output of the command on missing parts."""
        ((vault,)) = self.machines[party].json("node", "missing", party.upper())
        found: list[dict[str, Any]] = [*vault["missing"], *vault["contents"]]
        return found

    def tell(self) -> tuple[UUID, SdJwt, str]:
        """Kosovo opens a case with Montenegro, and releases the name and a document.

        Gives the case, the opening, and the digest of the name.
        """
        case_id = uuid4()
        with self.client("xk-dhtqnj") as police:
            action = opening(("XK", "ME"), first_name=NAME, second_name=NAME, indicators_note=NOTE)
            opened = police.sign(action, case_id)
            police.send(opened, case_id, 0)
            identified = VictimIdentified(
                acted_at=START,
                status=TraffickingStatus.ACTUAL,
                decided_by=DecisionMakingOrg.POLICE,
                types_of_exploitation=(TypeOfExploitation.FORCED_MARRIAGE,),
            )
            basis = police.append(identified, case_id, 1).action_id
            police.add_document(
                case_id,
                2,
                self.paper,
                kind=DocumentKind.TRAVEL_DOCUMENT,
                title="Passport",
                group=FieldGroup.IDENTITY,
            )
            fields = [
                one
                for one in police.read(case_id, IDENTITY, PROTECTION).fields
                if one.field in ("first_name", "identity_document")
            ]
            police.release(
                case_id,
                3,
                fields,
                recipient="ME",
                purpose=PROTECTION,
                basis=LegalBasis.DUTY,
                basis_action=basis,
            )
        (name,) = [one.digest for one in fields if one.field == "first_name"]
        return case_id, opened, name

    def has_content(self, agency: str, case_id: UUID) -> bool:
        """Return whether an agency downloads the document of a case at home."""
        (to := self.paper.with_name("received.pdf")).unlink(missing_ok=True)
        with self.client(agency) as client:
            try:
                (one,) = client.documents(case_id, IDENTITY, PROTECTION).documents
                client.download(case_id, one.id, to, purpose=PROTECTION)
            except (RefusedError, httpx.TransportError, ValueError):
                return False
        return to.read_bytes() == self.paper.read_bytes()

    def reads(self, agency: str, case_id: UUID) -> set[str]:
        """The names of the fields that an agency reads at home."""
        with self.client(agency) as client:
            try:
                personal = client.read(case_id, IDENTITY, PROTECTION).fields
                disclosed = client.case(case_id).disclosed
            except (RefusedError, httpx.TransportError):
                return set()
        return {one.field for one in personal} | {f for one in disclosed for f in one.fields}

    def put_back(self, party: str, way: str, database: str, persons: Path) -> None:
        """Put a stopped node back to how it was."""
        machine = self.machines[party]
        book = machine.keys / "persons" / party
        machine.stop()
        if way in ("database", "both", "lost"):
            put_back(self.server, self.databases[party], database)
        if way in ("keys", "both", "lost"):
            shutil.rmtree(book)
            if way != "lost":
                shutil.copytree(persons, book)
        machine.start()


@pytest.fixture(scope="module")
def world(
    server: str,
    begun: str,
    migrated: str,
    agencies: Agencies,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("restored")
    with ExitStack() as stack:
        databases = {
            name: stack.enter_context(new_database(server, template))
            for name, template in (("ledger", begun), ("xk", migrated), ("me", migrated))
        }
        machines = {name: Machine(directory / name) for name in databases}
        for name, machine in machines.items():
            machine.settings["database_url"] = databases[name]
            machine.settings["missing_after_seconds"] = "1"
        ledger, policy = machines["ledger"], directory / "policy"
        witness = VerifierKey.parse(machines["xk"].run("witness", "key", "XK"))
        log = VerifierKey.parse(ledger.run("log", "key"))
        trusted = TrustedWitness(witness, f"{machines['xk'].url}/witness/XK")
        policy.write_text(str(Policy.of(log, {"XK": trusted})))
        ledger.settings |= {"countries": "[]", "policy": str(policy)}
        for party in ("xk", "me"):
            machines[party].settings |= {
                "countries": f'["{party.upper()}"]',
                "policy": str(policy),
                "ledger_url": ledger.url,
            }
            keys.save(agencies.keys[f"{party}-node"], machines[party].keys / f"{party}-node.jwk")
        (paper := directory / "passport.pdf").write_bytes(pdf(17 * CHUNK_BYTES + 1))
        made = World(server, migrated, agencies, machines, databases, paper)
        for machine in machines.values():
            stack.callback(machine.stop)
            machine.start()
        for party in ("xk", "me"):
            head = machines[party]
            until(lambda head=head: head.ready().get("head", 0) > 20, "the first copy")  # type: ignore[misc]
            public = country_key(made.settings(party), party.upper()).public
            with made.client(f"{party}-nac") as coordinator:
                registered = CountryKeyRegistered(acted_at=PAST, key=str(public))
                coordinator.append_to_registry(registered)
        yield made


@pytest.mark.parametrize("way", CHOSEN)
def test_the_receivers_node(world: World, way: str, tmp_path: Path) -> None:
    """Everything that Montenegro must hold comes from Kosovo."""
    montenegro = world.machines["me"]
    with ExitStack() as stack:
        before, _, _ = world.tell()
        until(lambda: "first_name" in world.reads("me-police-thb", before), "before")
        montenegro.stop()
        template = world.migrated if way == "lost" else name_of(world.databases["me"])
        copy = name_of(stack.enter_context(new_database(world.server, template)))
        persons = shutil.copytree(montenegro.keys / "persons" / "me", tmp_path / "persons")
        montenegro.start()
        case_id, _, _ = world.tell()
        until(lambda: "first_name" in world.reads("me-police-thb", case_id), "after")
        held = world.reads("me-police-thb", case_id)

        world.put_back("me", way, copy, persons)
        wrong = "vault-keys-missing" if way == "keys" else "history-changed"
        until(lambda: wrong in troubles(montenegro), "told")
        montenegro.run(*DECIDED)
        until(lambda: world.reads("me-police-thb", case_id) == held, "completed")
        until(lambda: not world.missing("me"), "nothing is missing")
        for each in (before, case_id):
            until(lambda each=each: world.has_content("me-police-thb", each), "fetched again")  # type: ignore[misc]
        until(lambda: troubles(montenegro) == {}, "no trouble")
    standing = world.standing("me")
    assert (standing.lacking, standing.named, standing.findings) == ({}, {}, ())
    assert len(standing.due) >= 6


if not CHOSEN:
    del test_the_receivers_node  # without a way, each run would report it as skipped


def test_the_senders_node(world: World) -> None:
    """Released fields come back from Montenegro; the other fields are lost, and named."""
    kosovo = world.machines["xk"]
    case_id, opened, _ = world.tell()
    held = {"first_name", "second_name", "ground", "indicators", "indicators_note"}
    assert world.reads("xk-dhtqnj", case_id) >= held
    until(lambda: "first_name" in world.reads("me-police-thb", case_id), "sent")
    until(lambda: world.has_content("me-police-thb", case_id), "the content is sent")
    with new_database(world.server, world.migrated) as empty:
        world.put_back("xk", "database", name_of(empty), Path())
    until(lambda: "history-changed" in troubles(kosovo), "told")
    kosovo.run(*DECIDED)
    left = held - {"second_name"}
    until(lambda: world.reads("xk-dhtqnj", case_id) >= left, "given back")
    until(lambda: world.has_content("xk-dhtqnj", case_id), "the content is given back")
    opening_id = str(signed_action.read(opened).id)

    def named() -> list[dict[str, Any]]:
        return [one for one in world.missing("xk") if one["action"] == opening_id]

    until(lambda: any(one["lost_at"] for one in named()), "lost")
    assert "second_name" not in world.reads("xk-dhtqnj", case_id)
    (lost,) = named()
    assert (lost["part"], lost["holders"], lost["case_id"]) == ("own", ["ME"], str(case_id))
    until(lambda: "fields-lost" in troubles(kosovo), "ready says so")
    metrics = httpx.get(f"{kosovo.url}/metrics").text
    assert 'case_ledger_missing_parts{lost="true",origin="XK",part="own",vault="XK"}' in metrics
    assert world.standing("xk").unnamed == set()
    # The agency sends the same signed action again.
    with world.client("xk-dhtqnj") as police:
        police.send(opened, case_id, 0)
    until(lambda: not named(), "named no more")
    assert world.reads("xk-dhtqnj", case_id) >= held
