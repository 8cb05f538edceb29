"""Resumable uploads: by the client, by a foreign client of tus, over a lost line, and refused."""

import hashlib
import socket
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from tusclient.client import TusClient

from api.client.assertion import make_assertion
from api.client.errors import RefusedError
from api.http.chunk_places import ChunkPlaces
from tests.support.actions import opening
from tests.support.papers import pdf
from tests.support.serving import Server
from tests.support.waiting import until

AGENCY = "xk-dhtqnj"
TUS = {"Tus-Resumable": "1.0.0"}
CONTENT = "application/offset+octet-stream"


@pytest.fixture
def served(served_once: Server) -> Server:
    return served_once


def authorised(server: Server, agency: str = AGENCY) -> dict[str, str]:
    assertion = make_assertion(agency, server.agencies.keys[agency], "case-ledger")
    return {"Authorization": f"Bearer {assertion}"}


def ask(
    server: Server, method: str, path: str, *, agency: str = AGENCY, **more: Any
) -> httpx.Response:
    headers = {**TUS, **more.pop("headers", {}), **authorised(server, agency)}
    return httpx.request(method, server.url + path, headers=headers, **more)


def declared(content: bytes, digest: str | None = None) -> dict[str, str]:
    text = digest or hashlib.sha256(content).hexdigest()
    encoded = b64encode(text.encode()).decode()
    return {"Upload-Length": str(len(content)), "Upload-Metadata": f"sha256 {encoded}"}


def begun(server: Server, case_id: UUID, content: bytes, **more: str) -> str:
    path = f"/v1/cases/{case_id}/uploads"
    answer = ask(server, "POST", path, headers=declared(content, **more))
    assert (answer.status_code, answer.headers["tus-resumable"]) == (201, "1.0.0")
    return answer.headers["location"]


def part(server: Server, path: str, offset: int, content: bytes, **headers: str) -> httpx.Response:
    told = {"Upload-Offset": str(offset), "Content-Type": CONTENT, **headers}
    return ask(server, "PATCH", path, headers=told, content=content)


def offset(server: Server, path: str) -> int:
    answer = ask(server, "HEAD", path)
    assert answer.headers["cache-control"] == "no-store"
    return int(answer.headers["upload-offset"])


def test_the_client_uploads_a_file_once(served: Server, tmp_path: Path) -> None:
    (file := tmp_path / "consent.pdf").write_bytes(pdf(2_500_000))
    case_id, seen = uuid4(), list[tuple[int, int]]()
    with served.client(AGENCY) as client:
        state = client.upload(case_id, file, progress=lambda *so_far: seen.append(so_far))
        again = client.upload(case_id, file)
    assert (state.is_whole, state.size, again) == (True, 2_500_000, state)
    assert [done for done, _ in seen] == [0, 1_048_576, 2_097_152, 2_500_000]


class _Signing(TusClient):
    """The foreign client, with an assertion of its own for each request."""

    server: Server

    @property
    def headers(self) -> Mapping[str, str]:
        return authorised(self.server)

    @headers.setter
    def headers(self, value: object) -> None:
        pass


def test_a_foreign_client_uploads_and_resumes(served: Server, tmp_path: Path) -> None:
    content = pdf(700_001)
    (file := tmp_path / "report.pdf").write_bytes(content)
    client = _Signing(f"{served.url}/v1/cases/{uuid4()}/uploads")
    client.server = served
    digest = {"sha256": hashlib.sha256(content).hexdigest(), "filename": "report.pdf"}
    uploader = client.uploader(str(file), chunk_size=100_000, metadata=digest)
    uploader.upload(stop_at=300_000)
    url = uploader.url
    resumed = client.uploader(str(file), chunk_size=150_000, url=url)
    assert resumed.offset == 300_000
    resumed.upload()
    assert resumed.get_offset() == 700_001
    state = ask(served, "GET", url.removeprefix(served.url)).json()
    assert state["is_whole"]


def test_a_line_that_breaks_loses_no_byte_that_came(served: Server) -> None:
    content, case_id = pdf(600_000), uuid4()
    path = begun(served, case_id, content)
    host, port = served.url.removeprefix("http://").split(":")
    told = {**TUS, **authorised(served), "Host": host, "Upload-Offset": "0"}
    told |= {"Content-Type": CONTENT, "Content-Length": "600000"}
    head = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    with socket.create_connection((host, int(port))) as line:
        line.sendall(f"PATCH {path} HTTP/1.1\r\n{head}\r\n".encode() + content[:300_000])
        until(lambda: offset(served, path) >= 262_144)
    until(lambda: offset(served, path) == 300_000)
    assert part(served, path, 299_999, content[299_999:]).json()["rule"] == "upload-offset"
    answer = part(served, path, 300_000, content[300_000:])
    assert (answer.status_code, answer.headers["upload-offset"]) == (204, "600000")
    assert ask(served, "GET", path).json()["is_whole"]
    assert begun(served, case_id, content) == path


