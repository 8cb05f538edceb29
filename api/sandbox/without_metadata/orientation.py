"""The one fact of EXIF that a picture keeps: which way is up."""

import struct

from PIL import ExifTags, Image

_BEGINS = b"Exif\x00\x00"


def orientation_of(exif: bytes) -> int:
    """Return the orientation that EXIF data tell, from 1 to 8; 1 where they tell none."""
    read = Image.Exif()
    try:
        read.load(exif if exif.startswith(_BEGINS) else _BEGINS + exif)
        found = read.get(ExifTags.Base.Orientation)
    except Exception:  # Pillow raises of many kinds for damaged data
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def exif_of(orientation: int) -> bytes:
    """Return EXIF data with the orientation alone, as a TIFF file with one entry."""
    entry = struct.pack(">HHIHH", ExifTags.Base.Orientation, 3, 1, orientation, 0)
    return b"MM\x00\x2a" + struct.pack(">IH", 8, 1) + entry + bytes(4)
