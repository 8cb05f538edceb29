"""Previews and metadata over HTTP: of own uploads, and of documents as their contents are read."""

import io
from pathlib import Path
from uuid import uuid4

import pytest
from PIL import Image

from api.client.errors import RefusedError
from ledger.vault.documents.media_types import SUFFIXES, media_type
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import DocumentKind, Purpose
from tests.api.test_case_documents import added, command, consented, opened
from tests.api.test_document_uploads import ask, begun, part
from tests.support.papers import DOCX, ODT, docx, odt
from tests.support.pictures import AUTHOR, LATITUDE, photographs, scan
from tests.support.serving import Server

AGENCY = "xk-dhtqnj"
pytestmark = pytest.mark.process  # of the node, which reads each document in one


@pytest.fixture
def served(served_once: Server) -> Server:
    return served_once


def test_a_document_is_shown_by_the_rules_of_its_content(served: Server, tmp_path: Path) -> None:
    (file := tmp_path / "consent.pdf").write_bytes(scan(2))
    case, _ = opened(served)
    receipt = added(served, case, 1, file, FieldGroup.IDENTITY)
    purpose = Purpose.PROTECTION
    with served.client("xk-ngo-support") as client:
        with pytest.raises(RefusedError) as refused:
            client.preview(case, receipt.action_id, purpose=purpose)
        assert refused.value.problem.rule == "no-legal-basis"
        consented(served, case, 2)
        shown = client.preview(case, receipt.action_id, 2, purpose=purpose)
        assert shown.pages == 2
        assert Image.open(io.BytesIO(shown.picture)).size == (1500, 2000)
        log = client.readings(case).readings
        assert [(one.granted, one.concerning) for one in log] == [
            (False, receipt.action_id),
            (True, receipt.action_id),
        ]
        with pytest.raises(RefusedError) as refused:
            client.preview(case, receipt.action_id, 3, purpose=purpose)
        assert refused.value.problem.rule == "document-page"
    for agency, status in (("me-csw-podgorica", 404), ("xk-ombudsperson", 403)):
        with served.client(agency) as client, pytest.raises(RefusedError) as refused:
            client.preview(case, receipt.action_id, purpose=purpose)
        assert refused.value.problem.status == status


def test_an_upload_is_shown_to_its_agency_alone(served: Server) -> None:
    case, content = uuid4(), photographs(orientation=6)["image/jpeg"]
    path = begun(served, case, content)
    assert ask(served, "GET", f"{path}/preview").json()["rule"] == "upload-not-whole"
    assert part(served, path, 0, content).status_code == 204
    shown = ask(served, "GET", f"{path}/preview")
    assert (shown.status_code, shown.headers["document-pages"]) == (200, "1")
    assert shown.headers["content-type"] == "image/jpeg"
    assert shown.headers["content-security-policy"].startswith("sandbox")
    assert (shown.headers["x-content-type-options"], shown.headers["cache-control"]) == (
        "nosniff",
        "no-store",
    )
    picture = Image.open(io.BytesIO(shown.content))
    assert picture.size == (48, 64)  # it stands as it was taken
    assert not picture.getexif()
    assert AUTHOR.encode() not in shown.content
    for way in ("preview", "metadata"):
        for agency in ("xk-border", "me-csw-podgorica"):
            assert ask(served, "GET", f"{path}/{way}", agency=agency).status_code == 404
    assert ask(served, "POST", f"{path}/without-metadata", agency="xk-border").status_code == 404
    assert ask(served, "GET", f"{path}/preview?page=0").status_code == 422


def test_metadata_are_told_and_a_copy_without_them_is_one_upload(served: Server) -> None:
    case, content = uuid4(), photographs()["image/png"]
    path = begun(served, case, content)
    part(served, path, 0, content)
    told = ask(served, "GET", f"{path}/metadata").json()
    assert (told["latitude"], told["author"], told["is_removable"]) == (LATITUDE, AUTHOR, True)
    made = ask(served, "POST", f"{path}/without-metadata")
    assert made.status_code == 201
    assert ask(served, "POST", f"{path}/without-metadata").json() == made.json()
    copy = made.headers["location"]
    assert made.json() == ask(served, "GET", copy).json()
    assert (made.json()["is_whole"], copy == path) == (True, False)
    left = ask(served, "GET", f"{copy}/metadata").json()
    assert (left["latitude"], left["author"], left["other"]) == (None, None, [])
    assert ask(served, "POST", f"{copy}/without-metadata").json() == made.json()


