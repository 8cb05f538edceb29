"""Tells the owner of a vault's tables from other logins. Row-level security lets the owner by."""

from psycopg import Connection
from psycopg.rows import DictRow

from ledger.store.migrate import vault_schema


class NotOwnerError(ValueError):
    """The login does not own the vault's schema."""


def check_owner(connection: Connection[DictRow], party: str) -> None:
    """Check that a connection's login owns a vault's schema. Raises ``NotOwnerError``."""
    schema = vault_schema(party)
    owns = "SELECT pg_has_role(nspowner, 'USAGE') AS owns FROM pg_namespace WHERE nspname = %s"
    found = connection.execute(owns, (schema,)).fetchone()
    if found is None or not found["owns"]:
        raise NotOwnerError(
            f"the login does not own the schema {schema}: name the database's owner in "
            "CASE_LEDGER_OWNER_DATABASE_URL"
        )
