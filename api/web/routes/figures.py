"""For coordinators and oversight: figures of the cases that they see, as charts and tables."""

from fastapi import APIRouter, Request, Response

from api.http.access import TheCaller, TheNode
from api.web.charts import charts
from api.web.errors import PageRoute
from api.web.rendering import Words, page
from ledger.procedure.protocol import COORDINATOR, OVERSIGHT
from ledger.refusals import Ground, Refusal

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/charts")
def figures(request: Request, node: TheNode, caller: TheCaller) -> Response:
    """Caseload, flow between countries and time to return, of the caller's cases."""
    if caller.agency.role not in (COORDINATOR, OVERSIGHT):
        raise Refusal(
            Ground.NOT_ALLOWED, "coordinators-only", "This is for coordinators and oversight."
        )
    counted = node.views.figures(caller.viewer, caller.protocol)
    return page(request, "charts.html", caller, charts=charts(counted, Words.of(request)))
