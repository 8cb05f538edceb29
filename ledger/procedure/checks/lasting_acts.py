"""The recorded actions that last: no correction annuls them."""

from ledger.events.act import Act
from ledger.procedure.checks.proposal import Proposal

_LASTING = frozenset(
    {
        "case_opened",
        "correction",
        "information_released",
        "break_glass_opened",
        "break_glass_reviewed",
        "erasure_approved",
        "erasure_confirmed",
        "destruction_confirmed",
        "merge_proposed",
        "merge_accepted",
        "case_merged",
        "merge_declined",
        "merge_undone",
    }
)
"""The kinds that cannot be annulled: released, opened or erased fields stay so.

A proposed merge is withdrawn, and a merge is undone, by actions of their own. For the order of a
destruction see :func:`_is_lasting_order`."""


def is_lasting(act: Act, p: Proposal) -> bool:
    """Return whether no correction can annul a recorded action any more."""
    if act.kind in ("legal_hold_placed", "legal_hold_lifted"):
        # Its country lifts it. To annul it would bring back the announcement that it ended.
        # Other actions rest on a lifted hold: a court places a new one instead of annulling it.
        return p.protocol.edition >= 2
    if act.kind == "retention_announced":
        return p.state.is_erased
    if act.kind == "erasure_proposed":
        # Without the proposal, the order that stands on it would be folded away.
        return p.protocol.edition >= 2 and p.state.is_erased
    if act.kind in ("destruction_proposed", "destruction_approved"):
        return _is_lasting_order(act, p)
    return act.kind in _LASTING


def _is_lasting_order(act: Act, p: Proposal) -> bool:
    """Return whether the proposal or the approval of a destruction cannot be withdrawn any more."""
    destruction = next(
        (one for name, one in p.state.destructions.items() if act.id in (name, one.order)), None
    )
    if destruction is None or destruction.order is None:
        return act.kind == "destruction_approved"
    return not destruction.is_stoppable(p.not_before)
