"""Runs the HTTP server of a node."""

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
from functools import partial
from typing import NoReturn, TextIO, cast

import structlog
import uvicorn
from fastapi import FastAPI

from api.http.http_protocol import bounded_protocol
from api.http.middleware import Contained
from api.http.request_id import RequestId
from api.node.node import Node
from api.processes.app import create_app
from api.processes.supervisor import AGAIN, EndedError, run_together
from api.processes.worker import NodeWorker
from api.runtime.settings import Settings
from api.runtime.trace_context import in_log
from ledger.system.gc_tuning import SERVING, collect_seldom
from ledger.system.polling import Polling
from ledger.vocabulary import build_models

_NICE = 10
_LOOK_SECONDS = 0.5
MAX_CONNECTIONS = 1000
"""Besides those that streams are sent on."""
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

    ``meanwhile`` is called now and then. Raises ``SystemExit``.
    """
    prepare()
    parts: dict[str, Callable[[], None]] = {}
    with ExitStack() as stack:
        if "api" in settings.roles:
            listening = stack.enter_context(listen_when_free(settings))
            parts["api"] = partial(_answer, settings, conninfo, listening)
        if "work" in settings.roles:
            parts["work"] = partial(work, settings, conninfo)
        try:
            run_together(parts, meanwhile)
        except EndedError as error:
            structlog.get_logger(__name__).error("the node stops", why=str(error))
            raise SystemExit(error.code or 1) from None


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
    with _exporting(), Node(settings, conninfo) as node:
        node.history.when_outdated = outdated.set
        with NodeWorker(node):
            while not outdated.is_set():
                # A signal that another thread is given is seen when this one wakes.
                time.sleep(_LOOK_SECONDS)
    raise SystemExit(AGAIN)


def _answer(settings: Settings, conninfo: str, listening: socket.socket) -> None:
    """Answer requests until a signal stops the process, or until the history is another."""
    app = create_app(settings, conninfo, works=False)
    running = server(app, settings)
    outdated = threading.Event()

    def end() -> None:
        outdated.set()
        running.should_exit = True

    app.state.when_outdated = end
    with _exporting():
        running.run(sockets=[listening])
    if outdated.is_set():
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
    config = uvicorn.Config(
        Contained(RequestId(app)),
        http=bounded_protocol(settings.connections_per_address),  # type: ignore[arg-type]
        ws="none",
        log_config=None,
        access_log=False,  # a path would be logged whole; see api.http.middleware
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS + settings.streams,
        timeout_graceful_shutdown=grace,
        ssl_context_factory=None if context is None else lambda *_: context,
    )
    return uvicorn.Server(config)


def _exporting() -> AbstractContextManager[bool]:
    # Of all commands these alone export; the others need not wait for its libraries.
    from api.runtime.telemetry_export import exporting

    return exporting()


def _drop(*_: object) -> dict[str, object]:
    raise structlog.DropEvent
