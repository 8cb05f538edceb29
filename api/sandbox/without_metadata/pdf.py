"""Removes metadata from a PDF file: it is written anew without them.

The new file has the objects that its pages and forms reach, and no earlier state of the file. What
the pages show stays, and so do attachments, scripts and the texts of comments: they are content.
The authors and times of comments go.
"""

import hashlib
import io
from typing import TYPE_CHECKING, Any, Final

from api.sandbox.failures import Failure, FailureError
from api.sandbox.without_metadata import jpeg

if TYPE_CHECKING:
    from pypdf import PdfWriter
    from pypdf.generic import DictionaryObject

_OWN: Final = ("/Metadata", "/PieceInfo", "/LastModified", "/Thumb", "/SpiderInfo")
"""Entries of any dictionary that tell of its making (ISO 32000-2, sections 14.3 and 14.5)."""
_OF_COMMENTS: Final = ("/T", "/M", "/CreationDate")
"""An annotation's author and times (ISO 32000-2, section 12.5.6.2). A form field's ``/T`` is its
name instead."""
_JPEG_FILTERS: Final = ("/DCTDecode", ["/DCTDecode"])


def is_signed(content: bytes) -> bool:
    """Return whether a PDF has a digital signature, which a changed file would break."""
    return b"/ByteRange" in content


def without_metadata(content: bytes) -> bytes:
    """Return the file without metadata. The same file gives the same bytes.

    Raises ``FailureError`` for a file with a password or a signature, and any error of pypdf for a
    damaged one.
    """
    from pypdf import PdfReader, PdfWriter
    from pypdf.generic import ArrayObject, ByteStringObject, DictionaryObject, StreamObject

    if is_signed(content):
        raise FailureError(Failure.NOT_REMOVABLE)
    reader = PdfReader(io.BytesIO(content), strict=False)
    if reader.is_encrypted:
        raise FailureError(Failure.PASSWORD)
    writer = PdfWriter(clone_from=reader)
    writer.metadata = None
    for one in writer._objects:
        if isinstance(one, DictionaryObject):
            for entry in _OWN:
                one.pop(entry, None)
            _remove_authors(one)
        if isinstance(one, StreamObject) and _is_jpeg(one):
            one._data = _cleaned(bytes(one._data))
    # A second copy has only the objects that are still reached.
    identity = ByteStringObject(hashlib.sha256(content).digest()[:16])
    copy = PdfWriter(clone_from=PdfReader(io.BytesIO(_written(writer))))
    copy.metadata = None
    copy._ID = ArrayObject([identity, identity])
    return _written(copy)


def _written(writer: "PdfWriter") -> bytes:
    file = io.BytesIO()
    writer.write(file)
    return file.getvalue()


def _remove_authors(page: "DictionaryObject") -> None:
    """Remove the authors and times of the annotations that a page has, if it is one."""
    from pypdf.generic import ArrayObject, DictionaryObject, NullObject

    annotations = page.get("/Annots", NullObject()).get_object()
    if not isinstance(annotations, ArrayObject):
        return
    for reference in annotations:
        one = reference.get_object()
        if isinstance(one, DictionaryObject):
            is_field = one.get("/Subtype") == "/Widget"
            for entry in _OF_COMMENTS[1:] if is_field else _OF_COMMENTS:
                one.pop(entry, None)


def _is_jpeg(stream: Any) -> bool:
    named = stream.get("/Filter")
    return named in _JPEG_FILTERS and stream.get("/Subtype") == "/Image"


def _cleaned(picture: bytes) -> bytes:
    try:
        return jpeg.without_metadata(picture)
    except FailureError:
        return picture  # a picture that no reader of JPEG knows is left as it is
