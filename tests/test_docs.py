"""The documentation names what there is: rules, operations, settings, files."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.processes.app import create_app
from api.runtime.settings import Settings

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
API = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
RAISE = {"Refusal": 1, "problem": 2}
"""Which argument names the rule; the modules' own short forms take it first."""


def rules() -> Iterator[str]:
    """Every rule that the code names, those with a variable part up to it."""
    for package in ("ledger", "api"):
        for file in (ROOT / package).rglob("*.py"):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            short_forms = {
                node.name
                for node in ast.walk(tree)
                if isinstance(node, ast.FunctionDef)
                and [arg.arg for arg in node.args.args[:1]] == ["rule"]
            }
            places = RAISE | dict.fromkeys(short_forms, 0)
            for node in ast.walk(tree):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    place = places.get(node.func.id, len(node.args))
                    if place < len(node.args) and (rule := literal(node.args[place])):
                        yield rule


def literal(node: ast.expr) -> str | None:
    if isinstance(node, ast.JoinedStr) and node.values:
        head = node.values[0]
        return literal(head) if isinstance(head, ast.Constant) else None
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value if re.fullmatch(r"[a-z]+(-[a-z]+)*-?", node.value) else None
    return None


def test_every_rule_is_explained() -> None:
    table = API[API.index("## Refusals") :]
    explained = {rule.removesuffix("…") for rule in re.findall(r"`([a-z-]+…?)`", table)}
    named = set(rules())
    assert len(named) > 50
    missing = {r for r in named if r not in explained and not any(
        r.endswith("-") and e.startswith(r) for e in explained)}  # fmt: skip
    assert missing == set()


def test_every_operation_is_shown() -> None:
    operations = create_app(Settings(), "").openapi()["paths"]
    assert [path for path in operations if path not in API] == []


def test_every_setting_is_listed() -> None:
    listed = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    names = [f"CASE_LEDGER_{name.upper()}" for name in Settings.model_fields]
    assert [name for name in names if f"`{name}`" not in listed] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_named_files_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (page.parent / link).exists(), link
    packages = "ledger|projections|api|tests|docs|docker"
    for named in re.findall(rf"`((?:{packages})/[\w./-]+\.(?:py|sql|md|toml|sh|svg))`", text):
        assert (ROOT / named).exists(), named


def test_every_dependency_has_its_line() -> None:
    listed = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    named = re.findall(r'^    "([a-z0-9-]+)[\[><=]', project, re.MULTILINE)
    assert len(named) > 20
    assert [name for name in named if f"`{name}`" not in listed] == []
