"""Every template of the pages compiles, with or without rows to show."""

import re
from types import SimpleNamespace

import pytest
from markupsafe import Markup

from api.web.rendering import _templates


@pytest.mark.parametrize("name", _templates().list_templates(extensions=["html"]))
def test_every_template_compiles(name: str) -> None:
    _templates().get_template(name)


@pytest.mark.parametrize("name", _templates().list_templates(extensions=["html"]))
def test_no_browser_keeps_what_is_typed_into_a_form(name: str) -> None:
    """Firefox and Chromium write what is sent by other forms into their profiles, in clear."""
    source, _, _ = _templates().loader.get_source(_templates(), name)  # type: ignore[union-attr]
    forms = re.findall(r"<form\b[^>]*>", source)
    assert [form for form in forms if 'autocomplete="off"' not in form] == []


def test_the_countries_asked_for_missing_fields_are_in_one_list() -> None:
    source, _, _ = _templates().loader.get_source(_templates(), "missing.html")  # type: ignore[union-attr]
    loop = source[source.index("{% for party in") : source.index("</td>", source.index("party in"))]
    rendered = (
        _templates()
        .from_string(loop)
        .render(
            own="ME",
            one=SimpleNamespace(holders=("XK", "AL")),
            w=SimpleNamespace(country=str),
        )
    )
    assert rendered == "ME, XK, AL"


def test_a_page_shows_a_hidden_character_of_a_text_as_its_number() -> None:
    made = _templates().from_string("{{ text }}|{{ text | upper }}|{{ markup }}|{{ 1 }}")
    rendered = made.render(text="a\u202eb<", markup=Markup("<b>\u200d</b>"))
    assert rendered == "a[U+202E]b&lt;|A[U+202E]B&lt;|<b>\u200d</b>|1"
