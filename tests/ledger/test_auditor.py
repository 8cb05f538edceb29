"""The auditor's script reads an export on its own, and ends in one line whatever it is given."""

import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from ledger.application import Ledger, environment
from ledger.events.event_bytes import unseal
from ledger.export import stand_alone
from ledger.log.fingerprint import spoken
from ledger.signing.signed_action import read_recorded
from ledger.store.database import Database
from ledger.system.version import program_version
from tests.support.agencies import Agencies
from tests.support.auditor import AUDITOR, run_auditor
from tests.support.databases import name_of, new_database
from tests.support.exports import export_of, receipt_of, recorded_policies
from tests.support.logs import Log, signer

HOLDS, CANNOT_TELL, DOES_NOT_HOLD = 0, 1, 3


@pytest.fixture(scope="module")
def grown(server: str, begun: str, agencies: Agencies) -> Iterator[str]:
    """The name of a database to copy: a ledger of more than one tile of each sort."""
    with new_database(server, begun) as conninfo:
        with Ledger(environment(conninfo)) as ledger, Database(conninfo) as pool:
            made = Log(ledger, pool, agencies)
            while ledger.head() < 300:
                made.register("xk-nac")
        yield name_of(conninfo)


@pytest.fixture
def log(server: str, grown: str, agencies: Agencies) -> Iterator[Log]:
    with (
        new_database(server, grown) as conninfo,
        Ledger(environment(conninfo)) as ledger,
        Database(conninfo) as pool,
    ):
        made = Log(ledger, pool, agencies)
        made.publication.step()
        yield made


