"""API3:2023: an action says what its model has a place for, once, at its level, and no more."""

import hashlib
import json
from typing import Any
from uuid import UUID, uuid4

import pytest

from ledger.signing.sd_jwt import SdJwt, decoy_digest, make_disclosure
from ledger.vocabulary.picklists import RiskLevel
from ledger.vocabulary.protection import RiskAssessed
from tests.attacks.target import KOSOVO, MARK, Target, b64, forged, resigned
from tests.support.actions import START, opening

PAYLOADS: list[dict[str, Any]] = [
    {"position": 1},
    {"recorded_at": "2020-01-01T00:00:00Z"},
    {"case_version": 7},
    {"leaf_hash": "A" * 44},
    {"role": "coordinator"},
    {"aud": "case-ledger"},
    {"exp": 1},
    {"cnf": {"jwk": {}}},
    {"_sd": [decoy_digest()]},
    {MARK: MARK},
    {"_sd_alg": "sha-512"},
    {"iat": 2**40 - 1},
    {"iat": 10**20},
]
ACTS: list[dict[str, Any]] = [
    {"position": 1},
    {"lead_agency": "xk-nac"},
    {"status": "Closed"},
    {"version": 9},
    {"_sd_alg": "sha-256"},
    {"...": decoy_digest()},
    {MARK: MARK},
    {"ground": "police_action"},
    {"first_name": MARK},
    {"countries": ["XK", {"...": decoy_digest()}]},
    {"countries": {"_sd": [decoy_digest()]}},
    {"age_group": {"_sd": [decoy_digest()]}},
    {"acted_at": {"_sd": [decoy_digest()]}},
    {"acted_at": "9999-12-31T23:59:59-14:00"},
    {"acted_at": "0001-01-01T00:00:00+14:00"},
]


@pytest.mark.parametrize("more", PAYLOADS, ids=lambda m: ",".join(m).replace(MARK, "unknown"))
def test_a_claim_that_the_ledger_alone_decides(target: Target, more: dict[str, Any]) -> None:
    """API3:2023 mass assignment in the payload: position, time, version, role."""
    signed = target.sign(KOSOVO, opening(), case := uuid4())
    with target.untouched():
        told = target.append(resigned(signed, target.key(KOSOVO), **more), case=case)
    target.refuses(told, 422, "model")


@pytest.mark.parametrize("more", ACTS, ids=lambda m: ",".join(m).replace(MARK, "unknown"))
def test_a_field_that_the_action_has_not_at_this_level(
    target: Target, more: dict[str, Any]
) -> None:
    """API3:2023 mass assignment in the act; digests smuggled where none may be."""
    signed = target.sign(KOSOVO, opening(), case := uuid4())
    act = {**signed.payload["act"], **more}
    with target.untouched():
        told = target.append(resigned(signed, target.key(KOSOVO), act=act), case=case)
    target.refuses(told, 422, "model")


def with_digests(
    target: Target, signed: SdJwt, disclosed: list[str], digests: list[Any] | None = None
) -> str:
    """The action with these disclosures, the first digests replaced by theirs (or by others)."""
    held = list(signed.payload["act"]["_sd"])
    theirs = [b64(hashlib.sha256(d.encode()).digest()) for d in disclosed]
    made = digests if digests is not None else theirs + held[len(theirs) :]
    act = {**signed.payload["act"], "_sd": made}
    jwt = forged(signed.header, {**signed.payload, "act": act}, target.key(KOSOVO))
    return "~".join((jwt, *disclosed, ""))


def encoded(name: str, value: Any) -> str:
    return make_disclosure(name, value).encoded


REQUIRED = (("ground", "police_action"), ("indicators", ["unaccompanied_child"]))
DISCLOSED = {
    "a field of the ledger": [("age_group", "adult")],
    "the time of the act": [("acted_at", "2020-01-01T00:00:00Z")],
    "the case's countries": [("countries", ["AL"])],
    "an unknown field": [(MARK, MARK)],
    "a name that breaks text": [("\ud800", 1)],
    "a field twice": [("first_name", "a"), ("first_name", MARK)],
    "a digest in a digest": [("first_name", {"_sd": [decoy_digest()]})],
    "a digest in a list": [("indicators", [{"...": decoy_digest()}])],
    "half a character": [("first_name", "\ud800")],
    "another type": [("first_name", {"name": MARK})],
}


