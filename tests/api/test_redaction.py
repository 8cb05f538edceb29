"""Pages are left out of a document for good: nothing of them is left in the new file."""

import io

import pytest
from PIL import Image, ImageChops
from pydantic import TypeAdapter, ValidationError
from pypdf import PdfReader, PdfWriter
from pypdf.annotations import FreeText

from api.sandbox.failures import Failure, FailureError
from api.sandbox.redaction import kept_pages, without_pages
from ledger.vocabulary.documents import PageRanges, page_ranges
from tests.support.pictures import drawn, encoded, exif

HIDDEN = "zqHiddenElsewhere"


def secretive(pages: int) -> bytes:
    """A PDF whose pages have colours of their own, with text about and behind them."""
    colours = [(40 * n, 255 - 40 * n, 90) for n in range(pages)]
    first, *others = (Image.new("RGB", (300, 400), colour) for colour in colours)
    plain = encoded(first, "PDF", save_all=True, append_images=others, title=HIDDEN)
    writer = PdfWriter(clone_from=io.BytesIO(plain))
    writer.add_metadata({"/Author": HIDDEN, "/Subject": HIDDEN})
    writer.add_attachment("attached.txt", HIDDEN.encode())
    writer.add_outline_item(title=HIDDEN, page_number=1)
    for page in range(pages):
        writer.add_annotation(page, FreeText(text=HIDDEN, rect=(10, 10, 90, 30)))
    file = io.BytesIO()
    writer.write(file)
    assert HIDDEN in file.getvalue().decode("latin-1")
    return file.getvalue()


def redacted(content: bytes, leave_out: str, media_type: str = "application/pdf") -> bytes:
    return without_pages(content, media_type, page_ranges(leave_out))


def colours_of(pdf: bytes) -> list[tuple[int, ...]]:
    """Return the colour in the middle of each page."""
    pages = PdfReader(io.BytesIO(pdf)).pages
    images = [page.images[0].image for page in pages]
    return [image.convert("RGB").getpixel((image.width // 2, 10)) for image in images if image]


def test_pages_are_left_out_with_all_that_is_behind_them() -> None:
    content = secretive(5)
    kept = redacted(content, "2,4-5")
    reader = PdfReader(io.BytesIO(kept))
    assert len(reader.pages) == 2
    for found, asked in zip(colours_of(kept), [(0, 255, 90), (80, 175, 90)], strict=True):
        assert all(abs(a - b) < 8 for a, b in zip(found, asked, strict=True))
    # Nothing but pages with one picture each is in the file.
    assert HIDDEN.encode() not in kept
    assert (reader.metadata, reader.outline, dict(reader.attachments)) == (None, [], {})
    assert set(reader.trailer["/Root"]) == {"/Type", "/Pages"}
    for page in reader.pages:
        assert set(page) == {"/Type", "/Parent", "/MediaBox", "/Contents", "/Resources"}
        assert page.extract_text() == ""
        assert (page.mediabox.width, page.mediabox.height) == (300, 400)
    objects = [reader.get_object(n + 1) for n in range(len(reader.xref[0]))]
    assert len(objects) == 2 + 3 * 2
    # The same again gives the same bytes, and so the same document.
    assert redacted(content, "2,4-5") == kept


def test_frames_are_left_out_of_a_scan_of_several_pages() -> None:
    frames = [Image.new("RGB", (300, 400), colour) for colour in ("red", "green", "blue")]
    scan = encoded(
        frames[0], "TIFF", save_all=True, append_images=frames[1:], exif=exif().tobytes()
    )
    kept = redacted(scan, "2", "image/tiff")
    assert [max(range(3), key=colour.__getitem__) for colour in colours_of(kept)] == [0, 2]
    grey = encoded(Image.new("L", (200, 100), 90), "TIFF", save_all=True, append_images=[drawn()])
    assert b"/DeviceGray" in redacted(grey, "2", "image/tiff")


def test_a_page_that_stays_looks_as_before() -> None:
    content = encoded(drawn(300, 400), "PDF", save_all=True, append_images=[drawn(300, 400)])
    (page,) = PdfReader(io.BytesIO(redacted(content, "1"))).pages
    image = page.images[0].image
    assert image is not None
    small = image.convert("RGB").resize((30, 40))
    difference = ImageChops.difference(small, drawn(30, 40))
    assert max(high for _, high in difference.crop((0, 0, 12, 18)).getextrema()) < 25


@pytest.mark.parametrize(
    ("content", "leave_out", "media_type", "failure"),
    [
        (encoded(drawn(), "PDF"), "1", "application/pdf", Failure.NOTHING_LEFT),
        (encoded(drawn(), "PDF"), "2", "application/pdf", Failure.NO_SUCH_PAGE),
        (b"%PDF-1.7 cut", "1", "application/pdf", Failure.DAMAGED),
        (encoded(drawn(), "PNG"), "1", "image/png", Failure.NOT_REDACTABLE),
    ],
)
def test_what_cannot_be_left_out_is_said(
    content: bytes, leave_out: str, media_type: str, failure: Failure
) -> None:
    with pytest.raises(FailureError) as failed:
        redacted(content, leave_out, media_type)
    assert failed.value.failure is failure


def test_ranges_of_pages_are_in_order_and_each_once() -> None:
    ranges: TypeAdapter[str] = TypeAdapter(PageRanges)
    for good in ("1", "2,5-7", "3-3,10"):
        assert ranges.validate_python(good) == good
    for wrong in ("", "0", "2-", "7-5", "5,2", "2,2", "1-3,3", "a", "1, 2", "2,5-7\n", "1" * 9):
        with pytest.raises(ValidationError):
            ranges.validate_python(wrong)
    assert kept_pages(8, page_ranges("2,5-7")) == [1, 3, 4, 8]
