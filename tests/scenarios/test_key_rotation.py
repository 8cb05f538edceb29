"""Keys of the log and of a witness are replaced by commands, as the operations page says."""

import base64
from pathlib import Path
from typing import cast

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from api.demo.node_process import NodeProcess
from ledger.log.checkpoint import Checkpoint
from ledger.log.note import Note, SignatureType, SignerKey
from ledger.signing import keys
from tests.support.auditor import run_auditor
from tests.support.command_line import ACT, CommandLine
from tests.support.process import wait_until_published

COORDINATORS = ("xk-nac", "me-nac", "al-nac")


class Proofs:
    """A receipt and an export, as they are taken now."""

    def __init__(self, directory: Path, cli: CommandLine, position: int) -> None:
        directory.mkdir()
        self.position = position
        self.receipt = directory / "receipt"
        self.export = directory / "export"
        cli.run("log", "receipt", "-a", "xk-dhtqnj", str(position), "-o", str(self.receipt))
        self.size = cli.json("log", "export", str(self.export))["size"]


def test_the_parties_replace_keys_of_the_log_and_of_a_witness(
    directory: Path, database: str
) -> None:
    cli = CommandLine(directory, {"CASE_LEDGER_DATABASE_URL": database})
    public = {a: cli.json("keys", "new", a)["public"] for a in COORDINATORS}
    named = [w for a in COORDINATORS[1:] for w in ("--coordinator", f"{a}={public[a]}")]
    cli.json("adopt", "--as", COORDINATORS[0], *named)
    before = directory / "before"
    before.write_text(cli.run("log", "policy").stdout)
    with NodeProcess(cli.env, directory / "serve.log") as node:
        cli.more["CASE_LEDGER_URL"] = node.url
        cli.json("keys", "new", "xk-dhtqnj")
        key = directory / "keys" / "xk-dhtqnj.public.json"
        cli.json("keys", "register", "-a", "xk-nac", "xk-dhtqnj", str(key))
        wait_until_published(node.url, 2)
    # New keys are made, and count for nothing until the parties say so.
    old_log, *_, old_me, _xk = [
        line.split()[-1] for line in before.read_text().splitlines() if line[:3] in ("log", "wit")
    ]
    new_log = cli.run("log", "new-key").stdout.strip()
    new_me = cli.run("witness", "new-key", "ME").stdout.strip()
    after = directory / "after"
    after.write_text(before.read_text().replace(old_log, new_log).replace(old_me, new_me))
    with node:
        position = cli.json("act", "-a", "xk-dhtqnj", *ACT)["position"]
        wait_until_published(node.url, position)
        checkpoint = httpx.get(f"{node.url}/log/checkpoint").text
        assert key_id(old_log) in key_ids(checkpoint)
        old = Proofs(directory / "old", cli, position)
        assert httpx.get(f"{node.url}/log/policy").text == before.read_text()
        # The votes name a later checkpoint, so that no proof of theirs is one of the old receipt.
        wait_until_published(node.url, cli.json("act", "-a", "xk-dhtqnj", *ACT)["position"])
        for agency in COORDINATORS:
            receipt = cli.json("log", "adopt-policy", "-a", agency, str(after))
        assert (
            "policy-known"
            in cli.run("log", "adopt-policy", "-a", "xk-nac", str(after), code=2).stderr
        )
        wait_until_published(node.url, receipt["position"])
        assert httpx.get(f"{node.url}/log/policy").text == after.read_text()
        checkpoint = httpx.get(f"{node.url}/log/checkpoint").text
        assert {key_id(new_log), key_id(new_me)} < key_ids(checkpoint)
        assert not {key_id(old_log), key_id(old_me)} & key_ids(checkpoint)
        trail = cli.json("trail", "-a", "me-nac")
        assert [e["kind"] for e in trail[-3:]] == ["log_policy_adopted"] * 3
        # A receipt of an event from before holds by the policy of now.
        new = Proofs(directory / "new", cli, position)
        policies = directory / "policies.json"
        cli.run("log", "policies", "--size", str(old.size), "-o", str(policies))
    for policy in (before, after):
        report = cli.json("verify", "ledger", "--policy", str(policy))
        assert report["holds"], report
        assert report["covered"] == report["events"]
    check_offline(directory, before, after, old, new)


def check_offline(directory: Path, before: Path, after: Path, old: Proofs, new: Proofs) -> None:
    """Old and new proofs verify by either policy, with no server and no database."""
    alone = CommandLine(directory / "offline")
    policies = directory / "policies.json"
    for proofs in (old, new):
        for policy in (before, after):
            trust = ("--policy", str(policy), "--policies", str(policies))
            told = alone.json("verify", "receipt", str(proofs.receipt), *trust)
            assert told["position"] == proofs.position
            told = alone.json("verify", "export", str(proofs.export), *trust)
            assert told["holds"], told
            for what, path in (("receipt", proofs.receipt), ("export", proofs.export)):
                done = run_auditor(what, path, *trust)
                assert done.returncode == 0, done.stderr
    # What came with the new export is enough for it.
    assert alone.json("verify", "export", str(new.export), "--policy", str(before))["holds"]
    assert run_auditor("export", new.export, "--policy", str(before)).returncode == 0
    # Where something is missing, it is said what.
    for path, policy, what in (
        (new.receipt, before, "--policies"),
        (old.receipt, after, "--policies"),
    ):
        trust = ("--policy", str(policy))
        assert what in alone.run("verify", "receipt", str(path), *trust, code=3).stderr
        done = run_auditor("receipt", path, *trust)
        assert done.returncode == 3
        assert what in done.stderr
    of_new = ("--policy", str(after), "--policies", str(new.export))
    needed = f"case-ledger log policies --size {old.size}"
    assert needed in alone.run("verify", "receipt", str(old.receipt), *of_new, code=3).stderr
    assert needed in run_auditor("receipt", old.receipt, *of_new).stderr
    # A key that counts no more signs a checkpoint of a size that the new policy is for.
    held = directory / "stale"
    held.write_text(signed_again(new.export / "checkpoint", directory / "keys" / "log.jwk"))
    trust = ("--policy", str(after), "--held", str(held))
    assert alone.run("verify", "export", str(new.export), *trust, code=3)
    assert "no log key" in run_auditor("export", new.export, *trust).stderr


def signed_again(checkpoint: Path, key: Path) -> str:
    """The same checkpoint, signed by another key of the log."""
    note = Note.parse(checkpoint.read_bytes())
    private = cast("Ed25519PrivateKey", keys.load(key).private_key)
    origin = Checkpoint.parse(note.text).origin
    signature = SignerKey(origin, SignatureType.ED25519, private).sign(note.text)
    return str(Note(note.text, (signature,)))


def key_id(vkey: str) -> str:
    return vkey.split("+")[1]


def key_ids(checkpoint: str) -> set[str]:
    lines = [line for line in checkpoint.splitlines() if line.startswith("\N{EM DASH}")]
    return {base64.b64decode(line.split()[-1])[:4].hex() for line in lines}