def test_an_office_file_has_no_preview_and_a_damaged_one_is_not_opened(served: Server) -> None:
    damaged = scan()[:-200] + bytes(200)
    for content, way, rule in (
        (docx(), "preview", "no-preview"),
        (photographs()["image/png"][:-40], "preview", "document-not-readable"),
        (scan(), "preview?page=9", "document-page"),
        (b"%PDF-1.7\n" + damaged[:50], "metadata", "document-not-readable"),
    ):
        path = begun(served, uuid4(), content)
        assert part(served, path, 0, content).status_code == 204
        assert ask(served, "GET", f"{path}/{way}").json()["rule"] == rule
    path = begun(served, uuid4(), content := scan(author=AUTHOR))
    part(served, path, 0, content)
    assert ask(served, "GET", f"{path}/metadata").json()["author"] == AUTHOR
    copy = ask(served, "POST", f"{path}/without-metadata")
    assert copy.status_code == 201
    told = ask(served, "GET", f"{copy.headers['location']}/metadata").json()
    assert (told["author"], told["is_removable"]) == (None, True)
    path = begun(served, uuid4(), content := docx(**{"_xmlsignatures/sig1.xml": "<Signature/>"}))
    part(served, path, 0, content)
    told = ask(served, "GET", f"{path}/metadata").json()
    assert (told["other"], told["is_removable"]) == (["signature"], False)
    refused = ask(served, "POST", f"{path}/without-metadata")
    assert (refused.status_code, refused.json()["rule"]) == (422, "metadata-not-removable")


def test_the_command_tells_metadata_removes_them_and_writes_a_preview(
    served: Server, tmp_path: Path
) -> None:
    (file := tmp_path / "photograph.jpg").write_bytes(photographs()["image/jpeg"])
    case, _ = opened(served)
    add = ("document", "add", case, file, "--kind", "photograph", "--title", "Border", "-a", AGENCY)
    said = command(served, tmp_path, *add, "--case-level")
    assert "which are removed" in said
    assert "42.658333, 21.150000" in said
    assert "which are sent" in command(served, tmp_path, *add, "--case-level", "--keep-metadata")
    with served.client(AGENCY) as client:
        clean, whole = client.documents(case).documents
        assert clean.document.size < whole.document.size == file.stat().st_size
    show = ("document", "preview", case, clean.id, tmp_path / "page.jpg", "-a", AGENCY)
    assert "page 1 of 1" in command(served, tmp_path, *show, "--purpose", "protection")
    assert Image.open(tmp_path / "page.jpg").size == (64, 48)


def test_no_type_is_shown_by_a_browser_as_a_file_of_this_node(
    served: Server, tmp_path: Path
) -> None:
    contents = [*photographs().values(), scan(), docx(), odt()]
    case, _ = opened(served)
    for version, content in enumerate(contents, 1):
        (file := tmp_path / f"{version}.html").write_bytes(content)
        with served.client(AGENCY) as client:
            receipt = client.add_document(
                case, version, file, kind=DocumentKind.REPORT, title="a.html", group=None,
                keep_metadata=True,
            )  # fmt: skip
        path = f"/v1/cases/{case}/documents/{receipt.action_id}/content?purpose=protection"
        answer = ask(served, "GET", f"{path}&copy=original")
        assert answer.content == content
        kind = media_type(len(content), lambda at, length, of=content: of[at : at + length])
        name = f"{receipt.action_id}.{SUFFIXES[kind]}"
        assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
        assert answer.headers["content-type"] == kind
        # An office file has no marked copy.
        others = [] if kind in (DOCX, ODT) else [ask(served, "GET", path).headers]
        for told in (answer.headers, *others):
            assert told["content-disposition"].startswith("attachment; filename=")
            assert told["content-type"] in SUFFIXES
            assert told["x-content-type-options"] == "nosniff"
            assert told["content-security-policy"].startswith("sandbox; default-src 'none'")
            assert told["cross-origin-resource-policy"] == "same-origin"


def test_the_client_adds_a_photograph_without_its_metadata(served: Server, tmp_path: Path) -> None:
    content = photographs()["image/jpeg"]
    (file := tmp_path / "photograph.jpg").write_bytes(content)
    case, _ = opened(served)
    described = {"kind": DocumentKind.PHOTOGRAPH, "title": "At the border", "group": None}
    with served.client(AGENCY) as client:
        client.add_document(case, 1, file, **described)
        client.add_document(case, 2, file, **described, keep_metadata=True)
        clean, whole = (one.document for one in client.documents(case).documents)
    assert (clean.size < len(content), whole.size) == (True, len(content))
