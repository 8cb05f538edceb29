"""A node that has its checkpoints timestamped over HTTP, and what its users verify of that."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
import pytest

from api.background_jobs.timestamper import MAX_BYTES, HttpTimestampAuthority, Timestamper
from api.demo.node_process import free_port
from api.node.node import check_settings
from api.runtime.settings import Settings
from ledger.application import Ledger
from ledger.log.checkpoint import Checkpoint
from ledger.log.note import Note
from ledger.log.timestamp import check, obtain
from ledger.store.database import Database
from tests.support.actions import opening
from tests.support.agencies import Agencies
from tests.support.command_line import CommandLine
from tests.support.serving import Server, running
from tests.support.timestamping import Authority, Respond, send, serving_authority
from tests.support.waiting import until

TEXT = "ledger.example/logs\n3\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def served(
    ledger: Ledger,
    database: str,
    agencies: Agencies,
    authority: Authority,
    directory: Path,
    port: int,
) -> Iterator[Server]:
    """A node whose authority is not there yet."""
    assert ledger.registry() is not None
    settings = Settings(
        data_directory=directory / "served",
        port=0,
        timestamp_url=f"http://127.0.0.1:{port}/tsa",
        timestamp_roots=authority.roots_file,
        timestamp_every=1,
    )
    with running(settings, database, agencies) as server:
        yield server


def asked(respond: Authority | Respond, seconds: float = 10.0) -> bytes:
    with serving_authority(respond) as url:
        client = HttpTimestampAuthority(url, seconds=seconds)
        try:
            return client.answer(b"a request")
        finally:
            client.close()


def test_an_authority_is_asked_over_http(authority: Authority) -> None:
    with serving_authority(authority) as url:
        client = HttpTimestampAuthority(url)
        made = obtain(client, TEXT, [authority.root])
        client.close()
    assert check(made.token, TEXT, [authority.root]) == made.moment
    with pytest.raises(ConnectionError):
        HttpTimestampAuthority(url, seconds=1).answer(b"a request")


def long(handler: BaseHTTPRequestHandler, _: bytes) -> None:
    """An answer without an announced length, and without an end."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/timestamp-reply")
    handler.end_headers()
    for _ in range(10_000):
        try:
            handler.wfile.write(bytes(MAX_BYTES))
        except OSError:
            return
    raise AssertionError("all of it was read")


