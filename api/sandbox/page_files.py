"""Writes a PDF file of pictures: a page for each, and nothing else.

The file has no metadata, links, forms, attachments or thumbnails, and no date: the same pictures
give the same bytes. The structure is that of ISO 32000-1, sections 7.5 and 8.9.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class PagePicture(NamedTuple):
    """A page: a JPEG, and the size of the page in points."""

    jpeg: bytes
    width_pixels: int
    height_pixels: int
    is_grey: bool
    width_points: float
    height_points: float


def pdf_of(pages: Iterable[PagePicture]) -> bytes:
    """Return a PDF file with a page for each picture."""
    objects: dict[int, bytes] = {}
    kids: list[int] = []
    number = 3
    for page in pages:
        picture, content, own = number, number + 1, number + 2
        number += 3
        space = b"/DeviceGray" if page.is_grey else b"/DeviceRGB"
        objects[picture] = _stream(
            b"/Type/XObject/Subtype/Image/Width %d/Height %d/ColorSpace%b/BitsPerComponent 8"
            b"/Filter/DCTDecode" % (page.width_pixels, page.height_pixels, space),
            page.jpeg,
        )
        size = (page.width_points, page.height_points)
        objects[content] = _stream(b"", b"%.2f 0 0 %.2f 0 0 cm /P Do" % size)
        objects[own] = (
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 %.2f %.2f]/Contents %d 0 R"
            b"/Resources<</XObject<</P %d 0 R>>>>>>" % (*size, content, picture)
        )
        kids.append(own)
    listed = b" ".join(b"%d 0 R" % kid for kid in kids)
    objects[1] = b"<</Type/Catalog/Pages 2 0 R>>"
    objects[2] = b"<</Type/Pages/Count %d/Kids[%b]>>" % (len(kids), listed)
    return _file([objects[one] for one in sorted(objects)])


def _stream(head: bytes, content: bytes) -> bytes:
    return b"<<%b/Length %d>>stream\n%b\nendstream" % (head, len(content), content)


def _file(objects: Sequence[bytes]) -> bytes:
    parts, places, at = [b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"], list[int](), 15
    for number, content in enumerate(objects, 1):
        one = b"%d 0 obj%b endobj\n" % (number, content)
        places.append(at)
        parts.append(one)
        at += len(one)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    count = len(objects) + 1
    parts.append(b"xref\n0 %d\n0000000000 65535 f \n%b" % (count, table))
    parts.append(b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (count, at))
    return b"".join(parts)
