"""A PostgreSQL that is too old is named, and nothing is left behind on it."""

import psycopg
import pytest

from api.runtime.node_database import StoreError, check_migrated, create_database
from api.runtime.schema import migrate_all
from ledger.procedure.protocol import shipped_protocol
from ledger.store import database
from ledger.store.migrate import MigrationError
from tests.support.databases import new_database

LEFT_BEHIND = """
SELECT (SELECT count(*) FROM pg_namespace WHERE nspname IN ('migrations', 'ledger'))
    + (SELECT count(*) FROM pg_database WHERE datname = 'case_ledger_never')
"""


def test_an_old_server_is_named_and_left_as_it_was(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with new_database(server) as url:
        monkeypatch.setattr(database, "OLDEST_SERVER", 99)
        protocol = shipped_protocol()
        with pytest.raises(MigrationError, match=r"PostgreSQL \d+\.\d+, .*needs 99 or newer"):
            migrate_all(url, protocol)
        with pytest.raises(StoreError, match="needs 99 or newer"):
            check_migrated(url, protocol.party_codes)
        with pytest.raises(StoreError, match="needs 99 or newer"):
            create_database(server, "case_ledger_never")
        with psycopg.connect(url) as connection:
            assert connection.execute(LEFT_BEHIND).fetchone() == (0,)
