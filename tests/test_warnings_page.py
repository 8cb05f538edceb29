"""Each warning and error that the program logs has a row with a remedy in the documentation."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "warnings.md").read_text(encoding="utf-8")
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
LEVELS = ("warning", "error", "critical", "exception")


def logged() -> Iterator[str]:
    """Yield the text of each such line of the code, with ``…`` for a part that varies."""
    for package in ("ledger", "projections", "api"):
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and node.func.attr in LEVELS
                    and "log" in ast.unparse(node.func.value)
                ):
                    told = node.args[0]
                    either = (told.body, told.orelse) if isinstance(told, ast.IfExp) else (told,)
                    yield from map(_text, either)


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values
        )
    assert isinstance(node, ast.Constant), "a line of the log is a text in the code"
    return str(node.value)


def rows() -> Iterator[tuple[list[str], str, str]]:
    """Yield the lines of the log that a row of the page names, their meaning and the remedy."""
    for named, meaning, remedy in re.findall(
        r"^\| (`.+?`) \| (.+) \| (.+) \|$", PAGE, re.MULTILINE
    ):
        yield re.findall(r"`([^`]+)`", named), meaning, remedy


def test_every_warning_has_its_remedy_and_no_other_is_named() -> None:
    found = set(logged())
    named = [line for lines, _, _ in rows() for line in lines]
    assert len(found) > 80
    assert sorted(found - set(named)) == []
    assert sorted(set(named) - found) == []
    assert len(named) == len(set(named))


def test_the_lines_to_look_out_for_are_logged() -> None:
    (listed,) = re.findall(r"Look out for (.+?)\.\n", OPERATIONS, re.DOTALL)
    lines = {re.sub(r"\s+", " ", line) for line in re.findall(r"`([^`]+)`", listed)}
    assert len(lines) > 5
    assert sorted(lines - set(logged())) == []
