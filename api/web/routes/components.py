"""For those who change the pages: each component of the design, in each of its states."""

from datetime import timedelta

from fastapi import APIRouter, Request, Response

from api.http.access import TheCaller
from api.web.case_text import Urgency
from api.web.errors import PageRoute
from api.web.rendering import page
from ledger.system import clock
from ledger.vocabulary.picklists import Stage

router = APIRouter(include_in_schema=False, route_class=PageRoute)
_DUE = {Urgency.LATE: -2, Urgency.SOON: 2, Urgency.LATER: 30}
"""Days from today to the due date that each urgency is shown with."""


@router.get("/components")
def components(request: Request, caller: TheCaller) -> Response:
    """Show every component in every state, with invented values. No case is read."""
    now = clock.now()
    return page(
        request,
        "components.html",
        caller,
        stages=[stage.value for stage in Stage],
        parties=[party.code for party in caller.protocol.parties],
        dues=[(level, now + timedelta(days=days)) for level, days in _DUE.items()],
        none=Urgency.NONE,
    )
