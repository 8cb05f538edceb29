"""API2:2023: only a registered key, here and now, once, in the one form that there is."""

import base64
import json
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from api.client.assertion import make_assertion
from ledger.signing import keys
from ledger.signing.sd_jwt import SdJwt
from ledger.vocabulary.registration import KeyRegistered, KeyRevoked, PublicKey
from tests.attacks.target import KOSOVO, MARK, MONTENEGRO, Target, b64, claims, forged, header
from tests.support.actions import opening
from tests.support.agencies import PAST

NOW = datetime.now
_ORDER = 2**252 + 27742317777372353535851937790883648493
_P = 2**255 - 19
BINDS_NO_ONE = {
    "all zero": bytes(32),
    "neutral": (1).to_bytes(32, "little"),
    "of order two": (_P - 1).to_bytes(32, "little"),
    "of order eight": bytes.fromhex(
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"
    ),
    "not reduced": (_P + 1).to_bytes(32, "little"),
    "no point": (2).to_bytes(32, "little"),
    "all ones": b"\xff" * 32,
}


def seconds(of: float) -> int:
    return int((NOW(UTC) + timedelta(seconds=of)).timestamp())


def refused(target: Target, token: str, rule: str) -> None:
    with target.untouched():
        answer = target.ask("/v1/agencies", token=token)
    target.refuses(answer, 401, rule)
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_an_assertion_is_replayed(target: Target) -> None:
    """API2:2023 replay, one after the other; ASVS V9."""
    token = forged(header(target.key(KOSOVO)), claims(), target.key(KOSOVO))
    assert target.ask("/v1/agencies", token=token).is_success
    refused(target, token, "assertion-replayed")


def test_an_assertion_is_replayed_at_the_same_moment(target: Target) -> None:
    """API2:2023 replay by a race: exactly one of twenty parallel uses is accepted."""
    token = forged(header(target.key(KOSOVO)), claims(), target.key(KOSOVO))
    ready, told = threading.Barrier(20), Counter[tuple[int, str | None]]()

    def use() -> None:
        ready.wait()
        answer = target.ask("/v1/protocol", token=token)
        told[answer.status_code, answer.json().get("rule")] += 1

    threads = [threading.Thread(target=use) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == {(200, None): 1, (401, "assertion-replayed"): 19}


def test_an_assertion_for_another_time_or_place(target: Target) -> None:
    """API2:2023; ASVS V9.2: expired, future, too long-lived, never ending, or elsewhere."""
    for changes, rule in (
        ({"iat": seconds(-400), "exp": seconds(-200)}, "assertion-expired"),
        ({"iat": seconds(200), "exp": seconds(260)}, "assertion-early"),
        ({"exp": seconds(3600)}, "assertion-lifetime"),
        ({"exp": seconds(-1)}, "assertion-lifetime"),
        ({"exp": 253_402_300_799}, "assertion-lifetime"),
        ({"iat": 2**40 - 1, "exp": 2**40 - 1}, "assertion-malformed"),
        ({"exp": None}, "assertion-malformed"),
        ({"iat": str(seconds(0))}, "assertion-malformed"),
        ({"aud": f"{MARK}-elsewhere"}, "assertion-audience"),
        ({"aud": ["case-ledger", "elsewhere"]}, "assertion-malformed"),
        ({"jti": "short"}, "assertion-malformed"),
        ({MARK: MARK}, "assertion-malformed"),
    ):
        key = target.key(KOSOVO)
        refused(target, forged(header(key), claims(**changes), key), rule)


def es256(_: Target, signed: bytes) -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).sign(signed, ec.ECDSA(hashes.SHA256()))


def hs256(target: Target, signed: bytes) -> bytes:
    public = target.key(KOSOVO).public_key.public_bytes(  # type: ignore[union-attr]
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    )
    mac = hmac.HMAC(public, hashes.SHA256())
    mac.update(signed)
    return mac.finalize()


