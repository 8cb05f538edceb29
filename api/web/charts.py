"""The figures as charts: a Vega-Lite specification with its rows, and a table that says the same.

The specification has its data in it and stands on the page as text: that is what the script draws.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from api.web.rendering import Words
from ledger.vocabulary.picklists import Stage
from projections.folds.caseload_indicators import Caseload, Figures, Flow, Returned, TimeToReturn

Rows = Sequence[Mapping[str, str | int | float]]
_SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
_COLOURS = ("#17456b", "#d98a1f", "#5b9aa0", "#8a1c1c", "#8f9f6b", "#6b5b95")
"""Told apart by lightness too, for those who see no hues and for paper."""
_WIDTH = 460
_BESIDE = {"titleAngle": 0, "titleAlign": "left", "titleAnchor": "end", "titleX": 4, "titleY": -8}
"""The title of rows stands above them and is read without turning one's head."""
_FONT = "system-ui, Segoe UI, Roboto, Liberation Sans, sans-serif"
_COLUMNS = ("cases", "shortest", "lower", "median", "upper", "longest")
_LOOKS = {
    "font": _FONT,
    "axis": {"labelFontSize": 12, "titleFontSize": 12, "labelLimit": 240, "gridColor": "#e3e9ee"},
    "legend": {"labelFontSize": 12, "titleFontSize": 12, "labelLimit": 240},
    "view": {"stroke": None},
}


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart: ``name`` finds its texts."""

    name: str
    specification: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str]]]
    """The subject of each row, and its cells."""


def charts(figures: Figures, words: Words) -> Sequence[Chart]:
    """Return all charts of the page, in their order."""
    return (
        _caseload(figures.caseload, words),
        _flow(figures.flows, words),
        _times(figures.returned, figures.times, words),
    )


def _caseload(caseload: Sequence[Caseload], words: Words) -> Chart:
    country, stage = words.things.country, _stage_names(words)
    counted = [(stage[one.stage], country(one.country), one.cases) for one in caseload]
    return _counts("caseload", counted, [country(c) for c in _countries(caseload)], words)


def _flow(flows: Sequence[Flow], words: Words) -> Chart:
    country, stage = words.things.country, _stage_names(words)
    counted = [
        (f"{country(one.origin)} → {country(one.destination)}", stage[one.stage], one.cases)
        for one in flows
    ]
    stages = {one.stage for one in flows}
    return _counts("flow", counted, [stage[s] for s in Stage if s in stages], words)


def _counts(
    name: str, counted: Sequence[tuple[str, str, int]], series: Sequence[str], words: Words
) -> Chart:
    """Return a chart of cases by two dimensions, with a table of sums.

    The bars are of one dimension, stacked by the other.
    """
    text = words.texts.text
    bars = list(dict.fromkeys(bar for bar, _, _ in counted))
    what, by = text(f"charts.{name}.rows"), text(f"charts.{name}.columns")
    encoding = {
        "y": _axis("bar", what, bars),
        "x": _numbers("cases", text("charts.cases")),
        "color": {
            "field": "series",
            "type": "nominal",
            "title": by,
            "scale": {"domain": list(series), "range": _colours(series)},
        },
        "order": {"field": "order", "type": "quantitative"},
    }
    rows: Rows = [
        {"bar": bar, "series": one, "order": series.index(one), "cases": cases}
        for bar, one, cases in counted
    ]
    drawn = {"mark": {"type": "bar", "stroke": "#fff", "strokeWidth": 1}, "encoding": encoding}
    cells: Counter[tuple[str, str]] = Counter()
    for bar, one, cases in counted:
        cells[bar, one] += cases
    return Chart(
        name,
        _specification(text(f"charts.{name}.title"), {"rows": rows}, _data("rows") | drawn),
        (what, *series, text("charts.all")),
        [
            (
                bar,
                [
                    *(str(cells[bar, one]) for one in series),
                    str(sum(cells[bar, one] for one in series)),
                ],
            )
            for bar in bars
        ],
    )


def _times(returned: Sequence[Returned], times: Sequence[TimeToReturn], words: Words) -> Chart:
    text, country, number = words.texts.text, words.things.country, words.things.number
    to = [country(one.destination) for one in times]
    days, what = text("charts.returns.days"), text("charts.returns.rows")
    place = _axis("destination", what, to)
    quartiles: Rows = [
        {
            "destination": country(one.destination),
            "lower": float(one.lower),
            "median": float(one.median),
            "upper": float(one.upper),
        }
        for one in times
    ]
    dots: Rows = [
        {"destination": country(one.destination), "days": one.days, "cases": one.cases}
        for one in returned
    ]
    layers = [
        _data("quartiles")
        | {
            "mark": {"type": "bar", "height": 22, "color": "#c9d8e4"},
            "encoding": {
                "y": place,
                "x": _numbers("lower", days),
                "x2": {"field": "upper"},
            },
        },
        _data("quartiles")
        | {
            "mark": {"type": "tick", "size": 30, "thickness": 3, "color": "#17456b"},
            "encoding": {"y": place, "x": _numbers("median", days)},
        },
        _data("dots")
        | {
            "mark": {"type": "circle", "color": "#8a1c1c", "opacity": 0.75},
            "encoding": {
                "y": place,
                "x": _numbers("days", days),
                "size": {
                    "field": "cases",
                    "type": "quantitative",
                    "title": text("charts.cases"),
                    "scale": {"domainMin": 0, "range": [0, 160]},
                    "legend": None,
                },
            },
        },
    ]
    return Chart(
        "returns",
        _specification(
            text("charts.returns.title"), {"quartiles": quartiles, "dots": dots}, {"layer": layers}
        ),
        (what, *(text(f"charts.returns.{column}") for column in _COLUMNS)),
        [
            (
                country(one.destination),
                [_cell(getattr(one, column), number) for column in _COLUMNS],
            )
            for one in times
        ],
    )


def _cell(value: int | Decimal | None, number: Callable[[Decimal], str]) -> str:
    return "\N{EN DASH}" if value is None else number(Decimal(value))


def _data(name: str) -> dict[str, Any]:
    """Name the rows that a chart, or a layer of it, draws."""
    return {"data": {"name": name}}


def _axis(field: str, title: str, order: Sequence[str]) -> dict[str, Any]:
    return {
        "field": field,
        "type": "nominal",
        "title": title,
        "axis": _BESIDE,
        "scale": {"domain": list(order)},
    }


def _numbers(field: str, title: str) -> dict[str, Any]:
    whole = {"format": "d", "tickMinStep": 1}
    return {
        "field": field,
        "type": "quantitative",
        "title": title,
        "axis": whole,
        "scale": {"zero": True},
    }


def _colours(series: Sequence[str]) -> list[str]:
    return [_COLOURS[i % len(_COLOURS)] for i in range(len(series))]


def _stage_names(words: Words) -> Mapping[Stage, str]:
    return {stage: words.texts.text(f"stage.short.{stage.value}") for stage in Stage}


def _countries(caseload: Iterable[Caseload]) -> Sequence[str]:
    return sorted({one.country for one in caseload})


def _specification(title: str, rows: Mapping[str, Rows], drawn: Mapping[str, Any]) -> str:
    specification = {
        "$schema": _SCHEMA,
        "description": title,
        "width": _WIDTH,
        "height": {"step": 34},
        "config": _LOOKS,
        **drawn,
        "datasets": rows,
    }
    return json.dumps(specification, ensure_ascii=False, indent=1)
