"""The log's files as another implementation reads them: Go's own, from Debian's packages."""

import base64
import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.application import Ledger
from ledger.export.static_export import write_export
from ledger.log.checkpoint import Checkpoint
from ledger.log.merkle import (
    TILE_WIDTH,
    Frontier,
    Tree,
    check_consistency,
    check_inclusion,
    leaf_hash,
)
from ledger.log.note import Note, SignatureType, SignerKey, VerifierKey, verify
from ledger.log.policy import Policy, TrustedWitness
from ledger.log.tlog_proof import TlogProof
from ledger.publication.witness import AddCheckpointRequest
from ledger.store.database import Database
from tests.support.agencies import Agencies
from tests.support.exports import receipt_of, recorded_policies
from tests.support.go_programs import build, need_go
from tests.support.logs import Log, signer

ORIGIN = "ledger.example/crosscheck"
need_go(module=True)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("go") / "read_log")


@pytest.fixture(scope="module")
def policy_reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("go") / "read_policies")


@dataclass
class Written:
    """A log's files, as this project writes them, and the keys that signed."""

    directory: Path
    tree: Tree
    entries: Sequence[bytes]
    log: SignerKey
    witnesses: Sequence[SignerKey]

    @property
    def policy(self) -> Policy:
        trusted = {k.name.rpartition("/")[2]: TrustedWitness(k.verifier) for k in self.witnesses}
        return Policy.of(self.log.verifier, trusted)

    def note(self, size: int) -> Note:
        text = str(Checkpoint(ORIGIN, size, self.tree.root(size)))
        return Note(text, (self.log.sign(text), *(k.sign(text) for k in self.witnesses)))

    def read_by(self, program: Path) -> subprocess.CompletedProcess[str]:
        vkeys = [str(key.verifier) for key in (self.log, *self.witnesses)]
        return subprocess.run(
            [program, self.directory, *vkeys], capture_output=True, text=True, timeout=120
        )


class Rows:
    """The rows of a ledger that an export reads, for entries of any kind."""

    def __init__(self, entries: Sequence[bytes]) -> None:
        self.entries = entries
        leaves = [leaf_hash(entry) for entry in entries]
        self.levels: dict[int, dict[int, bytes]] = {0: dict(enumerate(leaves))}
        for made in Frontier().extend(leaves)[1]:
            self.levels.setdefault(made.level, {})[made.index] = made.hash

    def select_rows(self, after: int, limit: int) -> list[Any]:
        return [SimpleNamespace(state=entry) for entry in self.entries[after : after + limit]]

    def read_hashes(self, level: int, start: int, count: int) -> list[bytes]:
        known = self.levels.get(level, {})
        return [known[index] for index in range(start, start + count) if index in known]


