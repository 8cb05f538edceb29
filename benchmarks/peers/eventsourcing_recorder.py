"""The ``eventsourcing`` library's own PostgreSQL recorder, which ours extends."""

from collections.abc import Iterator, Sequence
from importlib import metadata

from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from psycopg.conninfo import conninfo_to_dict

from benchmarks.peers import servers
from benchmarks.peers.peer import PAGE, WORKLOADS, Given, Workload
from benchmarks.peers.servers import Servers

_DATABASE = "bench_eventsourcing"


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
        at = {name: str(value) for name, value in conninfo_to_dict(conninfo).items()}
        self._datastore = PostgresDatastore(
            dbname=at["dbname"],
            host=at["host"],
            port=at.get("port", "5432"),
            user=at["user"],
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
        after = 0
        while page := self._recorder.select_notifications(after, PAGE, inclusive_of_start=False):
            for notification in page:
                yield notification.state
            after = page[-1].id

    def close(self) -> None:
        if self._datastore is not None:
            self._datastore.close()
        servers.drop_database(self._server.conninfo, _DATABASE)