@pytest.fixture
def export(log: Log, tmp_path: Path) -> Path:
    export_of(log, tmp_path / "export")
    return tmp_path / "export"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("auditor_verify", AUDITOR)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["auditor_verify"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def audit(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Runs the script in this process: its exit code, and all that it printed."""

    def run(*words: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["verify.py", *map(str, words)])
        code = script.main()
        printed = capsys.readouterr()
        if code != HOLDS:
            assert printed.out == ""
            assert printed.err.count("\n") == 1, printed.err
        return code, printed.out + printed.err

    return run


Audit = Callable[..., tuple[int, str]]


def test_it_says_what_holds_and_what_an_event_is(audit: Audit, log: Log, export: Path) -> None:
    code, said = audit("export", export, "--show", 40, "--held", export / "checkpoint")
    assert code == HOLDS, said
    tree = log.ledger.rows.tree()
    root, first = tree.root(300), log.ledger.rows.read_hashes(0, 0, 1)[0]
    for text in (root.hex(), spoken(root), first.hex(), spoken(first), "300 events"):
        assert text in said
    assert "position 40: key_registered" in said
    signed = read_recorded(unseal(log.ledger.rows_at([40])[0].state)[0])
    assert signed.agency in said
    receipt = export.parent / "receipt"
    receipt.write_text(receipt_of(log, 40))
    code, said = audit("receipt", receipt, "--policy", export / "policy")
    assert (code, "position 40: key_registered" in said) == (HOLDS, True)
    readme = (export / "README.md").read_text()
    assert spoken(root) in readme
    assert spoken(first) in readme
    program = json.loads((export / "program.json").read_text())
    assert program == {"program": "case-ledger", "version": program_version()}


def test_the_programs_version_changes_one_file_of_an_export_and_no_verdict(
    audit: Audit, log: Log, export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stand_alone, "program_version", lambda: "9.9.9")
    later = tmp_path / "later"
    export_of(log, later)

    def contents(directory: Path) -> dict[str, bytes]:
        files = (path for path in directory.rglob("*") if path.is_file())
        return {path.relative_to(directory).as_posix(): path.read_bytes() for path in files}

    ours, others = contents(export), contents(later)
    assert ours.keys() == others.keys()
    assert {name for name in ours if ours[name] != others[name]} == {"program.json"}
    # Version 0.1.0 wrote no such file.
    (later / "program.json").unlink()
    assert audit("export", later)[0] == HOLDS


def test_the_stick_verifies_itself_by_the_standard_library(log: Log, tmp_path: Path) -> None:
    small = tmp_path / "small"
    export_of(log, small)
    done = run_auditor("export", small, script=small / "verify.py", alone=True)
    assert done.returncode == HOLDS, done.stderr
    bundle = small / "tile" / "entries" / "001.p" / "44"
    content = bytearray(bundle.read_bytes())
    content[-10] ^= 1
    bundle.write_bytes(bytes(content))
    done = run_auditor("export", small, script=small / "verify.py", alone=True)
    assert done.returncode == DOES_NOT_HOLD
    assert done.stderr.count("\n") == 1


def test_a_tail_that_was_cut_off_is_found_by_a_kept_checkpoint(
    audit: Audit, log: Log, export: Path, tmp_path: Path
) -> None:
    log.register("xk-nac")
    log.publication.step()
    longer = tmp_path / "longer"
    export_of(log, longer)
    trust = ("--policy", export / "policy")
    assert audit("export", longer, *trust, "--held", export / "checkpoint")[0] == HOLDS
    code, said = audit("export", export, *trust, "--held", longer / "checkpoint")
    assert (code, "events are missing" in said) == (DOES_NOT_HOLD, True)
    # Another history of the same size, by the same key.
    forged = tmp_path / "forged"
    forged.write_text(str(log.note(300, root=bytes(32))))
    code, said = audit("export", export, *trust, "--held", forged)
    assert (code, "of another ledger" in said) == (DOES_NOT_HOLD, True)


def changed(path: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def apply(directory: Path) -> None:
        file = directory / path
        file.write_bytes(change(file.read_bytes()))

    return apply


def replaced(path: str, make: Callable[[Path], None]) -> Callable[[Path], None]:
    def apply(directory: Path) -> None:
        (directory / path).unlink()
        make(directory / path)

    return apply


def resized(content: bytes, size: bytes) -> bytes:
    return content.replace(b"\n300\n", b"\n" + size + b"\n")


def flipped(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


CHECKPOINT = "checkpoint"
REFUSED: dict[str, Callable[[Path], None]] = {
    "CRLF": changed(CHECKPOINT, lambda c: c.replace(b"\n", b"\r\n")),
    "one CR": changed(CHECKPOINT, lambda c: c.replace(b"300\n", b"300\r\n")),
    "a leading zero": changed(CHECKPOINT, lambda c: c.replace(b"\n300\n", b"\n0300\n")),
    "a plus": changed(CHECKPOINT, lambda c: c.replace(b"\n300\n", b"\n+300\n")),
    "other digits": changed(CHECKPOINT, lambda c: c.replace(b"300", "٣٠٠".encode())),
    "no end": changed(CHECKPOINT, lambda c: c[:-1]),
    "no signature": changed(CHECKPOINT, lambda c: c.partition(b"\n\n")[0] + b"\n\n"),
    "an empty line more": changed(CHECKPOINT, lambda c: c.replace(b"\n300", b"\n\n300")),
    "a line separator": changed(
        CHECKPOINT,
        lambda c: c.replace("\n— ".encode(), "\u2028— ".encode()).replace(
            "\u2028".encode(), b"\n", 1
        ),
    ),
    "a tab": changed(CHECKPOINT, lambda c: c.replace("— ".encode(), "—\t".encode(), 1)),
    "two spaces": changed(CHECKPOINT, lambda c: c.replace("— ".encode(), "—  ".encode(), 1)),
    "not UTF-8": changed(CHECKPOINT, lambda c: c.replace(b"300", b"300\xff")),
    "NUL": changed(CHECKPOINT, lambda c: c + b"\x00"),
    "nothing": changed(CHECKPOINT, lambda _: b""),
    "endless": changed(CHECKPOINT, lambda c: c * 1_000),
    "a huge size": changed(CHECKPOINT, lambda c: resized(c, b"9" * 18)),
    "a long number": changed(CHECKPOINT, lambda c: resized(c, b"9" * 5000)),
    "an event": changed("tile/entries/000", flipped),
    "a hash": changed("tile/0/000", flipped),
    "a hash of the last tile": changed("tile/0/001.p/44", flipped),
    "a hash above": changed("tile/1/000.p/1", flipped),
    "a tile that is longer": changed("tile/0/000", lambda c: c + bytes(32)),
    "a bundle that is longer": changed("tile/entries/000", lambda c: c + c[:100]),
    "a bundle that is cut": changed("tile/entries/000", lambda c: c[:-3]),
    "no tile": lambda d: (d / "tile/0/000").unlink(),
    "no bundle": lambda d: (d / "tile/entries/000").unlink(),
    "a link": replaced("tile/entries/000", lambda p: p.symlink_to("/dev/zero")),
    "a pipe": replaced("tile/entries/000", os.mkfifo),
    "a link for a checkpoint": replaced(CHECKPOINT, lambda p: p.symlink_to("/dev/zero")),
    "a directory": replaced(CHECKPOINT, lambda p: p.mkdir()),
    "deep JSON": changed("policies.json", lambda _: b"[" * 200_000),
    "JSON of another kind": changed("policies.json", lambda _: b'{"format":"other"}'),
    "a list": changed("policies.json", lambda _: b"[]"),
    "a huge number": changed("policies.json", lambda _: b"9" * 100_000),
    "policies of none": changed("policies.json", lambda c: c.replace(b"periods", b"period", 1)),
    "policies in a pipe": replaced("policies.json", os.mkfifo),
    "policies in a dead link": replaced("policies.json", lambda p: p.symlink_to("nowhere")),
}


def test_what_the_specifications_refuse_ends_in_one_line(
    audit: Audit, export: Path, tmp_path: Path
) -> None:
    policy = tmp_path / "policy"
    shutil.copy(export / "policy", policy)
    wrong = {}
    for name, tamper in REFUSED.items():
        copy = tmp_path / "copy"
        shutil.copytree(export, copy)
        tamper(copy)
        code, said = audit("export", copy, "--policy", policy)
        if code != DOES_NOT_HOLD:
            wrong[name] = (code, said)
        shutil.rmtree(copy)
    assert not wrong
    assert audit("export", export, "--policy", tmp_path / "none")[0] == CANNOT_TELL
    assert audit("receipt", tmp_path / "none", "--policy", policy)[0] == CANNOT_TELL


def test_recorded_policies_that_do_not_lead_there_are_refused(
    audit: Audit, log: Log, tmp_path: Path
) -> None:
    """Somebody with an old log key and keys of their own cannot make up a newer policy."""
    old = tmp_path / "old"
    old.write_text(str(log.policy))
    log.later_keys = [signer()]
    log.adopt(log.policy_of(log.later_keys[0]))
    log.publication.step()
    receipt = tmp_path / "receipt"
    receipt.write_text(receipt_of(log, 40))
    history = recorded_policies(log)
    policies = tmp_path / "policies.json"
    asked = ("receipt", receipt, "--policy", old, "--policies", policies)
    policies.write_text(str(history))
    assert audit(*asked)[0] == HOLDS
    without = history.model_copy(update={"acts": history.acts[:-1]})
    moved = history.acts[-1].model_copy(update={"position": 1})
    misplaced = history.model_copy(update={"acts": [*history.acts[:-1], moved]})
    first, last = history.periods
    own = last.model_copy(update={"policy": str(log.policy_of(signer()))})
    made_up = history.model_copy(update={"periods": [first, own]})
    earlier = last.model_copy(update={"since": last.since - 1})
    shifted = history.model_copy(update={"periods": [first, earlier]})
    unbridged = history.model_copy(update={"bridges": history.bridges[1:]})
    *before, one, other, adoption = history.acts
    # Another order of the votes could adopt what a party had withdrawn.
    reordered = history.model_copy(update={"acts": [*before, other, one, adoption]})
    for lie in (without, misplaced, made_up, shifted, unbridged, reordered):
        policies.write_text(str(lie))
        assert audit(*asked)[0] == DOES_NOT_HOLD
        with pytest.raises(ValueError):  # noqa: PT011
            lie.believed(log.policy)
    assert history.believed(log.policy).first == 0
