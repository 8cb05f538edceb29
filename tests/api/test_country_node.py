"""A country's node: its agencies' actions go through it, and nothing of them goes further."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from api.client import LedgerClient, RefusedError, WaitingError
from api.demo.node_process import free_port
from api.exchange.zone_comparison import HEADER as ZONES
from api.keys.country_keys import country_key
from api.keys.log_keys import log_key, trusted_policy, witness_key
from api.runtime.settings import Settings
from ledger.log.policy import Policy, TrustedWitness
from ledger.procedure.protocol import shipped_protocol
from ledger.procedure.time_zones import zones_digest
from ledger.signing import keys
from ledger.signing.country_key import FileCountryKey
from ledger.vault.sealed_parcels import ParcelError, Presentation, pack, unpack
from ledger.vocabulary.coordination import CasePrioritised
from ledger.vocabulary.identification import VictimIdentified
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import (
    Danger,
    DecisionMakingOrg,
    DocumentKind,
    LegalBasis,
    Priority,
    Purpose,
    TraffickingStatus,
    TypeOfExploitation,
)
from ledger.vocabulary.registration import CountryKeyRegistered, KeyRegistered
from ledger.vocabulary.sharing import BreakGlassOpened
from tests.support.actions import START, opening
from tests.support.agencies import PAST, Agencies
from tests.support.command_line import CommandLine
from tests.support.databases import new_database
from tests.support.leaks import tables_with
from tests.support.papers import pdf
from tests.support.serving import Server, running
from tests.support.waiting import until

NAME = "zqNobodysName"


@dataclass
class Nodes:
    """A ledger node, and Kosovo's node, each with a database of its own."""

    agencies: Agencies
    ledger_settings: Settings
    ledger_database: str
    country_settings: Settings
    country_database: str
    stack: ExitStack
    ledger: Server | None = None
    country: Server | None = None
    _ledger_stack: ExitStack | None = None

    def start_ledger(self) -> None:
        self._ledger_stack = ExitStack()
        self.ledger = self._ledger_stack.enter_context(
            running(self.ledger_settings, self.ledger_database, self.agencies)
        )

    def stop_ledger(self) -> None:
        if self._ledger_stack is not None:
            self._ledger_stack.close()
        self._ledger_stack = None

    def start_country(self) -> None:
        self.country = self.stack.enter_context(
            running(self.country_settings, self.country_database, self.agencies)
        )

    def at_home(self, agency: str, **options: object) -> LedgerClient:
        assert self.country is not None
        return self.country.client(agency, **options)


@contextmanager
def two_nodes(
    server: str, begun: str, migrated: str, agencies: Agencies, directory: Path
) -> Iterator[Nodes]:
    with ExitStack() as stack:
        conninfos = [stack.enter_context(new_database(server, name)) for name in (begun, migrated)]
        port = free_port()
        policy = directory / "policy"
        here = Settings(data_directory=directory / "ledger", port=port, countries=(), policy=policy)
        there = Settings(
            data_directory=directory / "xk",
            port=0,
            countries=("XK",),
            policy=policy,
            ledger_url=f"http://127.0.0.1:{port}",
        )
        there.key_directory.mkdir(parents=True)
        keys.save(agencies.keys["xk-node"], there.key_directory / "xk-node.jwk")
        witness = TrustedWitness(witness_key(there, "XK").verifier)
        policy.write_text(str(Policy.of(log_key(here).verifier, {"XK": witness})))
        assert trusted_policy(here) == trusted_policy(there)
        made = Nodes(agencies, here, conninfos[0], there, conninfos[1], stack)
        made.start_ledger()
        stack.callback(made.stop_ledger)
        made.start_country()
        until(lambda: ready(made).get("head", 0) > 20, "the first copy")
        yield made


@pytest.fixture
def nodes(
    server: str, begun: str, migrated: str, agencies: Agencies, directory: Path
) -> Iterator[Nodes]:
    """Two nodes of a test that stops one of them, or counts all that they hold."""
    with two_nodes(server, begun, migrated, agencies, directory) as made:
        yield made


@pytest.fixture(scope="module")
def lasting(
    server: str,
    begun: str,
    migrated: str,
    agencies: Agencies,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Nodes]:
    """Two nodes for all tests that find what others recorded, and mind it not."""
    directory = tmp_path_factory.mktemp("nodes")
    with two_nodes(server, begun, migrated, agencies, directory) as made:
        yield made


