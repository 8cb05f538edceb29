"""A country's node says where its time zone database differs from the ledger node's."""

from collections.abc import Iterator
from datetime import timedelta, timezone, tzinfo

import pytest

from api.exchange.zone_comparison import HEADER, RULE, ZoneComparison
from ledger.procedure.agreement import Agreement
from ledger.procedure.protocol import shipped_protocol
from ledger.procedure.registry import Registry
from ledger.procedure.time_zones import zones_digest
from ledger.system import zones

PROTOCOL = shipped_protocol()
REGISTRY = Registry(Agreement.of(PROTOCOL), {}, 1)


@pytest.fixture(autouse=True)
def no_digest_is_kept() -> Iterator[None]:
    zones.offsets_digest.cache_clear()
    yield
    zones.offsets_digest.cache_clear()


def test_other_rules_of_a_zone_of_the_protocol_are_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = zones_digest(PROTOCOL)
    comparing = ZoneComparison(lambda: REGISTRY)
    assert comparing.troubles() == (), "an earlier program sends no digest"
    comparing.hear({HEADER: told})
    comparing.hear({})
    assert comparing.troubles() == ()
    known = zones.find_zone

    def other(name: str) -> tzinfo | None:
        """Return the zones of a machine on which Tirana keeps its summer time for ever."""
        return timezone(timedelta(hours=2)) if name == "Europe/Tirane" else known(name)

    monkeypatch.setattr(zones, "find_zone", other)
    zones.offsets_digest.cache_clear()
    (trouble,) = comparing.troubles()
    assert (trouble.rule, trouble.effect) == (RULE, "warning")
