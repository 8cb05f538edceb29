"""Reads out of a whole ledger which log policy the parties adopted, for a witness to follow."""

from collections.abc import Callable, Iterable

from ledger.events.event_bytes import unseal
from ledger.events.newer_event import NewerEventError
from ledger.log.checkpoint import Checkpoint
from ledger.log.merkle import Frontier, Tree
from ledger.log.note import Note
from ledger.procedure import registry as registries
from ledger.procedure.registry import Registry
from ledger.publication.witness import Adopted, AnotherDecisionError
from ledger.signing.signed_action import read_recorded
from ledger.store.event_rows import RecordedRow
from ledger.verification.verification import ExpectedLedger, verify_ledger
from ledger.vocabulary import REGISTRY_ACTIONS
from ledger.vocabulary.registration import PublicKey


def adopted_in_export(
    rows: Callable[[], Iterable[RecordedRow]],
    keys: dict[str, PublicKey],
    checkpoint: str,
    adoption: bytes,
) -> Adopted:
    """Verify an export, and return the policy that is in force at its size.

    ``rows`` reads the events anew each time. ``adoption`` is the leaf hash of the first event that
    the parties agreed on: all else follows from it. Raises ``AnotherDecisionError``, and
    ``NewerEventError`` if an event needs a later program.
    """
    leaves: list[bytes] = []
    for row in rows():
        if not leaves and row.leaf_hash != adoption:
            raise AnotherDecisionError("the ledger begins with another adoption than yours")
        leaves.append(row.leaf_hash)
    report = verify_ledger(rows(), ExpectedLedger(held=(checkpoint,)), keys=keys)
    if not report.holds or report.covered != report.events or not report.checkpoints:
        found = "; ".join(map(str, report.findings[:3])) or "no checkpoint covers all its events"
        raise AnotherDecisionError(f"the ledger does not hold: {found}")
    if report.newer is not None:
        raise NewerEventError(report.newer)
    registry: Registry | None = None
    for row in rows():
        if row.kind in REGISTRY_ACTIONS:
            action = read_recorded(unseal(row.state)[0])
            registry = registries.evolve(registry, action, row.recorded_at, row.position)
    tree = Tree(len(leaves), lambda level, start, count: _hashes(leaves, level, start, count))
    return adopted_in(registry, Note.parse(checkpoint), tree)


def adopted_in(registry: Registry | None, note: Note, tree: Tree) -> Adopted:
    """Return the policy in force for a checkpoint of verified events.

    Raises ``AnotherDecisionError`` if the parties adopted none.
    """
    size = Checkpoint.parse(note.text).size
    held = [agreed for agreed in (registry.policies if registry else ()) if agreed.since <= size]
    if not held:
        raise AnotherDecisionError(
            "the parties adopted no log policy yet: their coordinators sign one with "
            "`case-ledger log adopt-policy`"
        )
    return Adopted(
        held[-1].policy,
        held[-1].since,
        note,
        lambda at: tree.root(at) if at <= tree.size else None,
    )


def _hashes(leaves: list[bytes], level: int, start: int, count: int) -> list[bytes]:
    """Return hashes of a tile level, made of leaves."""
    if level == 0:
        return leaves[start : start + count]
    width = 256**level
    ends = [(at * width, (at + 1) * width) for at in range(start, start + count)]
    return [
        Frontier().extend(leaves[first:last])[0].root()
        for first, last in ends
        if last <= len(leaves)
    ]
