"""Runs the HTTP server of a node."""

import asyncio
import errno
import io
import logging
import os
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import NoReturn, TextIO, cast

import psycopg
import structlog
import uvicorn
from fastapi import FastAPI

from api.http.http_protocol import ConnectionsOfAddresses, SmallReads, bounded_protocol
from api.http.middleware import Contained
from api.http.request_id import RequestId
from api.http.request_metrics import shared_durations
from api.http.shared_durations import SharedDurations
from api.http.tls_acceptor import TlsAcceptor
from api.node.node import Node
from api.processes.app import create_app
from api.processes.supervisor import AGAIN, EndedError, run_together
from api.processes.worker import NodeWorker
from api.runtime.counts import SharedCounts, share
from api.runtime.settings import Settings
from api.runtime.trace_context import in_log
from ledger.store.database import DATABASE_AWAY
from ledger.system.cores import usable_cores
from ledger.system.gc_tuning import SERVING, collect_seldom
from ledger.system.polling import Polling
from ledger.vocabulary import build_models

_NICE = 10
_SWITCH_SECONDS = 0.001
_LEAST_POOL = 3
"""Connections that each pool of a request process has at least."""
_CONNECTIONS_BESIDE_POOLS = 8
"""Connections of a process for appends, shared questions and notices, besides two of each party."""
_SPARE_CONNECTIONS = 8
"""Connections that are left to operators, backups and commands."""
_LOOK_SECONDS = 0.5
MAX_CONNECTIONS = 1000
"""Besides those that streams are sent on."""
_log = structlog.get_logger(__name__)
_PORT_SECONDS = 5.0


def log_as_json() -> None:
    """Log one JSON object a line on standard error, for the operator's collector."""
    # It would write every address that is asked, a webhook's with what is secret in it.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            in_log,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", _Tolerant(sys.stderr))),
        cache_logger_on_first_use=True,
    )


class _Tolerant(io.TextIOBase):
    """Writes what it can: a line of the log that finds the disk full fails no request."""

    def __init__(self, to: TextIO) -> None:
        self._to = to

    def write(self, text: str, /) -> int:
        with suppress(OSError):
            self._to.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._to.flush()


def log_nothing() -> None:
    """Turn logging off, for commands whose output is for people."""
    structlog.configure(processors=[_drop])


def serve(
    settings: Settings, conninfo: str, meanwhile: Callable[[], None] = lambda: None
) -> NoReturn:
    """Run a node until a signal stops it: a process for each role that the settings give it.

    The role ``api`` has as many request processes as :func:`plan_processes` says. ``meanwhile`` is
    called now and then. Raises ``SystemExit``.
    """
    prepare()
    parts: dict[str, Callable[[], None]] = {}
    with ExitStack() as stack:
        if "api" in settings.roles:
            listening = stack.enter_context(listen_when_free(settings))
            plan = plan_processes(settings, conninfo)
            _log.info("request processes", **asdict(plan))
            parts |= _answering(settings, conninfo, listening, plan)
        if "work" in settings.roles:
            parts["work"] = partial(work, settings, conninfo)
        try:
            run_together(parts, meanwhile)
        except EndedError as error:
            _log.error("the node stops", why=str(error))
            raise SystemExit(error.code or 1) from None


def _answering(
    settings: Settings, conninfo: str, listening: socket.socket, plan: "ProcessPlan"
) -> dict[str, Callable[[], None]]:
    """Return the request processes by name.

    They accept connections from one socket, so that an idle process takes the next connection.
    """
    settings = settings.model_copy(update={"pool_size": plan.pool_size})
    if plan.processes == 1:
        return {"api": partial(_answer, settings, conninfo, listening)}
    counts, durations = SharedCounts(plan.processes), shared_durations(plan.processes)

    def answer(place: int) -> None:
        counts.begin(place)
        share(counts, plan.processes)
        durations.begin(place)
        _answer(settings, conninfo, listening, durations)

    return {f"api-{place + 1}": partial(answer, place) for place in range(plan.processes)}


def prepare() -> None:
    """Load all that serving needs, before processes are forked that share it."""
    build_models()
    collect_seldom(SERVING)


def work(settings: Settings, conninfo: str) -> None:
    """Run the node's background jobs until a signal stops them.

    Requests have priority.
    """
    os.nice(_NICE)
    outdated = threading.Event()
    try:
        with _exporting(), Node(settings, conninfo) as node:
            node.history.when_outdated = outdated.set
            with NodeWorker(node):
                while not outdated.is_set():
                    # A signal that another thread is given is seen when this one wakes.
                    time.sleep(_LOOK_SECONDS)
    except DATABASE_AWAY:
        pass  # it was there when the node began, so it comes back: the other processes wait for it
    raise SystemExit(AGAIN)


@dataclass(frozen=True, slots=True)
class ProcessPlan:
    """The number of request processes, with the reason for it."""

    processes: int
    pool_size: int
    """Connections of each pool of a request process."""
    cores: int
    max_connections: int
    """Connections that the database takes."""


