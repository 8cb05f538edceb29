"""The demonstration plays the whole story, and no byte on the disk then tells who a child is."""

import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import EnumType
from hashlib import sha256
from pathlib import Path
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
from tests.support.command_line import CommandLine
from tests.support.papers import pdf
from tests.support.strategies import inside_base64

SHORTEST = 8
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


def files_with(directory: Path, patterns: Mapping[bytes, str]) -> dict[str, str]:
    """Return the files of the directory in which any pattern occurs."""
    found = {}
    for path in directory.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for pattern, text in patterns.items():
                if pattern in content:
                    found[text] = str(path.relative_to(directory))
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
        cli.run("document", "get", case, one["id"], str(to), *IDENTITY[2:], *police)
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
    assert files_with(directory, patterns) == {}
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
    assert files_with(directory, patterns) == {text: "leak"}
