"""Records prepared cases in one transaction: disclosures and events, neither without the other."""

from collections.abc import Callable, Sequence
from datetime import datetime

from psycopg import Connection
from psycopg.rows import DictRow

from ledger.importing.preparing import ReadyCase
from ledger.store.bulk_append import Stretch, record_new
from ledger.store.database import APP_ROLE, Database, set_local_role
from ledger.store.event_rows import Guard
from ledger.store.migrate import vault_role
from ledger.vault.bulk_deposits import deposit_new


def record_cases(
    database: Database,
    party: str,
    cases: Sequence[ReadyCase],
    guard: Guard,
    check: Callable[[datetime], None],
    put_numbers: Callable[[Connection[DictRow]], None] = lambda _: None,
) -> Stretch:
    """Record each case whole, or none of them; they are durable on return.

    ``check`` gets the time of recording, and refuses all cases by raising. ``put_numbers`` stores
    the cases' file numbers in the vault's role. Raises as
    :func:`record_new` and :func:`deposit_new` do. The vault's part comes first: it needs no lock
    that other processes wait for.
    """
    deposits = [deposit for case in cases for deposit in case.deposits]
    events = [event for case in cases for event in case.events]
    with database.transaction(role=vault_role(party)) as connection:
        deposit_new(connection, party, [case.case_id for case in cases], deposits)
        put_numbers(connection)
        set_local_role(connection, APP_ROLE)
        stretch = record_new(connection, events, guard)
        check(stretch.recorded_at)
    return stretch
