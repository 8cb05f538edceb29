"""Disasters of four nodes: older copies of databases and keys, and takeovers.

Everything that an operator does here is a command of ``docs/operations.md``.
"""

import shutil
import subprocess
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import httpx
import psycopg

from ledger.log.note import VerifierKey
from ledger.log.policy import Policy
from ledger.procedure.named_checkpoint import named_by
from ledger.procedure.protocol import COORDINATOR
from ledger.vocabulary.registration import LogPolicyAdopted
from tests.support.databases import name_of, new_database, put_back
from tests.support.disturbing_proxy import DisturbingProxy
from tests.support.four_nodes import COUNTRIES, FourNodes, ServedNode
from tests.support.two_nodes import troubles
from tests.support.waiting import until

WHY = ("--by", "A. Operator", "--why", "a round of a test")
WAYS = ("database", "keys", "both", "whole")
"""An older database, older data keys, both, or both with all other keys and the history mark."""


@dataclass
class OlderCopy:
    """A copy of a node's database and keys, which is put back later."""

    server: str
    machine: ServedNode
    party: str | None
    """``None`` for the ledger node, whose database alone is put back."""
    way: str
    directory: Path
    stack: ExitStack = field(default_factory=ExitStack)
    database: str = ""
    expected: str | None = None
    """The trouble that the older copy must show."""

    def __str__(self) -> str:
        return f"an older copy ({self.way}) of {self.machine.name}"

    def take(self) -> None:
        """Stop the node, copy what will be put back, and start it again."""
        self.machine.stop()
        self.machine.forget()
        if self._has_database:
            if self.machine.has_postgresql:
                _copy(self.machine.home / "postgresql", self.directory / "postgresql")
            else:
                template = name_of(self.machine.conninfo)
                made = self.stack.enter_context(new_database(self.server, template))
                self.database = name_of(made)
        _copy(self._keys, self.directory / "keys")
        self.machine.start()

    def put_back(self) -> None:
        """Stop the node, put the copy in the place of what there is, and start the node."""
        self.machine.stop()
        if self.way == "keys" and _content(self._keys) != _content(self.directory / "keys"):
            self.expected = "vault-keys-missing"
        if self._has_database:
            if self.machine.has_postgresql:
                _copy(self.directory / "postgresql", self.machine.home / "postgresql")
            else:
                put_back(self.server, self.machine.conninfo, self.database)
            self.expected = "history-changed" if self.way != "whole" else None
        if self.way != "database":
            _copy(self.directory / "keys", self._keys)
        self.machine.forget()
        self.machine.start()
        self.stack.close()

    def decide(self, others: Iterable[ServedNode]) -> None:
        """Do what the node's trouble asks of its operator."""
        if self.expected is None:
            return
        until(lambda: self.expected in troubles(self.machine), lambda: f"{self}: {self.expected}")
        if "ledger_url" not in self.machine.settings:
            self.machine.run("node", "complete", *self._sources(others))
        self.machine.run("node", "accept-history", *WHY)
        # Without --from the command only counts. The worker removes the rows that no longer open.
        until(lambda: self.machine.json("node", "restore-keys")["missing"] == 0, "rows removed")

    def _sources(self, others: Iterable[ServedNode]) -> list[str]:
        """Addresses of other nodes; a ledger node of no country has no key for these."""
        if self.party is not None:
            return [other.url for other in others]
        made = []
        for other in others:
            made.append(str(self.directory / f"export of {other.name}"))
            other.run("log", "export", "--signed", made[-1])
        return made

    def missing(self) -> list[dict[str, Any]]:
        """Return the fields that the node's command names as missing."""
        if self.party is None:
            return []
        (vault,) = self.machine.json("node", "missing", self.party)
        found: list[dict[str, Any]] = vault["missing"]
        return found

    @property
    def _has_database(self) -> bool:
        return self.way != "keys"

    @property
    def _keys(self) -> Path:
        if self.way == "whole" or self.party is None:
            return self.machine.keys
        return self.machine.keys / "persons" / self.party.lower()


