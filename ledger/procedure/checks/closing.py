"""Check how a case is closed and reopened, and the agreement that it was opened in error."""

from collections.abc import Mapping
from uuid import UUID

from ledger.procedure.case_state import CaseState, ErrorClosing
from ledger.procedure.checks.proposal import (
    Check,
    Proposal,
    leading,
)
from ledger.procedure.protocol import Protocol
from ledger.refusals import Refusal, invalid, not_allowed, out_of_procedure
from ledger.vocabulary.picklists import ClosureReason


def _reopened(p: Proposal) -> None:
    if not p.state.is_closed:
        raise out_of_procedure("open-case", "The case is not closed; there is nothing to reopen.")


def _closed(p: Proposal) -> None:
    if leading(p).party != p.agency.party:
        raise not_allowed("lead-country", "Only the country that leads the case may close it.")
    agreed = p.state.model_copy(update={"error_closing": _open_error_closing(p)})
    refusal = reason_refusal(p.act.fields["reason"], agreed, p.protocol)
    if refusal is not None:
        raise refusal


def reason_refusal(reason: str, state: CaseState, protocol: Protocol) -> Refusal | None:
    """Return why a reason for closing does not agree with the facts of a case, or ``None``."""
    agreed = state.error_closing
    if reason == ClosureReason.OPENED_IN_ERROR and (agreed is None or agreed.pending):
        return out_of_procedure(
            "not-agreed",
            "A case is closed as opened in error once the other countries of the case agreed:"
            " record error_closing_proposed, and wait for their error_closing_accepted. Any other"
            " action in the case ends their agreement, and so does the protocol's period.",
            "act.reason",
        )
    for rule in protocol.closings:
        if rule.reason != reason:
            continue
        lacking = [fact for fact in rule.requires if fact not in state.facts]
        against = [fact for fact in rule.forbidden_while if fact in state.facts]
        if lacking or against:
            told = [f"{fact} is not recorded" for fact in lacking]
            told += [f"{fact} holds" for fact in against]
            return out_of_procedure(
                "closing-reason",
                f"The case cannot be closed as {reason}: {'; '.join(told)}. Choose another reason,"
                " or record what happened first.",
                "act.reason",
            )
    return None


def _error_closing_proposed(p: Proposal) -> None:
    if leading(p).party != p.agency.party:
        raise not_allowed("lead-country", "The country that leads the case proposes this.")
    if _open_error_closing(p) is not None:
        raise out_of_procedure(
            "already-proposed", "This is proposed already; the others have to agree."
        )


def _error_closing_accepted(p: Proposal) -> None:
    proposed = _open_error_closing(p)
    if proposed is None or proposed.proposal != UUID(p.act.fields["proposal"]):
        raise invalid("no-such-proposal", "No such closing is proposed.", "proposal")
    if p.agency.party not in proposed.pending:
        raise out_of_procedure("already-accepted", "This country has agreed, or is not asked.")


def _open_error_closing(p: Proposal) -> ErrorClosing | None:
    """Return the proposal to close the case as opened in error, if its period is not over."""
    proposed = p.state.error_closing
    if proposed is not None and proposed.until is not None and p.not_before > proposed.until:
        return None
    return proposed


CHECKS: Mapping[str, Check] = {
    "case_reopened": _reopened,
    "case_closed": _closed,
    "error_closing_proposed": _error_closing_proposed,
    "error_closing_accepted": _error_closing_accepted,
}
