"""The recorded log policies and the adoption, from a ledger or an export."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from api.cli.output import fail
from api.client.bounded_answers import bounded_client
from ledger.application import Ledger, environment
from ledger.export.static_export import read_checkpoint, read_export
from ledger.publication.publisher import signed
from ledger.publication.witness import Adopted
from ledger.store.database import Database
from ledger.verification.evidence_reader import registered_keys
from ledger.verification.policy_adoption import adopted_in, adopted_in_export
from ledger.verification.policy_history import MAX_BYTES


def recorded_policies(url: str, sizes: Sequence[int]) -> str:
    """Ask a node for the file of recorded policies. Raises ``httpx.TransportError``."""
    return log_of(url, "policies", {"size": list(sizes)})


def log_of(url: str, name: str, params: Mapping[str, list[int]]) -> str:
    """Ask a node for a file of its log. Raises ``httpx.TransportError``."""
    with bounded_client(timeout=60, limit=MAX_BYTES) as http:
        answer = http.get(f"{url.rstrip('/')}/log/{name}", params=params)
    if not answer.is_success:
        fail(f"the node at {url} answers {answer.status_code} to /log/{name}")
    return answer.text


def adoption(ledger: Ledger) -> bytes:
    """Return the leaf hash of the first event, the adoption of the protocol."""
    return ledger.rows.read_hashes(0, 0, 1)[0]


def adoption_in_export(directory: Path, first: bytes) -> Adopted:
    """Return the policies that an export records as adopted."""
    keys = registered_keys(read_export(directory))
    return adopted_in_export(
        lambda: read_export(directory), keys, read_checkpoint(directory), first
    )


def adoption_here(conninfo: str) -> Adopted:
    """Return the policies that this node's ledger records as adopted."""
    with Ledger(environment(conninfo)) as ledger, Database(conninfo) as database:
        last = signed(database)
        if last is None:
            fail("there are no signed events here; name an export with --from")
        return adopted_in(ledger.registry(), last[0], ledger.tree())
