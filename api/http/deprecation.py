"""Addresses of earlier versions that still answer, and say until when (RFC 9745, RFC 8594)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

from starlette.types import ASGIApp, Message, Receive, Scope, Send


@dataclass(frozen=True, slots=True)
class EarlierAddress:
    """An address that has another one now."""

    shown: str
    """The earlier path, as documents write it."""
    successor: str
    """The path that took its place, as documents write it."""
    pattern: re.Pattern[str]
    template: str
    """The new path, with the parts of the earlier one."""
    since: datetime
    """When it was deprecated."""
    sunset: datetime
    """Until when it answers at least. A release after this moment removes it; no clock does."""

    def headers(self, path: str) -> list[tuple[bytes, bytes]]:
        """Return the headers that tell a client of the new path."""
        links = f'<{path}>; rel="successor-version", </docs#deprecated>; rel="deprecation"'
        told = {
            "Deprecation": f"@{int(self.since.timestamp())}",
            "Sunset": format_datetime(self.sunset, usegmt=True),
            "Link": links,
        }
        return [(name.lower().encode(), value.encode()) for name, value in told.items()]


EARLIER_ADDRESSES = (
    EarlierAddress(
        shown="/v1/cases/{case_id}/documents/uploads",
        successor="/v1/cases/{case_id}/uploads",
        pattern=re.compile(r"(/v1/cases/[A-Za-z0-9-]{1,40})/documents/uploads((?:/[^/]+){0,2})"),
        template=r"\1/uploads\2",
        since=datetime(2026, 12, 1, tzinfo=UTC),
        sunset=datetime(2027, 12, 1, tzinfo=UTC),
    ),
)


class EarlierAddresses:
    """Answers requests at earlier addresses as those at the new ones, with the headers for it."""

    def __init__(
        self, app: ASGIApp, addresses: Sequence[EarlierAddress] = EARLIER_ADDRESSES
    ) -> None:
        self._app = app
        self._addresses = addresses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._found(scope["path"]) if scope["type"] == "http" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        path, headers = found

        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *headers]
            await send(message)

        await self._app({**scope, "path": path, "raw_path": path.encode()}, receive, telling)

    def _found(self, path: str) -> tuple[str, list[tuple[bytes, bytes]]] | None:
        for one in self._addresses:
            if (match := one.pattern.fullmatch(path)) is not None and path.isascii():
                successor = match.expand(one.template)
                return successor, one.headers(successor)
        return None
