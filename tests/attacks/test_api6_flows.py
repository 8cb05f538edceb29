"""API6:2023: what may be done may still not be done without measure."""

import re

import httpx

from tests.attacks.target import Target, claims, forged, header


def asked(at: Target, agency: str) -> httpx.Response:
    return at.ask("/v1/outbox?limit=1", agency)


def test_one_agency_asks_too_often(narrow: Target) -> None:
    """API6:2023; ASVS V2.4: past its rate an agency waits, and others do not."""
    with narrow.untouched():
        told = [asked(narrow, "al-border") for _ in range(60)]
        late = next(answer for answer in told if answer.is_error)
        narrow.refuses(late, 429, "too-many-requests")
        assert 1 <= int(late.headers["retry-after"]) <= 60
        quota = re.fullmatch(r'"requests";q=(\d+);w=60', told[0].headers["ratelimit-policy"])
        assert quota
        left = [re.match(r'"requests";r=(\d+);t=\d+$', one.headers["ratelimit"]) for one in told]
        counts = [int(one[1]) for one in left if one]
        assert counts == [max(0, int(quota[1]) - n) for n in range(1, 61)]
        assert late.headers["ratelimit"].endswith(f";t={late.headers['retry-after']}")
        assert sum(answer.is_success for answer in told) >= 40
        assert asked(narrow, "al-spak").is_success
        assert narrow.ask("/health", None).is_success


def test_assertions_are_guessed(narrow: Target) -> None:
    """API2:2023, API6:2023; ASVS V6.3: too many failures, and an address is heard no more."""
    key = narrow.key("me-nac")
    elsewhere = {"X-Forwarded-For": "203.0.113.9"}  # leave this machine's own address alone
    with narrow.untouched():
        told = [
            narrow.ask("/v1/agencies", headers=elsewhere, token=forged(header(key), c, key))
            for c in (claims("me-nac", aud="elsewhere") for _ in range(12))
        ]
        assert [answer.status_code for answer in told[:8]] == [401] * 8
        for answer in told[8:]:
            narrow.refuses(answer, 429, "too-many-requests")
            assert 1 <= int(answer.headers["retry-after"]) <= 60
            assert answer.headers["ratelimit"].startswith('"failures";r=0;t=')
        told_now = narrow.ask(
            "/v1/agencies", headers=elsewhere, token=forged(header(key), claims("me-nac"), key)
        )
        narrow.refuses(told_now, 429, "too-many-requests")
        # Another address in the same agency's name is not shut out by that.
        assert narrow.ask("/v1/agencies", "me-nac").is_success


def test_a_network_of_addresses_is_counted_as_one(narrow: Target) -> None:
    """API6:2023: whoever has a /64 has more addresses than could be counted."""
    key = narrow.key("me-nac")
    told = [
        narrow.ask(
            "/v1/agencies",
            headers={"X-Forwarded-For": f"2001:db8::{n:x}"},
            token=forged(header(key), claims("me-nac", aud="elsewhere"), key),
        ).status_code
        for n in range(10)
    ]
    assert told == [401] * 8 + [429] * 2
