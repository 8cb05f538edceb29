"""Requests are counted from the first one on, and forgotten after a minute."""

import time

import pytest

from api.runtime import rate_limit
from api.runtime.rate_limit import Rate


def test_a_rate_is_met_and_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    rate = Rate(3)
    assert not rate.is_met("a")
    assert [rate.count("a") for _ in range(5)] == [True, True, True, False, False]
    assert rate.is_met("a")
    assert not rate.is_met("b")
    assert rate.count("b")
    now += 45
    assert rate.seconds("a") == 15
    assert not rate.count("a")
    now += 15
    assert not rate.is_met("a")
    assert rate.count("a")
    assert rate.seconds("a") == 60


def test_who_is_not_heard_of_again_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    rate = Rate(3)
    for number in range(1_000):
        rate.count(str(number))
    now += 2 * rate_limit._WINDOW_SECONDS
    rate.count("another")
    assert len(rate._counts) == len(rate._over_at) == 1
