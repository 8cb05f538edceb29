"""Pages and parts of pages are hidden for good: nothing of them is left in the new file."""

import io
from collections.abc import Sequence

import pypdfium2
import pytest
from PIL import Image, ImageChops
from pydantic import TypeAdapter, ValidationError
from pypdf import PdfReader, PdfWriter
from pypdf.annotations import FreeText
from pypdf.generic import (
    ArrayObject,
    DictionaryObject,
    NameObject,
    NumberObject,
    StreamObject,
    TextStringObject,
)

from api.sandbox import process, redaction
from api.sandbox.comparison import compared
from api.sandbox.failures import Failure, FailureError
from api.sandbox.pictures import pixels
from api.sandbox.redaction import Mark, kept_pages
from ledger.vocabulary.documents import PageRanges, page_ranges
from tests.support.papers import DOCX, docx, letter
from tests.support.pictures import HEIC, drawn, encoded, exif

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


def redacted(
    content: bytes,
    leave_out: str | None = None,
    media_type: str = "application/pdf",
    marks: Sequence[Mark] = (),
) -> bytes:
    ranges = page_ranges(leave_out) if leave_out else ()
    return redaction.redacted(content, media_type, ranges, marks).content


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


SECRET = "Ana Marovic 2011"


def rendered(pdf: bytes, page: int = 1) -> Image.Image:
    shown: Image.Image = pypdfium2.PdfDocument(pdf)[page - 1].render(scale=2).to_pil()
    return shown.convert("L")


def words(pdf: bytes) -> str:
    pages = [page.get_textpage().get_text_bounded() for page in pypdfium2.PdfDocument(pdf)]
    return "".join(pages) + "".join(
        page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages
    )


