"""Each construct that the check refuses is understood otherwise by Spark, and no other is.

The rows hold DuckDB's answer; where Java is installed, Spark answers too.
"""

from decimal import Decimal
from typing import Any

import duckdb
import pytest

from projections.analysis.sql_meaning import ALIKE, differences
from tests.crosscheck import test_views_by_spark as by_spark

T = (
    "(SELECT 'ab' AS s, 5 AS n, 2 AS m, CAST(1.5 AS DOUBLE) AS x, CAST(NULL AS VARCHAR(9)) AS nil,"
    " CAST('2024-01-31' AS DATE) AS d, CAST('2024-03-01' AS DATE) AS e,"
    " CAST('2024-01-07 10:30:00' AS TIMESTAMP) AS t) AS one"
)
DIFFER = {
    "n // m": 2,
    "n / (m - 2)": float("inf"),
    "n ^ m": 25.0,
    "concat(s, nil)": "ab",
    "dayofweek(t)": 0,
    "weekday(t)": 0,
    "datediff('day', d, e)": 30,
    "date_diff('day', d, e)": 30,
    "CAST('2024-03-01' AS DATE) - CAST('2024-01-31' AS DATE)": 30,
    "CAST(x AS INT)": 2,
    "CAST(CAST(2.5 AS DECIMAL(3, 1)) AS INT)": 3,
    "round(CAST(1.005 AS DOUBLE), 2)": 1.0,
    "substr(s, 0, 1)": "",
    "100.0 * n / 7": 71.42857142857143,
    r"'a\nb'": r"a\nb",
    "regexp_replace('aa', 'a', 'b')": "ba",
    "regexp_extract('ab', 'a(b)')": "ab",
    "s ~ 'a.'": True,
    "s SIMILAR TO 'a.'": True,
    "['a', 'b'][1]": "a",
    "strpos(s, 'b')": 2,
    "CAST(CAST(1e20 AS DOUBLE) AS VARCHAR(40))": "1e+20",
    "any_value(s)": "ab",
    "count_if(CAST(nil AS INT) = 1)": None,
}
SAME = {
    "n / 2": 2.5,
    "abs(-n)": 5,
    "ceil(x)": 2,
    "day(t)": 7,
    "hour(t)": 10,
    "minute(t)": 30,
    "year(t)": 2024,
    "ltrim(' a') || rtrim('b ') || trim(' c ')": "abc",
    "least(n, m)": 2,
    "lower('Š')": "š",
    "repeat(s, 2)": "abab",
    "replace(s, 'a', 'c')": "cb",
    "reverse(s)": "ba",
    "rpad(s, 3, 'c')": "abc",
    "substring(s, 1, 1)": "a",
    "sqrt(4e0)": 2.0,
    "exp(0e0)": 1.0,
    "ln(1e0)": 0.0,
    "try_cast(s AS INT)": None,
    "n / nullif(m - 2, 0)": None,
    "floor(n / 2)": 2,
    "CAST(floor(n / 2) AS BIGINT)": 2,
    "n % 3": 2,
    "-5 % 3": -2,
    "s || nil": None,
    "s || 'c'": "abc",
    "concat_ws('-', s, nil, s)": "ab-ab",
    "'it''s'": "it's",
    'one."s"': "ab",
    "S": "ab",
    "s = 'AB'": False,
    "substr(s, 2, 1)": "b",
    "instr(s, 'b')": 2,
    "split_part('a-b', '-', 2)": "b",
    "position('b' IN s)": 2,
    "left(s, 1) || right(s, 1)": "ab",
    "lpad(s, 4, '0')": "00ab",
    "upper(s)": "AB",
    "length('Šć')": 2,
    "coalesce(nil, s)": "ab",
    "greatest(n, m, NULL)": 5,
    "round(2.5e0)": 3.0,
    "100e0 * n / 7": 500 / 7,
    "extract(year FROM t)": 2024,
    "month(t)": 1,
    "quarter(t)": 1,
    "CAST(date_trunc('month', t) AS DATE) = CAST('2024-01-01' AS DATE)": True,
    "CAST(t + INTERVAL '1' DAY AS DATE) = CAST('2024-01-08' AS DATE)": True,
    "CAST(d + INTERVAL '1' MONTH AS DATE) = CAST('2024-02-29' AS DATE)": True,
    "t >= '2024-01-07'": True,
    "CAST('5' AS INT)": 5,
    "CAST(n AS VARCHAR(9))": "5",
    "s LIKE 'a_'": True,
    "nil IS NOT DISTINCT FROM NULL": True,
    "n BETWEEN 1 AND 5": True,
    "CASE WHEN n > m THEN 'x' END": "x",
    "if(n > m, 'x', 'y')": "x",
}
COUNTED = {
    "count(x)": 3, "sum(x)": Decimal(6), "avg(x)": 2.0, "median(x)": 2.0,
    "count(DISTINCT x)": 3, "count(CASE WHEN x > 1 THEN 1 END)": 2,
    "count(*) FILTER (WHERE x > 1)": 2,
    "stddev(x)": 1.0, "stddev_pop(x)": 0.816496580927726, "min(x)": 1, "max(x)": 3,
    "bool_or(x > 2)": True, "percentile_disc(0.5) WITHIN GROUP (ORDER BY x)": 2,
    "percentile_cont(0.5) WITHIN GROUP (ORDER BY x)": 2.0, "bool_and(x > 0)": True,
    "corr(x, x)": 1.0,
}  # fmt: skip
ROWS = "(SELECT 1 AS x UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT NULL) AS four"
ORDERED = {
    f"SELECT x FROM {ROWS} ORDER BY x": [None, 1, 2, 3],
    f"SELECT x FROM {ROWS} ORDER BY x DESC": [3, 2, 1, None],
    f"SELECT lag(x) OVER (ORDER BY x) AS y FROM {ROWS} ORDER BY x": [None, None, 1, 2],
    f"SELECT rank() OVER (ORDER BY x DESC NULLS LAST) AS y FROM {ROWS} ORDER BY 1": [1, 2, 3, 4],
    f"SELECT row_number() OVER (ORDER BY x) AS y FROM {ROWS} ORDER BY 1": [1, 2, 3, 4],
    f"SELECT dense_rank() OVER (ORDER BY x) AS y FROM {ROWS} ORDER BY 1": [1, 2, 3, 4],
    f"SELECT ntile(2) OVER (ORDER BY x) AS y FROM {ROWS} ORDER BY x": [1, 1, 2, 2],
    f"SELECT percent_rank() OVER (ORDER BY x) AS y FROM {ROWS} ORDER BY x": [0, 1 / 3, 2 / 3, 1],
    f"SELECT lead(x) OVER (ORDER BY x) AS y FROM {ROWS} ORDER BY x": [1, 2, 3, None],
    f"SELECT first_value(x) OVER (ORDER BY x DESC) AS y FROM {ROWS} ORDER BY x": [3] * 4,
    f"SELECT last_value(x) OVER (ORDER BY x) AS y FROM {ROWS} ORDER BY x": [None, 1, 2, 3],
}


