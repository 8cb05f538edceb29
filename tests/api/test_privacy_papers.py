"""Papers for data-protection officers: from the protocol, and complete as to what is stored."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from api.paper.privacy.agreement import agreement_page
from api.paper.privacy.kept import FILES, TABLES
from api.paper.privacy.laws import LAWS
from api.paper.privacy.measures import MEASURES
from api.paper.privacy.page_parts import BLANK
from api.paper.privacy.records import records_page
from api.paper.privacy.retention_table import retention_page
from api.paper.privacy.translated import (
    LANGUAGES,
    NOTICE,
    UnknownLanguageError,
    translated,
    untranslated,
)
from ledger.procedure.protocol import load_protocol, shipped_protocol
from ledger.vocabulary.picklists import ClosureReason

ROOT = Path(__file__).parents[2]
PAPERS = {
    "records": lambda: records_page(shipped_protocol(), "XK"),
    "agreement": lambda: agreement_page(shipped_protocol()),
    "retention": lambda: retention_page(shipped_protocol()),
}
WRITING_CALLS = {"write_bytes", "write_text", "write_private", "write_durably", "mkstemp"}
WRITING_CALLS |= {"TemporaryDirectory", "NamedTemporaryFile"}
IDS = (*ClosureReason, "victim_identified", "consent_information_exchange", "XK", "ME", "AL")
"""Cells that are ids of the program."""
NO_FILE_OF_A_NODE = {
    "ledger/system/lockdown.py",  # the kernel's own file of the process
    "api/importing/trial.py",  # a link to a file in memory
}


@pytest.mark.parametrize("name", PAPERS)
def test_the_papers_of_the_docs_are_made_by_the_program(name: str) -> None:
    page = (ROOT / "docs" / "privacy" / f"{name}.md").read_text(encoding="utf-8")
    assert page == PAPERS[name]()


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_paper_is_in_each_language_and_says_that_a_machine_translated_it(
    language: str,
) -> None:
    """A paper whose English changes, and whose translation does not, fails here."""
    folder = ROOT / "docs" / "privacy"
    by_hand = {
        name: (folder / f"{name}.md").read_text() for name in ("README", "impact-assessment")
    }
    protocol = shipped_protocol()
    known = {name for one in protocol.agencies for name in (one.id, one.role, one.city)}
    names = [one.name for one in (*protocol.agencies, *protocol.parties)]
    names += [text for law in LAWS.values() for text in (law.title, law.authority)]
    others = [records_page(protocol, code) for code in ("ME", "AL")]
    for page in (*by_hand.values(), *(make() for make in PAPERS.values()), *others):
        left = [
            unit
            for unit in untranslated(page, language)
            # Ids of roles, reasons and kinds, names of the protocol and laws stay as they are.
            if not set(re.split(r", ", unit)) <= known | {*IDS}
            and not re.match("|".join(map(re.escape, names)), unit)
        ]
        assert left == [], f"no translation in api/paper/privacy/languages/{language}.json"
    for name, english in {**by_hand, **{name: make() for name, make in PAPERS.items()}}.items():
        page = (folder / f"{name}.{language}.md").read_text(encoding="utf-8")
        assert page == translated(english, language), "run `make papers`"
        assert NOTICE[language] in page
        for shape in (r"`[^`]*`", r"^\|", r"^#", "_{3,}"):
            found = [len(re.findall(shape, one, re.MULTILINE)) for one in (english, page)]
            assert found[0] == found[1], (name, shape)
    with pytest.raises(UnknownLanguageError, match="there is no de"):
        translated("# A", "de")


def test_another_corridor_gets_its_own_papers_with_blanks_for_its_laws() -> None:
    protocol = load_protocol(ROOT / "examples" / "corridors" / "cyprus-malta" / "protocol.toml")
    for party in protocol.parties:
        page = records_page(protocol, party.code)
        assert party.name in page
        assert f"Law: {BLANK}" in page
        own = [one for one in protocol.agencies if one.party == party.code]
        assert own
        assert all(f"(`{one.id}`)" in page for one in own)
    with pytest.raises(ValueError, match="is no party of"):
        records_page(protocol, "XX")
    assert all(f"`{one.id}`" in agreement_page(protocol) for one in protocol.agencies)


def test_each_measure_of_security_names_code_and_a_test_that_are_there() -> None:
    for one in MEASURES:
        assert all((ROOT / path).is_file() for path in (one.code, one.test)), one.says


def test_each_table_of_a_database_has_a_period(database: str) -> None:
    with psycopg.connect(database) as connection:
        found = connection.execute(
            "SELECT schemaname || '.' || tablename FROM pg_tables"
            " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
    stored = {_any_party(name) for (name,) in found}
    told = [place for one in TABLES for place in one.places]
    assert sorted(told) == sorted(stored)


def test_each_module_that_writes_files_is_in_the_table() -> None:
    writing = {
        str(path.relative_to(ROOT))
        for folder in ("ledger", "projections", "api")
        for path in (ROOT / folder).rglob("*.py")
        if "demo" not in path.parts and any(_writes(path))
    }
    told = {module for one in FILES for module in one.writers}
    assert writing - NO_FILE_OF_A_NODE == told


def _any_party(table: str) -> str:
    schema, _, name = table.partition(".")
    kind = schema.partition("_")[0]
    return f"{kind}_xx.{name}" if kind in ("vault", "witness") else table


def _writes(path: Path) -> Iterator[ast.Call]:
    """The calls of a module that write a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        named = node.func
        name = named.attr if isinstance(named, ast.Attribute) else getattr(named, "id", "")
        modes = [a.value for a in node.args[:2] if isinstance(a, ast.Constant)]
        opens = name == "open" and any(
            isinstance(mode, str) and mode[:1] in "wxa" and len(mode) <= 3 for mode in modes
        )
        creates = name == "open" and "O_CREAT" in ast.unparse(node)
        if name in WRITING_CALLS or opens or creates:
            yield node


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "privacy").glob("*.md")))
def test_each_path_and_link_of_the_papers_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    paths = re.findall(r"`((?:api|ledger|projections|tests|docs)/[\w/.-]+\.\w+)`", text)
    assert [path for path in paths if not (ROOT / path).is_file()] == []
    for target, _, heading in re.findall(r"\]\((?!http)([^)#]*)(#([^)]*))?\)", text):
        linked = page.parent / target if target else page
        assert linked.is_file(), target
        if heading:
            assert heading in _anchors(linked), f"{target}#{heading}"


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}
