"""Compares this machine's time zone database with that of the ledger node.

A government changes the rules of its clocks now and then. Two nodes with other rules for a zone of
the protocol compute other deadlines and other days of the agreement. The ledger node's answers with
a signed head name a digest of its rules; a country's node compares it with its own.
"""

from collections.abc import Callable, Mapping, Sequence

from api.client.schemas.health import Effect
from api.runtime.trouble import Trouble
from ledger.procedure.registry import Registry
from ledger.procedure.time_zones import zones_digest

HEADER = "Case-Ledger-Time-Zones"
RULE = "time-zones-differ"


class ZoneComparison:
    """The ledger node's digest as it was received last. Any thread may call the methods."""

    def __init__(self, registry: Callable[[], Registry | None]) -> None:
        self._registry = registry
        self._told: str | None = None

    def hear(self, headers: Mapping[str, str]) -> None:
        """Take in the headers of an answer. An earlier program sends no digest."""
        self._told = headers.get(HEADER, self._told)

    def troubles(self) -> Sequence[Trouble]:
        """Return the trouble that the two machines have other rules for a zone of the protocol."""
        registry, told = self._registry(), self._told
        if registry is None or told is None or told == zones_digest(registry.directory):
            return ()
        message = (
            "This machine's time zone database (tzdata) has other rules than the ledger node's for"
            " a time zone of the protocol. The two nodes may compute other deadlines and other days"
            " of the agreement. Update tzdata on both machines to the same release, and start both"
            " nodes again."
        )
        return (Trouble(rule=RULE, message=message, effect=Effect.WARNING, title="Other zones"),)