def test_nothing_under_a_mark_is_left_in_bytes_text_or_pixels() -> None:
    """Two letters that differ under the mark alone give the same version, to the byte."""
    plain, other = letter(f"The child is {SECRET} of Bar"), letter("The child is nobody of Bar")
    assert SECRET in words(plain)
    name = Mark(1, 2_000, 1_000, 6_000, 400)
    before = rendered(plain).crop((240, 170, 900, 230))
    assert before.getextrema() != (0, 0)
    kept = redacted(plain, marks=[name])
    assert words(kept).strip() == ""
    for part in SECRET.split():
        assert part.encode() not in kept
    page = rendered(kept)
    width, height = page.size
    edges = (width // 5, height // 10, width * 4 // 5, height * 14 // 100)
    assert page.crop(edges).getextrema()[1] <= 8
    # What lies under the mark has no part in the new file: another text there changes no byte.
    assert redacted(other, marks=[name]) == kept
    # Above and below it, the page looks as before.
    for box in ((0, 0, width, height // 12), (0, height // 6, width, height)):
        difference = ImageChops.difference(page.crop(box), rendered(plain).crop(box))
        assert difference.getextrema()[1] < 100
    assert "Another line" in words(plain)


def test_a_file_that_would_be_too_large_is_made_with_less_detail() -> None:
    noise = Image.effect_noise((1200, 1700), 60).convert("RGB")
    content = encoded(noise, "PDF", resolution=150, quality=60)
    name = Mark(1, 2_000, 1_000, 6_000, 400)
    whole = redacted(content, marks=[name])
    smaller = redaction.redacted(content, "application/pdf", (), [name], len(whole) - 1).content
    least = redaction.redacted(content, "application/pdf", (), [name], 1).content
    assert len(least) < len(smaller) < len(whole)
    for made in (smaller, least):
        assert PdfReader(io.BytesIO(made)).pages[0].mediabox == (
            PdfReader(io.BytesIO(whole)).pages[0].mediabox
        )
        width, height = (page := rendered(made)).size
        # Pixels beside the mark reach into it by a block of the JPEG.
        box = (width // 5 + 9, height // 10 + 9, width * 4 // 5 - 9, height * 14 // 100 - 9)
        assert page.crop(box).getextrema()[1] < 10
    scan = encoded(noise, "TIFF")
    sizes = [
        PdfReader(io.BytesIO(redaction.redacted(scan, "image/tiff", (), [name], most).content))
        .pages[0].mediabox
        for most in (None, 1)
    ]  # fmt: skip
    assert sizes[0] == sizes[1]
    text = (letter("One, two"), "application/pdf")
    least = redaction.redacted(*text, (), (), 1).content
    assert compared(text, (least, "application/pdf"), (), ()).differing == []


@pytest.mark.process
def test_a_mark_hides_whole_pixels_at_each_edge_of_each_type_of_file() -> None:
    white = Image.new("RGB", (301, 403), "white")
    tiff = encoded(white, "TIFF", save_all=True, append_images=[white])
    corners = [Mark(1, 0, 0, 1, 1), Mark(1, 9_999, 9_999, 1, 1), Mark(1, 3_333, 3_333, 333, 333)]
    for content, media_type in (
        (encoded(white, "PNG"), "image/png"),
        (encoded(white, "JPEG", exif=exif(6).tobytes()), "image/jpeg"),
        (tiff, "image/tiff"),
    ):
        (page, *_) = PdfReader(io.BytesIO(redacted(content, None, media_type, corners))).pages
        image = page.images[0].image
        assert image is not None
        # A picture that lies on its side is hidden as its preview shows it.
        assert image.size == ((403, 301) if media_type == "image/jpeg" else (301, 403))
        for x, y in ((0, 0), (image.width - 1, image.height - 1)):
            assert image.convert("L").getpixel((x, y)) < 30
        hidden = image.convert("L").crop(
            (image.width // 3, image.height // 3, image.width * 11 // 30, image.height * 11 // 30)
        )
        assert hidden.getextrema()[1] < 30
        assert image.convert("L").getpixel((image.width // 2, image.height // 2)) > 240
    with process.redacted([HEIC], "image/heic", (), [(1, 0, 0, 10_000, 10_000)]) as made:
        black = b"".join(made.content)
    assert rendered(black).getextrema()[1] < 8


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_page_that_is_turned_is_hidden_where_its_preview_shows_it(turn: int) -> None:
    writer = PdfWriter(clone_from=io.BytesIO(letter(SECRET)))
    page = writer.pages[0].rotate(turn)
    page.cropbox.lower_left = (50, 60)
    writer.write(file := io.BytesIO())
    made = pixels(file.getvalue(), "application/pdf", 1)
    shown = Image.frombytes("RGB", (made.width, made.height), made.rgb).convert("L")
    ink = shown.point(lambda value: 255 * (value < 128)).getbbox()
    assert ink is not None
    middle = shown.height // 2 if turn == 180 else shown.width // 2
    # The line with the name lies apart from the other one: on one side of the picture's middle.
    box = {
        90: (middle, 0, shown.width, shown.height),
        180: (0, middle, shown.width, shown.height),
        270: (0, 0, middle, shown.height),
    }[turn]
    left, top, right, bottom = shown.crop(box).point(lambda v: 255 * (v < 128)).getbbox() or ink
    x, y = (box[0] + left) / shown.width, (box[1] + top) / shown.height
    width, height = (right - left) / shown.width, (bottom - top) / shown.height
    hidden = Mark(1, *(int(10_000 * part) for part in (x, y, width + 0.001, height + 0.001)))
    kept = redacted(file.getvalue(), marks=[hidden])
    other = PdfWriter(clone_from=io.BytesIO(letter("x")))
    other.pages[0].rotate(turn).cropbox.lower_left = (50, 60)
    other.write(file := io.BytesIO())
    assert redacted(file.getvalue(), marks=[hidden]) == kept


@pytest.mark.process
def test_a_version_is_compared_with_its_original_page_by_page() -> None:
    pages = PdfWriter()
    for text in ("One, two", "Three", "Four"):
        pages.append(io.BytesIO(letter(text)))
    pages.write(file := io.BytesIO())
    original = (file.getvalue(), "application/pdf")
    version = redacted(original[0], "3", marks=[Mark(2, 1_000, 1_000, 3_000, 400)])
    ours = (version, "application/pdf")
    assert compared(original, ours, [(3, 3)], [(2, 2)]) == (3, 2, [])
    # A mark that is not named is found, and so is a page that was left out besides.
    assert compared(original, ours, [(3, 3)], []).differing == [2]
    assert compared(original, ours, [], [(2, 2)]) == (3, 2, ())
    # So are a comma that is gone, and pages in another order.
    pages = PdfWriter()
    for text in ("One two", "Three"):
        pages.append(io.BytesIO(letter(text)))
    pages.write(file := io.BytesIO())
    assert compared(original, (file.getvalue(), "application/pdf"), [(3, 3)], []).differing == [1]
    # A scan of the same page, coded again, looks alike.
    scanned = encoded(rendered(letter("One, two")).convert("RGB"), "JPEG", quality=75)
    found = process.compared(
        (len(original[0]), [original[0]], original[1]), ([scanned], "image/jpeg"), [(2, 3)], []
    )
    assert found == (3, 1, ())


def filled_form() -> bytes:
    """A page with a form field that has the secret as its value and its appearance."""
    writer = PdfWriter(clone_from=io.BytesIO(letter("Name:")))
    look = StreamObject()
    look.set_data(f"/Tx BMC q BT /F 14 Tf 2 5 Td ({SECRET}) Tj ET Q EMC".encode())
    page = writer.pages[0]
    look.update(
        {
            NameObject("/Type"): NameObject("/XObject"),
            NameObject("/Subtype"): NameObject("/Form"),
            NameObject("/BBox"): ArrayObject(map(NumberObject, (0, 0, 200, 20))),
            NameObject("/Resources"): page["/Resources"],
        }
    )
    field = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Annot"),
            NameObject("/Subtype"): NameObject("/Widget"),
            NameObject("/FT"): NameObject("/Tx"),
            NameObject("/F"): NumberObject(4),
            NameObject("/T"): TextStringObject("name"),
            NameObject("/V"): TextStringObject(SECRET),
            NameObject("/Rect"): ArrayObject(map(NumberObject, (100, 300, 300, 320))),
            NameObject("/AP"): DictionaryObject({NameObject("/N"): writer._add_object(look)}),
        }
    )
    fields = ArrayObject([writer._add_object(field)])
    page[NameObject("/Annots")] = fields
    form = DictionaryObject({NameObject("/Fields"): fields})
    writer._root_object[NameObject("/AcroForm")] = form
    writer.write(file := io.BytesIO())
    return file.getvalue()


@pytest.mark.process
def test_what_was_filled_into_a_form_is_shown_and_can_be_hidden() -> None:
    """A preview that lacked it would show a blank form to a person who then shares the file."""
    content = filled_form()
    assert SECRET.encode() in content
    made = process.picture([content], "application/pdf", 1)
    shown = Image.frombytes("RGB", (made.width, made.height), made.rgb).convert("L")
    height = shown.height / 842
    box = (0, round(520 * height), shown.width, round(545 * height))
    assert shown.crop(box).getextrema()[0] < 60
    assert shown.crop(box).getextrema()[1] == 255
    plain = redacted(content, marks=[Mark(1, 0, 0, 100, 100)])
    assert SECRET.encode() not in plain
    assert rendered(plain).crop((0, 1040, 1100, 1090)).getextrema()[0] < 60
    hidden = redacted(content, marks=[Mark(1, 1_000, 6_100, 5_000, 400)])
    assert rendered(hidden).crop((240, 1045, 600, 1080)).getextrema()[1] < 10


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
        (encoded(drawn(), "PNG"), "1", "image/png", Failure.NOTHING_LEFT),
        (docx(), "1", DOCX, Failure.NOT_REDACTABLE),
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
