"""Limits on what is read, what every answer says, and one log line a request."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable
from urllib.parse import unquote_plus

import structlog
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.error_handlers import (
    ANSWER_HEADERS,
    PAGE_POLICY,
    PRINTED_POLICY,
    SANDBOX_POLICY,
    WORKER_POLICY,
    InLanguage,
    in_english,
    refusing,
)
from api.http.http_protocol import Forwarders
from api.runtime.problem import problem
from api.runtime.rate_limit import STATUS, TITLE, OpenPlaces, Rate, asking_network
from api.runtime.rate_limit_fields import collecting, fields
from ledger.vocabulary.characters import is_plain

_log = structlog.get_logger("api.access")
Handler = Callable[[Scope, Receive, Send], Awaitable[None]]
BODY_SECONDS = 30.0
RawHeader = tuple[bytes, bytes]
_GUARDING = {n.lower().encode(): value.encode() for n, value in ANSWER_HEADERS.items()}
_POLICY = b"content-security-policy"
_OTHER_POLICIES = tuple(
    policy.encode() for policy in (PAGE_POLICY, PRINTED_POLICY, SANDBOX_POLICY, WORKER_POLICY)
)
_FROM_SOMEONE = (b"authorization", b"cookie")
_CLOSE = {"Connection": "close"}  # what is left of the body is not waited for
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})


class BodyLimit:
    """Refuses a body longer than ``limit`` bytes, announced or not, or slower than 30 seconds.

    The route of a request that ``is_upload`` bounds the length of its body itself. Of such a body
    each part must come within 30 seconds.
    """

    def __init__(
        self, app: ASGIApp, limit: int, is_upload: Callable[[Scope], bool] = lambda _: False
    ) -> None:
        self._app = app
        self._limit = limit
        self._is_upload = is_upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        read, whole = 0, False
        until: float | None = None
        is_upload = self._is_upload(scope)

        async def limited() -> Message:
            nonlocal read, whole, until
            if whole:
                return await receive()
            loop = asyncio.get_running_loop()
            if until is None or is_upload:
                until = loop.time() + BODY_SECONDS
            # An HTTP exception is what passes through the framework's body parsing.
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, "The request takes too long", _CLOSE) from None
            whole = not message.get("more_body", False)
            read += len(message.get("body", b""))
            if read > self._limit and not is_upload:
                detail = f"The request is too long: at most {self._limit} bytes"
                raise HTTPException(413, detail, _CLOSE)
            return message

        await self._app(scope, limited, send)


class AnswerHeaders:
    """The security headers of every answer: no sniffing, no scripts, no frames, no referrer.

    What needs an assertion is kept in no cache, unless it is for anyone. ``added`` gives headers
    that depend on how the node stands. The fields ``RateLimit`` and ``RateLimit-Policy`` have the
    limits that the request met.
    """

    def __init__(self, app: ASGIApp, added: Callable[[], Iterable[RawHeader]] = lambda: ()) -> None:
        self._app = app
        self._added = added

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        by_someone = any(name in _FROM_SOMEONE for name, _ in scope["headers"])

        async def saying(message: Message) -> None:
            if message["type"] == "http.response.start":
                guarded = _guarded(message.get("headers", ()), by_someone)
                message["headers"] = [*guarded, *self._added(), *fields(met)]
            await send(message)

        with collecting() as met:
            await self._app(scope, receive, saying)


def _guarded(headers: Iterable[tuple[bytes, bytes]], by_someone: bool) -> list[RawHeader]:
    """Return an answer's headers with the security headers and the caching that it must have.

    All other headers of the answer are kept.
    """
    kept: list[RawHeader] = []
    cached, guarding = b"", dict(_GUARDING)
    for name, value in headers:
        lower = name.lower()
        if lower == b"cache-control":
            cached = value
        elif lower == _POLICY and value in _OTHER_POLICIES:
            guarding[lower] = value
        elif lower not in _GUARDING:
            kept.append((name, value))
    if not cached or (by_someone and b"public" not in cached):
        cached = b"no-store"
    return [*kept, *guarding.items(), (b"cache-control", cached)]


class FailedAuthentications:
    """Answers 429 to an address whose requests were too often not authentic (401)."""

    def __init__(self, app: ASGIApp, per_minute: int, in_language: InLanguage = in_english) -> None:
        self._app = app
        self._failed = Rate(per_minute, "failures")
        self._in_language = in_language

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not any(n == b"authorization" for n, _ in scope["headers"]):
            await self._app(scope, receive, send)
            return
        asks = asking_network(scope)
        if self._failed.is_met(asks):
            refusal = self._failed.too_many(asks)
            await refusing(refusal, scope, self._in_language)(scope, receive, send)
            return

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 401:
                self._failed.count(asks)
            await send(message)

        await self._app(scope, receive, counting)


class PlainParameters:
    """Refuses an address with a control character, of direction neither, however it is escaped."""

    def __init__(self, app: ASGIApp, in_language: InLanguage = in_english) -> None:
        self._app = app
        self._in_language = in_language

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not _is_plain(scope):
            refusal = problem(
                422,
                "The request does not hold",
                "request",
                "The address has a character that nobody can see; leave it out.",
            )
            await refusing(refusal, scope, self._in_language)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _is_plain(scope: Scope) -> bool:
    query: bytes = scope.get("query_string", b"")
    return is_plain(scope["path"]) and (
        not query or is_plain(unquote_plus(query.decode("utf-8", "replace")))
    )


class RequestsOfAddresses:
    """Answers 429 to an address that has too many requests under way, streams among them.

    Behind a proxy each client's address counts; the proxy's own does not.
    """

    def __init__(self, app: ASGIApp, most: int, in_language: InLanguage = in_english) -> None:
        self._app = app
        self._in_language = in_language
        self._forwarders = Forwarders()
        self._under_way = OpenPlaces(most, "requests of address")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        address = client[0] if client else ""
        if scope["type"] != "http" or not address or address in self._forwarders:
            await self._app(scope, receive, send)
            return
        asks = asking_network(scope)
        if not self._under_way.enter(asks):
            refusal = problem(
                STATUS,
                TITLE,
                "too-many-at-once",
                "Too many requests of this address are under way; wait for their answers.",
                {"Retry-After": "5"},
            )
            await refusing(refusal, scope, self._in_language)(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            self._under_way.leave(asks)


class Contained:
    """Outside of everything: an error that was answered and logged goes no further.

    The server would log it whole, and an error's message may carry what an agency sent.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with contextlib.suppress(Exception):
            await self._app(scope, receive, send)


class RequestLog:
    """Logs method, route and status: never a path, a query, a header or a body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await self._watch(scope, receive, send)

    async def _watch(self, scope: Scope, receive: Receive, send: Send) -> None:
        status = 500
        began = time.perf_counter()

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            route = getattr(scope.get("route"), "path", "(none)")
            method = scope["method"] if scope["method"] in _METHODS else None
            self._tell(method, route, status, time.perf_counter() - began)

    def _tell(self, method: str | None, route: str, status: int, seconds: float) -> None:
        """Log one request.

        ``method`` is ``None`` if HTTP has no such method.
        """
        ms = round(seconds * 1000, 1)
        _log.info("request", method=method or "(other)", route=route, status=status, ms=ms)
