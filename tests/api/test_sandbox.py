"""The locked process: what it cannot do, what it tells of files and takes out of them."""

import io
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pi_heif
import pytest
from PIL import Image
from pypdf import PdfReader, PdfWriter
from pypdf.annotations import Text
from pypdf.generic import DecodedStreamObject, NameObject, TextStringObject

from api.client.schemas.case_documents import FoundMetadata
from api.sandbox import process
from api.sandbox.failures import Failure, FailureError
from ledger.vault.documents.office_files import office_type
from tests.support import unlocked
from tests.support.papers import DOCX, ODT, docx, odt
from tests.support.pictures import (
    AUTHOR,
    LATITUDE,
    LONGITUDE,
    XMP,
    drawn,
    encoded,
    exif,
    photographs,
    scan,
)

pi_heif.register_heif_opener()
ATTEMPTS = {
    "open a file": 'open("/etc/hostname")',
    "write a file": 'open("/tmp/case-ledger-never", "w")',
    "list a folder": 'os.listdir("/")',
    "look at a file": 'os.stat("/etc/hostname")',
    "connect": "socket.socket()",
    "make a socket pair": "socket.socketpair()",
    "fork": "os.fork()",
    "start a program": 'os.execv("/bin/true", ["true"])',
    "signal its parent": "os.kill(os.getppid(), 0)",
    "look into its parent": "ctypes.CDLL(None, use_errno=True).ptrace(16, parent, 0, 0) and fail()",
    "take memory": "bytearray(2 * 1024**3)",
    "raise a limit": "resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    "make a pipe": "os.pipe()",
}
PROBE = """
import ctypes, os, resource, socket, sys
from ledger.system.lockdown import lock_down
parent = os.getppid()
def fail(): raise OSError
lock_down(memory_bytes=1024**3, cpu_seconds=5)
for attempt in sys.argv[1:]:
    try:
        exec(attempt)
    except (OSError, MemoryError, ValueError) as error:
        os.write(1, type(error).__name__.encode() + b"\\n")
    else:
        os.write(1, b"done\\n")
os._exit(0)
"""


def test_a_locked_process_opens_connects_and_starts_nothing() -> None:
    words = [sys.executable, "-I", "-c", PROBE, *ATTEMPTS.values()]
    told = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout
    done = dict(zip(ATTEMPTS, told.split(), strict=True))
    assert [name for name, outcome in done.items() if outcome == "done"] == []


def test_a_locked_process_that_computes_for_ever_ends() -> None:
    probe = PROBE.replace("cpu_seconds=5", "cpu_seconds=1")
    words = [sys.executable, "-I", "-c", probe, "while True: pass"]
    assert subprocess.run(words, capture_output=True, timeout=60).returncode < 0


def test_a_process_has_no_environment_and_sees_no_other_stream() -> None:
    """Whatever is in the environment or open in the node stays out of the process."""
    seen = list[dict[str, object]]()

    class Popen(subprocess.Popen[bytes]):
        def __init__(self, words: object, **options: object) -> None:
            seen.append(options)
            super().__init__(words, **options)  # type: ignore[call-overload]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process.subprocess, "Popen", Popen)
        process.metadata([scan()], "application/pdf")
    (options,) = seen
    assert options["env"] == {}
    assert options.get("close_fds", True)
    assert "pass_fds" not in options


@pytest.mark.parametrize("media_type", photographs())
def test_metadata_of_a_photograph_are_told_and_removed(media_type: str) -> None:
    content = photographs(orientation=6)[media_type]
    found = process.metadata([content], media_type)
    assert found.latitude == pytest.approx(LATITUDE, abs=1e-5)
    assert found.longitude == pytest.approx(LONGITUDE, abs=1e-5)
    assert (found.camera, "exif" in found.other) == ("Acme Phone 1", True)
    with process.without_metadata([content], media_type) as copy:
        cleaned = b"".join(copy.content)
        assert copy.size == len(cleaned)
    left = unlocked.metadata(cleaned, media_type)
    assert left == type(left)()
    assert not any(word in cleaned for word in (b"Acme", b"zqAuthor", b"xmpmeta", b"SN-31415"))
    # The coded picture is the same, and the same way is up.
    before, after = Image.open(io.BytesIO(content)), Image.open(io.BytesIO(cleaned))
    assert before.tobytes() == after.tobytes()
    assert process.picture([cleaned], media_type, 1) == unlocked.picture(content, media_type)
    assert unlocked.cleaned(cleaned, media_type) == cleaned


