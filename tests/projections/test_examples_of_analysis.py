"""The examples answer as a count by hand does, and every cell of the notebook runs."""

import json
from collections import defaultdict
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest

from projections.analysis import events, run_view, tables
from projections.columnar.parquet_export import export
from tests.support.agencies import Agencies
from tests.support.recorded import MemoryLedger
from tests.support.stories import tell

EXAMPLES = Path(__file__).parents[2] / "examples"
STEPS = {
    "1 opened to assessed": ("case_opened", ("victim_identified", "not_a_victim")),
    "2 assessed to return decided": (("victim_identified", "not_a_victim"), "return_decided"),
    "3 return decided to departed": ("return_decided", "departed"),
    "4 departed to received": ("departed", "received"),
}
COORDINATION = "coordination"


@pytest.fixture(scope="module")
def columns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ledger = MemoryLedger(Agencies())
    ledger.begin()
    tell(ledger, Random(3), 40)
    directory = tmp_path_factory.mktemp("columns")
    export(ledger, directory)
    return directory


@pytest.fixture(scope="module")
def standing(columns: Path) -> list[Any]:
    every = list(events(parquet=columns))
    taken = {
        (e.case_id, e.fields.get("corrects") or e.fields.get("merge"))
        for e in every
        if e.kind == "merge_undone" or (e.kind == "correction" and e.fields["effect"] == "annulled")
    }
    return [e for e in every if (e.case_id, e.action_id) not in taken]


def rows(name: str, columns: Path) -> list[dict[str, Any]]:
    found = run_view(EXAMPLES / "views" / name, parquet=columns, kept=False)
    told: list[dict[str, Any]] = found.table.to_pylist()
    return told


def by_case(standing: list[Any]) -> dict[str, list[Any]]:
    found = defaultdict(list)
    for event in standing:
        if event.case_id is not None:
            found[event.case_id].append(event)
    return found


def first(acts: list[Any], kinds: Any) -> Any:
    wanted = (kinds,) if isinstance(kinds, str) else kinds
    return min((e.acted_at for e in acts if e.kind in wanted), default=None)


def test_survival_is_the_estimate_of_kaplan_and_meier(columns: Path, standing: list[Any]) -> None:
    last = max(event.acted_at for event in standing)
    waits: dict[str, list[tuple[int, bool]]] = defaultdict(list)
    for acts in by_case(standing).values():
        if first(acts, "case_opened") is None:
            continue  # it was opened in error
        for step, (begins, ends) in STEPS.items():
            if (began := first(acts, begins)) is None:
                continue
            ended = first(acts, ends)
            until = ended or first(acts, ("case_closed", "case_merged")) or last
            waits[step].append(
                (max(int((until - began).total_seconds()), 0) // 86400, ended is not None)
            )
    wanted = []
    for step, told in sorted(waits.items()):
        share = 1.0
        for day in sorted({days for days, is_end in told if is_end}):
            at_risk = sum(days >= day for days, _ in told)
            ended_here = sum(is_end and days == day for days, is_end in told)
            share *= 1 - ended_here / at_risk
            wanted.append((step, day, at_risk, ended_here, round(1000 * share)))
    found = [tuple(row.values()) for row in rows("stage_survival.sql", columns)]
    assert [one[:4] for one in found] == [one[:4] for one in wanted]
    assert all(abs(one[4] - other[4]) <= 1 for one, other in zip(found, wanted, strict=True))
    censored = sum(not is_end for told in waits.values() for _, is_end in told)
    assert censored > 10 < len(wanted)


def test_flow_network_and_cohorts_are_counted_right(columns: Path, standing: list[Any]) -> None:
    flow: dict[tuple[str, str], list[str]] = defaultdict(list)
    network: dict[tuple[str, str], int] = defaultdict(int)
    cohorts: dict[tuple[int, int], list[int]] = defaultdict(lambda: [0] * 5)
    last = max(event.acted_at for event in standing)
    for case_id, acts in by_case(standing).items():
        if (opened := first(acts, "case_opened")) is None:
            continue
        stages = ["new", *(e.stage for e in acts if e.stage != COORDINATION)]
        for one, other in pairwise(stages):
            if one != other:
                flow[one, other].append(case_id)
        agencies = sorted({event.agency for event in acts})
        for one in agencies:
            for other in agencies:
                network[one, other] += one <= other
        counts = cohorts[opened.year, (opened.month + 2) // 3]
        until = opened + timedelta(days=180)
        counts[0] += 1
        counts[1] += until <= last
        for place, kind in enumerate(("victim_identified", "service_started", "received"), 2):
            at = first(acts, kind)
            counts[place] += until <= last and at is not None and at <= until
    assert [tuple(row.values()) for row in rows("stage_flow.sql", columns)] == [
        (*key, len(cases), len({*cases})) for key, cases in sorted(flow.items())
    ]
    assert [tuple(row.values())[:3] for row in rows("service_network.sql", columns)] == [
        (*key, count) for key, count in sorted(network.items()) if count
    ]
    assert [tuple(row.values()) for row in rows("cohorts.sql", columns)] == [
        (*key, *counts) for key, counts in sorted(cohorts.items())
    ]
    assert any(row["across_border"] for row in rows("service_network.sql", columns))


def test_the_notebook_runs_and_keeps_no_outputs(
    columns: Path, standing: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = json.loads((EXAMPLES / "notebooks" / "annual-report.ipynb").read_text())
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["outputs"] for cell in cells] == [[]] * len(cells)
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    monkeypatch.setenv("CASE_LEDGER_COLUMNS", str(columns))
    monkeypatch.setenv("CASE_LEDGER_VIEWS", str(EXAMPLES / "views"))
    names: dict[str, Any] = {}
    try:
        for number, cell in enumerate(cells):
            exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
        assert len(pyplot.get_fignums()) == 5
    finally:
        pyplot.close("all")
    opened = [acts for acts in by_case(standing).values() if first(acts, "case_opened")]
    with tables(columns) as connection:
        counted = connection.sql(
            "SELECT count(*) FROM cases WHERE merged_into IS NULL"
            " AND case_id IN (SELECT case_id FROM standing_case_opened)"
        ).fetchall()
    assert sum(row["cases"] for row in names["opened"]) == counted[0][0]
    assert sum(row["opened"] for row in names["cohorts"]) == len(opened)
    assert len(names["median_days"]) == len(STEPS)
    assert dict(names["kinds"])["case_opened"] == len(opened)
    assert names["across"] > 0
