"""An analyst's view says the same however it is run, and one that does not is refused."""

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.application import Ledger
from ledger.events.event_mapper import UnsealedEvent
from ledger.vocabulary.coordination import Correction
from ledger.vocabulary.identification import VictimIdentified
from ledger.vocabulary.person import AgeAssessed
from ledger.vocabulary.picklists import (
    AgeGroup,
    DecisionMakingOrg,
    TraffickingStatus,
    TypeOfExploitation,
)
from projections.analysis import Event, ViewError, events, run_view, tables
from projections.analysis.keeping import kept_directory, kept_views
from projections.analysis.plain import NotPlainError, dumps, loads
from projections.analysis.view_class import NotDeterministicError
from projections.columnar.parquet_export import export
from projections.columnar.snapshot_sources import database_source
from tests.support.actions import START, opening
from tests.support.agencies import Agencies
from tests.support.recorded import MemoryLedger
from tests.support.stories import tell

EXAMPLES = Path(__file__).parents[2] / "examples" / "views"
NAMES = ("caseload", "time_to_return", "services_gap")


@pytest.fixture(scope="module")
def told() -> MemoryLedger:
    ledger = MemoryLedger(Agencies())
    ledger.begin()
    tell(ledger, Random(7), 30)
    return ledger


@pytest.fixture(scope="module")
def columns(told: MemoryLedger, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export that grew in three steps."""
    directory = tmp_path_factory.mktemp("columns")
    for upto in (50, 120, None):
        export(told, directory, upto=upto)
    return directory


@pytest.fixture
def example(tmp_path: Path) -> Callable[[str], Path]:
    """A copy of an example, so that what is kept of it is not kept here."""
    return lambda name: Path(shutil.copy(EXAMPLES / name, tmp_path / name))


VIEW = """
{before}
class Counted:
    name = "counted"
    version = {version}
    def initial(self):
        return {initial}
    def fold(self, state, event):
        {fold}
        return state
    def rows(self, state):
        return {rows}
"""


FORGED = """
import json
def forged():
    stream = json.codecs.sys.__stdout__.buffer
    for told in (["row", ["dict", "a".__hash__()]], ["printed", ""]):
        stream.write(json.dumps(told).encode() + b"\\n")
    stream.close()
"""
"""A view that answers by itself, and differently in each process."""


def written(
    directory: Path,
    fold: str,
    *,
    initial: str = "{}",
    rows: str = "[{'count': len(state)}]",
    before: str = "",
    version: int = 1,
) -> Path:
    file = directory / "counted.py"
    file.write_text(
        VIEW.format(fold=fold, initial=initial, rows=rows, before=before, version=version)
    )
    return file


@pytest.mark.parametrize("name", NAMES)
def test_an_example_says_the_same_as_a_fold_and_as_sql(
    name: str, columns: Path, example: Callable[[str], Path]
) -> None:
    folded = run_view(example(f"{name}.py"), parquet=columns)
    asked = run_view(example(f"{name}.sql"), parquet=columns)
    assert folded.table.to_pylist() == asked.table.to_pylist()
    assert folded.table.num_rows > 3
    assert (folded.name, folded.version) == (asked.name, asked.version)
    assert pl.from_arrow(folded.table).shape == folded.table.shape


@pytest.mark.parametrize("suffix", ["py", "sql"])
def test_the_newest_age_counts_that_is_not_annulled(
    suffix: str, tmp_path: Path, example: Callable[[str], Path]
) -> None:
    ledger = MemoryLedger(Agencies())
    ledger.begin()
    police = "xk-dhtqnj"
    case = uuid4()
    ledger.take(police, opening(), case)
    identified = VictimIdentified(
        acted_at=START,
        status=TraffickingStatus.ACTUAL,
        decided_by=DecisionMakingOrg.POLICE,
        types_of_exploitation=(TypeOfExploitation.FORCED_LABOUR,),
    )
    ledger.take(police, identified, case)

    def groups() -> list[str]:
        export(ledger, tmp_path / "columns")
        run = run_view(example(f"services_gap.{suffix}"), parquet=tmp_path / "columns")
        return [row["age_group"] for row in run.table.to_pylist()]

    assert groups() == ["child"]
    assessed = AgeAssessed(
        acted_at=START, age_group=AgeGroup.ADULT, method="document", certainty="confirmed"
    )
    action = ledger.take(police, assessed, case).action.id
    assert groups() == ["adult"]
    wrong = Correction(acted_at=START, corrects=action, effect="annulled", reason="entry_error")
    ledger.take(police, wrong, case)
    assert groups() == ["child"]


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_range_is_folded_and_asked_alike(
    name: str, columns: Path, example: Callable[[str], Path]
) -> None:
    folded = run_view(example(f"{name}.py"), parquet=columns, first=20, last=150)
    asked = run_view(example(f"{name}.sql"), parquet=columns, first=20, last=150)
    assert folded.table.to_pylist() == asked.table.to_pylist()
    assert (folded.first, folded.last) == (20, 150)
    assert not kept_views(example(f"{name}.py"))


def test_the_table_of_cases_is_of_the_whole_alone(
    columns: Path, example: Callable[[str], Path]
) -> None:
    with pytest.raises(ViewError, match="is of the whole ledger"):
        run_view(example("caseload.sql"), parquet=columns, last=100)


def test_only_new_events_are_folded(
    told: MemoryLedger, tmp_path: Path, example: Callable[[str], Path]
) -> None:
    file, directory = example("caseload.py"), tmp_path / "columns"
    export(told, directory, upto=100)
    first = run_view(file, parquet=directory)
    assert (first.folded_from, first.last) == (1, 100)
    export(told, directory, upto=180)
    second = run_view(file, parquet=directory)
    assert (second.folded_from, second.last) == (101, 180)
    assert run_view(file, parquet=directory).folded_from == 181
    whole = run_view(file, parquet=directory, first=1, last=180)
    assert whole.table == second.table
    (kept,) = kept_views(file)
    assert (kept.position, kept.root) == (180, told.root(180).hex())
    # An older export is folded for itself, and what is kept stays.
    export(told, tmp_path / "older", upto=100)
    assert run_view(file, parquet=tmp_path / "older").table == first.table
    assert kept_views(file) == [kept]


def test_a_changed_definition_is_folded_beside_the_old_one(columns: Path, tmp_path: Path) -> None:
    by_kind = "state[event.kind] = state.get(event.kind, 0) + 1"
    file = written(tmp_path, by_kind)
    first = run_view(file, parquet=columns)
    (kept,) = kept_views(file)
    # One that fails leaves what was kept, which is still that of the old definition.
    written(tmp_path, "state[event.kind] = 1 / 0")
    with pytest.raises(ViewError, match=r"fails at position 1 \(protocol_adopted\)"):
        run_view(file, parquet=columns)
    assert kept_views(file) == [kept]
    written(tmp_path, by_kind, rows="[{'kinds': len(state)}]", version=2)
    second = run_view(file, parquet=columns)
    assert (first.folded_from, second.folded_from) == (1, 1)
    assert second.table.to_pylist() == [{"kinds": first.table.to_pylist()[0]["count"]}]
    (now,) = kept_views(file)
    assert (now.version, now.definition != kept.definition) == (2, True)
    there = {path.name for path in kept_directory(file).glob("*/*")}
    assert there == {"live.json", ".lock", now.state, now.rows}


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"fold": "state[event.kind] = hash(event.kind)"}, r"line 9: it calls hash\(\)"),
        ({"fold": "pass", "before": "from datetime import datetime\nNOW = datetime.now()"},
            r"it calls now\(\)"),
        ({"fold": "pass", "before": "import random"}, "it imports random"),
        ({"fold": "state[event.kind] = str(set(event.kind))"}, r"state\['protocol_adopted'\]|rows"),
        ({"fold": "state.update(dict.fromkeys({event.kind, *(f'a{n}' for n in range(20))}))"},
            "another order"),
        ({"fold": "state['n'] = event.acted_at.astimezone().isoformat()"}, r"state\['n'\] is"),
        ({"fold": "SEEN.append(1); state['seen'] = len(SEEN)", "before": "SEEN = []"},
            r"state\['seen'\] is"),
        ({"fold": "self.seen = getattr(self, 'seen', 0) + 1; state['seen'] = self.seen"},
            r"state\['seen'\] is"),
        ({"fold": "pass", "rows": "[{'name': n} for n in {f'a{n}' for n in range(20)}]"},
            r"rows\[\d+\]"),
        ({"fold": "event.fields['x'] = 1"}, "it changes the event"),
        ({"fold": "event.kind = 'x'"}, "it changes the event"),
        ({"fold": "event.fields.get('keys', [{}])[0]['agency'] = 1"}, "it changes the event"),
        ({"fold": "state[event.kind] = event"}, r"state\['protocol_adopted'\] is a Event"),
        ({"fold": "pass", "rows": "[{'x': 1 / 0}]"}, "its rows fail: ZeroDivisionError"),
        ({"fold": "pass", "rows": r"[{'x': '\ud800'}]"}, "half of a character"),
        ({"fold": "pass", "rows": "forged()", "before": FORGED}, "answer what is no table"),
        ({"fold": "pass", "before": "kinds = 1 /"}, "line 2: invalid syntax"),
        ({"fold": "pass", "version": 0}, "version must be 1 or more"),
    ],
)  # fmt: skip
def test_what_is_not_told_by_events_alone_is_refused(
    how: dict[str, Any], said: str, columns: Path, tmp_path: Path
) -> None:
    file = written(tmp_path, **how)
    with pytest.raises(ViewError, match=said):
        run_view(file, parquet=columns, last=60)
    assert not kept_views(file)


def test_a_class_of_a_notebook_is_checked_too(columns: Path) -> None:
    class Kinds:
        name = "kinds"
        version = 1

        def initial(self) -> dict[str, int]:
            return {}

        def fold(self, state: dict[str, int], event: Event) -> dict[str, int]:
            state[event.kind] = state.get(event.kind, 0) + 1
            return state

        def rows(self, state: dict[str, int]) -> Iterator[dict[str, Any]]:
            yield from ({"kind": kind, "count": count} for kind, count in sorted(state.items()))

    found = {
        row["kind"]: row["count"] for row in run_view(Kinds, parquet=columns).table.to_pylist()
    }
    with tables(columns) as connection:
        counted = connection.sql("SELECT kind, count(*) FROM events GROUP BY kind").fetchall()
    assert found == dict(counted)

    class Remembers(Kinds):
        def fold(self, state: dict[str, int], event: Event) -> dict[str, int]:  # noqa: ARG002
            self.seen = getattr(self, "seen", 0) + 1
            return {event.kind: self.seen}

    with pytest.raises(NotDeterministicError):
        run_view(Remembers, parquet=columns)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT kind, count(*) AS n FROM events GROUP BY kind", "add an ORDER BY"),
        (
            "SELECT kind FROM (SELECT kind, position FROM events ORDER BY random())",
            "any order|alone",
        ),
        ("SELECT random() AS n", "not told by its events alone"),
        ("SELECT nothing FROM events", "nothing"),
        ("SELECT 1 AS n FROM", "syntax"),
    ],
)
def test_sql_is_held_to_the_same(query: str, said: str, columns: Path, tmp_path: Path) -> None:
    file = tmp_path / "asked.sql"
    file.write_text(f"-- name: asked\n-- version: 1\n-- engine: duckdb\n{query};\n")
    with pytest.raises(ViewError, match=said):
        run_view(file, parquet=columns)
    file.write_text(query)
    with pytest.raises(ViewError, match="begin it with"):
        run_view(file, parquet=columns)


@pytest.mark.parametrize(
    "table",
    ["case_opened", "CASE_OPENED", '"Case_Opened"', "query_table('case_' || 'opened')"],
)
def test_a_table_is_there_however_a_query_names_it(
    table: str, columns: Path, tmp_path: Path
) -> None:
    file = tmp_path / "asked.sql"
    file.write_text(
        "-- name: asked\n-- version: 1\n-- engine: duckdb\n"
        f"SELECT case_id, position FROM {table} ORDER BY 2"
    )
    with tables(columns) as connection:
        rows = connection.sql("SELECT case_id, position FROM case_opened ORDER BY 2").fetchall()
    found = run_view(file, parquet=columns).table.to_pylist()
    assert [tuple(row.values()) for row in found] == rows
    assert rows


def test_every_source_gives_the_same_events(
    ledger: Ledger,
    database: str,
    agencies: Agencies,
    tmp_path: Path,
    example: Callable[[str], Path],
) -> None:
    for _ in range(3):
        case_id = uuid4()
        signed = agencies.sign("xk-dhtqnj", opening(("XK", "ME")), case_id).without_disclosures()
        event = UnsealedEvent(case_id, 1, "case_opened", signed.encode(), uuid4())
        ledger.rows.insert_events([event])
    with database_source(database) as source:
        export(source, tmp_path / "columns", batch=7)
    from_database = list(events(database=database))
    assert from_database == list(events(parquet=tmp_path / "columns"))
    assert [event.position for event in from_database] == list(range(1, ledger_head(ledger) + 1))
    some = list(events(database=database, first=5, kinds=("case_opened",)))
    assert [event.kind for event in some] == ["case_opened"] * 3
    file = example("caseload.py")
    assert run_view(file, database=database).table.to_pylist() == [
        {"corridor": "XK-ME", "stage": "identification", "cases": 3}
    ]
    asked = run_view(example("caseload.sql"), database=database)
    assert asked.table.to_pylist() == run_view(file, database=database).table.to_pylist()


def ledger_head(ledger: Ledger) -> int:
    return ledger.head()


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
    | st.datetimes(timezones=st.just(UTC)) | st.dates() | st.timedeltas()
    | st.uuids() | st.decimals(allow_nan=False)
)  # fmt: skip
keys = st.text() | st.integers() | st.tuples(st.text(), st.integers())
values = st.recursive(
    scalars | st.sets(st.text()) | st.frozensets(st.integers()),
    lambda inner: (
        st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(keys, inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(values)
def test_what_is_kept_comes_back(value: Any) -> None:
    text = dumps(value)
    assert loads(text) == value
    assert dumps(loads(text)) == text
    json.loads(text)


def test_what_is_not_plain_is_named() -> None:
    with pytest.raises(NotPlainError, match=r"state\['a'\]\[0\] is a object"):
        dumps({"a": [object()]})


def test_annulled_actions_are_told_from_those_that_stand(
    told: MemoryLedger, columns: Path, tmp_path: Path
) -> None:
    def asked(query: str) -> set[tuple[Any, ...]]:
        file = tmp_path / "asked.sql"
        file.write_text(f"-- name: asked\n-- version: 1\n{query}\n")
        return {tuple(row.values()) for row in run_view(file, parquet=columns).table.to_pylist()}

    acts = [row.event() for row in told.recorded]
    taken = {
        str(act.action.fields.get("corrects") or act.action.fields.get("merge"))
        for act in acts
        if act.action.kind == "merge_undone"
        or (act.action.kind == "correction" and act.action.fields["effect"] == "annulled")
    }
    assert taken
    every = {str(act.action.id) for act in acts}
    assert {one for (one,) in asked("SELECT action_id FROM annulled ORDER BY 1")} == taken
    standing = asked("SELECT action_id FROM standing ORDER BY 1")
    assert {one for (one,) in standing} == every - taken
