"""The private keys that a node signs checkpoints and cosignatures with, and whom it trusts."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from api.continuity.lost_keys import mark_used, refuse_lost
from api.runtime.settings import Settings
from ledger.application import Ledger
from ledger.log.note import SignatureType, SignerKey
from ledger.log.policy import Policy, TrustedWitness
from ledger.procedure.registry import Registry, policy_in_force
from ledger.publication.publisher import PolicyAt
from ledger.signing import keys
from ledger.system import clock
from ledger.system.directory_watch import Reread


def log_key(settings: Settings) -> SignerKey:
    """Return the first key that signs this ledger's checkpoints; make it if there never was one.

    Raises ``ValueError`` if it is lost.
    """
    path = settings.key_directory / "log.jwk"
    _make(settings, path)
    key = _log_signer(settings, path)
    mark_used(settings, path.stem, str(key.verifier))
    return key


def log_keys(settings: Settings) -> Sequence[SignerKey]:
    """Return every log key of this node: ``log.jwk``, and later ones as ``log-….jwk``."""
    return [_log_signer(settings, path) for path in _files(settings, "log")]


class OwnLogKeys:
    """Every log key of this node, with those whose files are added while it runs."""

    def __init__(self, settings: Settings) -> None:
        self._keys = Reread(settings.key_directory, lambda: log_keys(settings))

    def __iter__(self) -> Iterator[SignerKey]:
        return iter(self._keys.current)


def witness_key(settings: Settings, party: str) -> SignerKey:
    """Return the first key with which a party's witness cosigns; make it if there never was one.

    Raises ``ValueError`` if it is lost.
    """
    path = settings.key_directory / f"witness-{party.lower()}.jwk"
    files = _files(settings, path.stem)
    if files and not path.exists():
        path = files[0]  # the first one was replaced and removed
    _make(settings, path)
    key = _witness_signer(settings, party, path)
    mark_used(settings, f"witness-{party.lower()}", str(key.verifier))
    return key


def witness_keys(settings: Settings, party: str) -> Sequence[SignerKey]:
    """Return every key of a party's witness: the first, and later ones as ``witness-xx-….jwk``."""
    first = witness_key(settings, party)
    files = _files(settings, f"witness-{party.lower()}")
    return [first, *(_witness_signer(settings, party, path) for path in files[1:])]


def new_log_key(settings: Settings) -> SignerKey:
    """Make another log key, for the parties to adopt in a policy."""
    return _log_signer(settings, _another(settings, "log"))


def new_witness_key(settings: Settings, party: str) -> SignerKey:
    """Make another key of a party's witness, for the parties to adopt in a policy."""
    return _witness_signer(settings, party, _another(settings, f"witness-{party.lower()}"))


def own_parties(settings: Settings) -> tuple[str, ...]:
    """Return the countries whose node this is."""
    if settings.countries is not None:
        return settings.countries
    return tuple(sorted(settings.load_protocol().every_party_code))


def trusted_policy(settings: Settings, registry: Registry | None = None) -> Policy:
    """Return the policy that the settings name, or else one of this node's own keys.

    Its quorum is the protocol's: of the recorded protocol, or before any of the settings'.
    """
    if settings.policy is not None:
        return Policy.parse(settings.policy.read_text(encoding="utf-8"))
    witnesses = {
        party: TrustedWitness(witness_key(settings, party).verifier)
        for party in own_parties(settings)
    }
    now = clock.now()
    protocol = registry.protocol_today(now) if registry else settings.load_protocol()
    quorum = min(protocol.publishing_parties, len(witnesses))
    return Policy.of(log_key(settings).verifier, witnesses, quorum)


def policy_at(ledger: Ledger, settings: Settings) -> PolicyAt:
    """Return a function for the policy at a size: the recorded one, or before it the settings'."""
    trusted: dict[int, Policy] = {}
    trusted_policy(settings)  # raises now for a policy file that cannot be read

    def at(size: int) -> Policy:
        registry = ledger.registry()
        number = registry.protocol_today(clock.now()).publishing_parties if registry else 0
        if number not in trusted:
            trusted[number] = trusted_policy(settings, registry)
        return policy_in_force(registry, size, trusted[number])

    return at


def _log_signer(settings: Settings, path: Path) -> SignerKey:
    return SignerKey(settings.origin, SignatureType.ED25519, _private(path))


def _witness_signer(settings: Settings, party: str, path: Path) -> SignerKey:
    name = f"{settings.origin}/witness-{party.lower()}"
    return SignerKey(name, SignatureType.COSIGNATURE, _private(path))


def _files(settings: Settings, stem: str) -> list[Path]:
    """Return the first key's file, and those of later ones, oldest first."""
    directory = settings.key_directory
    first = directory / f"{stem}.jwk"
    later = [p for p in directory.glob(f"{stem}-*.jwk") if p.stem[len(stem) + 1 :].isdigit()]
    return [p for p in (first, *sorted(later, key=_number)) if p.exists()]


def _another(settings: Settings, stem: str) -> Path:
    files = _files(settings, stem)
    number = max((_number(path) for path in files if path.stem != stem), default=1) + 1
    path = settings.key_directory / (f"{stem}-{number}.jwk" if files else f"{stem}.jwk")
    keys.save(keys.generate(), path)
    return path


def _number(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])


def _make(settings: Settings, path: Path) -> None:
    if not path.exists():
        refuse_lost(settings, path.stem)
        with suppress(FileExistsError):  # another process may be first
            keys.save(keys.generate(), path)


def _private(path: Path) -> Ed25519PrivateKey:
    return cast("Ed25519PrivateKey", keys.load(path).private_key)
