"""What the procedure expects next in a case, of whom, and by when."""

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

from ledger.case_state import CaseState
from ledger.protocol import COORDINATOR, Expectation, Protocol
from ledger.vocabulary.action import LedgerModel
from ledger.vocabulary.types import UtcDatetime

_REVIEW_WITHIN = timedelta(days=3)
_ERASE_WITHIN = timedelta(days=7)


class ExpectedStep(LedgerModel):
    """One action that is expected, and whose turn it is."""

    action: str
    party: str | None
    """The country whose turn it is; ``None`` for any party to the case."""
    agency: str | None = None
    """The one agency that owes it, where only one does."""
    roles: tuple[str, ...] = ()
    due: UtcDatetime | None = None
    concerning: UUID | None = None
    """The action that asks for it: a request, an agreed joint action, an offer."""


def expected_steps(state: CaseState, protocol: Protocol) -> tuple[ExpectedStep, ...]:
    """The open steps of a case, the one due first at the head."""
    steps = list(_of_accountability(state))
    if not state.is_closed:
        steps += (*_of_procedure(state, protocol), *_of_coordination(state, protocol))
    latest = datetime.max.replace(tzinfo=UTC)
    return tuple(sorted(steps, key=lambda s: (s.due or latest, s.action, str(s.concerning))))


def _of_procedure(state: CaseState, protocol: Protocol) -> Iterator[ExpectedStep]:
    for expectation in protocol.expected:
        if expectation.children_only and not state.is_child:
            continue
        if expectation.until in state.facts:
            continue
        if any(fact not in state.facts for fact in expectation.after):
            continue
        since = max(state.facts[fact].since for fact in expectation.after)
        days = expectation.within_days
        yield ExpectedStep(
            action=expectation.action,
            party=_turn(expectation, state, protocol),
            roles=expectation.roles,
            due=None if days is None else since + timedelta(days=days),
        )


def _of_coordination(state: CaseState, protocol: Protocol) -> Iterator[ExpectedStep]:
    for request_id, request in state.open_requests.items():
        answer = "information_provided" if request.acknowledged else "information_acknowledged"
        yield _owed(answer, request.addressee, request.answer_by, request_id, protocol)
    for agreed_id, agreed in state.joint_actions.items():
        yield from _each(agreed.responsible, agreed.due, agreed_id, protocol)
    if state.lead_offer is not None:
        offer = state.lead_offer
        yield _owed("lead_transfer_accepted", offer.to, None, offer.offer, protocol)


def _of_accountability(state: CaseState) -> Iterator[ExpectedStep]:
    """What countries owe each other whether the case is open or closed."""
    for opened, access in state.break_glass.items():
        for party in access.to_review:
            yield ExpectedStep(
                action="break_glass_reviewed",
                party=party,
                roles=(COORDINATOR,),
                due=access.since + _REVIEW_WITHIN,
                concerning=opened,
            )
    if state.erasure is not None:
        for party in state.erasure.pending:
            yield ExpectedStep(
                action="erasure_confirmed",
                party=party,
                due=state.erasure.since + _ERASE_WITHIN,
                concerning=state.erasure.order,
            )


def _each(
    responsible: Iterable[str], due: str | None, agreed: UUID, protocol: Protocol
) -> Iterator[ExpectedStep]:
    for agency in responsible:
        yield _owed("joint_action_done", agency, due, agreed, protocol)


def _owed(
    action: str, agency: str, due: str | None, concerning: UUID, protocol: Protocol
) -> ExpectedStep:
    return ExpectedStep(
        action=action,
        party=protocol.agencies_by_id[agency].party,
        agency=agency,
        due=_end_of(due),
        concerning=concerning,
    )


def _end_of(day: str | None) -> datetime | None:
    if day is None:
        return None
    return datetime.combine(date.fromisoformat(day), time(23, 59, 59), UTC)


def _turn(expectation: Expectation, state: CaseState, protocol: Protocol) -> str | None:
    match expectation.by:
        case "lead":
            return protocol.agencies_by_id[state.lead_agency].party
        case "destination" if state.planned_return is not None:
            return state.planned_return.destination
        case "destination" if "received" in state.facts:
            return state.facts["received"].party
    return None
