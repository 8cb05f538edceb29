"""Puts a visible mark on a copy of a document: a strip of its own below each page or picture.

The strip is a picture that this program drew. It covers nothing of the page: the page grows by it.
The other content of a PDF file stays as it is, with its text. The copy of a picture is coded anew,
without metadata; that of a TIFF is a PDF with a page for each of its pictures.

It runs only in the locked process (:mod:`api.sandbox.child`).
"""

import io
from typing import Final, NamedTuple

from PIL import Image, ImageOps

from api.sandbox.failures import Failure, FailureError
from api.sandbox.page_files import pdf_of
from api.sandbox.pictures import as_rgb, opened, opened_pdf
from api.sandbox.redaction import page_picture

_QUALITY: Final = 92
_LONGEST_SIDE_PIXELS: Final = 6000
_POINTS_PER_PIXEL: Final = 72 / 200
_SHORTEST_WIDTH_PIXELS: Final = 600
"""A narrower picture gets white paper beside it, so that the strip can be read."""


class Marked(NamedTuple):
    """A copy with a visible mark."""

    media_type: str
    content: bytes


def marked(content: bytes, media_type: str, strip: Image.Image) -> Marked:
    """Return a copy of a content with a strip below each page. Raises ``FailureError``."""
    match media_type:
        case "application/pdf":
            return Marked(media_type, _marked_pdf(content, strip))
        case "image/png":
            return Marked(media_type, _coded(content, media_type, strip, "PNG"))
        case "image/jpeg" | "image/heic":
            return Marked("image/jpeg", _coded(content, media_type, strip, "JPEG"))
        case "image/tiff":
            return Marked("application/pdf", _marked_tiff(content, strip))
        case _:
            raise FailureError(Failure.NOT_MARKABLE)


def with_strip(image: Image.Image, strip: Image.Image) -> Image.Image:
    """Return a picture with the strip below it."""
    image = as_rgb(image)
    width = max(image.width, _SHORTEST_WIDTH_PIXELS)
    below = strip.resize((width, max(1, round(strip.height * width / strip.width))))
    whole = Image.new("RGB", (width, image.height + below.height), "white")
    whole.paste(image, (0, 0))
    whole.paste(below, (0, image.height))
    return whole


def _coded(content: bytes, media_type: str, strip: Image.Image, form: str) -> bytes:
    image = ImageOps.exif_transpose(opened(content, media_type))
    image.thumbnail((_LONGEST_SIDE_PIXELS, _LONGEST_SIDE_PIXELS))
    file = io.BytesIO()
    options = {"quality": _QUALITY} if form == "JPEG" else {}
    with_strip(image, strip).save(file, form, **options)
    return file.getvalue()


def _marked_tiff(content: bytes, strip: Image.Image) -> bytes:
    image = opened(content, "image/tiff")
    pages = []
    for number in range(getattr(image, "n_frames", 1)):
        image.seek(number)
        frame = ImageOps.exif_transpose(image.copy())
        frame.thumbnail((_LONGEST_SIDE_PIXELS, _LONGEST_SIDE_PIXELS))
        whole = with_strip(frame, strip)
        size = whole.width * _POINTS_PER_PIXEL, whole.height * _POINTS_PER_PIXEL
        pages.append(page_picture(whole, *size))
    return pdf_of(pages)


def _marked_pdf(content: bytes, strip: Image.Image) -> bytes:
    import pypdfium2

    document = opened_pdf(content)
    if len(document) == 0:
        raise FailureError(Failure.DAMAGED)
    try:
        bitmap = pypdfium2.PdfBitmap.from_pil(strip)
        for page in document:
            box = page.get_cropbox()
            wide, placed = extended(box, page.get_rotation(), strip.height / strip.width)
            media = page.get_mediabox()
            page.set_mediabox(
                min(media[0], wide[0]), min(media[1], wide[1]),
                max(media[2], wide[2]), max(media[3], wide[3]),
            )  # fmt: skip
            page.set_cropbox(*wide)
            image = pypdfium2.PdfImage.new(document)
            image.set_bitmap(bitmap)
            image.set_matrix(pypdfium2.PdfMatrix(*placed))
            page.insert_obj(image)
            page.gen_content()
            page.close()
        file = io.BytesIO()
        document.save(file)
    except pypdfium2.PdfiumError:
        raise FailureError(Failure.DAMAGED) from None
    return file.getvalue()


Box = tuple[float, float, float, float]
"""Left, bottom, right and top, in points."""
Matrix = tuple[float, float, float, float, float, float]


def extended(box: Box, rotation: int, height_per_width: float) -> tuple[Box, Matrix]:
    """Return a page's box with room for the strip where a reader sees its lower side.

    Returns also the matrix that puts a picture of one unit's side there. ``rotation``: by how many
    degrees the page is turned clockwise when it is shown (ISO 32000-1, section 7.7.3.3).
    """
    left, bottom, right, top = box
    width = right - left if rotation in (0, 180) else top - bottom
    high = width * height_per_width
    match rotation:
        case 90:
            return (left, bottom, right + high, top), (0, width, -high, 0, right + high, bottom)
        case 180:
            return (left, bottom, right, top + high), (-width, 0, 0, -high, right, top + high)
        case 270:
            return (left - high, bottom, right, top), (0, -width, high, 0, left - high, top)
        case _:
            return (left, bottom - high, right, top), (width, 0, 0, high, left, bottom - high)
