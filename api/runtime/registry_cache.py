"""The registry as this process knows it, read anew once it is known to have moved."""

from starlette.concurrency import run_in_threadpool

from ledger.application import Ledger
from ledger.procedure.registry import Registry


class RegistryCache:
    """Costs nothing to ask. Who relies on it learns from the database which version is the last."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._known: Registry | None = None

    async def known(self) -> Registry:
        """Return the registry as it was read last.

        Raises ``Refusal`` (``not-adopted``).
        """
        return self._known or await self.anew()

    async def at(self, version: int) -> Registry:
        """Return the registry of a version that the database has, or a later one."""
        known = await self.known()
        return known if known.version >= version else await self.anew()

    async def anew(self) -> Registry:
        """Read the registry as it is now."""
        read = await run_in_threadpool(self._ledger.adopted)
        if self._known is None or read.version >= self._known.version:
            self._known = read
        return self._known
