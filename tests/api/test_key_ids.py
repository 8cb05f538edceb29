"""A key's id is a value in every command, also one that begins with a hyphen."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from typer.testing import CliRunner

from api.cli import app
from api.cli.connection import AtNode
from api.cli.key_ids import id_last

HYPHEN = "-kWUZo0k9mwI2ruUGYYYd77V7898s3R8yIHq9dEkXrc"


class NoLedger(Exception):
    """Ends a command where it would send its action."""


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the ids of the keys whose actions commands would send."""
    ids: list[str] = []

    class Client:
        def append_to_registry(self, fields: Any) -> None:
            ids.append(fields.key_id)
            raise NoLedger

    @contextmanager
    def connect(*_: object) -> Iterator[Client]:
        yield Client()

    monkeypatch.setattr(AtNode, "connect", connect)
    return ids


@pytest.mark.parametrize("name", ["revoke", "compromised"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_id_with_a_hyphen_first_is_the_commands_key(
    sent: list[str], name: str, place: int
) -> None:
    words = [["-a", "xk-nac"], ["--url", "http://127.0.0.1:1"]]
    if name == "compromised":
        words.append(["--since", "2026-01-01T00:00:00Z"])
    words.insert(place, [HYPHEN])
    done = CliRunner().invoke(app, ["keys", name, *(word for few in words for word in few)])
    assert sent == [HYPHEN], done.output


def test_other_words_stay_where_they_are() -> None:
    for words in (["-a", "xk-nac", "k" * 43], ["--", HYPHEN], ["-v", "-" + "a" * 41], []):
        assert id_last(words) == words
