"""A copy of the ledger becomes the ledger, where the parties decided so and signed it."""

from collections.abc import Collection, Sequence

from ledger.application import Ledger
from ledger.log.note import VerifierKey
from ledger.log.policy import Policy, PolicyError
from ledger.procedure import registry as registries
from ledger.procedure.named_checkpoint import check_named_checkpoint
from ledger.procedure.registry import AgreedPolicy, Registry
from ledger.refusals import Ground, Refusal
from ledger.signing import signed_action
from ledger.signing.signed_action import SignedAction
from ledger.store.event_rows import RecordedRow
from ledger.system import clock
from ledger.verification.policy_history import PolicyHistory

ABOUT_ABSENCE = frozenset({"absence_announced", "presence_declared"})
"""The kinds of acts that this copy records before the decision, while the ledger node is lost."""


def take_over(
    ledger: Ledger, decisions: Sequence[str], own_keys: Sequence[VerifierKey]
) -> list[RecordedRow]:
    """Record the parties' decision as the next events of this copy, which then goes on.

    ``decisions`` are the coordinators' signed adoptions of one policy; it must name one of
    ``own_keys`` as the log's. If a party is away and its absence is not on the ledger yet, they are
    the announcements of its absence instead: the copy takes the ledger over by the adoptions, once
    the days of notice are over. Nothing is recorded unless all of them hold; the same decisions
    again change nothing. Raises ``Refusal`` if one of them does not hold.
    """
    registry = ledger.adopted()
    actions = [signed_action.read(signed_action.parse(decision)) for decision in decisions]
    if not _are_about_absence(actions):
        _check(registry, actions, own_keys)
    for action in actions:
        if ledger.receipt_of(action) is None:  # else it was recorded before
            at = ledger.rows.next_time(ask=True)
            signed_action.verify(action, registry.signing_key(action.key_id, action.agency, at))
            registries.decide(registry, action, at)
            check_named_checkpoint(action, ledger.root_at)
    return [ledger.append_to_registry(action) for action in actions]


def only_prepare(decisions: Sequence[str]) -> bool:
    """Return whether these acts announce or end absences, and decide nothing."""
    return _are_about_absence(
        [signed_action.read(signed_action.parse(decision)) for decision in decisions]
    )


def _are_about_absence(actions: Sequence[SignedAction]) -> bool:
    return bool(actions) and all(action.kind in ABOUT_ABSENCE for action in actions)


def decided_elsewhere(
    history: PolicyHistory, trusted: Policy, own_keys: Collection[VerifierKey]
) -> AgreedPolicy | None:
    """Return the parties' decision by which the log's key is none of ``own_keys``.

    ``trusted`` is the last policy that this node has. ``history`` comes from another node: its
    proofs are verified. The result is ``None`` if the parties decided nothing of the kind. Raises
    ``NoteError`` if the proofs do not hold.
    """
    believed = history.believed(trusted)
    later = believed.periods[believed.first + 1 :]
    if not later or any(key in own_keys for key in later[-1].policy.logs):
        return None
    return later[-1]


def _check(
    registry: Registry, actions: Sequence[SignedAction], own_keys: Sequence[VerifierKey]
) -> None:
    texts = {action.fields.get("policy") for action in actions}
    if {action.kind for action in actions} != {"log_policy_adopted"} or len(texts) != 1:
        raise _refused("The decision is each party's adoption of one and the same policy.")
    (text,) = texts
    try:
        policy = Policy.parse(str(text))
    except PolicyError as error:
        raise _refused(f"The policy does not hold: {error}.") from error
    if not any(key in policy.logs for key in own_keys):
        raise _refused(
            "The policy names another node's log key than this one's, which `case-ledger log key`"
            " prints here."
        )
    protocol = registry.protocol_today(clock.now())
    decided = {registry.directory.agencies_by_id[action.agency].party for action in actions}
    absent = {frozenset(action.fields.get("without") or ()) for action in actions}
    if len(absent) != 1:
        raise _refused("The decisions name different parties as absent.")
    if missing := protocol.party_codes - decided - next(iter(absent)):
        raise _refused(f"The word of {', '.join(sorted(missing))} is missing.")


def _refused(message: str) -> Refusal:
    return Refusal(Ground.OUT_OF_PROCEDURE, "decision", message)
