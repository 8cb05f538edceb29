"""A proxy between two nodes that drops, delays, cuts, changes and answers requests by itself.

It reads whole HTTP/1.1 requests and answers, one for each connection. While :attr:`Disturbance.mix`
is empty it hands everything on unchanged.
"""

import asyncio
import json
import re
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")
MADE_UP = "zqTheProxyMadeThisUp"
"""A text in every answer of the proxy's own that has room for one: no node may show it."""
_STALLED_SECONDS = 2.0
_KEPT = 12
_WITHOUT_SECRETS = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|\d+")
_STATUSES = (200, 201, 202, 204, 301, 302, 307, 308, 400, 401, 403, 404, 405, 409, 410, 412, 413,
             415, 422, 428, 429, 500, 502, 503, 504, 507)  # fmt: skip
_RULES = ("http", "unknown-case", "role", "signature", "decision", "case-version", "too-large",
          "no-such-resource", "not-published", "nodes-only", "history-changed", "mailbox-quota",
          "already-revoked", "malformed-sd-jwt", "parcel", "own-parcels")  # fmt: skip


class Fault(StrEnum):
    """The fault that the proxy makes of one request."""

    DELAY = "delay"
    DROP_REQUEST = "drop the request"
    DROP_ANSWER = "drop the answer"
    STALL = "keep the connection open and say nothing"
    HALF_CLOSE_REQUEST = "hand on half of the request, and end that direction"
    HALF_CLOSE_ANSWER = "give half of the answer, and end that direction"
    CORRUPT_REQUEST = "change a byte of the request"
    CORRUPT_ANSWER = "change a byte of the answer"
    TRUNCATE_ANSWER = "give half of the answer's body as if it were whole"
    TWICE = "hand on the request twice"
    ANSWER_ONLY = "answer by itself"
    ANSWER_INSTEAD = "hand on the request, and answer by itself"
    ANSWER_BEFORE = "answer by itself, and hand on the request later"
    STALE_ONLY = "give an earlier answer"
    STALE_INSTEAD = "hand on the request, and give an earlier answer"


@dataclass
class Disturbance:
    """The faults of a test's proxies, now and so far."""

    mix: Mapping[Fault, float] = field(default_factory=dict)
    """How probable each fault is. Empty: everything is handed on."""
    done: Counter[Fault] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class _Message:
    """A request or an answer: its head with the empty line, and its body without framing."""

    head: bytes
    body: bytes

    @property
    def start(self) -> str:
        return self.head.split(b"\r\n", 1)[0].decode("latin-1")

    def whole(self) -> bytes:
        """The bytes to send, for a connection that ends after them."""
        kept = [
            line
            for line in self.head.rstrip(b"\r\n").split(b"\r\n")
            if line.partition(b":")[0].lower() not in _FRAMING
        ]
        length = b"Content-Length: %d" % len(self.body)
        return b"\r\n".join([*kept, length, b"Connection: close", b"", self.body])


_FRAMING = (b"content-length", b"transfer-encoding", b"connection", b"keep-alive")


