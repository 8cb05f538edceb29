"""API5:2023: who may do what, whatever the request pretends to be."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID, uuid4

import httpx
import pytest

from ledger.signing import keys
from ledger.signing.country_key import FileCountryKey
from ledger.vault.acknowledgements import Acknowledgement, ParcelOutcome, sign
from ledger.vault.sealed_parcels import Parcel, Presentation, pack
from ledger.vocabulary import Action
from ledger.vocabulary.coordination import CasePrioritised
from ledger.vocabulary.picklists import Priority
from ledger.vocabulary.registration import (
    KeyCompromised,
    KeyGrant,
    KeyRegistered,
    KeyRevoked,
    ProtocolAdopted,
)
from tests.attacks.target import KOSOVO, MARK, Target
from tests.support.actions import START, opening
from tests.support.agencies import PAST, Agencies

OVERSIGHT = ("xk-ombudsperson", "me-ombudsman", "al-advocate")
HELPERS = ("xk-shelter-children", "xk-ngo-support")


def grant(agency: str) -> KeyGrant:
    return Agencies().grant(agency, keys.generate())


def victim(target: Target) -> str:
    return keys.key_id(target.key("xk-border"))


REGISTRY_ACTS: dict[str, Callable[[Target], Action]] = {
    "register": lambda _: KeyRegistered(acted_at=PAST, grant=grant("xk-border")),
    "revoke": lambda t: KeyRevoked(acted_at=PAST, key_id=victim(t)),
    "compromise": lambda t: KeyCompromised(acted_at=PAST, key_id=victim(t), since=PAST),
}


@pytest.mark.parametrize("act", REGISTRY_ACTS)
@pytest.mark.parametrize("agency", [KOSOVO, "me-nac", "xk-ombudsperson", "me-police-thb", "xk-isf"])
def test_a_registry_act_by_another_than_the_countrys_coordinator(
    target: Target, act: str, agency: str
) -> None:
    """API5:2023 function-level authorisation: keys of an agency of Kosovo."""
    with target.untouched():
        signed = target.sign(agency, REGISTRY_ACTS[act](target), None)
        told = target.append(signed, agency=agency)
    target.refuses(told, 403, "coordinator-of-the-country")


def test_an_agency_makes_itself_a_coordinator(target: Target) -> None:
    """API5:2023: a key for the coordinator, asked for by the police."""
    with target.untouched():
        signed = target.sign(KOSOVO, KeyRegistered(acted_at=PAST, grant=grant("xk-nac")), None)
        target.refuses(target.append(signed), 403, "coordinator-of-the-country")


def test_the_protocol_is_adopted_anew_and_the_log_taken_over(target: Target) -> None:
    """API5:2023: the trust root is set once; a policy is the coordinators'."""
    agencies = target.server.agencies
    protocol = agencies.protocol.model_dump(mode="json", exclude_none=True)
    adopted = ProtocolAdopted(acted_at=PAST, protocol=protocol, keys=(grant("xk-nac"),))
    policy = target.vote(target.ask("/log/policy", None).text)
    with target.untouched():
        told = target.append(target.sign(KOSOVO, adopted, None))
        target.refuses(told, 409, "already-adopted")
        for agency in (KOSOVO, "xk-ombudsperson"):
            told = target.append(target.sign(agency, policy, None), agency=agency)
            target.refuses(told, 403, "coordinators-only")


def test_oversight_and_shelters_write_what_is_not_theirs(target: Target) -> None:
    """API5:2023: who reads a case does not thereby act on it."""
    action = CasePrioritised(acted_at=START, priority=Priority.HIGH)
    acts = [(agency, action, target.case, 1) for agency in (*OVERSIGHT, *HELPERS)]
    acts += [(agency, opening(), uuid4(), 0) for agency in OVERSIGHT]
    for agency, act, case, version in acts:
        with target.untouched():
            signed = target.sign(agency, act, case)
            told = target.append(signed, case=case, agency=agency, version=version)
        target.refuses(told, 403, "role")


def test_one_sends_what_another_signed(target: Target) -> None:
    """API5:2023: an agency's or a node's word for what another agency signed."""
    signed = target.sign(KOSOVO, opening(first_name=MARK), case := uuid4())
    for agency, rule, status in (
        ("xk-border", "own-action-only", 403),
        ("xk-nac", "own-action-only", 403),
        ("me-node", "own-action-only", 403),
        ("xk-node", "disclosures-stay", 422),
    ):
        with target.untouched():
            told = target.append(signed, case=case, agency=agency)
        target.refuses(told, status, rule)


def test_a_node_plays_the_agency(target: Target) -> None:
    """API5:2023: a node reads no case, signs no action, and registers no key."""
    with target.untouched():
        for path in (f"/v1/cases/{target.case}", "/v1/cases", f"/v1/cases/{target.case}/trail"):
            target.refuses(target.ask(path, "xk-node"), 403, "nodes-copy-only")
        bare = target.sign("xk-node", opening(), case := uuid4()).without_disclosures()
        target.refuses(target.append(bare, case=case, agency="xk-node"), 403, "role")
        signed = target.sign("xk-node", REGISTRY_ACTS["register"](target), None)
        told = target.append(signed, agency="xk-node")
        target.refuses(told, 403, "coordinator-of-the-country")


OWED = (
    "/v1/obligations",
    "/v1/obligations?party=XK&overdue=true",
    "/v1/accountability/response-times",
    "/v1/accountability/reciprocity",
)


