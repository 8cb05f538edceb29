"""Signing in by OpenID Connect: the authorization code flow with PKCE, state and nonce."""

import hmac
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Self, TypeVar
from urllib.parse import urlsplit

import httpx
import structlog
from authlib.common.errors import AuthlibBaseError
from authlib.oauth2.client import OAuth2Client
from pydantic import BaseModel, ConfigDict, ValidationError

from api.authentication.id_tokens import (
    Expected,
    ProviderKey,
    SignedInPerson,
    UnknownKeyError,
    provider_keys,
    verify,
)
from api.authentication.sessions import PendingSignIns
from api.client.bounded_answers import bounded_client
from api.runtime.settings import Settings
from ledger.refusals import Ground, Refusal
from ledger.store.database import Database
from ledger.system import clock

CALLBACK = "/auth/callback"
_SCOPE = "openid"  # a name or an e-mail address is not asked for
_SECONDS = 5.0
_ANSWER_BYTES = 256 * 1024
_CODES_AT_ONCE = 8
_WAIT_SECONDS = 2.0
_TOKEN_ERRORS = ("invalid_request", "invalid_client", "invalid_grant", "unauthorized_client")
_METADATA_GOOD_SECONDS = 600.0
_KEYS_GOOD_SECONDS = 120.0
"""A key that left the provider's key set is refused after so long at the latest."""
_ASK_AGAIN_AFTER_SECONDS = 5.0
_log = structlog.get_logger(__name__)


class ProviderUnavailableError(ConnectionError):
    """The provider does not answer, or not as OpenID Connect asks."""


class _Metadata(BaseModel):
    # A provider's document says much more than is needed here.
    model_config = ConfigDict(frozen=True, extra="ignore")

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """The provider that this node relies on, and this node's client id there."""

    issuer: str
    client_id: str
    client_secret: str
    public_url: str
    agency_claim: str
    acr: str | None

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """Return the relying party of the settings, or ``None`` if the settings name no provider.

        Raises ``ValueError`` if the settings do not fit together.
        """
        issuer, client_id = settings.oidc_issuer, settings.oidc_client_id
        secret, public_url = settings.oidc_client_secret, settings.public_url
        if issuer is None and client_id is None and secret is None:
            return None
        if issuer is None or client_id is None or secret is None or public_url is None:
            raise ValueError(
                "people sign in where CASE_LEDGER_OIDC_ISSUER, CASE_LEDGER_OIDC_CLIENT_ID, "
                "CASE_LEDGER_OIDC_CLIENT_SECRET and CASE_LEDGER_PUBLIC_URL are all set"
            )
        if not (is_safe(issuer) and is_safe(public_url)):
            raise ValueError("people sign in over https alone; http is for this machine's own")
        return cls(
            issuer=issuer,
            client_id=client_id,
            client_secret=secret.get_secret_value(),
            public_url=public_url,
            agency_claim=settings.oidc_agency_claim,
            acr=settings.oidc_acr,
        )


@dataclass(frozen=True, slots=True)
class AuthorizationResponse:
    """The provider's answer that the browser brings (RFC 6749 section 4.1.2, RFC 9207)."""

    code: str | None
    state: str | None
    error: str | None
    issuer: str | None


@dataclass(frozen=True, slots=True)
class StartedSignIn:
    """The provider's address for the browser, and the secret that the browser keeps meanwhile."""

    url: str
    secret: str


T = TypeVar("T")


class _Fetched(Generic[T]):
    """A document of the provider's, which one thread at a time fetches for all.

    Other threads that need it meanwhile wait briefly.
    """

    def __init__(self, fetch: Callable[[], T]) -> None:
        self._fetch = fetch
        self._place = threading.BoundedSemaphore(1)
        self._known: tuple[T, float] | None = None

    def get(self, good_seconds: float) -> T:
        """Return the document, at most so old. Raises ``ProviderUnavailableError``."""
        known = self._known
        if known is not None and _age(known[1]) <= good_seconds:
            return known[0]
        with _place(self._place):
            known = self._known  # as another thread may have fetched it meanwhile
            if known is not None and _age(known[1]) <= good_seconds:
                return known[0]
            begun = time.monotonic()
            fetched = self._fetch()
            self._known = fetched, begun
            return fetched