@pytest.mark.parametrize("which", DISCLOSED)
def test_a_disclosure_that_has_no_place(target: Target, which: str) -> None:
    """API3:2023: disclosing a ``ledger`` field, one twice, nested digests, broken text."""
    signed = target.sign(KOSOVO, opening(), case := uuid4())
    told_of = [encoded_ascii(name, value) for name, value in DISCLOSED[which]]
    text = with_digests(target, signed, [encoded(*r) for r in REQUIRED] + told_of)
    with target.untouched():
        told = target.append(text, case=case)
    rule = told.json()["rule"]
    assert rule in ("disclosure", "model")
    target.refuses(told, 422, rule)


def encoded_ascii(name: str, value: Any) -> str:
    return b64(json.dumps(["c2FsdHNhbHRzYWx0c2FsdA", name, value]).encode())


def test_disclosures_and_digests_that_do_not_belong_together(target: Target) -> None:
    """API3:2023; RFC 9901 section 7.1: unsigned, repeated, reserved or malformed ones."""
    signed = target.sign(KOSOVO, opening(), case := uuid4())
    first = signed.disclosures[0].encoded
    held = list(signed.payload["act"]["_sd"])
    for text, rule in (
        (f"{signed}{encoded('first_name', MARK)}~", "disclosure"),
        (f"{signed}{first}~", "disclosure"),
        (f"{signed}{b64(b'[1, 2]')}~", "malformed-sd-jwt"),
        (f"{signed}{b64(json.dumps(['s', '_sd', []]).encode())}~", "malformed-sd-jwt"),
        (f"{signed}{b64(json.dumps(['s', '...', MARK]).encode())}~", "malformed-sd-jwt"),
        (f"{signed}{first}=~", "malformed-sd-jwt"),
        (f"{signed}{MARK}", "approval-malformed"),
        (str(signed)[:-1], "approval-malformed"),
        (with_digests(target, signed, [], [held[0]] * len(held)), "digest-form"),
        (with_digests(target, signed, [], held[1:]), "digest-count"),
        (with_digests(target, signed, [], [*held, decoy_digest()]), "digest-count"),
        (with_digests(target, signed, [], [[h] for h in held]), "digest-form"),
        (with_digests(target, signed, [], [MARK] * len(held)), "digest-form"),
    ):
        with target.untouched():
            told = target.append(text, case=case)
        target.refuses(told, 422, rule)


def test_parameters_and_fields_that_override_nothing(target: Target) -> None:
    """API3:2023: the query and other headers cannot set what the signed action says."""
    signed = target.sign(KOSOVO, RiskAssessed(acted_at=START, risk_level=RiskLevel.HIGH), uuid4())
    with target.untouched():
        told = target.append(signed, case=target.case, version=1,
                             headers={"X-Case-Id": str(target.foreign)})  # fmt: skip
        target.refuses(told, 422, "case-id")
        told = target.ask(f"/v1/cases/{target.foreign}?viewer=ME&party=ME&agency=me-nac")
        target.refuses(told, 422, "request")
        told = target.ask("/v1/cases?viewer=ME&limit=200")
        target.refuses(told, 422, "request")


def test_an_action_under_the_id_of_another(target: Target) -> None:
    """API3:2023: no content takes the place of what is recorded under an id."""
    case = uuid4()
    signed = target.sign(KOSOVO, opening(), case)
    assert target.append(signed, case=case).status_code == 201
    taken = UUID(signed.payload["jti"])
    again = target.server.agencies.sign(KOSOVO, opening(("XK", "ME")), case, taken)
    with target.untouched():
        target.refuses(target.append(again, case=case), 409, "action-id-reused")
