"""The inventory of a vault: which disclosures were deposited, authenticated under a person's key.

The owner of a database has no data key: the owner can delete a deposit and its inventory, but
cannot make an inventory that holds.
"""

import hashlib
import hmac
from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

_WHOLE = "case-ledger deposit 1"
_IN_PART = "case-ledger deposit in part 1"


class InventoryRow(NamedTuple):
    """One disclosure's row, but for the id of its deposit and its time."""

    action_id: UUID
    case_id: UUID
    digest: str
    field: str
    level: str
    group: str | None
    received_from: str | None
    sealed_hash: bytes
    """SHA-256 of what is sealed."""


def key_id(data_key: bytes) -> bytes:
    """Return an id that differs for each data key and reveals nothing of the key."""
    return _mac(data_key, ("case-ledger data key id 1",))


def row_mac(data_key: bytes, row: InventoryRow) -> bytes:
    """Authenticate one row."""
    parts = (*map(str, row[:5]), row.group or "", row.received_from or "", row.sealed_hash.hex())
    return _mac(data_key, ("case-ledger disclosure row 1", *parts))


def list_mac(
    data_key: bytes,
    action_id: UUID,
    case_id: UUID,
    received_from: str | None,
    fields: Iterable[tuple[str, str]],
    *,
    is_whole: bool = True,
) -> bytes:
    """Authenticate which fields of an action came in together, each a digest and a name.

    ``is_whole``: whether the country of origin said that these are all.
    """
    listed = (f"{digest} {name}" for digest, name in sorted(fields))
    of = (str(action_id), str(case_id), received_from or "", *listed)
    return _mac(data_key, (_WHOLE if is_whole else _IN_PART, *of))


def _mac(data_key: bytes, parts: Iterable[str]) -> bytes:
    # No part has a line break: ids, digests, names of fields and codes.
    return hmac.digest(data_key, "\n".join(parts).encode(), hashlib.sha256)
