"""Check statements on the person, and answers to requests of rectification."""

from collections.abc import Mapping
from uuid import UUID

from ledger.procedure.checks.proposal import (
    Check,
    Proposal,
)
from ledger.refusals import invalid, not_allowed
from ledger.vocabulary.picklists import StatementGround


def _identity_recorded(p: Proposal) -> None:
    named = p.act.fields.get("request")
    if (named is not None) is not (p.act.fields["ground"] == StatementGround.RECTIFICATION):
        raise invalid(
            "request-not-named",
            "A rectification names the person's request that it answers, and nothing else does.",
            "request",
        )
    if named is not None:
        check_rectification_answered(p)


def check_rectification_answered(p: Proposal) -> None:
    """Check that the named request of the person is open, and the agency's country took it."""
    asked = p.state.rectifications.get(UUID(p.act.fields["request"]))
    if asked is None:
        raise invalid("no-such-request", "No such request is open in this case.", "request")
    if asked.party != p.agency.party:
        raise not_allowed(
            "own-rectification", "The country that took the person's request answers it."
        )


CHECKS: Mapping[str, Check] = {
    "identity_recorded": _identity_recorded,
    "rectification_declined": check_rectification_answered,
}
