"""Requests are counted from the first one on, and forgotten after a minute."""

import time
from contextvars import copy_context

import pytest

from api.runtime import rate_limit, rate_limit_fields
from api.runtime.counts import LocalCounts
from api.runtime.rate_limit import Rate


def test_a_rate_is_met_and_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    rate = Rate(3, "requests")
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
    rate = Rate(3, "requests")
    for number in range(1_000):
        rate.count(str(number))
    now += 2 * rate_limit._WINDOW_SECONDS
    rate.count("another")
    assert isinstance(rate._counts, LocalCounts)
    assert len(rate._counts._counts) == 1


def test_an_answer_says_how_each_limit_stands_that_it_met(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 1_000.0)
    asked, searched = Rate(2, "requests"), Rate(20, "searches")
    said = []
    for _ in range(3):
        with rate_limit_fields.collecting() as met:
            asked.count("a")
        said.append(dict(rate_limit_fields.fields(met))[b"ratelimit"])
    assert said == [b'"requests";r=1;t=60', b'"requests";r=0;t=60', b'"requests";r=0;t=60']
    with rate_limit_fields.collecting() as met:
        # A thread of the request has a copy of its context.
        for rate in (asked, searched):
            copy_context().run(rate.count, "b")
        rate_limit_fields.note(rate_limit_fields.Standing("searches-a-day", 200, 86400, 7, None))
    assert rate_limit_fields.fields(met) == [
        (b"ratelimit-policy", b'"requests";q=2;w=60, "searches";q=20;w=60,'
         b' "searches-a-day";q=200;w=86400'),
        (b"ratelimit", b'"requests";r=1;t=60, "searches";r=19;t=60, "searches-a-day";r=7'),
    ]  # fmt: skip
    assert rate_limit_fields.fields({}) == []
    asked.count("outside of any request")
