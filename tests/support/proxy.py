"""A proxy between a country's node and the ledger node: it hands on, or answers by itself."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "host"})


@dataclass(frozen=True)
class Asked:
    """A request as the proxy got it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def is_action(self) -> bool:
        """Return whether the request sends a signed action."""
        return self.method == "POST" and self.path.endswith("/actions")


Answer = bytes
"""A whole answer with its head; an empty one closes the connection without an answer."""


@dataclass
class Proxy:
    """The address of the proxy, and its treatment of each request."""

    url: str = ""
    lies: Callable[[Asked], Answer | None] = lambda _: None
    """Answers by itself; ``None`` hands the request on."""
    changes: Callable[[Asked, httpx.Response], Answer | None] = lambda _asked, _answered: None
    """Answers otherwise than the ledger node did; ``None`` hands its answer on."""
    target: str = ""
    seen: list[Asked] = field(default_factory=list)
    """The signed actions that were handed in."""


@contextmanager
def proxying(target: str) -> Iterator[Proxy]:
    """Run a proxy before ``target`` for as long as the block runs. It hands everything on."""
    proxy = Proxy(target=target)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            headers = {n: v for n, v in self.headers.items() if n.lower() not in _HOP}
            asked = Asked(self.command, self.path, headers, self.rfile.read(length))
            if asked.is_action:
                proxy.seen.append(asked)
            answer = proxy.lies(asked)
            if answer is None:
                answer = self._handed_on(asked)
            self.close_connection = True
            if answer:
                self.wfile.write(answer)
            else:
                self.connection.shutdown(socket.SHUT_RDWR)

        do_GET = do_POST = do_DELETE = do_PUT = handle_one

        def _handed_on(self, asked: Asked) -> Answer:
            try:
                given = client.request(
                    asked.method, asked.path, headers=asked.headers, content=asked.body
                )
            except httpx.TransportError:
                return b""
            changed = proxy.changes(asked, given)
            return whole(given) if changed is None else changed

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with httpx.Client(base_url=target, timeout=60) as client:
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
            yield proxy
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def whole(response: httpx.Response) -> Answer:
    """The bytes of an answer that was read."""
    headers = {n: v for n, v in response.headers.items() if n.lower() not in _HOP}
    return answer(response.status_code, response.content, headers)


def answer(status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
    """The bytes of an answer."""
    named = {**(headers or {}), "Content-Length": str(len(body)), "Connection": "close"}
    lines = [f"HTTP/1.1 {status} Answer", *(f"{n}: {v}" for n, v in named.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1") + body
