"""Signs and reads statements of one country's node to another's, in a parcel for that country.

One process for both countries need not prove anything to itself: it sends the claims as JSON. Every
other process refuses these.
"""

from typing import TypeVar

from pydantic import ValidationError

from api.exchange.access_log_anchor import NodeKey, accepted_node_key
from ledger.procedure.registry import Registry
from ledger.replication import node_statements
from ledger.system import clock
from ledger.vault.completion_messages import HeldStatement
from ledger.vault.documents.content_messages import HeldContent
from ledger.vault.sealed_parcels import ParcelError
from ledger.vault.vault import Vaults

S = TypeVar("S", HeldStatement, HeldContent)


def state(content: S, typ: str, node_key: NodeKey, registry: Registry) -> str:
    """Return the statement ``content`` of its sender's node, signed if the node's key counts."""
    if (key := accepted_node_key(node_key, content.sender, registry)) is not None:
        return node_statements.sign(content, typ, key)
    return content.model_dump_json(exclude_none=True)


def read(
    text: str,
    typ: str,
    model: type[S],
    *,
    sender: str,
    recipient: str,
    registry: Registry,
    own: Vaults,
) -> S:
    """Read what ``sender``'s node stated to ``recipient``.

    ``own`` are the vaults of this process. Raises ``ParcelError`` where the statement does not
    hold, or is for another country.
    """
    try:
        if text.startswith("{") and own.has(sender):
            said = model.model_validate_json(text)
        else:
            said = node_statements.verify(
                text, typ, model, party=sender, registry=registry, at=clock.now()
            )
    except (node_statements.StatementError, ValidationError) as error:
        raise ParcelError("statement", "its statement does not hold") from error
    if (said.protocol, said.sender, said.recipient) != (registry.protocol_id, sender, recipient):
        raise ParcelError("statement", "its statement is for another")
    return said
