"""Names and texts that nobody can see are refused; letters of every script are welcome."""

# ruff: noqa: RUF001

import pytest
from pydantic import TypeAdapter, ValidationError

from ledger.procedure.protocol import Protocol, shipped_protocol
from ledger.vocabulary.action import field_adapter
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