def ready(nodes: Nodes) -> dict[str, object]:
    assert nodes.country is not None
    answer: dict[str, object] = httpx.get(f"{nodes.country.url}/ready").json()
    return answer


def held(nodes: Nodes) -> int:
    with psycopg.connect(nodes.country_database) as connection:
        row = connection.execute("SELECT count(*) FROM vault_xk.disclosures").fetchone()
    assert row is not None
    return int(row[0])


def where(conninfo: str) -> set[str]:
    return set(tables_with(conninfo, [NAME]))


def test_a_receipt_comes_once_the_countrys_own_copy_has_the_event(lasting: Nodes) -> None:
    with lasting.at_home("xk-dhtqnj") as police:
        signed = police.sign(opening(("XK", "ME"), first_name=NAME), case_id := uuid4())
        receipt = police.send(signed, case_id, 0)
        with psycopg.connect(lasting.country_database) as connection:
            row = connection.execute(
                "SELECT leaf_hash FROM ledger.events WHERE notification_id = %s",
                (receipt.position,),
            ).fetchone()
        assert row is not None
        assert police.send(signed, case_id, 0) == receipt
        view = police.case(case_id, at_least=receipt.position)
        outcome = police.outcome(receipt.action_id)
        assert (outcome.state, outcome.receipt) == ("recorded", receipt)
    assert view.view.version == 1
    assert held(lasting) > 0


def test_what_an_agency_discloses_stays_in_its_country(lasting: Nodes) -> None:
    with lasting.at_home("xk-dhtqnj") as police:
        police.open_case(opening(("XK", "ME"), first_name=NAME))
    assert where(lasting.ledger_database) == set()
    assert where(lasting.country_database) == set()


def test_a_refusal_comes_back_as_it_was_given(lasting: Nodes) -> None:
    with (
        lasting.at_home("xk-dhtqnj") as police,
        lasting.at_home("xk-prosecution-prishtina") as other,
    ):
        case_id = police.open_case(opening()).case_id
        before = held(lasting)
        with pytest.raises(RefusedError) as refused:
            other.append(opening(first_name=NAME), case_id, 1)
        assert refused.value.problem.status == 403
        assert "opened" in str(refused.value.problem.detail)
        (outcome,) = [o for o in other.outbox().outcomes if o.state == "refused"]
        assert outcome.problem == refused.value.problem
    until(lambda: held(lasting) == before, "removal")


def test_what_is_refused_here_is_not_even_kept(nodes: Nodes) -> None:
    with nodes.at_home("xk-dhtqnj") as police:
        signed = police.sign(opening(first_name=NAME), case_id := uuid4())
        with pytest.raises(RefusedError) as refused:
            police.send(signed, uuid4(), 0)
        assert refused.value.problem.rule == "case-id"
        tampered = str(signed).replace("~", "~WyJzYWx0IiwiZmlyc3RfbmFtZSIsIngiXQ~", 1)
        with pytest.raises(RefusedError) as refused:
            police.send(tampered, case_id, 0)
        assert refused.value.problem.rule == "disclosure"
        assert police.outbox().outcomes == ()
    assert held(nodes) == 0


def test_actions_wait_while_the_ledger_node_is_away_and_each_gets_its_outcome(
    nodes: Nodes,
) -> None:
    with nodes.at_home("xk-dhtqnj") as police:
        case_id = police.open_case(opening(("XK", "ME"))).case_id
    nodes.stop_ledger()
    with (
        nodes.at_home("xk-dhtqnj", patience=0) as police,
        nodes.at_home("xk-nac", patience=0) as coordinator,
    ):
        waiting: list[UUID] = []
        for _ in range(3):
            with pytest.raises(WaitingError) as waits:
                police.open_case(opening(first_name=NAME))
            assert waits.value.outcome.state == "waiting"
            waiting.append(waits.value.outcome.action_id)
        with pytest.raises(WaitingError) as waits:  # nothing that the ledger will accept
            police.append(opening(), case_id, 1)
        refused = waits.value.outcome.action_id
        grant = nodes.agencies.grant("xk-border", keys.generate())
        with pytest.raises(WaitingError) as waits:
            coordinator.append_to_registry(KeyRegistered(acted_at=PAST, grant=grant))
        waiting.append(waits.value.outcome.action_id)
        # What is known is still served, and the sweep takes nothing that waits.
        assert police.case(case_id).view.version == 1
        following = ready(nodes)["following"]
        assert isinstance(following, dict)
        assert (following["reachable"], following["waiting"]) == (False, 5)
        metrics = httpx.get(f"{nodes.country.url}/metrics").text if nodes.country else ""
        assert "case_ledger_outbox_waiting 5.0" in metrics
        assert "case_ledger_ledger_reachable 0.0" in metrics
        assert "case_ledger_unpublished_seconds" in metrics
        before = held(nodes)
        with psycopg.connect(nodes.country_database) as connection:
            connection.execute("UPDATE vault_xk.disclosures SET received_at = '2020-01-01'")
        nodes.start_ledger()
        until(
            lambda: (
                all(coordinator.outcome(a).receipt is not None for a in waiting)
                and coordinator.outcome(refused).problem is not None
            ),
            "outcomes",
        )
        assert coordinator.outcome(refused).state == "refused"
        assert coordinator.outbox().outcomes[0].action_id == waiting[-1]
    assert held(nodes) <= before
    assert where(nodes.country_database) == set()


