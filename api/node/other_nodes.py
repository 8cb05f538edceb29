"""The other countries' nodes, at the addresses of their witnesses in the policy in force."""

from api.client import LedgerClient
from api.exchange.takeover_watch import OF_A_NODE
from api.exchange.witness_clients import LATEST
from api.node.node import Node, node_client


def other_nodes(node: Node) -> dict[str, LedgerClient]:
    """Return a client of each other country's node whose address the policy has, by country."""
    found: dict[str, LedgerClient] = {}
    for name, trusted in node.policy_at(LATEST).witnesses.items():
        at = OF_A_NODE.fullmatch(trusted.url or "")
        if at is not None and not node.witnesses.is_here(trusted):
            found[name] = node_client(
                node.settings, at["node"], registry=lambda: node.ledger.known_registry
            )
    return found
