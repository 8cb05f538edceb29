"""Signed actions: round trip, tampering, and another implementation's reading of them."""

import json
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from jwcrypto.jwk import JWK
from sd_jwt.verifier import SDJWTVerifier

from ledger.refusals import Refusal
from ledger.signing import keys, sd_jwt, signed_action
from ledger.signing.sd_jwt import SdJwt
from ledger.vocabulary.coordination import InformationProvided
from ledger.vocabulary.identification import CaseOpened
from ledger.vocabulary.indicators import (
    IndicatorList,
    IndicatorObserver,
    IndicatorsAssessed,
    OperationalIndicator,
)
from ledger.vocabulary.picklists import AgeGroup, Indicator, OpeningGround
from ledger.vocabulary.types import format_utc

KEY = keys.generate()
LATER = datetime(2026, 1, 5, 8, tzinfo=UTC)


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
    return signed_action.sign(
        opened(), agency="xk-dhtqnj", key=KEY, protocol="some-protocol", case_id=uuid4()
    )


def test_what_was_signed_reads_back() -> None:
    parsed = signed_action.parse(str(signed()))
    action = signed_action.read(parsed)
    signed_action.verify(action, KEY)
    assert signed_action.check_disclosures(action, parsed.disclosures) == opened()


def test_the_signed_part_tells_neither_values_nor_how_many_there_are() -> None:
    action = signed_action.read(signed_action.parse(str(signed())))
    payload = json.dumps(dict(signed_action.parse(action.sd_jwt).payload))
    for secret in ("Besa", "first_name", "police_action", "unaccompanied_child"):
        assert secret not in payload
    assert len(action.digests) == len(CaseOpened.disclosable_fields())


def test_the_reference_implementation_reads_the_same_claims() -> None:
    jwk = JWK.from_json(json.dumps(KEY.as_dict(private=False)))
    claims = SDJWTVerifier(str(signed()), lambda _issuer, _header: jwk).get_verified_payload()
    assert claims["act"]["first_name"] == "Besa"
    assert claims["act"]["countries"] == ["XK", "ME"]


def test_another_key_does_not_verify() -> None:
    action = signed_action.read(signed_action.parse(str(signed())))
    with pytest.raises(Refusal, match="does not verify"):
        signed_action.verify(action, keys.generate())


def test_a_changed_disclosure_is_refused_without_repeating_its_value() -> None:
    parsed = signed_action.parse(str(signed()))
    action = signed_action.read(parsed)
    forged = sd_jwt.make_disclosure("first_name", "Altered")
    with pytest.raises(Refusal) as refusal:
        signed_action.check_disclosures(action, (*parsed.disclosures, forged))
    assert "Altered" not in refusal.value.message


def test_a_required_disclosure_cannot_be_left_out() -> None:
    parsed = signed_action.parse(str(signed()))
    without_ground = [d for d in parsed.disclosures if d.name != "ground"]
    with pytest.raises(Refusal) as refusal:
        signed_action.check_disclosures(signed_action.read(parsed), without_ground)
    assert refusal.value.field == "ground"


def test_a_rule_on_several_fields_is_told_as_a_sentence() -> None:
    screened = IndicatorsAssessed(
        acted_at=LATER,
        indicator_list=IndicatorList.ADULTS_LABOUR,
        observed=(OperationalIndicator.EXPLOITATION_LOW_NO_SALARY,),
        observers=(IndicatorObserver.POLICE,),
    )
    parsed = signed_action.sign(
        screened, agency="xk-dhtqnj", key=KEY, protocol="some-protocol", case_id=uuid4()
    )
    without = [d for d in parsed.disclosures if d.name != "observed"]
    with pytest.raises(Refusal) as refusal:
        signed_action.check_disclosures(signed_action.read(parsed), without)
    assert refusal.value.message.startswith("The action: names the observed indicators")
    assert "Value error" not in refusal.value.message


