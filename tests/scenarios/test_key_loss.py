"""Keys leaked, lost and replaced on running nodes, by the commands of the page on it."""

import time
from pathlib import Path

import httpx
import pytest

from ledger import keys
from ledger.merkle import leaf_hash
from ledger.transparency.checkpoint import Checkpoint
from ledger.transparency.note import Note, SignatureType, SignerKey
from ledger.transparency.witness import Submission
from tests.support.command_line import ACT, CommandLine
from tests.support.process import ServeProcess, wait_until_published
from tests.support.trees import continued

COORDINATORS = ("xk-nac", "me-nac", "al-nac")


@pytest.fixture
def cli(directory: Path) -> CommandLine:
    home = directory / "ledger"
    home.mkdir()
    return CommandLine(home)


def begin(cli: CommandLine) -> str:
    """Adopt the protocol. Gives the adoption's hash."""
    public = {a: cli.json("keys", "new", a)["public"] for a in COORDINATORS}
    named = [w for a in COORDINATORS[1:] for w in ("--coordinator", f"{a}={public[a]}")]
    adopted: str = cli.json("adopt", "--as", COORDINATORS[0], *named)["leaf_hash"]
    return adopted


def test_a_leaked_log_key_and_the_way_back(cli: CommandLine, directory: Path) -> None:
    adoption = begin(cli)
    montenegro = CommandLine(directory / "montenegro")
    montenegro.directory.mkdir()
    own = cli.run("log", "policy").stdout
    log_key = own.split()[1]
    montenegro.more["CASE_LEDGER_LEDGER_ORIGIN"] = log_key.split("+")[0]
    their_key = montenegro.run("witness", "key", "ME").stdout.strip()
    serve = ("witness", "serve", "ME", "--log", log_key)
    witness = ServeProcess(montenegro.env, directory / "witness.log", serve)
    policy = directory / "policy"
    of_me = next(line for line in own.splitlines() if line.startswith("witness ME"))
    needs_all = own.replace("group parties 2", "group parties 3")
    policy.write_text(needs_all.replace(of_me, f"witness ME {their_key} {witness.url}"))
    cli.more["CASE_LEDGER_POLICY"] = str(policy)
    with ServeProcess(cli.env, directory / "serve.log") as node, witness:
        cli.more["CASE_LEDGER_URL"] = node.url
        wait_until_published(node.url, 1)
        # The thief has the log's key and what anyone can read, and asks the witness once.
        tile = httpx.get(f"{node.url}/log/tile/0/000.p/1").content
        tree = continued([tile], [leaf_hash(b"forged %d" % n) for n in range(20)])
        stolen = keys.load(cli.directory / "keys" / "log.jwk").private_key
        signer = SignerKey(log_key.split("+")[0], SignatureType.ED25519, stolen)  # type: ignore[arg-type]
        text = str(Checkpoint(signer.name, tree.size, tree.root()))
        note = Note(text, (signer.sign(text),))
        forged = Submission(1, tuple(tree.consistency(1, tree.size)), note)
        answer = httpx.post(f"{witness.url}/add-checkpoint", content=bytes(forged))
        assert answer.status_code == 200
        # From then on the witness refuses the true log.
        cli.json("keys", "new", "xk-dhtqnj")
        public = cli.directory / "keys" / "xk-dhtqnj.public.json"
        cli.json("keys", "register", "-a", "xk-nac", "xk-dhtqnj", str(public))
        time.sleep(1.5)
        assert "\n1\n" in httpx.get(f"{node.url}/log/checkpoint").text
        # As the page says: a new key, adopted by all parties, then followed by the witness.
        new_log = cli.run("log", "new-key").stdout.strip()
        after = directory / "after"
        after.write_text(policy.read_text().replace(log_key, new_log))
        for agency in COORDINATORS:
            position = cli.json("log", "adopt-policy", "-a", agency, str(after))["position"]
        stick = directory / "stick"
        deadline = time.monotonic() + 30
        while cli.json("log", "export", "--signed", str(stick))["size"] < position:
            assert time.monotonic() < deadline
        follow = ("witness", "follow", "ME", "--from", str(stick), "--adoption")
        assert "another adoption" in montenegro.run(*follow, "0" * 64, code=1).stderr
        told = montenegro.json(*follow, adoption)
        assert (told["reset_from"], told["log_keys"]) == (21, [new_log])
        wait_until_published(node.url, position)
        refused = httpx.post(f"{witness.url}/add-checkpoint", content=bytes(forged))
        assert (refused.status_code, "no trusted key" in refused.text) == (403, True)
        deadline = time.monotonic() + 30
        while httpx.get(f"{node.url}/ready").status_code != 200:
            assert time.monotonic() < deadline, httpx.get(f"{node.url}/ready").text
            time.sleep(0.2)
        opened = cli.json("act", "-a", "xk-dhtqnj", *ACT)["position"]
        wait_until_published(node.url, opened)
    assert cli.json("verify", "ledger", "--policy", str(policy))["holds"]


def test_a_countrys_key_is_replaced_under_a_running_node_and_never_by_accident(
    cli: CommandLine, directory: Path
) -> None:
    begin(cli)
    files = cli.directory / "keys"
    with ServeProcess(cli.env, directory / "serve.log") as node:
        cli.more["CASE_LEDGER_URL"] = node.url
        for agency in ("xk-dhtqnj", "xk-node"):
            cli.json("keys", "new", agency)
            public = str(files / f"{agency}.public.json")
            cli.json("keys", "register", "-a", "xk-nac", agency, public)
        cli.json("keys", "register-country", "-a", "xk-nac")
        case = cli.json("act", "-a", "xk-dhtqnj", *ACT)["case_id"]
        read = ("read", "-a", "xk-dhtqnj", case, "-g", "identity", "--purpose", "protection")
        assert "zqNobodysName" in cli.run(*read).stdout
        assert cli.json("keys", "retire-country", "XK")["destroyed"] == []
        new = cli.run("keys", "new-country", "XK").stdout.strip()
        assert "not registered" in cli.run("keys", "retire-country", "XK", code=1).stderr
        (directory / "xk.country").write_text(new)
        register = ("keys", "register-country", "-a", "xk-nac", "--public-key")
        cli.json(*register, str(directory / "xk.country"))
        assert "reseal" in cli.run("keys", "retire-country", "XK", code=1).stderr
        assert cli.json("keys", "reseal", "XK")["data_keys"] == 1
        assert cli.json("keys", "retire-country", "XK")["destroyed"] == ["country-xk.jwe"]
        assert "zqNobodysName" in cli.run(*read).stdout
        cli.json("act", "-a", "xk-dhtqnj", *ACT)
        time.sleep(2.5)
        troubles = httpx.get(f"{node.url}/ready").json()["troubles"]
        assert [t["rule"] for t in troubles if t["rule"].startswith(("key", "vault"))] == []
    # Started again it opens all with the new key alone; without that file it does not start.
    with ServeProcess(cli.env, directory / "again.log") as node:
        cli.more["CASE_LEDGER_URL"] = node.url
        assert "zqNobodysName" in cli.run(*read).stdout
    (files / "country-xk-2.jwe").rename(directory / "kept")
    before = sorted(path.name for path in files.iterdir())
    said = cli.run("serve", "--port", "0", code=1).stderr
    assert "country-xk.jwe is missing" in said
    assert "keys new-country XK" in said
    assert "is missing" in cli.run("keys", "country", "XK", code=1).stderr
    assert sorted(path.name for path in files.iterdir()) == before
