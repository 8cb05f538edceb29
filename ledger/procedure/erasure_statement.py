"""A country's statement that it erased its data, and the evidence against the statement.

A confirmation of an erasure names a version of the case: its country holds no digest any more of
any action up to that version. A country that sends or offers such a field later contradicts itself.
"""

from collections.abc import Collection, Mapping
from uuid import UUID

from ledger.events.act import Act
from ledger.procedure.case import Case
from ledger.procedure.protocol import Protocol

REASON = "erased-by-sender"
"""The rule that refuses fields which their sender confirmed to hold no longer."""
_NO_DISCLOSURE = frozenset({"erasure_confirmed", "break_glass_reviewed", "correction"})


def last_version_with_fields(case: Case) -> int | None:
    """Return the version of the last action that may disclose anything; ``None``: there is none.

    It is the same for every attempt to confirm: after an erasure no other action is recorded.
    """
    return max(
        (act.version for act in case.history.values() if act.kind not in _NO_DISCLOSURE),
        default=None,
    )


def confirmation_of(case: Case, party: str, protocol: Protocol) -> Act | None:
    """Return the action by which a country confirmed its erasure, if it did."""
    agencies = protocol.agencies_by_id
    return next(
        (
            act
            for act in case.history.values()
            if act.kind == "erasure_confirmed" and agencies[act.agency].party == party
        ),
        None,
    )


def contradicts_erasure(
    case: Case, party: str, protocol: Protocol, held: Mapping[UUID, Collection[str]]
) -> bool:
    """Return whether a country shows digests that it confirmed it no longer holds.

    ``held`` has the digests by action.
    """
    confirmation = confirmation_of(case, party, protocol)
    upto = None if confirmation is None else confirmation.fields.get("upto")
    if upto is None:
        return False
    return any(
        (act := case.history.get(action)) is not None
        and act.version <= upto
        and not act.digests.isdisjoint(digests)
        for action, digests in held.items()
    )
