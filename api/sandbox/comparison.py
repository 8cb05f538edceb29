"""Compares the pages of a redacted version with those of its original.

Pages that are said to be unchanged must look alike in both. A page of the version may have been
drawn and coded again, so single pixels may differ a little; a changed letter differs more.

It runs only in the locked process (:mod:`api.sandbox.child`).
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from PIL import Image, ImageChops, ImageFilter, ImageOps

from api.sandbox.failures import Failure, FailureError
from api.sandbox.pictures import as_rgb, opened, opened_pdf
from api.sandbox.redaction import REDACTABLE, kept_pages

MOST_DIFFERING: Final = 1000
"""No more pages that differ are named."""
_LONGEST_SIDE_PIXELS: Final = 1600
"""A page of A4 has about 135 dots an inch then."""
_UNEQUAL_SHAPE: Final = 0.02
"""Two pages whose sides differ by more than this part are not the same page."""
_SOFTENED_PIXELS: Final = 2
_UNEQUAL_STEPS: Final = 60
"""Of 255, after each pixel got the mean of those around it. Measured: a page that the node made
differs by 20, with less detail by 45, a scan of it that was coded twice by 30, one without a comma
by 170."""


class Compared(NamedTuple):
    """The outcome of a comparison of a version with its original."""

    pages_of_original: int
    pages: int
    """The pages of the version."""
    differing: Sequence[int]
    """The numbers of the original's pages that are said to be unchanged and look different.

    It is empty if the numbers of pages do not agree: then no page is compared.
    """


class _Document(NamedTuple):
    pages: int
    pictures: Iterator[Image.Image]
    """Pictures of the pages that were asked for, in order."""


def compared(
    original: tuple[bytes, str],
    version: tuple[bytes, str],
    leave_out: Sequence[tuple[int, int]],
    marked: Sequence[tuple[int, int]],
) -> Compared:
    """Compare two contents, each with its media type, page by page.

    ``marked`` has the ranges of the original's pages of which the version hides a part: they are
    not compared. Raises ``FailureError``.
    """
    if original[1] not in REDACTABLE or version[1] not in REDACTABLE:
        raise FailureError(Failure.NOT_REDACTABLE)
    before, after = _count(*original), _count(*version)
    if any(last > before for _, last in (*leave_out, *marked)):
        raise FailureError(Failure.NO_SUCH_PAGE)
    kept = kept_pages(before, leave_out)
    if after != len(kept):
        return Compared(before, after, ())
    alike = [
        (place, page)
        for place, page in enumerate(kept, 1)
        if not any(first <= page <= last for first, last in marked)
    ]
    pictures = zip(
        _pictures(*original, [page for _, page in alike]),
        _pictures(*version, [place for place, _ in alike]),
        strict=True,
    )
    found = [
        page
        for (_, page), (one, other) in zip(alike, pictures, strict=True)
        if not _look_alike(one, other)
    ]
    return Compared(before, after, found[:MOST_DIFFERING])


def _look_alike(one: Image.Image, other: Image.Image) -> bool:
    wide, high = other.width * one.height, other.height * one.width
    if abs(wide - high) > _UNEQUAL_SHAPE * max(wide, high):
        return False
    soft = ImageFilter.BoxBlur(_SOFTENED_PIXELS)
    pair = [image.resize(one.size).filter(soft) for image in (one, other)]
    extrema = ImageChops.difference(*pair).getextrema()
    return all(most <= _UNEQUAL_STEPS for _, most in extrema)  # type: ignore[misc]  # three bands


def _count(content: bytes, media_type: str) -> int:
    if media_type == "application/pdf":
        return len(opened_pdf(content))
    if media_type == "image/tiff":
        return getattr(opened(content, media_type), "n_frames", 1)
    opened(content, media_type)
    return 1


def _pictures(content: bytes, media_type: str, pages: Sequence[int]) -> Iterator[Image.Image]:
    most = (_LONGEST_SIDE_PIXELS, _LONGEST_SIDE_PIXELS)
    if media_type == "application/pdf":
        import pypdfium2

        document = opened_pdf(content)
        for number in pages:
            try:
                page = document[number - 1]
                longest = max(page.get_size())
                if not 0 < longest < float("inf"):
                    raise FailureError(Failure.DAMAGED)
                bitmap = page.render(scale=_LONGEST_SIDE_PIXELS / longest, rev_byteorder=True)
                yield as_rgb(bitmap.to_pil())
                page.close()
            except pypdfium2.PdfiumError:
                raise FailureError(Failure.DAMAGED) from None
        return
    image = opened(content, media_type)
    for number in pages:
        if number > 1:
            image.seek(number - 1)
        frame = ImageOps.exif_transpose(image.copy())
        frame.thumbnail(most)
        yield as_rgb(frame)
