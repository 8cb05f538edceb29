"""Exports and receipts of a log in a test's own database, as the commands write them."""

from pathlib import Path

from ledger.export.stand_alone import stand_alone_files
from ledger.export.static_export import write_export
from ledger.log.tlog_proof import TlogProof
from ledger.publication.publisher import published
from ledger.verification.policy_history import PolicyHistory, policy_history, with_bridges
from tests.support.logs import Log


def recorded_policies(log: Log, *sizes: int) -> PolicyHistory:
    """The file of recorded policies, with bridges from these sizes."""
    made = policy_history(log.ledger.rows, log.database, log.registry(), log.policy)
    return with_bridges(made, log.ledger.rows, sizes)


def export_of(log: Log, directory: Path) -> int:
    """Write what is published now. Gives its size."""
    last = published(log.database)
    assert last is not None
    note, checkpoint = last
    first = log.ledger.rows.read_hashes(0, 0, 1)[0]
    beside = stand_alone_files(note, log.policy_at(checkpoint.size), recorded_policies(log), first)
    write_export(log.ledger.rows, note, directory, lambda *_: None, (), beside)
    return checkpoint.size


def receipt_of(log: Log, position: int) -> str:
    """A receipt of the event at a position, in what is published now."""
    last = published(log.database)
    assert last is not None
    note, checkpoint = last
    path = tuple(log.ledger.rows.tree().inclusion(position - 1, checkpoint.size))
    (row,) = log.ledger.rows.select_positions([position])
    return str(TlogProof(position - 1, path, note, extra=row.state))
