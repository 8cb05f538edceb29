"""A fourth country joins a running ledger, takes part at once, and declares that it leaves.

Everything goes by the commands of the operators and coordinators of both sides.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from typer.testing import CliRunner

from api.cli.main import app
from api.client import LedgerClient
from api.demo.node_process import free_port
from api.keys.country_keys import country_key
from api.keys.log_keys import log_key, trusted_policy
from api.node.setting_up.hand_over import LedgerHandOver, protocol_digest
from api.node.setting_up.sides import SideDirectory, load
from api.runtime.schema import migrate_all
from api.runtime.settings import Settings
from ledger.procedure.amendments import text_of
from ledger.procedure.protocol import Protocol, read_protocol
from ledger.signing import keys
from ledger.signing.key_possession import request_of
from ledger.vocabulary.registration import KeyRegistered, LogPolicyAdopted, NamedCheckpoint
from tests.support.actions import opening
from tests.support.agencies import PAST, Agencies
from tests.support.databases import new_database
from tests.support.joining import MK, MK_AGENCIES
from tests.support.serving import Server, running
from tests.support.waiting import until

XK, ME, AL = "xk-nac", "me-nac", "al-nac"
OLD = (XK, ME, AL)


@dataclass
class World:
    """The ledger node, which is the old parties' node too, and the place of the new party's."""

    ledger: Server
    agencies: Agencies
    directory: Path
    database: str
    port: int
    node: Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def invoke(self, *words: str, code: int = 0) -> str:
        done = CliRunner(env={"CASE_LEDGER_DATA_DIRECTORY": str(self.directory / "none")}).invoke(
            app, [*words]
        )
        assert done.exit_code == code, done.output
        return done.output

    def signed(self, agency: str, *words: str, url: str | None = None, code: int = 0) -> str:
        file = self.directory / f"{agency}.jwk"
        if not file.exists():
            keys.save(self.agencies.keys[agency], file)
        asked = ("-a", agency, "--key", str(file), "--url", url or self.ledger.url)
        return self.invoke(*words, *asked, code=code)

    def init(self, *words: str) -> dict[str, Any]:
        told = self.invoke(
            "node", "init", "MK", "--directory", str(self.directory / "mk"),
            "--port", str(self.port), "--database-url", self.database, "--json", *words,
        )  # fmt: skip
        found: dict[str, Any] = json.loads(told[told.index("{") :])
        return found

    def client(self, agency: str) -> LedgerClient:
        server = self.node if agency.startswith("mk-") else self.ledger
        assert server is not None
        return server.client(agency)


@pytest.fixture
def world(
    server: str,
    begun: str,
    migrated: str,
    agencies: Agencies,
    directory: Path,
) -> Iterator[World]:
    agencies = Agencies(agencies.protocol, dict(agencies.keys))
    for agency in MK_AGENCIES:
        agencies.keys[agency] = keys.generate()
    with ExitStack() as stack:
        first, second = (stack.enter_context(new_database(server, n)) for n in (begun, migrated))
        settings = Settings(data_directory=directory / "ledger", port=free_port())
        settings.key_directory.mkdir(parents=True)
        keys.save(agencies.keys["al-node"], settings.key_directory / "al-node.jwk")
        served = stack.enter_context(running(settings, first, agencies))
        made = World(served, agencies, directory, second, free_port())
        adopt_policy(made)
        yield made
        if made.node is not None:
            stack_of[id(made)].close()


stack_of: dict[int, ExitStack] = {}


def adopt_policy(world: World) -> None:
    settings = world.ledger.settings
    policy = str(trusted_policy(settings))
    (first,) = world.ledger.node.ledger.rows_after(0, 1)
    named = NamedCheckpoint(size=1, root=first.leaf_hash.hex())
    for coordinator in OLD:
        with world.client(coordinator) as client:
            client.append_to_registry(
                LogPolicyAdopted(acted_at=PAST, policy=policy, checkpoint=named)
            )


def draft_of(protocol: Protocol) -> dict[str, Any]:
    told = text_of(protocol)
    new = [{"id": n, "name": n, "party": "MK", "role": r} for n, r in MK_AGENCIES.items()]
    return told | {
        "version": 2,
        "parties": [*told["parties"], {"code": "MK", "name": "North Macedonia"}],
        "agencies": [*told["agencies"], *new],
        "quorum": told["quorum"] | {"witnesses": 3, "coordinators": 3},
        "withdrawal": {"notice_days": 1, "erase_within_days": 5},
    }


def hand_over(world: World) -> tuple[str, ...]:
    """Return the options by which the new side takes in the ledger node's file."""
    settings = world.ledger.settings
    made = LedgerHandOver(
        protocol=world.agencies.protocol.id,
        protocol_digest=protocol_digest(world.agencies.protocol),
        origin=settings.origin,
        address=world.ledger.url,
        log_key=str(log_key(settings).verifier),
        audience=settings.audience,
        policy=str(trusted_policy(settings)),
        adoption=world.ledger.node.ledger.rows_after(0, 1)[0].leaf_hash.hex(),
    )
    file = world.directory / "ledger.hand-over.json"
    file.write_text(str(made))
    return ("--from", str(file), "--compared", made.fingerprint)


