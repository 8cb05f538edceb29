"""Old and new nodes side by side: a ledger node and three countries' nodes, one of them older.

Each node is a process with a database of its own. The parties amend the protocol at their own
nodes. Then the ledger records a kind of act that Kosovo's node does not have, until that node is
updated. The tests are one story, in this order.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import httpx
import psycopg
import pytest

from api.client import LedgerClient, WaitingError
from api.client.schemas import Receipt
from api.demo.forked import Forked
from ledger.procedure.named_checkpoint import named_by
from ledger.procedure.protocol import Protocol
from ledger.vocabulary import Action
from ledger.vocabulary.registration import ContactPointNamed, Office
from tests.support.actions import opening
from tests.support.agencies import PAST, Agencies
from tests.support.amending import acceptance, amended, proposal
from tests.support.databases import new_database
from tests.support.four_nodes import FourNodes, connect, prepare, running
from tests.support.older_program import OlderForked
from tests.support.two_nodes import troubles
from tests.support.waiting import until

POLICE = "xk-dhtqnj"


@pytest.fixture(scope="module")
def nodes(
    server: str,
    begun: str,
    migrated: str,
    agencies: Agencies,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[FourNodes]:
    directory = tmp_path_factory.mktemp("older")
    with ExitStack() as stack:
        templates = {"ledger": begun, "xk": migrated, "me": migrated, "al": migrated}
        databases = {
            name: stack.enter_context(new_database(server, template))
            for name, template in templates.items()
        }
        made = prepare(directory, agencies, databases)
        connect(made, directory, {})
        made.countries["XK"].forked = OlderForked  # type: ignore[misc]
        stack.enter_context(running(made))
        wait_for_head(made, made.ledger.ready()["head"], "xk", "me", "al")
        yield made


def act(nodes: FourNodes, agency: str, action: Action) -> Receipt:
    """Record an act on the protocol at the node of the agency's country."""
    with nodes.client(agency) as client:
        receipt = client.append_to_registry(action)
    assert isinstance(receipt, Receipt)
    return receipt


def accept(nodes: FourNodes, agency: str, proposed: Receipt, text: Protocol) -> Receipt:
    """Accept a proposal at the node of the agency's country, which shows it as published."""
    home = nodes.home(agency)
    until(lambda: home.ready().get("published", 0) >= proposed.position, home.ready)
    with nodes.client(agency) as client:
        named = named_by(client.checkpoint())
    return act(nodes, agency, acceptance(proposed.action_id, text, named))


def versions(nodes: FourNodes) -> Mapping[str, list[Any]]:
    """Return, by node, which version is in force from which position and time."""
    found = {}
    for machine in nodes.machines:
        with LedgerClient(
            machine.url,
            agency="al-node",
            key=nodes.agencies.keys["al-node"],
            protocol=nodes.agencies.protocol.id,
        ) as client:
            found[machine.name] = [
                (one.version, one.adopted_at, one.in_force_from, one.digest, one.is_in_force)
                for one in client.protocol_versions()
            ]
    return found


def wait_for_head(nodes: FourNodes, position: int, *names: str) -> None:
    for machine in nodes.machines:
        if machine.name in names:
            until(lambda m=machine: m.ready().get("head", 0) >= position, machine.name)  # type: ignore[misc]


def test_every_node_derives_the_same_version_at_the_same_position(nodes: FourNodes) -> None:
    """The amendment is proposed at one country's node, and accepted at those of the others."""
    text = amended(nodes.agencies.protocol, title="The protocol, amended")
    proposed = act(nodes, "al-nac", proposal(text))
    accepted = accept(nodes, "me-nac", proposed, text)
    wait_for_head(nodes, accepted.position, "xk", "al")
    assert {len(of) for of in versions(nodes).values()} == {1}, "one party's word is missing"
    completed = accept(nodes, "xk-nac", proposed, text)
    wait_for_head(nodes, completed.position, "ledger", "xk", "me", "al")
    found = versions(nodes)
    assert len({str(of) for of in found.values()}) == 1, found
    first, second = found["ledger"]
    assert (first[0], second[0], second[1]) == (1, 2, completed.position)
    assert (first[4], second[4]) == (False, True)


def evidence(nodes: FourNodes, name: str) -> int:
    """Return how much evidence against the ledger node a country's node keeps."""
    with psycopg.connect(nodes.countries[name].conninfo) as connection:
        row = connection.execute(
            "SELECT (SELECT count(*) FROM log.evidence)"
            " + (SELECT count(*) FROM log.false_decisions)"
        ).fetchone()
    assert row is not None
    return int(row[0])


def test_an_older_node_goes_as_far_as_it_can_and_calls_nothing_false(nodes: FourNodes) -> None:
    older, newer = nodes.countries["XK"], nodes.countries["ME"]
    with nodes.client(POLICE) as client:
        before = client.open_case(opening()).position
    wait_for_head(nodes, before, "xk")
    named = ContactPointNamed(
        acted_at=PAST,
        agency="me-nac",
        function="Head of the office",
        languages=("cnr",),
        office=Office(email="office@example.invalid"),
    )
    position = act(nodes, "me-nac", named).position
    until(lambda: troubles(older).get("update-this-node") == "not-ready", older.ready)
    ready = older.ready()
    assert ready["head"] == position - 1
    assert set(ready["views"].values()) == {position - 1}
    said = next(one for one in ready["troubles"] if one["rule"] == "update-this-node")
    assert f"position {position}" in said["message"]
    metrics = httpx.get(f"{older.url}/metrics").text
    assert 'case_ledger_trouble{effect="not-ready",rule="update-this-node"} 1.0' in metrics
    page = httpx.get(f"{older.url}/", follow_redirects=True).text
    assert "older than the ledger" in page

    # It serves what it has, and passes actions on; the outcome is known after the update.
    with nodes.client(POLICE, patience=0.5) as client:
        assert len(list(client.cases())) == 1
        with pytest.raises(WaitingError):
            client.open_case(opening())
    until(lambda: nodes.ledger.ready()["head"] > position, "the action is recorded")
    head = nodes.ledger.ready()["head"]
    # Its witness cosigns nothing new.
    until(lambda: nodes.ledger.ready()["witnesses"]["ME"] >= head, nodes.ledger.ready)
    assert nodes.ledger.ready()["witnesses"]["XK"] < position
    assert evidence(nodes, "XK") == 0
    assert "log-diverged" not in troubles(older)
    assert "update-this-node" not in troubles(newer) | troubles(nodes.ledger)


def test_after_its_update_it_goes_on_by_itself(nodes: FourNodes) -> None:
    older = nodes.countries["XK"]
    older.stop()
    older.forked = Forked  # type: ignore[misc]
    older.start()
    head = nodes.ledger.ready()["head"]
    until(lambda: older.ready().get("published", 0) >= head, older.ready)
    until(lambda: nodes.ledger.ready()["witnesses"]["XK"] >= head, "its witness cosigns")
    assert "update-this-node" not in troubles(older)
    assert evidence(nodes, "XK") == 0
    assert older.ready()["following"]["waiting"] == 0
    with nodes.client(POLICE) as client:
        assert len(list(client.cases())) == 2
    verified = older.json("verify", "ledger")
    assert (verified["holds"], verified["newer"], verified["judged"]) == (True, None, head)
