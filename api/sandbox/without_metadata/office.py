"""Removes metadata from a DOCX or an ODT: who wrote and changed it, when, where and with what.

The text, its styles and pictures stay. The parts that hold properties become empty ones, names of
people at comments and changes become empty, and pictures lose their own metadata.
"""

import re
from typing import Final

from api.sandbox.failures import Failure, FailureError
from api.sandbox.office_parts import Part, parts, rewritten
from api.sandbox.without_metadata import jpeg, png

_HEAD: Final = b'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_OFFICE: Final = b"urn:oasis:names:tc:opendocument:xmlns:office:1.0"
_PACKAGE: Final = b"http://schemas.openxmlformats.org/package/2006/metadata/core-properties"
_PROPERTIES: Final = b"http://schemas.openxmlformats.org/officeDocument/2006/"
EMPTY: Final = {
    "docprops/core.xml": _HEAD + b'<cp:coreProperties xmlns:cp="' + _PACKAGE + b'"/>',
    "docprops/app.xml": _HEAD + b'<Properties xmlns="' + _PROPERTIES + b'extended-properties"/>',
    "docprops/custom.xml": _HEAD + b'<Properties xmlns="' + _PROPERTIES + b'custom-properties"/>',
    "meta.xml": b'<?xml version="1.0" encoding="UTF-8"?>\n<office:document-meta xmlns:office="'
    + _OFFICE
    + b'" office:version="1.3"><office:meta/></office:document-meta>',
}
"""The parts of properties (ECMA-376, part 2, section 11; OpenDocument 1.3, part 3, section 4.3)."""
_SIGNATURES: Final = re.compile(r"^_xmlsignatures/|^meta-inf/\w*signatures\.xml$")
_THUMBNAIL: Final = re.compile(r"^docprops/thumbnail\.|^thumbnails/")
_NAMES_THUMBNAIL: Final = re.compile(
    rb"<(?:Relationship|Override|manifest:file-entry)\b[^<>]*thumbnail[^<>]*/>", re.IGNORECASE
)
_LISTS: Final = ("_rels/.rels", "[content_types].xml", "meta-inf/manifest.xml")
_TAG: Final = re.compile(rb"<[^<>]+>")
_PERSON: Final = re.compile(
    rb'(\s\w+:(?:author|initials|userId|contact)\s*=\s*)("[^"]+"|\'[^\']+\')'
)
_DATE: Final = re.compile(rb'\s\w+:(?:date|dateUtc)\s*=\s*("[^"]*"|\'[^\']*\')')
_CREATOR: Final = re.compile(
    rb"(<(dc:creator|meta:creator-initials|loext:sender-initials)>)[^<]+(</\2>)"
)
_CHANGED_AT: Final = re.compile(rb"(<dc:date>)[^<]+(</dc:date>)")
_PRINTER: Final = re.compile(
    rb'(<config:config-item\b[^<>]*"Printer(?:Name|Setup)"[^<>]*>)[^<]+(</config:config-item>)'
)
_NO_TIME: Final = b"2000-01-01T00:00:00"
"""In the place of the time of a change in an ODT, which must have one."""


def is_signed(content: bytes) -> bool:
    """Return whether an office file has a digital signature, which a changed file would break."""
    return any(_SIGNATURES.search(part.name.lower()) for part in parts(content))


def without_metadata(content: bytes) -> bytes:
    """Return the file without metadata. The same file gives the same bytes.

    Raises ``FailureError``: of a signed file too, since a changed file would not verify.
    """
    if is_signed(content):
        raise FailureError(Failure.NOT_REMOVABLE)
    return rewritten(content, cleaned)


def cleaned(part: Part) -> Part | None:
    """Return a part without metadata; ``None`` for a picture of the first page."""
    name = part.name.lower()
    if _THUMBNAIL.search(name):
        return None
    empty = EMPTY.get(name)
    if empty is not None:
        return part.changed(empty)
    if name in _LISTS:
        return _with(part, _NAMES_THUMBNAIL.sub(b"", _text(part)))
    if name in ("content.xml", "styles.xml", "settings.xml"):
        text = _CREATOR.sub(rb"\1\3", _text(part))
        text = _CHANGED_AT.sub(rb"\g<1>" + _NO_TIME + rb"\2", text)
        return _with(part, _PRINTER.sub(rb"\1\2", text))
    if name.startswith("word/") and name.endswith(".xml"):
        return _with(part, _TAG.sub(_nameless, _text(part)))
    if name.endswith((".jpg", ".jpeg", ".png")):
        return _with(part, _picture(part.content()))
    return part


def _with(part: Part, content: bytes) -> Part:
    """Return the part, packed anew only if its content is another one."""
    return part if content == part.content() else part.changed(content)


def _text(part: Part) -> bytes:
    """Return the content of a part in XML. Raises ``FailureError`` for another encoding."""
    content = part.content()
    if b"\x00" in content:  # UTF-16, in which a search for words finds nothing
        raise FailureError(Failure.NOT_REMOVABLE)
    return content


def _nameless(tag: re.Match[bytes]) -> bytes:
    named = _PERSON.sub(rb'\1""', tag[0])
    return tag[0] if named == tag[0] else _DATE.sub(b"", named)


def _picture(content: bytes) -> bytes:
    remove = jpeg.without_metadata if content.startswith(b"\xff\xd8") else png.without_metadata
    try:
        return remove(content)
    except FailureError:
        return content  # a picture that no reader knows is left as it is
