"""Leaves pages out of a document: the other pages become pictures in a new PDF file.

A page that is left out is not in the new file, and neither is anything else of the document: what
was hidden on a page, text behind a picture, links, forms, attachments, thumbnails, metadata. A
copy of the document's objects could not promise that, since pages share objects.

It runs only in the locked process (:mod:`api.sandbox.child`).
"""

import io
from collections.abc import Iterator, Sequence
from typing import Final

from PIL import Image, ImageOps

from api.sandbox.failures import Failure, FailureError
from api.sandbox.page_files import PagePicture, pdf_of
from api.sandbox.pictures import as_rgb, opened, opened_pdf

REDACTABLE: Final = frozenset({"application/pdf", "image/tiff"})
LONGEST_SIDE_PIXELS: Final = 2400
"""A page of A4 has about 200 dots an inch then."""
_QUALITY: Final = 85
_POINTS_PER_INCH: Final = 72
_USUAL_DOTS_PER_INCH: Final = 200
_MOST_POINTS: Final = 14_400
"""The longest side of a page in a PDF file."""


def without_pages(content: bytes, media_type: str, leave_out: Sequence[tuple[int, int]]) -> bytes:
    """Return a PDF of the pages that are not left out.

    ``leave_out`` has the first and the last page of each range. Raises ``FailureError``.
    """
    if media_type not in REDACTABLE:
        raise FailureError(Failure.NOT_REDACTABLE)
    return pdf_of(_pages(content, media_type, leave_out))


def page_picture(image: Image.Image, width_points: float, height_points: float) -> PagePicture:
    """Return a page with a picture, which keeps nothing of the picture but its pixels."""
    image = as_rgb(image)
    bands = image.split()
    is_grey = bands[0].tobytes() == bands[1].tobytes() == bands[2].tobytes()
    file = io.BytesIO()
    plain = bands[0] if is_grey else image
    plain.info.clear()
    plain.save(file, "JPEG", quality=_QUALITY, subsampling=0, exif=b"")
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
    content: bytes, media_type: str, leave_out: Sequence[tuple[int, int]]
) -> Iterator[PagePicture]:
    if media_type == "application/pdf":
        yield from _of_pdf(content, leave_out)
    else:
        yield from _of_tiff(content, media_type, leave_out)


def _of_pdf(content: bytes, leave_out: Sequence[tuple[int, int]]) -> Iterator[PagePicture]:
    import pypdfium2

    document = opened_pdf(content)
    for number in kept_pages(len(document), leave_out):
        try:
            page = document[number - 1]
            width, height = page.get_size()
            longest = max(width, height)
            if not 0 < min(width, height) <= longest <= _MOST_POINTS:
                raise FailureError(Failure.DAMAGED)
            bitmap = page.render(scale=LONGEST_SIDE_PIXELS / longest, rev_byteorder=True)
            yield page_picture(bitmap.to_pil(), width, height)
            page.close()
        except pypdfium2.PdfiumError:
            raise FailureError(Failure.DAMAGED) from None


def _of_tiff(
    content: bytes, media_type: str, leave_out: Sequence[tuple[int, int]]
) -> Iterator[PagePicture]:
    image = opened(content, media_type)
    for number in kept_pages(getattr(image, "n_frames", 1), leave_out):
        image.seek(number - 1)
        frame = ImageOps.exif_transpose(image.copy())
        frame.thumbnail((LONGEST_SIDE_PIXELS, LONGEST_SIDE_PIXELS))
        points = _POINTS_PER_INCH / _USUAL_DOTS_PER_INCH
        yield page_picture(frame, frame.width * points, frame.height * points)
