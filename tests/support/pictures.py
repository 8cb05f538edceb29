"""Photographs and scans, made here, with metadata that tell where and by whom they were made."""

import base64
import io
from collections.abc import Mapping

from PIL import Image

AUTHOR = "zqAuthorOfThePhotograph"
LATITUDE, LONGITUDE = 42.658333, 21.15
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF'
    b' xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description'
    b' xmlns:exif="http://ns.adobe.com/exif/1.0/" exif:GPSLatitude="42,39.5N"'
    b' exif:GPSLongitude="21,9.0E"/></rdf:RDF></x:xmpmeta>'
)
HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAghtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAA"
    "AAAAAAAAAAAEZpbG9jAAAAAERAAAMAAQAAAAACLAABAAAAAAAAAFsAAgAAAAAChwABAAAAAAAAAMYAAwAAAAADTQAB"
    "AAAAAAAAANQAAABiaWluZgAAAAAAAwAAABVpbmZlAgAAAAABAABodmMxAAAAABVpbmZlAgAAAQACAABFeGlmAAAAAC"
    "ppbmZlAgAAAQADAABtaW1lAGFwcGxpY2F0aW9uL3JkZit4bWwAAAAAAA5waXRtAAAAAAABAAAA/WlwcnAAAADdaXBj"
    "bwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQg"
    "EBA3AAAAMAkAAAAwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29scm5jbHgAAQAN"
    "AAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAAAAAoY2xhcAAAAEAAAAABAAAAMAAAAAEAAAAAAAAAAv////AAAAACAAAAEH"
    "BpeGkAAAAAAwgICAAAABhpcG1hAAAAAAAAAAEAAQWBAgMFhAAAAChpcmVmAAAAAAAAAA5jZHNjAAIAAQABAAAADmNk"
    "c2MAAwABAAEAAAH9bWRhdAAAAFcoAa8J4CM1Lf/2Rf734tH/9VgR07u/UoVs6ov9GZb+AxtffpJrwi3H/57I7/z7e+"
    "/xFUliJfPzJ6HIXy/Ym5uOkut4lkxn/zI6Ci8bPZ3yFxmeFrW8o8AAAAAGRXhpZgAATU0AKgAAAAgABAEPAAIAAAAF"
    "AAAAPgEQAAIAAAAIAAAARAE7AAIAAAAJAAAATIglAAQAAAABAAAAVgAAAABBY21lAABQaG9uZSAxAHpxQXV0aG9yAA"
    "AABAABAAIAAAACTgAAAAACAAUAAAADAAAAjAADAAIAAAACRQAAAAAEAAUAAAADAAAApAAAAAAAAAAqAAAAAQAAACcA"
    "AAABAAAAHgAAAAEAAAAVAAAAAQAAAAkAAAABAAAAAAAAAAE8eDp4bXBtZXRhIHhtbG5zOng9ImFkb2JlOm5zOm1ldG"
    "EvIj48cmRmOlJERiB4bWxuczpyZGY9Imh0dHA6Ly93d3cudzMub3JnLzE5OTkvMDIvMjItcmRmLXN5bnRheC1ucyMi"
    "PjxyZGY6RGVzY3JpcHRpb24gZXhpZjpHUFNMYXRpdHVkZT0iNDIsMzkuNU4iIHhtbG5zOmV4aWY9Imh0dHA6Ly9ucy"
    "5hZG9iZS5jb20vZXhpZi8xLjAvIi8+PC9yZGY6UkRGPjwveDp4bXBtZXRhPg=="
)
"""64 x 48 pixels, blue at the top left and red elsewhere, with EXIF and XMP; made with libheif."""


def exif(orientation: int = 1, author: str = AUTHOR) -> Image.Exif:
    """EXIF of a photograph with place, time, camera and author."""
    made = Image.Exif()
    made[0x010F], made[0x0110], made[0x013B], made[0x0112] = "Acme", "Phone 1", author, orientation
    detail, place = made.get_ifd(0x8769), made.get_ifd(0x8825)
    detail[0x9003], detail[0xA431] = "2026:03:14 15:09:26", "SN-31415"
    place[1], place[2], place[3], place[4] = "N", (42.0, 39.0, 30.0), "E", (21.0, 9.0, 0.0)
    return made


def drawn(width: int = 64, height: int = 48) -> Image.Image:
    """A picture that is blue at the top left and red elsewhere."""
    image = Image.new("RGB", (width, height), (200, 30, 30))
    image.paste((20, 20, 220), (0, 0, width // 2, height // 2))
    return image


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def photographs(orientation: int = 1) -> Mapping[str, bytes]:
    """A photograph with metadata in each type, by media type. HEIC tells no orientation."""
    data, image = exif(orientation).tobytes(), drawn()
    return {
        "image/jpeg": encoded(image, "JPEG", exif=data, xmp=XMP, comment=AUTHOR, quality=90),
        "image/png": encoded(image, "PNG", exif=data),
        "image/tiff": encoded(image, "TIFF", exif=data),
        "image/heic": HEIC,
    }


def scan(pages: int = 1, **told: str) -> bytes:
    """A PDF file of some pages, each a picture."""
    first, *others = (drawn(300, 400) for _ in range(pages))
    return encoded(first, "PDF", save_all=True, append_images=others, **told)
