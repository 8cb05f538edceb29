"""The tables, roles and keys of one country's vault, which its readers and writers share."""

from collections.abc import Callable, Collection
from uuid import UUID

from psycopg.sql import SQL, Identifier

from ledger.store.database import Database
from ledger.store.migrate import reader_role, vault_role, vault_schema
from ledger.vault.data_keys import DataKeys

AnnulledActions = Callable[[Collection[UUID]], Collection[UUID]]
"""Returns the actions of some cases that are annulled now, by the ledger."""


class VaultTables:
    """The database has nothing in clear: each person's disclosures are under a key of their own."""

    def __init__(
        self,
        database: Database,
        party: str,
        keys: DataKeys,
        annulled: AnnulledActions = lambda _: (),
    ) -> None:
        self.party = party
        self.keys = keys
        self._annulled = annulled
        self._database = database
        self._role = vault_role(party)
        self._reader = reader_role(party)
        self._erased = SQL("{}.erased").format(Identifier(vault_schema(party)))
        self._progress = SQL("{}.progress").format(Identifier(vault_schema(party)))
        self._aside = SQL("{}.set_aside").format(Identifier(vault_schema(party)))
        self._table = SQL("{}.disclosures").format(Identifier(vault_schema(party)))
        self._inventory = SQL("{}.deposits").format(Identifier(vault_schema(party)))
        self._agency_values = SQL("{}.agency_values").format(Identifier(vault_schema(party)))
        self._drafts = SQL("{}.drafts").format(Identifier(vault_schema(party)))
        self._working_notes = SQL("{}.working_notes").format(Identifier(vault_schema(party)))
