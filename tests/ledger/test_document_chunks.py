"""Chunks of documents open at their place alone, and media types are told by content alone."""

import io
import secrets
import tracemalloc
import zipfile
from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.signing.country_key import SealError
from ledger.vault.documents.chunk_encryption import (
    CHUNK_BYTES,
    DocumentPlace,
    NamedBy,
    new_key,
    open_chunk,
    open_metadata,
    seal_chunk,
    seal_metadata,
    unwrap,
    wrap,
)
from ledger.vault.documents.media_types import media_type
from ledger.vault.documents.refused_types import RefusedTypeError
from ledger.vocabulary.levels import CASE, FieldGroup, personal
from tests.support.papers import DOCX, HEIC, JPEG, ODT, PDF, PNG, TIFF, docx, odt

KEY = new_key()
SIZES = st.one_of(
    st.integers(1, 4 * CHUNK_BYTES),
    st.sampled_from([CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES]),
)


def sealed(place: DocumentPlace, number: int) -> bytes:
    return seal_chunk(KEY, bytes(place.length(number)), place, number)


@settings(max_examples=40, deadline=None)
@given(size=SIZES, data=st.data())
def test_a_chunk_opens_at_its_place_alone(size: int, data: st.DataObject) -> None:
    place = DocumentPlace(uuid4(), uuid4(), size)
    assert sum(place.length(number) for number in range(place.chunks)) == size
    number = data.draw(st.integers(0, place.chunks - 1))
    chunk = sealed(place, number)
    assert open_chunk(KEY, chunk, place, number) == bytes(place.length(number))
    elsewhere = [
        DocumentPlace(uuid4(), place.case_id, size),  # replayed in another document
        DocumentPlace(place.document_id, uuid4(), size),  # in another case
        DocumentPlace(place.document_id, place.case_id, size + 1),
        DocumentPlace(place.document_id, place.case_id, size + CHUNK_BYTES),  # the document was cut
    ]
    for other in elsewhere:
        with pytest.raises(SealError):
            open_chunk(KEY, chunk, other, number)
    for moved in {*range(place.chunks)} - {number}:
        with pytest.raises(SealError):
            open_chunk(KEY, chunk, place, moved)
    with pytest.raises(SealError):
        open_chunk(new_key(), chunk, place, number)
    cut = data.draw(st.integers(0, len(chunk) - 1))
    with pytest.raises(SealError):
        open_chunk(KEY, chunk[:cut], place, number)
    changed = bytearray(chunk)
    changed[cut] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SealError):
        open_chunk(KEY, bytes(changed), place, number)
    with pytest.raises(IndexError):
        place.length(place.chunks)


@settings(max_examples=20, deadline=None)
@given(length=st.integers(1, 999))
def test_a_piece_of_an_unfinished_chunk_is_no_whole_one(length: int) -> None:
    place = DocumentPlace(uuid4(), uuid4(), 1000)
    piece = seal_chunk(KEY, bytes(length), place, 0)
    assert open_chunk(KEY, piece, place, 0, length) == bytes(length)
    with pytest.raises(SealError):
        open_chunk(KEY, piece, place, 0)
    with pytest.raises(SealError):
        open_chunk(KEY, piece, place, 0, length + 1)
    with pytest.raises(ValueError, match="fit"):
        seal_chunk(KEY, bytes(1001), place, 0)


def test_the_same_chunk_is_never_encrypted_alike() -> None:
    place = DocumentPlace(uuid4(), uuid4(), 1000)
    assert len({sealed(place, 0)[:12] for _ in range(100)}) == 100


def test_keys_and_metadata_open_at_their_place_alone() -> None:
    place = DocumentPlace(uuid4(), uuid4(), 9)
    by = NamedBy(uuid4(), "health_document", personal(FieldGroup.HEALTH))
    other = DocumentPlace(uuid4(), place.case_id, 9)
    wrapped, metadata = wrap(KEY, b"k" * 32, place, by), seal_metadata(KEY, b"{}", place)
    assert unwrap(KEY, wrapped, place, by) == b"k" * 32
    assert open_metadata(KEY, metadata, place) == b"{}"
    attempts: list[Callable[[], bytes]] = [
        lambda: unwrap(KEY, wrapped, place, by._replace(action=uuid4())),
        lambda: unwrap(KEY, wrapped, place, by._replace(field="care_document")),
        lambda: unwrap(KEY, wrapped, place, by._replace(level=CASE)),
        lambda: unwrap(KEY, wrapped, place, by._replace(level=personal(FieldGroup.CARE))),
        lambda: unwrap(KEY, wrapped, other, by),
        lambda: unwrap(new_key(), wrapped, place, by),
        lambda: unwrap(KEY, metadata, place, by),
        lambda: open_metadata(KEY, metadata, other),
        lambda: open_metadata(KEY, wrapped, place),
    ]
    for attempt in attempts:
        with pytest.raises(SealError):
            attempt()


def told(content: bytes) -> str | None:
    """The media type of a content; ``None`` if it is refused."""
    try:
        return media_type(len(content), lambda at, length: content[at : at + length])
    except RefusedTypeError:
        return None


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (PDF, "application/pdf"),
        (PNG, "image/png"),
        (JPEG, "image/jpeg"),
        (HEIC, "image/heic"),
        (TIFF, "image/tiff"),
        (docx(), DOCX),
        (odt(), ODT),
        (b"%!PS\n%PDF-1.7", None),  # a PDF that begins later
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>", None),
        (b"<html>%PDF-1.7", None),
        (b"MZ\x90\x00", None),
        (b"GIF89a", None),
        (b"", None),
        (PDF[:4], None),
        (docx()[:-30], None),  # a ZIP that was cut
        (b"PK\x05\x06" + bytes(18), None),  # an empty ZIP
    ],
)
def test_a_media_type_is_told_by_the_content(content: bytes, expected: str | None) -> None:
    assert told(content) == expected


def test_another_office_file_is_not_accepted() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("xl/workbook.xml", "<workbook/>")
    assert told(file.getvalue()) is None
    assert told(odt(ODT + "-template")) is None


def test_long_names_in_a_zip_file_take_no_memory() -> None:
    """A file of half a megabyte could claim eleven thousand names of 64 KiB each."""
    entries = b"".join(
        b"PK\x01\x02" + secrets.token_bytes(24) + b"\xff\xff" + bytes(16) for _ in range(11_000)
    )
    content = b"PK\x03\x04" + entries + b"PK\x05\x06" + bytes(18)
    tracemalloc.start()
    try:
        assert told(content) is None
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 2_000_000


def test_a_document_has_at_least_a_chunk() -> None:
    assert DocumentPlace(UUID(int=1), UUID(int=2), 1).chunks == 1
