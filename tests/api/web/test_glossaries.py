"""Each language's glossary has one term for a concept, and the catalogues use it."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import pytest
from babel.messages.pofile import read_po

from api.paper.languages.found import CATALOGUES, package_folder

_OF_FILES = re.compile(r"\{[a-z_]*\}|`[^`]*`|case-ledger [a-z ]+")
"""Placeholders and commands, which are no words of a text."""


@cache
def _texts(code: str) -> Mapping[str, str]:
    """Return each text of a language by its id, without placeholders."""
    found = {}
    for name in CATALOGUES:
        with (package_folder() / code / "LC_MESSAGES" / name).open("rb") as file:
            for message in read_po(file):
                if message.id:
                    first = message.id if isinstance(message.id, str) else message.id[0]
                    text = message.string
                    joined = text if isinstance(text, str) else " ".join(text)
                    found[first] = _OF_FILES.sub(" ", joined)
    return found


def _glossary(code: str) -> list[dict[str, Any]]:
    return list(
        tomllib.loads((package_folder() / code / "glossary.toml").read_text("utf-8"))["terms"]
    )


def _cases() -> Iterator[tuple[str, dict[str, Any]]]:
    for code in ("sq", "cnr"):
        for term in _glossary(code):
            yield code, term


@pytest.mark.parametrize(("code", "term"), list(_cases()), ids=lambda one: str(one)[:40])
def test_a_concept_has_its_one_term(code: str, term: dict[str, Any]) -> None:
    asked = re.compile(rf"\b({term['english']})\b", re.IGNORECASE)
    used = re.compile(rf"({term['stem']})", re.IGNORECASE)
    english, own = _texts("en"), _texts(code)
    concerned = {one for one, text in english.items() if asked.search(text)}
    lacking = {
        one: own[one]
        for one in concerned
        if not used.search(own[one]) and one not in term.get("otherwise", ())
    }
    assert concerned
    assert lacking == {}
    if "never" in term:
        never = re.compile(rf"\b({term['never']})", re.IGNORECASE)
        other = {one for one, text in own.items() if never.search(text)}
        assert other - set(term.get("otherwise", ())) == set()


def test_both_glossaries_have_the_same_concepts() -> None:
    sq, cnr = ({one["concept"] for one in _glossary(code)} for code in ("sq", "cnr"))
    assert sq == cnr
