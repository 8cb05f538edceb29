"""The whole database: every package's migrations, and the roles they grant to."""

from collections.abc import Sequence
from importlib import resources

from ledger.procedure.protocol import Protocol
from ledger.store.migrate import (
    Component,
    ledger_components,
    migrate,
    reader_role,
    vault_role,
    witness_component,
    witness_role,
    write_access_matrix,
)
from projections.tables.schema import view_component
from projections.tables.view import PROJECTOR_ROLE


def migrate_all(conninfo: str, protocol: Protocol, *, grant_to: str | None = None) -> list[str]:
    """Bring a database up to date, as its owner. Returns the migrations applied.

    ``grant_to`` is the login that the API connects with. Raises ``MigrationError``.
    """
    parties = sorted(protocol.every_party_code)
    applied = migrate(
        conninfo, _components(parties), roles=needed_roles(parties), grant_to=grant_to
    )
    write_access_matrix(conninfo, protocol, parties)
    return applied


def _components(parties: Sequence[str]) -> tuple[Component, ...]:
    api = Component("api", resources.files("api") / "migrations")
    witnesses = map(witness_component, parties)
    return (*ledger_components(parties), *witnesses, view_component(), api)


def needed_roles(parties: Sequence[str]) -> tuple[str, ...]:
    """Return the roles that the API's login takes, besides the application's own."""
    of_parties = (f(party) for f in (vault_role, reader_role, witness_role) for party in parties)
    return (PROJECTOR_ROLE, *of_parties)
