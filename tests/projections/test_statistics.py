"""Published counts lead to nobody: not by linking, by totals, or by another publication."""

import csv
import json
import shutil
from collections import Counter
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from random import Random
from uuid import uuid4

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from typer.testing import CliRunner

from api.cli.main import app
from api.cli.steps import column_sources
from projections.columnar.duckdb_tables import connect, put_tables
from projections.columnar.manifest import (
    ColumnarError,
    FileEntry,
    existing_manifest,
    write_manifest,
)
from projections.columnar.parquet_export import export
from projections.columnar.proof import prove
from projections.statistics import ctdc, differential_privacy
from projections.statistics.counting import (
    DimensionError,
    count_cases,
    count_records,
)
from projections.statistics.cube import Cell, Cube, TooLargeError
from projections.statistics.publication_files import Record, publish_noisy, publish_suppressed
from projections.statistics.publication_series import Published, Series, SeriesError, begin, publish
from projections.statistics.reasoning import NotSafeError, check_bounds, ranges
from tests.support.actions import opening
from tests.support.agencies import Agencies
from tests.support.disclosure import Attacker
from tests.support.recorded import MemoryLedger
from tests.support.stories import tell

K = 5
counts_in_cells = st.one_of(st.just(0), st.integers(1, 4), st.integers(5, 30))


@st.composite
def tables(draw: st.DrawFn) -> tuple[Cube, dict[Cell, int]]:
    sizes = draw(st.sampled_from(((2, 2), (3, 2), (3, 4), (2, 2, 2), (2, 3, 2), (1, 3), (4,))))
    cube = cube_of(*sizes)
    return cube, {cell: draw(counts_in_cells) for cell in cube.inner()}


def cube_of(*sizes: int) -> Cube:
    names = tuple("abc"[: len(sizes)])
    return Cube(
        names, tuple(tuple(f"{a}{n}" for n in range(s)) for a, s in zip(names, sizes, strict=True))
    )


def people(counts: Mapping[Cell, int]) -> list[Cell]:
    return [cell for cell, count in counts.items() for _ in range(count)]


def first(cube: Cube, counts: Mapping[Cell, int], k: int = K) -> tuple[Published, Series]:
    return publish(begin(cube.dimensions, k), cube, counts, 1)


def small(cube: Cube, counts: Mapping[Cell, int]) -> list[Cell]:
    return [cell for cell, count in cube.totals(counts).items() if 0 < count < K]


@settings(max_examples=25, deadline=None)
@given(tables())
def test_nobody_is_found_in_a_publication(table: tuple[Cube, dict[Cell, int]]) -> None:
    cube, counts = table
    told, _ = first(cube, counts)
    totals = cube.totals(counts)
    assert all(totals[cell] == count >= K for cell, count in told.counts.items())
    attacker = Attacker(cube, told.counts)
    assert attacker.finds(people(counts), K) == set()
    for cell in small(cube, counts):
        least, most = attacker.range(cell)
        assert least <= totals[cell]
        assert most is None or most - least >= K


@settings(max_examples=12, deadline=None)
@given(tables())
def test_with_nothing_hidden_the_same_attempt_finds_them(
    table: tuple[Cube, dict[Cell, int]],
) -> None:
    cube, counts = table
    attacker = Attacker(cube, cube.totals(counts))
    found = attacker.finds(people(counts), K)
    assert {group for _, group in found} >= set(small(cube, counts))
    assert bool(found) is bool(small(cube, counts))


def test_hiding_small_counts_alone_is_not_enough() -> None:
    """So that what is hidden besides is seen to be needed."""
    cube, counts = (
        cube_of(3, 3),
        dict(zip(cube_of(3, 3).inner(), (3, 20, 9, 15, 11, 30, 40, 25, 8), strict=True)),
    )
    shown = {cell: count for cell, count in cube.totals(counts).items() if count >= K}
    found = Attacker(cube, shown).finds(people(counts), K)
    assert {person for person, _ in found} == {("a0", "b0")}
    with pytest.raises(NotSafeError):
        check_bounds(cube, shown, small(cube, counts), K)
    told, _ = first(cube, counts)
    assert Attacker(cube, told.counts).finds(people(counts), K) == set()
    # It is not bought by hiding everything: the totals and most counts are there.
    assert (None, None) in told.counts
    assert len(told.counts) >= 10


