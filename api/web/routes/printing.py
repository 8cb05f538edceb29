"""On paper: a case's summary, and its audit trail, for whoever may see their pages."""

from collections.abc import Sequence
from uuid import UUID

from fastapi import APIRouter, Request, Response

from api.http.access import Caller, TheCaller, TheNode
from api.http.costly import Costly
from api.http.parameters import AtLeast, CaseId, wait_for
from api.http.routes.personal import trail_of
from api.node.node import Node
from api.web.case_text import dues, names, rows
from api.web.errors import PageRoute
from api.web.printing import Printing
from api.web.rendering import Words, printed
from api.web.routes.cases import case_fields, own_case
from api.web.timeline import handovers
from ledger.system import clock
from ledger.vault.held_fields import HeldFields
from projections.folds.audit_trail import TrailEntry
from projections.folds.case_view import CaseView

router = APIRouter(include_in_schema=False, route_class=PageRoute)

# To set pages takes the processor, and some 50 MB of memory: few are set at once.


@router.get("/cases/{case_id}/summary.pdf")
async def print_summary(
    request: Request, node: TheNode, caller: TheCaller, case_id: CaseId, at_least: AtLeast = None
) -> Response:
    """Print the state of a case, and its actions in order."""
    costly: Costly = request.app.state.costly
    return await costly.run(caller.agency.id, _summary, request, node, caller, case_id, at_least)


def _summary(
    request: Request, node: Node, caller: Caller, case_id: UUID, at_least: int | None
) -> Response:
    wait_for(node, "case_views", at_least)
    return printed(summary_pdf(node, caller, case_id, Words.of(request)), "case-summary")


def summary_pdf(node: Node, caller: Caller, case_id: UUID, words: Words) -> bytes:
    """Return the state of a case and its actions on paper.

    Raises ``Refusal`` (``unknown-case``) and ``NotRendered``.
    """
    seen = node.views.position("case_views")
    view = own_case(node, caller, case_id)
    # Both views of the case tell of the same moment.
    wait_for(node, "audit_trail", view.position)
    trail = [entry for entry in trail_of(node, caller, case_id) if entry.position <= view.position]
    position = max(seen, view.position)
    held = case_fields(node, caller, case_id)
    printing = _printing(words, caller, view, position, trail, held)
    return printing.summary(dues(view, caller.agency, caller.protocol, printing.at))


@router.get("/cases/{case_id}/trail.pdf")
async def print_trail(
    request: Request, node: TheNode, caller: TheCaller, case_id: CaseId, at_least: AtLeast = None
) -> Response:
    """Print every event of a case, with its changes."""
    costly: Costly = request.app.state.costly
    return await costly.run(caller.agency.id, _trail, request, node, caller, case_id, at_least)


def _trail(
    request: Request, node: Node, caller: Caller, case_id: UUID, at_least: int | None
) -> Response:
    wait_for(node, "audit_trail", at_least)
    view = own_case(node, caller, case_id)
    wait_for(node, "audit_trail", view.position)
    position = node.views.position("audit_trail")
    trail = [entry for entry in trail_of(node, caller, case_id) if entry.position <= position]
    printing = _printing(Words.of(request), caller, view, position, trail, HeldFields())
    return printed(printing.trail(), "audit-trail")


def _printing(
    words: Words,
    caller: Caller,
    view: CaseView,
    position: int,
    trail: Sequence[TrailEntry],
    held: HeldFields,
) -> Printing:
    protocol = caller.protocol
    return Printing(
        caller=caller,
        words=words,
        at=clock.now(),
        case=view,
        position=position,
        rows=rows(trail, held, dict(handovers(trail)), caller.registry.agreement, words.things),
        named=names(protocol, trail, words.things),
    )
