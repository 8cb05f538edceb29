"""Signed actions: round trip, tampering, and another implementation's reading of them."""

import json
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from jwcrypto.jwk import JWK
from sd_jwt.verifier import SDJWTVerifier

from ledger import keys, sd_jwt, signing
from ledger.refusals import Refusal
from ledger.sd_jwt import SdJwt
from ledger.vocabulary.coordination import InformationProvided
from ledger.vocabulary.identification import CaseOpened
from ledger.vocabulary.picklists import AgeGroup, Indicator, OpeningGround

KEY = keys.generate()


def opened() -> CaseOpened:
    return CaseOpened(
        acted_at=datetime(2025, 12, 3, 10, tzinfo=UTC),
        age_group=AgeGroup.CHILD,
        countries=("XK", "ME"),
        ground=OpeningGround.POLICE_ACTION,
        indicators=(Indicator.UNACCOMPANIED_CHILD,),
        first_name="Besa",
    )


def signed() -> SdJwt:
    return signing.sign(
        opened(), agency="xk-dhtqnj", key=KEY, protocol="some-protocol", case_id=uuid4()
    )


def test_what_was_signed_reads_back() -> None:
    parsed = signing.parse(str(signed()))
    action = signing.read(parsed)
    signing.verify(action, KEY)
    assert signing.check_disclosures(action, parsed.disclosures) == opened()


def test_the_signed_part_tells_neither_values_nor_how_many_there_are() -> None:
    action = signing.read(signing.parse(str(signed())))
    payload = json.dumps(dict(signing.parse(action.sd_jwt).payload))
    for secret in ("Besa", "first_name", "police_action", "unaccompanied_child"):
        assert secret not in payload
    assert len(action.digests) == len(CaseOpened.disclosable_fields())


def test_the_reference_implementation_reads_the_same_claims() -> None:
    jwk = JWK.from_json(json.dumps(KEY.as_dict(private=False)))
    claims = SDJWTVerifier(str(signed()), lambda _issuer, _header: jwk).get_verified_payload()
    assert claims["act"]["first_name"] == "Besa"
    assert claims["act"]["countries"] == ["XK", "ME"]


def test_another_key_does_not_verify() -> None:
    action = signing.read(signing.parse(str(signed())))
    with pytest.raises(Refusal, match="does not verify"):
        signing.verify(action, keys.generate())


def test_a_changed_disclosure_is_refused_without_repeating_its_value() -> None:
    parsed = signing.parse(str(signed()))
    action = signing.read(parsed)
    forged = sd_jwt.make_disclosure("first_name", "Altered")
    with pytest.raises(Refusal) as refusal:
        signing.check_disclosures(action, (*parsed.disclosures, forged))
    assert "Altered" not in refusal.value.message


def test_a_required_disclosure_cannot_be_left_out() -> None:
    parsed = signing.parse(str(signed()))
    without_ground = [d for d in parsed.disclosures if d.name != "ground"]
    with pytest.raises(Refusal) as refusal:
        signing.check_disclosures(signing.read(parsed), without_ground)
    assert refusal.value.field == "ground"


@pytest.mark.parametrize(
    "text",
    ["", "~", "a.b.c", "a.b.c~", "e30.e30.~", "e30.W10.AA~", "e30.e30.AA~e30~", "x" * 300_000],
)
def test_malformed_text_is_refused(text: str) -> None:
    with pytest.raises(Refusal):
        signing.read(signing.parse(text))


def test_repeated_names_are_refused() -> None:
    body = sd_jwt._b64(b'{"iss":"xk-a1","iss":"xk-b1"}')
    with pytest.raises(Refusal, match="not valid JSON"):
        signing.parse(f"e30.{body}.AA~")


@pytest.mark.parametrize("header", [{"alg": "none"}, {"alg": "HS256"}, {"typ": "JWT"}])
def test_algorithm_and_type_confusion_is_refused(header: dict[str, str]) -> None:
    genuine = signed()
    changed = {**genuine.header, **header}
    _, payload, signature = genuine.jwt.split(".")
    text = f"{sd_jwt._b64(json.dumps(changed).encode())}.{payload}.{signature}~"
    with pytest.raises(Refusal):
        signing.read(signing.parse(text))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("acted_at", 1764756000),
        ("acted_at", "1764756000"),
        ("acted_at", "2025-12-03T10:00:00.000Z"),
        ("acted_at", "2025-12-03T11:00:00+01:00"),
        ("acted_at", "2025-12-03 10:00:00Z"),
        ("request", None),
        ("complete", "no"),
        ("complete", 0),
        ("complete", 1),
        ("complete", "False"),
    ],
)
def test_a_value_that_readers_would_take_otherwise_is_refused(field: str, value: object) -> None:
    """The rules see what a model makes of it, and later readers what was signed."""
    answer = InformationProvided(
        acted_at=datetime(2025, 12, 3, 10, tzinfo=UTC),
        request=uuid4(),
        complete=False,
    )
    honest = signing.sign(
        answer, agency="xk-nac", key=KEY, protocol="some-protocol", case_id=uuid4()
    )
    signing.read(signing.parse(str(honest)))
    payload = dict(honest.payload)
    payload["act"] = {**payload["act"], field: value}
    header = {name: value for name, value in honest.header.items() if name != "alg"}
    forged = sd_jwt.issue(header, payload, honest.disclosures, KEY)
    with pytest.raises(Refusal) as caught:
        signing.read(signing.parse(str(forged)))
    assert caught.value.rule in ("not-canonical", "model")
    assert (caught.value.field or "").startswith(f"act.{field}")
