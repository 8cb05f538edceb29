"""HTTP/1.1 connections that are read strictly, and whose requests' heads are bounded."""

import asyncio
import ipaddress
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.runtime.rate_limit import OpenPlaces, network

HEAD_BYTES = 16 * 1024
_FULL = (
    b"HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\nRetry-After: 5\r\n"
    b"Content-Length: 0\r\n\r\n"
)
HEAD_SECONDS = 10.0
READ_BYTES = 32 * 1024
"""So much is read from a connection at once, and then at most as much again while the application
takes no more of the body. The event loops read 256 KiB at once, so 200 uploads would need 100 MB.
"""
_VERSIONS = ("1.0", "1.1")
_REFUSALS = 16
"""Connections of one address, past its share, that are answered 429 at once; more are cut off."""


class Forwarders:
    """The proxies whose ``X-Forwarded-For`` is believed: ``FORWARDED_ALLOW_IPS``, as uvicorn's.

    They speak for others, so that no limit of one address applies to them.
    """

    def __init__(self) -> None:
        listed = os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1").split(",")
        names = [name.strip() for name in listed if name.strip()]
        self._all = "*" in names
        self._networks: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network] = [
            parsed for name in names if (parsed := _parsed(name)) is not None
        ]

    def __contains__(self, address: str) -> bool:
        if self._all:
            return True
        try:
            one = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(one in listed for listed in self._networks)


class ConnectionsOfAddresses:
    """The number of open connections of each address; ``most`` is the bound."""

    def __init__(self, most: int) -> None:
        self._forwarders = Forwarders()
        self._open = OpenPlaces(most, "connections")
        self._refusals = OpenPlaces(_REFUSALS, "refused connections")

    def take(self, address: str) -> "Place | None":
        """Return the place of one more connection.

        It is one of the few places for a refusal where the address has its share. Returns ``None``
        where these are taken too: the connection is cut off.
        """
        if self.enter(address):
            return Place(partial(self.leave, address))
        named = network(address)
        if self._refusals.enter(named):
            return Place(partial(self._refusals.leave, named), is_refused=True)
        return None

    def enter(self, address: str) -> bool:
        """Count one more. Returns whether it may stay."""
        return address in self._forwarders or self._open.enter(network(address))

    def leave(self, address: str) -> None:
        """Count one open connection of an address less."""
        if address not in self._forwarders:
            self._open.leave(network(address))


class Place:
    """The place of one connection among those of its address, which it leaves once."""

    def __init__(self, leave: Callable[[], None], *, is_refused: bool = False) -> None:
        """Hold a place that ``leave`` frees. ``is_refused``: it is for a refusal alone."""
        self.is_refused = is_refused
        self._leave: Callable[[], None] | None = leave

    def leave(self) -> None:
        """Free the place, the first time."""
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()


def _parsed(name: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(name)
    except ValueError:
        return None


def bounded_protocol(counted: ConnectionsOfAddresses) -> "type[SmallReads]":
    """Make the protocol of one server, which counts its own connections."""
    inner = type("BoundedProtocolOfServer", (BoundedProtocol,), {"of_addresses": counted})
    own = {"parsing": inner, "buffer": memoryview(bytearray(READ_BYTES))}
    return type("SmallReadsOfServer", (SmallReads,), own)


class BoundedProtocol(HttpToolsProtocol):
    """Parses requests strictly, so that no proxy in front can see other requests than this node.

    Two lengths, bare line feeds and folded headers are refused: a request has one reading alone.

    A head that is longer than ``HEAD_BYTES``, or not there ``HEAD_SECONDS`` after it could have
    begun, ends the connection. So does a connection too many of one address.
    """

    of_addresses: ConnectionsOfAddresses | None = None

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.place: Place | None = None
        self._is_refused = False
        self._in_head = True
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        if self.place is None and self.of_addresses is not None:
            self.place = self.of_addresses.take(_address(transport))
            if self.place is None:
                self._is_refused = True
                transport.abort()
                return
        if self.place is not None and self.place.is_refused:
            self._is_refused = True
            transport.write(_FULL)
            transport.close()
            return
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.place is not None:
            self.place.leave()
        if self._is_refused:
            return
        self._head_is_over()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_refused or self.transport.is_closing():
            return  # what comes after a refusal is no request
        if self._in_head:
            self._expect_head()
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The head of the request is too long.")

    def eof_received(self) -> None:
        if not self._is_refused:
            super().eof_received()

    def on_headers_complete(self) -> None:
        if self.parser.get_http_version() not in _VERSIONS:
            raise ValueError("another protocol")  # the parser makes a 400 of it
        self._in_head = False
        self._head_is_over()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        if len(self.cycle.body) >= READ_BYTES:
            self.flow.pause_reading()  # until the application takes it

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_head, self._head_bytes = True, 0

    def _expect_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _head_is_over(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self.transport.close()


def _address(transport: asyncio.BaseTransport) -> str:
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if peer else ""


class SmallReads(asyncio.BufferedProtocol):
    """Reads a connection in small pieces, by one buffer of all connections, and parses them.

    The event loop fills the buffer and calls :meth:`buffer_updated` at once, before it reads
    another connection.
    """

    parsing: type[BoundedProtocol]
    buffer: memoryview

    def __init__(self, *given: Any, **named: Any) -> None:
        self._parsing = self.parsing(*given, **named)
        self.has_begun = False

    def hold(self, place: Place) -> None:
        """Give the connection the place that was taken for it when it was accepted."""
        self._parsing.place = place

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.has_begun = True
        self._parsing.connection_made(transport)  # type: ignore[arg-type]

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._parsing.data_received(bytes(self.buffer[:nbytes]))

    def eof_received(self) -> None:
        self._parsing.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._parsing.connection_lost(exc)

    def pause_writing(self) -> None:
        self._parsing.pause_writing()

    def resume_writing(self) -> None:
        self._parsing.resume_writing()
