"""Names and texts that nobody can see are refused; letters of every script are welcome."""

# ruff: noqa: RUF001

import io

import pytest
from pydantic import TypeAdapter, ValidationError
from rich.table import Table

from api.cli.output import ShownConsole
from ledger.procedure.protocol import Protocol, shipped_protocol
from ledger.vocabulary.action import field_adapter
from ledger.vocabulary.characters import shown_text
from ledger.vocabulary.identification import CaseOpened
from ledger.vocabulary.types import RECORDED, Name, Text

_NAME, _TEXT = TypeAdapter[str](Name), TypeAdapter[str](Text)

WELCOME = [
    "Arta Krasniqi", "Ëndërr Çeku", "Nikšić", "Đorđe Ž.", "Љубица Његош", "O'Neill-Hoxha", "Šejla",
    "محمد عبد الله", "پریسا می\u200cخواهم", "ഡോ. മനോജ്", "क्\u200dष", "李小龙", "יוסף",
    "e\u0301va", "№ 7", "7", "N. N.",
]  # fmt: skip
REFUSED = {
    "NUL": "Arta\x00Krasniqi",
    "escape": "Arta\x1b[31m",
    "line": "Arta\nKrasniqi",
    "C1": "Arta\x9b",
    "override": "Arta\u202eiqinsarK",
    "embedding": "\u202bArta",
    "isolate": "Arta\u2066x\u2069",
    "mark of direction": "Arta\u200f",
    "Arabic mark": "Arta\u061c",
    "zero width space": "Ar\u200bta",
    "joiner at the end": "Arta\u200d",
    "joiner before a space": "Arta\u200c Krasniqi",
    "byte order mark": "\ufeffArta",
    "soft hyphen": "Ar\u00adta",
    "tag": "Arta\U000e0041",
    "line separator": "Ar\u2028ta",
    "nothing": "\u3164",
    "Braille blank": "\u2800\u2800",
    "a mark alone": "\u0301",
    "joiners alone": "\u200d\u200c",
    "surrogate": "Arta\ud800",
}


@pytest.mark.parametrize("name", WELCOME)
def test_names_of_every_script(name: str) -> None:
    assert _NAME.validate_python(name) == name
    assert _TEXT.validate_python(name) == name


@pytest.mark.parametrize("which", REFUSED)
def test_what_is_no_name(which: str) -> None:
    with pytest.raises(ValidationError):
        _NAME.validate_python(REFUSED[which])
    with pytest.raises(ValidationError):
        field_adapter(CaseOpened, "first_name").validate_python(REFUSED[which])


def test_what_is_no_text() -> None:
    assert _TEXT.validate_python("one\n\ttwo\r\nthree\u200f 👩\u200d👧") == (
        "one\n\ttwo\r\nthree\u200f 👩\u200d👧"
    )
    for which in ("NUL", "escape", "C1", "override", "embedding", "isolate", "nothing"):
        with pytest.raises(ValidationError):
            _TEXT.validate_python(REFUSED[which])


def test_what_was_recorded_before_is_still_read() -> None:
    for which in ("NUL", "override", "zero width space"):
        assert _NAME.validate_python(REFUSED[which], context=RECORDED) == REFUSED[which]
        assert _TEXT.validate_python(REFUSED[which], context=RECORDED) == REFUSED[which]


def test_a_protocol_names_agencies_that_can_be_seen() -> None:
    content = shipped_protocol().model_dump(mode="json")
    content["agencies"][0]["name"] = "Police\u202e"
    with pytest.raises(ValidationError, match="which nobody can see"):
        Protocol.model_validate(content)
    # Of an earlier edition it was adopted, and is judged as then.
    Protocol.model_validate(content | {"edition": 1})


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("one\n\ttwo\r\nthree", "one\n\ttwo\r\nthree"),
        ("Një vendim — «копија», 100 %", "Një vendim — «копија», 100 %"),
        ("می\u200cخواهم 👩\u200d👧", "می\u200cخواهم 👩\u200d👧"),
        ("in\u202egnp.exe", "in[U+202E]gnp.exe"),
        ("a\u2066b\u2069\u200f", "a[U+2066]b[U+2069][U+200F]"),
        ("no\u200bbody\u2060\ufeff\u00ad", "no[U+200B]body[U+2060][U+FEFF][U+00AD]"),
        ("\x1b[2J\x00\x1c\u2028", "[U+001B][2J[U+0000][U+001C][U+2028]"),
        (" \u200d ", " [U+200D] "),
    ],
)
def test_a_hidden_character_in_a_text_is_shown_as_its_number(text: str, shown: str) -> None:
    assert shown_text(text) == shown
    assert shown_text(shown) == shown


def test_a_command_shows_no_hidden_character() -> None:
    written = io.StringIO()
    console = ShownConsole(file=written, force_terminal=True, width=60)
    table = Table("Title")
    table.add_row("in\u202egnp\x1b[2J")
    console.print(table)
    assert "\u202e" not in written.getvalue()
    assert "\x1b[2J" not in written.getvalue()
    assert "in[U+202E]gnp[U+001B][2J" in written.getvalue()
