"""This project: its store alone, and all that happens to an action that an agency hands in."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import cached_property
from importlib import metadata

from api.runtime.schema import migrate_all
from api.services.append_service import DirectAppend
from benchmarks.peers import servers
from benchmarks.peers.eventsourcing_recorder import states
from benchmarks.peers.peer import ALONE, EIGHT, MANY, WORKLOADS, Given, Workload
from benchmarks.peers.servers import Servers
from ledger.application import Ledger, environment
from ledger.events.event_mapper import UnsealedEvent
from ledger.signing.country_key import FileCountryKey
from ledger.store.database import Database
from ledger.vault.data_keys import DataKeys
from ledger.vault.vault import Vaults
from tests.support.agencies import Agencies

_DATABASE = "bench_ledger"
_TEMPLATE = "bench_ledger_adopted"
_SPARE_CONNECTIONS = 2


class _CaseLedger:
    """A ledger that has adopted the protocol, with a key of every agency registered."""

    def __init__(self, given: Servers, agencies: Agencies) -> None:
        self._server = given.embedded
        self.server = self._server.name
        self._agencies = agencies
        self._directory = given.directory
        self._open = ExitStack()

    def available(self) -> str | None:
        return self._server.available()

    def version(self) -> str:
        return f"case-ledger {metadata.version('case-ledger')}"

    def durability(self) -> str:
        return servers.durable_settings(self._server.conninfo)

    def _begin(self, writers: int) -> str:
        """Open a ledger, and return its database's connection string."""
        conninfo = servers.create_database(self._server.conninfo, _DATABASE, self._adopted())
        self._open.callback(servers.drop_database, self._server.conninfo, _DATABASE)
        self._ledger = self._open.enter_context(
            Ledger(environment(conninfo, pool_size=writers + _SPARE_CONNECTIONS))
        )
        self._begun_at = self._ledger.head()
        return conninfo

    def _adopted(self) -> str:
        """Return the database that is copied, so that no run waits for the migrations again."""
        server = self._server.conninfo
        if not _exists(server, _TEMPLATE):
            conninfo = servers.create_database(server, _TEMPLATE)
            try:
                migrate_all(conninfo, self._agencies.protocol)
                with Ledger(environment(conninfo)) as ledger:
                    self._agencies.begin(ledger)
            except Exception:
                servers.drop_database(server, _TEMPLATE)  # half of it is no template
                raise
        return _TEMPLATE

    def read(self) -> Iterator[bytes]:
        return states(self._ledger.rows, self._begun_at)

    def close(self) -> None:
        self._open.close()


class LedgerStore(_CaseLedger):
    """The recorder by itself: gapless order, time, the tree and its frontier, unique actions."""

    name = "case ledger, store"
    about = (
        "LedgerRecorder.insert_events: one gapless order, times, Merkle tree, unique actions;"
        " signatures not checked"
    )
    workloads: Sequence[Workload] = WORKLOADS
    verifies = False

    def open(self, writers: int) -> None:
        self._begin(writers)

    def append(self, writer: int, events: Sequence[Given]) -> None:  # noqa: ARG002
        self._ledger.rows.insert_events(
            [UnsealedEvent(e.case_id, e.version, e.kind, e.content, e.action_id) for e in events]
        )


class EverythingOn(_CaseLedger):
    """An action as its agency hands it in, by the way that the API takes.

    Publication and the sharing between countries follow behind in a process of their own, on a
    real node; they are not in this.
    """

    name = "case ledger, everything on"
    about = (
        "DirectAppend.on_case: signature verified, rules decided, disclosures encrypted into"
        " the vaults of three countries, then the store"
    )
    workloads: Sequence[Workload] = (ALONE, EIGHT, MANY)
    verifies = True

    def open(self, writers: int) -> None:
        conninfo = self._begin(writers)
        directory = self._directory / "persons"
        self._open.callback(shutil.rmtree, directory, ignore_errors=True)
        database = self._open.enter_context(
            Database(conninfo, max_size=writers + _SPARE_CONNECTIONS)
        )
        vaults = Vaults(
            database,
            {p: DataKeys(directory / p.lower(), p, key) for p, key in self._country_keys.items()},
        )
        self._recording = DirectAppend(self._ledger, vaults)

    @cached_property
    def _country_keys(self) -> dict[str, FileCountryKey]:
        return {party: FileCountryKey.generate() for party in self._agencies.protocol.party_codes}

    def append(self, writer: int, events: Sequence[Given]) -> None:  # noqa: ARG002
        for event in events:
            sender = self._agencies.protocol.agencies_by_id[event.agency]
            self._recording.on_case(sender, event.sent, event.case_id, event.version - 1)


def _exists(server: str, database: str) -> bool:
    with Database(server, role="postgres") as opened, opened.connection() as connection:
        found = connection.execute("SELECT FROM pg_database WHERE datname = %s", (database,))
        return found.fetchone() is not None
