"""Hides pages and parts of pages of a document: the rest becomes pictures in a new PDF file.

A page that is left out is not in the new file. Of a page with marks, the pixels under each mark are
black before the picture is coded. Nothing else of the document is in the new file: what was hidden
on a page, text behind a picture, links, forms, attachments, thumbnails, metadata. A copy of the
document's objects could not promise that, since pages share objects, and the places of the letters
that stay tell the letters between them.

It runs only in the locked process (:mod:`api.sandbox.child`).
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from PIL import Image, ImageDraw, ImageOps

from api.sandbox.failures import Failure, FailureError
from api.sandbox.page_files import PagePicture, pdf_of
from api.sandbox.pictures import as_rgb, opened, opened_pdf

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument

REDACTABLE: Final = frozenset(
    {"application/pdf", "image/tiff", "image/png", "image/jpeg", "image/heic"}
)
LONGEST_SIDE_PIXELS: Final = 2400
"""A page of A4 has about 200 dots an inch then."""
_POINTS_PER_INCH: Final = 72
_USUAL_DOTS_PER_INCH: Final = 200
_MOST_POINTS: Final = 14_400
"""The longest side of a page in a PDF file."""
WHOLE: Final = 10_000
"""The width and the height of each page, in the unit of marks."""
_BEYOND_PIXELS: Final = 2
"""A mark hides so many pixels beyond each edge: a preview has other pixels than the new page."""


class Detail(NamedTuple):
    """The detail of the pictures of pages."""

    longest_side_pixels: int
    quality: int
    """Of the JPEG, to 100."""


USUAL: Final = Detail(LONGEST_SIDE_PIXELS, 85)
_DETAILS: Final = (USUAL, Detail(2000, 75), Detail(1600, 60))
"""A file that would have too many bytes is made again with less detail."""


class Mark(NamedTuple):
    """A rectangle to hide, in 1/10,000 of the page's width and height, from its upper left."""

    page: int
    left: int
    top: int
    width: int
    height: int


class Redacted(NamedTuple):
    """A new file, and the number of pages of the document that it was made of."""

    content: bytes
    pages: int


class _Pages(NamedTuple):
    """The number of pages of a document, and the pictures of those that stay."""

    number: int
    pictures: Iterator[PagePicture]


def redacted(
    content: bytes,
    media_type: str,
    leave_out: Sequence[tuple[int, int]],
    marks: Sequence[Mark] = (),
    most_bytes: int | None = None,
) -> Redacted:
    """Return a PDF of the pages that are not left out, without what is under the marks.

    ``leave_out`` has the first and the last page of each range. A mark on a page that is left out
    is of no effect. The pictures have less detail where the file would have more than
    ``most_bytes``; with the least detail it may have more. Raises ``FailureError``.
    """
    if media_type not in REDACTABLE:
        raise FailureError(Failure.NOT_REDACTABLE)
    for detail in _DETAILS:
        pages = _pages(content, media_type, leave_out, marks, detail)
        made = Redacted(pdf_of(pages.pictures), pages.number)
        if most_bytes is None or len(made.content) <= most_bytes:
            break
    return made


def hide(image: Image.Image, marks: Iterable[Mark]) -> Image.Image:
    """Return a picture in red, green and blue, whose pixels under the marks are black."""
    image = as_rgb(image)
    drawing = ImageDraw.Draw(image)
    for mark in marks:
        left = mark.left * image.width // WHOLE - _BEYOND_PIXELS
        top = mark.top * image.height // WHOLE - _BEYOND_PIXELS
        right = -(-(mark.left + mark.width) * image.width // WHOLE) - 1 + _BEYOND_PIXELS
        bottom = -(-(mark.top + mark.height) * image.height // WHOLE) - 1 + _BEYOND_PIXELS
        drawing.rectangle((left, top, right, bottom), fill="black")
    return image


def page_picture(
    image: Image.Image,
    width_points: float,
    height_points: float,
    marks: Iterable[Mark] = (),
    quality: int = USUAL.quality,
) -> PagePicture:
    """Return a page with a picture, which keeps nothing of the picture but its pixels."""
    image = hide(image, marks)
    bands = image.split()
    is_grey = bands[0].tobytes() == bands[1].tobytes() == bands[2].tobytes()
    file = io.BytesIO()
    plain = bands[0] if is_grey else image
    plain.info.clear()
    plain.save(file, "JPEG", quality=quality, subsampling=0, exif=b"")
    return PagePicture(
        file.getvalue(), image.width, image.height, is_grey, width_points, height_points
    )


def kept_pages(count: int, leave_out: Sequence[tuple[int, int]]) -> list[int]:
    """Return the numbers of the pages that stay. Raises ``FailureError``."""
    if any(last > count for _, last in leave_out):
        raise FailureError(Failure.NO_SUCH_PAGE)
    kept = [n for n in range(1, count + 1) if not any(a <= n <= b for a, b in leave_out)]
    if not kept:
        raise FailureError(Failure.NOTHING_LEFT)
    return kept


def _pages(
    content: bytes,
    media_type: str,
    leave_out: Sequence[tuple[int, int]],
    marks: Sequence[Mark],
    detail: Detail,
) -> _Pages:
    if media_type == "application/pdf":
        document = opened_pdf(content)
        count = len(document)
        kept = _kept(count, leave_out, marks)
        return _Pages(count, _of_pdf(document, kept, marks, detail))
    image = opened(content, media_type)
    count = getattr(image, "n_frames", 1) if media_type == "image/tiff" else 1
    kept = _kept(count, leave_out, marks)
    return _Pages(count, _of_frames(image, kept, marks, detail))


def _kept(count: int, leave_out: Sequence[tuple[int, int]], marks: Iterable[Mark]) -> list[int]:
    if any(mark.page > count for mark in marks):
        raise FailureError(Failure.NO_SUCH_PAGE)
    return kept_pages(count, leave_out)


def _of_page(marks: Iterable[Mark], number: int) -> list[Mark]:
    return [mark for mark in marks if mark.page == number]


def _of_pdf(
    document: "PdfDocument", kept: Iterable[int], marks: Sequence[Mark], detail: Detail
) -> Iterator[PagePicture]:
    import pypdfium2

    for number in kept:
        try:
            page = document[number - 1]
            width, height = page.get_size()
            longest = max(width, height)
            if not 0 < min(width, height) <= longest <= _MOST_POINTS:
                raise FailureError(Failure.DAMAGED)
            bitmap = page.render(scale=detail.longest_side_pixels / longest, rev_byteorder=True)
            hidden = _of_page(marks, number)
            yield page_picture(bitmap.to_pil(), width, height, hidden, detail.quality)
            page.close()
        except pypdfium2.PdfiumError:
            raise FailureError(Failure.DAMAGED) from None


def _of_frames(
    image: Image.Image, kept: Iterable[int], marks: Sequence[Mark], detail: Detail
) -> Iterator[PagePicture]:
    for number in kept:
        if number > 1:
            image.seek(number - 1)
        frame = ImageOps.exif_transpose(image.copy())
        size_before = frame.size
        frame.thumbnail((detail.longest_side_pixels, detail.longest_side_pixels))
        points = _POINTS_PER_INCH / _USUAL_DOTS_PER_INCH
        points *= min(1.0, LONGEST_SIDE_PIXELS / max(size_before))
        size = (size_before[0] * points, size_before[1] * points)
        yield page_picture(frame, *size, _of_page(marks, number), detail.quality)