class Provider:
    """An OpenID provider at its issuer's address: its metadata, its keys, its tokens.

    Each of the three has places of its own, so that requests for one do not hold up another.
    """

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer
        self._http = bounded_client(
            timeout=_SECONDS,
            headers={"Accept": "application/json"},
            limit=_ANSWER_BYTES,
            seconds=_SECONDS,
        )
        self._exchanging = threading.BoundedSemaphore(_CODES_AT_ONCE)
        self._metadata = _Fetched(self._fetch_metadata)
        self._keys = _Fetched(self._fetch_keys)

    def metadata(self) -> _Metadata:
        """OpenID Connect Discovery 1.0 section 4. Raises ``ProviderUnavailableError``."""
        return self._metadata.get(_METADATA_GOOD_SECONDS)

    def keys(self, *, anew: bool = False) -> Sequence[ProviderKey]:
        """Return the keys that the provider signs with.

        ``anew`` fetches them again for a key that is not known yet, at most once every few seconds.
        Raises ``ProviderUnavailableError``.
        """
        return self._keys.get(_ASK_AGAIN_AFTER_SECONDS if anew else _KEYS_GOOD_SECONDS)

    def _fetch_metadata(self) -> _Metadata:
        url = self._issuer.rstrip("/") + "/.well-known/openid-configuration"
        return _read_metadata(self._get(url), self._issuer)

    def _fetch_keys(self) -> Sequence[ProviderKey]:
        return provider_keys(self._get(self.metadata().jwks_uri))

    def tokens(self, relying: RelyingParty, code: str, verifier: str) -> dict[str, Any]:
        """Return the tokens for a code (RFC 6749 section 4.1.3, RFC 7636 section 4.5).

        Raises ``Refusal`` (``sign-in-refused``) and ``ProviderUnavailableError``.
        """
        metadata = self.metadata()
        client = _client(relying, self._http)
        auth, secret = _client_authentication(relying, metadata)
        with _place(self._exchanging), _answering():
            try:
                answer = client.fetch_token(
                    metadata.token_endpoint,
                    grant_type="authorization_code",
                    code=code,
                    code_verifier=verifier,
                    auth=auth,
                    **secret,
                )
            except AuthlibBaseError as error:
                # Of what a provider writes, only the codes of RFC 6749 section 5.2 are repeated.
                known = error.error if error.error in _TOKEN_ERRORS else "other"
                _log.warning("the OpenID provider gave no tokens", error=known)
                raise _refused() from None
        return dict(answer)

    def _get(self, url: str) -> dict[str, Any]:
        with _answering():
            document = self._http.get(url).raise_for_status().json()
        if not isinstance(document, dict):
            raise ProviderUnavailableError("no JSON object")
        return document

    def close(self) -> None:
        self._http.close()


@contextmanager
def _place(places: threading.BoundedSemaphore) -> Iterator[None]:
    """Take one of a few places, for which it waits briefly."""
    if not places.acquire(timeout=_WAIT_SECONDS):
        raise ProviderUnavailableError("too many ask at once")
    try:
        yield
    finally:
        places.release()


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError) as error:
        raise ProviderUnavailableError(type(error).__name__) from None


