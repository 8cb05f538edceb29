"""Copies of pictures without metadata. The bytes of the picture itself stay as they are."""

from collections.abc import Callable, Mapping
from typing import Final

from api.sandbox.without_metadata import heic, jpeg, png, tiff

REMOVERS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "image/heic": heic.without_metadata,
    "image/jpeg": jpeg.without_metadata,
    "image/png": png.without_metadata,
    "image/tiff": tiff.without_metadata,
}
"""Returns a content without its metadata, by media type. Each raises ``FailureError``."""
