"""Checkpoints of the time of earlier policies, for a copy that began later.

A copy that begins anew keeps checkpoints of the present policy alone. Nobody who trusts an earlier
policy could then verify by this node that the present one follows from it. So the node takes one
checkpoint of the time of each earlier policy from the ledger node's recorded policies.
"""

import itertools

from ledger.log.checkpoint import Checkpoint
from ledger.log.note import Note, NoteError
from ledger.procedure.registry import Registry
from ledger.publication.publisher import PolicyAt, keep_published, keep_signed
from ledger.store.database import Database
from ledger.store.recorder import LedgerRecorder
from ledger.verification.policy_history import PolicyHistory

_KEPT = "SELECT 1 FROM log.published WHERE size >= %s AND size < %s LIMIT 1"


def lacking_periods(database: Database, registry: Registry | None) -> list[tuple[int, int]]:
    """Return the times of earlier policies of which no published checkpoint is kept.

    Each is the first size of the time and the first one after it.
    """
    begins = [0, *(agreed.since for agreed in (registry.policies if registry else ()))]
    with database.connection() as connection:
        return [
            (first, end)
            for first, end in itertools.pairwise(begins)
            if connection.execute(_KEPT, (first, end)).fetchone() is None
        ]


def keep_earlier(
    database: Database,
    rows: LedgerRecorder,
    policy_at: PolicyAt,
    periods: list[tuple[int, int]],
    recorded_policies: str,
) -> int:
    """Keep a checkpoint for each of ``periods`` out of a file of recorded policies.

    A checkpoint is kept if the policy in force at its size holds for it and its root is that of the
    events here. Return how many were kept. Raises ``NoteError`` for anything but such a file.
    """
    tree, kept = rows.tree(), 0
    for period in PolicyHistory.parse(recorded_policies).periods:
        if period.checkpoint is None:
            continue
        note = Note.parse(period.checkpoint)
        checkpoint = Checkpoint.parse(note.text)
        if not any(first <= checkpoint.size < end for first, end in periods):
            continue
        if not 0 < checkpoint.size <= tree.size or tree.root(checkpoint.size) != checkpoint.root:
            continue
        try:
            policy_at(checkpoint.size).check(note)
        except NoteError:
            continue
        with database.connection() as connection:
            keep_signed(connection, checkpoint, note)
            keep_published(connection, checkpoint, note)
        kept += 1
    return kept
