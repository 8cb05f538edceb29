"""A ledger node and Kosovo's node, as machines that trust each other's keys."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from api.demo.machines import Machine
from api.runtime.node_database import open_store
from api.runtime.settings import Settings
from ledger.log.note import VerifierKey
from ledger.log.policy import Policy, TrustedWitness
from ledger.signing import keys
from tests.support.agencies import Agencies

SECONDS = 120.0
"""So long a test waits for what a loaded machine does late."""


def troubles(machine: Machine) -> dict[str, str]:
    """Return the effect of each trouble that a node names."""
    return {trouble["rule"]: trouble["effect"] for trouble in machine.ready().get("troubles", ())}


def introduce(ledger: Machine, country: Machine, directory: Path, agencies: Agencies) -> None:
    """Give both machines their settings, and a policy in ``directory`` with both nodes' keys."""
    keys.save(agencies.keys["xk-node"], country.keys / "xk-node.jwk")
    witness = VerifierKey.parse(country.run("witness", "key", "XK"))
    log = VerifierKey.parse(ledger.run("log", "key"))
    policy = directory / "policy"
    trusted = TrustedWitness(witness, f"{country.url}/witness/XK")
    policy.write_text(str(Policy.of(log, {"XK": trusted})))
    ledger.settings |= {"countries": "[]", "policy": str(policy)}
    country.settings |= {
        "countries": '["XK"]',
        "policy": str(policy),
        "ledger_url": ledger.url,
    }


@contextmanager
def opened(machine: Machine) -> Iterator[str]:
    """Open a machine's database while its node is down. Gives the connection string."""
    with open_store(Settings(data_directory=machine.home, database_url=None)) as store:
        yield store.conninfo
