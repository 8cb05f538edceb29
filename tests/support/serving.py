"""A real server in a thread, and clients with each agency's key."""

import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI

from api.client import LedgerClient
from api.node.node import Node
from api.processes.app import create_app
from api.processes.server import base_url, listen
from api.processes.server import server as http_server
from api.processes.worker import NodeWorker
from api.runtime.settings import Settings
from ledger.system.periodic_worker import PeriodicWorker
from tests.support.agencies import Agencies
from tests.support.waiting import until


@dataclass(frozen=True)
class Server:
    """The server's address, and the keys that tests may use."""

    url: str
    agencies: Agencies
    settings: Settings
    app: FastAPI

    @property
    def node(self) -> Node:
        """The node that the server answers from."""
        node: Node = self.app.state.node
        return node

    def worker(self, name: str) -> PeriodicWorker:
        """One of the workers of the node."""
        work: NodeWorker = self.app.state.work
        return work.worker(name)

    def client(self, agency: str, **options: object) -> LedgerClient:
        return LedgerClient(
            self.url,
            agency=agency,
            key=self.agencies.keys[agency],
            protocol=self.agencies.protocol.id,
            **{"patience": 15, **options},  # type: ignore[arg-type]
        )


@contextmanager
def serving(conninfo: str, agencies: Agencies, keys: Path | None = None) -> Iterator[Server]:
    """Serve the ledger in this database for as long as the block runs.

    ``keys`` is the directory of an earlier node, of whose database this one is a copy.
    """
    with tempfile.TemporaryDirectory(prefix="case-ledger-keys-") as directory:
        if keys is not None:
            shutil.copytree(keys, directory, dirs_exist_ok=True)
        settings = Settings(data_directory=Path(directory), port=0)
        with running(settings, conninfo, agencies) as server:
            yield server


@contextmanager
def running(
    settings: Settings, conninfo: str, agencies: Agencies, *, works: bool = True
) -> Iterator[Server]:
    """A node with these settings, for as long as the block runs; it may leave its jobs undone."""
    app = create_app(settings, conninfo, works=works)
    listening = listen(settings)
    serving = http_server(app, settings, grace=2)
    thread = threading.Thread(target=serving.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        until(lambda: serving.started or not thread.is_alive(), every=0.01)
        assert serving.started, "the server did not start"
        yield Server(base_url(listening, settings), agencies, settings, app)
    finally:
        serving.should_exit = True
        thread.join()
        listening.close()
