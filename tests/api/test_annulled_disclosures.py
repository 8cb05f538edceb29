"""Fields that were recorded in the wrong case are read nowhere in that case any more."""

import base64
import re
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from pydantic import BaseModel
from typer.testing import CliRunner

from api.background_jobs.eraser import Eraser
from api.cli import app
from api.client import RefusedError
from api.exchange.duplicate_matcher import DuplicateMatcher
from api.runtime.schema import migrate_all
from ledger.application import Ledger, environment
from ledger.procedure.checks import destruction
from ledger.procedure.protocol import Operation
from ledger.procedure.readings import Asked
from ledger.refusals import Refusal
from ledger.signing import keys, signed_action
from ledger.system import clock
from ledger.vault import sealed_parcels
from ledger.vocabulary.coordination import Correction, InformationRequested
from ledger.vocabulary.destruction import DestructionApproved, DestructionProposed
from ledger.vocabulary.erasure import LegalHoldLifted, LegalHoldPlaced
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.person import IdentityRecorded
from ledger.vocabulary.picklists import HoldGround, Purpose, ServiceKind
from ledger.vocabulary.protection import ServiceStarted
from tests.api.test_personal_data import Child, later, register_second_key
from tests.support.actions import opening
from tests.support.agencies import Agencies
from tests.support.cosigned import cosigned
from tests.support.databases import new_database
from tests.support.seeking import routes_with
from tests.support.serving import Server, serving
from tests.support.sharing import register_country_keys
from tests.support.short_pauses import short_pauses
from tests.support.waiting import until
from tests.support.web import FROM_HERE, signed_in

POLICE, SOCIAL_WORK = "xk-dhtqnj", "xk-csw-prishtina"
COUNTERPART = "me-csw-podgorica"
NOTE, HEALTH = "zqnoteofanotherchild", "zqhealthofanotherchild"


@pytest.fixture(scope="module")
def shared(server: str) -> Iterator[Server]:
    agencies = Agencies()
    with new_database(server) as conninfo:
        migrate_all(conninfo, agencies.protocol)
        with Ledger(environment(conninfo)) as ledger:
            agencies.begin(ledger)
        with short_pauses(), serving(conninfo, agencies) as running:
            register_country_keys(running)
            yield running


def wrong_note(hours: float = 3) -> ServiceStarted:
    return ServiceStarted(
        acted_at=later(hours),
        service=ServiceKind.MEDICAL,
        provider=SOCIAL_WORK,
        description=NOTE,
        health_note=HEALTH,
    )


def annulment(action: UUID, hours: float = 9) -> Correction:
    return Correction(
        acted_at=later(hours), corrects=action, effect="annulled", reason="wrong_case"
    )


def with_wrong_note(server: Server) -> tuple[Child, UUID]:
    """Return a case with another child's note, which Montenegro received too."""
    child = Child(server)
    child.act(POLICE, opening(("XK", "ME"), first_name="zqright", indicators_note="zqrightnote"))
    note = child.act(SOCIAL_WORK, wrong_note())
    consent = child.consent(FieldGroup.HEALTH)
    (field,) = child.read(SOCIAL_WORK, FieldGroup.HEALTH).fields
    child.act(SOCIAL_WORK, child.release(field, basis_action=consent))
    until(lambda: child.read(COUNTERPART, FieldGroup.HEALTH).fields)
    until(lambda: NOTE in str(child.case_values(COUNTERPART)))
    return child, note


def found(child: Child, *marks: str) -> dict[str, frozenset[str]]:
    """Return the routes at which each agency finds a mark, where any does."""
    return {
        f"{mark} by {agency}": routes
        for agency in (SOCIAL_WORK, COUNTERPART)
        for mark, routes in routes_with(child.server, agency, child.id, *marks).items()
        if routes
    }


def test_an_annulled_note_is_found_by_no_route_in_either_country(shared: Server) -> None:
    child, note = with_wrong_note(shared)
    before = found(child, NOTE, HEALTH)
    assert len(before) == 4
    assert {"GET /v1/cases/{case_id}", "GET /cases/{case_id}", "POST subject-access pdf"} <= (
        before[f"{NOTE} by {SOCIAL_WORK}"]
    )
    assert {"POST readings", "POST subject-access json", "POST /cases/{case_id}/personal"} <= (
        before[f"{HEALTH} by {COUNTERPART}"]
    )
    child.act(SOCIAL_WORK, annulment(note))
    child.case_values(COUNTERPART)
    after = found(child, NOTE, HEALTH, "zqrightnote")
    # What belongs to the child is read as before.
    assert set(after) == {f"zqrightnote by {agency}" for agency in (SOCIAL_WORK, COUNTERPART)}
    assert child.read(SOCIAL_WORK, FieldGroup.HEALTH).damaged == ()


