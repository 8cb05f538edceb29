"""A real server in a thread, and clients with each agency's key."""

import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from api.app import create_app
from api.client import LedgerClient
from api.settings import Settings
from tests.support.agencies import Agencies


@dataclass(frozen=True)
class Server:
    """Where the server listens, and whose keys may be used."""

    url: str
    agencies: Agencies

    def client(self, agency: str, **options: object) -> LedgerClient:
        return LedgerClient(
            self.url,
            agency=agency,
            key=self.agencies.keys[agency],
            protocol=self.agencies.protocol.id,
            patience=5,
            **options,  # type: ignore[arg-type]
        )


@contextmanager
def serving(conninfo: str, agencies: Agencies) -> Iterator[Server]:
    """Serve the ledger in this database for as long as the block runs."""
    keys = tempfile.TemporaryDirectory(prefix="case-ledger-keys-")
    app = create_app(Settings(data_directory=Path(keys.name)), conninfo)
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        yield Server(f"http://127.0.0.1:{listening.getsockname()[1]}", agencies)
    finally:
        server.should_exit = True
        thread.join()
        listening.close()
        keys.cleanup()