def test_an_agency_goes_on_from_what_it_handed_in_itself(nodes: Nodes, tmp_path: Path) -> None:
    nodes.stop_ledger()
    (file := tmp_path / "report.pdf").write_bytes(pdf(300_000))
    prioritised = CasePrioritised(acted_at=START, priority=Priority.HIGH)
    with (
        nodes.at_home("xk-dhtqnj", patience=0) as police,
        nodes.at_home("xk-prosecution-prishtina", patience=0) as prosecutor,
    ):
        case_id = uuid4()
        for client, action, version in ((police, opening(), 0), (prosecutor, prioritised, 1)):
            with pytest.raises(WaitingError):
                client.append(action, case_id, version)
        # A document needs the country's node alone.
        with pytest.raises(WaitingError):
            police.add_document(case_id, 2, file, kind=DocumentKind.REPORT, title=NAME, group=None)
        nodes.start_ledger()
        until(
            lambda: (
                [o.state for c in (police, prosecutor) for o in c.outbox().outcomes]
                == ["recorded"] * 3
            ),
            "all three",
        )
        assert police.case(case_id, at_least=0).view.case_id == case_id
        (one,) = police.documents(case_id).documents
        to = tmp_path / "again.pdf"
        assert police.download(case_id, one.id, to, purpose=Purpose.PROTECTION)
        assert to.read_bytes() == file.read_bytes()


def test_outcomes_are_told_to_those_they_concern(lasting: Nodes) -> None:
    with lasting.at_home("xk-dhtqnj") as police:
        receipt = police.open_case(opening())
    with lasting.at_home("xk-nac") as coordinator:
        assert coordinator.outcome(receipt.action_id).receipt == receipt
        assert coordinator.outbox().outcomes != ()
    with lasting.at_home("xk-border") as border:
        assert border.outbox().outcomes == ()
        with pytest.raises(RefusedError) as refused:
            border.outcome(receipt.action_id)
        assert refused.value.problem.rule == "unknown-action"


def test_another_countrys_agencies_ask_their_own_node(lasting: Nodes) -> None:
    with lasting.at_home("me-nac") as stranger:
        for ask in (stranger.agencies, stranger.events, stranger.outbox):
            with pytest.raises(RefusedError) as refused:
                ask()
            assert refused.value.problem.rule == "another-countrys-node"


def test_the_ledger_node_takes_no_disclosure(lasting: Nodes) -> None:
    assert lasting.ledger is not None
    signed = lasting.agencies.sign("xk-dhtqnj", opening(first_name=NAME), case_id := uuid4())
    with lasting.ledger.client("xk-node") as node, lasting.ledger.client("xk-dhtqnj") as police:
        for client, rule in ((node, "disclosures-stay"), (police, "another-countrys-node")):
            with pytest.raises(RefusedError) as refused:
                client.send(signed, case_id, 0)
            assert refused.value.problem.rule == rule
    assert where(lasting.ledger_database) == set()


