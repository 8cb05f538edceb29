"""Keeps the access matrix in the vaults' tables that of the version in force.

Row-level security reads these tables. A version of the protocol comes into force by time alone, so
a running node compares the tables each second while an adopted version is not in force yet. Else it
compares them when the ledger grows, and every few seconds. Only the database's owner may write
them. A reading that needs a cell which the tables do not have yet waits
(``api.services.personal_data_access``).
"""

from collections.abc import Sequence

import structlog

from api.client.schemas.health import Effect
from api.runtime.settings import Settings
from api.runtime.trouble import Trouble
from ledger.application import Ledger
from ledger.procedure.protocol import Protocol
from ledger.store.migrate import access_rows, write_access_matrix
from ledger.system import clock
from ledger.system.backoff import Backoff
from ledger.system.periodic_worker import PeriodicWorker
from ledger.vault.vault import Vaults

_EVERY_SECONDS = 5.0
_PENDING_SECONDS = 1.0
"""The time between two looks while a version waits for its time."""
_BACKOFF = Backoff(1.0, 60.0)
_log = structlog.get_logger(__name__)


class AccessMatrixKeeper(PeriodicWorker):
    """Writes the matrix anew when a version with another one comes into force."""

    def __init__(self, ledger: Ledger, vaults: Vaults, settings: Settings, conninfo: str) -> None:
        self._ledger = ledger
        self._vaults = vaults
        self._owner = _owner_of(settings, conninfo)
        self._written = settings.load_protocol()
        self._behind: Protocol | None = None
        super().__init__(
            "access_matrix",
            self._look,
            every=_EVERY_SECONDS,
            backoff=_BACKOFF,
        )

    def _look(self) -> float:
        self.step()
        registry = self._ledger.known_registry
        if registry is None or registry.agreement.latest.earliest > clock.now():
            return _PENDING_SECONDS
        return _EVERY_SECONDS

    def step(self) -> None:
        """Write the matrix of the version in force where a vault has that of another version.

        Tables that have the matrix of no version were changed from outside. They stay as they are:
        the check of the vaults names the difference.
        """
        registry = self._ledger.registry()
        if registry is None:
            return
        protocol = registry.protocol_today(clock.now())
        wanted = access_rows(protocol)
        known = [access_rows(version) for version in registry.agreement.protocols()]
        stored = {vault.party: vault.access_matrix() for vault in self._vaults}
        outdated = sorted(p for p, rows in stored.items() if rows != wanted and rows in known)
        if not outdated:
            self._written, self._behind = protocol, None
        elif self._owner is None:
            self._behind = protocol
            first = stored[outdated[0]]
            self._written = next(
                version
                for version in registry.agreement.protocols()
                if access_rows(version) == first
            )
        else:
            write_access_matrix(self._owner, protocol, outdated)
            self._written, self._behind = protocol, None
            _log.info("the access matrix is that of another version", version=protocol.version)

    def written(self) -> Protocol:
        """Return the version of which the tables have the matrix."""
        return self._written

    def troubles(self) -> Sequence[Trouble]:
        """Say that the operator has to write the matrix, where this process may not."""
        if self._behind is None:
            return ()
        return (
            Trouble(
                rule="access-matrix-behind",
                title="The access matrix is that of an earlier version",
                message=f"Version {self._behind.version} of the protocol changes who may read"
                " personal data. What it opens is closed here until the database's owner runs"
                " `case-ledger migrate`.",
                effect=Effect.WARNING,
            ),
        )


def _owner_of(settings: Settings, conninfo: str) -> str | None:
    """Return how to connect as the database's owner, where this process may."""
    if settings.owner_database_url is not None:
        return settings.owner_database_url.get_secret_value()
    return conninfo if settings.database_url is None else None
