"""The commands and the Python that the documentation shows are of this program as it is now."""

import ast
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from api.cli.main import app

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
PACKAGES = ("api", "ledger", "projections")
PROGRAM = ("case-ledger", ".venv/bin/case-ledger")


QUESTION = re.compile(
    r'(?:\A|:\n)\s*"""((?:What|Which|Whether|How|Who|Whose|Whoever|Where|When|Why)\b.*)'
)
"""The docstring of a module, a class or a function that begins with a question word."""
THING = re.compile(r'^\s*"""((?:What|Which|Who|Whose|Why)\b.*)', re.MULTILINE)
"""The docstring of a value that does not name it. "Whether", "how many" and "when" are names."""


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def shown(text: str) -> Iterator[list[str]]:
    """Each command line of indented code, in words, without what follows a pipe or a comment."""
    joined = re.sub(r"\\\n\s*", " ", text)
    for line in re.findall(r"^ {4,}(.*\bcase-ledger .*)$", joined, re.MULTILINE):
        try:
            words = shlex.split(re.sub(r"\s[>|;#].*", "", line), comments=True)
        except ValueError:  # a quotation that the page shortens
            continue
        programs = [n for n, word in enumerate(words) if word in PROGRAM]
        if programs and not {"docker", "curl", "git", "install"} & set(words[: programs[0]]):
            yield words[programs[0] + 1 :]


def refused(words: list[str]) -> str | None:
    """Return why the program has no such command or option; ``None`` if it has."""
    command = typer.main.get_command(app)
    context = command.make_context("case-ledger", [], resilient_parsing=True)
    rest = list(words)
    while hasattr(command, "get_command") and rest and not rest[0].startswith("-"):
        found = command.get_command(context, rest.pop(0))
        if found is None:
            return f"no such command: {' '.join(words)}"
        command = found
        context = command.make_context(command.name, [], parent=context, resilient_parsing=True)
    options = {o for parameter in command.get_params(context)
               for o in (*parameter.opts, *parameter.secondary_opts)}  # fmt: skip
    for word in rest:
        if word == "--":
            return None
        if re.match(r"--?[a-z]", word) and word.split("=")[0] not in options:
            return f"no option {word}: {' '.join(words)}"
    return None


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_that_are_shown_exist(page: Path) -> None:
    assert [why for words in shown(text_of(page)) if (why := refused(words))] == []


def test_many_commands_are_found_and_a_wrong_one_is_refused() -> None:
    assert sum(1 for page in PAGES for _ in shown(text_of(page))) > 100
    assert refused(["keys", "list", "-a", "xk-nac"]) is None
    assert refused(["keys", "no-such"]) is not None
    assert refused(["keys", "list", "--no-such"]) is not None


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_python_that_is_shown_imports_what_there_is(page: Path) -> None:
    for block in re.findall(r"^```python\n(.*?)^```$", text_of(page), re.MULTILINE | re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] in PACKAGES:
                module = importlib.import_module(str(node.module))
                missing = [alias.name for alias in node.names if not hasattr(module, alias.name)]
                assert missing == [], node.module


def test_docstrings_name_the_thing_or_say_what_the_function_does() -> None:
    assert QUESTION.search('def found() -> int:\n    """How many there are."""\n')
    program = ("api", "auditor", "ledger", "projections")
    files = {
        place: sorted((ROOT / place).rglob("*.py")) for place in (*program, "benchmarks", "tests")
    }
    assert all(len(found) > 20 or place == "auditor" for place, found in files.items())
    patterns = {place: (QUESTION, THING) if place in program else (QUESTION,) for place in files}
    wrong = [
        f"{file.relative_to(ROOT)}: {first_line}"
        for place, found in files.items()
        for file in found
        for pattern in patterns[place]
        for first_line in pattern.findall(text_of(file))
    ]
    assert wrong == []
