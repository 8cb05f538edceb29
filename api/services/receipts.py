"""Receipts as the API answers them."""

import base64

from api.client.schemas import Receipt
from ledger.store.event_rows import RecordedRow


def receipt_document(receipt: RecordedRow) -> Receipt:
    """Return the document of a recorded action's receipt."""
    return Receipt(
        action_id=receipt.action_id,
        case_id=receipt.case_id,
        position=receipt.position,
        case_version=receipt.case_version,
        recorded_at=receipt.recorded_at,
        leaf_hash=base64.b64encode(receipt.leaf_hash).decode("ascii"),
    )
