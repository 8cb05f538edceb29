"""Keys whose validity ends soon, which are announced months before: a new one takes some days."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.x509 import load_pem_x509_certificates

from api.client.schemas.health import Effect
from api.runtime.settings import Settings
from api.runtime.trouble import Trouble
from ledger.procedure.protocol import COORDINATOR, Agency
from ledger.procedure.registry import RegisteredKey, Registry
from ledger.system import clock

AHEAD = timedelta(days=90)
"""So long before its end a key is announced."""
STEPS_DAYS = (90, 30, 7)
"""So many days before its end an agency is told of a key, each time once."""
_NAMED = 5
_NEEDED = 2
"""So many keys a coordinator holds, so that the loss of one leaves one that registers another."""
TLS = "TLS certificate"


@dataclass(frozen=True, slots=True)
class EndingKey:
    """A key that signs until a moment that is near."""

    agency: str
    key_id: str
    ends: datetime


def counting_keys(
    registry: Registry, parties: Collection[str], now: datetime
) -> Iterator[RegisteredKey]:
    """Yield the keys of these parties' agencies that count now, and were not revoked."""
    for key in registry.keys.values():
        agency = registry.directory.agencies_by_id.get(key.agency)
        if agency is not None and agency.party in parties and key.valid_at(now):
            yield key


def ending_keys(registry: Registry, parties: Collection[str], now: datetime) -> Sequence[EndingKey]:
    """Return the keys that end within ``AHEAD``, the earliest first.

    A key that was replaced is announced until it is revoked.
    """
    found = [
        EndingKey(key.agency, key.id, key.valid_until)
        for key in counting_keys(registry, parties, now)
        if key.valid_until <= now + AHEAD
    ]
    return sorted(found, key=lambda key: (key.ends, key.agency, key.key_id))


def lacks_second_key(agency: Agency, registry: Registry) -> bool:
    """Return whether an agency is a coordinator that has fewer than two keys that count now.

    The loss of a coordinator's last key stops every registration in its country.
    """
    if agency.role != COORDINATOR:
        return False
    held = counting_keys(registry, {agency.party}, clock.now())
    return sum(key.agency == agency.id for key in held) < _NEEDED


def concerns(agency: Agency, key: EndingKey, registry: Registry) -> bool:
    """Return whether an agency is told of a key.

    The key is its own, or that of an agency whose keys it registers.
    """
    owner = registry.directory.agencies_by_id[key.agency]
    return agency.id == owner.id or (agency.role == COORDINATOR and agency.party == owner.party)


def step_before(ends: datetime, now: datetime) -> int | None:
    """Return the last step of ``STEPS_DAYS`` that has begun.

    Returns ``None`` before the first step, and at the end.
    """
    begun = [days for days in STEPS_DAYS if now < ends <= now + timedelta(days=days)]
    return min(begun, default=None)


def certificate_end(path: Path | None) -> datetime | None:
    """Return the end of the first certificate of a PEM file.

    Raises ``OSError`` or ``ValueError`` if the file cannot be read.
    """
    if path is None:
        return None
    return load_pem_x509_certificates(path.read_bytes())[0].not_valid_after_utc.astimezone(UTC)


def key_troubles(
    registry: Registry | None, parties: Collection[str], settings: Settings
) -> Sequence[Trouble]:
    """Return the notice of keys and certificates that end soon, which makes no node unready."""
    now = clock.now()
    told = [
        f"{key.agency} {key.key_id} on {key.ends:%Y-%m-%d}"
        for key in (ending_keys(registry, parties, now) if registry is not None else ())
    ]
    ends = certificate_end(settings.tls_certificate)
    if ends is not None and ends <= now + AHEAD:
        told.insert(0, f"the {TLS} on {ends:%Y-%m-%d}")
    if not told:
        return ()
    rest = f" and {len(told) - _NAMED} more" if len(told) > _NAMED else ""
    return (
        Trouble(
            rule="key-ends",
            title="A key ends soon",
            message=(
                f"Keys end soon: {'; '.join(told[:_NAMED])}{rest}. Make and register others, then "
                "revoke these (docs/key-loss.md)."
            ),
            effect=Effect.WARNING,
        ),
    )
