"""Copies of documents with a visible mark: who got the copy, when, for what and of which case."""

import hashlib
import textwrap
from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from api.sandbox import process
from api.sandbox.failures import Failure, FailureError
from api.services.document_redactions import not_isolated
from ledger.procedure.readings import Reading
from ledger.refusals import Ground, Refusal
from ledger.vault.documents.documents import OpenedDocument
from ledger.vocabulary.case_reference import case_reference

_WIDTH_PIXELS: Final = 1600
_TEXT_PIXELS: Final = 24
_LINE_PIXELS: Final = 32
_MARGIN_PIXELS: Final = 14
_LINE_CHARACTERS: Final = 118
_PRACTICE: Final = "PRACTICE: invented people"
_NOT_MARKABLE: Final = "Ask for the signed original (copy=original)."
_REFUSALS: Final = {
    Failure.NOT_MARKABLE: Refusal(
        Ground.INVALID,
        "document-not-markable",
        f"A file of this type carries no visible mark. {_NOT_MARKABLE}",
        "copy",
    ),
    Failure.PASSWORD: Refusal(
        Ground.INVALID,
        "document-locked",
        f"The file opens with a password alone, so no mark can be put on it. {_NOT_MARKABLE}",
        "copy",
    ),
    Failure.TOO_LARGE: Refusal(
        Ground.INVALID,
        "document-too-complex",
        "Reading the file takes more memory or time than this node gives to one file."
        f" {_NOT_MARKABLE}",
        "copy",
    ),
    Failure.DAMAGED: Refusal(
        Ground.INVALID,
        "document-not-readable",
        "The file is damaged or cut, or has parts that this node does not read, so no mark can be"
        f" put on it. {_NOT_MARKABLE}",
        "copy",
    ),
}


class MarkedDocument(NamedTuple):
    """A copy of a document with a visible mark."""

    media_type: str
    content: bytes
    sha256: bytes
    """Of the copy: another one than was signed."""


def marked(document: OpenedDocument, action: UUID, *, is_practice: bool) -> MarkedDocument:
    """Return a copy of a document whose pages carry the entry of the access log that opened it.

    ``is_practice``: the mark says that the people of the ledger are invented.
    Raises ``Refusal`` (``document-not-markable``, ``document-locked``, ``document-too-complex``,
    ``document-not-readable``), a problem (``no-isolation``), and ``SealError`` if the content does
    not open.
    """
    media_type = document.metadata.media_type or ""
    lines = mark(document.reading, action, document.metadata.sha256)
    width, pixels = _drawn([_PRACTICE, *lines] if is_practice else lines)
    content = document.part(0, document.place.size - 1)
    try:
        with process.marked(content, media_type, width, pixels) as copy:
            made = b"".join(copy.content)
            return MarkedDocument(copy.media_type, made, hashlib.sha256(made).digest())
    except FailureError as error:
        refusal = _REFUSALS.get(error.failure)
        if refusal is None:
            raise not_isolated() from None
        raise Refusal(refusal.ground, refusal.rule, refusal.message, refusal.field) from None


def mark(reading: Reading, action: UUID, sha256: str) -> Sequence[str]:
    """Return the lines of a mark. Names are the ids of the ledger, which are the same for all."""
    asked = reading.asked
    who = f"{asked.agency}, {asked.person or asked.key_id}"
    texts = (
        f"COPY for {who}, {reading.at:%Y-%m-%d %H:%M} UTC, purpose: {asked.purpose},"
        f" entry {reading.seq} of the access log",
        f"Case {case_reference(asked.case_id)} ({asked.case_id}), document {action}."
        f" The signed original has SHA-256 {sha256}",
    )
    return [line for text in texts for line in textwrap.wrap(text, _LINE_CHARACTERS)]


def _drawn(lines: Sequence[str]) -> tuple[int, bytes]:
    """Return the width of a strip with lines of text, and its pixels in grey, row by row."""
    from PIL import Image, ImageDraw, ImageFont

    height = 2 * _MARGIN_PIXELS + _LINE_PIXELS * len(lines)
    strip = Image.new("L", (_WIDTH_PIXELS, height), 255)
    pen = ImageDraw.Draw(strip)
    pen.line((0, 1, _WIDTH_PIXELS, 1), fill=0, width=2)
    font = ImageFont.load_default(_TEXT_PIXELS)
    for number, line in enumerate(lines):
        place = (_MARGIN_PIXELS, _MARGIN_PIXELS + number * _LINE_PIXELS)
        pen.text(place, line, fill=0, font=font)
    return _WIDTH_PIXELS, strip.tobytes()
