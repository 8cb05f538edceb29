"""The demonstration plays the whole story, and no byte on the disk then tells who a child is.

Nor does a byte of any document, while agencies work with documents and the node is killed.
``CASE_LEDGER_TEST_CLEAR_KILLS`` sets how many times.
"""

import json
import os
import re
import tempfile
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import EnumType
from hashlib import sha256
from itertools import count
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg.conninfo import make_conninfo

from api.demo.node_process import NodeProcess
from api.demo.officials import officials_of
from api.demo.story import STORY
from api.runtime.settings import Settings
from ledger.procedure.protocol import shipped_protocol
from ledger.signing.sd_jwt import make_disclosure
from ledger.store.embedded import EmbeddedServer
from ledger.vocabulary import picklists
from tests.support.agencies import Agencies
from tests.support.command_line import CommandLine
from tests.support.document_work import (
    MARKER,
    DocumentNode,
    DocumentWork,
    check_no_orphans,
    check_whole,
    working,
)
from tests.support.object_server import ObjectServer
from tests.support.papers import pdf
from tests.support.strategies import inside_base64
from tests.support.waiting import until

KILLS = int(os.environ.get("CASE_LEDGER_TEST_CLEAR_KILLS", "1"))
STORES = ("objects",) if KILLS < 10 else ("database", "objects")
"""With few kills the contents are in an object store; other tests kill uploads to a database."""
_LATEST = 12
"""So many of the latest documents' digests and of the node's answers are looked for."""
SHORTEST = 8
_ZEROS = re.compile(rb"\0{2,}")
URLSAFE = str.maketrans("+/", "-_")
DOCUMENT = pdf(300_000, b"zqWordsOfTheDocument")
DOCUMENT_TITLE = "zqTitleOfTheDocument"
IDENTITY = ("-g", "identity", "--purpose", "protection")
DAY_OF_THE_STORY = re.compile(r"202[56]-\d\d-\d\d")
"""Such a day is that of many an event too; the days on which children were born are not."""


