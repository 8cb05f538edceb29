"""Makes a picture of one page of a document, as plain pixels.

It runs only in the locked process (:mod:`api.sandbox.child`). Pillow, pypdfium2 and pi-heif are
imported by it alone, and before the process is locked.
"""

import importlib
import io
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from PIL import Image, ImageOps, UnidentifiedImageError

from api.sandbox.failures import Failure, FailureError

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument

LONGEST_SIDE_PIXELS: Final = 2000
"""A page of A4 has about 170 dots an inch then."""
_MOST_PIXELS: Final = 128_000_000
"""A photograph of 12,000 x 9,000 pixels is read; one that claims more is not."""
_FORMATS: Final[Mapping[str, str]] = {
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/tiff": "TIFF",
    "image/heic": "HEIF",
}
"""The one reader of Pillow that a content is given to, by media type."""
_LOCKED: Final = 4
"""``FPDF_ERR_PASSWORD`` of pdfium."""


class Pixels(NamedTuple):
    """A picture: three bytes for each pixel, red, green and blue, row by row."""

    pages: int
    width: int
    height: int
    rgb: bytes


def prepare(media_type: str) -> None:
    """Import what the pictures of a media type need: no file can be opened afterwards."""
    Image.MAX_IMAGE_PIXELS = _MOST_PIXELS
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    Image.preinit()
    # Pillow and pypdfium2 import these when a content first needs them.
    # zipfile reads names by the code page 437 where nothing says that they are UTF-8.
    for module in (
        "PIL.MpoImagePlugin",
        "PIL.TiffImagePlugin",
        "encodings.utf_16_le",
        "encodings.cp437",
    ):
        importlib.import_module(module)
    if media_type == "application/pdf":
        importlib.import_module("pypdfium2")
        for module in ("pypdf", "pypdf.filters", "pypdf.generic", "pypdf.xmp"):
            importlib.import_module(module)
    elif media_type == "image/heic":
        import pi_heif

        pi_heif.register_heif_opener(
            thumbnails=False, depth_images=False, aux_images=False, decode_threads=1
        )


def opened(content: bytes, media_type: str) -> Image.Image:
    """Return the picture of a content, whose pixels are not read yet. Raises ``FailureError``."""
    try:
        return Image.open(io.BytesIO(content), formats=[_FORMATS[media_type]])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise FailureError(Failure.TOO_LARGE) from None
    except UnidentifiedImageError:
        raise FailureError(Failure.DAMAGED) from None


def pixels(content: bytes, media_type: str, page: int) -> Pixels:
    """Return the picture of a page, whose number begins at 1. Raises ``FailureError``."""
    if media_type == "application/pdf":
        return _of_pdf(content, page)
    image = opened(content, media_type)
    pages = getattr(image, "n_frames", 1) if media_type == "image/tiff" else 1
    if page > pages:
        raise FailureError(Failure.NO_SUCH_PAGE)
    if page > 1:
        image.seek(page - 1)
    image.thumbnail((LONGEST_SIDE_PIXELS, LONGEST_SIDE_PIXELS))
    return _as_pixels(ImageOps.exif_transpose(image), pages)


def _as_pixels(image: Image.Image, pages: int) -> Pixels:
    image = as_rgb(image)
    return Pixels(pages, image.width, image.height, image.tobytes())


def as_rgb(image: Image.Image) -> Image.Image:
    """Return a picture in red, green and blue, on white paper where it is transparent."""
    if image.mode in ("I", "I;16", "I;16B", "I;16L", "I;16N"):
        # 16 bits for a pixel: Pillow would make everything above the lowest 256 steps white.
        image = image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image)
    return image.convert("RGB")


def opened_pdf(content: bytes) -> "PdfDocument":
    """Return a PDF file. Raises ``FailureError``."""
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(content)
        # Without this, what was filled into a form is not drawn. Nothing of the form runs: this
        # pdfium is built without an engine for scripts.
        document.init_forms()
        return document
    except pypdfium2.PdfiumError as error:
        is_locked = error.err_code == _LOCKED
        raise FailureError(Failure.PASSWORD if is_locked else Failure.DAMAGED) from None


def _of_pdf(content: bytes, page: int) -> Pixels:
    import pypdfium2

    document = opened_pdf(content)
    pages = len(document)
    if pages == 0:
        raise FailureError(Failure.DAMAGED)
    if page > pages:
        raise FailureError(Failure.NO_SUCH_PAGE)
    try:
        shown = document[page - 1]
        longest = max(shown.get_size())
        if not 0 < longest < float("inf"):
            raise FailureError(Failure.DAMAGED)
        bitmap = shown.render(scale=LONGEST_SIDE_PIXELS / longest, rev_byteorder=True)
    except pypdfium2.PdfiumError:
        raise FailureError(Failure.DAMAGED) from None
    return _as_pixels(bitmap.to_pil(), pages)
