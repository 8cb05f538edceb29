"""Finds what means something else in DuckDB than in Spark, before an analyst's SQL runs.

Both accept much of the same text and answer differently: ``dayofweek`` begins at 0 in one and at 1
in the other. So a view in SQL may use the functions that were compared (:data:`ALIKE`), and none of
the constructs below; each refusal says the reason and what to write. ``tests/crosscheck`` runs
every row in both engines. NULL ordering and names in double quotes are made alike by settings of
the two sessions, and need no rule.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify import qualify
from sqlglot.tokens import TokenType

from projections.columnar import deadlines, obligations
from projections.columnar.cases import CASES
from projections.columnar.decoding import COMMON, KINDS, schema_of
from projections.columnar.duckdb_tables import STANDING_OF

ALIKE = frozenset(
    (
        *("abs", "array_contains", "array_join", "avg", "bool_and", "bool_or", "cast", "ceil"),
        *("coalesce", "concat_ws", "corr", "count", "date_trunc", "day", "dense_rank"),
        *("exp", "extract", "first_value", "floor", "greatest", "hour", "if", "instr", "lag"),
        *("last_value", "lead", "least", "left", "length", "ln", "lower", "lpad", "ltrim", "max"),
        *("median", "min", "minute", "month", "ntile", "nullif", "percent_rank"),
        *("percentile_cont", "percentile_disc", "position", "quarter", "rank", "repeat", "replace"),
        *("reverse", "right", "round", "row_number", "rpad", "rtrim", "size", "split_part"),
        *("sqrt", "stddev", "stddev_pop", "substr", "substring", "sum", "trim"),
        *("try_cast", "unix_timestamp", "upper", "year"),
    )
)
"""The functions that answer alike, under the same name and with the same arguments."""
_KEYWORDS = frozenset(
    (
        *("all", "and", "any", "as", "between", "by", "case", "distinct", "else", "except"),
        *("exists", "filter", "from", "group", "having", "in", "intersect", "interval", "is"),
        *("join", "like", "limit", "not", "on", "or", "order", "over", "partition", "select"),
        *("then", "union", "using", "values", "when", "where", "with", "materialized"),
        *("decimal", "varchar", "numeric", "within", "rollup", "cube", "sets", "recursive"),
    )
)
_REASONS = {
    "concat": "DuckDB leaves NULL out, and Spark answers NULL; write a || b, or concat_ws",
    "count_if": "of NULL alone it is NULL in DuckDB; write count(CASE WHEN … THEN 1 END)",
    "dayofweek": "Sunday is 0 in DuckDB and 1 in Spark; take days from a known Monday",
    "weekday": "Sunday is 0 in DuckDB, and Monday is 0 in Spark; take days from a known Monday",
    "datediff": "it has three arguments in DuckDB and two in Spark; subtract unix_timestamp",
    "date_diff": "it has three arguments in DuckDB and two in Spark; subtract unix_timestamp",
    "regexp_replace": "DuckDB replaces the first match, and Spark all; use replace",
    "regexp_extract": "DuckDB answers the whole match, and Spark the first group; use split_part",
    "regexp_matches": "Spark has another language of patterns, and no such name; use LIKE",
    "array_agg": "DuckDB keeps NULL, and Spark leaves it out; count what you need",
    "unnest": "Spark calls it explode; ask with array_contains",
    "explode": "DuckDB calls it unnest; ask with array_contains",
    "any_value": "it answers any row; use min or max",
    "first": "it answers any row; use min or max",
    "last": "it answers any row; use min or max",
    "mode": "it answers any of several; count, and order by the count",
    "now": "a view depends on its events alone; take max(recorded_at) from events",
    "current_date": "a view depends on its events alone; take max(recorded_at) from events",
    "random": "a view depends on its events alone",
    "strpos": "Spark calls it instr, which both have",
    "string_agg": "Spark writes its order otherwise; give rows, and join them afterwards",
}
_OF_KIND: Sequence[tuple[tuple[type[exp.Expression], ...], str]] = (
    ((exp.IntDiv,), "Spark has no //; write CAST(floor(a / nullif(b, 0)) AS BIGINT)"),
    ((exp.Pow,), "^ is a power in DuckDB and an exclusive or in Spark; multiply"),
    ((exp.Bracket,), "the first item is 1 in DuckDB and 0 in Spark; ask with array_contains"),
    ((exp.RegexpLike, exp.RegexpILike, exp.SimilarTo),
        "DuckDB and Spark have other languages of patterns; use LIKE"),
    ((exp.CurrentDate, exp.CurrentTimestamp, exp.CurrentTime),
        "a view depends on its events alone; take max(recorded_at) from events"),
    ((exp.Qualify, exp.Pivot, exp.TableSample, exp.Lateral, exp.Array, exp.Struct, exp.Lambda),
        "Spark writes it otherwise, or not at all"),
)  # fmt: skip
_TYPES: Sequence[tuple[Callable[[Any], bool], str]] = (
    (pa.types.is_boolean, "BOOLEAN"),
    (pa.types.is_integer, "BIGINT"),
    (pa.types.is_date32, "DATE"),
    (pa.types.is_timestamp, "TIMESTAMPTZ"),
    (pa.types.is_list, "VARCHAR[]"),
)
_STEPS = {
    **dict.fromkeys(("case_id", "kind", "stage"), "VARCHAR"),
    **dict.fromkeys(("times", "first_position"), "BIGINT"),
    **dict.fromkeys(("first_at", "last_at"), "TIMESTAMPTZ"),
}
_WHOLE = {"BIGINT", "INT", "SMALLINT", "TINYINT"}
_FRACTIONS = {"DOUBLE", "FLOAT", "DECIMAL"}
_TIMES = {"TIMESTAMP", "TIMESTAMPTZ", "TIMESTAMPLTZ"}
_ARITHMETIC = (exp.Add, exp.Sub, exp.Mul, exp.Div)


@dataclass(frozen=True, slots=True)
class Differs:
    """A part of a query that the two engines understand differently."""

    part: str
    reason: str

    def __str__(self) -> str:
        return f"{self.part}: {self.reason}"


def differences(text: str) -> Sequence[Differs]:
    """Return the parts of one query that DuckDB and Spark understand differently."""
    try:
        tree = sqlglot.parse_one(text, read="duckdb")
        sqlglot.parse_one(text, read="spark")
    except (SqlglotError, RecursionError) as error:
        return [Differs("this query", f"it is not of the SQL that both have ({_first(error)})")]
    found = [*_by_name(text), *_by_kind(tree), *_by_type(_with_types(tree))]
    return list(dict.fromkeys(found))


def _first(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _by_name(text: str) -> Iterator[Differs]:
    tokens = sqlglot.tokenize(text, read="duckdb")
    for before, token, after in zip([None, *tokens], tokens, tokens[1:], strict=False):
        name = token.text.lower()
        if token.token_type in (TokenType.STRING, TokenType.NUMBER) or not name.isidentifier():
            continue
        if after.token_type is not TokenType.L_PAREN or name in ALIKE or name in _KEYWORDS:
            continue
        if before is not None and before.token_type is TokenType.ALIAS:
            continue
        reason = _REASONS.get(
            name, "it is not among the functions that were compared in both engines"
        )
        yield Differs(f"{name} in line {token.line}", reason)


def _by_kind(tree: exp.Expression) -> Iterator[Differs]:
    for node in tree.walk():
        for kinds, reason in _OF_KIND:
            if isinstance(node, kinds):
                yield Differs(_shown(node), reason)
        match node:
            case exp.Div() | exp.Mod() if not _is_never_zero(node.expression):
                yield Differs(
                    _shown(node),
                    "DuckDB answers infinity or NULL for a division by 0, and Spark stops; write "
                    "nullif(…, 0) for the divisor",
                )
            case exp.Literal() if node.is_string and "\\" in node.name:
                yield Differs(_shown(node), r"\ begins a code in Spark's texts; use chr or replace")
            case exp.Literal() if _is_decimal(node) and isinstance(node.parent, _ARITHMETIC):
                yield Differs(
                    _shown(node), f"Spark computes with decimals here; write {node.name}e0"
                )
            case exp.Star() if node.args.get("except_") or node.args.get("replace"):
                yield Differs(_shown(node), "Spark writes it otherwise; name the columns")
            case exp.Substring() if _starts_below_one(node):
                yield Differs(_shown(node), "DuckDB counts from 1, and Spark takes 0 for 1")
            case exp.Count() if (
                isinstance(node.this, exp.Distinct) and len(node.this.expressions) > 1
            ):
                yield Differs(_shown(node), "DuckDB counts one column; count in a subquery")


def _by_type(tree: exp.Expression) -> Iterator[Differs]:
    for node in tree.walk():
        match node:
            case exp.Sub() if _kind(node.this) in {"DATE", *_TIMES} and (
                _kind(node.expression) in {"DATE", *_TIMES}
            ):
                yield Differs(
                    _shown(node),
                    "the difference of two days is a number in DuckDB and an interval in Spark; "
                    "subtract unix_timestamp",
                )
            case exp.Add() | exp.Sub() if _kind(node.this) == "DATE" and (
                isinstance(node.expression, exp.Interval)
            ):
                if not _is_cast_to_date(node.parent):
                    yield Differs(
                        _shown(node),
                        "a day and an interval make a moment in DuckDB and a day in Spark; write "
                        "CAST(… AS DATE) around it",
                    )
            case exp.Cast() if _kind_of(node.to) in _WHOLE and _is_fraction(node.this):
                yield Differs(
                    _shown(node), "DuckDB rounds, and Spark cuts off; write floor or round inside"
                )
            case exp.Cast() if _kind_of(node.to) in {"TEXT", "VARCHAR"} and (
                _kind(node.this) in {"DOUBLE", "FLOAT", *_TIMES}
            ):
                yield Differs(_shown(node), "the engines write such values in other ways")
            case exp.Round() if node.args.get("decimals") is not None and (
                _kind(node.this) in {"DOUBLE", "FLOAT"}
            ):
                yield Differs(
                    _shown(node),
                    "1.005 becomes 1.0 in DuckDB and 1.01 in Spark; round whole numbers, such as "
                    "thousandths",
                )
            case exp.DateTrunc() | exp.TimestampTrunc() if _kind(node.this) == "DATE":
                yield Differs(_shown(node), "the result is a day in DuckDB, a moment in Spark")


def _is_never_zero(divisor: Any) -> bool:
    while isinstance(divisor, exp.Paren):
        divisor = divisor.this
    if isinstance(divisor, exp.Literal):
        return not divisor.is_string and float(divisor.name) != 0
    return isinstance(divisor, exp.Nullif)


def _is_decimal(node: exp.Literal) -> bool:
    return not node.is_string and "." in node.name and "e" not in node.name.lower()


def _starts_below_one(node: exp.Substring) -> bool:
    start = node.args.get("start")
    if isinstance(start, exp.Neg):
        return True
    return isinstance(start, exp.Literal) and not start.is_string and float(start.name) < 1


def _is_cast_to_date(node: Any) -> bool:
    while isinstance(node, exp.Paren):
        node = node.parent
    return isinstance(node, exp.Cast) and _kind_of(node.to) == "DATE"


def _is_fraction(node: Any) -> bool:
    while isinstance(node, exp.Paren):
        node = node.this
    if isinstance(node, exp.Floor | exp.Ceil | exp.Round):
        return False
    return _kind(node) in _FRACTIONS or isinstance(node, exp.Div | exp.Avg)


def _kind(node: Any) -> str:
    return _kind_of(node.type) if isinstance(node, exp.Expression) else ""


def _kind_of(declared: Any) -> str:
    return "" if declared is None else str(declared.this.value)


def _shown(node: exp.Expression) -> str:
    text = node.sql(dialect="duckdb")
    return text if len(text) <= 60 else f"{text[:57]}..."


def _with_types(tree: exp.Expression) -> exp.Expression:
    """Return a copy in which each part has its type, as far as the tables' columns tell it."""
    schema = _schema(tree)
    try:
        named = qualify(
            tree.copy(),
            dialect="duckdb",
            schema=schema,
            validate_qualify_columns=False,
            quote_identifiers=False,
        )
        return annotate_types(named, schema=schema, dialect="duckdb")
    except (SqlglotError, RecursionError, KeyError, AttributeError):
        return tree


def _schema(tree: exp.Expression) -> dict[str, dict[str, str]]:
    common = _columns(COMMON)
    schemas: dict[str, Callable[[], dict[str, str]]] = {
        "events": lambda: common,
        "standing": lambda: common,
        "cases": lambda: _columns(CASES.schema),
        "obligations": lambda: _columns(obligations.SCHEMA),
        "deadlines": lambda: _columns(deadlines.SCHEMA),
        "annulled": lambda: {"case_id": "VARCHAR", "action_id": "VARCHAR", "position": "BIGINT"},
        "steps": lambda: _STEPS,
    }
    found = {}
    for table in tree.find_all(exp.Table):
        name = table.name.lower()
        if name in schemas:
            found[name] = schemas[name]()
        elif (kind := name.removeprefix(STANDING_OF)) in KINDS:
            found[name] = _columns(schema_of(kind))
    return found


def _type(declared: Any) -> str:
    return next((name for is_it, name in _TYPES if is_it(declared)), "VARCHAR")


def _columns(schema: Any) -> dict[str, str]:
    return {field.name: _type(field.type) for field in schema}
