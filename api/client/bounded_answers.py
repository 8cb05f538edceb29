"""Outgoing HTTP requests: the size and the total time of every answer are bounded.

Every client of this program is made here (:func:`bounded_client`), so that no provider, webhook,
timestamp authority or other node can hold a thread or fill the memory. The time counts from
connecting to the last byte of the body: a head that arrives byte by byte does not prolong it.
"""

import socket
import ssl
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any
from urllib.parse import unquote, urlsplit

import httpcore
import httpx

MAX_BYTES = 96 * 1024 * 1024
"""More than a page of the longest events."""
SECONDS = 60.0
AS_IT_IS = {"Accept-Encoding": "identity"}
"""Asks for an answer that is not compressed: a short compressed one can be endless."""
_LIMIT, _TIME = "case_ledger.limit_bytes", "case_ledger.seconds"
_EVENT_STREAM = "text/event-stream"
_WRITE_BYTES = 16 * 1024
_KEEP_ALIVE_SECONDS = 5.0
_MAX_IDLE = 20
_until: ContextVar[float | None] = ContextVar("until", default=None)
"""When the request under way in this thread is given up, by ``time.monotonic()`` in seconds."""


def bounded_client(
    *,
    base_url: str = "",
    headers: Mapping[str, str] | None = None,
    timeout: float = 15.0,
    limit: int | None = None,
    seconds: float | None = None,
) -> httpx.Client:
    """Make a client whose answers have at most ``limit`` bytes and take at most ``seconds``.

    A compressed answer is refused, and a redirect is not followed. ``timeout`` limits each single
    wait. Where a bound is not met, the client raises ``httpx.RemoteProtocolError`` or
    ``httpx.TimeoutException``: code that copes with a broken connection copes with it. An event
    stream has no end: of it the head alone is bounded.
    """
    return httpx.Client(
        base_url=base_url,
        headers={**(headers or {}), **AS_IT_IS},
        timeout=timeout,
        follow_redirects=False,
        transport=_BoundedTransport(limit, seconds),
    )


def bounded(
    http: httpx.Client,
    method: str,
    url: str,
    *,
    limit: int | None = None,
    seconds: float | None = None,
    **content: Any,
) -> httpx.Response:
    """Ask, and read the whole answer, within bounds that may be narrower than the client's.

    Raises ``httpx.TransportError`` as :func:`bounded_client` says.
    """
    with http.stream(method, url, extensions=bounds(limit, seconds), **content) as response:
        return read_bounded(response, limit=limit, seconds=seconds)


def bounds(limit: int | None = None, seconds: float | None = None) -> dict[str, float]:
    """Return the extensions of a request that has other bounds than its client's."""
    return {name: v for name, v in ((_LIMIT, limit), (_TIME, seconds)) if v is not None}


def read_bounded(
    response: httpx.Response, *, limit: int | None = None, seconds: float | None = None
) -> httpx.Response:
    """Read an open answer to its end.

    Raises ``httpx.RemoteProtocolError`` where it is compressed, longer than ``limit`` bytes, or
    takes more than ``seconds``.
    """
    _refuse_compressed(response.headers.get("content-encoding"))
    limit = MAX_BYTES if limit is None else limit
    until = time.monotonic() + (SECONDS if seconds is None else seconds)
    content = bytearray()
    for chunk in response.iter_raw():
        content += chunk
        if len(content) > limit:
            raise _too_long(limit)
        if time.monotonic() > until:
            raise httpx.RemoteProtocolError("the answer takes too long")
    return httpx.Response(
        response.status_code,
        headers=response.headers,
        content=bytes(content),
        request=response.request,
        extensions=response.extensions,
    )


