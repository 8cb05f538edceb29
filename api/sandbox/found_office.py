"""Finds the metadata of a DOCX or an ODT: who wrote it, when, and with which program.

It runs only in the locked process.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from xml.etree import ElementTree

from api.sandbox.failures import Failure, FailureError
from api.sandbox.office_parts import Part, parts
from api.sandbox.without_metadata import office

_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d)?")
_PERSONS: Final = ("initial-creator", "creator", "lastModifiedBy", "printed-by", "Manager")
"""The elements that name a person: who made the file, changed it last, printed it, or leads."""
_SHOWN: Final[Mapping[str, tuple[str, ...]]] = {
    "organisation": ("Company",),
    "title": ("title",),
    "program": ("Application", "generator"),
    "made_at": ("created", "creation-date", "modified", "date"),
}
"""The elements that tell each of the metadata, the best first."""
_OTHERS: Final = frozenset(
    ("Template", "subject", "description", "keywords", "keyword", "category",
     "property", "user-defined", "template", "lastPrinted", "print-date")
)  # fmt: skip
Found = dict[str, Any]


def found_in_office(content: bytes) -> Found:
    """Return what an office file tells of its making. Raises ``FailureError``."""
    told: dict[str, str] = {}
    other: set[str] = set()
    if office.is_signed(content):
        other.add("signature")
    for part in parts(content):
        name = part.name.lower()
        if name in office.EMPTY:
            told |= {tag: text for tag, text in _elements(part) if tag not in told}
        elif name not in ("_rels/.rels", "[content_types].xml", "meta-inf/manifest.xml"):
            other |= set(_other(part, name))
    if _OTHERS & told.keys():
        other.add("other")
    found: Found = {
        field: next((told[tag] for tag in tags if tag in told), None)
        for field, tags in _SHOWN.items()
    }
    found["author"] = ", ".join(dict.fromkeys(told[tag] for tag in _PERSONS if tag in told))
    if (at := found["made_at"]) is not None:
        match = _TIME.match(at)
        found["made_at"] = match[0] if match else None
    return {name: value for name, value in found.items() if value} | {"other": sorted(other)}


def _elements(part: Part) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each element of a part of properties."""
    content = part.content()
    if b"<!" in content.replace(b"<!--", b""):
        raise FailureError(Failure.DAMAGED)  # no office program writes a DTD
    try:
        for element in ElementTree.fromstring(content).iter():  # noqa: S314  # in a locked process
            text = "".join(element.itertext()).strip()
            if (text and len(element) == 0) or element.tag.endswith("}property"):
                yield element.tag.rpartition("}")[2], text
    except ElementTree.ParseError:
        raise FailureError(Failure.DAMAGED) from None


def _other(part: Part, name: str) -> Iterator[str]:
    """Yield the sort of metadata that a part has which a copy without metadata has not."""
    kept = office.cleaned(part)
    if kept is None:
        yield "thumbnail"
    elif kept is not part:
        yield "exif" if name.endswith((".jpg", ".jpeg", ".png")) else "comment"