@pytest.mark.parametrize(
    "text",
    ["", "~", "a.b.c", "a.b.c~", "e30.e30.~", "e30.W10.AA~", "e30.e30.AA~e30~", "x" * 300_000],
)
def test_malformed_text_is_refused(text: str) -> None:
    with pytest.raises(Refusal):
        signed_action.read(signed_action.parse(text))


def test_repeated_names_are_refused() -> None:
    body = sd_jwt._b64(b'{"iss":"xk-a1","iss":"xk-b1"}')
    with pytest.raises(Refusal, match="not valid JSON"):
        signed_action.parse(f"e30.{body}.AA~")


@pytest.mark.parametrize("header", [{"alg": "none"}, {"alg": "HS256"}, {"typ": "JWT"}])
def test_algorithm_and_type_confusion_is_refused(header: dict[str, str]) -> None:
    genuine = signed()
    changed = {**genuine.header, **header}
    _, payload, signature = genuine.jwt.split(".")
    text = f"{sd_jwt._b64(json.dumps(changed).encode())}.{payload}.{signature}~"
    with pytest.raises(Refusal):
        signed_action.read(signed_action.parse(text))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("acted_at", 1764756000),
        ("acted_at", "1764756000"),
        ("acted_at", "2025-12-03T10:00:00.0000000Z"),
        ("acted_at", "2025-12-03T10:00:00.Z"),
        ("acted_at", "2025-12-03T10:00:60Z"),
        ("acted_at", "2025-12-03T10:00:00z"),
        ("acted_at", "2025-12-03T10:00:00+00:00"),
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
    honest = signed_action.sign(
        answer, agency="xk-nac", key=KEY, protocol="some-protocol", case_id=uuid4()
    )
    signed_action.read(signed_action.parse(str(honest)))
    forged = signed_again(honest, act={**honest.payload["act"], field: value})
    with pytest.raises(Refusal) as caught:
        signed_action.read(signed_action.parse(str(forged)))
    assert caught.value.rule in ("not-canonical", "model")
    assert (caught.value.field or "").startswith(f"act.{field}")


def signed_again(honest: sd_jwt.SdJwt, **claims: object) -> sd_jwt.SdJwt:
    """The same action with other claims, signed by the same key."""
    header = {name: value for name, value in honest.header.items() if name != "alg"}
    return sd_jwt.issue(header, {**honest.payload, **claims}, honest.disclosures, KEY)


@pytest.mark.parametrize(
    ("claim", "value", "says"),
    [
        ("iat", "1795987022", "valid integer"),
        ("iat", 1795987022.0, "valid integer"),
        ("iat", True, "valid integer"),
        ("iat", None, "do not write null"),
        ("version", None, "do not write null"),
        ("version", "2", "valid integer"),
        ("version", 1, "greater than or equal to 2"),
        ("jti", "5788E8C5-BD03-44DD-B797-E60364499767", "lower case, with hyphens"),
        ("jti", "5788e8c5bd0344ddb797e60364499767", "lower case, with hyphens"),
        ("case", "urn:uuid:5788e8c5-bd03-44dd-b797-e60364499767", "lower case, with hyphens"),
        ("case", "{5788e8c5-bd03-44dd-b797-e60364499767}", "lower case, with hyphens"),
        ("case", None, "do not write null"),
        ("nbf", 0, "not permitted"),
    ],
)
def test_a_claim_in_another_form_is_refused_and_the_message_says_what_is_wrong(
    claim: str, value: object, says: str
) -> None:
    with pytest.raises(Refusal, match=says) as caught:
        signed_action.read(signed_action.parse(str(signed_again(signed(), **{claim: value}))))
    assert caught.value.rule in ("not-canonical", "model")
    assert (caught.value.field or "").startswith("payload.")


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2025-12-03T10:00:00Z", datetime(2025, 12, 3, 10, tzinfo=UTC)),
        ("2025-12-03T10:00:00.0Z", datetime(2025, 12, 3, 10, tzinfo=UTC)),
        ("2025-12-03T10:00:00.170Z", datetime(2025, 12, 3, 10, 0, 0, 170_000, tzinfo=UTC)),
        ("2025-12-03T10:00:00.17Z", datetime(2025, 12, 3, 10, 0, 0, 170_000, tzinfo=UTC)),
        ("2025-12-03T10:00:00.000001Z", datetime(2025, 12, 3, 10, 0, 0, 1, tzinfo=UTC)),
    ],
)
def test_a_time_stands_for_its_moment_however_many_digits_it_is_written_with(
    written: str, moment: datetime
) -> None:
    honest = signed()
    other = signed_again(honest, act={**honest.payload["act"], "acted_at": written})
    action = signed_action.read(signed_action.parse(str(other)))
    assert action.acted_at == moment
    assert action.fields["acted_at"] == format_utc(moment)
    assert signed_action.parse(action.sd_jwt).payload["act"]["acted_at"] == written
    assert signed_action.read_recorded(action.sd_jwt) == action


