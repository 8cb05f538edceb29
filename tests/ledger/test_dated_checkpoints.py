"""The published checkpoints that are kept for their times."""

from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.application import Ledger
from ledger.log.checkpoint import Checkpoint
from ledger.log.note import Note, SignatureType, SignerKey
from ledger.log.policy import Policy, TrustedWitness
from ledger.publication.dated_checkpoints import keep_dated
from ledger.store.database import Database

START = datetime(2026, 1, 5, 8, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
ORIGIN = "ledger.example/dated"
LOG = SignerKey(ORIGIN, SignatureType.ED25519, Ed25519PrivateKey.generate())
WITNESSES = {
    party: SignerKey(f"{ORIGIN}/{party}", SignatureType.COSIGNATURE, Ed25519PrivateKey.generate())
    for party in ("AL", "ME", "XK")
}
POLICY = Policy.of(
    LOG.verifier, {p: TrustedWitness(k.verifier) for p, k in WITNESSES.items()}, threshold=2
)


def note(**times: datetime) -> Note:
    text = str(Checkpoint(ORIGIN, 5, bytes(32)))
    signed = [WITNESSES[party].sign(text, time) for party, time in times.items()]
    return Note(text, (LOG.sign(text), *signed))


def test_one_witness_does_not_fill_the_table(ledger: Ledger, database: str) -> None:  # noqa: ARG001
    """The rows reach back for the days of grace, whatever one witness does with its clock."""
    with Database(database) as pool, pool.connection() as connection:

        def keep(**times: datetime) -> bool:
            return keep_dated(connection, 5, note(**times), POLICY)

        assert keep(AL=START, ME=START, XK=START)
        for minute in range(1, 60):
            now = START + minute * MINUTE
            wild = now + (3 * HOUR if minute % 2 else -3 * HOUR)
            other = {"ME": now} if minute % 4 < 2 else {"XK": now}
            assert not keep(AL=wild, **other)
        # The others' times are kept once an hour all the same.
        assert keep(AL=START, ME=START + HOUR, XK=START + HOUR)
        assert not keep(AL=START + HOUR, ME=START + HOUR, XK=START + HOUR)
