"""For coordinators: what countries owe each other, requests, bases, duplicates, and keys."""

from datetime import UTC, datetime

from fastapi import APIRouter, Request, Response

from api.access import Caller, TheCaller, TheNode
from api.node import Node
from api.web.errors import PageRoute
from api.web.owed import owed
from api.web.rendering import Words, page
from api.web.routes.cases import all_cases
from api.web.telling import Urgency, names, urgency
from ledger.duplicates.store import Duplicate
from ledger.protocol import COORDINATOR, NODE, OVERSIGHT
from ledger.refusals import Ground, Refusal

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/board")
def board(request: Request, node: TheNode, caller: TheCaller) -> Response:
    """Both sides' obligations, open requests, legal bases in force, and duplicates."""
    if caller.agency.role not in (COORDINATOR, OVERSIGHT):
        raise Refusal(
            Ground.NOT_ALLOWED, "coordinators-only", "This is for coordinators and oversight."
        )
    now, protocol = datetime.now(UTC), caller.registry.protocol
    cases, own = all_cases(node, caller.viewer), caller.agency.party
    things = owed(node.views, caller.viewer, now)
    parties = sorted({p.code for p in protocol.parties}, key=lambda code: (code != own, code))
    columns = [(code, [one for one in things if one.obligation.debtor == code]) for code in parties]
    return page(
        request,
        "board.html",
        caller,
        columns=[(code, some) for code, some in columns if some or code == own],
        anyones=[one for one in things if one.obligation.debtor is None],
        late=sum(one.urgency is Urgency.LATE for one in things),
        requests=[(v, one) for v in cases for one in v.open_requests],
        bases=[v for v in cases if v.consents or v.sharing or "consent_return" in v.facts],
        danger=[(v, one) for v in cases for one in v.break_glass],
        duplicates=_duplicates(node, caller),
        named=names(protocol, (), Words.of(request).things),
        urgency=urgency,
        own=own,
    )


@router.get("/keys")
def keys(request: Request, caller: TheCaller) -> Response:
    """The country's keys, and registering one that a person made in a browser."""
    if caller.agency.role != COORDINATOR:
        raise Refusal(Ground.NOT_ALLOWED, "coordinators-only", "This is for coordinators.")
    now, protocol = datetime.now(UTC), caller.registry.protocol
    agencies = [a for a in protocol.agencies if a.party == caller.agency.party and a.role != NODE]
    own = {a.id for a in agencies}
    held = sorted(
        (key for key in caller.registry.keys.values() if key.agency in own),
        key=lambda key: (key.agency, key.valid_from),
    )
    return page(
        request,
        "keys.html",
        caller,
        agencies=agencies,
        held=[(key, key.valid_at(now)) for key in held],
        named=names(protocol, (), Words.of(request).things),
        protocol=protocol.id,
    )


def _duplicates(node: Node, caller: Caller) -> list[Duplicate]:
    """Those of the coordinator's own country; nobody else is told of any."""
    party = caller.agency.party
    if caller.agency.role != COORDINATOR or not node.vaults.has(party):
        return []
    return list(node.vaults.of(party).duplicates.all(100))