def test_what_earlier_programs_recorded_in_another_form_is_understood_and_marked() -> None:
    honest = signed()
    case = honest.payload["case"]
    other = signed_again(
        honest,
        iat=str(honest.payload["iat"]),
        jti=honest.payload["jti"].upper(),
        case=f"urn:uuid:{case}",
        version=None,
    )
    action = signed_action.read_recorded(other.without_disclosures())
    assert action.mark is signed_action.Mark.NOT_CANONICAL
    known = signed_action.read(honest)
    assert (action.id, action.case_id, action.kind) == (known.id, known.case_id, known.kind)
    assert (action.signed_at, action.fields) == (known.signed_at, known.fields)


@pytest.mark.parametrize(
    ("claims", "mark"),
    [
        ({"kind": "of_a_later_program"}, signed_action.Mark.UNKNOWN_KIND),
        ({"version": 99}, signed_action.Mark.UNKNOWN_VERSION),
        ({"iat": -1}, signed_action.Mark.NOT_UNDERSTOOD),
        ({"act": {}}, signed_action.Mark.NOT_UNDERSTOOD),
    ],
)
def test_what_is_not_understood_is_read_as_such_and_says_whose_it_is(
    claims: dict[str, object], mark: signed_action.Mark
) -> None:
    honest = signed()
    action = signed_action.read_recorded(
        signed_again(honest, **claims).without_disclosures(), LATER
    )
    assert (action.kind, action.mark) == (signed_action.NOT_UNDERSTOOD, mark)
    assert (str(action.id), action.agency) == (honest.payload["jti"], honest.payload["iss"])
    assert action.acted_at == action.signed_at == LATER


@pytest.mark.parametrize("text", ["", "~", "e30.e30.AA~", "a.b.c~", "e30.W10.AA~", "\x00\xff"])
def test_any_text_is_read_back(text: str) -> None:
    action = signed_action.read_recorded(text, LATER)
    assert (action.kind, action.mark) == (
        signed_action.NOT_UNDERSTOOD,
        signed_action.Mark.NOT_UNDERSTOOD,
    )
    assert action == signed_action.read_recorded(text, LATER)


def test_only_the_holder_of_a_key_tells_the_ids_of_its_own_actions() -> None:
    """Else anybody could record another action under the id, and the true one never again."""
    key, other = keys.generate(), keys.generate()
    assert signed_action.own_action_id(key, "a") == signed_action.own_action_id(key, "a")
    told = {signed_action.own_action_id(one, name) for one in (key, other) for name in ("a", "b")}
    assert len(told) == 4
    assert {one.version for one in told} == {4}
    with pytest.raises(ValueError, match="private"):
        signed_action.own_action_id(keys.from_public(keys.public_part(key)), "a")
