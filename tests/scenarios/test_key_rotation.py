"""Keys of the log and of a witness are replaced by commands, as the operations page says."""

import base64
from pathlib import Path

import httpx

from tests.support.command_line import ACT, CommandLine
from tests.support.process import ServeProcess, wait_until_published

COORDINATORS = ("xk-nac", "me-nac", "al-nac")


def test_the_parties_replace_keys_of_the_log_and_of_a_witness(directory: Path) -> None:
    cli = CommandLine(directory)
    public = {a: cli.json("keys", "new", a)["public"] for a in COORDINATORS}
    named = [w for a in COORDINATORS[1:] for w in ("--coordinator", f"{a}={public[a]}")]
    cli.json("adopt", "--as", COORDINATORS[0], *named)
    before = directory / "before"
    before.write_text(cli.run("log", "policy").stdout)
    with ServeProcess(cli.env, directory / "serve.log") as node:
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
        assert httpx.get(f"{node.url}/log/policy").text == before.read_text()
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
        receipt_file = directory / "receipt"
        cli.run("log", "receipt", "-a", "xk-dhtqnj", str(position), "-o", str(receipt_file))
        cli.run("verify", "receipt", str(receipt_file), "--policy", str(after))
        cli.run("verify", "receipt", str(receipt_file), "--policy", str(before), code=3)
    for policy in (before, after):
        report = cli.json("verify", "ledger", "--policy", str(policy))
        assert report["holds"], report
        assert report["covered"] == report["events"]


def key_id(vkey: str) -> str:
    return vkey.split("+")[1]


def key_ids(checkpoint: str) -> set[str]:
    lines = [line for line in checkpoint.splitlines() if line.startswith("\N{EM DASH}")]
    return {base64.b64decode(line.split()[-1])[:4].hex() for line in lines}