def plan_processes(settings: Settings, conninfo: str) -> ProcessPlan:
    """Return how many request processes to run: one for each core unless the settings say.

    Without a setting they are fewer if the database does not take the connections of so many.
    """
    with psycopg.connect(conninfo, autocommit=True) as connection:
        found = connection.execute("SHOW max_connections").fetchone()
    most, cores = int(found[0]) if found else 0, usable_cores()
    fixed = _CONNECTIONS_BESIDE_POOLS + 2 * len(settings.load_protocol().every_party_code)
    each = 2 * _LEAST_POOL + fixed
    room = (most - _SPARE_CONNECTIONS - 2 * settings.pool_size - fixed) // each
    processes = settings.processes or max(1, min(cores, room))
    pool = settings.pool_size if processes == 1 else (room * each // processes - fixed) // 2
    pool = max(_LEAST_POOL, min(settings.pool_size, pool))
    return ProcessPlan(processes, pool, cores, most)


def give_way_soon() -> None:
    """Let a thread that waits for the interpreter have it after one millisecond, not after five.

    Appends run in threads beside the event loop. At half of saturation the loop waited several
    times for each answer, so that the slowest hundredth took twice as long.
    """
    sys.setswitchinterval(_SWITCH_SECONDS)


def _answer(
    settings: Settings,
    conninfo: str,
    listening: socket.socket,
    durations: SharedDurations | None = None,
) -> None:
    """Answer requests until a signal stops the process, or until the history is another.

    Ask to be started again where the database went away while the process began.
    """
    give_way_soon()
    app = create_app(settings, conninfo, works=False, durations=durations)
    running = server(app, settings)
    outdated = threading.Event()

    def end() -> None:
        outdated.set()
        running.should_exit = True

    app.state.when_outdated = end
    try:
        with _exporting():
            running.run(sockets=[listening])
    except SystemExit:  # it did not start
        if not app.state.database_went:
            raise
    if outdated.is_set() or app.state.database_went:
        raise SystemExit(AGAIN)


def run(app: FastAPI, settings: Settings) -> None:
    """Serve any application in this process, until a signal stops it."""
    prepare()
    with _exporting():
        server(app, settings).run(sockets=[listen(settings)])


@contextmanager
def serving(
    settings: Settings,
    conninfo: str,
    extend: Callable[[FastAPI], None] | None = None,
    *,
    bound: socket.socket | None = None,
    grace: int = 5,
) -> Iterator[str]:
    """Serve in a thread for as long as the block runs, and give the base URL.

    ``extend`` may add routes to the application that no productive node has. ``bound`` is a socket
    that stays open after the block, so that requests wait in its queue for the next server.
    ``grace`` is how many seconds open requests have at the end.
    """
    listening = listen(settings) if bound is None else bound.dup()
    app = create_app(settings, conninfo)
    if extend is not None:
        extend(app)
    running = server(app, settings, grace=grace)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        while not running.started:
            if not thread.is_alive():
                raise RuntimeError("the server did not start")
            threading.Event().wait(0.02)
        yield base_url(listening, settings)
    finally:
        running.should_exit = True
        thread.join()
        listening.close()


def listen(settings: Settings) -> socket.socket:
    """Return a bound socket.

    Raises ``OSError`` if the address is taken.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError:
        listening.close()
        raise
    return listening


def listen_when_free(settings: Settings, seconds: float = _PORT_SECONDS) -> socket.socket:
    """Return a bound socket, as soon as the address is free.

    The processes of a node that was killed hold its address for a moment more. Raises ``OSError``
    if the address is taken still after so many seconds.
    """
    polling = Polling(shortest=0.05)
    while True:
        try:
            return listen(settings)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            if polling.waited >= seconds:
                said = (
                    f"another program listens at {settings.host} on port {settings.port}: end it,"
                    " or name another by --port or CASE_LEDGER_PORT"
                )
                raise OSError(error.errno, said) from None
        polling.pause()


def base_url(listening: socket.socket, settings: Settings) -> str:
    host, port = listening.getsockname()[:2]
    scheme = "http" if settings.tls_certificate is None else "https"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Return the TLS configuration, or ``None`` if the settings name no certificate.

    With root certificates of clients, a client without a certificate of theirs is refused. Raises
    ``ValueError`` or ``OSError`` if the certificates cannot be served.
    """
    certificate, key, roots = (
        settings.tls_certificate, settings.tls_key, settings.tls_client_roots,
    )  # fmt: skip
    if certificate is None and key is None and roots is None:
        return None
    if certificate is None or key is None:
        raise ValueError("CASE_LEDGER_TLS_CERTIFICATE and CASE_LEDGER_TLS_KEY go together")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Without a password of some kind, an encrypted key would be asked for at the terminal.
    context.load_cert_chain(certificate, key, password="")
    if roots is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(roots)
    return context


def server(app: FastAPI, settings: Settings, *, grace: int = 5) -> uvicorn.Server:
    """Return the HTTP server.

    Raises as :func:`tls_context`.
    """
    context = tls_context(settings)
    connections = ConnectionsOfAddresses(settings.connections_per_address)
    protocol = bounded_protocol(connections)
    config = uvicorn.Config(
        Contained(RequestId(app)),
        http=protocol,  # type: ignore[arg-type]
        ws="none",
        log_config=None,
        access_log=False,  # a path would be logged whole; see api.http.middleware
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS + settings.streams,
        timeout_graceful_shutdown=grace,
    )
    if context is None:
        return uvicorn.Server(config)
    return _TlsServer(config, context, connections, protocol)


class _TlsServer(uvicorn.Server):
    """A server that counts connections before their TLS handshake."""

    def __init__(
        self,
        config: uvicorn.Config,
        context: ssl.SSLContext,
        connections: ConnectionsOfAddresses,
        protocol: type[SmallReads],
    ) -> None:
        super().__init__(config)
        self._context = context
        self._connections = connections
        self._protocol = protocol

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then accept connections at these sockets."""
        await super().startup(sockets=[])  # none at which uvicorn itself listens
        make = partial(
            self._protocol,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        for listening in sockets or []:
            accepting = TlsAcceptor(listening, self._context, self._connections, make)
            self.servers.append(cast("asyncio.Server", accepting))


def _exporting() -> AbstractContextManager[bool]:
    # Of all commands these alone export; the others need not wait for its libraries.
    from api.runtime.telemetry_export import exporting

    return exporting()


def _drop(*_: object) -> dict[str, object]:
    raise structlog.DropEvent