def test_what_follows_a_picture_is_told_and_removed() -> None:
    for media_type, content in (
        ("image/jpeg", encoded(drawn(), "JPEG")),
        ("image/png", encoded(drawn(), "PNG")),
    ):
        hidden = content + b"<html><script>alert(1)</script></html>"
        assert unlocked.metadata(hidden, media_type).other == ("after_the_picture",)
        assert unlocked.cleaned(hidden, media_type) == content


def test_a_progressive_photograph_keeps_its_colours() -> None:
    profile = b"zqProfile" * 20_000
    options = {"progressive": True, "icc_profile": profile, "quality": 95}
    content = encoded(drawn(700, 500).convert("CMYK"), "JPEG", exif=exif(), **options)
    cleaned = Image.open(io.BytesIO(unlocked.cleaned(content, "image/jpeg")))
    assert cleaned.info["icc_profile"] == profile
    assert cleaned.tobytes() == Image.open(io.BytesIO(content)).tobytes()


def test_metadata_of_a_pdf_are_told() -> None:
    content = scan(author=AUTHOR, producer="zqProgram", title="zqTitle")
    found = process.metadata([content], "application/pdf")
    assert (found.author, found.title) == (AUTHOR, "zqTitle")
    assert "zqProgram" in (found.program or "")


def test_a_pdf_is_written_anew_without_its_metadata() -> None:
    photograph = photographs()["image/jpeg"]
    writer = PdfWriter(clone_from=io.BytesIO(scan(2, author=AUTHOR, title="zqTitle")))
    xmp = DecodedStreamObject()
    xmp.set_data(b"<x:xmpmeta>zqXmp</x:xmpmeta>")
    writer.root_object[NameObject("/Metadata")] = writer._add_object(xmp)
    picture = DecodedStreamObject()
    picture.set_data(photograph)
    named = {"Type": "XObject", "Subtype": "Image", "Filter": "DCTDecode"}
    picture.update({NameObject(f"/{k}"): NameObject(f"/{v}") for k, v in named.items()})
    page = writer.pages[0]
    page[NameObject("/LastModified")] = TextStringObject("zqTime")
    page["/Resources"]["/XObject"][NameObject("/Photo")] = writer._add_object(picture)  # type: ignore[index]
    writer.add_attachment("notes.txt", b"zqNotes")
    author, when = TextStringObject(AUTHOR), TextStringObject("D:20260102-zqTime")
    comment = writer.add_annotation(0, Text(rect=(9, 9, 30, 30), text="zqComment"))
    direct = Text(rect=(40, 9, 60, 30), text="zqDirect")
    for one in (comment, direct):
        for entry, value in (("/T", author), ("/M", when), ("/CreationDate", when)):
            one[NameObject(entry)] = value
    field = Text(rect=(70, 9, 90, 30), text="zqField")
    field[NameObject("/Subtype")] = NameObject("/Widget")
    field[NameObject("/T")], field[NameObject("/M")] = TextStringObject("zqFieldName"), when
    page["/Annots"].extend((direct, field))  # type: ignore[attr-defined]
    written = io.BytesIO()
    writer.write(written)
    content = written.getvalue()
    with process.without_metadata([content], "application/pdf") as copy:
        cleaned = b"".join(copy.content)
    words = (AUTHOR.encode(), b"zqTitle", b"zqXmp", b"zqTime", b"Acme", b"SN-31415", b"pypdf")
    assert [word for word in words if word in cleaned] == []
    assert all(word in cleaned for word in (b"zqComment", b"zqDirect", b"zqFieldName"))
    assert process.metadata([cleaned], "application/pdf") == FoundMetadata(other=("attachments",))
    assert process.picture([cleaned], "application/pdf", 2) == process.picture(
        [content], "application/pdf", 2
    )
    assert PdfReader(io.BytesIO(cleaned)).attachments["notes.txt"] == [b"zqNotes"]
    assert unlocked.cleaned(content, "application/pdf") == cleaned


@pytest.mark.parametrize("way", ["signed", "locked"])
def test_a_pdf_with_a_signature_or_a_password_is_not_changed(way: str) -> None:
    writer = PdfWriter(clone_from=io.BytesIO(scan()))
    if way == "locked":
        writer.encrypt("", "owner", algorithm="RC4-128")
    else:
        writer.root_object[NameObject("/ByteRange")] = TextStringObject("0 1 2 3")
    written = io.BytesIO()
    writer.write(written)
    with pytest.raises(FailureError) as failed:
        process.without_metadata([written.getvalue()], "application/pdf").__enter__()
    expected = Failure.PASSWORD if way == "locked" else Failure.NOT_REMOVABLE
    assert failed.value.failure is expected


