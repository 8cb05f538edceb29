"""The whole database: every package's migrations, and the roles they grant to."""

from collections.abc import Sequence
from importlib import resources

from ledger.protocol import Protocol
from ledger.store.migrate import (
    Component,
    ledger_components,
    migrate,
    vault_role,
    witness_component,
    witness_role,
)
from projections.schema import view_component
from projections.view import PROJECTOR_ROLE


def migrate_all(conninfo: str, protocol: Protocol, *, grant_to: str | None = None) -> list[str]:
    """Bring a database up to date, as its owner. Returns the migrations applied.

    ``grant_to`` is the login that the API connects with. Raises ``MigrationError``.
    """
    parties = sorted(protocol.party_codes)
    return migrate(conninfo, _components(parties), roles=needed_roles(parties), grant_to=grant_to)


def _components(parties: Sequence[str]) -> tuple[Component, ...]:
    api = Component("api", resources.files("api") / "migrations")
    witnesses = map(witness_component, parties)
    return (*ledger_components(parties), *witnesses, view_component(), api)


def needed_roles(parties: Sequence[str]) -> tuple[str, ...]:
    """The roles that the API's login takes, besides the application's own."""
    return (PROJECTOR_ROLE, *map(vault_role, parties), *map(witness_role, parties))
