"""HEAD and conditional GET for every resource (RFC 9110, sections 9.3.2, 8.8.3 and 13.1.2)."""

import base64
import hashlib
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send


def etag(case_version: int, content: bytes | None = None) -> str:
    """Return the tag of a case at a version, for ``If-Match``.

    ``content`` is the content of the case that the caller gets. With it, the tag differs for other
    content: another country's disclosures may arrive while the version stays the same.
    """
    if content is None:
        return f'"{case_version}"'
    return f'"{case_version}.{hashlib.sha256(content).hexdigest()[:22]}"'


RawHeader = tuple[bytes, bytes]
_OK, _NOT_MODIFIED = 200, 304
_OF_CONTENT = frozenset({b"content-length", b"content-type", b"content-encoding"})


class ConditionalGet:
    """Answers HEAD as GET without its body, and 304 where the client has what would be sent.

    An answer that is one piece gets a weak ``ETag``, a digest of its content. A weak one never
    matches ``If-Match``, which takes case versions. A stream of events gets none.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        answer = _Answer(scope, send, is_head=scope["method"] == "HEAD")
        scope["method"] = "GET"  # for the routes; the log and the server read it again afterwards
        try:
            await self._app(scope, receive, answer.send)
        finally:
            answer.restore()


class _Answer:
    """One answer on its way. The start of one in a piece is held back until its body is there."""

    def __init__(self, scope: Scope, send: Send, *, is_head: bool) -> None:
        self._scope = scope
        self._send = send
        self._is_head = is_head
        self._asked = _matches(scope["headers"])
        self._start: Message | None = None
        self._is_over = False

    def restore(self) -> None:
        if self._is_head:
            self._scope["method"] = "HEAD"

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == _OK:
            if any(name.lower() == b"content-length" for name, _ in message.get("headers", ())):
                self._start = message  # its body is one piece, and there at once
                return
            await self._send_start(message)
            return
        if message["type"] == "http.response.body" and not self._is_over:
            await self._send_body(message)
        elif not self._is_over:
            self.restore()
            await self._send(message)

    async def _send_start(self, start: Message) -> None:
        """Begin a stream. A follower learns at once that it was taken, whenever events come."""
        self.restore()
        await self._send(start)
        if self._is_head:
            self._is_over = True
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_body(self, message: Message) -> None:
        start, self._start = self._start, None
        is_whole = not message.get("more_body", False)
        if start is not None:
            self.restore()
            if is_whole:
                start, message = self._conditional(start, message)
            await self._send(start)
        if self._is_head:
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        self._is_over = not message.get("more_body", False)
        await self._send(message)

    def _conditional(self, start: Message, message: Message) -> tuple[Message, Message]:
        headers: list[RawHeader] = list(start.get("headers", ()))
        tag = next((value for name, value in headers if name.lower() == b"etag"), None)
        if tag is None:
            tag = _weak_tag(message.get("body", b""))
            headers.append((b"etag", tag))
        if b"*" in self._asked or _opaque(tag) in self._asked:
            kept = [(name, value) for name, value in headers if name.lower() not in _OF_CONTENT]
            start = {**start, "status": _NOT_MODIFIED, "headers": kept}
            return start, {**message, "body": b""}
        return {**start, "headers": headers}, message


def _weak_tag(body: bytes) -> bytes:
    digest = hashlib.sha256(body).digest()[:16]
    return b'W/"' + base64.urlsafe_b64encode(digest).rstrip(b"=") + b'"'


def _opaque(tag: bytes) -> bytes:
    """Return a tag without its mark of weakness: ``If-None-Match`` compares weakly."""
    return tag.strip().removeprefix(b"W/")


def _matches(headers: Iterable[RawHeader]) -> frozenset[bytes]:
    """Return the tags that ``If-None-Match`` names."""
    named = b",".join(value for name, value in headers if name == b"if-none-match")
    return frozenset(_opaque(tag) for tag in named.split(b",") if tag.strip())