def slow(handler: BaseHTTPRequestHandler, _: bytes) -> None:
    """An answer of which a byte comes now and then."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/timestamp-reply")
    handler.end_headers()
    for _ in range(100):
        try:
            handler.wfile.write(b"0")
        except OSError:
            return
        time.sleep(0.1)


def echo(handler: BaseHTTPRequestHandler, request: bytes) -> None:
    assert handler.headers["content-type"] == "application/timestamp-query"
    send(handler, request, media_type="Application/Timestamp-Reply; charset=binary")


@pytest.mark.parametrize(
    ("respond", "why"),
    [
        (long, "more than 65536 bytes"),
        (slow, "too long"),
        (lambda h, r: send(h, r, 503), "503"),
        (lambda h, r: send(h, r, 302), "302"),
        (lambda h, r: send(h, r, media_type="text/html"), "media type"),
        (lambda h, _: send(h, bytes(MAX_BYTES + 1)), "more than 65536 bytes"),
        (lambda h, _: h.wfile.write(b"no HTTP\r\n\r\n"), "RemoteProtocolError"),
    ],
    ids=["endless", "slow", "error", "redirect", "page", "long", "no http"],
)
def test_what_is_no_answer_is_as_if_none_came(respond: Respond, why: str) -> None:
    begun = time.monotonic()
    with pytest.raises(ConnectionError, match=why):
        asked(respond, seconds=1.0)
    assert time.monotonic() - begun < 5


def test_an_answer_is_given_as_it_came() -> None:
    assert asked(echo) == b"a request"


def wait_for(served: Server, path: str) -> httpx.Response:
    def success() -> httpx.Response | None:
        answer = httpx.get(served.url + path)
        return answer if answer.is_success else None

    return until(success, path)


def published(served: Server, size: int) -> Note:
    def covers() -> Note | None:
        note = Note.parse(wait_for(served, "/log/checkpoint").text)
        return note if Checkpoint.parse(note.text).size >= size else None

    return until(covers)


def test_publication_goes_on_without_the_authority_and_is_timestamped_with_it(
    served: Server, authority: Authority, port: int, database: str, directory: Path
) -> None:
    client = served.client("xk-dhtqnj")
    for _ in range(3):
        receipt = client.open_case(opening())
        published(served, receipt.position)
    size = receipt.position
    path = f"/log/timestamp/{size}"
    missing = httpx.get(served.url + path)
    assert (missing.status_code, missing.json()["rule"]) == (404, "no-timestamp")
    assert httpx.get(f"{served.url}/ready").status_code == 200
    with serving_authority(authority, port):
        answer = wait_for(served, path)
    assert answer.headers["content-type"] == "application/timestamp-reply"
    assert "immutable" in answer.headers["cache-control"]
    note = published(served, size)
    assert check(answer.content, note.text, [authority.root]) <= datetime.now(UTC)
    assert authority.verifies(answer.content, note.text)
    for other in (0, size - 1, size + 1, 2**63):
        assert httpx.get(f"{served.url}/log/timestamp/{other}").status_code in (404, 422)
    assert httpx.get(f"{served.url}/log/timestamp/x").status_code == 422
    other = Authority(directory / "other")
    verify_timestamp(directory, authority, other, answer.content, note)
    verify_ledger(directory, authority, other, database, served, size)


def verify_timestamp(
    directory: Path, authority: Authority, other: Authority, token: bytes, note: Note
) -> None:
    """As someone who has two files and the authority's root certificate, and nothing else."""
    checkpoint, kept, tampered = (directory / n for n in ("checkpoint", "token", "tampered"))
    checkpoint.write_text(str(note))
    kept.write_bytes(token)
    moment = check(token, note.text, [authority.root])
    said, earlier = f"{moment:%Y%m%d%H%M%S}", f"{moment - timedelta(days=1):%Y%m%d%H%M%S}"
    tampered.write_bytes(token.replace(said.encode(), earlier.encode()))
    alone = CommandLine(directory / "auditor")

    def words(token_file: Path, roots: Path) -> tuple[str, ...]:
        files = ("--checkpoint", str(checkpoint), "--token", str(token_file))
        return ("verify", "timestamp", *files, "--roots", str(roots))

    head = Checkpoint.parse(note.text)
    assert alone.json(*words(kept, authority.roots_file)) == {
        "ledger": head.origin,
        "size": head.size,
        "moment": moment.isoformat(),
    }
    assert "The timestamp holds" in alone.run(*words(kept, authority.roots_file)).stdout
    for token_file, roots in ((kept, other.roots_file), (tampered, authority.roots_file)):
        assert "does not hold" in alone.run(*words(token_file, roots), code=3).stderr
    checkpoint.write_text(str(note).replace("\n", "\n9", 1))
    assert "does not hold" in alone.run(*words(kept, authority.roots_file), code=3).stderr
    assert not alone.directory.exists()


def verify_ledger(
    directory: Path,
    authority: Authority,
    other: Authority,
    database: str,
    served: Server,
    size: int,
) -> None:
    policy = directory / "policy"
    policy.write_text(httpx.get(f"{served.url}/log/policy").text)
    node = CommandLine(directory / "node", {"CASE_LEDGER_DATABASE_URL": database})
    words = ("verify", "ledger", "--policy", str(policy))
    assert node.json(*words)["timestamps"] == 0
    node.more["CASE_LEDGER_TIMESTAMP_ROOTS"] = str(authority.roots_file)
    report = node.json(*words)
    assert (report["holds"], report["timestamps"]) == (True, 1)
    assert "Timestamps that verify: 1." in node.run(*words).stdout
    written = directory / "export"
    node.run("log", "export", str(written))
    assert (written / "timestamp" / str(size)).read_bytes() == authority.answered[0]
    node.more["CASE_LEDGER_TIMESTAMP_ROOTS"] = str(other.roots_file)
    found = json.loads(node.run(*words, "--json", code=3).stdout)["findings"]
    assert [(f["first"], f["last"]) for f in found] == [(size, size)]


def test_an_authority_needs_roots(authority: Authority, tmp_path: Path) -> None:
    url = "https://authority.example/tsa"
    broken = tmp_path / "broken.pem"
    missing = Settings(data_directory=tmp_path, timestamp_url=url)
    with pytest.raises(ValueError, match="TIMESTAMP_ROOTS"):
        check_settings(missing)
    for content in (b"", b"no certificate"):
        broken.write_bytes(content)
        with pytest.raises(ValueError, match="PEM"):
            check_settings(missing.model_copy(update={"timestamp_roots": broken}))
    named = missing.model_copy(update={"timestamp_roots": authority.roots_file})
    check_settings(named)
    database = Database("")
    assert Timestamper.of(named, database) is not None
    assert Timestamper.of(named.model_copy(update={"timestamp_url": None}), database) is None
