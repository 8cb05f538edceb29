"""A served ledger as an attacker meets it, and what must be so after each attack."""

import base64
import io
import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import httpx
import psycopg
from joserfc.jwk import OKPKey

from api.client.assertion import TYPE, make_assertion
from ledger.procedure.named_checkpoint import named_by
from ledger.signing import keys, signed_action
from ledger.vocabulary import Action
from ledger.vocabulary.registration import LogPolicyAdopted
from tests.support.actions import opening
from tests.support.agencies import PAST
from tests.support.serving import Server

MARK = "zqArtaNobody"
"""Stands in attacks where a person's name could; it may come back from nowhere."""
KOSOVO, MONTENEGRO = "xk-dhtqnj", "me-police-thb"
_KEPT = """
SELECT (SELECT h::text FROM ledger.head h),
       (SELECT count(*) FROM ledger.events),
       (SELECT count(*) FROM vault_xk.disclosures),
       (SELECT count(*) FROM vault_me.disclosures),
       (SELECT count(*) FROM vault_al.disclosures)
"""


@dataclass
class Target:
    """A server with one case of Kosovo and one of Montenegro, its database and its log."""

    server: Server
    database: str
    log: io.StringIO
    case: UUID = field(default_factory=uuid4)
    foreign: UUID = field(default_factory=uuid4)
    position: int = 0
    """Where Kosovo's case was opened."""
    http: httpx.Client = field(
        default_factory=lambda: httpx.Client(
            timeout=20, limits=httpx.Limits(max_keepalive_connections=0)
        )
    )

    def __post_init__(self) -> None:
        with self.server.client(KOSOVO) as police, self.server.client(MONTENEGRO) as other:
            receipt = police.open_case(opening(indicators_note=MARK), self.case)
            last = other.open_case(opening(("ME",)), self.foreign)
            self.position = receipt.position
            police.case(self.case, at_least=receipt.position)
            other.case(self.foreign, at_least=last.position)

    def key(self, agency: str) -> OKPKey:
        return self.server.agencies.keys[agency]

    def bearer(self, agency: str) -> dict[str, str]:
        return {
            "Authorization": "Bearer " + make_assertion(agency, self.key(agency), "case-ledger")
        }

    def ask(
        self,
        path: str,
        agency: str | None = KOSOVO,
        *,
        token: str | None = None,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        content: bytes | str | Iterator[bytes] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> httpx.Response:
        """One request, as an agency, with a token of one's own, or as nobody."""
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        elif agency is not None:
            sent |= self.bearer(agency)
        return self.http.request(
            method, self.server.url + path, headers=sent, content=content, params=params
        )

    def append(
        self,
        signed: object,
        *,
        case: UUID | None = None,
        agency: str = KOSOVO,
        version: int = 0,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Hand in what was signed, or was not."""
        condition = {"If-Match": f'"{version}"'} if version else {"If-None-Match": "*"}
        sent = {"Content-Type": "application/sd-jwt", **condition, **(headers or {})}
        path = f"/v1/cases/{case}/actions" if case else "/v1/protocol/actions"
        return self.ask(path, agency, method="POST", headers=sent, content=str(signed))

    def sign(self, agency: str, action: Action, case: UUID | None) -> signed_action.SdJwt:
        return self.server.agencies.sign(agency, action, case)

    def vote(self, policy: str) -> LogPolicyAdopted:
        """A vote for a policy in this ledger."""
        checkpoint = named_by(self.ask("/log/checkpoint", None).text)
        return LogPolicyAdopted(acted_at=PAST, policy=policy, checkpoint=checkpoint)

    @contextmanager
    def untouched(self) -> Iterator[None]:
        """The ledger and every vault are as they were; the log names no mark."""
        before, said = self.kept(), self.log.tell()
        yield
        assert self.kept() == before
        assert_silent(self.log.getvalue()[said:])

    def kept(self) -> tuple[Any, ...]:
        with psycopg.connect(self.database) as connection:
            row = connection.execute(_KEPT).fetchone()
        assert row is not None
        return row

    def refuses(self, answer: httpx.Response, status: int, rule: str) -> None:
        """The answer is this refusal, and repeats nothing."""
        assert answer.headers["content-type"] == "application/problem+json", answer.text[:300]
        assert (answer.status_code, answer.json()["rule"]) == (status, rule), answer.text[:300]
        assert_silent(answer.text, *answer.headers.values())

    def raw(self, data: bytes, *, seconds: float = 30.0, rest: float = 0.5) -> bytes:
        """Send bytes as they are. Returns all that comes until it is closed, or still.

        The server may close the connection before it took all of ``data``.
        """
        with self.connection(seconds) as connection:
            try:
                connection.sendall(data)
            except ConnectionError:
                return drain(connection, rest) + b"(reset)"
            return drain(connection, rest)

    def connection(self, seconds: float = 30.0) -> socket.socket:
        address = urlsplit(self.server.url)
        return socket.create_connection((address.hostname, address.port), timeout=seconds)


def drain(connection: socket.socket, rest: float) -> bytes:
    """Read until the connection is closed, or until nothing came for ``rest`` seconds."""
    said = b""
    try:
        while chunk := connection.recv(65536):
            said += chunk
            connection.settimeout(rest)
    except TimeoutError:
        pass
    except ConnectionError:
        said += b"(reset)"
    return said


def assert_silent(*texts: str) -> None:
    for text in texts:
        assert MARK.lower() not in text.lower()


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forged(
    header: bytes | Mapping[str, Any], payload: bytes | Mapping[str, Any], key: OKPKey
) -> str:
    """A JWS of any bytes, which no library would make."""
    parts = [p if isinstance(p, bytes) else json.dumps(p).encode() for p in (header, payload)]
    signed = ".".join(map(b64, parts))
    return f"{signed}.{b64(key.private_key.sign(signed.encode()))}"  # type: ignore[union-attr]


def claims(agency: str = KOSOVO, **changes: Any) -> dict[str, Any]:
    now = int(datetime.now(UTC).timestamp())
    given = {"iss": agency, "aud": "case-ledger", "iat": now, "exp": now + 60, "jti": str(uuid4())}
    return {k: v for k, v in (given | changes).items() if v is not None}


def header(key: OKPKey, **changes: Any) -> dict[str, Any]:
    given = {"alg": "Ed25519", "typ": TYPE, "kid": keys.key_id(key)} | changes
    return {k: v for k, v in given.items() if v is not None}


def payload_of(signed: signed_action.SdJwt, **changes: Any) -> dict[str, Any]:
    """The signed payload, to be altered and signed again by the same agency."""
    return {**signed.payload, **changes}


def resigned(signed: signed_action.SdJwt, key: OKPKey, **changes: Any) -> str:
    """The action with other claims, truly signed, with the same disclosures."""
    jwt = forged(signed.header, payload_of(signed, **changes), key)
    return "~".join((jwt, *(d.encoded for d in signed.disclosures), ""))