class SignIn:
    """Sends people to the provider, and learns who came back."""

    def __init__(self, relying: RelyingParty, database: Database) -> None:
        self.relying = relying
        self._provider = Provider(relying.issuer)
        self._pending = PendingSignIns(database)

    @classmethod
    def of(cls, settings: Settings, database: Database) -> Self | None:
        """Return the sign-in of the settings, or ``None`` if the settings name no provider.

        Raises ``ValueError`` if the settings do not fit together.
        """
        relying = RelyingParty.of(settings)
        return cls(relying, database) if relying is not None else None

    def begin(self, return_to: str) -> StartedSignIn:
        """Begin a sign-in and return the address to send the browser to.

        Raises ``ProviderUnavailableError``.
        """
        metadata = self._provider.metadata()
        secret = self._pending.begin(return_to)
        asked = {"acr_values": self.relying.acr} if self.relying.acr else {}
        url, _ = _client(self.relying, None).create_authorization_url(
            metadata.authorization_endpoint,
            state=_derived(secret, "state"),
            nonce=_derived(secret, "nonce"),
            code_verifier=_derived(secret, "code verifier"),
            **asked,
        )
        return StartedSignIn(url, secret)

    def finish(
        self, secret: str | None, answer: AuthorizationResponse
    ) -> tuple[SignedInPerson, str]:
        """Return the person who signed in, and the address that the browser wanted.

        Raises ``ProviderUnavailableError``, and ``Refusal``: ``sign-in-state`` unless this browser
        began a sign-in lately and returns for the first time, ``sign-in-refused`` if the provider
        refuses, and the refusals of :func:`api.authentication.id_tokens.verify`.
        """
        if secret is None or answer.state is None:
            raise _no_state()
        if not hmac.compare_digest(_derived(secret, "state").encode(), answer.state.encode()):
            raise _no_state()
        return_to = self._pending.finish(secret)
        if return_to is None:
            raise _no_state()
        self._check_issuer(answer.issuer)
        if answer.error is not None or answer.code is None:
            raise _refused()
        tokens = self._provider.tokens(self.relying, answer.code, _derived(secret, "code verifier"))
        return self._identity(tokens, _derived(secret, "nonce")), return_to

    def close(self) -> None:
        self._provider.close()

    def _check_issuer(self, named: str | None) -> None:
        # RFC 9207: the answer of another provider is not taken to this one.
        required = self._provider.metadata().authorization_response_iss_parameter_supported
        if named != self.relying.issuer and (named is not None or required):
            raise _refused()

    def _identity(self, tokens: dict[str, Any], nonce: str) -> SignedInPerson:
        id_token, access_token = tokens.get("id_token"), tokens.get("access_token")
        if not isinstance(id_token, str):
            raise _refused()
        expected = Expected(
            issuer=self.relying.issuer,
            client_id=self.relying.client_id,
            nonce=nonce,
            access_token=access_token if isinstance(access_token, str) else None,
            agency_claim=self.relying.agency_claim,
            acr=self.relying.acr,
        )
        for anew in (False, True):
            try:
                return verify(id_token, self._provider.keys(anew=anew), expected, _now())
            except UnknownKeyError:
                continue
        raise Refusal(
            Ground.UNAUTHENTIC,
            "id-token",
            "The ID token is not accepted. No key of the provider fits it.",
        )


def is_safe(url: str) -> bool:
    """Return whether nobody else can read a request to this address: https, or this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (
        parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")
    )


def _read_metadata(document: dict[str, Any], issuer: str) -> _Metadata:
    try:
        metadata = _Metadata.model_validate(document)
    except ValidationError:
        raise ProviderUnavailableError("its metadata do not hold") from None
    if metadata.issuer != issuer:
        raise ProviderUnavailableError("its metadata are another issuer's")
    endpoints = (metadata.authorization_endpoint, metadata.token_endpoint, metadata.jwks_uri)
    if not all(map(is_safe, endpoints)):
        raise ProviderUnavailableError("its addresses are not https")
    return metadata


def _client(relying: RelyingParty, http: httpx.Client | None) -> Any:
    return OAuth2Client(
        http,
        client_id=relying.client_id,
        scope=_SCOPE,
        redirect_uri=relying.public_url + CALLBACK,
        code_challenge_method="S256",
    )


def _client_authentication(
    relying: RelyingParty, metadata: _Metadata
) -> tuple[httpx.Auth, dict[str, str]]:
    if "client_secret_basic" in metadata.token_endpoint_auth_methods_supported:
        return httpx.BasicAuth(relying.client_id, relying.client_secret), {}
    named = {"client_id": relying.client_id, "client_secret": relying.client_secret}
    return httpx.Auth(), named


def _derived(secret: str, purpose: str) -> str:
    # One secret in one cookie: none of state, nonce and verifier tells another or itself.
    mac = hmac.digest(secret.encode(), purpose.encode(), "sha256")
    return urlsafe_b64encode(mac).rstrip(b"=").decode()


def _age(moment: float) -> float:
    return time.monotonic() - moment


def _now() -> datetime:
    return clock.now()


def _no_state() -> Refusal:
    return Refusal(
        Ground.UNAUTHENTIC,
        "sign-in-state",
        "This browser has not set out to sign in, or not lately, or is back already; begin anew.",
        "state",
    )


def _refused() -> Refusal:
    return Refusal(
        Ground.UNAUTHENTIC, "sign-in-refused", "The provider did not sign this person in."
    )