def _in_clear(text: str) -> str:
    """Return a text with each disclosure in it decoded."""
    decoded = [text]
    for part in re.findall(r"[A-Za-z0-9_-]{20,}", text):
        padded = part[: len(part) - (len(part) % 4 == 1)] + "=="
        decoded.append(base64.urlsafe_b64decode(padded).decode(errors="replace"))
    return " ".join(decoded)


def test_an_annulled_name_is_in_no_parcel_export_or_token(
    shared: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Parcels and files of after the annulment have the name that counts, and no wrong one."""
    wrong, right = "zqwrongname", "zqrightname"
    packed: list[str] = []
    pack = sealed_parcels.pack

    def watched(content: BaseModel, *more: Any) -> Any:
        packed.append(_in_clear(content.model_dump_json()))
        return pack(content, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(sealed_parcels, "pack", watched)
    child = Child(shared)
    child.act(POLICE, opening(("XK", "ME"), first_name=right, indicators_note="zqrightnote"))
    stated = {"ground": "learned", "source": "document", "certainty": "probable"}
    mistaken = child.act(
        POLICE,
        IdentityRecorded(acted_at=later(2), first_name=wrong, birthdate=date(2010, 1, 2), **stated),
    )
    consent = child.consent(FieldGroup.IDENTITY)
    every = child.read(POLICE, FieldGroup.IDENTITY).fields
    child.act(POLICE, child.release(*every, basis_action=consent))
    until(lambda: any(wrong in text for text in packed))
    note = child.act(SOCIAL_WORK, wrong_note(4))
    until(lambda: any(NOTE in text for text in packed))
    for action in (mistaken, note):
        child.act(
            POLICE if action == mistaken else SOCIAL_WORK,
            annulment(action),
        )
    until(lambda: child.read(POLICE, FieldGroup.IDENTITY).fields)
    del packed[:]
    asked = InformationRequested(
        acted_at=later(10), addressee="al-nac", topics=("identity",), purpose="identification"
    )
    child.act("xk-nac", asked)  # Albania gets what was disclosed before
    until(lambda: any("zqrightnote" in text for text in packed))
    until(lambda: "zqrightnote" in str(child.case_values("al-nac")))
    assert not [text for text in packed if wrong in text or NOTE in text or HEALTH in text]
    assert found(child, wrong) == {}
    keys.save(shared.agencies.keys[POLICE], key := tmp_path / "police.json")
    for suffix in ("jsonl", "csv"):
        file = tmp_path / f"cases.{suffix}"
        words = ["export-cases", str(file), "--agency", POLICE, "--key", str(key)]
        words += ["--group", "identity", "--purpose", "identification"]
        env = {"CASE_LEDGER_DATA_DIRECTORY": str(tmp_path), "CASE_LEDGER_URL": shared.url}
        done = CliRunner().invoke(app, words, env=env)
        assert done.exit_code == 0, done.output
        assert right in file.read_text()
        assert wrong not in file.read_text()
    matcher = shared.worker("match")
    assert isinstance(matcher, DuplicateMatcher)
    node = shared.agencies.protocol.agencies_by_id["xk-node"]
    compared = str(matcher._read(shared.node.vaults.of("XK"), node, child.id))
    assert right in compared
    assert wrong not in compared
    assert "2010" not in compared


def test_an_annulled_note_cannot_be_released(shared: Server) -> None:
    child = Child(shared)
    child.act(POLICE, opening(("XK", "ME")))
    note = child.act(SOCIAL_WORK, wrong_note())
    consent = child.consent(FieldGroup.HEALTH)
    (field,) = child.read(SOCIAL_WORK, FieldGroup.HEALTH).fields
    release = child.release(field, basis_action=consent)
    child.act(SOCIAL_WORK, annulment(note))
    assert child.refuse(SOCIAL_WORK, release) == "unknown-action"


@pytest.fixture(scope="module")
def with_node_keys(shared: Server) -> Server:
    """The server, whose countries' nodes can sign."""
    for node in ("xk-node", "me-node"):
        keys.save(shared.agencies.keys[node], shared.settings.key_directory / f"{node}.jwk")
    return shared


def rows_of(server: Server, party: str, action: UUID) -> list[tuple[Any, ...]]:
    with psycopg.connect(server.node.conninfo) as connection:
        table = SQL("{}.disclosures").format(Identifier(f"vault_{party.lower()}"))
        select = SQL("SELECT * FROM {} WHERE action_id = %s").format(table)
        return connection.execute(select, (action,)).fetchall()


def put_back(server: Server, party: str, rows: list[tuple[Any, ...]]) -> None:
    with psycopg.connect(server.node.conninfo) as connection:
        table = SQL("{}.disclosures").format(Identifier(f"vault_{party.lower()}"))
        places = SQL(", ").join(SQL("%s") for _ in rows[0])
        for row in rows:
            connection.execute(SQL("INSERT INTO {} VALUES ({})").format(table, places), row)


def test_two_parties_destroy_it_in_every_country_and_nothing_brings_it_back(
    with_node_keys: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = with_node_keys
    child = Child(server)
    child.act(POLICE, opening(("XK", "ME"), indicators_note="zqrightnote"))
    with server.client(SOCIAL_WORK) as client:
        signed = client.sign(wrong_note(), child.id)
        receipt = client.send(signed, child.id, child.version)
    child.version, note = receipt.case_version, receipt.action_id
    until(lambda: NOTE in str(child.case_values(COUNTERPART)))
    propose = DestructionProposed(acted_at=later(10), annulled=note)
    assert child.refuse(SOCIAL_WORK, propose) == "not-annulled"
    child.act(SOCIAL_WORK, annulment(note))
    kept = {party: rows_of(server, party, note) for party in ("XK", "ME")}
    assert all(kept.values())
    assert child.refuse("me-nac", propose) == "own-action"
    assert child.refuse(POLICE, propose) == "own-action"
    hold = child.act(
        "xk-court-prishtina",
        LegalHoldPlaced(acted_at=later(10), ground=HoldGround.COMPENSATION_CLAIM),
    )
    assert child.refuse(SOCIAL_WORK, propose) == "legal-hold"
    child.act("xk-court-prishtina", LegalHoldLifted(acted_at=later(10), hold=hold))
    proposal = child.act("xk-nac", propose)
    approve = DestructionApproved(acted_at=later(11), proposal=proposal)
    assert child.refuse(SOCIAL_WORK, approve) == "role"
    assert child.refuse("xk-nac", approve) == "second-party"
    with register_second_key(server, "xk-nac") as second, pytest.raises(RefusedError) as refused:
        second.append(approve, child.id, child.version)
    assert refused.value.problem.rule == "second-party", "a second key is no second party"
    order = child.act("me-nac", approve)
    assert child.refuse("me-nac", approve) == "no-such-proposal"
    assert child.refuse("xk-nac", propose) == "already-ordered"
    eraser = server.worker("erase")
    assert isinstance(eraser, Eraser)
    days, start = server.agencies.protocol.accountability_terms.destruction_grace_days, clock.now()
    # Neither before the end nor by one clock that jumps over it.
    for too_few in (range(days), (0, days + 2)):
        assert eraser.destroy(cosigned(start, too_few)) == 0
    assert rows_of(server, "XK", note) == kept["XK"]
    with server.client("me-nac") as coordinator:
        page = coordinator.case(child.id, at_least=child.position).view.destructions
    assert page[0].stoppable_until is not None
    assert page[0].stoppable_until > start + timedelta(days=days - 1)
    assert eraser.destroy(cosigned(start, range(days + 3))) == len(list(server.node.vaults))
    # The ledger's clock allows the confirmation from now on.
    monkeypatch.setattr(destruction, "CLOCK_SKEW", timedelta(days=days + 1))
    with server.client("me-nac") as coordinator:

        def confirmed() -> set[str]:
            (one,) = coordinator.case(child.id, at_least=child.position).view.destructions
            assert one.order == order
            return set(one.confirmed)

        until(lambda: confirmed() == {"XK", "ME"})
        trail = list(coordinator.trail(child.id))
        child.version = coordinator.case(child.id).view.version
    stated = {entry.agency for entry in trail if entry.kind == "destruction_confirmed"}
    assert stated == {"xk-node", "me-node"}
    assert {party: rows_of(server, party, note) for party in kept} == {"XK": [], "ME": []}
    # The agency sends the same bytes again: they get their receipt, and nothing comes back.
    with server.client(SOCIAL_WORK) as client:
        assert client.send(signed, child.id, 1) == receipt
    assert rows_of(server, "XK", note) == []
    vault = server.node.vaults.of("XK")
    with pytest.raises(Refusal, match="destroyed"):
        vault.deposit(signed_action.read(signed), child.id, signed.disclosures)
    # The rest of the case is as before, and each vault holds what it must.
    assert "zqrightnote" in str(child.case_values(COUNTERPART))
    for party, rows in kept.items():
        put_back(server, party, rows)  # as an older copy of the database has them
    assert set(found(child, NOTE, HEALTH, "zqrightnote")) == {
        f"zqrightnote by {agency}" for agency in (SOCIAL_WORK, COUNTERPART)
    }
    assert eraser.remove_returned() == sum(map(len, kept.values()))
    assert {party: rows_of(server, party, note) for party in kept} == {"XK": [], "ME": []}


def test_only_those_who_decide_on_a_destruction_open_what_it_would_remove(
    with_node_keys: Server,
) -> None:
    server = with_node_keys
    child, note = with_wrong_note(server)
    child.act(SOCIAL_WORK, annulment(note))
    proposal = child.act(SOCIAL_WORK, DestructionProposed(acted_at=later(10), annulled=note))
    vault = server.node.vaults.of("XK")
    asked = Asked(
        agency="xk-court-prishtina",
        role="court",
        case_id=child.id,
        operation=Operation.REVIEW_DESTRUCTION,
        groups=tuple(FieldGroup),
        purpose=Purpose.PROTECTION,
    )
    # Row-level security compares each row with the action that the entry names.
    for action, opened_here in ((note, 0), (child.ids["case_opened"], 1)):
        reading = vault.readings.record(asked, concerning=action)
        assert len(vault.personal_fields(reading)) == opened_here
    deciding = ("me-nac", "me-ombudsman", "me-court-podgorica", "xk-ombudsperson")
    for agency in (*deciding, "xk-court-prishtina"):
        with server.client(agency) as client:
            client.case(child.id, at_least=child.position)
            opened = client.review_destruction(child.id, proposal)
            assert opened.disclosed.action_id == note
            assert {NOTE, HEALTH} <= {*opened.disclosed.fields.values()}
            assert "zqright" not in opened.model_dump_json()
    page, path = f"/cases/{child.id}/personal", f"/cases/{child.id}/destructions/{proposal}"
    with signed_in(server, "me-nac") as browser:
        assert path in browser.get(page).text
        opened_page = browser.post(path, headers=FROM_HERE)
        assert opened_page.status_code == 200
        assert NOTE in opened_page.text
        assert HEALTH in opened_page.text
    with signed_in(server, SOCIAL_WORK) as browser:
        assert path not in browser.get(page).text
        assert browser.post(path, headers=FROM_HERE).status_code == 403
    for agency in (SOCIAL_WORK, COUNTERPART, POLICE, "xk-nac", "xk-prosecution-prishtina"):
        with server.client(agency) as client, pytest.raises(RefusedError) as refused:
            client.review_destruction(child.id, proposal)
        assert refused.value.problem.rule == "not-a-reviewer"
    for agency in ("al-nac", "al-advocate"):
        with server.client(agency) as client, pytest.raises(RefusedError) as refused:
            client.review_destruction(child.id, proposal)
        assert refused.value.problem.rule in ("unknown-case", "not-a-reviewer")
    with server.client("xk-ombudsperson") as client:
        logged = client.readings(child.id)
    reviews = [
        (one.asked.agency, one.granted, one.refused_by, one.concerning)
        for one in logged.readings
        if one.asked.operation is Operation.REVIEW_DESTRUCTION
    ]
    assert ("xk-ombudsperson", True, None, note) in reviews
    assert ("xk-nac", False, "not-a-reviewer", proposal) in reviews
    # The content is found nowhere else, and not once the proposal is withdrawn.
    assert found(child, NOTE, HEALTH) == {}
    child.act(SOCIAL_WORK, annulment(proposal, 11))
    with server.client("me-nac") as client:
        client.case(child.id, at_least=child.position)
        with pytest.raises(RefusedError) as refused:
            client.review_destruction(child.id, proposal)
    assert refused.value.problem.rule == "no-such-proposal"
