"""The connections of the ledger's store: the ``eventsourcing`` library's datastore in one role."""

from functools import cached_property
from typing import Any

from eventsourcing.postgres import PostgresDatastore

from ledger.store.database import APP_ROLE, let_go, make_pool

SCHEMA = "ledger"


class LedgerDatastore(PostgresDatastore):
    """The library's datastore over a connection string, in one role."""

    def __init__(
        self, conninfo: str, *, pool_size: int, role: str = APP_ROLE, is_checked: bool = True
    ) -> None:
        super().__init__(dbname="", host="", port="", user="", password="", schema=SCHEMA)
        self._conninfo = conninfo
        self.role = role
        self.pool = make_pool(  # type: ignore[assignment]
            conninfo, role=role, size=pool_size, name="case-ledger-events", is_checked=is_checked
        )

    @cached_property
    def appends(self) -> "LedgerDatastore":
        """Return a datastore of one more connection, for appends alone.

        It does not check first whether the server closed the connection: an append that finds it
        closed is tried again.
        """
        return LedgerDatastore(self._conninfo, pool_size=1, role=self.role, is_checked=False)

    def let_go(self) -> None:
        """Close the pools at once. Callers that wait for a connection get ``OperationalError``."""
        for datastore in (self, self.__dict__.get("appends")):
            if datastore is not None:
                let_go(datastore.pool)

    def close(self) -> None:
        if "appends" in self.__dict__:
            self.appends.close()
        super().close()

    def __exit__(self, *raised: Any) -> None:
        self.close()
