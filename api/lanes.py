"""What requests ask the database from the event loop, without a thread each."""

from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from api.known_registry import KnownRegistry
from api.node import Node
from api.sessions import SessionsInUse
from api.used_assertions import UsedAssertions
from ledger.store.lane import Lane
from ledger.store.migrate import reader_role
from projections.reading import CaseReader


class Lanes:
    """A connection for each sort of question, so that none waits for another sort.

    A country's vault is read in the role of its reader, on a connection that has no other.
    """

    def __init__(self, node: Node) -> None:
        entering, reading = Lane(node.conninfo), Lane(node.conninfo)
        vaults = {v.party: Lane(node.conninfo, role=reader_role(v.party)) for v in node.vaults}
        self.registry = KnownRegistry(node.ledger)
        self.assertions = UsedAssertions(entering)
        self.sessions = SessionsInUse(reading)
        self.cases = CaseReader(reading)
        self.case_rows = {v.party: v.case_rows(vaults[v.party]) for v in node.vaults}
        self._lanes = (entering, reading, *vaults.values())
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for lane in self._lanes:
            await self._stack.enter_async_context(lane)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.aclose()
