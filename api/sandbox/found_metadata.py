"""Finds the metadata of a document: place, time, camera, author, and which other parts there are.

It runs only in the locked process (:mod:`api.sandbox.child`).
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from PIL import ExifTags, Image

from api.sandbox import pictures
from api.sandbox.found_office import found_in_office
from api.sandbox.without_metadata import jpeg, pdf, png, tiff
from ledger.vault.documents.office_files import DOCX, ODT

Found = dict[str, Any]
"""The fields of :class:`api.client.schemas.case_documents.FileMetadata` that were found."""
_LONGEST: Final = 200
"""Longer texts are cut."""
_XMP_PLACE: Final = re.compile(
    rb"exif:GPS(Latitude|Longitude)\s*(?:=\s*[\"']|>)\s*"
    rb"(\d{1,3}),(\d{1,2})(?:,(\d{1,2})|(\.\d{1,9}))?([NSEW])"
)
"""A coordinate as XMP writes it: ``42,39.5N`` or ``42,39,30N``."""
_XMP_CREATOR: Final = re.compile(
    rb"<dc:creator>\s*<rdf:Seq>\s*<rdf:li[^>]{0,99}>([^<]{1,400})</rdf:li>"
)
_PDF_TIME: Final = re.compile(
    r"D:(\d{4})(\d\d)?(\d\d)?(?:(\d\d)(\d\d)(\d\d)?)?(?:([+-])(\d\d)'?(\d\d)|Z)?"
)
_EXIF_TIME: Final = re.compile(r"(\d{4}):(\d\d):(\d\d) (\d\d:\d\d:\d\d)")

_TIFF_TAGS: Final[Mapping[str, frozenset[int]]] = {
    "exif": frozenset((269, 270, 271, 272, 305, 306, 315, 316, 33432, 34665, 34853)),
    "iptc": frozenset((33723,)),
    "xmp": frozenset((700,)),
}


def found_metadata(content: bytes, media_type: str) -> Found:
    """Return the metadata of a content. Raises ``FailureError``."""
    if media_type == "application/pdf":
        return _of_pdf(content)
    if media_type in (DOCX, ODT):
        found = found_in_office(content)
        texts = {name: _text(value) for name, value in found.items() if name != "other"}
        return {name: value for name, value in texts.items() if value} | {"other": found["other"]}
    image = pictures.opened(content, media_type)
    found = _of_exif(image.getexif())
    xmp = _bytes(image.info.get("xmp"))
    found = {**_of_xmp(xmp), **found} if xmp else found
    return found | {"other": sorted(set(_OTHER[media_type](content, image)))}


def _of_exif(exif: Image.Exif) -> Found:
    if not exif:
        return {}
    base, detail = ExifTags.Base, exif.get_ifd(ExifTags.IFD.Exif)
    camera = [_text(exif.get(tag)) for tag in (base.Make, base.Model)]
    found: Found = {
        "camera": " ".join(one for one in camera if one) or None,
        "serial_number": _text(detail.get(base.BodySerialNumber)),
        "made_at": _exif_time(detail.get(base.DateTimeOriginal) or exif.get(base.DateTime)),
        "author": _text(exif.get(base.Artist)) or _text(exif.get(base.XPAuthor), "utf-16-le"),
        "title": _text(exif.get(base.ImageDescription)),
        "program": _text(exif.get(base.Software)),
        **_place(exif.get_ifd(ExifTags.IFD.GPSInfo)),
    }
    return {name: value for name, value in found.items() if value is not None}


def _place(gps: Mapping[int, Any]) -> Found:
    """Return latitude and longitude in degrees, if both are told."""
    tag = ExifTags.GPS
    latitude = _degrees(gps.get(tag.GPSLatitude), gps.get(tag.GPSLatitudeRef), "S", 90)
    longitude = _degrees(gps.get(tag.GPSLongitude), gps.get(tag.GPSLongitudeRef), "W", 180)
    if latitude is None or longitude is None:
        return {}
    return {"latitude": latitude, "longitude": longitude}


def _degrees(parts: Any, side: Any, negative: str, most: int) -> float | None:
    try:
        degrees, minutes, seconds = (float(part) for part in parts)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    value = degrees + minutes / 60 + seconds / 3600
    if not 0 <= value <= most:  # NaN too
        return None
    return round(-value if side == negative else value, 6)


def _of_xmp(xmp: bytes) -> Found:
    found: Found = {}
    for name, degrees, minutes, seconds, fraction, side in _XMP_PLACE.findall(xmp):
        value = int(degrees) + float(minutes + fraction) / 60 + int(seconds or 0) / 3600
        found[name.decode().lower()] = round(-value if side in b"SW" else value, 6)
    if len(found) == 1 or abs(found.get("latitude", 0)) > 90:
        found = {}
    creator = _XMP_CREATOR.search(xmp)
    if creator and (author := _text(creator[1])):
        found["author"] = author
    return found


def _others_of_jpeg(content: bytes, image: Image.Image) -> Iterator[str]:
    yield from _common(image)
    if image.getexif().get_ifd(ExifTags.IFD.IFD1):
        yield "thumbnail"
    if jpeg.bytes_after(content):
        yield "after_the_picture"
    for marker, data in getattr(image, "applist", ()):
        if marker == "APP13":
            yield "iptc"
        elif marker == "COM":
            yield "comment"
        elif marker not in ("APP0", "APP1", "APP14") and not data.startswith(b"ICC_PROFILE"):
            yield "other"


def _others_of_png(content: bytes, image: Image.Image) -> Iterator[str]:
    yield from _common(image)
    kinds = {kind for kind, _ in png.chunks(content)}
    if kinds & {b"tEXt", b"zTXt", b"iTXt"}:
        yield "comment"
    if kinds - png.KEPT - {b"tEXt", b"zTXt", b"iTXt", b"eXIf"}:
        yield "other"
    if png.bytes_after(content):
        yield "after_the_picture"


def _others_of_tiff(content: bytes, _: Image.Image) -> Iterator[str]:
    tags = set(tiff.removable_tags(content))
    for name, own in _TIFF_TAGS.items():
        if tags & own:
            yield name
    if tags.difference(*_TIFF_TAGS.values()):
        yield "other"


def _others_of_heic(_: bytes, image: Image.Image) -> Iterator[str]:
    yield from _common(image)
    if image.info.get("metadata"):
        yield "other"


def _common(image: Image.Image) -> Iterator[str]:
    exif = image.getexif()
    if set(exif) - {ExifTags.Base.Orientation} or exif.get_ifd(ExifTags.IFD.Exif):
        yield "exif"
    if _bytes(image.info.get("xmp")).strip(b"\x00"):
        yield "xmp"


_OTHER: Final[Mapping[str, Callable[[bytes, Image.Image], Iterator[str]]]] = {
    "image/heic": _others_of_heic,
    "image/jpeg": _others_of_jpeg,
    "image/png": _others_of_png,
    "image/tiff": _others_of_tiff,
}


def _of_pdf(content: bytes) -> Found:
    import pypdfium2

    document = pictures.opened_pdf(content)
    told = document.get_metadata_dict()
    found: Found = {
        "author": _text(told.get("Author")),
        "title": _text(told.get("Title")),
        "program": _text(" ".join(filter(None, (told.get("Creator"), told.get("Producer"))))),
        "made_at": _pdf_time(told.get("CreationDate") or told.get("ModDate") or ""),
    }
    other = {
        "attachments": document.count_attachments() > 0,
        "scripts": pypdfium2.raw.FPDFDoc_GetJavaScriptActionCount(document) > 0,
        "xmp": b"<x:xmpmeta" in content,
        "exif": b"Exif\x00\x00" in content,
        "signature": pdf.is_signed(content),
    }
    found["other"] = sorted(name for name, is_here in other.items() if is_here)
    return {name: value for name, value in found.items() if value is not None}


def _text(value: Any, encoding: str = "utf-8") -> str | None:
    """Return a text without control characters, cut; ``None`` if nothing is left."""
    if isinstance(value, bytes):
        value = value.decode(encoding, "replace")
    if not isinstance(value, str):
        return None
    kept = "".join(one for one in value if one.isprintable())
    return kept.strip()[:_LONGEST] or None


def _bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else value or b""


def _exif_time(value: Any) -> str | None:
    found = _EXIF_TIME.match(value) if isinstance(value, str) else None
    return f"{found[1]}-{found[2]}-{found[3]}T{found[4]}" if found else None


def _pdf_time(value: str) -> str | None:
    found = _PDF_TIME.match(value)
    if found is None:
        return None
    year, month, day, hour, minute, second, sign, zone_hours, zone_minutes = found.groups()
    date = "-".join(part for part in (year, month, day) if part)
    if hour is None or day is None:
        return date
    zone = f"{sign}{zone_hours}:{zone_minutes}" if sign else "Z" if value.endswith("Z") else ""
    return f"{date}T{hour}:{minute}:{second or '00'}{zone}"
