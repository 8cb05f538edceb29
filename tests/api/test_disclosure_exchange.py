"""Queueing what events disclose goes no further than the registry that judges them."""

from types import SimpleNamespace
from typing import Any

import pytest

from api.exchange import contact_cards
from api.exchange.disclosure_exchange import DisclosureExchange, _Way


class Vault:
    """Notes how far the events were followed."""

    party = "XK"

    def __init__(self) -> None:
        self.followed: list[int] = []

    def progress(self, _: str) -> int:
        return self.followed[-1] if self.followed else 0

    def advance(self, _: str, position: int) -> None:
        self.followed.append(position)


class GrowingLedger:
    """A ledger to which an event comes each time that its registry was read."""

    def __init__(self) -> None:
        self.size = 1

    def head(self) -> int:
        return self.size

    def registry(self) -> Any:
        self.size += 1
        return SimpleNamespace(ledger_id=None)

    def rows_after(self, position: int, limit: int) -> list[Any]:
        upto = min(self.size, position + limit)
        return [SimpleNamespace(position=place) for place in range(position + 1, upto + 1)]

    def cases(self, _: Any) -> dict[Any, Any]:
        return {}


def test_an_event_that_came_after_the_registry_was_read_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vault, ledger = Vault(), GrowingLedger()
    exchange = DisclosureExchange(ledger, (), SimpleNamespace(), lambda: "log")  # type: ignore[arg-type]
    way = _Way(vault, "AL", "log")  # type: ignore[arg-type]
    seen: list[list[int]] = []
    monkeypatch.setattr(exchange, "_ways", lambda *_: [way])
    monkeypatch.setattr(exchange, "_give_cards_again", lambda *_: None)
    monkeypatch.setattr(exchange, "_queue_rows", lambda *_: None)
    monkeypatch.setattr("api.exchange.disclosure_exchange._by_case", lambda *_: {})
    monkeypatch.setattr(contact_cards, "given", lambda rows, _: seen.append(positions(rows)))
    monkeypatch.setattr(contact_cards, "queue", lambda *_: None)
    for _ in range(3):
        assert not exchange.queue()
    assert (seen, vault.followed) == ([[1], [2], [3]], [1, 2, 3])


def positions(rows: list[Any]) -> list[int]:
    return [row.position for row in rows]
