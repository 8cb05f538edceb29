"""A ledger node and three countries' nodes: processes with keys and databases of their own."""

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

import psycopg
from psycopg.conninfo import make_conninfo

from api.client import LedgerClient
from api.demo import forked
from api.demo.forked import Forked
from api.demo.machines import Machine
from api.demo.node_process import kill_postgresql
from api.keys.country_keys import country_key
from api.keys.log_keys import log_key, witness_key
from api.runtime.node_database import DATABASE
from api.runtime.settings import Settings
from ledger.application import Ledger, environment
from ledger.log.policy import Policy, TrustedWitness
from ledger.procedure.protocol import COORDINATOR, Agency
from ledger.signing import keys, signed_action
from ledger.vocabulary.registration import CountryKeyRegistered
from tests.support.agencies import PAST, Agencies
from tests.support.waiting import until

COUNTRIES = ("XK", "ME", "AL")
_ANSWERING, _WORKING = 0, 1
"""The place of each process among those that a node starts."""


class ServedNode(Machine):
    """A node whose processes can be killed one by one, and whose database can be asked."""

    _connection: psycopg.Connection[tuple[object, ...]] | None = None

    def query(self, statement: str) -> list[tuple[object, ...]]:
        """Return rows of its database. Raises ``psycopg.OperationalError`` while that is away."""
        try:
            if self._connection is None:
                self._connection = psycopg.connect(self.conninfo, autocommit=True)
            return self._connection.execute(statement.encode()).fetchall()
        except psycopg.OperationalError:
            self._connection = None
            raise

    def forget(self) -> None:
        """Close the connection to its database, which another one may replace."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def kill(self) -> None:
        """Kill all its processes, and return when none is left that holds its port."""
        parts = self.parts()
        super().kill()
        for part in parts:
            with suppress(ProcessLookupError):
                os.kill(part, signal.SIGKILL)
        until(lambda: not any(Path(f"/proc/{part}/exe").exists() for part in parts))

    def kill_answering(self) -> None:
        """Kill the process that answers requests. The node starts it again."""
        self._kill_part(_ANSWERING)

    def kill_working(self) -> None:
        """Kill the process that does the background work. The node starts it again."""
        self._kill_part(_WORKING)

    def kill_postgresql(self) -> None:
        """Kill the node's own PostgreSQL, where it has one. The node starts it again."""
        kill_postgresql(self.home)

    @property
    def has_postgresql(self) -> bool:
        """Return whether the node has a PostgreSQL of its own, and not a named database."""
        return "database_url" not in self.settings

    @property
    def conninfo(self) -> str:
        """The connection string of its database."""
        if not self.has_postgresql:
            return self.settings["database_url"]
        return make_conninfo(
            host=str(self.home / "postgresql"), dbname=DATABASE, user="postgres", connect_timeout=5
        )

    def _kill_part(self, place: int) -> None:
        parts = self.parts()
        if len(parts) > place:
            with suppress(ProcessLookupError):
                os.kill(parts[place], signal.SIGKILL)


class _Hasty(Forked):
    def __init__(
        self, words: Sequence[str], env: Mapping[str, str], *, out: Path, err: Path
    ) -> None:
        forked._FORKS.set_forkserver_preload([forked._LOADED])
        self._process = forked._FORKS.Process(
            target=_main, args=(list(words), dict(env), str(Path.cwd()), str(out), str(err))
        )
        with patch.dict(os.environ, TERM="dumb"):
            self._process.start()


class HastyNode(ServedNode):
    """A node that tries again soon: pauses of many seconds are one or two here."""

    forked = _Hasty


def _main(words: list[str], env: dict[str, str], directory: str, out: str, err: str) -> None:
    """In the new process: be the command, with short pauses."""
    from api.exchange import outbox_relay, parcel_delivery, parcel_receipt
    from api.services import append_service
    from ledger.system.backoff import Backoff
    from ledger.vault import sent_parcels

    second = timedelta(seconds=1)
    for module, name, value in (
        (outbox_relay, "_AGAIN_AFTER", 2 * second),
        (outbox_relay, "_BACKOFF", Backoff(0.1, 0.5)),
        (outbox_relay, "_LATER_SECONDS", (0.1, 0.2, 0.5)),
        (parcel_delivery, "LOOK_FOR_MISSING_SECONDS", 1.0),
        (parcel_delivery.ParcelDelivery.find_missing, "__defaults__", (2 * second,)),
        (parcel_receipt, "_AGAIN_SECONDS", 1.0),
        (append_service, "_PATIENCE_SECONDS", 1.0),
        (sent_parcels, "AGAIN_AFTER", second / 2),
        (sent_parcels, "AGAIN_AT_MOST_AFTER", 2 * second),
    ):
        patch.object(module, name, value).start()  # it must be there
    forked._main(words, env, directory, out, err)