def join(world: World) -> Path:
    """Write the text, propose it, have it accepted by all, and start the new node."""
    draft, text = world.directory / "draft.json", world.directory / "next.json"
    draft.write_text(json.dumps(draft_of(world.agencies.protocol)))
    request = world.directory / "mk-nac.public.json"
    key = world.agencies.keys[MK]
    request.write_text(
        request_of(key, protocol=world.agencies.protocol.id, agency=MK).model_dump_json()
    )
    place = SideDirectory(world.directory / "mk")
    key_path = place.directory / "keys" / "mk-node.jwk"
    key_path.parent.mkdir(parents=True)
    keys.save(world.agencies.keys["mk-node"], key_path)
    told = world.init(
        "--address", world.url, "--protocol", str(draft), "--coordinator", str(request),
        *hand_over(world),
    )  # fmt: skip
    assert "whole shared ledger since its first event" in " ".join(told["next"])
    country = world.directory / "mk.country"
    country.write_text(f"{country_key(place.settings(load(place)), 'MK').public}\n")
    joined = ("protocol", "join", str(draft), "--from", told["hand_over"], "--out", str(text),
              "--country-key", str(country))  # fmt: skip
    assert "call the operator of MK's node" in world.invoke(*joined, code=1)
    said = world.invoke(*joined, "--compared", told["fingerprint"])
    assert "personal fields only by a release" in said
    said = world.signed(
        XK, "protocol", "propose", str(text), "--reason", "North Macedonia joins.", "--yes"
    )
    assert "joins with the keys that the text names for mk-nac" in said.replace("\n", " ")
    (amendment,) = world.ledger.node.ledger.adopted().amendments
    proposal = str(amendment.proposal)
    for coordinator in (ME, AL):
        world.signed(coordinator, "protocol", "accept", proposal, "--yes")
    assert "missing: MK" in world.signed(XK, "protocol", "history")
    statement = world.directory / "mk.statement.json"
    own = world.directory / "mk-nac.jwk"
    keys.save(key, own)
    signing = ("protocol", "join-statement", str(text), "--proposal", proposal, "--agency", MK,
               "--out", str(statement), "--yes", "--key")  # fmt: skip
    other = world.directory / "other.jwk"
    keys.save(keys.generate(), other)
    assert "the text names another key" in world.invoke(*signing, str(other), code=1)
    world.invoke(*signing, str(own))
    said = world.signed(XK, "protocol", "accept-joining", proposal, str(statement), "--yes")
    assert "adopted" in said
    assert world.init("--protocol", str(text))["complete"]
    migrate_all(world.database, read_protocol(text))
    stack = stack_of[id(world)] = ExitStack()
    world.node = stack.enter_context(
        running(place.settings(load(place)), world.database, world.agencies)
    )
    return text


def register(world: World, agency: str) -> None:
    grant = world.agencies.grant(agency)
    with world.client(MK) as coordinator:
        coordinator.append_to_registry(KeyRegistered(acted_at=PAST, grant=grant))


def witnesses(world: World) -> set[str]:
    return set(world.ledger.node.ledger.adopted().policies[-1].policy.witnesses)


def open_case(world: World) -> UUID:
    with world.client("mk-police") as police:
        receipt = police.append(opening(("MK", "XK"), first_name="Q"), case_id := uuid4(), 0)
        assert receipt.position > 0
    return case_id


def test_a_country_joins_takes_part_at_once_and_declares_that_it_leaves(world: World) -> None:
    join(world)
    assert world.node is not None
    own, head = world.node.node.ledger, world.ledger.node.ledger.head()
    until(lambda: own.head() >= head, "the new node's copy")
    assert own.adopted().agreement == world.ledger.node.ledger.adopted().agreement
    register(world, "mk-police")
    case_id = open_case(world)
    with world.client("xk-dhtqnj") as police:
        assert police.case(case_id, at_least=1).view.parties == ("MK", "XK")
    until(lambda: witnesses(world) == {"AL", "ME", "MK", "XK"}, "the new witness in the policy")
    day = (datetime.now(UTC) + timedelta(days=2, hours=3)).date()  # it begins earlier than in UTC
    mine = ("protocol", "leave", "MK", "--from", str(day), "--yes")
    assert "coordinator-of-the-country" in world.signed(XK, *mine, code=2)
    world.signed(MK, *mine, url=world.node.url)
    assert f"on {day}" in world.signed(XK, "protocol", "parties")
    declared = world.node.node.ledger.adopted().agreement.withdrawals[0].action
    world.signed(MK, "protocol", "stay", str(declared), url=world.node.url)
    assert "leaves on" not in world.signed(XK, "protocol", "parties")