@pytest.fixture(scope="module")
def demonstrated() -> Iterator[tuple[Path, Any]]:
    """A data directory in which the demonstration was played, and the JSON that it printed."""
    with tempfile.TemporaryDirectory(prefix="case-ledger-test-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory, CommandLine(directory).json("demo")


def told_in_confidence() -> set[str]:
    """Every free text that the story discloses: names, notes, places, numbers of documents."""
    ids: Mapping[str, UUID] = {step.name: uuid4() for step in STORY}
    actions = [step.action(ids) for step in STORY]
    claims = (claim for action in actions for claim in action.disclosable_claims().values())
    # What anyone may know: words of the vocabulary and the protocol, and the ledger's own fields.
    lists = [each for each in vars(picklists).values() if isinstance(each, EnumType)]
    open_to_all = {str(word) for words in lists for word in words}
    open_to_all |= set(texts(action.ledger_claims() for action in actions))
    known = "\n".join((*open_to_all, Settings().load_protocol().model_dump_json()))
    return {
        text
        for text in texts(claims)
        if len(text) >= SHORTEST and text not in known and not DAY_OF_THE_STORY.fullmatch(text)
    }


def told_briefly() -> set[str]:
    """Names too short to be told from chance, each with its field, as a disclosure has them."""
    ids: Mapping[str, UUID] = {step.name: uuid4() for step in STORY}
    claims = (claim for step in STORY for claim in step.action(ids).disclosable_claims().items())
    return {
        json.dumps(claim, ensure_ascii=False, separators=(",", ":"))[1:]
        for claim in claims
        if isinstance(claim[1], str) and len(claim[1]) < SHORTEST
    }


def texts(values: Iterable[object]) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            yield from texts(value.values())
        elif isinstance(value, Iterable):
            yield from texts(value)


def shapes(text: str) -> Iterator[bytes]:
    """Return a text in UTF-8, in JSON, and within base64 at each of three offsets."""
    for form in (text.encode(), json.dumps(text)[1:-1].encode()):
        yield form
        for shift in range(3):
            yield inside_base64(form, shift).encode()
            yield inside_base64(form, shift).translate(URLSAFE).encode()


class DiskSearch:
    """A search for patterns in every file of a directory."""

    def __init__(self, patterns: Mapping[bytes, str]) -> None:
        assert not any(b"\0" in pattern for pattern in patterns)
        self._patterns = patterns
        self._clean = set[bytes]()
        """The digests of contents without any pattern: a server has many files several times."""

    def files_with(self, directory: Path) -> dict[str, str]:
        """Return the files in which any pattern occurs, by the text of the pattern."""
        found = {}
        for path in directory.rglob("*"):
            if not path.is_file():
                continue
            # Half of a server's files are zeros, which are in no pattern.
            content = _ZEROS.sub(b"\0", path.read_bytes())
            if (digest := sha256(content).digest()) in self._clean:
                continue
            hits = [text for pattern, text in self._patterns.items() if pattern in content]
            found |= dict.fromkeys(hits, str(path.relative_to(directory)))
            if not hits:
                self._clean.add(digest)
        return found


def use(directory: Path) -> None:
    """Export with tiles and read from a node, so that files are left behind."""
    embedded = EmbeddedServer(directory / "postgresql")
    try:
        database = make_conninfo(embedded.conninfo, dbname="case_ledger_demo")
        cli = CommandLine(directory / "demo", {"CASE_LEDGER_DATABASE_URL": database})
        cli.run("log", "export", str(directory / "export"))
        with NodeProcess(cli.env, directory / "serve.log") as node:
            cli.more["CASE_LEDGER_URL"] = node.url
            of_police = ("-a", "xk-dhtqnj", "-k", str(demo_key(directory, "xk-dhtqnj")))
            cases = cli.json("case", *of_police)
            asked = (cases[0]["case_id"], *of_police, "--purpose", "protection")
            assert cli.json("read", *asked, "-g", "identity")["fields"]
            cli.run("read", *asked, "-g", "health", code=2)
            file_a_document(cli, cases[0]["case_id"], of_police)
    finally:
        embedded.stop()


def file_a_document(cli: CommandLine, case: str, police: Sequence[str]) -> None:
    """Add a document with a marker to a case, and download it."""
    with tempfile.TemporaryDirectory() as name:
        (file := Path(name) / "report.pdf").write_bytes(DOCUMENT)
        described = ("--kind", "report", "--title", DOCUMENT_TITLE, "--group", "identity")
        cli.run("document", "add", case, str(file), *described, *police)
        (one,) = cli.json("document", "list", case, *IDENTITY, *police)["documents"]
        to = Path(name) / "again.pdf"
        cli.run("document", "get", case, one["id"], str(to), "--original", *IDENTITY[2:], *police)
        assert to.read_bytes() == DOCUMENT


def demo_key(directory: Path, agency: str) -> Path:
    (path,) = directory.rglob(f"{agency}.jwk")
    return path


def test_the_demonstration(demonstrated: tuple[Path, Any]) -> None:
    """The whole story through the real API, as `make demo` plays it."""
    _, told = demonstrated
    assert told["cases"].keys() == {"A", "B"}
    for case in told["cases"].values():
        assert case["views"].keys() == {"XK", "ME"}
        assert {view["stage"] for view in case["views"].values()} == {"return_and_social_inclusion"}
        assert {e["signature"] for e in case["trail"]} == {"valid"}
        kinds = [e["kind"] for e in case["trail"]]
        managed = [e["party"] for e in case["trail"] if e["kind"] == "case_manager_named"]
        assert sorted(managed) == ["ME", "XK"]
        for kind in (
            "case_opened",
            "meeting_held",
            "departed",
            "received",
            "reintegration_monitored",
        ):
            assert kind in kinds
    assert len(told["refused"]) == 5


def test_no_byte_on_the_disk_tells_who_a_child_is(demonstrated: tuple[Path, Any]) -> None:
    directory, _ = demonstrated
    sought = told_in_confidence() | told_briefly() | set(officials_of(shipped_protocol()))
    assert len(sought) > 20
    assert any(text.startswith('"first_name"') for text in sought)
    use(directory)
    sought |= {"zqWordsOfTheDocument", DOCUMENT_TITLE, sha256(DOCUMENT).hexdigest()}
    patterns = {shape: text for text in sought for shape in shapes(text)}
    patterns[sha256(DOCUMENT).digest()] = "the digest of the document"
    search = DiskSearch(patterns)
    assert search.files_with(directory) == {}
    # The same search finds what is there: tables, their log (WAL), and text within base64.
    known = {shape: name for name in ("me-csw-podgorica",) for shape in shapes(name)}
    places = {
        str(path.relative_to(directory)).split("/")[1]
        for path in directory.rglob("*")
        if path.is_file() and any(pattern in path.read_bytes() for pattern in known)
    }
    assert {"base", "pg_wal", "tile"} <= places
    assert "/v1/cases/{case_id}/readings" in (directory / "serve.log").read_text()
    text = sorted(sought)[0]
    (directory / "leak").write_text(make_disclosure("note", text).encoded)
    assert search.files_with(directory) == {text: "leak"}


@pytest.mark.parametrize("store", STORES)
def test_a_killed_node_leaves_no_byte_of_a_document_in_clear(
    store: str, directory: Path, tmp_path: Path, agencies: Agencies
) -> None:
    random, looked, at = Random(21), Scanner(), list[str]()
    with ObjectServer(directory / "objects").serving() as objects:
        node = DocumentNode(directory / "node", objects if store == "objects" else None)
        node.begin(agencies)
        work = DocumentWork(node.url, agencies, tmp_path)
        node.start()
        try:
            case_id, versions = work.open_case(), count(3)

            def all_steps() -> None:
                added = work.add(case_id, next(versions))
                work.download(added)
                work.make_copies(added)
                work.read_abroad(added)

            with working(all_steps) as check:
                for _ in range(max(1, KILLS // len(STORES))):
                    begun = work.steps

                    def has_moved(begun: int = begun) -> bool:
                        check()
                        return work.steps > begun

                    until(has_moved, "the next step")
                    time.sleep(random.uniform(0, 1.5))  # a random point of the work
                    at.append(work.step)
                    node.kill()
                    looked.check(directory, work)
                    node.start()
            print(f"{store}: killed at {dict(Counter(at))}")
            check_whole(work)
            looked.check(directory, work)
            assert node.stop() == 0
        finally:
            node.kill()
        check_no_orphans(node, dict.fromkeys(("XK", "ME"), len(work.added)))
        everywhere = Scanner()
        everywhere.check(directory, work)
        # The same search finds a document, in each form of it, and an answer of the node.
        for number, form in enumerate((MARKER, b64encode(work.added[0].content), work.answers[-1])):
            (leak := directory / f"leak-{number}").write_bytes(form)
            with pytest.raises(AssertionError, match=leak.name):
                everywhere.check(directory, work)
            leak.unlink()


class Scanner:
    """Looks for documents in every file that changed since it looked last."""

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[int, int]] = {}

    def check(self, directory: Path, work: DocumentWork) -> None:
        """Assert that no file has a marker, a digest, or a part of what the node made."""
        sought = {*shapes(MARKER.decode()), MARKER.hex().encode(), *work.answers[-_LATEST:]}
        for added in work.added[-_LATEST:]:
            digest = sha256(added.content)
            sought |= {digest.digest(), digest.hexdigest().encode()}
        for path in directory.rglob("*"):
            try:
                now = path.stat()
                content = path.read_bytes() if path.is_file() else b""
            except FileNotFoundError:  # of the node that just starts or works
                continue
            if self._seen.get(path) == (now.st_mtime_ns, now.st_size):
                continue
            found = [one for one in sought if one in content]
            assert not found, f"{path.relative_to(directory)}: {found}"
            self._seen[path] = (now.st_mtime_ns, now.st_size)
