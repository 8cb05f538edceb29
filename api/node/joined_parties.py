"""The trouble of a node that plays every party and was started before one of them joined."""

from collections.abc import Collection, Sequence

from api.client.schemas.health import Effect
from api.runtime.trouble import Trouble
from ledger.procedure.registry import Registry

RULE = "restart-due"


def restart_troubles(
    registry: Registry | None, parties: Collection[str], *, plays_every_party: bool
) -> Sequence[Trouble]:
    """Return the trouble that a party joined after this process started.

    ``parties`` are those that the process plays. A node whose countries are named plays these
    alone, and follows the agreement without a start.
    """
    if registry is None or not plays_every_party:
        return ()
    joined = sorted(registry.directory.every_party_code - set(parties))
    if not joined:
        return ()
    named = ", ".join(joined)
    message = (
        f"{named} joined the agreement after this process started. CASE_LEDGER_COUNTRIES is not"
        f" set, so this node plays every party, but not yet {named}: it has no vault, no witness"
        " and no notices for that party. If the party has a node of its own, name the countries of"
        " this node in CASE_LEDGER_COUNTRIES. Else let the database's owner run `case-ledger"
        " migrate`. Then start this node again."
    )
    return (Trouble(rule=RULE, message=message, effect=Effect.WARNING, title="Start it again"),)
