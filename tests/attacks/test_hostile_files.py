"""Files that somebody handed over: each hostile one ends in one clear line, within bounds."""

import base64
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from api.importing.files import ImportFileError, digest, file_form, read_rows
from api.importing.journal import ImportSource, Journal, JournalError
from api.importing.tables import TableForm
from ledger.export.static_export import ExportError, read_checkpoint, read_export
from ledger.importing.import_map import ImportMap, load_map
from ledger.log.note import SignatureType, SignerKey
from ledger.log.policy import Policy, TrustedWitness
from ledger.system.bounded_files import NotReadableError, read_ordinary, read_within
from projections.columnar.manifest import MANIFEST, ColumnarError, existing_manifest
from projections.statistics.counting import DimensionError, count_records

_SECONDS = 60
_MEMORY_BYTES = 2 * 1024**3


def command(*words: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, with little memory and time."""

    def bounded() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))

    return subprocess.run(
        [Path(sys.executable).with_name("case-ledger"), *words],
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
        preexec_fn=bounded,
    )


def ends_in_one_line(done: subprocess.CompletedProcess[str]) -> None:
    said = done.stderr + done.stdout
    assert done.returncode not in (0, None), said
    assert done.returncode > 0, said  # no signal ended it
    assert "Traceback" not in said
    assert 0 < len(done.stderr) < 1000, said
    assert "Error" not in done.stderr.split(":")[0]


def note(size: int, root: bytes = bytes(32)) -> str:
    signature = base64.b64encode(bytes(4 + 64)).decode()
    text = f"ledger.example/test\n{size}\n{base64.b64encode(root).decode()}\n"
    return f"{text}\n\N{EM DASH} ledger.example/test {signature}\n"


def a_link(directory: Path) -> None:
    (directory / "checkpoint").symlink_to("/etc/hostname")


def a_pipe(directory: Path) -> None:
    os.mkfifo(directory / "checkpoint")


def a_device(directory: Path) -> None:
    (directory / "checkpoint").symlink_to("/dev/zero")


def a_directory(directory: Path) -> None:
    (directory / "checkpoint").mkdir()


def a_huge_file(directory: Path) -> None:
    with (directory / "checkpoint").open("wb") as file:
        file.truncate(50 * 1024**3)  # sparse: it takes no room


def a_huge_count(directory: Path) -> None:
    (directory / "checkpoint").write_text(note(2**62))


def a_count_past_every_integer(directory: Path) -> None:
    (directory / "checkpoint").write_text(note(10**4000))


def a_tile_that_is_a_pipe(directory: Path) -> None:
    (directory / "checkpoint").write_text(note(5))
    tiles = directory / "tile" / "0" / "000.p"
    tiles.mkdir(parents=True)
    os.mkfifo(tiles / "5")


def a_tile_by_a_link(directory: Path) -> None:
    (directory / "checkpoint").write_text(note(5))
    elsewhere = directory.parent / "elsewhere"
    (elsewhere / "000.p").mkdir(parents=True)
    (elsewhere / "000.p" / "5").write_bytes(bytes(160))
    (directory / "tile").mkdir()
    (directory / "tile" / "0").symlink_to(elsewhere)


def a_huge_tile(directory: Path) -> None:
    (directory / "checkpoint").write_text(note(5))
    tiles = directory / "tile" / "0" / "000.p"
    tiles.mkdir(parents=True)
    with (tiles / "5").open("wb") as file:
        file.truncate(50 * 1024**3)


def a_bundle_that_ends_early(directory: Path) -> None:
    (directory / "checkpoint").write_text(note(5))
    for place, content in (("0", bytes(160)), ("entries", b"\xff\xff" + bytes(10))):
        tiles = directory / "tile" / place / "000.p"
        tiles.mkdir(parents=True)
        (tiles / "5").write_bytes(content)


EXPORTS: list[Callable[[Path], None]] = [
    a_link, a_pipe, a_device, a_directory, a_huge_file, a_huge_count, a_count_past_every_integer,
    a_tile_that_is_a_pipe, a_tile_by_a_link, a_huge_tile, a_bundle_that_ends_early,
]  # fmt: skip


@pytest.mark.parametrize("make", EXPORTS, ids=lambda make: make.__name__)
def test_an_export_that_is_none(make: Callable[[Path], None], tmp_path: Path) -> None:
    directory = tmp_path / "export"
    directory.mkdir()
    make(directory)
    with pytest.raises(ExportError) as refused:
        list(read_export(directory))
    assert "\n" not in str(refused.value)


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("policy") / "policy"
    log, witness = (
        SignerKey("ledger.example/test", kind, Ed25519PrivateKey.generate()).verifier
        for kind in (SignatureType.ED25519, SignatureType.COSIGNATURE)
    )
    file.write_text(str(Policy.of(log, {"XK": TrustedWitness(witness)})))
    return file


def test_commands_over_such_an_export(policy: Path, tmp_path: Path) -> None:
    for make, words in (
        (a_huge_count, ("report", "annual", "--year", "2026", "--from")),
        (a_pipe, ("verify", "export", "--policy", str(policy))),
    ):
        directory = tmp_path / words[0]
        directory.mkdir()
        make(directory)
        done = command(*words, str(directory))
        ends_in_one_line(done)
        assert "checkpoint" in done.stderr or "is missing" in done.stderr


def columns(directory: Path, path: str) -> Path:
    """An export in columns whose manifest names such a file."""
    numbers = {"first": 1, "last": 1, "rows": 1, "bytes": 1}
    entry = {"table": "cases", "path": path, "sha256": "0" * 64, **numbers}
    content = {
        "protocol": "p", "ledger_id": "l", "upto": 1, "root": "0" * 64, "checkpoint": None,
        "tables": {}, "files": [entry],
    }  # fmt: skip
    (directory / "cases").mkdir(parents=True)
    (directory / MANIFEST).write_text(json.dumps(content))
    return directory


def test_columns_that_lead_elsewhere(tmp_path: Path) -> None:
    own = "cases/000000000001-000000000001.parquet"
    for number, path in enumerate(("/etc/passwd", "cases/../../a.parquet", "https://a/b.parquet")):
        with pytest.raises(ColumnarError):
            existing_manifest(columns(tmp_path / str(number), path))
    linked = columns(tmp_path / "linked", own)
    (linked / own).symlink_to("/etc/passwd")
    piped = columns(tmp_path / "piped", own)
    os.mkfifo(piped / own)
    for directory in (linked, piped):
        with pytest.raises(ColumnarError, match=r"link|no ordinary file"):
            existing_manifest(directory)
    os.mkfifo(tmp_path / "records.csv")
    with pytest.raises(DimensionError, match="no ordinary file"):
        count_records(tmp_path / "records.csv", ["a"])


def test_a_file_that_never_ends(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero"), tmp_path, tmp_path / "none", Path("a\0b")):
        with pytest.raises(NotReadableError):
            read_ordinary(path)
    (tmp_path / "a").write_bytes(b"12345")
    assert read_ordinary(tmp_path / "a", 5) == b"12345"
    with pytest.raises(NotReadableError, match="more than 4 bytes"):
        read_ordinary(tmp_path / "a", 4)
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert read_ordinary(tmp_path / "b") == b"12345"  # which the caller named
    with pytest.raises(NotReadableError, match="link"):
        read_within(tmp_path, "b", 10)


MAPS = {
    "a codec that decompresses": 'encoding = "zlib_codec"',
    "another": 'encoding = "bz2"',
    "a codec that takes long": 'encoding = "punycode"',
    "a codec of text to text": 'encoding = "rot13"',
    "a codec of escapes": 'encoding = "unicode_escape"',
    "the codec that fails": 'encoding = "undefined"',
    "a name with NUL": 'encoding = "utf\\u0000"',
    "a directive twice": 'date_format = "%d%d%m%Y"',
    "no such directive": 'date_format = "%Q"',
    "a directive of any width": 'date_format = "%999999999d.%m.%Y"',
    "half a directive": 'date_format = "%d.%m.%Y%"',
    "no year": 'date_format = "%d.%m."',
    "a long format": f'date_format = "{"%d.%m.%Y" + " " * 100}"',
    "very deep": "a = " + "[" * 20_000,
}


@pytest.mark.parametrize("which", MAPS)
def test_a_map_that_asks_too_much(which: str, tmp_path: Path) -> None:
    with pytest.raises((ValueError, ValidationError)):
        load_map(MAPS[which].encode(), tmp_path / "map.toml")


@pytest.mark.parametrize("date_format", ["%d.%m.%Y", "%d/%m/%y", "%Y%m%d", "%d %B %Y", "%m-%d-%Y"])
def test_days_as_they_are_written(date_format: str) -> None:
    assert ImportMap(date_format=date_format).date_format == (date_format,)


@pytest.mark.parametrize("encoding", ["utf-8", "UTF8", "utf-8-sig", "cp1250", "latin-1", "utf-16"])
def test_encodings_that_are_read(encoding: str) -> None:
    assert ImportMap(encoding=encoding).encoding == encoding


def rows_of(path: Path) -> Iterator[object]:
    return read_rows(path, ImportMap(), file_form(path, ImportMap()))


def test_a_line_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.importing.tables._LONGEST_ROW", 10_000)
    row = {"hte_Description": "a"}
    for name, good, bad in (
        ("a.jsonl", json.dumps(row) + "\n", '{"hte_Description": "' + "a" * 20_000 + '"}\n'),
        ("a.csv", "hte_Description\na\n", "a" * 20_000 + "\n"),
        ("b.csv", "hte_Description\na\n", '"' + "a\n" * 20_000 + '"\n'),
        ("c.csv", "hte_Description\na\n", "," * 20_000 + "\n"),
    ):
        path = tmp_path / name
        path.write_text(good + bad)
        seen = []
        with pytest.raises(ImportFileError, match="has more than 10000 characters"):
            seen += rows_of(path)
        path.write_text(good)
        assert len(list(rows_of(path))) == 1


def test_a_line_of_many_gigabytes_takes_no_memory(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.csv"):
        path = tmp_path / name
        with path.open("wb") as file:
            file.truncate(20 * 1024**3)  # sparse: one line of NUL
        with pytest.raises(ImportFileError, match="row 1 has more than"):
            list(rows_of(path))


def test_a_source_or_journal_that_is_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "a.csv"
    os.mkfifo(pipe)
    with pytest.raises(NotReadableError):
        digest(pipe, TableForm(encoding="utf-8"))
    with pytest.raises(NotReadableError):
        list(rows_of(pipe))
    with pytest.raises(JournalError, match="no ordinary file"):
        Journal(pipe, ImportSource("0", "xk-nac", "p"), tmp_path).__enter__()


def test_lines_of_json_in_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"hte_Description": "ë"}\n{"hte_Description": "č"}\n', encoding="utf-16")
    utf16 = ImportMap(encoding="utf-16")
    rows = list(read_rows(path, utf16, file_form(path, utf16)))
    assert [row.row.values for row in rows] == [{"hte_Description": "ë"}, {"hte_Description": "č"}]


def test_a_checkpoint_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_bytes(note(1).encode())
    assert read_checkpoint(tmp_path) == note(1)
