"""Processes and a database whose clocks a test sets, on any machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from api.demo import forked
from api.demo.forked import Forked
from api.demo.node_process import NodeProcess

CLOCK_FILE = "TEST_CLOCK_FILE"

# Names that are not qualified are looked for here first, by what the migrations define too: the
# defaults of columns and the policies of rows.
_DATABASE_CLOCK = """
CREATE SCHEMA jumped;
CREATE TABLE jumped.clock (ahead interval NOT NULL);
INSERT INTO jumped.clock VALUES ('0');
CREATE FUNCTION jumped.now() RETURNS timestamptz LANGUAGE sql STABLE SECURITY DEFINER AS
    'SELECT pg_catalog.now() + ahead FROM jumped.clock';
CREATE FUNCTION jumped.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE SECURITY DEFINER
    AS 'SELECT pg_catalog.clock_timestamp() + ahead FROM jumped.clock';
GRANT USAGE ON SCHEMA jumped TO PUBLIC;
"""


@dataclass(frozen=True)
class FileClock:
    """A clock that is as far from the right one as a file says, in seconds."""

    path: Path

    def set(self, ahead: timedelta) -> None:
        written = self.path.with_suffix(".new")
        written.write_text(str(ahead.total_seconds()))
        written.replace(self.path)

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=float(self.path.read_text()))


@dataclass(frozen=True)
class DatabaseClock:
    """The clock of one database. Begin with :meth:`install`, before anything is in it."""

    conninfo: str

    def install(self) -> None:
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            connection.execute(_DATABASE_CLOCK)
            name = connection.info.dbname
            connection.execute(f'ALTER DATABASE "{name}" SET search_path = jumped, pg_catalog')

    def set(self, ahead: timedelta) -> None:
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            connection.execute("UPDATE jumped.clock SET ahead = %s", (ahead,))


class _Jumping(Forked):
    def __init__(
        self, words: Sequence[str], env: Mapping[str, str], *, out: Path, err: Path
    ) -> None:
        forked._FORKS.set_forkserver_preload([forked._LOADED])
        self._process = forked._FORKS.Process(
            target=_main, args=(list(words), dict(env), str(Path.cwd()), str(out), str(err))
        )
        self._process.start()


class JumpingProcess(NodeProcess):
    """A running `case-ledger serve` whose clock a file sets."""

    forked = _Jumping

    def __init__(self, env: dict[str, str], log: Path, clock: FileClock) -> None:
        super().__init__({**env, CLOCK_FILE: str(clock.path)}, log)


def _main(words: list[str], env: dict[str, str], directory: str, out: str, err: str) -> None:
    """In the new process: be the command, by the clock of the file."""
    from api.background_jobs import clock_watch
    from ledger.system import clock

    clock.now = FileClock(Path(env[CLOCK_FILE])).now
    clock_watch.SETTLED_AFTER_SECONDS = 1.0
    forked._main(words, env, directory, out, err)
