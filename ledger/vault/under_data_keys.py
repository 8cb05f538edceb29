"""The base of tables in a country's vault whose values are sealed under the persons' data keys."""

from collections.abc import Callable
from uuid import UUID

from psycopg.sql import Identifier

from ledger.store.database import Database
from ledger.store.migrate import reader_role, vault_role, vault_schema
from ledger.vault.data_keys import DataKeys


class UnderDataKeys:
    """Tables in one country's vault, with the roles that write and open them."""

    def __init__(
        self,
        database: Database,
        party: str,
        keys: DataKeys,
        data_key: Callable[[UUID], bytes],
    ) -> None:
        """Prepare the tables. ``data_key`` returns the key of a person, and makes the first one."""
        self._database = database
        self._keys = keys
        self._data_key = data_key
        self._role, self._reader = vault_role(party), reader_role(party)
        self._schema = Identifier(vault_schema(party))