def test_a_count_that_everyone_knows_to_be_empty_protects_nobody() -> None:
    """A country that joined later has no cases of the years before: a reader knows that."""
    cube, empty = cube_of(2, 2), ("a1", "b1")
    counts = dict(zip(cube.inner(), (2, 30, 40, 0), strict=True))
    known = replace(cube, impossible=frozenset({empty}))
    told, _ = first(known, counts)
    assert Attacker(known, {**told.counts, empty: 0}).finds(people(counts), K) == set()
    assert told.counts.keys() <= set(known.listed()) - {empty}
    # Without that knowledge the empty count is used to protect the small one.
    forgetful, _ = first(cube, counts)
    assert Attacker(cube, {**forgetful.counts, empty: 0}).finds(people(counts), K)


def test_years_before_a_country_joined_are_in_no_table(columns: Path, tmp_path: Path) -> None:
    directory = tmp_path / "export"
    shutil.copytree(columns, directory)
    manifest = json.loads((directory / "manifest.json").read_text())
    assert manifest["party_years"]["ME"] == [[1, 9999]]
    _, counts, _ = count_cases(directory, {"XK", "ME", "AL"}, ["year", "country"])
    ((year, _), *_) = counts
    manifest["party_years"]["ME"] = [[int(year) + 1, 9999]]
    (directory / "manifest.json").write_text(json.dumps(manifest))
    cube, fewer, _ = count_cases(directory, {"XK", "ME", "AL"}, ["year", "country"])
    assert (year, "ME") in counts.keys() & cube.impossible
    assert (year, "ME") not in fewer.keys() | set(cube.listed())
    assert (year, "XK") in set(cube.listed())


def test_two_small_counts_do_not_protect_each_other() -> None:
    cube = cube_of(2, 2)
    counts = dict(zip(cube.inner(), (1, 2, 40, 50), strict=True))
    shown = {cell: n for cell, n in cube.totals(counts).items() if n >= K}
    assert Attacker(cube, shown).finds(people(counts), K)
    told, _ = first(cube, counts)
    assert Attacker(cube, told.counts).finds(people(counts), K) == set()


@settings(max_examples=60, deadline=None)
@given(tables())
def test_the_second_look_is_never_narrower_than_the_truth(
    table: tuple[Cube, dict[Cell, int]],
) -> None:
    cube, counts = table
    told, _ = first(cube, counts)
    for cell, (least, most) in ranges(cube, told.counts).items():
        assert least <= cube.totals(counts)[cell] <= most


@settings(max_examples=40, deadline=None)
@given(tables(), st.data())
def test_nobody_is_found_by_holding_publications_against_each_other(
    table: tuple[Cube, dict[Cell, int]], data: st.DataObject
) -> None:
    cube, counts = table
    series = begin(cube.dimensions, K)
    made: list[tuple[Published, Series]] = []
    for number in range(1, 4):
        told, series = publish(series, cube, counts, number)
        made.append((told, series))
        changes = st.one_of(st.just(0), st.integers(-3, 3), st.integers(-20, 20))
        counts = {cell: max(0, count + data.draw(changes)) for cell, count in counts.items()}
    for (before, earlier), (after, later) in pairwise(made):
        assert before.counts.keys() <= after.counts.keys()
        assert changes_seen(cube, before, after) == []
        for cell, count in dict(later.used).items():
            assert (
                count == dict(earlier.used).get(cell, 0)
                or abs(count - dict(earlier.used).get(cell, 0)) >= K
            )
    # Someone who knows every change between them has all equations for one table: that of the
    # least that each count ever was, since a change says that it was no less.
    least_ever = {
        cell: min(dict(series.used).get(cell, 0) for _, series in made) for cell in cube.inner()
    }
    shown = {cell for told, _ in made for cell in told.counts}
    attacker = Attacker(cube, {c: n for c, n in cube.totals(least_ever).items() if c in shown})
    for cell in {cell for _, series in made for cell in small(cube, dict(series.used))}:
        least, most = attacker.range(cell)
        assert most is None or most - least >= K


def changes_seen(cube: Cube, before: Published, after: Published) -> list[Cell]:
    """Groups that are seen to have changed by fewer than ``K`` people."""
    seen = []
    for cell, count in before.counts.items():
        change = after.counts[cell] - count
        groups = [change]
        for n, value in enumerate(cell):
            if value is None:
                shown = [part for part in cube.parts(cell, n) if part in before.counts]
                groups.append(change - sum(after.counts[p] - before.counts[p] for p in shown))
        if any(0 < abs(change) < K for change in groups):
            seen.append(cell)
    return seen