class _BoundedTransport(httpx.BaseTransport):
    """Sends requests by connections that end at the deadline of the request under way.

    A proxy that the environment names (``HTTPS_PROXY``, ``NO_PROXY``) is used as httpx does.
    """

    def __init__(self, limit: int | None, seconds: float | None) -> None:
        self._limit = limit
        self._seconds = seconds
        self._proxies = urllib.request.getproxies()
        self._pools: dict[tuple[str | None, str], httpcore.ConnectionPool] = {}
        """By the proxy and the URL's scheme. A pool is made at its first use."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        own, named = self._limit, request.extensions
        limit = named.get(_LIMIT, MAX_BYTES if own is None else own)
        seconds = named.get(_TIME, SECONDS if self._seconds is None else self._seconds)
        until = time.monotonic() + seconds
        url = request.url
        sent = httpcore.Request(
            method=request.method,
            url=httpcore.URL(
                scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
            ),
            headers=request.headers.raw,
            content=request.stream,
            extensions={"timeout": named.get("timeout", {})},
        )
        with _ending(until):
            answer = self._pool(url).handle_request(sent)
        is_endless = request.headers.get("accept") == _EVENT_STREAM
        stream = _BoundedStream(
            answer, None if is_endless else limit, None if is_endless else until
        )
        try:
            response = httpx.Response(
                answer.status,
                headers=answer.headers,
                stream=stream,
                extensions=answer.extensions,
            )
            _refuse_compressed(response.headers.get("content-encoding"))
        except BaseException:
            stream.close()
            raise
        return response

    def _pool(self, url: httpx.URL) -> httpcore.ConnectionPool:
        proxy = self._proxies.get(url.scheme) or self._proxies.get("all")
        if (
            proxy is None
            or urlsplit(proxy).scheme not in ("http", "https")
            or urllib.request.proxy_bypass(url.host)
        ):
            proxy = None
        if (found := self._pools.get((proxy, url.scheme))) is None:
            # Of two threads that make the pool at once, one uses the other's.
            found = self._pools.setdefault((proxy, url.scheme), _pool(url.scheme, proxy))
        return found

    def close(self) -> None:
        for pool in tuple(self._pools.values()):
            pool.close()


class _BoundedStream(httpx.SyncByteStream):
    """The body of an answer, up to a number of bytes and a moment; ``None`` is no bound."""

    def __init__(self, answer: httpcore.Response, limit: int | None, until: float | None) -> None:
        self._answer = answer
        self._limit = limit
        self._until = until

    def __iter__(self) -> Iterator[bytes]:
        pieces = self._answer.iter_stream()
        count = 0
        while True:
            with _ending(self._until):
                piece = next(pieces, None)
            if piece is None:
                return
            count += len(piece)
            if self._limit is not None and count > self._limit:
                raise _too_long(self._limit)
            yield piece

    def close(self) -> None:
        with _ending(None):
            self._answer.close()


class _DeadlineBackend(httpcore.NetworkBackend):
    """Opens connections whose every wait ends at the deadline of the request under way."""

    def __init__(self) -> None:
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        # Each address of a name would otherwise have the whole time to itself.
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(str(error)) from error
        failed: Exception = httpcore.ConnectError("the name has no address")
        for *_, address in found:
            try:
                stream = self._inner.connect_tcp(
                    str(address[0]), port, _left(timeout), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
            else:
                return _DeadlineStream(stream)
        raise failed

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class _DeadlineStream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _WRITE_BYTES):
            self._inner.write(buffer[start : start + _WRITE_BYTES], _left(timeout))

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        return _DeadlineStream(self._inner.start_tls(ssl_context, server_hostname, _left(timeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)

    def close(self) -> None:
        self._inner.close()


@cache
def _tls_context() -> ssl.SSLContext:
    """Return the context of all clients: to read the root certificates takes tens of ms."""
    return httpx.create_ssl_context()


def _pool(scheme: str, proxy: str | None) -> httpcore.ConnectionPool:
    # A request without TLS needs no root certificates: most commands make one to their own node.
    named: dict[str, Any] = {
        "ssl_context": None if scheme == "http" else _tls_context(),
        "max_keepalive_connections": _MAX_IDLE,
        "keepalive_expiry": _KEEP_ALIVE_SECONDS,
        "network_backend": _DeadlineBackend(),
    }
    if proxy is None:
        return httpcore.ConnectionPool(max_connections=100, **named)
    parts = urlsplit(proxy)
    auth = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    at = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/"
    return httpcore.HTTPProxy(proxy_url=at, proxy_auth=auth, max_connections=100, **named)


@contextmanager
def _ending(until: float | None) -> Iterator[None]:
    """End the block's waits at ``until``, in seconds of ``time.monotonic()``.

    Raises httpcore's errors as httpx names them.
    """
    token = _until.set(until)
    try:
        yield
    except (
        httpcore.TimeoutException,
        httpcore.NetworkError,
        httpcore.ProtocolError,
        httpcore.ProxyError,
        httpcore.UnsupportedProtocol,
    ) as error:
        named = getattr(httpx, type(error).__name__, httpx.TransportError)
        is_over = until is not None and time.monotonic() >= until
        raise named("the answer takes too long" if is_over else str(error)) from error
    finally:
        _until.reset(token)


def _left(timeout: float | None) -> float | None:
    """Return how many seconds a wait may last. Raises ``httpcore.ReadTimeout`` where none are."""
    until = _until.get()
    if until is None:
        return timeout
    left = until - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("the answer takes too long")
    return left if timeout is None else min(left, timeout)


def _refuse_compressed(encoding: str | None) -> None:
    if encoding not in (None, "identity"):
        raise httpx.RemoteProtocolError("the answer is compressed, and was not asked to be")


def _too_long(limit: int) -> httpx.RemoteProtocolError:
    return httpx.RemoteProtocolError(f"the answer has more than {limit} bytes")
