"""The connections of the ledger's store: the ``eventsourcing`` library's datastore in one role."""

from functools import cached_property, partial
from typing import Any

from eventsourcing.postgres import PostgresDatastore
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from ledger.store.database import APP_ROLE, PooledConnection, check_is_there, configure

SCHEMA = "ledger"


class LedgerDatastore(PostgresDatastore):
    """The library's datastore over a connection string, in one role."""

    def __init__(
        self, conninfo: str, *, pool_size: int, role: str = APP_ROLE, is_checked: bool = True
    ) -> None:
        super().__init__(dbname="", host="", port="", user="", password="", schema=SCHEMA)
        self._conninfo = conninfo
        self._role = role
        self.pool = ConnectionPool(  # type: ignore[assignment]
            conninfo,
            connection_class=PooledConnection,
            kwargs={"row_factory": dict_row},
            min_size=1,
            max_size=pool_size,
            open=False,
            configure=partial(configure, role=role),
            check=check_is_there if is_checked else None,
            timeout=10.0,
            name="case-ledger-events",
        )

    @cached_property
    def appends(self) -> "LedgerDatastore":
        """One more connection, for appends alone.

        It is not looked at first whether it is still there: an append that finds it gone is tried
        again.
        """
        return LedgerDatastore(self._conninfo, pool_size=1, role=self._role, is_checked=False)

    def close(self) -> None:
        if "appends" in self.__dict__:
            self.appends.close()
        super().close()

    def __exit__(self, *raised: Any) -> None:
        self.close()
