"""Draws the curves of :mod:`benchmarks.growth` from its file of figures."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

FIGURE = Path(__file__).parents[1] / "docs" / "growth.svg"

Value = Callable[[Mapping[str, Any]], float | None]
_PANELS: Sequence[tuple[str, Mapping[str, Value]]] = (
    (
        "Rebuild and folding (events a second)",
        {
            "rebuild of all views": lambda size: size["rebuild"].get("events_per_second"),
            "library's repository, each case once, nothing written": lambda size: size[
                "each_case_once_median"
            ],
            "library's repository, event by event": lambda size: size["one_by_one_median"],
        },
    ),
    (
        "Memory of all processes of a rebuild (MB)",
        {"peak": lambda size: size["rebuild"].get("peak_bytes", 0) / 1e6},
    ),
    (
        "Reading a case view (milliseconds)",
        {
            "p50": lambda size: _milliseconds(size, "reading_p50_seconds"),
            "p95": lambda size: _milliseconds(size, "reading_p95_seconds"),
        },
    ),
    (
        "Appends, 8 writers (events a second)",
        {"median": lambda size: size["appends_median"]},
    ),
    (
        "Disk (bytes an event)",
        {
            "events, with indexes": lambda size: size["events_bytes"],
            "all views, with indexes": lambda size: size["views_bytes"],
        },
    ),
)


def plot(results: Path, figure_path: Path = FIGURE) -> None:
    """Draw a panel for each figure, over the ledger's size."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "growth", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot

    sizes = json.loads(results.read_text())["sizes"]
    # What was not measured has no panel.
    panels = [
        (title, curves)
        for title, curves in _PANELS
        if any(value(size) for value in curves.values() for size in sizes)
    ]
    figure, axes = pyplot.subplots(
        len(panels), 1, figsize=(7, 2.4 * len(panels)), layout="constrained", squeeze=False
    )
    for axis, (title, curves) in zip(axes[:, 0], panels, strict=True):
        for name, value in curves.items():
            points = [(size["size"], value(size)) for size in sizes]
            known = [(x, y) for x, y in points if y]
            axis.plot([x for x, _ in known], [y for _, y in known], marker="o", label=name)
        axis.set_xscale("log")
        axis.set_ylim(bottom=0)
        axis.set_title(title, loc="left", fontweight="bold")
        axis.spines[["top", "right"]].set_visible(False)
        if len(curves) > 1:
            axis.legend(frameon=False)
    figure.supxlabel("events in the ledger")
    figure.savefig(figure_path, metadata={"Date": None})
    pyplot.close(figure)


def _milliseconds(size: Mapping[str, Any], name: str) -> float | None:
    return size[name] * 1e3 if name in size else None