def write(directory: Path, size: int) -> Written:
    entries = [f"entry {n}".encode() * (n % 7) for n in range(size)]
    rows = Rows(entries)
    log = SignerKey(ORIGIN, SignatureType.ED25519, Ed25519PrivateKey.generate())
    witnesses = [
        SignerKey(f"{ORIGIN}/{p}", SignatureType.COSIGNATURE, Ed25519PrivateKey.generate())
        for p in ("al", "me", "xk")
    ]
    written = Written(directory, Tree(size, rows.read_hashes), entries, log, witnesses)
    write_export(rows, written.note(size), directory, lambda *_: None)  # type: ignore[arg-type]
    for name in ("receipts", "submissions"):
        (directory / name).mkdir()
    for index in sorted({0, size // 3, size // 2, size - 1}):
        for of in sorted({index + 1, size}):
            path = tuple(written.tree.inclusion(index, of))
            proof = TlogProof(index, path, written.note(of), extra=entries[index] or b"")
            if entries[index]:
                (directory / "receipts" / f"{index}-{of}").write_text(str(proof))
    for old in sorted({0, 1, size // 2, size - 1, size} & set(range(size + 1))):
        text = written.note(size).text
        consistency = tuple(written.tree.consistency(old, size))
        sent = AddCheckpointRequest(old, consistency, Note(text, (log.sign(text),)))
        (directory / "submissions" / str(old)).write_bytes(bytes(sent))
    return written


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 700, 66_000])
def test_another_implementation_reads_what_is_written_here(
    program: Path, tmp_path: Path, size: int
) -> None:
    written = write(tmp_path, size)
    read = written.read_by(program)
    assert read.returncode == 0, read.stderr
    told = json.loads(read.stdout)
    root = written.tree.root()
    assert (told["size"], told["entries"]) == (size, size)
    assert base64.b64decode(told["root"]) == root
    assert told["tiles"] == sum(1 for _ in (tmp_path / "tile").rglob("*") if _.is_file()) - len(
        list(range(0, size, TILE_WIDTH))
    )
    assert told["receipts"] == len(list((tmp_path / "receipts").iterdir()))
    assert told["submissions"] == len(list((tmp_path / "submissions").iterdir())) > 0
    # And what it makes itself holds here.
    index, old = size // 3, size // 2 + 1
    check_inclusion(leaf_hash(written.entries[index]), index, size, hashes(told["record"]), root)
    consistency = hashes(told["consistency"]) if old < size else []
    check_consistency(old, size, consistency, written.tree.root(old), root)
    key = VerifierKey.parse(told["key"])
    made = Note.parse(told["note"])
    assert list(verify(made, [key])) == [key]
    assert Checkpoint.parse(made.text) == Checkpoint("another.example/log", size, root)


def hashes(encoded: Sequence[str] | None) -> list[bytes]:
    return [base64.b64decode(text) for text in encoded or ()]


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def swap_lines(path: Path, first: int, second: int) -> None:
    lines = path.read_text().split("\n")
    lines[first], lines[second] = lines[second], lines[first]
    path.write_text("\n".join(lines))


TAMPERINGS: dict[str, Callable[[Path], None]] = {
    "an entry": lambda d: flip(d / "tile/entries/001", 40),
    "an entry's length": lambda d: flip(d / "tile/entries/000", 1),
    "a leaf": lambda d: flip(d / "tile/0/001", 100),
    "a tile above": lambda d: flip(d / "tile/1/000.p/2", 33),
    "a partial tile": lambda d: flip(d / "tile/0/002.p/188", 0),
    "the root": lambda d: flip(d / "checkpoint", len(ORIGIN) + 10),
    "the size": lambda d: flip(d / "checkpoint", len(ORIGIN) + 2),
    "the log's signature": lambda d: flip(d / "checkpoint", -300),
    "a cosignature": lambda d: flip(d / "checkpoint", -20),
    "a receipt's path": lambda d: swap_lines(d / "receipts/233-700", 3, 4),
    "a receipt's entry": lambda d: flip(d / "receipts/233-700", 35),
    "a consistency proof": lambda d: swap_lines(d / "submissions/350", 1, 2),
    "a submission's old size": lambda d: flip(d / "submissions/350", 6),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_it_refuses_what_was_tampered_with(program: Path, tmp_path: Path, name: str) -> None:
    written = write(tmp_path, 700)
    assert written.read_by(program).returncode == 0
    TAMPERINGS[name](tmp_path)
    assert written.read_by(program).returncode == 1


@pytest.fixture
def log(ledger: Ledger, database: str, agencies: Agencies) -> Iterator[Log]:
    with Database(database) as pool:
        made = Log(ledger, pool, agencies)
        made.publication.step()
        yield made


def test_another_implementation_follows_recorded_policies(
    policy_reader: Path, log: Log, tmp_path: Path
) -> None:
    """A receipt from before a rotation and one from after hold by either policy, there too."""
    files = {name: tmp_path / name for name in ("before", "after", "old", "new", "policies")}
    log.register("xk-nac")
    log.publication.step()
    old_size = log.ledger.rows.tree().size
    files["before"].write_text(str(log.policy))
    files["old"].write_text(receipt_of(log, 3))
    log.later_keys = [signer()]
    new_policy = log.policy_of(log.later_keys[0])
    log.register("xk-nac")  # the votes name a later checkpoint than the old receipt has
    log.adopt(new_policy)
    log.register("xk-nac")
    log.publication.step()
    files["after"].write_text(str(new_policy))
    files["new"].write_text(receipt_of(log, 3))

    def read(trusted: str, receipt: str) -> subprocess.CompletedProcess[str]:
        words = [policy_reader, files[trusted], files["policies"], files[receipt]]
        return subprocess.run(words, capture_output=True, text=True, timeout=60)

    files["policies"].write_text(str(recorded_policies(log)))
    assert "is missing" in read("after", "old").stderr
    history = recorded_policies(log, old_size)
    files["policies"].write_text(str(history))
    for trusted in ("before", "after"):
        for receipt in ("old", "new"):
            done = read(trusted, receipt)
            assert done.returncode == 0, (trusted, receipt, done.stderr)
            assert done.stdout.startswith("position 3 of ")
    files["policies"].write_text(str(history.model_copy(update={"acts": history.acts[:-1]})))
    assert read("before", "new").returncode == 1