def older_copy(nodes: FourNodes, server: str, random: Random, directory: Path) -> OlderCopy:
    """Choose which node is put back, and in which way."""
    parties: dict[str | None, ServedNode] = dict(nodes.countries)
    if nodes.ledger not in nodes.countries.values():
        parties[None] = nodes.ledger
    party = random.choice(list(parties))
    way = random.choice(WAYS) if parties[party] is not nodes.ledger else "database"
    return OlderCopy(server, parties[party], party, way, directory)


@dataclass
class Takeover:
    """A country's node takes the ledger over. Others may have a tail by then."""

    nodes: FourNodes
    proxies: dict[str, DisturbingProxy]
    heir: str
    """The country whose node takes the ledger over."""
    directory: Path
    lost: ServedNode | None = None
    """The ledger node before."""

    def __str__(self) -> str:
        return f"a takeover by {self.heir}"

    @property
    def others(self) -> list[str]:
        return [party for party in COUNTRIES if party != self.heir]

    def cut_off(self) -> str:
        """Stop the heir's node. Returns the checkpoint that it published last."""
        with self.nodes.client(self._coordinator(self.heir)) as client:
            note = client.checkpoint()
        self._heir.stop()
        return note

    def decide(self, note: str) -> int:
        """Lose the ledger node, and let the heir take over. Returns how many events it had."""
        lost = self.lost = self.nodes.ledger
        lost.kill()
        is_again = any(self._heir.keys.glob("taken-over"))
        key = VerifierKey.parse(self._heir.run("log", "new-key" if is_again else "key"))
        (self._heir.keys / "taken-over").touch()
        policy = Policy.of(key, self.nodes.policy.witnesses)
        vote = LogPolicyAdopted(
            acted_at=datetime.now(UTC), policy=str(policy), checkpoint=named_by(note)
        )
        files = []
        for party in COUNTRIES:
            coordinator = self._coordinator(party)
            file = self.directory / f"{coordinator}.decision"
            file.write_text(f"{self.nodes.agencies.sign(coordinator, vote, None)}\n", "ascii")
            files.append(str(file))
        taken = self._heir.json("node", "take-over", *files)
        had = int(taken["decision"]) - len(files)
        del self._heir.settings["ledger_url"]
        self.nodes.ledger = self._heir
        for party, machine in self.nodes.countries.items():
            self.proxies[f"ledger for {machine.name}"].target = self._heir.url
            if machine is lost:
                machine.settings["ledger_url"] = self.proxies[f"ledger for {party.lower()}"].url
        self._heir.start()
        return had

    def rejoin(self, had: int) -> None:
        """Bring the others and the lost node back: those with a tail by the operator's command."""
        for party in self.others:
            machine = self.nodes.countries[party]
            if machine is self.lost:
                machine.start()
            stands = until(
                lambda m=machine: self._standing(m, had),  # type: ignore[misc]
                lambda m=machine: (m.name, m.ready()),
                while_raises=(httpx.TransportError, psycopg.OperationalError),
            )
            if stands == "diverged":
                machine.stop()
                machine.run("node", "rejoin", *WHY)
                machine.start()

    def _standing(self, machine: ServedNode, had: int) -> str | None:
        """Return whether a node has the heir's next event, or reports that it diverged."""
        event = f"SELECT leaf_hash FROM ledger.events WHERE notification_id = {had + 1}"
        if machine.query(event) == self._heir.query(event):
            return "follows"
        return "diverged" if "log-diverged" in troubles(machine) else None

    @property
    def _heir(self) -> ServedNode:
        return self.nodes.countries[self.heir]

    def _coordinator(self, party: str) -> str:
        return self.nodes.of_role(party, COORDINATOR).id


def _copy(source: Path, target: Path) -> None:
    """Copy a directory in the place of another one. PostgreSQL asks for its owner and mode."""
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.exists():
        subprocess.run(["cp", "-a", str(source), str(target)], check=True)


def _content(directory: Path) -> dict[str, bytes]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}
