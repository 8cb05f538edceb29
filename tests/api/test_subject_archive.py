"""The archive of a person's documents: made as it is sent, and honest on what does not open."""

import hashlib
import io
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from api.client.schemas.case_documents import DocumentSignature, ListedDocument
from api.paper.subject_access.archive import ArchiveIndex, archive
from api.paper.subject_access.wording import wording
from ledger.refusals import Ground, Refusal
from ledger.signing.country_key import SealError
from ledger.vocabulary.documents import CaseDocument

AT = datetime(2027, 3, 4, 5, 6, 7, tzinfo=UTC)
PART = bytes(256 * 1024)


def listed(content: bytes, title: str = "Report") -> ListedDocument:
    document = CaseDocument.model_validate(
        {
            "sha256": hashlib.sha256(content).hexdigest(),
            "size": len(content),
            "media_type": "application/pdf",
            "document_kind": "report",
            "title": title,
        }
    )
    action, agency = uuid4(), "xk-csw-prishtina"
    signed = DocumentSignature(action=action, agency=agency, acted_at=AT, recorded_at=AT)
    return ListedDocument(
        id=action,
        case_id=uuid4(),
        agency=agency,
        belongs_to=None,
        group=None,
        received_from=None,
        is_here=True,
        document=document,
        signatures=(signed,),
    )


def index_of(made: bytes) -> ArchiveIndex:
    with zipfile.ZipFile(io.BytesIO(made)) as file:
        return ArchiveIndex.model_validate_json(file.read("index.json"))


def test_an_archive_holds_a_part_of_one_document_at_a_time() -> None:
    parts, ahead, most = 40, 0, 0

    def content(_: ListedDocument) -> tuple[str, Iterator[bytes]]:
        def read() -> Iterator[bytes]:
            nonlocal ahead, most
            for _ in range(parts):
                ahead += len(PART)
                most = max(most, ahead)
                yield PART

        return "pdf", read()

    sent = []
    documents = [listed(PART * parts) for _ in range(3)]
    for piece in archive(uuid4(), "XK", AT, documents, {}, content, {}, wording("en")):
        ahead = max(0, ahead - len(piece))
        sent.append(piece)
    assert most <= 2 * len(PART)
    assert {one.state.value for one in index_of(b"".join(sent)).documents} == {"given"}


def test_what_does_not_open_is_named_and_hides_no_other() -> None:
    good, changed, cut, gone = (listed(PART, str(n)) for n in range(4))

    def broken() -> Iterator[bytes]:
        yield PART[:10]
        raise SealError("a chunk")

    def content(one: ListedDocument) -> tuple[str, Iterator[bytes]]:
        if one is gone:
            raise Refusal(Ground.UNKNOWN, "unknown-document", "gone")
        if one is cut:
            return "pdf", broken()
        return "pdf", iter([b"other" if one is changed else PART])

    documents = [cut, gone, changed, good]
    made = b"".join(archive(uuid4(), "XK", AT, documents, {}, content, {}, wording("en")))
    states = [one.state.value for one in index_of(made).documents]
    assert states == ["damaged", "damaged", "damaged", "given"]


@pytest.mark.parametrize("title", ["<script>alert(1)</script>", 'x" onclick="y'])
def test_a_title_is_text_in_the_index(title: str) -> None:
    document = listed(PART, title)
    made = b"".join(
        archive(
            uuid4(), "XK", AT, [document], {}, lambda _: ("pdf", iter([PART])), {}, wording("en")
        )
    )
    with zipfile.ZipFile(io.BytesIO(made)) as file:
        page = file.read("index.html").decode()
        assert all(title not in name for name in file.namelist())
    assert "<script" not in page
    assert 'onclick="y' not in page
