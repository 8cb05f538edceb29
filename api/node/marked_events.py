"""The warning of readiness about recorded events that this program does not understand."""

from collections.abc import Sequence

from api.client.schemas.health import Effect
from api.runtime.trouble import Trouble
from ledger.store.database import Database
from projections.tables.marked_events import events_without_effect


def marked_troubles(database: Database) -> Sequence[Trouble]:
    """Return the trouble that events have no effect here, with what the operator must do."""
    found = events_without_effect(database)
    if found is None:
        return ()
    return (
        Trouble(
            rule="events-not-understood",
            message=f"{found.events} recorded events have no effect here, the first at position"
            f" {found.first}. They keep their place and are marked on the trail."
            " Run `case-ledger verify ledger`: it says of each whether it is a fault.",
            effect=Effect.WARNING,
        ),
    )
