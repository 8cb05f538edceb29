"""For coordinators, oversight and analysts: figures of cases, as charts and tables."""

from collections.abc import Sequence
from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from api.http.access import Caller, TheCaller, TheNode
from api.node.node import Node
from api.web.case_table import CaseTable, as_csv, as_xlsx
from api.web.charts import Chart, charts
from api.web.errors import PageRoute
from api.web.flow_map import flow_map
from api.web.rendering import PAGE_HEADERS, Words, page
from api.web.routes.case_list import XLSX
from ledger.refusals import Ground, Refusal
from ledger.system import clock
from ledger.vocabulary.picklists import Stage
from projections.folds.caseload_indicators import Figures, chosen
from projections.statistics.cell_suppression import FLOOR
from projections.statistics.rounded_figures import rounded

router = APIRouter(include_in_schema=False, route_class=PageRoute)
CountryChosen = Annotated[str, Query(max_length=2)]
StageChosen = Annotated[str, Query(max_length=60)]
ChartName = Literal["caseload", "flow", "returns"]


@router.get("/charts")
def figures(
    request: Request,
    node: TheNode,
    caller: TheCaller,
    country: CountryChosen = "",
    stage: StageChosen = "",
) -> Response:
    """Caseload, flow between countries and time to return, of the caller's cases."""
    counted, words = _counted(node, caller, country, stage), Words.of(request)
    asked = {"country": country, "stage": stage}
    query = urlencode({name: value for name, value in asked.items() if value})
    return page(
        request,
        "charts.html",
        caller,
        charts=charts(counted, words),
        map=flow_map(counted.flows, words.things),
        country=country,
        stage=stage,
        chosen=f"?{query}" if query else "",
        rounded_to=FLOOR if _is_analyst(caller) else None,
        parties=[one.code for one in caller.protocol.parties],
        stages=list(Stage),
    )


@router.get("/charts/{name}.csv")
def download_csv(
    request: Request,
    node: TheNode,
    caller: TheCaller,
    name: ChartName,
    country: CountryChosen = "",
    stage: StageChosen = "",
) -> Response:
    """Save the table of a chart as CSV."""
    words = Words.of(request)
    table = _table(charts(_counted(node, caller, country, stage), words), name, words)
    lines = as_csv(table, words.things.locale_name)
    return StreamingResponse(lines, 200, _saved(name, "csv"), "text/csv; charset=utf-8")


@router.get("/charts/{name}.xlsx")
def download_xlsx(
    request: Request,
    node: TheNode,
    caller: TheCaller,
    name: ChartName,
    country: CountryChosen = "",
    stage: StageChosen = "",
) -> Response:
    """Save the table of a chart as an Office Open XML workbook."""
    words = Words.of(request)
    shown = charts(_counted(node, caller, country, stage), words)
    return Response(as_xlsx(_table(shown, name, words)), 200, _saved(name, "xlsx"), XLSX)


def _counted(node: Node, caller: Caller, country: str, stage: str) -> Figures:
    """Return the figures that the caller chose, rounded for an analyst. Raises ``Refusal``."""
    if stage and stage not in set(Stage):
        raise Refusal(Ground.INVALID, "request", "There is no such stage.", "stage")
    if _is_analyst(caller):
        counted = rounded(node.views.figures(caller.agency.party, caller.protocol))
    else:
        counted = node.views.figures(caller.viewer, caller.protocol)
    return chosen(counted, country or None, Stage(stage) if stage else None)


def _is_analyst(caller: Caller) -> bool:
    return caller.protocol.sees_figures_alone(caller.agency)


def _table(shown: Sequence[Chart], name: str, words: Words) -> CaseTable:
    (chart,) = (one for one in shown if one.name == name)
    rows = ((row, *cells) for row, cells in chart.rows)
    return CaseTable(chart.columns, rows, words.things.practice_mark)


def _saved(name: str, suffix: str) -> dict[str, str]:
    file = f"{name}-{clock.now():%Y-%m-%d}.{suffix}"
    return {**PAGE_HEADERS, "Content-Disposition": f'attachment; filename="{file}"'}
