"""Small files of each accepted type, made here."""

import io
import zipfile

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
