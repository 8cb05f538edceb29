"""A copy of a document says on each page who got it, and covers nothing of the page."""

import io
from datetime import UTC, datetime
from uuid import UUID

import pypdfium2
import pytest
from PIL import Image
from pypdf import PdfReader, PdfWriter
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

from api.sandbox.failures import Failure, FailureError
from api.sandbox.marking import marked
from api.services.document_marks import _drawn, mark
from ledger.procedure.protocol import Operation
from ledger.procedure.readings import Asked, Reading
from ledger.vocabulary.picklists import Purpose
from tests.support.pictures import drawn, encoded, photographs

STRIP = Image.new("RGB", (800, 80), (10, 10, 10))
TEXT = "ZqTextOfThePage"


def page_file(rotation: int) -> bytes:
    """A PDF of a white page with a text, whose content leaves the graphics state changed."""
    writer = PdfWriter()
    page = writer.add_blank_page(400, 300)
    font = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/Type1"),
            NameObject("/BaseFont"): NameObject("/Helvetica"),
        }
    )
    fonts = DictionaryObject({NameObject("/F1"): font})
    page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
    content = DecodedStreamObject()
    content.set_data(f"q 0.5 0 0 0.5 30 30 cm BT /F1 24 Tf 40 40 Td ({TEXT}) Tj ET".encode())
    page[NameObject("/Contents")] = writer._add_object(content)
    page.rotate(rotation)
    file = io.BytesIO()
    writer.write(file)
    return file.getvalue()


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_the_strip_is_below_each_page_as_a_reader_sees_it(rotation: int) -> None:
    copy = marked(page_file(rotation), "application/pdf", STRIP)
    assert copy.media_type == "application/pdf"
    shown = pypdfium2.PdfDocument(copy.content)[0].render(scale=1).to_pil().convert("L")
    before = pypdfium2.PdfDocument(page_file(rotation))[0].render(scale=1).to_pil().convert("L")
    strip = round(before.width / 10)
    assert (shown.width, shown.height) == (before.width, before.height + strip)
    below = shown.crop((0, before.height + 2, shown.width, shown.height - 2))
    assert below.getextrema()[1] < 60
    # The page itself is as it was, and a reader still finds its text.
    page = shown.crop((0, 0, before.width, before.height - 2))
    same = before.crop((0, 0, before.width, before.height - 2))
    assert page.tobytes() == same.tobytes()
    assert TEXT in PdfReader(io.BytesIO(copy.content)).pages[0].extract_text()


def test_every_page_and_every_type_of_picture_is_marked() -> None:
    pages = encoded(drawn(300, 400), "PDF", save_all=True, append_images=[drawn(300, 400)])
    reader = PdfReader(io.BytesIO(marked(pages, "application/pdf", STRIP).content))
    assert [page.mediabox.height for page in reader.pages] == [430, 430]
    for media_type in ("image/jpeg", "image/png"):
        copy = marked(photographs()[media_type], media_type, STRIP)
        image = Image.open(io.BytesIO(copy.content))
        assert (copy.media_type, image.size) == (media_type, (600, 48 + 60))
        assert max(image.convert("L").crop((0, 52, 600, 104)).getextrema()) < 60
        assert dict(image.getexif()) == {}
    scan = encoded(drawn(900, 700), "TIFF", save_all=True, append_images=[drawn(900, 700)])
    copy = marked(scan, "image/tiff", STRIP)
    assert (copy.media_type, len(PdfReader(io.BytesIO(copy.content)).pages)) == (
        "application/pdf",
        2,
    )
    for content, media_type, failure in (
        (b"PK", "application/vnd.oasis.opendocument.text", Failure.NOT_MARKABLE),
        (b"%PDF-1.7 cut", "application/pdf", Failure.DAMAGED),
    ):
        with pytest.raises(FailureError) as failed:
            marked(content, media_type, STRIP)
        assert failed.value.failure is failure


def test_a_mark_says_who_when_for_what_and_of_which_case() -> None:
    case, action = UUID(int=5), UUID(int=7)
    asked = Asked(
        agency="xk-csw-prishtina",
        role="social_services",
        person="p-1234567890abcdef",
        case_id=case,
        operation=Operation.READ,
        groups=(),
        purpose=Purpose.PROTECTION,
    )
    at = datetime(2027, 3, 4, 5, 6, tzinfo=UTC)
    lines = mark(Reading(seq=17, at=at, asked=asked, granted=True), action, "a" * 64)
    text = " ".join(lines)
    for part in (
        "xk-csw-prishtina, p-1234567890abcdef", "2027-03-04 05:06 UTC", "purpose: protection",
        "entry 17", str(case), str(action), "a" * 64,
    ):  # fmt: skip
        assert part in text
    width, pixels = _drawn(lines)
    strip = Image.frombytes("L", (width, len(pixels) // width), pixels)
    inked = strip.point(lambda value: 255 if value < 128 else 0).getbbox()
    assert inked is not None
    # Each line is drawn whole: none runs over the edge.
    text_box = strip.crop((0, 6, width, strip.height)).point(lambda v: 255 if v < 128 else 0)
    box = text_box.getbbox()
    assert box is not None
    assert box[2] < width - 5
