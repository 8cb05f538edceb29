"""Each request has an id, in its answer's ``X-Request-ID`` and in every log line about it."""

from uuid import uuid4

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "X-Request-ID"
_NAME = HEADER.lower().encode()
_KEY = "request_id"


class RequestId:
    """Gives each request a random id. An id that the client sends is not taken over."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        own = uuid4().hex

        async def naming(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", ()), (_NAME, own.encode())]
                message = {**message, "headers": headers}
            await send(message)

        # The server runs each request in a task, and so in a context, of its own.
        structlog.contextvars.bind_contextvars(**{_KEY: own})
        await self._app(scope, receive, naming)


def request_id() -> str:
    """Return the id of the request that is being answered; empty where there is none."""
    return str(structlog.contextvars.get_contextvars().get(_KEY, ""))
