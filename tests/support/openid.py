"""An OpenID provider that signs in whoever is named, and says of them what a test wants."""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

CLIENT_ID = "case-ledger-node"
CLIENT_SECRET = "zqClientSecretOfTheNode"
REGISTRY = JWSRegistry(algorithms=["RS256", "PS256", "ES256", "EdDSA", "Ed25519", "HS256", "none"])
Claims = dict[str, Any]


@dataclass
class Provider:
    """The provider's behaviour. A test changes it, and :meth:`reset` changes it back."""

    url: str
    keys: dict[str, RSAKey | ECKey | OKPKey] = field(default_factory=dict)
    claims: Claims = field(default_factory=dict)
    """Put over the claims of the next tokens; ``None`` leaves a claim out."""
    sign: Callable[[Claims], str] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    answer: dict[str, str] = field(default_factory=dict)
    """Put over what the browser brings back."""
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[dict[str, str]] = field(default_factory=list)
    token_requests: int = 0

    def reset(self) -> None:
        self.claims = {"agency": "xk-nac", "amr": ["pwd", "otp"]}
        self.sign = None
        self.answer = {}

    def document(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks",
            "authorization_response_iss_parameter_supported": True,
        } | self.metadata

    def authorize(self, query: dict[str, str]) -> str:
        """Sign the person in at once. Returns where the browser goes."""
        assert query["response_type"] == "code"
        assert query["client_id"] == CLIENT_ID
        assert query["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self.codes[code] = query
        self.asked.append(query)
        back = {"code": code, "state": query["state"], "iss": self.url} | self.answer
        return f"{query['redirect_uri']}?{urlencode({k: v for k, v in back.items() if v})}"

    def token(self, authorization: str, form: dict[str, str]) -> dict[str, Any] | None:
        """The tokens for a code, once, and for who asked for it alone."""
        self.token_requests += 1
        known = self.codes.pop(form["code"], None)
        named = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        challenge = hashlib.sha256(form["code_verifier"].encode()).digest()
        if (
            known is None
            or authorization != f"Basic {named}"
            or known["redirect_uri"] != form["redirect_uri"]
            or known["code_challenge"] != base64.urlsafe_b64encode(challenge).rstrip(b"=").decode()
        ):
            return None
        claims = self.told(known["nonce"])
        return {
            "access_token": secrets.token_urlsafe(16),
            "token_type": "Bearer",
            "id_token": self.sign(claims) if self.sign else self.signed(claims),
        }

    def told(self, nonce: str) -> Claims:
        now = int(time.time())
        claims = {
            "iss": self.url,
            "sub": "zq-subject-0001",
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": nonce,
            "name": "zqNameOfThePerson",
            "email": "zq.person@example.org",
        } | self.claims
        return {name: value for name, value in claims.items() if value is not None}

    def signed(self, claims: Claims, algorithm: str = "RS256") -> str:
        key = self.keys[algorithm]
        return jwt.encode({"alg": algorithm, "kid": key.kid}, claims, key, registry=REGISTRY)


@contextmanager
def providing() -> Iterator[Provider]:
    """A provider on a port of this machine, for as long as the block runs."""
    listening = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    provider = Provider(f"http://localhost:{listening.server_port}")
    provider.keys = {
        "RS256": RSAKey.generate_key(2048, {"kid": "rsa"}),
        "ES256": ECKey.generate_key("P-256", {"kid": "ec"}),
        "Ed25519": OKPKey.generate_key("Ed25519", {"kid": "okp"}),
    }
    provider.reset()
    listening.provider = provider  # type: ignore[attr-defined]
    thread = threading.Thread(target=listening.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield provider
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()


class _Handler(BaseHTTPRequestHandler):
    @property
    def _provider(self) -> Provider:
        return self.server.provider  # type: ignore[attr-defined,no-any-return]

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == "/.well-known/openid-configuration":
            self._answer(200, self._provider.document())
        elif parts.path == "/jwks":
            keys = KeySet(list(self._provider.keys.values()))
            self._answer(200, keys.as_dict(private=False))
        elif parts.path == "/authorize":
            self.send_response(302)
            self.send_header("Location", self._provider.authorize(_single(parts.query)))
            self.end_headers()
        else:
            self._answer(404, {})

    def do_POST(self) -> None:
        form = _single(self.rfile.read(int(self.headers["Content-Length"])).decode())
        tokens = self._provider.token(self.headers.get("Authorization", ""), form)
        if tokens is None:
            self._answer(400, {"error": "invalid_grant"})
        else:
            self._answer(200, tokens)

    def _answer(self, status: int, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _single(query: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(query).items()}
