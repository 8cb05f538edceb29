"""`kill -9` of either country's node while a document goes from one to the other.

``CASE_LEDGER_TEST_CONTENT_KILLS`` sets how many times.
"""

import os
import resource
import signal
import time
from hashlib import sha256
from pathlib import Path
from random import Random
from unittest.mock import patch
from uuid import UUID, uuid4

import psycopg

from api.exchange import content_fetching
from ledger.signing import signed_action
from ledger.signing.country_key import FileCountryKey
from ledger.vault.documents.chunk_encryption import CHUNK_BYTES
from tests.support.actions import opening
from tests.support.agencies import Agencies
from tests.support.databases import new_database
from tests.support.leaks import tables_with
from tests.support.papers import pdf
from tests.support.three_countries import three_countries
from tests.support.vaults import reading
from tests.support.waiting import until

KILLS = int(os.environ.get("CASE_LEDGER_TEST_CONTENT_KILLS", "2"))
CHUNKS, WINDOW = min(90, 6 * max(2, KILLS)), 3
MARKER = b"zqWordsOfTheDocument"
MOST_GROWTH_KIB = 100 * 1024
PATIENCE_SECONDS = 0.5


def test_a_content_arrives_whole_though_both_nodes_are_killed(
    server: str, begun: str, agencies: Agencies, tmp_path: Path
) -> None:
    content, case_id, random = pdf(CHUNKS * CHUNK_BYTES - 100, MARKER), uuid4(), Random(21)
    with (
        new_database(server, begun) as conninfo,
        patch.object(content_fetching, "AT_MOST_CHUNKS", WINDOW),
    ):
        with three_countries(conninfo, agencies, tmp_path) as countries:
            keys = countries.keys
            countries.act("xk-dhtqnj", opening(("XK", "ME")), case_id)
            signed = countries.add_document("xk-dhtqnj", case_id, content)
            countries.share()
        # No connection and no thread of this process is open when it forks.
        nodes = {party: _Node(party, conninfo, agencies, tmp_path, keys) for party in ("XK", "ME")}
        durable, before = 0, _resident_kib()
        try:
            for number in range(KILLS):
                at = (number + 1) * CHUNKS * CHUNK_BYTES // (KILLS + 2)
                until(lambda at=at: _received(conninfo, case_id) >= at)  # type: ignore[misc]
                nodes[random.choice(("XK", "ME")) if number > 1 else ("ME", "XK")[number]].kill()
                assert _received(conninfo, case_id) >= durable
                durable = _received(conninfo, case_id)
            until(lambda: _is_confirmed(conninfo, case_id))
        finally:
            for node in nodes.values():
                node.end()
        grown = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss - before
        print(f"{len(content) >> 20} MiB: a node grew by {grown >> 10} MiB at most")
        assert grown < MOST_GROWTH_KIB
        with three_countries(conninfo, agencies, tmp_path, keys) as countries:
            vault = countries["ME"].vault
            opened = vault.document(reading(vault, case_id), signed_action.read(signed).id)
            assert opened is not None
            assert b"".join(opened.part(0, len(content) - 1)) == content
            assert countries.standing("ME").of_case(case_id).findings == ()
        marks = [MARKER.decode(), MARKER.hex(), sha256(content).hexdigest()]
        assert tables_with(conninfo, marks) == {}


class _Node:
    """One country's node as a process that does nothing but exchange. It is begun again.

    ``most_kib`` is the most memory that one of its processes had, in KiB.
    """

    def __init__(self, party: str, *world: object) -> None:
        self._party, self._world = party, world
        self.most_kib = 0
        self._pid = self._begin()

    def kill(self) -> None:
        self.end()
        self._pid = self._begin()

    def end(self) -> None:
        os.kill(self._pid, signal.SIGKILL)
        # Of this process alone: that of all children has the browsers of earlier tests.
        used = os.wait4(self._pid, 0)[2]
        self.most_kib = max(self.most_kib, used.ru_maxrss)

    def _begin(self) -> int:
        pid = os.fork()
        if pid == 0:
            try:
                _exchange(self._party, *self._world)  # type: ignore[arg-type]
            finally:
                os._exit(1)
        return pid


def _exchange(
    party: str,
    conninfo: str,
    agencies: Agencies,
    directory: Path,
    keys: dict[str, FileCountryKey],
) -> None:
    with three_countries(
        conninfo, agencies, directory, keys, content_patience=PATIENCE_SECONDS
    ) as countries:
        node = countries[party]
        while True:
            node.share()
            if not node.contents.step():
                time.sleep(0.01)


def _resident_kib() -> int:
    """Return the memory of this process, with which each node begins."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


def _received(conninfo: str, case_id: UUID) -> int:
    with psycopg.connect(conninfo) as connection:
        row = connection.execute(
            "SELECT received FROM vault_me.documents WHERE case_id = %s", (case_id,)
        ).fetchone()
    assert row is not None
    return int(row[0])


def _is_confirmed(conninfo: str, case_id: UUID) -> bool:
    with psycopg.connect(conninfo) as connection:
        row = connection.execute(
            "SELECT held_at FROM vault_xk.contents_given WHERE case_id = %s", (case_id,)
        ).fetchone()
    return row is not None and row[0] is not None
