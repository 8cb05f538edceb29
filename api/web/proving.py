"""The data with which a browser compares a case's pages with the signed events.

Positions come from the ledger, never from a view: an action that a view lacks is missed so.
"""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from api.http.access import Caller
from api.node.node import Node
from ledger.events.event import recorded
from ledger.procedure.withdrawals import WITHDRAWAL_KINDS
from ledger.signing.keys import from_public, key_id
from ledger.vocabulary import ALL_ACTIONS
from ledger.vocabulary.registration import KeyGrant
from ledger.vocabulary.upcasting import upcasters
from projections.folds.audit_trail import TrailEntry
from projections.folds.case_view import CaseView

_OBLIGATIONS_AT_MOST = 1_000
_WHOLE = frozenset({"protocol_adopted", *WITHDRAWAL_KINDS})
"""The acts that the browser needs whatever keys the case's events have."""
ACTS = (*sorted(_WHOLE), "key_registered", "key_revoked", "key_compromised")
_ACTS = """
SELECT notification_id, originator_id, originator_version, state FROM ledger.events
WHERE originator_id = %(ledger_id)s AND topic = ANY(%(kinds)s) ORDER BY originator_version
"""


def to_prove(
    node: Node, caller: Caller, view: CaseView, trail: Sequence[TrailEntry]
) -> dict[str, Any]:
    """Return a case's data on the pages, and the positions in the log of the events that prove it.

    ``positions`` are those of the case's events, ``acts`` those of the acts on the protocol that
    the browser needs: the adoption, parties' withdrawals, and acts on a key of these events.
    """
    events = node.ledger.case_events(view.case_id)
    key_ids = {event.action.key_id for event in events}
    obligations = node.views.obligations(
        view.viewer, limit=_OBLIGATIONS_AT_MOST, case_id=view.case_id
    )
    return {
        "positions": [event.position for event in events],
        "acts": _acts(node, caller.registry.ledger_id, key_ids),
        "trail": [entry.model_dump(mode="json") for entry in trail],
        "case": view.model_dump(mode="json"),
        "obligations": [one.model_dump(mode="json") for one in obligations],
        "schemas": {kind: upcasters().version(kind) for kind in ALL_ACTIONS},
        "stages": {kind: model.stage.value for kind, model in ALL_ACTIONS.items()},
    }


def _acts(node: Node, ledger_id: UUID, key_ids: Collection[str]) -> list[int]:
    """Return the positions of the adoption, of withdrawals, and of each act on one of the keys.

    Such an act registers or ends the key.
    """
    with node.database.connection() as connection:
        rows = connection.execute(
            _ACTS, {"ledger_id": ledger_id, "kinds": list(ACTS)}, prepare=True
        ).fetchall()
    found = []
    for row in rows:
        event = recorded(
            bytes(row["state"]),
            row["originator_id"],
            row["originator_version"],
            row["notification_id"],
        )
        if event.action.kind in _WHOLE or _key_of(event.action.fields) in key_ids:
            found.append(row["notification_id"])
    return found


def _key_of(fields: Any) -> str | None:
    """Return the id of the key that an act is about."""
    if "grant" in fields:
        return key_id(from_public(KeyGrant.model_validate(fields["grant"]).key))
    found: str | None = fields.get("key_id")
    return found
