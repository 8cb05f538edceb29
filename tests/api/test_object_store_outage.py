"""An object store that is away or refuses: a clear answer, nothing half-written, tried again."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from api.client.schemas.case_documents import UploadState
from api.runtime.document_store import ObjectStoreCheck, document_chunks
from api.runtime.settings import Settings
from ledger.vault.documents.chunk_encryption import CHUNK_BYTES, DocumentPlace
from ledger.vault.documents.chunk_store import ChunkStoreError
from ledger.vocabulary.picklists import DocumentKind, Purpose
from tests.api.test_case_documents import opened
from tests.api.test_document_uploads import TUS, ask, begun, offset, part
from tests.support.object_server import ObjectServer
from tests.support.papers import pdf
from tests.support.serving import Server

AGENCY = "xk-dhtqnj"
AWAY = 503, "SlowDown"
NO_BUCKET = 404, "NoSuchBucket"
_NOT_ALLOWED = 403, "AccessDenied"


@pytest.fixture
def objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectServer]:
    with ObjectServer(tmp_path / "objects").serving() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def stored(
    served_once: Server, objects: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Server]:
    """The served node, whose new chunks are objects from now on."""
    settings = Settings(document_store=objects.url)
    chunks = document_chunks(settings)("XK")
    monkeypatch.setattr(served_once.node.vaults.of("XK").documents, "chunks", chunks)
    return served_once


@pytest.mark.parametrize("refused", [AWAY, NO_BUCKET, _NOT_ALLOWED])
def test_an_upload_goes_on_when_the_store_is_back(
    stored: Server, objects: ObjectServer, refused: tuple[int, str]
) -> None:
    content = pdf(CHUNK_BYTES + 5000)
    path = begun(stored, uuid4(), content)
    assert part(stored, path, 0, content[:1000]).status_code == 204
    objects.refuses["PUT"] = refused
    told = part(stored, path, 1000, content[1000:])
    assert (told.status_code, told.json()["rule"]) == (503, "document-store-away")
    assert (
        told.headers.items() >= {"retry-after": "10", "tus-resumable": TUS["Tus-Resumable"]}.items()
    )
    assert offset(stored, path) == 1000
    objects.refuses.clear()
    assert part(stored, path, 1000, content[1000:CHUNK_BYTES]).status_code == 204
    # The last chunk is stored, and the content cannot be read back.
    objects.refuses["GET"] = refused
    told = part(stored, path, CHUNK_BYTES, content[CHUNK_BYTES:])
    assert (told.status_code, told.json()["rule"]) == (503, "document-store-away")
    objects.refuses.clear()
    whole = UploadState.model_validate_json(ask(stored, "GET", path).content)
    assert (whole.is_whole, whole.size) == (True, len(content))


@pytest.mark.process
@pytest.mark.parametrize("refused", [AWAY, NO_BUCKET])
def test_a_document_is_read_when_the_store_is_back(
    stored: Server, objects: ObjectServer, tmp_path: Path, refused: tuple[int, str]
) -> None:
    case_id, _ = opened(stored)
    (file := tmp_path / "report.pdf").write_bytes(pdf(CHUNK_BYTES + 5000))
    with stored.client(AGENCY, patience=0) as client:
        receipt = client.add_document(
            case_id, 1, file, kind=DocumentKind.REPORT, title="A report", group=None
        )
        client.case(case_id, at_least=receipt.position)
        objects.refuses["GET"] = refused
        path = f"/v1/cases/{case_id}/documents/{receipt.action_id}"
        for way in ("content?copy=original&", "content?", "preview?"):
            told = ask(stored, "GET", f"{path}/{way}purpose=protection")
            assert (told.status_code, told.json()["rule"]) == (503, "document-store-away"), way
        objects.refuses.clear()
        client.download(
            case_id, receipt.action_id, to := tmp_path / "again", purpose=Purpose.PROTECTION
        )
    assert to.read_bytes() == file.read_bytes()


def test_no_chunk_counts_as_missing_while_the_bucket_is(objects: ObjectServer) -> None:
    settings = Settings(document_store=objects.url)
    chunks = document_chunks(settings)("XK")
    document, place = uuid4(), DocumentPlace(uuid4(), uuid4(), 10)
    assert chunks.get(None, document, 0, 10) is None
    assert chunks.held(document) == (0, 0)
    objects.refuses |= dict.fromkeys(("GET", "PUT", "POST", "DELETE"), NO_BUCKET)
    for asked in (
        lambda: chunks.get(None, document, 0, 10),
        lambda: chunks.put(None, document, 0, 10, b"sealed"),
        lambda: chunks.held(document),
        lambda: chunks.remove([document]),
        lambda: chunks.remove_pieces(place),
    ):
        with pytest.raises(ChunkStoreError):
            asked()


def test_the_node_tells_that_the_store_is_away(objects: ObjectServer) -> None:
    check = ObjectStoreCheck.of(Settings(document_store=objects.url))
    assert check is not None
    assert check.troubles() == ()
    assert ObjectStoreCheck.of(Settings(document_store=None)) is None
    objects.refuses["GET"] = AWAY
    check = ObjectStoreCheck(objects.url)
    assert [one.rule for one in check.troubles()] == ["document-store-away"]
    objects.refuses.clear()
    assert check.troubles() == ()