def test_publications_that_forget_each_other_give_someone_away() -> None:
    cube = cube_of(2, 2)
    counts = dict(zip(cube.inner(), (20, 30, 40, 50), strict=True))
    more = counts | {("a0", "b0"): 21}
    before, series = first(cube, counts)
    forgetful, _ = first(cube, more)
    assert ("a0", "b0") in changes_seen(cube, before, forgetful)
    after, _ = publish(series, cube, more, 2)
    assert changes_seen(cube, before, after) == []
    assert after.counts == before.counts
    much, _ = publish(series, cube, counts | {("a0", "b0"): 27}, 2)
    assert much.counts["a0", "b0"] == 27


def test_a_new_year_comes_when_it_is_large_enough() -> None:
    old = Cube(("year", "age"), (("2025",), ("child", "adult")))
    counts = {("2025", "child"): 12, ("2025", "adult"): 14}
    _, series = publish(begin(old.dimensions, 10), old, counts, 1)
    new = Cube(old.dimensions, (("2025", "2026"), ("child", "adult")))
    few, series = publish(series, new, counts | {("2026", "child"): 4}, 2)
    assert few.counts[None, None] == 26
    assert ("2026", None) not in few.counts
    many, _ = publish(series, new, counts | {("2026", "child"): 14, ("2026", "adult"): 3}, 3)
    assert many.counts["2026", "child"] == 14
    assert many.counts[None, None] == 40


def test_what_a_series_refuses() -> None:
    cube = cube_of(2, 2)
    counts = dict.fromkeys(cube.inner(), 20)
    with pytest.raises(SeriesError, match="fewer than 5"):
        begin(cube.dimensions, 4)
    _, series = publish(begin(cube.dimensions, K), cube, counts, 7)
    with pytest.raises(SeriesError, match="by other dimensions"):
        publish(series, cube_of(4), {("a0",): 3}, 8)
    with pytest.raises(SeriesError, match="up to position 7"):
        publish(series, cube, counts, 6)
    with pytest.raises(TooLargeError):
        cube_of(30, 30, 30)
    record = Record(suppressed=series)
    with pytest.raises(SeriesError, match="k = 5"):
        publish_suppressed(record, cube, counts, 10, 8, None)
    with pytest.raises(SeriesError, match="would protect nobody"):
        publish_noisy(record, cube, counts, K, 1.0, 3.0, 8, None)


def test_noise_is_as_large_as_it_says_and_is_not_given_for_ever() -> None:
    cube = cube_of(40, 40)
    counts = dict.fromkeys(cube.inner(), 100)
    for epsilon in (0.2, 1.0):
        expected = differential_privacy.trade(cube, counts, K, epsilon)
        noisy = differential_privacy.noisy(cube, counts, epsilon)
        errors = [abs(count - 100) for count in noisy.values()]
        assert sum(errors) / len(errors) == pytest.approx(expected.error_of_a_cell, rel=0.25)
        within = sum(error <= expected.error_at_95 for error in errors) / len(errors)
        assert within > 0.92
    costs = [
        differential_privacy.trade(cube, counts, 95, epsilon)
        for epsilon in differential_privacy.EPSILONS
    ]
    for dearer, cheaper in pairwise(costs):
        assert dearer.error_of_a_cell > cheaper.error_of_a_cell
        assert dearer.suppressed_share > cheaper.suppressed_share
    record = Record()
    for number in (1, 2):
        about, _, told, record = publish_noisy(record, cube, counts, K, 1.0, 2.5, number, None)
        assert (about.number, about.epsilon) == (number, 1.0)
        assert all(count >= K for count in told.values())
    for asked in (2.5, None):
        with pytest.raises(SeriesError, match=r"2 are spent of 2\.5"):
            publish_noisy(record, cube, counts, K, 1.0, asked, 3, None)
    with pytest.raises(SeriesError, match=r"budget of this series is 2\.5, from its beginning"):
        publish_noisy(record, cube, counts, K, 1.0, 50.0, 3, None)
    with pytest.raises(ValueError, match="epsilon lies above 0"):
        differential_privacy.noisy(cube, counts, 0)


def test_ctdc_gets_the_cells_that_are_shown_and_no_other() -> None:
    cube = Cube(("year", "age_group", "stage"), (("2025",), ("child", "adult"), ("s", "t")))
    counts = {("2025", "child", "s"): 7, ("2025", "child", "t"): 6, ("2025", "adult", "s"): 30}
    told, _ = first(cube, counts)
    rows = ctdc.records(cube, told.counts)
    assert len(ctdc.COLUMNS) == len(set(ctdc.COLUMNS)) == 63
    assert all(tuple(row) == ctdc.COLUMNS for row in rows)
    found = Counter((r["yearOfRegistration"], r["majorityStatus"]) for r in rows)
    assert found == {("2025", "Minor"): 13, ("2025", "Adult"): 30}
    assert {r["citizenship"] for r in rows} == {r["gender"] for r in rows} == {"-99"}
    own = Cube(("gender", "citizenship"), (("Female",), ("XK", "-99")))
    mine = ctdc.records(own, {("Female", "XK"): 5, ("Female", None): 9})
    assert [(r["gender"], r["citizenship"]) for r in mine] == [("Female", "XK")] * 5