WORD = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
TEXT = (
    f'<w:document {WORD}><w:p><w:ins w:id="1" w:author="{AUTHOR}" w:date="2026-01-02T03:04:05Z">'
    '<w:t>w:author="stays" in the text</w:t></w:ins></w:p></w:document>'
)
CORE = (
    '<cp:coreProperties xmlns:cp="http://schemas.openxmlformats.org/package/2006/metadata/'
    'core-properties" xmlns:dc="http://purl.org/dc/elements/1.1/"'
    f' xmlns:dcterms="http://purl.org/dc/terms/"><dc:creator>{AUTHOR}</dc:creator>'
    "<cp:lastModifiedBy>zqEditor</cp:lastModifiedBy>"
    "<dc:title>zqTitle</dc:title><dcterms:created>2026-01-02T03:04:05Z</dcterms:created>"
    "</cp:coreProperties>"
)
APP = "<Properties><Application>zqWord</Application><Company>zqShelter</Company></Properties>"
LINKS = '<Relationships><Relationship Id="1" Target="docProps/thumbnail.png"/></Relationships>'
META = (
    f'<office:document-meta xmlns:office="{"urn:oasis:names:tc:opendocument:xmlns:office:1.0"}"'
    ' xmlns:dc="http://purl.org/dc/elements/1.1/"><office:meta>'
    f"<dc:creator>{AUTHOR}</dc:creator><dc:title>zqTitle</dc:title></office:meta>"
    "</office:document-meta>"
)
CHANGED = (
    f'<document xmlns:dc="d"><change><dc:creator>{AUTHOR}</dc:creator>'
    "<dc:date>2026-01-02T03:04:05</dc:date></change><p>The text</p></document>"
)


def office_files() -> Mapping[str, bytes]:
    """A DOCX and an ODT that tell who made them, by every part that may."""
    photograph = photographs()["image/jpeg"]
    word = docx(
        **{
            "word/document.xml": TEXT,
            "docProps/core.xml": CORE,
            "docProps/app.xml": APP,
            "_rels/.rels": LINKS,
        }
    )
    more = {"docProps/thumbnail.png": b"zqThumb", "word/media/image1.jpeg": photograph}
    text = {"meta.xml": META, "content.xml": CHANGED, "Thumbnails/thumbnail.png": b"zqThumb"}
    return {
        DOCX: with_parts(word, more),
        ODT: with_parts(odt(), {**text, "Pictures/1.jpg": photograph}),
    }


