"""The table of what a node found in its history."""

from datetime import datetime

from rich.table import Table

from api.keys.country_keys import country_keys, person_keys
from api.keys.log_keys import own_parties
from api.runtime.settings import Settings
from ledger.replication.history_mark import OperatorDecision
from ledger.store.database import Database
from ledger.vault.vault import Vaults


def vaults_of(settings: Settings, database: Database) -> Vaults:
    """Return the vaults of this node's countries."""
    keys = country_keys(settings, own_parties(settings))
    return Vaults(database, person_keys(settings, keys))


def history_table(decisions: tuple[OperatorDecision, ...]) -> Table:
    """Return a table of the operators' decisions on the history."""
    table = Table("decided", "by", "why", "reached", "goes on from")
    for one in decisions:
        table.add_row(
            _told(one.decided_at),
            one.decided_by,
            one.why,
            str(one.seen),
            str(one.goes_on_from.size),
        )
    return table


def _told(moment: datetime) -> str:
    return f"{moment:%d %b %Y %H:%M:%S} UTC"
