"""The pages' texts: the same ones in three languages, and each that a page names."""

import re
from importlib import resources
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

from api.paper.languages.found import shipped
from api.web.texts import CATALOGUE, texts

WEB = Path(str(resources.files("api.web")))
LOCALE = Path(str(resources.files("api"))) / "locale"


def catalogue(language: str) -> Catalog:
    with (LOCALE / language / "LC_MESSAGES" / CATALOGUE).open("rb") as file:
        return read_po(file)


def every(language: str) -> dict[str, tuple[str, ...]]:
    found = {}
    for message in catalogue(language):
        if message.id:
            plural = isinstance(message.id, tuple | list)
            name = message.id[0] if plural else message.id
            found[str(name)] = tuple(message.string) if plural else (str(message.string),)
    return found


def places(forms: tuple[str, ...]) -> set[str]:
    return set(re.findall(r"\{\w+\}", " ".join(forms)))


def test_every_language_says_the_same_things() -> None:
    english = every("en")
    assert len(english) > 40
    for language in shipped():
        own = every(language)
        assert own.keys() == english.keys()
        for name, forms in own.items():
            assert all(forms), (language, name)
            assert places(forms) == places(english[name]), (language, name)


def test_every_text_that_a_page_names_is_there() -> None:
    known, named = every("en").keys(), set()
    for template in WEB.rglob("*.html"):
        named |= set(re.findall(r'\b[tn]\("([a-zA-Z_0-9.-]+)"', template.read_text()))
    assert len(named) > 20
    starts = {name for name in named if name.endswith(".")}
    assert named - starts - known == set()
    assert [start for start in starts if not any(name.startswith(start) for name in known)] == []


def test_every_text_that_a_script_names_is_brought_by_a_page() -> None:
    brought = " ".join(template.read_text() for template in WEB.rglob("*.html"))
    for script in (WEB / "static").glob("*.js"):
        for name in re.findall(r'\btext\("([a-z_0-9.]+)"', script.read_text()):
            assert f'"{name}"' in brought, (script.name, name)


@pytest.mark.parametrize("language", shipped())
def test_a_text_that_there_is_not(language: str) -> None:
    with pytest.raises(KeyError):
        texts(language).text("no.such.text")
    with pytest.raises(KeyError):
        texts(language).count("no.such.text", 2)
