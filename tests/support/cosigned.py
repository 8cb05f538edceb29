"""Times that witnesses cosigned, made up for tests."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.log.cosigned_times import CosignedTimes, DatedCheckpoint
from ledger.log.note import SignatureType, SignerKey
from ledger.log.policy import Policy, TrustedWitness

EVERYTHING = 10**6
"""A size that covers all that a test records."""


def policy(*names: str, threshold: int | None = None) -> Policy:
    """One log and these witnesses, of which ``threshold`` are a quorum: all unless said."""
    witnesses = {
        name: TrustedWitness(_key(name, SignatureType.COSIGNATURE).verifier) for name in names
    }
    return Policy.of(_key("log", SignatureType.ED25519).verifier, witnesses, threshold)


def cosigned(start: datetime, days: Iterable[int], *names: str) -> CosignedTimes:
    """Checkpoints of the whole ledger that all witnesses cosigned so many days after ``start``."""
    witnesses = names or ("XK", "ME")
    moments = (start + timedelta(days=n) for n in days)
    dated = [DatedCheckpoint(EVERYTHING, dict.fromkeys(witnesses, one)) for one in moments]
    return CosignedTimes(dated, policy(*witnesses))


def _key(name: str, kind: SignatureType) -> SignerKey:
    return SignerKey(name, kind, Ed25519PrivateKey.generate())
