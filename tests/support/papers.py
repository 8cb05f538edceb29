"""Small files of each accepted type, made here."""

import io
import zipfile
from collections.abc import Sequence

PDF = b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(17)
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(20)
HEIC = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(8)
TIFF = b"II\x2a\x00\x08\x00\x00\x00" + bytes(8)
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
ODT = "application/vnd.oasis.opendocument.text"


DOCX_TYPES = (
    '<?xml version="1.0" encoding="UTF-8"?><Types xmlns='
    '"http://schemas.openxmlformats.org/package/2006/content-types"><Override'
    f' PartName="/word/document.xml" ContentType="{DOCX}.main+xml"/></Types>'
)


def docx(types: str = DOCX_TYPES, **more: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", types)
        for name, content in {"word/document.xml": "<document/>", **more}.items():
            archive.writestr(name, content)
    return file.getvalue()


def odt(media_type: str = ODT) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("mimetype", media_type)
        archive.writestr("content.xml", "<document/>")
    return file.getvalue()


def pdf(size: int, marker: bytes = b"") -> bytes:
    """Return a PDF of ``size`` bytes with ``marker`` at each place that it fits."""
    filler = (marker or b"x") + b"\n"
    body = PDF + filler * (max(0, size - len(PDF)) // len(filler) + 1)
    return body[:size]


def letter(line: str) -> bytes:
    """Return a PDF page of A4 with two lines of text: the given one 12 % below the upper edge."""
    text = f"BT /F 14 Tf 130 740 Td ({line}) Tj 0 -200 Td (Another line) Tj ET".encode()
    objects = (
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Count 1/Kids[3 0 R]>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R"
        b"/Resources<</Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>>>",
        b"<</Length %d>>stream\n%b\nendstream" % (len(text), text),
    )
    return _pdf_of(objects)


def _pdf_of(objects: Sequence[bytes]) -> bytes:
    content, places = b"%PDF-1.7\n", list[int]()
    for number, one in enumerate(objects, 1):
        places.append(len(content))
        content += b"%d 0 obj%b endobj\n" % (number, one)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    count = len(objects) + 1
    return content + (
        b"xref\n0 %d\n0000000000 65535 f \n%btrailer<</Size %d/Root 1 0 R>>\n"
        b"startxref\n%d\n%%%%EOF\n" % (count, table, count, len(content))
    )
