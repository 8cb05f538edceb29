"""A source that has no log key cannot stop a copy with an event of a later program."""

from collections.abc import Sequence
from dataclasses import dataclass
from unittest.mock import MagicMock, patch

import pytest

from ledger.events.event import recorded
from ledger.events.newer_event import NewerEventError
from ledger.log.checkpoint import Checkpoint
from ledger.log.merkle import Frontier
from ledger.log.note import Note, SignerKey
from ledger.log.policy import NONE, Policy
from ledger.procedure.registry import registry_of
from ledger.replication.event_source import UntrustedKeyError
from ledger.replication.mirror import Mirror
from ledger.vocabulary.registration import ContactPointNamed, Office
from tests.support.agencies import PAST, Agencies
from tests.support.logs import signer
from tests.support.older_program import OLDER_WITHOUT, without_kind
from tests.support.recorded import MemoryLedger


@dataclass
class Source:
    """A source with one note over events that it gives."""

    ledger: MemoryLedger
    key: SignerKey
    name: str = "test"

    def head(self, after: int, upto: int | None = None) -> str | None:
        size = self.ledger.head()
        if upto is not None or size <= after:
            return None
        text = str(Checkpoint(self.key.name, size, self.ledger.root(size)))
        return str(Note(text, (self.key.sign(text),)))

    def entries(self, after: int, upto: int) -> Sequence[bytes]:
        return [row.state for row in self.ledger.rows(after, upto)]

    def published(self) -> str | None:
        return None


def test_only_the_log_can_stop_a_copy_at_an_event_of_a_later_program() -> None:
    ledger = MemoryLedger(Agencies())
    ledger.begin()
    size = ledger.head()
    stored = MagicMock()
    stored.head.return_value = size
    stored.rows.frontier.return_value = Frontier().extend(
        [row.leaf_hash for row in ledger.recorded]
    )[0]
    stored.rows.last_recorded_at.return_value = ledger.now
    stored.registry.return_value = registry_of(
        recorded(row.state, row.originator_id, row.version, row.position) for row in ledger.recorded
    )
    stored.recorded_actions.return_value = set()
    database = MagicMock()
    rows = database.connection.return_value.__enter__.return_value
    rows.execute.return_value.fetchone.return_value = None
    log, stranger = signer(), signer()
    mirror = Mirror(stored, database, Policy((log.verifier,), {}, {}, NONE))
    act = ContactPointNamed(
        acted_at=PAST,
        agency="xk-dhtqnj",
        function="Head of the office",
        languages=("sqi",),
        office=Office(email="office@example.invalid"),
    )
    assert act.kind == OLDER_WITHOUT
    signed = ledger.agencies.sign("xk-nac", act, None).without_disclosures()
    ledger.put(signed, ledger.agencies.protocol.ledger_id)
    nothing = patch("ledger.replication.mirror.find_divergence", return_value=None)
    with nothing, without_kind(OLDER_WITHOUT):
        for _ in range(2):
            with pytest.raises(UntrustedKeyError, match=f"position {size + 1}"):
                mirror.step(Source(ledger, stranger))
        with pytest.raises(NewerEventError):
            mirror.step(Source(ledger, log))
    # The copy goes on from the log itself, as soon as the program has the kind.
    honest = Mirror(stored, database, Policy((log.verifier,), {}, {}, NONE))
    assert honest.step(Source(ledger, log))
