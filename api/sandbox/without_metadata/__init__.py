"""Copies of files without metadata. The bytes of a picture itself stay as they are."""

from collections.abc import Callable, Mapping
from typing import Final

from api.sandbox.without_metadata import heic, jpeg, office, pdf, png, tiff
from ledger.vault.documents.office_files import DOCX, ODT

REMOVERS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "image/heic": heic.without_metadata,
    "image/jpeg": jpeg.without_metadata,
    "image/png": png.without_metadata,
    "image/tiff": tiff.without_metadata,
    "application/pdf": pdf.without_metadata,
    DOCX: office.without_metadata,
    ODT: office.without_metadata,
}
"""Returns a content without its metadata, by media type. Each raises ``FailureError``."""
