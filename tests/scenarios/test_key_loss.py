"""A leaked log key leads a witness that runs alone astray; commands bring it back."""

from collections.abc import Iterator
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from api.demo.node_process import NodeProcess
from ledger.log.checkpoint import Checkpoint
from ledger.log.merkle import leaf_hash
from ledger.log.note import Note, SignatureType, SignerKey
from ledger.publication.witness import AddCheckpointRequest
from ledger.signing import keys
from tests.support.command_line import ACT, CommandLine
from tests.support.databases import new_database
from tests.support.process import wait_until_published
from tests.support.trees import continued
from tests.support.waiting import until

COORDINATORS = ("xk-nac", "me-nac", "al-nac")


@pytest.fixture
def machines(server: str, migrated: str, directory: Path) -> Iterator[list[CommandLine]]:
    """A ledger node's machine and a witness's, with a database each."""
    with ExitStack() as stack:
        made = []
        for name in ("ledger", "montenegro"):
            database = stack.enter_context(new_database(server, migrated))
            (directory / name).mkdir()
            made.append(CommandLine(directory / name, {"CASE_LEDGER_DATABASE_URL": database}))
        yield made


def cosigned(url: str) -> int:
    """Return the size that Montenegro's witness has cosigned, as the ledger node has it."""
    return int(httpx.get(f"{url}/ready").json()["witnesses"]["ME"])


def begin(cli: CommandLine) -> str:
    """Adopt the protocol. Gives the adoption's hash."""
    public = {a: cli.json("keys", "new", a)["public"] for a in COORDINATORS}
    named = [w for a in COORDINATORS[1:] for w in ("--coordinator", f"{a}={public[a]}")]
    adopted: str = cli.json("adopt", "--as", COORDINATORS[0], *named)["leaf_hash"]
    return adopted


def test_a_leaked_log_key_and_the_way_back(machines: list[CommandLine], directory: Path) -> None:
    cli, montenegro = machines
    adoption = begin(cli)
    own = cli.run("log", "policy").stdout
    log_key = own.split()[1]
    montenegro.more["CASE_LEDGER_LEDGER_ORIGIN"] = log_key.split("+")[0]
    their_key = montenegro.run("witness", "key", "ME").stdout.strip()
    serve = ("witness", "serve", "ME", "--log", log_key)
    witness = NodeProcess(montenegro.env, directory / "witness.log", serve)
    policy = directory / "policy"
    of_me = next(line for line in own.splitlines() if line.startswith("witness ME"))
    needs_all = own.replace("group parties 2", "group parties 3")
    policy.write_text(needs_all.replace(of_me, f"witness ME {their_key} {witness.url}"))
    cli.more["CASE_LEDGER_POLICY"] = str(policy)
    with NodeProcess(cli.env, directory / "serve.log") as node, witness:
        cli.more["CASE_LEDGER_URL"] = node.url
        wait_until_published(node.url, 1)
        # The thief has the log's key and what anyone can read, and asks the witness once.
        tile = httpx.get(f"{node.url}/log/tile/0/000.p/1").content
        tree = continued([tile], [leaf_hash(b"forged %d" % n) for n in range(20)])
        stolen = keys.load(cli.directory / "keys" / "log.jwk").private_key
        signer = SignerKey(log_key.split("+")[0], SignatureType.ED25519, stolen)  # type: ignore[arg-type]
        text = str(Checkpoint(signer.name, tree.size, tree.root()))
        note = Note(text, (signer.sign(text),))
        forged = AddCheckpointRequest(1, tuple(tree.consistency(1, tree.size)), note)
        answer = httpx.post(f"{witness.url}/add-checkpoint", content=bytes(forged))
        assert answer.status_code == 200
        # From then on the witness refuses the true log.
        cli.json("keys", "new", "xk-dhtqnj")
        public = cli.directory / "keys" / "xk-dhtqnj.public.json"
        cli.json("keys", "register", "-a", "xk-nac", "xk-dhtqnj", str(public))
        until(lambda: "witness-ahead" in httpx.get(f"{node.url}/ready").text)
        held = f"{witness.url}/{sha256(signer.name.encode()).hexdigest()}/checkpoint"
        assert f"\n{tree.size}\n" in httpx.get(held).text
        # As the page says: a new key, adopted by all parties, then followed by the witness.
        new_log = cli.run("log", "new-key").stdout.strip()
        after = directory / "after"
        after.write_text(policy.read_text().replace(log_key, new_log))
        for agency in COORDINATORS:
            position = cli.json("log", "adopt-policy", "-a", agency, str(after))["position"]
        stick = directory / "stick"
        until(lambda: cli.json("log", "export", "--signed", str(stick))["size"] >= position)
        follow = ("witness", "follow", "ME", "--from", str(stick), "--adoption")
        assert "another adoption" in montenegro.run(*follow, "0" * 64, code=1).stderr
        told = montenegro.json(*follow, adoption)
        assert (told["reset_from"], told["log_keys"]) == (21, [new_log])
        until(lambda: cosigned(node.url) >= position)
        refused = httpx.post(f"{witness.url}/add-checkpoint", content=bytes(forged))
        assert (refused.status_code, "no trusted key" in refused.text) == (403, True)
        until(lambda: httpx.get(f"{node.url}/ready").status_code == httpx.codes.OK)
        opened = cli.json("act", "-a", "xk-dhtqnj", *ACT)["position"]
        until(lambda: cosigned(node.url) >= opened)
    assert cli.json("verify", "ledger", "--policy", str(policy))["holds"]