def test_a_slow_line_gives_its_place_to_the_next_upload(
    served: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(served.app.state._state, "chunk_places", ChunkPlaces(1))
    slow, fast, case_id = pdf(300_000), pdf(300_001), uuid4()
    path, other = begun(served, case_id, slow), begun(served, case_id, fast)
    host, port = served.url.removeprefix("http://").split(":")
    told = {**TUS, **authorised(served), "Host": host, "Upload-Offset": "0"}
    told |= {"Content-Type": CONTENT, "Content-Length": "300000"}
    head = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    with socket.create_connection((host, int(port))) as line:
        line.sendall(f"PATCH {path} HTTP/1.1\r\n{head}\r\n".encode() + slow[:1000])
        limiter = served.app.state.chunk_places.limiter
        until(lambda: limiter.borrowed_tokens == 1)
        assert offset(served, path) == 0
        assert part(served, other, 0, fast).status_code == 204
        assert offset(served, path) == 1000
        line.sendall(slow[1000:])
        assert line.recv(12) == b"HTTP/1.1 204"
    for whole in (path, other):
        assert ask(served, "GET", whole).json()["is_whole"]
    assert limiter.borrowed_tokens == 0


def test_an_upload_is_ended(served: Server) -> None:
    content, case_id = pdf(1000), uuid4()
    path = begun(served, case_id, content)
    assert part(served, path, 0, content[:10]).status_code == 204
    assert ask(served, "GET", path, agency="me-csw-podgorica").status_code == 404
    assert ask(served, "GET", path, agency="xk-border").json()["rule"] == "unknown-upload"
    assert ask(served, "DELETE", path).status_code == 204
    gone = ask(served, "HEAD", path)
    assert (gone.status_code, gone.headers["tus-resumable"]) == (404, "1.0.0")


@pytest.mark.parametrize(
    ("changed", "status", "rule"),
    [
        ({"Upload-Length": ""}, 422, "upload-length"),
        ({"Upload-Length": "25000001"}, 413, "document-too-large"),
        ({"Upload-Length": "-1"}, 422, "request"),
        ({"Upload-Metadata": ""}, 422, "upload-metadata"),
        ({"Upload-Metadata": "sha256 !"}, 422, "upload-metadata"),
        ({"Upload-Metadata": "sha256 QUJD"}, 422, "upload-metadata"),
        ({"Tus-Resumable": "0.2.2"}, 412, "tus-version"),
    ],
)
def test_a_wrong_beginning_is_refused(
    served: Server, changed: dict[str, str], status: int, rule: str
) -> None:
    headers = {n: v for n, v in {**declared(pdf(99)), **changed}.items() if v}
    answer = ask(served, "POST", f"/v1/cases/{uuid4()}/uploads", headers=headers)
    assert (answer.status_code, answer.json()["rule"]) == (status, rule)
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_wrong_part_is_refused(served: Server) -> None:
    content = pdf(1000)
    path = begun(served, uuid4(), content)
    other = {"Content-Type": "application/pdf"}
    assert part(served, path, 0, content, **other).json()["rule"] == "upload-type"
    assert part(served, path, 0, content + b"!").json()["rule"] == "upload-too-long"
    assert part(served, path, 5, content).json()["rule"] == "upload-offset"
    assert offset(served, path) == 0
    unsigned = httpx.patch(served.url + path, content=content, headers=TUS)
    assert unsigned.status_code == 401


def test_another_content_than_the_declared_one_is_refused(served: Server) -> None:
    path = begun(served, uuid4(), pdf(1000), digest="0" * 64)
    answer = part(served, path, 0, pdf(1000))
    assert (answer.status_code, answer.json()["rule"]) == (422, "document-digest")
    script = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
    answer = part(served, begun(served, uuid4(), script), 0, script)
    assert (answer.status_code, answer.json()["rule"]) == (422, "document-type")


def test_a_case_of_other_countries_takes_no_document(served: Server, tmp_path: Path) -> None:
    (file := tmp_path / "consent.pdf").write_bytes(pdf(100))
    case_id = uuid4()
    with served.client(AGENCY) as client:
        client.append(opening(), case_id, 0)
        assert client.upload(case_id, file).is_whole
    for agency, rule in (("me-csw-podgorica", "unknown-case"), ("xk-node", "no-uploads")):
        with served.client(agency) as client, pytest.raises(RefusedError) as refused:
            client.upload(case_id, file)
        assert refused.value.problem.rule == rule


def test_uploads_to_unknown_cases_are_bounded_together(served: Server) -> None:
    """The ids of such cases are the agency's choice: it could fill the disk of its country."""
    agency, large = "xk-border", 25_000_000
    digest = b64encode(b"0" * 64).decode()
    told = {"Upload-Length": str(large), "Upload-Metadata": f"sha256 {digest}"}

    def begin(case_id: UUID, by: str = agency) -> httpx.Response:
        path = f"/v1/cases/{case_id}/uploads"
        return ask(served, "POST", path, agency=by, headers=told)

    begun_now = [begin(uuid4()) for _ in range(21)]
    assert [one.status_code for one in begun_now] == [201] * 20 + [409]
    assert begun_now[-1].json()["rule"] == "case-documents-full"
    assert begin(uuid4(), "xk-ngo-support").status_code == 201
    with served.client(agency) as client:
        client.append(opening(), case := uuid4(), 0)
    assert begin(case).status_code == 201
    for one in begun_now[:20]:
        assert ask(served, "DELETE", one.headers["location"], agency=agency).status_code == 204
