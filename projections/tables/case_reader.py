"""Reads current case views for an event loop: concurrent requests share one statement."""

from asyncio import Future
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from uuid import UUID

from ledger.store.async_batcher import AsyncBatcher
from ledger.store.async_connection import SharedConnection

_CASES_TOGETHER = """
SELECT t.viewer, t.case_id, v.version, v.position, v.document::text AS document
FROM unnest(%(viewers)s::text[], %(cases)s::uuid[]) AS t (viewer, case_id)
JOIN views.case_views v ON v.viewer = t.viewer AND v.case_id = t.case_id
  AND v.slot = (SELECT live_slot FROM views.projections WHERE name = %(projection)s)
"""

_RECORDED = """
SELECT action_id, notification_id FROM ledger.events WHERE action_id = ANY(%s)
"""

_MOST_POSITIONS = 50_000
"""So many positions of actions are kept, some 10 MB."""


@dataclass(frozen=True, slots=True)
class StoredCase:
    """A case view as its projection wrote it: JSON that needs no second validation."""

    version: int
    position: int
    document: str


class CaseReader:
    """Reads the current views of cases for an event loop, concurrent ones in one statement."""

    def __init__(self, lane: SharedConnection) -> None:
        self._lane = lane
        self._cases = AsyncBatcher(self._read_cases)
        self._recorded = AsyncBatcher(self._read_recorded)
        self._positions: dict[UUID, int] = {}

    def case(self, viewer: str, case_id: UUID) -> Future[StoredCase | None]:
        """Return the current view, or ``None`` if the viewer has no view of this case."""
        return self._cases.ask((viewer, case_id))

    async def recorded(self, action_ids: Set[UUID]) -> Mapping[UUID, int]:
        """Return the positions of the recorded actions among ``action_ids``.

        No event changes its position, so those that were read are kept. A database that is put back
        to an earlier state ends this process.
        """
        known = {a: self._positions[a] for a in action_ids if a in self._positions}
        if len(known) < len(action_ids):
            found = await self._recorded.ask(action_ids)
            if len(self._positions) > _MOST_POSITIONS:
                self._positions.clear()
            self._positions.update(found)
            return found
        return known

    async def _read_cases(self, asked: Sequence[tuple[str, UUID]]) -> Sequence[StoredCase | None]:
        distinct = set(asked)
        params = {
            "projection": "case_views",
            "viewers": [viewer for viewer, _ in distinct],
            "cases": [case_id for _, case_id in distinct],
        }
        async with self._lane.connection() as connection:
            cursor = await connection.execute(_CASES_TOGETHER, params, prepare=True)
            found = {
                (row["viewer"], row["case_id"]): StoredCase(
                    row["version"], row["position"], row["document"]
                )
                for row in await cursor.fetchall()
            }
        return [found.get(one) for one in asked]

    async def _read_recorded(self, asked: Sequence[Set[UUID]]) -> Sequence[Mapping[UUID, int]]:
        every = {action_id for action_ids in asked for action_id in action_ids}
        async with self._lane.connection() as connection:
            cursor = await connection.execute(_RECORDED, (list(every),), prepare=True)
            found = {r["action_id"]: r["notification_id"] for r in await cursor.fetchall()}
        return [{a: found[a] for a in action_ids if a in found} for action_ids in asked]
