"""A limit on what is read, and one log line a request that repeats nothing of it."""

import time
from collections.abc import Awaitable, Callable

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem, respond

_log = structlog.get_logger("api.access")
Handler = Callable[[Scope, Receive, Send], Awaitable[None]]


class _TooLongError(Exception):
    pass


class BodyLimit:
    """Refuses a body longer than ``limit`` bytes, announced or not."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        read = 0

        async def limited() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._limit:
                raise _TooLongError
            return message

        try:
            await self._app(scope, limited, send)
        except _TooLongError:
            detail = f"At most {self._limit} bytes."
            await respond(problem(413, "The request is too long", "too-long", detail))(
                scope, receive, send
            )


class RequestLog:
    """Logs method, route and status: never a path, a query, a header or a body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
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
            took = round((time.perf_counter() - began) * 1000, 1)
            _log.info("request", method=scope["method"], route=route, status=status, ms=took)
