"""`kill -9` of either country's node while a document goes from one to the other.

``CASE_LEDGER_TEST_CONTENT_KILLS`` sets how many times.
"""

import os
import signal
import struct
import time
import tracemalloc
from hashlib import sha256
from mmap import mmap
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
MOST_BYTES = 6 * 1024 * 1024
"""The most that Python allocates while it exchanges: some chunks, and never a whole content."""
PATIENCE_SECONDS = 0.5
_PEAK = struct.Struct("=q")


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
        durable = 0
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
        most = max(node.most_bytes for node in nodes.values())
        print(f"{len(content) >> 10} KiB: a node allocated {most >> 10} KiB at most")
        assert 0 < most < MOST_BYTES
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

    What its processes allocate is noted in memory that they share with this one: what the machine
    counts as resident depends on what it has moved out of the parent meanwhile.
    """

    def __init__(self, party: str, *world: object) -> None:
        self._party, self._world = party, world
        self._peaks = mmap(-1, _PEAK.size)
        self._pid = self._begin()

    def kill(self) -> None:
        self.end()
        self._pid = self._begin()

    def end(self) -> None:
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)

    @property
    def most_bytes(self) -> int:
        """The most that one of its processes allocated while it exchanged."""
        return int(_PEAK.unpack_from(self._peaks)[0])

    def _begin(self) -> int:
        pid = os.fork()
        if pid == 0:
            try:
                _exchange(self._peaks, self._party, *self._world)  # type: ignore[arg-type]
            finally:
                os._exit(1)
        return pid


def _exchange(
    peaks: mmap,
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
        tracemalloc.start()
        while True:
            node.share()
            is_idle = not node.contents.step()
            most = max(tracemalloc.get_traced_memory()[1], _PEAK.unpack_from(peaks)[0])
            _PEAK.pack_into(peaks, 0, most)
            if is_idle:
                time.sleep(0.01)


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