@pytest.fixture(scope="module")
def recorded() -> MemoryLedger:
    ledger = MemoryLedger(Agencies())
    ledger.begin()
    tell(ledger, Random(3), 120)
    return ledger


@pytest.fixture(scope="module")
def columns(recorded: MemoryLedger, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export that grew, so that cases have older rows besides."""
    directory = tmp_path_factory.mktemp("columns")
    for upto in (200, None):
        export(recorded, directory, upto=upto)
    return directory


@pytest.fixture(scope="module")
def persons(columns: Path) -> int:
    """The number of the 120 cases that were not opened in error."""
    with connect() as connection:
        put_tables(connection, columns, existing_manifest(columns))
        ((wrong, annulled),) = connection.execute(
            "SELECT count(*), count(*) FILTER (closure IS DISTINCT FROM 'opened_in_error')"
            " FROM cases WHERE closure = 'opened_in_error' OR case_id IN (SELECT c.case_id"
            " FROM correction c JOIN case_opened o ON o.action_id = c.corrects"
            " WHERE c.effect = 'annulled')"
        ).fetchall()
    assert 0 < annulled < wrong < 20
    return 120 - int(wrong)


def test_a_case_is_of_the_year_at_the_local_time_of_the_country_that_opened_it(
    tmp_path: Path,
) -> None:
    """Half an hour before midnight UTC the new year has begun in Kosovo."""
    ledger = MemoryLedger(Agencies())
    ledger.begin()
    opened = datetime(2025, 12, 31, 23, 30, tzinfo=UTC)
    for moment in (opened, opened - timedelta(hours=1)):
        ledger.take("xk-dhtqnj", opening(acted_at=moment), uuid4())
    export(ledger, tmp_path)
    _, counts, _ = count_cases(tmp_path, {"XK", "ME", "AL"}, ["year", "country"])
    assert counts == {("2026", "XK"): 1, ("2025", "XK"): 1}
    # An export of an earlier program names no zones.
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest.pop("time_zones")["XK"] == "Europe/Belgrade"
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    _, counts, _ = count_cases(tmp_path, {"XK", "ME", "AL"}, ["year", "country"])
    assert counts == {("2025", "XK"): 2}


def test_cases_are_counted_once(columns: Path, persons: int) -> None:
    protocol = Agencies().protocol.party_codes
    for by in (["year", "age_group"], ["corridor", "stage"], ["closure"], ["destination"]):
        cube, counts, manifest = count_cases(columns, protocol, by)
        assert sum(counts.values()) == persons
        assert set(counts) <= set(cube.inner())
        assert manifest.upto > 120
    with pytest.raises(DimensionError, match="tell of each other"):
        count_cases(columns, protocol, ["corridor", "country"])
    with pytest.raises(DimensionError, match="there is no dimension name"):
        count_cases(columns, protocol, ["name"])


def test_the_commands(
    columns: Path,
    persons: int,
    recorded: MemoryLedger,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(column_sources, "source_of", lambda _: nullcontext(recorded))
    run = CliRunner()
    asked = ("--by", "country", "--by", "age_group", "--k", "5", "--parquet", str(columns))
    told = ("--out", str(tmp_path / "out"), "--record", str(tmp_path / "record.json"), "--json")
    done = run.invoke(app, ["statistics", "publish", *asked, *told])
    assert done.exit_code == 0, done.output
    about = json.loads(done.stdout)
    assert (about["number"], about["dimensions"], about["k"]) == (1, ["country", "age_group"], 5)
    target = tmp_path / "out" / "0001"
    with (target / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == about["cells"] == 4 * 4
    assert sum(row["count"] != "" for row in rows) == about["shown"]
    total = next(r for r in rows if (r["country"], r["age_group"]) == ("total", "total"))
    assert total["count"] == str(persons)
    same = parquet.read_table(target / "table.parquet").to_pylist()
    assert [{k: "" if v is None else str(v) for k, v in row.items()} for row in same] == rows
    with (target / "ctdc.csv").open(newline="") as file:
        assert tuple(csv.DictReader(file).fieldnames or ()) == ctdc.COLUMNS
    assert (tmp_path / "record.json").stat().st_mode & 0o077 == 0
    again = run.invoke(app, ["statistics", "publish", *asked, *told])
    assert json.loads(again.stdout)["number"] == 2
    assert (tmp_path / "out" / "0002" / "table.csv").read_text() == (
        target / "table.csv"
    ).read_text()
    other = run.invoke(app, ["statistics", "publish", "--by", "year", *asked[4:], *told])
    assert other.exit_code == 1
    shown = run.invoke(app, ["statistics", "trade", *asked])
    assert "0.25" in shown.stdout


def test_what_is_not_proven_is_not_published(
    columns: Path, recorded: MemoryLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody adds invented cases, and makes the manifest agree with the files."""
    proven = prove(columns, recorded, None, lambda _done, _of: None)
    assert (proven.upto, proven.checkpoint) == (recorded.head(), None)
    manifest = existing_manifest(columns)
    forged = Path(shutil.copytree(columns, tmp_path / "forged"))
    entry = manifest.of_table("cases")[-1]
    alone = next(one for one in manifest.files if len(manifest.of_table(one.table)) == 1)

    def forge(entry: FileEntry, table: pa.Table) -> None:
        parquet.write_table(table, forged / entry.path)
        content = (forged / entry.path).read_bytes()
        told = {"sha256": sha256(content).hexdigest(), "bytes": len(content)}
        changed = entry.model_copy(update=told)
        held = existing_manifest(forged)
        files = tuple(changed if one.path == entry.path else one for one in held.files)
        write_manifest(forged, held.model_copy(update={"files": files}))

    rows = parquet.read_table(forged / alone.path)
    swapped = {"agency": "party", "party": "agency"}
    forge(alone, rows.rename_columns([swapped.get(name, name) for name in rows.column_names]))
    with pytest.raises(ColumnarError, match="columns of other names"):
        prove(forged, recorded, None, lambda _done, _of: None)
    forge(alone, rows)
    rows = parquet.read_table(forged / entry.path)
    invented = rows.slice(0, 1).set_column(
        rows.column_names.index("case_id"), rows.schema.field("case_id"), pa.array([str(uuid4())])
    )
    forge(entry, pa.concat_tables([rows, invented]))
    monkeypatch.setattr(column_sources, "source_of", lambda _: nullcontext(recorded))
    published = CliRunner().invoke(
        app,
        ["statistics", "publish", "--by", "year", "--parquet", str(forged),
         "--out", str(tmp_path / "out"), "--record", str(tmp_path / "r.json")],
    )  # fmt: skip
    assert published.exit_code == 1
    assert "table cases has 1 of" in " ".join(published.output.split())
    assert not (tmp_path / "out").exists()
    assert CliRunner().invoke(app, ["verify", "columns", str(forged)]).exit_code == 3
    assert CliRunner().invoke(app, ["verify", "columns", str(columns)]).exit_code == 0
    # Invented events do not help: their root is not the ledger's.
    other = MemoryLedger(recorded.agencies, list(recorded.recorded))
    row = other.recorded[-1]
    other.recorded[-1] = row._replace(state=row.state + b" ")
    with pytest.raises(ColumnarError, match="is not the recorded one"):
        prove(columns, other, None, lambda _done, _of: None)


def test_records_of_ones_own_are_counted_by_their_columns(tmp_path: Path) -> None:
    file = tmp_path / "own.csv"
    rows = "Female,XK,1\n" * 12 + "Male,ME,0\n" * 3 + "Male,,\n" + "Male,IS,0\n"
    file.write_text(f"gender,citizenship,isForcedLabour\n{rows}")
    by = ["gender", "citizenship"]
    with pytest.raises(DimensionError, match="list the categories of gender"):
        count_records(file, by)
    known = {"gender": ["Female", "Male"], "citizenship": ["XK", "ME", "AL"]}
    cube, counts = count_records(file, by, known)
    assert counts == {
        ("Female", "XK"): 12,
        ("Male", "ME"): 3,
        ("Male", "-99"): 1,
        ("Male", "other"): 1,
    }
    # Nobody from there has a row, and nobody of another country has one of their own.
    assert cube.categories[1] == ("XK", "ME", "AL", "other", "-99")
    assert count_records(file, ["isForcedLabour"])[0].categories == (("0", "1", "-99"),)
    told, _ = first(cube, counts)
    assert Attacker(cube, told.counts).finds(people(counts), K) == set()
    with pytest.raises(DimensionError, match="has no column age"):
        count_records(file, ["age"])