@pytest.mark.parametrize("path", OWED)
def test_who_owes_whom_is_asked_by_another_than_a_coordinator(target: Target, path: str) -> None:
    """API5:2023 function-level authorisation: not by those who owe, helpers or nodes."""
    with target.untouched():
        for agency in (KOSOVO, "xk-border", "xk-court-prishtina", "xk-node", *HELPERS):
            target.refuses(target.ask(path, agency), 403, "coordinators-and-oversight")
        target.refuses(target.ask(path, None), 401, "assertion-missing")
    assert all(target.ask(path, agency).is_success for agency in ("xk-nac", *OVERSIGHT))


def test_who_sees_not_all_reads_not_all(target: Target) -> None:
    """API5:2023: signed heads and whole bundles are for those who follow every event."""
    with target.untouched():
        for path in ("/v1/log/head", "/log/tile/entries/000", "/log/tile/entries/000.p/1"):
            target.refuses(target.ask(path), 403, "whole-ledger")
        told = target.ask("/log/tile/entries/000", None)
        target.refuses(told, 401, "assertion-missing")


OVERRIDES = ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override")


@pytest.mark.parametrize("name", OVERRIDES)
def test_another_method_in_a_header(target: Target, name: str) -> None:
    """API5:2023; ASVS V4.1: a header or parameter makes no other method of it."""
    signed = str(target.sign(KOSOVO, opening(), case := uuid4()))
    path = f"/v1/cases/{case}/actions?_method=POST"
    headers = {name: "POST", "Content-Type": "application/sd-jwt", "If-None-Match": "*"}
    with target.untouched():
        told = target.ask(path, headers=headers, method="GET", content=signed)
        target.refuses(told, 405, "method")
        told = target.ask("/v1/cases", headers={name: "DELETE"}, method="POST")
        target.refuses(told, 405, "method")
    assert target.ask(f"/v1/cases/{target.case}", headers={name: "DELETE"}).is_success


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Original-URL": "/v1/cases"},
        {"X-Rewrite-URL": "/v1/cases"},
        {"X-Forwarded-Prefix": "/v1"},
        {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1", "Forwarded": "for=127.0.0.1"},
        {"Host": "localhost", "X-Forwarded-Host": "localhost"},
    ],
    ids=lambda headers: next(iter(headers)),
)
def test_another_address_in_a_header(target: Target, headers: dict[str, str]) -> None:
    """API5:2023: no header leads round authentication."""
    with target.untouched():
        told = target.ask("/v1/cases", None, headers=headers)
        target.refuses(told, 401, "assertion-missing")
        target.refuses(target.ask("/nowhere", None, headers=headers), 404, "no-such-resource")


def test_a_node_takes_the_id_of_another_countrys_parcel(target: Target) -> None:
    """Other nodes can tell what the id will be; the true parcel would never be taken in."""
    key, protocol = FileCountryKey.generate().public, target.server.agencies.protocol
    content = Presentation(presentation="x~", release=uuid4())
    parcel = pack(content, uuid4(), protocol, "XK", "ME", key)

    def hand_in(agency: str, sender: str) -> httpx.Response:
        document = {
            "id": str(parcel.id),
            "sender": sender,
            "recipient": "ME",
            "sealed": base64.b64encode(parcel.sealed).decode(),
        }
        headers = {"Content-Type": "application/json"}
        body = json.dumps(document)
        return target.ask(
            "/v1/mailbox/parcels", agency, method="POST", headers=headers, content=body
        )

    target.refuses(hand_in("al-node", "AL"), 403, "own-parcels")
    assert hand_in("xk-node", "XK").status_code == 204


def test_a_node_acknowledges_and_settles_what_is_anothers(target: Target) -> None:
    """API5:2023: no node says what became of another country's parcels."""
    protocol = target.server.agencies.protocol
    parcel = Parcel(UUID(bytes=b"XK" + uuid4().bytes[2:]), "XK", "ME", b"sealed")

    def post(path: str, agency: str, content: object) -> httpx.Response:
        headers = {"Content-Type": "application/json"}
        body = json.dumps(content)
        return target.ask(
            f"/v1/mailbox/{path}", agency, method="POST", headers=headers, content=body
        )

    said = Acknowledgement.of(
        parcel, ParcelOutcome.TAKEN_IN, None, protocol=protocol.id, at=datetime.now(UTC)
    )
    true, forged = (sign(said, target.key(agency)).text for agency in ("me-node", "al-node"))
    with target.untouched():
        for agency in (KOSOVO, "xk-nac", "xk-ombudsperson"):
            target.refuses(target.ask("/v1/mailbox/parcels", agency), 403, "nodes-only")
            target.refuses(target.ask("/v1/mailbox/outcomes", agency), 403, "nodes-only")
        told = post("acknowledgements", "al-node", {"acknowledgements": [true]})
        target.refuses(told, 403, "own-parcels")
        told = post("acknowledgements", "al-node", {"acknowledgements": [true[:-4] + "AAAA"]})
        target.refuses(told, 422, "acknowledgement")
        told = post("acknowledgements", "me-node", {"acknowledgements": [forged]})
        target.refuses(told, 422, "acknowledgement")
        told = post("acknowledgements", "me-node", {"acknowledgements": [true]})
        assert told.json() == {"parcels": 0}  # of a parcel that is not there
        assert post("outcomes/settled", "al-node", {"places": [1, 2, 3]}).status_code == 204
        sent = {"sent": [{"parcel": str(parcel.id), "digest": "00" * 32}]}
        assert post("missing", "al-node", sent).json() == {"missing": [str(parcel.id)]}


def test_a_node_of_an_earlier_program_is_told_to_update(target: Target) -> None:
    """It removed parcels without an acknowledgement."""
    for method, path in (("GET", "?limit=50"), ("POST", ""), ("DELETE", f"/{uuid4()}")):
        told = target.ask(f"/v1/parcels{path}", "me-node", method=method, content=b"{}")
        target.refuses(told, 410, "outdated-node")