def by_duckdb(query: str) -> list[Any]:
    with duckdb.connect() as connection:
        connection.execute("SET default_null_order = 'nulls_first_on_asc_last_on_desc'")
        return [row[0] for row in connection.sql(query).fetchall()]


def queries(parts: dict[str, Any], rows: str) -> dict[str, Any]:
    return {f"SELECT {part} AS y FROM {rows}": [value] for part, value in parts.items()}


UNLIKE = queries(DIFFER, T)
LIKE = queries(SAME, T) | queries(COUNTED, ROWS) | ORDERED


@pytest.mark.parametrize("query", UNLIKE, ids=[*DIFFER])
def test_what_is_refused_has_a_reason(query: str) -> None:
    assert by_duckdb(query) == UNLIKE[query]
    found = differences(query)
    assert found
    assert all(len(one.reason) > 20 for one in found)


def test_what_both_understand_alike_is_not_refused() -> None:
    for query, value in LIKE.items():
        assert by_duckdb(query) == value, query
        assert not differences(query), query


def test_what_only_looks_alike_is_refused_too() -> None:
    for query in (
        "SELECT now() AS y",
        "SELECT current_date AS y",
        "SELECT * EXCLUDE (position) FROM events",
        "SELECT kind FROM events QUALIFY row_number() OVER (ORDER BY position) = 1",
        "SELECT array_agg(kind) AS y FROM events",
        "SELECT count(DISTINCT kind, party) AS y FROM events",
        "SELECT acted_at - recorded_at AS y FROM events",
        "SELECT CAST(acted_at AS VARCHAR(40)) AS y FROM events",
        "SELECT unnest(countries) AS y FROM case_opened",
        "SELECT [1, 2] AS y",
        "SELECT nothing_of_this(kind) AS y FROM events",
        "FROM",
    ):
        assert differences(query), query


def test_the_functions_that_are_let_through_are_all_compared() -> None:
    examples = (file.read_text() for file in by_spark.EXAMPLES)
    asked = " ".join([*LIKE, *by_spark.MORE.values(), *examples]).lower()
    assert not {name for name in ALIKE if f"{name}(" not in asked and f"{name} (" not in asked}
