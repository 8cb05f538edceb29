"""Proof as its users get it: a witness of its own, an export, receipts, and verification."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.demo.node_process import NodeProcess
from tests.support.auditor import run_auditor
from tests.support.command_line import ACT, CommandLine
from tests.support.databases import new_database
from tests.support.process import wait_until_published
from tests.support.waiting import until


@pytest.fixture
def cli(directory: Path, database: str) -> CommandLine:
    home = directory / "ledger"
    home.mkdir()
    return CommandLine(home, {"CASE_LEDGER_DATABASE_URL": database})


@pytest.fixture
def montenegro(server: str, migrated: str, directory: Path) -> Iterator[CommandLine]:
    """The machine of a witness that runs alone."""
    home = directory / "montenegro"
    home.mkdir()
    with new_database(server, migrated) as database:
        yield CommandLine(home, {"CASE_LEDGER_DATABASE_URL": database})


def wait_until_own_witness_has(url: str, size: int) -> Any:
    """Return what the node says once Kosovo's witness, which runs in it, has so many events."""

    def ready() -> Any:
        return httpx.get(f"{url}/ready").json()

    until(lambda: ready().get("witnesses", {}).get("XK") == size, ready)
    return ready()


def test_a_country_verifies_without_trusting_the_operator(
    cli: CommandLine, montenegro: CommandLine, directory: Path
) -> None:
    made = {a: cli.json("keys", "new", a) for a in ("xk-nac", "me-nac", "al-nac")}
    others = [
        w for a in ("me-nac", "al-nac") for w in ("--coordinator", f"{a}={made[a]['public']}")
    ]
    cli.json("adopt", "--as", "xk-nac", *others)
    # Montenegro runs its witness itself, and each side tells the other its keys.
    own = cli.run("log", "policy").stdout
    log_key = own.split()[1]
    montenegro.more["CASE_LEDGER_LEDGER_ORIGIN"] = log_key.split("+")[0]
    their_key = montenegro.run("witness", "key", "ME").stdout.strip()
    serve = ("witness", "serve", "ME", "--log", log_key)
    witness = NodeProcess(montenegro.env, directory / "witness.log", serve)
    policy = directory / "policy"
    policy.write_text(
        "\n".join(
            f"witness ME {their_key} {witness.url}"
            if line.startswith("witness ME")
            else line.replace("group parties 2", "group parties 3")
            for line in own.splitlines()
        )
        + "\n"
    )
    cli.more["CASE_LEDGER_POLICY"] = str(policy)
    with NodeProcess(cli.env, directory / "serve.log") as node:
        cli.more["CASE_LEDGER_URL"] = node.url
        cli.json("keys", "new", "xk-dhtqnj")
        public = cli.directory / "keys" / "xk-dhtqnj.public.json"
        cli.json("keys", "register", "-a", "xk-nac", "xk-dhtqnj", str(public))
        # The witness is down: appends go on, publication waits and says for whom.
        first = cli.json("act", "-a", "xk-dhtqnj", *ACT)
        ready = wait_until_own_witness_has(node.url, first["position"])
        assert (ready["published"], ready["witnesses"]["ME"]) == (0, 0)
        assert ready["witnesses"]["XK"] == ready["head"] == first["position"]
        assert httpx.get(f"{node.url}/log/checkpoint").status_code == 404
        with witness:
            wait_until_published(node.url, first["position"])
            assert witness.stop() == 0
        second = cli.json("act", "-a", "xk-dhtqnj", *ACT)
        with witness:
            wait_until_published(node.url, second["position"])
            assert witness.stop() == 0
        receipt = directory / "event.tlog-proof"
        position = str(second["position"])
        cli.run("log", "receipt", "-a", "xk-dhtqnj", position, "-o", str(receipt))
        assert node.stop() == 0

    trust = ("--policy", str(policy))
    report = cli.json("verify", "ledger", *trust)
    assert (report["holds"], report["events"], report["covered"]) == (True, 4, 4)
    told = cli.json("verify", "receipt", str(receipt), *trust)
    assert (told["position"], told["kind"], told["agency"]) == (4, "case_opened", "xk-dhtqnj")
    assert told["cosigned"].keys() == {"AL", "ME", "XK"}
    written = directory / "export"
    assert cli.json("log", "export", str(written))["size"] == 4
    alone = CommandLine(directory / "auditor")  # no database, no keys, no settings
    assert alone.json("verify", "export", str(written), *trust)["holds"] is True
    signed = cli.directory / "decisions" / f"{first['action_id']}.json"  # `act` kept it
    by_export = ("verify", "decision", str(signed), "--export", str(written), *trust)
    assert alone.json(*by_export)["position"] == first["position"]
    assert cli.json("verify", "decision", str(signed), *trust)["is_true"] is True
    assert "All 4 events hold" in alone.run("verify", "export", str(written), *trust).stdout
    assert not (directory / "auditor").exists()
    check_with_the_auditors_script(policy, written, receipt)
    ours, theirs = directory / "ours.json", directory / "theirs.json"
    cli.run("report", "annual", "--year", "2026", "--out", str(ours))
    of_export = ("report", "annual", "--year", "2026", "--from", str(written))
    alone.run(*of_export, "--out", str(theirs))
    assert ours.read_bytes() == theirs.read_bytes()
    assert alone.json(*of_export) == json.loads(ours.read_bytes())
    assert "not for publication" in ours.with_suffix(".md").read_text()
    assert "nuk është për publikim" in alone.run(*of_export, "--language", "sq").stdout
    assert "sq" in alone.run(*of_export, "--language", "xx", code=1).stderr
    assert "covers 4" in alone.run(*of_export, "--at", "5", code=1).stderr

    # With another's keys nothing is believed; with a changed byte nothing holds.
    other = directory / "other-policy"
    other.write_text(cli.run("log", "policy").stdout.replace("log ", "# log ", 1))
    cli.run("verify", "receipt", str(receipt), "--policy", str(other), code=3)
    bundle = written / "tile" / "entries" / "000.p" / "4"
    content = bytearray(bundle.read_bytes())
    content[-20] ^= 1
    bundle.write_bytes(bytes(content))
    broken = alone.run("verify", "export", str(written), *trust, "--json", code=3)
    found = json.loads(broken.stdout)["findings"]
    assert any(f["first"] <= 4 <= f["last"] for f in found)
    assert run_auditor("export", written, str(policy)).returncode == 3
    bundle.unlink()
    assert "missing" in alone.run("verify", "export", str(written), *trust, code=3).stderr
    receipt.write_text(receipt.read_text().replace("index 3", "index 2"))
    assert "does not hold" in cli.run("verify", "receipt", str(receipt), *trust, code=3).stderr
    assert run_auditor("receipt", receipt, str(policy)).returncode == 3


def check_with_the_auditors_script(policy: Path, written: Path, receipt: Path) -> None:
    for what, path in (("export", written), ("receipt", receipt)):
        done = run_auditor(what, path, str(policy))
        assert done.returncode == 0, done.stderr + done.stdout
        assert "holds" in done.stdout
