"""Views build on views, and a run stays within its bounds."""

import time
from pathlib import Path
from random import Random
from typing import Any

import pytest

from projections.analysis import ViewError, events, run_view
from projections.analysis.keeping import kept_views
from projections.analysis.limits import Limits
from projections.columnar.parquet_export import export
from tests.support.agencies import Agencies
from tests.support.recorded import MemoryLedger
from tests.support.stories import tell

BY_PARTY = """-- name: by_party
-- version: 1
SELECT party, count(*) AS cases FROM case_opened GROUP BY party ORDER BY party
"""
SHARES = """-- name: shares
-- version: 1
-- uses: by_party.sql
SELECT party, cases, (SELECT CAST(sum(cases) AS BIGINT) FROM by_party) AS total
FROM by_party ORDER BY party
"""
FOLD = """
class Told:
    name = "{name}"
    version = 1
    kinds = {kinds}
    uses = {uses}

    def initial(self):
        return {{"n": 0}}

    def fold(self, state, event):
        {fold}
        return state

    def rows(self, state, used):
        {rows}
"""


def fold(name: str, rows: str, *, uses: str, kinds: str = "()", fold: str = "pass") -> str:
    return FOLD.format(name=name, rows=rows, uses=uses, kinds=kinds, fold=fold)


@pytest.fixture(scope="module")
def told() -> MemoryLedger:
    ledger = MemoryLedger(Agencies())
    ledger.begin()
    tell(ledger, Random(7), 8)
    return ledger


@pytest.fixture
def columns(told: MemoryLedger, tmp_path: Path) -> Path:
    export(told, tmp_path / "columns")
    return tmp_path / "columns"


def put(directory: Path, **files: str) -> None:
    for name, text in files.items():
        (directory / name.replace("__", ".")).write_text(text)


def rows_of(file: Path, columns: Path, **how: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = run_view(file, parquet=columns, **how).table.to_pylist()
    return rows


def test_views_use_views_each_once_and_none_where_nothing_is_new(
    columns: Path, tmp_path: Path
) -> None:
    top = fold(
        "top",
        "yield from ({'party': s['party'], 'share': s['cases'] * 100 // s['total'],"
        " 'opened': state['n'], 'of': len(used['by_party'])} for s in used['shares'])",
        uses="('shares.sql', 'by_party.sql')",
        kinds="('case_opened',)",
        fold="state['n'] += 1",
    )
    put(tmp_path, by_party__sql=BY_PARTY, shares__sql=SHARES, top__py=top)
    made = rows_of(tmp_path / "top.py", columns)
    base = rows_of(tmp_path / "by_party.sql", columns)
    total = sum(row["cases"] for row in base)
    assert made == [
        {"party": r["party"], "share": r["cases"] * 100 // total, "opened": total, "of": len(base)}
        for r in base
    ]
    assert len(base) > 1
    whole = {f.name: kept_views(f) for f in tmp_path.glob("*.*") if f.suffix in (".py", ".sql")}
    assert {len(kept) for kept in whole.values()} == {1}
    again = run_view(tmp_path / "top.py", parquet=columns)
    assert (again.folded_from, again.table.to_pylist()) == (again.last + 1, made)
    # Another text of a used view is another definition of all that build on it.
    put(tmp_path, by_party__sql=BY_PARTY.replace("count(*)", "1 + count(*)"))
    other = run_view(tmp_path / "top.py", parquet=columns)
    assert other.folded_from == 1
    assert other.table.to_pylist() != made
    # A range has its own rows, and those that are kept stay.
    kept = kept_views(tmp_path / "shares.sql")
    opened = [event.position for event in events(parquet=columns, kinds=("case_opened",))]
    ranged = rows_of(tmp_path / "shares.sql", columns, first=opened[1], last=opened[3])
    parties = len({row["party"] for row in ranged})
    assert ranged[0]["total"] == 3 + parties  # each group counts one more
    assert kept_views(tmp_path / "shares.sql") == kept


def test_circles_and_wrong_names_are_refused_with_the_names(columns: Path, tmp_path: Path) -> None:
    rows = "yield {'n': 1}"
    put(
        tmp_path,
        a__py=fold("a", rows, uses="('b.sql',)"),
        b__sql="-- name: b\n-- version: 1\n-- uses: c.py\nSELECT 1 AS n",
        c__py=fold("c", rows, uses="('a.py',)"),
        same__sql="-- name: events\n-- version: 1\nSELECT 1 AS n",
        on_same__py=fold("on_same", rows, uses="('same.sql',)"),
        outside__py=fold("outside", rows, uses="('../a.py',)"),
        missing__py=fold("missing", rows, uses="('nothing.sql',)"),
        twin__sql="-- name: twin\n-- version: 1\n-- uses: d.sql, e.sql\nSELECT 1 AS n",
        d__sql="-- name: d\n-- version: 1\nSELECT 1 AS n",
        e__sql="-- name: d\n-- version: 1\nSELECT 1 AS n",
    )
    for file, said in {
        "a.py": r"in a circle: a\.py → b\.sql → c\.py → a\.py",
        "on_same.py": "cannot be named events",
        "outside.py": "file of a view in the same directory",
        "missing.py": r"missing\.py uses nothing\.sql: .* cannot be read",
        "twin.sql": r"both d\.sql and e\.sql are named d",
    }.items():
        with pytest.raises(ViewError, match=said):
            run_view(tmp_path / file, parquet=columns)


CROSS = "-- name: big\n-- version: 1\n-- engine: duckdb\nSELECT {} FROM {} ORDER BY 1"
MANY = "range(3000000) a(n), range(3000) b(m)"


@pytest.mark.parametrize(
    ("text", "limits", "said"),
    [
        (CROSS.format("sum(hash(n, m))", MANY), Limits(seconds=0.5), "minutes and was ended"),
        (
            CROSS.format("n, repeat('x', 200) AS x", "range(3000000) a(n)"),
            Limits(memory_bytes=64 << 20, spill_bytes=1 << 20),
            "of memory and 1 MiB of files",
        ),
        (
            CROSS.format("n", "range(1000000) a(n)"),
            Limits(rows_bytes=1 << 20),
            "its rows are larger than 1 MiB",
        ),
        (
            fold("big", "yield from ({'x': 'y' * 1000} for _ in range(5000))", uses="()"),
            Limits(rows_bytes=1 << 20),
            "its rows are larger than 1 MiB",
        ),
        (
            fold("big", "yield {}", uses="()", kinds="None", fold="state['n'] = 'y' * 3000000"),
            Limits(state_bytes=1 << 20),
            "its state is larger than 1 MiB",
        ),
        (
            fold("big", "yield {}", uses="()", kinds="None", fold="exec('while True: pass')"),
            Limits(seconds=1),
            "minutes and was ended",
        ),
    ],
)
def test_a_run_ends_at_its_bounds_with_a_reason(
    text: str, limits: Limits, said: str, columns: Path, tmp_path: Path
) -> None:
    file = tmp_path / ("big.sql" if text.startswith("--") else "big.py")
    file.write_text(text.replace("rows(self, state, used)", "rows(self, state)"))
    begun = time.monotonic()
    with pytest.raises(ViewError, match=said):
        run_view(file, parquet=columns, limits=limits)
    assert time.monotonic() - begun < 30
