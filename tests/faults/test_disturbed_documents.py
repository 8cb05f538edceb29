"""The node is killed and its disk is filled while agencies upload, release and download documents.

An acknowledged document is whole, each upload goes on, and the sweep leaves no orphan: no row, no
object and no key of uploads. ``CASE_LEDGER_TEST_DOCUMENTS`` sets how many documents there are; one
disturbance comes for every eighth of them. The file system is one of the test's own, which only
root may make.
"""

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path
from random import Random

import pytest

from ledger.vocabulary.levels import FieldGroup
from tests.support.agencies import Agencies
from tests.support.document_work import (
    PATIENCE_SECONDS,
    DocumentNode,
    DocumentWork,
    check_no_orphans,
    check_whole,
)
from tests.support.object_server import ObjectServer
from tests.support.small_disk import RESERVE, Filler, small_disk, told
from tests.support.waiting import until

DOCUMENTS = int(os.environ.get("CASE_LEDGER_TEST_DOCUMENTS", "4"))
DISTURBANCES = max(2, DOCUMENTS // 8)
WORKERS = 4
SIZE_MEBIBYTES = 2000
DOCUMENT_BYTES = 200_000
"""The least size of a document; the largest has twice as many."""


@pytest.fixture
def disk(directory: Path) -> Iterator[Path]:
    with small_disk(directory, SIZE_MEBIBYTES) as mounted:
        yield mounted


def test_an_acknowledged_document_is_whole_whatever_happens_to_the_node(
    disk: Path, tmp_path: Path, agencies: Agencies
) -> None:
    with ObjectServer(disk / "objects").serving() as objects:
        node = DocumentNode(disk / "node", objects)
        node.settings |= RESERVE
        node.begin(agencies)
        work = DocumentWork(node.url, agencies, tmp_path, DOCUMENT_BYTES)
        node.start()
        try:
            with ThreadPoolExecutor(WORKERS) as pool:
                each = DOCUMENTS // WORKERS
                workers = [pool.submit(_work, work, each, number) for number in range(WORKERS)]
                _disturb(node, disk, work, workers)
                for worker in workers:
                    worker.result()
            check_whole(work)
            assert len(work.added) == WORKERS * each
            assert node.stop() == 0
        finally:
            node.kill()
        abroad = [added for added in work.added if added.group is None or added in work.released]
        check_no_orphans(node, {"XK": len(work.added), "ME": len(abroad)})
        assert node.json("verify", "vault", "XK", "--documents")["findings"] == []


def _work(work: DocumentWork, documents: int, first: int) -> None:
    """Add documents to a case, every other one by a release, and read each in both countries."""
    case_id, version = work.open_case(), 3
    for number in range(first, first + documents):
        group = FieldGroup.IDENTITY if number % 2 else None
        added = work.add(case_id, version, group)
        version += 1 if group is None else 2
        work.download(added)
        work.read_abroad(added)


def _disturb(
    node: DocumentNode, disk: Path, work: DocumentWork, workers: Sequence[Future[None]]
) -> None:
    """Disturb the node in each way in turn, as the work goes on."""
    random, filler = Random(7), Filler(disk)

    def fill_disk() -> None:
        filler.fill()
        try:
            until(lambda: told(node) == (503, "disk-low"), "told", seconds=30)
            time.sleep(random.uniform(0.2, 1.0))
        finally:
            filler.empty()

    def lose_power() -> None:
        node.kill()
        node.start()

    ways = (lose_power, fill_disk, node.kill_working, node.kill_answering, node.kill_postgresql)
    for number, disturb in enumerate(islice(cycle(ways), DISTURBANCES)):
        due = DOCUMENTS * number // DISTURBANCES

        def is_due(due: int = due) -> bool:
            for worker in workers:
                if worker.done():
                    worker.result()  # raises the error that ended it
            return len(work.begun) > due

        # A step may be refused for as long as its client is patient, and then goes on.
        until(is_due, lambda: f"stopped in the step {work.step}", seconds=2 * PATIENCE_SECONDS)
        time.sleep(random.uniform(0, 0.5))  # a random point of the work
        disturb()
