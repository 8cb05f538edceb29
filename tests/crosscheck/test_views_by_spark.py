"""Apache Spark, on a cluster of this machine, answers the same SQL as DuckDB, row for row."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from projections.analysis import ViewError, run_view
from projections.analysis import spark as by_spark
from projections.columnar.parquet_export import export
from tests.support.agencies import Agencies
from tests.support.recorded import MemoryLedger
from tests.support.stories import tell

CASES = int(os.environ.get("CASE_LEDGER_TEST_CASES", "5"))
EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "views").glob("*.sql"))
EMPTY_HERE = {"overdue_by_creditor"}
"""Of the stories that are told here nobody asks for information."""
MORE = {
    "of_all_events": "SELECT kind, party, count(*) AS n, max(recorded_at) AS latest"
    " FROM events WHERE kind <> 'key_registered' GROUP BY kind, party ORDER BY kind, party",
    "of_lists": "SELECT case_id, array_join(countries, '+') AS joined, size(countries) AS n,"
    " array_contains(countries, 'XK') AS here FROM case_opened ORDER BY case_id",
    "of_cases": "SELECT * FROM cases ORDER BY case_id",
    "of_what_stands": "SELECT kind, count(*) AS n FROM standing GROUP BY kind ORDER BY kind",
    "of_nothing": "SELECT position, released FROM information_released ORDER BY position",
}


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    """Two workers in this process's Java, with little memory."""
    if shutil.which("java") is None:
        if os.environ.get("CASE_LEDGER_TEST_CROSSCHECK") == "required":
            pytest.fail("Apache Spark needs Java 17 or newer")
        pytest.skip("Apache Spark needs Java 17 or newer")
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[2]").appName("case-ledger tests")
    for name, value in {
        "spark.driver.memory": "512m",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.default.parallelism": "1",
        "spark.sql.shuffle.partitions": "1",  # each task costs more than its few rows
        "spark.sql.adaptive.enabled": "false",
        # Compiling takes longer than what is counted here.
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        # Java would verify Spark's thousands of classes each time that it loads them.
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
        " -XX:+UnlockDiagnosticVMOptions -XX:-BytecodeVerificationRemote",
    }.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    yield session
    session.stop()


@pytest.fixture(scope="module")
def columns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ledger, directory = MemoryLedger(Agencies()), tmp_path_factory.mktemp("columns")
    ledger.begin()
    tell(ledger, Random(11), max(CASES, 30))
    for upto in (80, None):
        export(ledger, directory, upto=upto)
    return directory


@pytest.mark.usefixtures("spark")
@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_an_example_is_answered_alike(file: Path, columns: Path, tmp_path: Path) -> None:
    for each in EXAMPLES:
        shutil.copy(each, tmp_path)
    own = tmp_path / file.name
    duckdb, spark = (run_view(own, parquet=columns, engine=e) for e in ("duckdb", "spark"))
    assert duckdb.table.num_rows > 1 or file.stem in EMPTY_HERE
    assert spark.table.column_names == duckdb.table.column_names
    assert spark.table.to_pylist() == duckdb.table.to_pylist()


@pytest.mark.usefixtures("spark")
def test_a_view_that_uses_another_is_answered_alike(columns: Path, tmp_path: Path) -> None:
    base = Path(shutil.copy(EXAMPLES[0].with_name("caseload.sql"), tmp_path))
    file = tmp_path / "most.sql"
    file.write_text(
        "-- name: most\n-- version: 1\n-- uses: caseload.sql\n"
        f"SELECT corridor, max(cases) AS cases FROM {base.stem} GROUP BY corridor ORDER BY corridor"
    )
    duckdb, spark = (
        run_view(file, parquet=columns, engine=e, kept=False) for e in ("duckdb", "spark")
    )
    assert spark.table.to_pylist() == duckdb.table.to_pylist()
    assert duckdb.table.num_rows > 1


@pytest.mark.usefixtures("spark")
@pytest.mark.parametrize("name", MORE)
def test_every_sort_of_column_is_read_alike(name: str, columns: Path, tmp_path: Path) -> None:
    file = tmp_path / f"{name}.sql"
    file.write_text(f"-- name: {name}\n-- version: 1\n{MORE[name]}\n")
    duckdb, spark = (run_view(file, parquet=columns, engine=e) for e in ("duckdb", "spark"))
    assert spark.table.to_pylist() == duckdb.table.to_pylist()
    if name in ("of_lists", "of_all_events"):
        ranged = [
            run_view(file, parquet=columns, engine=e, first=40, last=90)
            for e in ("duckdb", "spark")
        ]
        assert ranged[0].table.to_pylist() == ranged[1].table.to_pylist()


@pytest.mark.usefixtures("spark")
def test_spark_answers_as_the_check_of_sql_says() -> None:
    from tests.crosscheck.test_sql_meaning import LIKE, UNLIKE, T

    session = by_spark._session()

    def asked(query: str) -> list[Any]:
        try:
            return [row[0] for row in session.sql(query).collect()]
        except Exception as error:
            return [type(error).__name__]

    given = {query: asked(query) for query in (*LIKE, *UNLIKE)}
    assert {q: given[q] for q, value in LIKE.items() if given[q] != value} == {}
    # It answers any row: here there is one.
    alike = [query for query, value in UNLIKE.items() if given[query] == value]
    assert alike == [f"SELECT any_value(s) AS y FROM {T}"]


@pytest.mark.usefixtures("spark")
def test_what_spark_refuses_is_said(columns: Path, tmp_path: Path) -> None:
    file = tmp_path / "wrong.sql"
    file.write_text("-- name: wrong\n-- version: 1\nSELECT nothing FROM events")
    with pytest.raises(ViewError, match="nothing"):
        run_view(file, parquet=columns, engine="spark")


def test_that_spark_is_missing_is_said(
    columns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyspark.sql", None)
    with pytest.raises(ViewError, match="is not installed here"):
        by_spark._session()
    file = tmp_path / "fold.py"
    file.write_text("class V:\n name='v'\n version=1\n initial=fold=rows=lambda *a: {}\n")
    with pytest.raises(ViewError, match="write it in SQL"):
        run_view(file, parquet=columns, engine="spark")
