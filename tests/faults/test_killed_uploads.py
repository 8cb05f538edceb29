"""`kill -9` of a node during an upload: it goes on, and no file has a word of it in clear.

``CASE_LEDGER_TEST_UPLOAD_KILLS`` sets how many times; ``CASE_LEDGER_TEST_UPLOADS`` how many
documents of 25 MB are uploaded at once afterwards, and then downloaded at once, while the memory of
the node is watched.
"""

import hashlib
import os
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from random import Random
from uuid import UUID, uuid4

from api.client import LedgerClient
from api.client.schemas.case_documents import UploadState
from api.demo.node_process import NodeProcess
from api.runtime.node_database import open_store
from api.runtime.schema import migrate_all
from api.runtime.settings import Settings
from ledger.application import Ledger, environment
from ledger.vocabulary.picklists import DocumentKind, Purpose
from tests.support import process
from tests.support.actions import opening
from tests.support.agencies import Agencies
from tests.support.papers import pdf
from tests.support.waiting import until

KILLS = int(os.environ.get("CASE_LEDGER_TEST_UPLOAD_KILLS", "1"))
UPLOADS = int(os.environ.get("CASE_LEDGER_TEST_UPLOADS", "0"))
AGENCY, MARKER = "xk-dhtqnj", b"zqWordsOfTheDocument"
SIZE, LARGE = 6_000_000, 25_000_000
EACH_CASE = 10
"""One agency's uploads to a case that no action has yet are half of its 500 MB at most."""
MOST_GROWTH = 100 * 2**20
PATIENCE_SECONDS = 120.0


def test_a_killed_node_goes_on_with_an_upload(
    directory: Path, tmp_path: Path, agencies: Agencies
) -> None:
    settings = Settings(data_directory=directory, database_url=None)
    with open_store(settings) as store:
        migrate_all(store.owner_conninfo, agencies.protocol)
        with Ledger(environment(store.conninfo)) as ledger:
            agencies.begin(ledger)
    node = NodeProcess(process.environment(directory), directory / "serve.log")
    random = Random(21)
    with node:
        for number in range(max(1, KILLS)):
            content = pdf(SIZE + number, MARKER)
            (file := tmp_path / f"{number}.pdf").write_bytes(content)
            uploading = _Uploading(node.url, agencies, file)
            if number < KILLS:
                at = random.randrange(0, SIZE // 2)
                until(lambda up=uploading, at=at: up.durable >= at)  # type: ignore[misc]
                node.kill()
                _nothing_in_clear(directory, content)
                node.start()
            state = uploading.result()
            assert (state.is_whole, state.size) == (True, len(content))
            assert uploading.never_went_back
            _nothing_in_clear(directory, content)
            file.unlink()
        if UPLOADS:
            _many_at_once(node, agencies, tmp_path)
        assert node.stop() == 0


def _client(url: str, agencies: Agencies) -> LedgerClient:
    return LedgerClient(
        url,
        agency=AGENCY,
        key=agencies.keys[AGENCY],
        protocol=agencies.protocol.id,
        patience=PATIENCE_SECONDS,
    )


class _Uploading(threading.Thread):
    """One client that uploads a file, and does not give up."""

    def __init__(
        self, url: str, agencies: Agencies, file: Path, case_id: UUID | None = None
    ) -> None:
        super().__init__(daemon=True)
        self.durable = 0
        self.never_went_back = True
        self._client = _client(url, agencies)
        self._file, self._case = file, case_id or uuid4()
        self._state: UploadState | None = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            with self._client as client:
                self._state = client.upload(self._case, self._file, progress=self._progress)
        except BaseException as error:
            self._error = error

    def result(self) -> UploadState:
        self.join()
        if self._error is not None:
            raise self._error
        assert self._state is not None
        return self._state

    def _progress(self, done: int, _: int) -> None:
        self.never_went_back &= done >= self.durable
        self.durable = done


def _nothing_in_clear(directory: Path, content: bytes) -> None:
    """Check all files of the node: database, its log (WAL), keys, logs."""
    digest = hashlib.sha256(content)
    sought = (MARKER, digest.digest(), digest.hexdigest().encode(), MARKER.hex().encode())
    for path in directory.rglob("*"):
        if path.is_file():
            kept = path.read_bytes()
            assert not any(one in kept for one in sought), path


def _many_at_once(node: NodeProcess, agencies: Agencies, directory: Path) -> None:
    """Upload many documents at once, and check that the node does not grow with them."""
    files = []
    for number in range(UPLOADS):
        (file := directory / f"large-{number}.pdf").write_bytes(
            pdf(1000) + secrets.token_bytes(LARGE - 1000)
        )
        files.append(file)
    cases = [uuid4() for _ in range(1 + UPLOADS // EACH_CASE)]
    with _client(node.url, agencies) as client:
        for case_id in cases:
            client.append(opening(), case_id, 0)
    with _growth(node, f"{UPLOADS} uploads"):
        uploading = [
            _Uploading(node.url, agencies, file, cases[number // EACH_CASE])
            for number, file in enumerate(files)
        ]
        assert all(one.result().is_whole for one in uploading)
    _download_at_once(node, agencies, files, cases)


def _download_at_once(
    node: NodeProcess, agencies: Agencies, files: Sequence[Path], cases: Sequence[UUID]
) -> None:
    """Add the uploads to their cases, and download all of them at once."""
    added = []
    with _client(node.url, agencies) as client:
        for number, file in enumerate(files):
            case_id, version = cases[number // EACH_CASE], 1 + number % EACH_CASE
            added.append(
                client.add_document(
                    case_id, version, file, kind=DocumentKind.REPORT, title="A report", group=None
                )
            )

    def download(number: int) -> bool:
        file = files[number]
        to, case_id = file.with_suffix(".again"), cases[number // EACH_CASE]
        with _client(node.url, agencies) as client:
            client.case(case_id, at_least=added[-1].position)
            client.download(case_id, added[number].action_id, to, purpose=Purpose.PROTECTION)
        same = _digest(to) == _digest(file)
        to.unlink()
        return same

    with _growth(node, f"{UPLOADS} downloads"), ThreadPoolExecutor(UPLOADS) as pool:
        assert all(pool.map(download, range(UPLOADS)))


def _digest(file: Path) -> bytes:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").digest()


@contextmanager
def _growth(node: NodeProcess, what: str) -> Iterator[None]:
    """Measure how far the memory of the node grows within the block, and bound it."""
    before, began = sum(map(_resident_bytes, node.parts())), time.monotonic()
    with _watched(node) as most:
        yield
    seconds = time.monotonic() - began
    print(f"{what}: {before >> 20} MiB before, {most[0] >> 20} MiB at most, in {seconds:.0f} s")
    assert most[0] - before < MOST_GROWTH


@contextmanager
def _watched(node: NodeProcess) -> Iterator[list[int]]:
    """Yield a list whose one number is the most memory of the node's processes, in bytes."""
    most, over = [0], threading.Event()

    def look() -> None:
        while not over.wait(0.1):
            most[0] = max(most[0], sum(map(_resident_bytes, node.parts())))

    watching = threading.Thread(target=look)
    watching.start()
    try:
        yield most
    finally:
        over.set()
        watching.join()


def _resident_bytes(pid: int) -> int:
    """Return the memory that a process has for itself, in bytes."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    private = (line.split() for line in rollup.splitlines() if line.startswith("Private_"))
    return sum(int(parts[1]) * 1024 for parts in private)