def test_a_node_copies_and_passes_on_and_does_nothing_else(lasting: Nodes) -> None:
    assert lasting.ledger is not None
    with lasting.at_home("xk-dhtqnj") as police:
        case_id = police.open_case(opening(("XK", "ME"))).case_id
    with lasting.ledger.client("xk-node") as node:
        for ask in (lambda: node.case(case_id), lambda: list(node.cases())):
            with pytest.raises(RefusedError) as refused:
                ask()
            assert refused.value.problem.rule == "nodes-copy-only"
        with pytest.raises(RefusedError) as refused:
            node.send(node.sign(opening(), own := uuid4()).without_disclosures(), own, 0)
        assert refused.value.problem.rule == "role"
        foreign = lasting.agencies.sign("me-police-thb", opening(("ME",)), other := uuid4())
        with pytest.raises(RefusedError) as refused:
            node.send(foreign.without_disclosures(), other, 0)
        assert refused.value.problem.rule == "own-action-only"
    with lasting.at_home("xk-node", patience=0) as lost:
        own = lasting.agencies.sign("xk-dhtqnj", opening(), other := uuid4())
        with pytest.raises(RefusedError) as refused:
            lost.send(own.without_disclosures(), other, 0)
        # No refusal of the action: an outbox that is set up wrongly keeps it.
        assert (refused.value.problem.status, refused.value.problem.rule) == (
            503,
            "not-the-ledger-node",
        )


def test_heads_and_entries_are_for_those_who_see_everything(lasting: Nodes) -> None:
    assert lasting.ledger is not None
    with lasting.ledger.client("xk-dhtqnj") as police:
        with pytest.raises(RefusedError) as refused:
            police.signed_head(0)
        assert refused.value.problem.rule == "whole-ledger"
    began = time.monotonic()
    told: list[str] = []
    with lasting.ledger.client("xk-node") as node:
        node._http.event_hooks = {"response": [lambda answer: told.append(answer.headers[ZONES])]}
        head = node.signed_head(10**6, wait=0.5)
    assert time.monotonic() - began >= 0.5
    assert head.startswith("case-ledger/")
    assert told == [zones_digest(lasting.agencies.protocol)]


def test_a_node_without_its_key_or_policy_says_so(directory: Path) -> None:
    policy = directory / "policy"
    policy.write_text("quorum none\n")
    node = {"CASE_LEDGER_LEDGER_URL": "http://127.0.0.1:1"}
    named = {"CASE_LEDGER_POLICY": str(policy)}
    for more, said in (
        (node, "CASE_LEDGER_POLICY"),
        (node | named | {"CASE_LEDGER_COUNTRIES": '["ME"]'}, "me-node has no key"),
        (node | named | {"CASE_LEDGER_COUNTRIES": "[]"}, "names no node"),
    ):
        done = CommandLine(directory, more).run("serve", code=1)
        assert said in done.stderr
    assert not (directory / "postgresql").exists()


