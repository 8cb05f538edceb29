"""Begins the ledger of a demonstration: the adoption, the keys, and a client of each agency."""

from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

from joserfc.jwk import OKPKey

from api.client import LedgerClient
from api.keys.country_keys import country_key
from api.runtime.schema import migrate_all
from api.runtime.settings import Settings
from ledger.application import Ledger, environment
from ledger.procedure.amendments import text_of
from ledger.procedure.protocol import COORDINATOR, KeyChange, Protocol
from ledger.signing import keys, signed_action
from ledger.signing.key_possession import grant_of, request_of
from ledger.vocabulary.registration import (
    CountryKeyRegistered,
    KeyChangeConfirmed,
    KeyGrant,
    KeyRegistered,
    KeyRequest,
    ProtocolAdopted,
)

BEFORE = datetime(2025, 11, 1, tzinfo=UTC)
"""Before the first act of the story of two children."""


class Players:
    """One client for each agency of the protocol, each with a key of its own."""

    def __init__(
        self,
        url: str,
        protocol: Protocol,
        held: Mapping[str, OKPKey],
        audience: str = "case-ledger",
    ) -> None:
        self._stack = ExitStack()
        self._clients = {
            agency: self._stack.enter_context(
                LedgerClient(url, agency=agency, key=key, protocol=protocol.id, audience=audience)
            )
            for agency, key in held.items()
        }

    def __getitem__(self, agency: str) -> LedgerClient:
        return self._clients[agency]

    def close(self) -> None:
        self._stack.close()


def prepared_ledger(owner: str, conninfo: str, protocol: Protocol, directory: Path) -> str:
    """Migrate, make every agency's key, and adopt the protocol. Gives ``conninfo`` back."""
    migrate_all(owner, protocol)
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    for agency in protocol.agencies:
        path = directory / f"{agency.id}.jwk"
        path.unlink(missing_ok=True)
        keys.save(keys.generate(), path)
    # A key signs one history. With it go its public part, which marks it as used, and the mark of
    # how far the history had come.
    for pattern in ("log.*", "witness-*", "history-mark*"):
        for path in directory.glob(pattern):
            path.unlink()
    coordinators = [a.id for a in protocol.agencies if a.role == COORDINATOR]
    held = {c: keys.load(directory / f"{c}.jwk") for c in coordinators}
    adopted = ProtocolAdopted(
        acted_at=BEFORE,
        protocol=text_of(protocol),
        keys=tuple(_grant_of(protocol, agency, key) for agency, key in held.items()),
    )
    first = coordinators[0]
    signed = signed_action.sign(
        adopted, agency=first, key=held[first], protocol=protocol.id, case_id=None
    )
    with Ledger(environment(conninfo)) as ledger:
        ledger.append_to_registry(signed_action.read(signed))
    return conninfo


def register_agencies(players: Players, protocol: Protocol, held: Mapping[str, OKPKey]) -> None:
    """Register the key of every agency that the adoption did not name."""
    for agency in protocol.agencies:
        if agency.role != COORDINATOR:
            register_key(players, protocol, _grant_of(protocol, agency.id, held[agency.id]), BEFORE)


def register_key(players: Players, protocol: Protocol, grant: KeyGrant, acted_at: datetime) -> None:
    """Register a key; where the protocol asks for it, confirm it as another coordinator."""
    owner = protocol.agencies_by_id[grant.agency]
    coordinators = [a for a in protocol.agencies if a.role == COORDINATOR]
    own = next(a.id for a in coordinators if a.party == owner.party)
    receipt = players[own].append_to_registry(KeyRegistered(acted_at=acted_at, grant=grant))
    if protocol.confirming_roles(owner.role, KeyChange.REGISTRATION):
        other = next(a.id for a in coordinators if a.party != owner.party)
        confirmed = KeyChangeConfirmed(acted_at=acted_at, proposal=receipt.action_id)
        players[other].append_to_registry(confirmed)


def register_countries(players: Players, protocol: Protocol, settings: Settings) -> None:
    """Register the public key of each country's vault."""
    for agency in protocol.agencies:
        if agency.role == COORDINATOR:
            key = country_key(settings, agency.party).public
            players[agency.id].append_to_registry(
                CountryKeyRegistered(acted_at=BEFORE, key=str(key))
            )


def _grant_of(protocol: Protocol, agency: str, key: OKPKey) -> KeyGrant:
    return granted(request_of(key, protocol=protocol.id, agency=agency))


def granted(request: KeyRequest) -> KeyGrant:
    """Return the grant of a key for a year."""
    now = datetime.now(UTC)
    return grant_of(
        request, valid_from=now - timedelta(days=1), valid_until=now + timedelta(days=365)
    )
