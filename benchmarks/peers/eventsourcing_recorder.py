"""The ``eventsourcing`` library's own PostgreSQL recorder, which ours extends."""

from collections.abc import Iterator, Sequence
from importlib import metadata

from eventsourcing.persistence import ApplicationRecorder, StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from psycopg.conninfo import conninfo_to_dict

from benchmarks.peers import servers
from benchmarks.peers.peer import PAGE, WORKLOADS, Given, Workload
from benchmarks.peers.servers import Servers

_DATABASE = "bench_eventsourcing"


def connection_words(conninfo: str) -> dict[str, str]:
    """Return where a database is, by the library's names for it."""
    at = {name: str(value) for name, value in conninfo_to_dict(conninfo).items()}
    return {"port": "5432"} | {
        name: at[name] for name in ("dbname", "host", "port", "user") if name in at
    }


def states(recorder: ApplicationRecorder, after: int = 0) -> Iterator[bytes]:
    """Yield the content of every event beyond ``after``, in order, a page at a time."""
    while page := recorder.select_notifications(after, PAGE, inclusive_of_start=False):
        for notification in page:
            yield notification.state
        after = page[-1].id


class EventsourcingRecorder:
    """As the library sets it up, with a pool of as many connections as there are writers."""

    name = "eventsourcing recorder"
    about = "PostgresApplicationRecorder.insert_events, its own table; version unique in a case"
    workloads: Sequence[Workload] = WORKLOADS
    verifies = False

    def __init__(self, given: Servers) -> None:
        self._server = given.embedded
        self.server = self._server.name
        self._datastore: PostgresDatastore | None = None

    def available(self) -> str | None:
        return self._server.available()

    def version(self) -> str:
        return f"eventsourcing {metadata.version('eventsourcing')}"

    def open(self, writers: int) -> None:
        conninfo = servers.create_database(self._server.conninfo, _DATABASE)
        self._datastore = PostgresDatastore(
            **connection_words(conninfo),
            password="",
            pool_size=writers,
            connect_timeout=30,
        )
        self._recorder = PostgresApplicationRecorder(self._datastore)
        self._recorder.create_table()

    def durability(self) -> str:
        return servers.durable_settings(self._server.conninfo)

    def append(self, writer: int, events: Sequence[Given]) -> None:  # noqa: ARG002
        self._recorder.insert_events(
            [StoredEvent(e.case_id, e.version, e.kind, e.content) for e in events]
        )

    def read(self) -> Iterator[bytes]:
        return states(self._recorder)

    def close(self) -> None:
        if self._datastore is not None:
            self._datastore.close()
        servers.drop_database(self._server.conninfo, _DATABASE)
