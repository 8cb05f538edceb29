"""Stores of events that are measured side by side, each behind the same small interface."""

from benchmarks.peers.bare import BareCopy, BareInsert
from benchmarks.peers.case_ledger import EverythingOn, LedgerStore
from benchmarks.peers.eventsourcing_recorder import EventsourcingRecorder
from benchmarks.peers.message_db import MessageDb
from benchmarks.peers.peer import Peer
from benchmarks.peers.same_duties import SameDuties
from benchmarks.peers.servers import Servers
from benchmarks.peers.umadb_server import UmaDb
from tests.support.agencies import Agencies


def all_peers(servers: Servers, agencies: Agencies) -> list[Peer]:
    """Every store that is compared, in the order in which they are run and shown."""
    return [
        LedgerStore(servers, agencies),
        EverythingOn(servers, agencies),
        SameDuties(servers, agencies),
        EventsourcingRecorder(servers),
        UmaDb(servers),
        MessageDb(servers),
        BareInsert(servers.embedded, "bare INSERT"),
        BareInsert(servers.installed, "bare INSERT, message-db's server"),
        BareCopy(servers),
    ]
