"""Runs the HTTP server of a node."""

import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import structlog
import uvicorn
from fastapi import FastAPI

from api.app import create_app
from api.connections import BoundedProtocol
from api.middleware import Contained
from api.settings import Settings

MAX_CONNECTIONS = 1000


def log_as_json() -> None:
    """One JSON object a line on standard error, for the operator's collector."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def log_nothing() -> None:
    """For commands whose output is for people."""
    structlog.configure(processors=[_drop])


def leave_when_told() -> None:
    """Make SIGTERM and SIGINT an ordinary exit, so that what was opened is closed.

    The HTTP server finishes its requests first, then hands the signal on to this.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)


def serve(settings: Settings, conninfo: str) -> None:
    """Serve until the process is told to stop."""
    run(create_app(settings, conninfo), settings)


def run(app: FastAPI, settings: Settings) -> None:
    """Serve any application, as :func:`serve` does a node's."""
    server(app).run(sockets=[listen(settings)])


@contextmanager
def serving(settings: Settings, conninfo: str) -> Iterator[str]:
    """Serve in a thread for as long as the block runs. Gives the base URL."""
    listening = listen(settings)
    running = server(create_app(settings, conninfo))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        while not running.started:
            if not thread.is_alive():
                raise RuntimeError("the server did not start")
            threading.Event().wait(0.02)
        yield base_url(listening)
    finally:
        running.should_exit = True
        thread.join()
        listening.close()


def listen(settings: Settings) -> socket.socket:
    """A bound socket. Raises ``OSError`` where the address is taken."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError:
        listening.close()
        raise
    return listening


def base_url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def server(app: FastAPI, *, graceful_seconds: int = 5) -> uvicorn.Server:
    """The HTTP server of an application, as every node runs it."""
    config = uvicorn.Config(
        Contained(app),
        http=BoundedProtocol,
        ws="none",
        log_config=None,
        access_log=False,  # a path would be logged whole; see api.middleware
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=graceful_seconds,
    )
    return uvicorn.Server(config)


def _leave(*_: object) -> NoReturn:
    raise SystemExit(0)


def _drop(*_: object) -> dict[str, object]:
    raise structlog.DropEvent
