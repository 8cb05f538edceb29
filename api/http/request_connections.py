"""Database questions of requests on the event loop, without a thread each."""

from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self, TypeAlias
from uuid import UUID

from psycopg.rows import DictRow
from starlette.concurrency import run_in_threadpool

from api.authentication.replay_guard import UsedAssertions
from api.authentication.sessions import SessionsInUse
from api.node.node import Node
from api.runtime.registry_cache import RegistryCache
from ledger.store.async_batcher import AsyncBatcher
from ledger.store.async_connection import SharedConnection
from ledger.store.migrate import reader_role
from ledger.vault.held_fields import HeldFields
from ledger.vault.vault import Vault
from projections.tables.case_reader import CaseReader

_Sealed: TypeAlias = tuple[Vault, UUID, Sequence[DictRow]]


class RequestConnections:
    """A connection for each sort of question, so that none waits for another sort.

    A country's vault is read in the role of its reader, on a connection that has no other.
    """

    def __init__(self, node: Node) -> None:
        entering, reading = SharedConnection(node.conninfo), SharedConnection(node.conninfo)
        vaults = {
            v.party: SharedConnection(node.conninfo, role=reader_role(v.party)) for v in node.vaults
        }
        self.registry = RegistryCache(node.ledger)
        self.assertions = UsedAssertions(entering, node.clock.moments)
        self.sessions = SessionsInUse(reading)
        self.cases = CaseReader(reading)
        self.case_rows = {v.party: v.case_rows(vaults[v.party]) for v in node.vaults}
        self._opening = AsyncBatcher(_open_all)
        self._lanes = (entering, reading, *vaults.values())
        self._stack = AsyncExitStack()

    async def opened(self, vault: Vault, case_id: UUID, rows: Sequence[DictRow]) -> HeldFields:
        """Open the fields of a vault's rows; one thread opens those of concurrent requests.

        Raises as :meth:`Vault.case_fields`.
        """
        found = await self._opening.ask((vault, case_id, rows))
        if isinstance(found, Exception):
            raise found
        return found

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


async def _open_all(some: Sequence[_Sealed]) -> Sequence[HeldFields | Exception]:
    return await run_in_threadpool(_opened, some)


def _opened(some: Sequence[_Sealed]) -> Sequence[HeldFields | Exception]:
    cases: dict[str, tuple[Vault, set[UUID]]] = {}
    for vault, case_id, _ in some:
        cases.setdefault(vault.party, (vault, set()))[1].add(case_id)
    withheld = {party: vault.withheld(of_vault) for party, (vault, of_vault) in cases.items()}
    return [_open(*one, withheld[one[0].party]) for one in some]


def _open(
    vault: Vault, case_id: UUID, rows: Sequence[DictRow], withheld: Collection[UUID]
) -> HeldFields | Exception:
    try:
        return vault.opened(case_id, rows, withheld=withheld)
    except Exception as error:  # that of one person is not the others'
        return error
