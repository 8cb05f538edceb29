"""Keys leaked, lost and replaced on a ledger node and on a country's node that follows it.

Each by the commands of ``docs/key-loss.md``, under running nodes. Receipts and exports of before
and after verify by the program, by the auditor's script and by a program in Go. The tests are one
story, in this order.
"""

import base64
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import httpx
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from api.demo.machines import Machine, MachineError
from ledger.log.checkpoint import Checkpoint
from ledger.log.note import Note, SignatureType, SignerKey
from ledger.publication.witness import AddCheckpointRequest
from ledger.signing import keys
from tests.support.agencies import Agencies
from tests.support.auditor import run_auditor
from tests.support.command_line import ACT, CommandLine
from tests.support.databases import new_database
from tests.support.go_programs import build, need_go
from tests.support.two_nodes import introduce, troubles
from tests.support.waiting import until

NAME = "zqNobodysName"
AT_LEDGER, AT_HOME = ("me-nac", "al-nac"), ("xk-nac", "xk-dhtqnj")


@dataclass
class Proofs:
    """A receipt, and an export of each node, as they are taken at one time."""

    directory: Path
    position: int
    size: int

    @property
    def receipt(self) -> Path:
        return self.directory / "receipt"

    @property
    def exports(self) -> tuple[Path, Path]:
        return self.directory / "ledger", self.directory / "xk"


@dataclass
class World:
    """A ledger node of no country, and Kosovo's node, on two databases of one server."""

    agencies: Agencies
    directory: Path
    ledger: Machine
    country: Machine
    stack: ExitStack
    server: str
    migrated: str
    cases: list[str] = field(default_factory=list)
    policies: list[Path] = field(default_factory=list)
    proofs: list[Proofs] = field(default_factory=list)

    def open_case(self) -> int:
        """Open a case at the country's node. Gives its position; both nodes have published it."""
        receipt = self.country.json("act", "-a", "xk-dhtqnj", *ACT)
        self.cases.append(receipt["case_id"])
        self.wait_until_published(receipt["position"])
        return int(receipt["position"])

    def wait_until_published(self, size: int) -> None:
        for machine in (self.ledger, self.country):
            until(lambda m=machine: m.ready().get("published", 0) >= size, machine.name)  # type: ignore[misc]

    def prove(self, position: int) -> None:
        """Take a receipt and exports now."""
        made = Proofs(self.directory / f"proofs-{len(self.proofs)}", position, 0)
        made.directory.mkdir()
        of = (str(position), "-o", str(made.receipt))
        self.country.run("log", "receipt", "-a", "xk-dhtqnj", *of)
        for machine, export in zip((self.ledger, self.country), made.exports, strict=True):
            made.size = machine.json("log", "export", str(export))["size"]
        self.proofs.append(made)

    def adopt(self, **replaced: str) -> int:
        """Every coordinator adopts the policy with new keys in the place of others'."""
        text = self.ledger.run("log", "policy", "--in-force")
        for old_line, new in replaced.items():
            (line,) = (one for one in text.splitlines() if one.startswith(old_line))
            words = line.split()
            words[1 if old_line == "log" else 2] = new
            text = text.replace(line, " ".join(words))
        path = self.directory / f"policy-{len(self.policies)}"
        path.write_text(f"{text}\n")
        self.policies.append(path)
        adopt = ("log", "adopt-policy", str(path), "-a")
        for agency in AT_LEDGER:
            self.ledger.run(*adopt, agency)
        return int(self.country.json(*adopt, "xk-nac")["position"])

    def register_country(self, key: str) -> None:
        (self.directory / "xk.country").write_text(key)
        words = ("register-country", "-a", "xk-nac", "--public-key")
        self.country.run("keys", *words, str(self.directory / "xk.country"))

    def reads(self, *, is_whole: bool = True) -> None:
        """The country's node opens what it holds on every person.

        ``is_whole``: its vault holds all that it must by the ledger.
        """
        for case in self.cases:
            asked = ("-g", "identity", "--purpose", "protection")
            assert NAME in self.country.run("read", "-a", "xk-dhtqnj", case, *asked)
        if is_whole:
            self.country.run("verify", "vault", "XK")


