"""What one running node holds: the ledger, the vaults of its countries, and the views."""

import threading
from contextlib import ExitStack
from datetime import timedelta
from types import TracebackType
from typing import Self

import structlog

from api.assertions import Assertions
from api.publishing import Publisher
from api.settings import Settings
from ledger.application import Ledger, environment
from ledger.store.database import Database
from ledger.vault import Vaults
from projections.reading import ViewReader
from projections.runner import Followers

_ORPHAN_AGE = timedelta(minutes=10)
_SWEEP_EVERY = timedelta(minutes=10)
_log = structlog.get_logger(__name__)


class Node:
    """Opens everything on entry and closes it on exit."""

    def __init__(self, settings: Settings, conninfo: str) -> None:
        self.settings = settings
        self.conninfo = conninfo
        self.database = Database(conninfo, max_size=settings.pool_size)
        self.ledger = Ledger(environment(conninfo, pool_size=settings.pool_size))
        countries = settings.countries or tuple(settings.load_protocol().party_codes)
        self.vaults = Vaults(self.database, countries)
        self.views = ViewReader(self.database)
        self.assertions = Assertions(self.database, settings.audience)
        self.publisher = Publisher(settings, self.ledger, self.database)
        self._stopping = threading.Event()
        self._sweeper = threading.Thread(target=self._sweep_regularly, name="sweep")
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(self.database)
        self._stack.enter_context(self.ledger)
        self._stack.enter_context(Followers(self.conninfo))
        self._stack.enter_context(self.publisher)
        self._sweeper.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._sweeper.join()
        self._stack.close()

    def sweep(self) -> int:
        """Remove disclosures of actions that were never recorded, and old assertions.

        A crash between taking in disclosures and recording their action leaves such.
        Returns how many actions' disclosures were removed.
        """
        self.assertions.forget_expired()
        removed = 0
        for vault in self.vaults:
            held = vault.actions_older_than(_ORPHAN_AGE)
            orphans = set(held) - self.ledger.rows.recorded_action_ids(held)
            if orphans:
                vault.discard(sorted(orphans))
                removed += len(orphans)
        return removed

    def _sweep_regularly(self) -> None:
        while not self._stopping.is_set():
            try:
                if removed := self.sweep():
                    _log.info("disclosures of unrecorded actions removed", actions=removed)
            except Exception as error:
                _log.warning("sweep failed", error=type(error).__name__)
            self._stopping.wait(_SWEEP_EVERY.total_seconds())