@dataclass
class FourNodes:
    """The nodes, and the keys of all agencies."""

    agencies: Agencies
    ledger: ServedNode
    countries: Mapping[str, ServedNode]
    policy: Policy

    @property
    def machines(self) -> list[ServedNode]:
        return list(dict.fromkeys((self.ledger, *self.countries.values())))

    def home(self, agency: str) -> ServedNode:
        """The node of an agency's country."""
        return self.countries[self.agencies.protocol.agencies_by_id[agency].party]

    def client(self, agency: str, patience: float = 30) -> LedgerClient:
        """An agency's client of its own country's node."""
        return LedgerClient(
            self.home(agency).url,
            agency=agency,
            key=self.agencies.keys[agency],
            protocol=self.agencies.protocol.id,
            patience=patience,
        )

    def of_role(self, party: str, role: str) -> Agency:
        """The first agency of a country with a role."""
        found = (a for a in self.agencies.protocol.agencies if (a.party, a.role) == (party, role))
        return next(found)


Between = Mapping[str, str]
"""Other addresses under which nodes find each other, by the name of the node that is found."""


def prepare(
    directory: Path,
    agencies: Agencies,
    databases: Mapping[str, str],
    kind: type[ServedNode] = ServedNode,
) -> FourNodes:
    """Make four nodes that were not started, with the named databases; others have their own.

    The ledger node's database is begun: the protocol is adopted and every agency's key registered.
    """
    ledger = kind(directory / "ledger")
    countries = {code: kind(directory / code.lower()) for code in COUNTRIES}
    for machine in (ledger, *countries.values()):
        if machine.name in databases:
            machine.settings["database_url"] = databases[machine.name]
    witnesses: dict[str, TrustedWitness] = {}
    registered = []
    for code, machine in countries.items():
        own = Settings(data_directory=machine.home, countries=(code,))
        node = f"{code.lower()}-node"
        own.key_directory.mkdir(parents=True, exist_ok=True)
        keys.save(agencies.keys[node], own.key_directory / f"{node}.jwk")
        witnesses[code] = TrustedWitness(witness_key(own, code).verifier)
        key = CountryKeyRegistered(acted_at=PAST, key=str(country_key(own, code).public))
        coordinator = next(
            a.id for a in agencies.protocol.agencies if (a.party, a.role) == (code, COORDINATOR)
        )
        registered.append(agencies.sign(coordinator, key, None))
    with Ledger(environment(databases["ledger"])) as application:
        for signed in registered:
            application.append_to_registry(signed_action.read(signed))
    log = log_key(Settings(data_directory=ledger.home, countries=())).verifier
    return FourNodes(agencies, ledger, countries, Policy.of(log, witnesses))


def connect(nodes: FourNodes, directory: Path, between: Between) -> None:
    """Give every node its settings. ``between`` names addresses that differ from the nodes' own."""
    witnesses = {
        code: TrustedWitness(
            nodes.policy.witnesses[code].key,
            f"{between.get(machine.name, machine.url)}/witness/{code}",
        )
        for code, machine in nodes.countries.items()
    }
    nodes.policy = Policy.of(nodes.policy.logs[0], witnesses)
    policy = directory / "policy"
    policy.write_text(str(nodes.policy))
    nodes.ledger.settings |= {"countries": "[]", "policy": str(policy)}
    for code, machine in nodes.countries.items():
        machine.settings |= {
            "countries": f'["{code}"]',
            "policy": str(policy),
            "ledger_url": between.get(f"ledger for {machine.name}", nodes.ledger.url),
        }


@contextmanager
def running(nodes: FourNodes) -> Iterator[None]:
    """Run the nodes for as long as the block runs."""
    try:
        with ThreadPoolExecutor(4) as starting:
            list(starting.map(lambda machine: machine.start(), nodes.machines))
        yield
    finally:
        with ThreadPoolExecutor(4) as stopping:
            list(stopping.map(lambda machine: machine.stop(), nodes.machines))
