"""The events of the audit trail that are marked as having no effect on their case or protocol."""

from dataclasses import dataclass

from ledger.signing.signed_action import Mark
from ledger.store.database import Database

_WITHOUT_EFFECT = """
SELECT count(*) AS events, min(t.position) AS first
FROM views.audit_trail t JOIN views.projections p ON p.name = 'audit_trail' AND p.live_slot = t.slot
WHERE t.document ? 'mark' AND t.document->>'mark' <> %(canonical)s
"""


@dataclass(frozen=True, slots=True)
class EventsWithoutEffect:
    """The number of events without effect."""

    events: int
    first: int
    """The position of the first."""


def events_without_effect(database: Database) -> EventsWithoutEffect | None:
    """Return the marked events without effect, or ``None`` if there are none."""
    values = {"canonical": Mark.NOT_CANONICAL.value}
    with database.connection() as connection:
        row = connection.execute(_WITHOUT_EFFECT, values).fetchone()
    if row is None or not row["events"]:
        return None
    return EventsWithoutEffect(row["events"], row["first"])