@pytest.mark.parametrize(
    ("algorithm", "sign"),
    [
        ("none", lambda *_: b""),
        ("None", lambda *_: b""),
        ("HS256", hs256),
        ("ES256", es256),
        ("EdDSA", lambda target, signed: target.key(KOSOVO).private_key.sign(signed)),
    ],
)
def test_another_algorithm(
    target: Target, algorithm: str, sign: Callable[[Target, bytes], bytes]
) -> None:
    """API2:2023; ASVS V9.1.2: no signature, the public key as a secret, another curve."""
    head = header(target.key(KOSOVO), alg=algorithm)
    signed = f"{b64(json.dumps(head).encode())}.{b64(json.dumps(claims()).encode())}"
    refused(target, f"{signed}.{b64(sign(target, signed.encode()))}", "assertion-malformed")


@pytest.mark.parametrize(
    "more",
    [
        {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": "A" * 43}},
        {"jku": "http://127.0.0.1:9/keys"},
        {"x5c": ["MIIB"]},
        {"x5u": "http://127.0.0.1:9/certificate"},
        {"crit": ["exp"]},
        {"crit": ["b64"], "b64": False},
        {"b64": False},
        {"zip": "DEF"},
        {"typ": "JWT"},
        {"typ": None},
        {"kid": None},
        {"kid": "../../../../dev/null"},
        {"kid": "' OR 1=1 --"},
        {MARK: 1},
    ],
    ids=lambda more: ",".join(more).replace(MARK, "unknown"),
)
def test_a_header_that_brings_its_own_key_or_reading(
    target: Target, more: dict[str, object]
) -> None:
    """API2:2023; ASVS V9.1.3: key substitution and critical extensions in the header."""
    key = target.key(KOSOVO)
    refused(target, forged(header(key, **more), claims(), key), "assertion-malformed")


def test_the_key_of_another(target: Target) -> None:
    """API2:2023: another agency's ``kid``, another's key, an unregistered and a revoked one."""
    ours, theirs, stranger = target.key(KOSOVO), target.key(MONTENEGRO), keys.generate()
    refused(target, forged(header(theirs), claims(), theirs), "key-of-another-agency")
    refused(target, forged(header(theirs), claims(), ours), "key-of-another-agency")
    refused(target, forged(header(ours), claims(), theirs), "assertion-signature")
    refused(target, forged(header(stranger), claims(), stranger), "unknown-key")
    grant = target.server.agencies.grant("xk-border", stranger)
    with target.server.client("xk-nac") as coordinator:
        coordinator.append_to_registry(KeyRegistered(acted_at=PAST, grant=grant))
        revocation = KeyRevoked(acted_at=PAST, key_id=keys.key_id(stranger))
        coordinator.append_to_registry(revocation)
    refused(target, make_assertion("xk-border", stranger, "case-ledger"), "revoked-key")
    signed = target.sign("xk-border", opening(), case := uuid4())
    jwt = forged({**signed.header, "kid": keys.key_id(stranger)}, signed.payload, stranger)
    with target.untouched():
        text = "~".join((jwt, *(d.encoded for d in signed.disclosures), ""))
        told = target.append(text, case=case, agency="xk-border")
    target.refuses(told, 401, "revoked-key")


def test_names_that_stand_twice(target: Target) -> None:
    """API2:2023; ASVS V1.5: which of two equal names counts must not be anyone's choice."""
    key = target.key(KOSOVO)
    head, body = json.dumps(header(key)).encode(), json.dumps(claims()).encode()
    twice_head = head[:-1] + b', "alg": "Ed25519"}'
    twice_body = b'{"iss": "me-nac", ' + body[1:]
    refused(target, forged(twice_head, body, key), "assertion-malformed")
    refused(target, forged(head, twice_body, key), "assertion-malformed")


def test_one_kind_of_token_as_the_other(target: Target) -> None:
    """API2:2023; RFC 8725 3.11: an action as an assertion, an assertion as an action."""
    signed = target.sign(KOSOVO, opening(), case := uuid4())
    refused(target, signed.jwt, "assertion-malformed")
    refused(target, str(signed), "assertion-malformed")
    assertion = make_assertion(KOSOVO, target.key(KOSOVO), "case-ledger")
    with target.untouched():
        target.refuses(target.append(f"{assertion}~", case=case), 422, "model")
        retyped = forged({**signed.header, "typ": "agency-assertion+jwt"}, signed.payload,
                         target.key(KOSOVO))  # fmt: skip
        target.refuses(target.append(f"{retyped}~", case=case), 422, "model")


def variants(jwt: str) -> list[tuple[str, bool]]:
    """The same token otherwise encoded or signed, and whether its form alone shows it."""
    head, body, signature = jwt.split(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    larger = (int.from_bytes(raw[32:], "little") + _ORDER).to_bytes(32, "little")
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other_bits = signature[:-1] + letters[letters.index(signature[-1]) ^ 1]
    return [
        (f"{head}.{body}.{b64(raw[:32] + larger)}", False),
        (f"{head}.{body}.{b64(raw + b'x')}", False),
        (f"{head}.{body}.{b64(raw[:-1])}", False),
        (f"{head}.{body}.", False),
        (f"{head}.{body}.{other_bits}", True),
        (f"{head}.{body}.{signature}==", True),
        (f"{head}.{body}.{signature[:40]}.{signature[40:]}", True),
        (f"{head}=.{body}.{signature}", True),
        (f"{head}.{body}.{signature[:10]}!{signature[10:]}", True),
    ]


def test_an_assertion_in_other_bytes(target: Target) -> None:
    """API2:2023; ASVS V11: S beyond the order, trailing bytes, other base64url, padding."""
    key = target.key(KOSOVO)
    for token, by_form in variants(forged(header(key), claims(), key)):
        refused(target, token, "assertion-malformed" if by_form else "assertion-signature")


def test_an_action_in_other_bytes(target: Target) -> None:
    """API2:2023; ASVS V11: the same of a signed action, whose bytes are what is recorded."""
    signed = target.sign(KOSOVO, opening(), case := uuid4())
    for jwt, by_form in variants(signed.jwt):
        altered = "~".join((jwt, *(d.encoded for d in signed.disclosures), ""))
        with target.untouched():
            told = target.append(altered, case=case)
        target.refuses(told, *((422, "malformed-sd-jwt") if by_form else (401, "signature")))


@pytest.mark.parametrize("kind", BINDS_NO_ONE)
def test_a_public_key_that_binds_no_one_is_registered(target: Target, kind: str) -> None:
    """API2:2023; ASVS V11: with a key of small order anyone's signature would hold."""
    with target.untouched():
        told = target.append(registration(target, b64(BINDS_NO_ONE[kind])), agency="xk-nac")
    target.refuses(told, 422, "public-key")


def test_a_registered_key_under_a_second_name(target: Target) -> None:
    """API2:2023: another encoding of a key has another thumbprint."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    x = keys.public_part(target.key(MONTENEGRO)).x
    again = x[:-1] + letters[letters.index(x[-1]) ^ 1]
    with target.untouched():
        told = target.append(registration(target, again), agency="xk-nac")
        target.refuses(told, 422, "public-key")
        grant = target.server.agencies.grant("me-police-thb")
        known = target.sign("me-nac", KeyRegistered(acted_at=PAST, grant=grant), None)
        target.refuses(target.append(known, agency="me-nac"), 409, "key-known")


def registration(target: Target, x: str) -> SdJwt:
    """Return a registration by a caller without the private key: its proof is by another key."""
    grant = target.server.agencies.grant("xk-border")
    grant = grant.model_copy(update={"key": PublicKey(x=x)})
    return target.sign("xk-nac", KeyRegistered(acted_at=PAST, grant=grant), None)


def test_who_is_asking_is_said_in_one_place_alone(target: Target) -> None:
    """API2:2023; ASVS V9, V14.2: in the query, a cookie, another scheme, or twice."""
    token = make_assertion(KOSOVO, target.key(KOSOVO), "case-ledger")
    with target.untouched():
        for headers in (
            {"Cookie": f"Authorization=Bearer {token}"},
            {"Authorization": f"Basic {token}"},
            {"Authorization": token},
            {"X-Agency": KOSOVO, "X-Forwarded-User": KOSOVO},
        ):
            told = target.ask("/v1/agencies", None, headers=headers)
            target.refuses(told, 401, "assertion-missing")
        told = target.ask("/v1/agencies", None, params={"access_token": token})
        target.refuses(told, 422, "request")
        said = target.raw(
            f"GET /v1/agencies HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x\r\n"
            f"Authorization: Bearer {token}\r\nConnection: close\r\n\r\n".encode()
        )
    assert said.startswith(b"HTTP/1.1 401")