def test_fields_travel_sealed_between_two_countries_nodes(
    nodes: Nodes, server: str, migrated: str
) -> None:
    """Kosovo's node to Montenegro's, through a ledger node that keeps neither's vault."""
    with new_database(server, migrated) as conninfo, ExitStack() as stack:
        settings = nodes.country_settings.model_copy(
            update={
                "data_directory": nodes.country_settings.data_directory.parent / "me",
                "countries": ("ME",),
            }
        )
        settings.key_directory.mkdir(parents=True)
        keys.save(nodes.agencies.keys["me-node"], settings.key_directory / "me-node.jwk")
        montenegro = stack.enter_context(running(settings, conninfo, nodes.agencies))
        rows = montenegro.node.ledger.rows
        until(lambda: (rows.max_notification_id() or 0) > 20, "the first copy")
        for node, agency in ((nodes.country_settings, "xk-nac"), (settings, "me-nac")):
            key = country_key(node, agency[:2].upper()).public
            home = nodes.country if agency == "xk-nac" else montenegro
            assert home is not None
            with home.client(agency) as coordinator:
                coordinator.append_to_registry(CountryKeyRegistered(acted_at=PAST, key=str(key)))
        case_id = uuid4()
        with nodes.at_home("xk-dhtqnj") as kosovo, montenegro.client("me-police-thb") as police:
            kosovo.append(opening(("XK", "ME"), first_name=NAME, indicators_note=NAME), case_id, 0)

            def case_fields() -> set[str]:
                try:
                    disclosed = police.case(case_id).disclosed
                except RefusedError:
                    return set()
                return {str(value) for one in disclosed for value in one.fields.values()} & {NAME}

            until(lambda: bool(case_fields()), "the case's fields")
            identified = VictimIdentified(
                acted_at=START,
                status=TraffickingStatus.ACTUAL,
                decided_by=DecisionMakingOrg.POLICE,
                types_of_exploitation=(TypeOfExploitation.FORCED_MARRIAGE,),
            )
            basis = kosovo.append(identified, case_id, 1).action_id
            identity = [FieldGroup.IDENTITY]
            fields = kosovo.read(case_id, identity, Purpose.PROTECTION).fields
            kosovo.release(
                case_id,
                2,
                fields,
                recipient="ME",
                purpose=Purpose.PROTECTION,
                basis=LegalBasis.DUTY,
                basis_action=basis,
            )
            until(
                lambda: bool(police.read(case_id, identity, Purpose.PROTECTION).fields),
                "the release",
            )
            with pytest.raises(RefusedError) as refused:
                police.parcels()
            assert refused.value.problem.rule == "nodes-only"
        for database in (nodes.ledger_database, nodes.country_database, conninfo):
            assert where(database) == set()
        with psycopg.connect(nodes.ledger_database) as connection:
            vaults = [
                connection.execute(f"SELECT count(*) FROM vault_{p}.disclosures".encode())
                for p in ("xk", "me", "al")
            ]
            assert [v.fetchone() for v in vaults] == [(0,)] * 3

        def acknowledged() -> bool:
            """Return whether every parcel was acknowledged, and its sender has stored that."""
            with psycopg.connect(nodes.ledger_database) as connection:
                waiting = connection.execute("SELECT FROM mailbox.parcels").fetchall()
            with psycopg.connect(nodes.country_database) as connection:
                states = connection.execute("SELECT state FROM vault_xk.parcels_sent").fetchall()
            return waiting == [] and ("taken_in",) in states and set(states) == {("taken_in",)}

        until(acknowledged, "the acknowledgements")
        assert ready(nodes)["parcels"] == []
        assert nodes.ledger is not None
        metrics = httpx.get(f"{nodes.ledger.url}/metrics").text
        assert "case_ledger_parcels_waiting" in metrics


def test_danger_to_life_does_not_wait_for_the_ledger_node(nodes: Nodes) -> None:
    with nodes.at_home("xk-dhtqnj") as police:
        case_id = police.open_case(opening(first_name=NAME)).case_id
    nodes.stop_ledger()
    now = datetime.now(UTC)
    access = BreakGlassOpened(
        acted_at=now,
        danger=Danger.MISSING_CHILD,
        groups=(FieldGroup.IDENTITY,),
        until=now + timedelta(hours=1),
    )
    asked = ([FieldGroup.IDENTITY], Purpose.DANGER_TO_LIFE, LegalBasis.DANGER_TO_LIFE)
    with nodes.at_home("xk-border", patience=0) as border:
        with pytest.raises(RefusedError) as refused:
            border.read(case_id, *asked)
        assert refused.value.problem.rule == "no-legal-basis"
        too_much = access.model_copy(update={"groups": (FieldGroup.HEALTH,)})
        with pytest.raises(WaitingError):
            border.append(too_much, case_id, 1)
        with pytest.raises(RefusedError):
            border.read(case_id, [FieldGroup.HEALTH], *asked[1:])
        with pytest.raises(WaitingError) as waiting:
            border.append(access, case_id, 1)
        (name,) = border.read(case_id, *asked).fields
        assert name.value == NAME
        (entry,) = [r for r in border.readings(case_id).readings if r.granted]
        assert entry.bases[FieldGroup.IDENTITY].action == waiting.value.outcome.action_id


@pytest.mark.parametrize("change", ["sealed", "sender", "recipient", "id"])
def test_a_parcel_that_was_tampered_with_is_not_taken_in(change: str) -> None:
    protocol, receiver, another = shipped_protocol(), FileCountryKey.generate(), uuid4()
    content = Presentation(presentation="a~b~")
    parcel = pack(content, uuid4(), protocol, "XK", "ME", receiver.public)
    assert unpack(parcel, protocol, receiver) == content
    value = {
        "sealed": parcel.sealed[:-1] + bytes([parcel.sealed[-1] ^ 1]),
        "sender": "AL",
        "recipient": "AL",
        "id": another,
    }[change]
    with pytest.raises(ParcelError):
        unpack(replace(parcel, **{change: value}), protocol, receiver)  # type: ignore[arg-type]
    with pytest.raises(ParcelError):
        unpack(parcel, protocol, FileCountryKey.generate())