def with_parts(content: bytes, more: Mapping[str, str | bytes]) -> bytes:
    """Return an office file with further parts, or with others in their place."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w") as new:
        for one in old.infolist():
            if one.filename not in more:
                new.writestr(one, old.read(one))
        for name, part in more.items():
            new.writestr(name, part, zipfile.ZIP_DEFLATED)
    return file.getvalue()


@pytest.mark.parametrize("media_type", [DOCX, ODT])
def test_metadata_of_an_office_file_are_told_and_removed(media_type: str) -> None:
    content = office_files()[media_type]
    found = process.metadata([content], media_type)
    assert found.title == "zqTitle"
    # Each person that the file names is told, and so is the organisation.
    named = (f"{AUTHOR}, zqEditor", "zqShelter") if media_type == DOCX else (AUTHOR, None)
    assert (found.author, found.organisation) == named
    assert {"comment", "exif", "thumbnail"} <= set(found.other)
    if media_type == DOCX:
        assert (found.program, found.made_at) == ("zqWord", "2026-01-02T03:04:05")
    with process.without_metadata([content], media_type) as copy:
        cleaned = b"".join(copy.content)
    assert process.metadata([cleaned], media_type) == FoundMetadata()
    assert (
        office_type(len(cleaned), lambda first, size: cleaned[first : first + size]) == media_type
    )
    with zipfile.ZipFile(io.BytesIO(cleaned)) as made:
        assert made.testzip() is None
        left = b"".join(made.read(one) for one in made.namelist())
        assert not any("humbnail" in name for name in made.namelist())
    words = (
        AUTHOR.encode(),
        b"zqTitle",
        b"zqWord",
        b"zqShelter",
        b"zqEditor",
        b"zqThumb",
        b"Acme",
        b"2026-",
    )
    assert [word for word in words if word in left] == []
    assert (b'w:author="stays" in the text' if media_type == DOCX else b"<p>The text</p>") in left
    assert b"humbnail" not in left
    assert unlocked.cleaned(cleaned, media_type) == cleaned


@pytest.mark.parametrize(
    ("part", "content", "failure"),
    [
        ("_xmlsignatures/sig1.xml", "<Signature/>", Failure.NOT_REMOVABLE),
        ("word/comments.xml", "<c/>".encode("utf-16"), Failure.NOT_REMOVABLE),
        ("word/footnotes.xml", b"<" * (70 * 2**20), Failure.TOO_LARGE),
    ],
)
def test_an_office_file_that_cannot_be_changed_is_refused(
    part: str, content: str | bytes, failure: Failure
) -> None:
    file = with_parts(docx(), {part: content})
    with pytest.raises(FailureError) as failed:
        process.without_metadata([file], DOCX).__enter__()
    assert failed.value.failure is failure


def test_an_office_file_with_entities_is_not_parsed() -> None:
    bomb = '<!DOCTYPE a [<!ENTITY b "b"><!ENTITY c "&b;&b;">]><a>&c;</a>'
    with pytest.raises(FailureError) as failed:
        process.metadata([with_parts(docx(), {"docProps/core.xml": bomb})], DOCX)
    assert failed.value.failure is Failure.DAMAGED


def test_every_page_has_a_picture() -> None:
    made = process.picture([scan(3)], "application/pdf", 3)
    assert (made.pages, made.height) == (3, 2000)
    assert len(made.rgb) == 3 * made.width * made.height
    pages = [drawn(40, 30), drawn(20, 50)]
    fax = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert unlocked.picture(fax, "image/tiff", 2)[:3] == (2, 20, 50)
    for content, media_type in ((fax, "image/tiff"), (scan(), "application/pdf")):
        with pytest.raises(FailureError) as failed:
            unlocked.picture(content, media_type, 3)
        assert failed.value.failure is Failure.NO_SUCH_PAGE


def test_pictures_of_every_kind_are_shown() -> None:
    grey = Image.new("I;16", (4, 4), 40_000)
    assert unlocked.picture(encoded(grey, "PNG"), "image/png").rgb == bytes((156,)) * 48
    glass = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    assert unlocked.picture(encoded(glass, "PNG"), "image/png").rgb == b"\xff" * 48
    for mode in ("1", "P", "CMYK"):
        image = drawn().convert(mode)
        made = unlocked.picture(encoded(image, "TIFF"), "image/tiff")
        assert made[1:3] == image.size


def test_an_answer_of_a_process_that_was_taken_over_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The process may answer anything: none of it is taken that is not within bounds."""
    fake = tmp_path / "fake"
    answers = {
        "nothing": b"",
        "no length": b"\xff\xff",
        "a huge head": b"\xff\xff\xff\xff" + b"{}",
        "no JSON": b"\x00\x00\x00\x02xx",
        "a huge picture": head(b'{"pages":1,"width":99999,"height":99999,"bytes":9}'),
        "too few pixels": head(b'{"pages":1,"width":2,"height":2,"bytes":3}') + b"abc",
        "too many": head(b'{"pages":1,"width":1,"height":1,"bytes":30}') + bytes(30),
        "fewer than announced": head(b'{"pages":1,"width":2,"height":2,"bytes":12}') + bytes(5),
        "another failure": head(b'{"failure":"<script>","bytes":0}'),
        "another field": head(b'{"pages":1,"width":1,"height":1,"bytes":3,"x":1}') + bytes(3),
    }
    for name, answer in answers.items():
        fake.write_bytes(answer)
        monkeypatch.setattr(process, "_COMMAND", ("/bin/cat", str(fake)))
        with pytest.raises(FailureError) as failed:
            process.picture([scan()], "application/pdf", 1)
        assert failed.value.failure in (Failure.DAMAGED, Failure.TOO_LARGE), name


def test_metadata_of_a_process_that_was_taken_over_turn_no_text_around(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (fake := tmp_path / "fake").write_bytes(
        head('{"metadata":{"author":"a\u202eb"},"bytes":0}'.encode())
    )
    monkeypatch.setattr(process, "_COMMAND", ("/bin/cat", str(fake)))
    with pytest.raises(FailureError):
        process.metadata([scan()], "application/pdf")


def head(text: bytes) -> bytes:
    return len(text).to_bytes(4, "big") + text


def test_a_process_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "SECONDS", 0.3)
    endless = (sys.executable, "-c", "import time; time.sleep(600)")
    monkeypatch.setattr(process, "_COMMAND", endless)
    with pytest.raises(FailureError) as failed:
        process.picture([bytes(10_000_000)], "application/pdf", 1)
    assert failed.value.failure is Failure.TOO_LARGE


def test_xmp_alone_tells_a_place() -> None:
    content = encoded(drawn(), "JPEG", xmp=XMP)
    found = unlocked.metadata(content, "image/jpeg")
    assert (found.latitude, found.longitude) == pytest.approx((LATITUDE, LONGITUDE), abs=1e-5)
