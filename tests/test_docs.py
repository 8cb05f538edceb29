"""The documentation names what there is: rules, operations, settings, files."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.processes.app import create_app
from api.runtime.settings import Settings

ROOT = Path(__file__).parent.parent
EXPLAINING = sorted((ROOT / "docs").glob("*.md"))
PAGES = [*sorted(ROOT.glob("*.md")), *EXPLAINING,
         ROOT / "benchmarks" / "README.md", ROOT / "tests" / "ledgers" / "README.md"]  # fmt: skip
FOLDERS = ("ledger", "projections", "api", "auditor", "tests", "benchmarks", "deploy", "docs",
           "docker", "examples", "requirements")  # fmt: skip
MADE_LATER = ("docker/secrets",)
"""What a command makes in one of these folders."""
READERS_OWN = {"my_view.py", "assertion.py"}
"""Files that a page asks its reader to write."""
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


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def prose(page: Path) -> str:
    """The text of a page without blocks of code."""
    text = page.read_text(encoding="utf-8")
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)


def sections(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).strip().replace(" ", "-") for head in heads}


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


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_to_files_and_sections(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", prose(page))
    for link in links:
        target, _, section = link.partition("#")
        file = page.parent / target if target else page
        assert file.exists(), link
        if section:
            assert section in sections(file), link


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_named_files_are_there(page: Path) -> None:
    words = re.findall(r"`([\w./-]+)`", prose(page))
    for path in (word for word in words if word.split("/")[0] in FOLDERS and "/" in word):
        assert (ROOT / path).exists() or path.startswith(MADE_LATER), path
    names = {path.name for folder in FOLDERS for path in (ROOT / folder).rglob("*.*")}
    for name in (word for word in words if re.fullmatch(r"\w+\.(py|js|sql)", word)):
        assert name in names | READERS_OWN, name


@pytest.mark.parametrize("page", EXPLAINING, ids=named)
def test_a_page_says_which_kind_it_is(page: Path) -> None:
    paragraphs = page.read_text(encoding="utf-8").split("\n\n")
    assert re.match(r"\*\*(Tutorial|How-to|Reference|Explanation)\b", paragraphs[1]), paragraphs[1]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_a_specification_is_linked_at_its_first_mention(page: Path) -> None:
    text = prose(page)
    body = re.sub(r"^(\[[^\]]+\]: .*| {4}.*)$", "", text, flags=re.MULTILINE)
    for number in set(re.findall(r"RFC\s(\d{4})", body)):
        first = re.search(rf"(.?)RFC\s{number}(.?)", body)
        assert first is not None
        assert first.group(1) == "[", f"RFC {number} is not linked at its first mention"
        inline = f"https://www.rfc-editor.org/rfc/rfc{number}"
        assert inline in text, f"RFC {number} has no address"
    for name in re.findall(r"\[(RFC \d{4}|`tlog-[a-z]+`)\](?!\()", body):
        assert f"[{name}]: https://" in text, name


def test_the_code_map_names_every_room() -> None:
    text = (ROOT / "docs" / "code-map.md").read_text(encoding="utf-8")
    rooms = {
        file.parent.relative_to(ROOT).as_posix()
        for package in ("ledger", "projections", "api")
        for file in (ROOT / package).rglob("__init__.py")
    }
    assert len(rooms) > 30
    assert [room for room in sorted(rooms) if f"`{room}/`" not in text] == []


def test_the_glossary_defines_each_term_once_in_one_sentence() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    tables = [re.findall(r"^\| \*\*(.+?)\*\* \| (.+) \|$", part, re.MULTILINE)
              for part in text.split("\n## ")]  # fmt: skip
    terms = [term.lower() for table in tables for term, _ in table]
    assert len(terms) > 100
    assert [term for term in terms if terms.count(term) > 1] == []
    for table in tables:
        assert [term for term, _ in table] == sorted((t for t, _ in table), key=str.lower)
        for term, meaning in table:
            assert re.fullmatch(r"[^.]+(\.\w[^.]*)*\.", meaning), term


def test_every_dependency_has_its_line() -> None:
    listed = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    named = re.findall(r'^    "([a-z0-9-]+)[\[><=]', project, re.MULTILINE)
    assert len(named) > 20
    assert [name for name in named if f"`{name}`" not in listed] == []
