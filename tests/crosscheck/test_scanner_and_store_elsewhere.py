"""A real ``clamd`` of ClamAV, and an S3 server of another maker (moto), if they are installed.

They run only where ``clamd`` (Debian's ``clamav-daemon``) or ``moto_server`` (PyPI's
``moto[server]``) is on the path. The signatures of ClamAV are not needed: the test writes one for
the EICAR test file (https://www.eicar.org/download-anti-malware-testfile/).
"""

import io
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from uuid import uuid4
from zipfile import ZIP_DEFLATED, ZipFile

import httpx
import pytest

from api.runtime.clamd import ClamdScanner
from api.runtime.document_store import ObjectStoreCheck, document_chunks
from api.runtime.settings import Settings
from ledger.vault.documents.chunk_encryption import CHUNK_BYTES, DocumentPlace
from ledger.vault.documents.chunk_store import ChunkStore, ChunkStoreError
from ledger.vault.documents.scanning import MalwareError, NotScannedError
from tests.support.papers import pdf
from tests.support.waiting import until

pytestmark = pytest.mark.process
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
MOST_MEGABYTES = 4
NO_TIME = timedelta(0)


@contextmanager
def started(*words: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    if shutil.which(str(words[0])) is None:
        pytest.skip(f"needs {words[0]}")
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_clamd_of_clamav_examines_contents(tmp_path: Path) -> None:
    (database := tmp_path / "signatures").mkdir()
    body = b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE"
    (database / "test.ndb").write_text(f"Eicar-Test:0:*:{body.hex()}\n")
    (temporary := tmp_path / "streams").mkdir()
    path = tmp_path / "clamd.ctl"
    (configuration := tmp_path / "clamd.conf").write_text(
        f"DatabaseDirectory {database}\nLocalSocket {path}\nTemporaryDirectory {temporary}\n"
        f"LeaveTemporaryFiles no\nStreamMaxLength {MOST_MEGABYTES}M\nAlertExceedsMax yes\n"
        "Foreground yes\n"
    )
    scanner = ClamdScanner(f"unix:{path}", 60.0)
    packed = io.BytesIO()
    with ZipFile(packed, "w", ZIP_DEFLATED) as made:
        made.writestr("word/media/notes.txt", EICAR)
    with started("clamd", "-c", configuration):
        until(lambda: not scanner.troubles(), "clamd does not answer")
        scanner.scan([pdf(1_000_000), b"", pdf(1_000_000)])
        for infected in (EICAR, pdf(100_000) + EICAR + pdf(100_000), packed.getvalue()):
            with pytest.raises(MalwareError, match="Eicar-Test"):
                scanner.scan([infected])
        with pytest.raises(NotScannedError):
            scanner.scan(b"x" * 1_000_000 for _ in range(MOST_MEGABYTES + 2))
        assert [*temporary.iterdir()] == []
    assert [one.rule for one in scanner.troubles()] == ["scanner-away"]
    with pytest.raises(NotScannedError):
        scanner.scan([pdf(1000)])


def test_another_s3_server_keeps_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    for name, value in {
        "ACCESS_KEY_ID": "test",
        "SECRET_ACCESS_KEY": "test",
        "REGION": "us-east-1",
        "ENDPOINT": address,
        "ALLOW_HTTP": "true",
    }.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    settings = Settings(document_store="s3://documents/node")
    chunks = document_chunks(settings)("XK")
    check = ObjectStoreCheck.of(settings)
    assert check is not None
    with started("moto_server", "-H", "127.0.0.1", "-p", str(port)):
        until(lambda: httpx.get(address).status_code < 500)
        with pytest.raises(ChunkStoreError):  # the bucket is not there, which is no missing chunk
            chunks.get(None, uuid4(), 0, 10)
        assert [one.rule for one in check.troubles()] == ["document-store-away"]
        httpx.put(f"{address}/documents").raise_for_status()
        assert check.troubles() == ()
        _keep(chunks)
    with pytest.raises(ChunkStoreError):
        chunks.get(None, uuid4(), 0, 10)


def _keep(chunks: ChunkStore) -> None:
    """Store, replace, list and remove the chunks of two documents."""
    place = DocumentPlace(uuid4(), uuid4(), CHUNK_BYTES + 100)
    document, other = place.document_id, uuid4()
    sealed = bytes(range(256)) * 1024
    assert chunks.get(None, document, 0, CHUNK_BYTES) is None
    chunks.put(None, document, 0, 1000, sealed[:1000])
    chunks.put(None, document, 0, CHUNK_BYTES, sealed)
    chunks.put(None, document, 1, 50, sealed[:50])
    chunks.put(None, document, 1, 100, sealed[:100])
    chunks.put(None, other, 0, 1000, sealed[:1000])
    assert chunks.get(None, document, 0, CHUNK_BYTES) == sealed
    assert chunks.get(None, document, 1, 100) == sealed[:100]
    assert chunks.held(document) == (2, len(sealed) + 100)
    chunks.remove_pieces(place)
    assert chunks.get(None, document, 1, 50) is None
    assert chunks.get(None, document, 1, 100) == sealed[:100]
    assert chunks.remove_orphans(lambda _: {document}, NO_TIME) == [other]
    chunks.remove([document])
    assert chunks.held(document) == (0, 0)