@pytest.fixture(scope="module")
def world(
    server: str,
    begun: str,
    migrated: str,
    agencies: Agencies,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("keys")
    with ExitStack() as stack:
        ledger, country = Machine(directory / "ledger"), Machine(directory / "xk")
        for machine, template, own in ((ledger, begun, AT_LEDGER), (country, migrated, AT_HOME)):
            machine.settings["database_url"] = stack.enter_context(new_database(server, template))
            machine.settings["url"] = machine.url
            for agency in own:
                keys.save(agencies.keys[agency], machine.keys / f"{agency}.jwk")
        introduce(ledger, country, directory, agencies)
        made = World(agencies, directory, ledger, country, stack, server, migrated)
        made.policies.append(directory / "policy")
        for machine in (ledger, country):
            stack.callback(machine.stop)
            machine.start()
        until(lambda: country.ready().get("head", 0) > 20, "the first copy")
        country.run("keys", "register-country", "-a", "xk-nac")
        made.prove(made.open_case())
        yield made


def forged(world: World, key: Path) -> bytes:
    """A submission of a larger tree than the ledger's, signed with the log's leaked key."""
    checkpoint = Checkpoint.parse(
        Note.parse((world.proofs[0].exports[0] / "checkpoint").read_bytes()).text
    )
    signer = SignerKey(checkpoint.origin, SignatureType.ED25519, private(key))
    text = str(Checkpoint(checkpoint.origin, checkpoint.size + 20, bytes(32)))
    note = Note(text, (signer.sign(text),))
    return bytes(AddCheckpointRequest(checkpoint.size, (bytes(32),), note))


def private(key: Path) -> Ed25519PrivateKey:
    return cast("Ed25519PrivateKey", keys.load(key).private_key)


def test_the_log_key_leaks_and_is_replaced_with_the_witness_key(world: World) -> None:
    ledger, country = world.ledger, world.country
    witness = f"{country.url}/witness/XK/add-checkpoint"
    leaked = forged(world, ledger.keys / "log.jwk")
    # A node's witness compares with its own copy: whoever has the key leads it nowhere.
    assert httpx.post(witness, content=leaked).status_code != 200
    old = world.policies[0].read_text()
    new_log = ledger.run("log", "new-key")
    new_witness = country.run("witness", "new-key", "XK")
    position = world.adopt(**{"log": new_log, "witness": new_witness})
    world.wait_until_published(position)
    for machine in (ledger, country):
        assert machine.run("log", "policy", "--in-force") == world.policies[-1].read_text().strip()
    signed = key_ids(httpx.get(f"{ledger.url}/log/checkpoint").text)
    assert {key_id(new_log), key_id(new_witness)} <= signed
    assert not {key_id(word) for word in old.split() if word.count("+") > 1} & signed
    refused = httpx.post(witness, content=leaked)
    assert (refused.status_code, "no trusted key" in refused.text) == (403, True)
    world.prove(world.open_case())
    assert country.json("verify", "ledger", "--policy", str(world.policies[0]))["holds"]


def test_the_countrys_key_and_its_data_keys_leak_and_are_replaced(world: World) -> None:
    country = world.country
    new = country.run("keys", "new-country", "XK")
    with pytest.raises(MachineError, match="not registered"):
        country.run("keys", "retire-country", "XK")
    world.register_country(new)
    with pytest.raises(MachineError, match="reseal"):
        country.run("keys", "retire-country", "XK")
    assert country.json("keys", "reseal", "XK")["data_keys"] == len(world.cases)
    until(lambda: retires(country), "the copy of the registration")
    replaced = country.json("keys", "replace-data-keys", "XK")
    assert (replaced["persons"], replaced["damaged"]) == (len(world.cases), 0)
    one = country.json("keys", "replace-data-keys", "XK", "--case", world.cases[0])
    assert one["persons"] == 1
    # Nothing was destroyed since, and no person is meant twice.
    none = country.json("keys", "replace-data-keys", "XK", "--destroyed")
    assert (none["persons"], none["kept"]) == (0, 0)
    with pytest.raises(MachineError, match="this is no node of ME"):
        country.run("keys", "replace-data-keys", "ME")
    world.reads()
    world.open_case()
    world.reads()
    assert (
        not {"vault-keys-missing", "vault-keys-returned", "vault-differs"}
        & troubles(country).keys()
    )


def retires(country: Machine) -> bool:
    """Retire the country's earlier key, as soon as the copy has the registration."""
    try:
        return country.json("keys", "retire-country", "XK")["destroyed"] == ["country-xk.jwe"]
    except MachineError as error:
        if "not registered" not in str(error):
            raise
        return False


def test_the_countrys_node_loses_keys_and_starts_with_none_in_their_place(world: World) -> None:
    ledger, country = world.ledger, world.country
    country.stop()
    lost = ["country-xk-2.jwe", "witness-xk.jwk", "witness-xk-2.jwk"]  # of the first, none is left
    for name in lost:
        (country.keys / name).rename(world.directory / name)
    before = sorted(path.name for path in country.keys.iterdir())
    said = "is missing, and this node used that key before"
    for words in (("keys", "country", "XK"), ("witness", "key", "XK")):
        with pytest.raises(MachineError, match=said):
            country.run(*words)
    assert sorted(path.name for path in country.keys.iterdir()) == before
    # The country's key comes back from its backup. The witness's is lost for good.
    (world.directory / lost[0]).rename(country.keys / lost[0])
    new_witness = country.run("witness", "new-key", "XK")
    # The node's own agency key is replaced too: another file, and the old one revoked.
    new_node = country.json("keys", "new", "xk-node", "--file", str(world.directory / "new.jwk"))
    old_node = keys.key_id(world.agencies.keys["xk-node"])
    (world.directory / "new.jwk").replace(country.keys / "xk-node.jwk")
    keys.save(world.agencies.keys["xk-nac"], ledger.keys / "xk-nac.jwk")
    ledger.run("keys", "register", "-a", "xk-nac", "xk-node", new_node["public"])
    country.start()
    position = world.adopt(witness=new_witness)
    world.wait_until_published(position)
    country.run("keys", "revoke", "-a", "xk-nac", old_node)
    world.prove(world.open_case())
    world.reads()


def test_the_ledger_node_loses_the_log_key(world: World) -> None:
    ledger = world.ledger
    ledger.stop()
    for path in ledger.keys.glob("log*.jwk"):
        path.rename(world.directory / path.name)
    with pytest.raises(MachineError, match=r"log\.jwk is missing"):
        ledger.run("log", "key")
    new_log = ledger.run("log", "new-key")
    ledger.start()
    until(lambda: "another-log-key" in troubles(ledger), "it says so")
    head = ledger.ready()["head"]
    # It records on. The country's copy takes what is published, and its agencies wait until then.
    with pytest.raises(MachineError, match='"receipt":null'):
        world.country.json("act", "-a", "xk-dhtqnj", "--patience", "1", *ACT)
    until(lambda: ledger.ready()["head"] > head, "it is recorded")
    assert ledger.ready()["published"] == head
    world.wait_until_published(world.adopt(log=new_log))
    until(lambda: ledger.ready()["status"] == "ready", "all is well")
    world.prove(world.open_case())


def test_the_countrys_key_is_lost_for_good(world: World) -> None:
    """As the page says: what it sealed is closed, and the node goes on with another key."""
    country = world.country
    country.stop()
    for path in country.keys.glob("country-xk*.jwe"):
        path.unlink()
    for name in ("persons", "masks"):
        if (country.keys / name / "xk").exists():
            (country.keys / name / "xk").rename(world.directory / f"lost-{name}")
    new = country.run("keys", "new-country", "XK")
    with psycopg.connect(country.settings["database_url"]) as connection:
        connection.execute("DELETE FROM vault_xk.disclosures")
        connection.execute("DELETE FROM vault_xk.deposits")
    country.start()
    world.register_country(new)
    country.run("node", "accept-history", "--why", "the country's key is lost")
    world.cases.clear()
    world.prove(world.open_case())
    world.reads(is_whole=False)
    until(
        lambda: not {"key-files-changed", "vault-keys-missing"} & troubles(country).keys(),
        "the files are known",
    )


def test_the_machine_of_the_countrys_node_burns(world: World) -> None:
    """Its keys come back from their copy, and its database does not."""
    country = world.country
    shutil.copytree(country.keys, kept := world.directory / "keys")
    country.destroy()
    country.home.mkdir(mode=0o755)
    kept.rename(country.keys)
    database = world.stack.enter_context(new_database(world.server, world.migrated))
    country.settings["database_url"] = database
    country.start()
    lost, world.cases = world.cases, []
    head = world.ledger.ready()["head"]
    until(lambda: country.ready().get("head", 0) >= head, "it copied the ledger again")
    # The mark beside the keys says what was here.
    until(lambda: "history-changed" in troubles(country), "it says so")
    country.run("node", "accept-history", "--by", "A. Operator", "--why", "the machine burnt")
    until(lambda: "history-changed" not in troubles(country), "it was decided")
    world.prove(world.open_case())
    world.reads(is_whole=False)
    asked = ("-g", "identity", "--purpose", "protection")
    assert NAME not in country.run("read", "-a", "xk-dhtqnj", lost[0], *asked)
    until(lambda: lost[0] in country.run("node", "missing", "--json"), "it names what it lacks")
    with psycopg.connect(database) as connection:
        (count,) = connection.execute("SELECT count(*) FROM ledger.events").fetchone() or (0,)
    assert count == world.ledger.ready()["head"]
    for machine in (world.ledger, country):
        held = str(world.proofs[0].exports[0] / "checkpoint")
        trust = ("--policy", str(world.policies[0]), "--held", held)
        assert machine.json("verify", "ledger", *trust)["holds"]


def test_old_and_new_proofs_verify_by_the_oldest_and_the_newest_policy(world: World) -> None:
    policies = world.directory / "policies.json"
    world.country.run("log", "policies", "--size", str(world.proofs[0].size), "-o", str(policies))
    alone = CommandLine(world.directory / "offline")
    oldest, newest = world.proofs[0], world.proofs[-1]
    before, after = world.policies[0], world.policies[-1]
    for proofs, policy in ((oldest, after), (newest, before)):
        trust = ("--policy", str(policy), "--policies", str(policies))
        told = alone.json("verify", "receipt", str(proofs.receipt), *trust)
        assert told["position"] == proofs.position
        checked = [("receipt", proofs.receipt)]
        for export in proofs.exports:
            assert alone.json("verify", "export", str(export), *trust)["holds"]
            checked.append(("export", export))
        for what, path in checked:
            done = run_auditor(what, path, *trust)
            assert done.returncode == 0, done.stderr


def test_a_program_written_elsewhere_verifies_both_nodes_by_any_policy(world: World) -> None:
    """It takes receipts and exports of all times, and what both nodes serve to anybody now."""
    need_go()
    program = build(world.directory / "read_policies")
    file = world.directory / "all-policies.json"
    sizes = [word for made in world.proofs for word in ("--size", str(made.size))]
    world.country.run("log", "policies", *sizes, "-o", str(file))
    taken = [str(path) for made in world.proofs for path in (made.receipt, *made.exports)]
    served = [f"{machine.url}/log" for machine in (world.ledger, world.country)]

    def verify(policy: Path, *proofs: str) -> subprocess.CompletedProcess[str]:
        words = [program, policy, file, *proofs]
        return subprocess.run(words, capture_output=True, text=True, timeout=120)

    for policy in world.policies:
        done = verify(policy, *taken, *served)
        assert done.returncode == 0, (policy.name, done.stderr)
        expected = [
            line
            for made in world.proofs
            for line in (f"position {made.position}", f"{made.size} events", f"{made.size} events")
        ]
        told = done.stdout.splitlines()
        assert all(map(str.startswith, told, expected)), told
        assert [line.split()[1:3] for line in told[-2:]] == [["hashes", "of"]] * 2
    # The country's copy with another event, and with a checkpoint of the log key that leaked.
    for name in ("changed", "leaked"):
        shutil.copytree(world.proofs[-1].exports[1], export := world.directory / name)
        if name == "changed":
            bundle = next(p for p in (export / "tile" / "entries").rglob("*") if p.is_file())
            content = bytearray(bundle.read_bytes())
            content[-9] ^= 1
            bundle.write_bytes(content)
        else:
            checkpoint = export / "checkpoint"
            text = Note.parse(checkpoint.read_bytes()).text
            leaked = private(world.directory / "log.jwk")
            signer = SignerKey(Checkpoint.parse(text).origin, SignatureType.ED25519, leaked)
            checkpoint.write_text(str(Note(text, (signer.sign(text),))))
        refused = verify(world.policies[0], str(export))
        assert refused.returncode == 1
        said = {"changed": "the root is", "leaked": "no log key of the policy in force"}
        assert said[name] in refused.stderr


def key_id(vkey: str) -> str:
    return vkey.split("+")[1]


def key_ids(checkpoint: str) -> set[str]:
    lines = [line for line in checkpoint.splitlines() if line.startswith("\N{EM DASH}")]
    return {base64.b64decode(line.split()[-1])[:4].hex() for line in lines}
