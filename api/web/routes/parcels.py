"""The parcels that wait between a country and the others. No case is named."""

from datetime import timedelta

from fastapi import APIRouter, Request, Response

from api.client.schemas.health import Side
from api.exchange.parcel_standing import LIMIT
from api.http.access import TheCaller, TheNode
from api.web.errors import PageRoute
from api.web.rendering import page
from ledger.system import clock

KNOWN_REASONS = frozenset(
    {"damaged", "expired", "lost", "missing", "not_understood", "not_believed"}
)
"""The reasons that have a text of their own. The page shows each other one as it is named."""
router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/parcels")
def parcels(request: Request, node: TheNode, caller: TheCaller) -> Response:
    """Show which parcels of the coordinator's country and for it wait, and which ones failed."""
    own = caller.agency.party
    standing = [one for one in node.parcels_standing() if own in (one.sender, one.recipient)]
    vault = node.vaults.of(own) if node.vaults.has(own) else None
    return page(
        request,
        "parcels.html",
        caller,
        sent=[one for one in standing if one.side is Side.SENT and one.sender == own],
        received=[one for one in standing if one.side is Side.RECEIVED and one.recipient == own],
        mailbox=[one for one in standing if one.side is Side.MAILBOX] if node.leads else None,
        failed=vault.sent.failed() if vault is not None else (),
        refused=vault.arrived.refused() if vault is not None else (),
        late_before=clock.now() - LIMIT,
        hours=f"{LIMIT / timedelta(hours=1):.0f}",
        known_reasons=KNOWN_REASONS,
        own=own,
    )