class DisturbingProxy:
    """Listens at :attr:`url` and hands on to one node, in the event loop of :func:`proxies`."""

    def __init__(self, disturbance: Disturbance, random: Random) -> None:
        self.url = ""
        self.target = ""
        """The node's base URL. It may be set when the node's port is known."""
        self.random = random
        self._disturbance = disturbance
        self._kept: defaultdict[str, deque[_Message]] = defaultdict(lambda: deque(maxlen=_KEPT))
        """Answers that were handed on, by the kind of request."""
        self._tasks: set[asyncio.Task[None]] = set()
        self.calm = asyncio.Event()

    async def listen(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**24)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return server

    @property
    def is_idle(self) -> bool:
        """Return whether no request is under way that was answered already."""
        return not self._tasks

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await _read(reader, is_answer=False)
            if request is not None:
                await self._handle(request, writer)
        except (OSError, EOFError, asyncio.LimitOverrunError, ValueError):
            writer.transport.abort()
        finally:
            with suppress(OSError):
                writer.close()

    async def _handle(self, request: _Message, writer: asyncio.StreamWriter) -> None:
        fault = self._choose()
        if fault is not None:
            self._disturbance.done[fault] += 1
        answer = await self._answer(fault, request)
        if answer is None:
            writer.transport.abort()
            return
        sent = answer.whole()
        if fault is Fault.HALF_CLOSE_ANSWER:
            writer.write(sent[: self.random.randrange(len(sent))])
            writer.write_eof()
            await self._stall(0.5)
            return
        writer.write(sent)
        await writer.drain()

    def _choose(self) -> Fault | None:
        drawn = self.random.random()
        for fault, probability in self._disturbance.mix.items():
            drawn -= probability
            if drawn < 0:
                return fault
        return None

    async def _answer(self, fault: Fault | None, request: _Message) -> _Message | None:
        """Return what to answer; ``None`` breaks the connection."""
        match fault:
            case Fault.DELAY:
                await asyncio.sleep(self.random.uniform(0.02, 0.7))
            case Fault.DROP_REQUEST:
                return None
            case Fault.STALL:
                await self._stall(_STALLED_SECONDS)
                return None
            case Fault.HALF_CLOSE_REQUEST:
                await self._half(request)
                return None
            case Fault.CORRUPT_REQUEST:
                request = self._corrupted(request)
            case Fault.TWICE:
                await self._quietly(request)
            case Fault.ANSWER_ONLY:
                return self._made_up()
            case Fault.STALE_ONLY:
                return self._earlier(request)
            case Fault.ANSWER_BEFORE:
                self._later(request)
                return self._made_up()
        answer = await self._handed_on(request)
        match fault:
            case Fault.DROP_ANSWER:
                return None
            case Fault.CORRUPT_ANSWER:
                return self._corrupted(answer)
            case Fault.TRUNCATE_ANSWER:
                return _Message(answer.head, answer.body[: len(answer.body) // 2])
            case Fault.ANSWER_INSTEAD:
                return self._made_up()
            case Fault.STALE_INSTEAD:
                return self._earlier(request)
        self._kept[_kind(request)].append(answer)
        return answer

    async def _handed_on(self, request: _Message) -> _Message:
        reader, writer = await self._connect()
        try:
            writer.write(request.whole())
            await writer.drain()
            answer = await _read(reader, is_answer=True)
        finally:
            writer.close()
        if answer is None:
            raise EOFError
        return answer

    async def _half(self, request: _Message) -> None:
        """Send a part of a request, and no more."""
        reader, writer = await self._connect()
        sent = request.whole()
        try:
            writer.write(sent[: self.random.randrange(len(sent))])
            writer.write_eof()
            with suppress(TimeoutError):
                await asyncio.wait_for(reader.read(), 0.5)
        finally:
            writer.close()

    def _later(self, request: _Message) -> None:
        """Hand a request on that was answered already."""

        async def hand_on() -> None:
            await asyncio.sleep(self.random.uniform(0.1, 1.5))
            await self._quietly(request)

        task = asyncio.get_running_loop().create_task(hand_on())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _quietly(self, request: _Message) -> None:
        with suppress(OSError, EOFError, ValueError):
            await self._handed_on(request)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", urlsplit(self.target).port, limit=2**24)

    async def _stall(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self.calm.wait(), seconds)

    def _corrupted(self, message: _Message) -> _Message:
        """Change one byte: of the body mostly, else of a header's value."""
        if message.body and self.random.random() < 0.8:
            return _Message(message.head, self._flipped(message.body, 0))
        first = message.head.index(b"\r\n") + 2
        end = len(message.head) - 4
        return _Message(self._flipped(message.head, min(first, end - 1), end), message.body)

    def _flipped(self, text: bytes, start: int, end: int | None = None) -> bytes:
        at = self.random.randrange(start, len(text) if end is None else end)
        if text[at] in b"\r\n":
            return text
        return text[:at] + bytes([text[at] ^ (1 << self.random.randrange(5))]) + text[at + 1 :]

    def _earlier(self, request: _Message) -> _Message:
        kept = self._kept[_kind(request)]
        return self.random.choice(kept) if kept else self._made_up()

    def _made_up(self) -> _Message:
        status = self.random.choice(_STATUSES)
        kind, body = self.random.choice(_BODIES)(self.random, status)
        lines = [f"HTTP/1.1 {status} {MADE_UP}", f"Content-Type: {kind}"]
        if 300 <= status < 400:
            lines.append(f"Location: {self.url}/elsewhere")
        if status == 401:
            lines.append('WWW-Authenticate: Basic realm="proxy"')
        return _Message("\r\n".join([*lines, "", ""]).encode(), b"" if status == 204 else body)


def _html(_: Random, status: int) -> tuple[str, bytes]:
    return "text/html", f"<html><h1>{status}</h1><p>{MADE_UP}</p></html>".encode()


def _problem(random: Random, status: int) -> tuple[str, bytes]:
    problem = {
        "type": "about:blank",
        "title": MADE_UP,
        "status": status,
        "detail": MADE_UP,
        "rule": random.choice(_RULES),
    }
    return "application/problem+json", json.dumps(problem).encode()


def _cut_problem(random: Random, status: int) -> tuple[str, bytes]:
    kind, body = _problem(random, status)
    return kind, body[: random.randrange(len(body))]


def _receipt(random: Random, _: int) -> tuple[str, bytes]:
    made_up = {
        "action_id": "00000000-0000-4000-8000-000000000000",
        "case_id": "00000000-0000-4000-8000-000000000000",
        "case_version": 1,
        "position": random.randrange(1, 500),
        "recorded_at": "2026-01-05T08:00:00Z",
        "leaf_hash": "A" * 43 + "=",
    }
    return "application/json", json.dumps(made_up).encode()


def _nothing(_: Random, __: int) -> tuple[str, bytes]:
    return "application/json", b""


def _noise(random: Random, _: int) -> tuple[str, bytes]:
    return "application/octet-stream", random.randbytes(random.randrange(300))


_BODIES: tuple[Callable[[Random, int], tuple[str, bytes]], ...] = (
    _html,
    _problem,
    _problem,
    _cut_problem,
    _receipt,
    _nothing,
    _noise,
)


def _kind(request: _Message) -> str:
    """The method and path of a request, without ids and numbers."""
    return _WITHOUT_SECRETS.sub("*", request.start)


async def _read(reader: asyncio.StreamReader, *, is_answer: bool) -> _Message | None:
    """Read a message. ``None``: the connection ended before one began."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise EOFError from error
        return None
    named = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:])
    }
    if named.get(b"transfer-encoding", b"").lower() == b"chunked":
        return _Message(head, await _chunks(reader))
    if (length := named.get(b"content-length")) is not None:
        return _Message(head, await reader.readexactly(int(length)))
    return _Message(head, await reader.read() if is_answer else b"")


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return body


@dataclass
class Proxies:
    """The proxies of a test, which a thread runs."""

    disturbance: Disturbance
    loop: asyncio.AbstractEventLoop
    made: list[DisturbingProxy] = field(default_factory=list)

    def make(self, random: Random) -> DisturbingProxy:
        """Make a proxy that listens at once."""
        proxy = DisturbingProxy(self.disturbance, random)
        self._run(proxy.listen())
        self.made.append(proxy)
        return proxy

    def disturb(self, mix: Mapping[Fault, float], seed: str) -> None:
        """Begin with faults, drawn by a seed."""
        for number, proxy in enumerate(self.made):
            proxy.random = Random(f"{seed} {number}")
            self.loop.call_soon_threadsafe(proxy.calm.clear)
        self.disturbance.mix = mix

    def heal(self) -> None:
        """Hand everything on from now on; return once nothing is under way that was held back."""
        self.disturbance.mix = {}
        for proxy in self.made:
            self.loop.call_soon_threadsafe(proxy.calm.set)
        self._run(self._until_idle())

    async def _until_idle(self) -> None:
        while not all(proxy.is_idle for proxy in self.made):
            await asyncio.sleep(0.02)

    def _run(self, work: Awaitable[T]) -> T:
        async def awaited() -> T:
            return await work

        return asyncio.run_coroutine_threadsafe(awaited(), self.loop).result(60)


@contextmanager
def proxies() -> Iterator[Proxies]:
    """Run proxies in a thread for as long as the block runs."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="proxies")
    thread.start()
    try:
        yield Proxies(Disturbance(), loop)
    finally:

        async def end() -> None:
            running = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
