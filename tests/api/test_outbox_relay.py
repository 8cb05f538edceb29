"""A country's node tells from the answers to its actions whether the ledger node is away."""

from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from api.client import RefusedError
from api.client.schemas import ProblemDetails
from api.exchange.outbox_relay import OutboxRelay, UndecidedError


class Outbox:
    """An outbox with these actions."""

    def __init__(self) -> None:
        self.waiting: list[Any] = []
        self.is_away = False

    def last_seq(self) -> int:
        return 0

    def due(self, limit: int, _again_after: object, later: list[Any]) -> list[Any]:
        if self.is_away:
            raise psycopg.OperationalError
        return [one for one in self.waiting if one.action_id not in later][:limit]

    def confirm(self) -> None:
        pass

    def unchecked(self, _size: int) -> list[Any]:
        return []


class Client:
    def submit(self, *_: object) -> None:
        raise httpx.ReadError("the answer is lost")


def forwarder(outbox: Outbox, told: list[bool]) -> OutboxRelay:
    rows = SimpleNamespace(frontier=lambda: SimpleNamespace(size=0))
    made: Any = OutboxRelay(
        outbox,  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]
        SimpleNamespace(rows=rows, head=lambda: 0),  # type: ignore[arg-type]
        Client(),  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]
        lambda: True,
        lambda: told.append(made.reachable),
    )
    return made  # type: ignore[no-any-return]


def test_an_action_that_came_by_the_copy_after_its_answer_was_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("api.exchange.outbox_relay._LATER_SECONDS", (0.0,))
    outbox, told = Outbox(), []
    relay = forwarder(outbox, told)
    outbox.waiting = [
        SimpleNamespace(action_id=uuid4(), case_id=None, case_version=0, sd_jwt="a.b.c~")
    ]
    with pytest.raises(UndecidedError):
        relay._step()
    assert not relay.reachable
    outbox.waiting = []
    assert relay._step() is not None
    assert relay.reachable
    assert told[-1]


@pytest.mark.parametrize(
    ("rule", "trouble"),
    [("unknown-kind", "ledger-node-outdated"), ("request", "no-signed-decision")],
)
def test_an_older_ledger_node_is_named_and_the_action_is_kept(
    rule: str, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.exchange.outbox_relay._LATER_SECONDS", (0.0,))
    outbox = Outbox()
    outbox.waiting = [
        SimpleNamespace(action_id=uuid4(), case_id=None, case_version=0, sd_jwt="a.b.c~")
    ]
    relay = forwarder(outbox, [])

    def refuse(*_: object) -> None:
        raise RefusedError(ProblemDetails(type="urn:test", title="No", status=422, rule=rule))

    monkeypatch.setattr(relay._client, "submit", refuse)
    for _ in range(3):
        with pytest.raises(UndecidedError):
            relay._step()
    assert [one.rule for one in relay.troubles()] == [trouble]
    assert len(outbox.waiting) == 1


def test_trouble_with_the_own_database_says_nothing_of_the_ledger_node() -> None:
    outbox = Outbox()
    outbox.is_away = True
    relay = forwarder(outbox, [])
    with pytest.raises(psycopg.OperationalError):
        relay._step()
    assert relay.reachable
