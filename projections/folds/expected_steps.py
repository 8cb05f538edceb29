"""The steps that are owed in a case, by which agency and by when, and the steps expected next."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

from ledger.events.act import Act
from ledger.procedure.agreement import Agreement
from ledger.procedure.case_state import CaseState
from ledger.procedure.dates import quarter_end
from ledger.procedure.protocol import Expectation, Protocol
from ledger.vocabulary.action import LedgerModel
from ledger.vocabulary.types import UtcDatetime
from projections.folds.obligation_terms import ObligationKind

_REVIEW_WITHIN = timedelta(days=3)
_ERASE_WITHIN = timedelta(days=7)
COMING_OF_AGE = "coming of age"
"""What the assessment of age at the coming of age stands on."""
_LAST = datetime.max.replace(tzinfo=UTC)


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
    told_from: UtcDatetime | None = None
    """From when on the agency is told of it; ``None`` for a few days before it is due."""


@dataclass(frozen=True, slots=True)
class OwedStep:
    """A step that is owed: what is expected next, and what is owed besides."""

    kind: ObligationKind
    step: ExpectedStep
    basis: str
    """What it stands on: the action that asks for it, or the facts that the protocol names."""
    creditor: str | None = None
    """The one agency that it is owed to, where only one is."""
    until: str | None = None
    """The fact that ends it, where the protocol expects it."""
    is_next: bool = True
    """Whether it is the next that is expected, or waits for another step of the same."""


def expected_steps(
    state: CaseState, agreement: Agreement, acts: Mapping[UUID, Act]
) -> tuple[ExpectedStep, ...]:
    """Return the next steps of a case, the one due first at the head.

    ``acts`` are the case's acts by id.
    """
    steps = [owed.step for owed in owed_steps(state, agreement, acts) if owed.is_next]
    return tuple(sorted(steps, key=lambda s: (s.due or _LAST, s.action, str(s.concerning))))


def owed_steps(
    state: CaseState, agreement: Agreement, acts: Mapping[UUID, Act]
) -> Iterator[OwedStep]:
    """Yield all steps that are owed in a case, as of its last event.

    ``acts`` are the case's acts by id. An answer is owed from when it was asked for, though its
    acknowledgement is expected first. A step of the procedure is owed by the version of the
    protocol in force when its facts were established, so that an amendment neither moves its
    deadline nor ends it.
    """
    protocol = agreement.at(state.position, state.last_recorded_at)
    yield from _of_accountability(state, protocol)
    yield from _rectifications(state, agreement, acts)
    if not state.is_closed:
        yield from _of_procedure(state, protocol, agreement, acts)
        yield from _of_coordination(state, protocol)
        yield from _coming_of_age(state, protocol, acts)


def _rectifications(
    state: CaseState, agreement: Agreement, acts: Mapping[UUID, Act]
) -> Iterator[OwedStep]:
    """Yield the answers to the person's requests, by the version in force at each request."""
    for request, asked in state.rectifications.items():
        protocol = agreement.of_act(acts[request])
        if asked.party in agreement.at(state.position, state.last_recorded_at).left_parties:
            continue  # it may take none of these steps any more
        periods = protocol.person_record
        due = None if periods is None else timedelta(days=periods.rectification_days)
        step = ExpectedStep(
            action="identity_recorded",
            party=asked.party,
            agency=protocol.answering_for(asked.by).id,
            due=None if due is None else _later(asked.since, due),
            concerning=request,
        )
        yield _asked(ObligationKind.RECTIFICATION, step)


def _coming_of_age(
    state: CaseState, protocol: Protocol, acts: Mapping[UUID, Act]
) -> Iterator[OwedStep]:
    """Yield the assessment of the age of a child who comes of age, where the quarter is stated.

    The lead agency owes it, and the agency that appointed the guardian.
    """
    periods = protocol.person_record
    if not state.is_child or state.of_age_from is None or periods is None:
        return
    first = date.fromisoformat(state.of_age_from)
    begins = datetime.combine(first, time(), UTC)
    agencies = [state.lead_agency]
    if (guardian := state.facts.get("guardian_appointed")) is not None:
        agencies.append(acts[guardian.action].agency)
    for agency in dict.fromkeys(protocol.answering_for(one).id for one in agencies):
        if protocol.agencies_by_id[agency].party in protocol.left_parties:
            continue
        step = ExpectedStep(
            action="age_assessed",
            party=protocol.agencies_by_id[agency].party,
            agency=agency,
            due=_end_of(quarter_end(first).isoformat()),
            told_from=begins - timedelta(weeks=periods.of_age_weeks),
        )
        yield OwedStep(ObligationKind.COMING_OF_AGE, step, COMING_OF_AGE)


def _of_procedure(
    state: CaseState, protocol: Protocol, agreement: Agreement, acts: Mapping[UUID, Act]
) -> Iterator[OwedStep]:
    for expectation in _expectations(state, protocol, agreement, acts):
        turn = _turn(expectation, state, protocol)
        if turn in protocol.left_parties:
            continue  # it may take none of these steps any more
        since = max(state.facts[fact].since for fact in expectation.after)
        if expectation.children_only and state.child_since is not None:
            since = max(since, state.child_since)
        days = expectation.within_days
        step = ExpectedStep(
            action=expectation.action,
            party=turn,
            roles=expectation.roles,
            due=None if days is None else _later(since, timedelta(days=days)),
        )
        basis = f"{'+'.join(expectation.after)} until {expectation.until}"
        yield OwedStep(ObligationKind.PROCEDURE, step, basis, until=expectation.until)


def _expectations(
    state: CaseState, protocol: Protocol, agreement: Agreement, acts: Mapping[UUID, Act]
) -> Iterator[Expectation]:
    """Yield the expectations that hold now.

    Each is by the version of the protocol under which its facts were established.

    The roles are the roles that ``protocol``, the version of the case's last event, names for the
    same expectation: an amendment changes the roles that may act, but not the step that is owed.
    """
    present = {one.key: one for one in protocol.expected}
    for version in agreement.versions:
        for expectation in version.protocol.expected:
            if not _holds(expectation, state):
                continue
            begun_under = _begun_under(expectation, state, agreement, acts)
            now = present.get(expectation.key)
            if now is not None and now.applies_to_open:
                if version.protocol.version == protocol.version:
                    yield expectation
            elif begun_under.version == version.protocol.version:
                if now is None or now.roles == expectation.roles:
                    yield expectation
                else:
                    yield expectation.model_copy(update={"roles": now.roles})


def _holds(expectation: Expectation, state: CaseState) -> bool:
    if expectation.children_only and not state.is_child:
        return False
    if expectation.until in state.facts:
        return False
    return all(fact in state.facts for fact in expectation.after)


def _begun_under(
    expectation: Expectation, state: CaseState, agreement: Agreement, acts: Mapping[UUID, Act]
) -> Protocol:
    """Return the version under which the last fact of an expectation was established."""
    if len(agreement.versions) == 1:
        return agreement.latest.protocol
    begun = (acts[state.facts[fact].action] for fact in expectation.after)
    return agreement.of_act(max(begun, key=lambda act: act.position))


def _of_coordination(state: CaseState, protocol: Protocol) -> Iterator[OwedStep]:
    for request_id, request in state.open_requests.items():
        if _has_left(request.by, protocol):
            continue  # nothing is sent to a party that left
        to, due = request.addressee, request.answer_by
        if not request.acknowledged:
            step = _owed("information_acknowledged", to, due, request_id, protocol)
            yield _asked(ObligationKind.ACKNOWLEDGEMENT, step, request.by)
        step = _owed("information_provided", to, due, request_id, protocol)
        yield _asked(ObligationKind.ANSWER, step, request.by, is_next=request.acknowledged)
    for agreed_id, agreed in state.joint_actions.items():
        yield from _each(agreed.responsible, agreed.due, agreed_id, protocol)
    offer = state.lead_offer
    if offer is not None and not _has_left(offer.to, protocol):
        step = _owed("lead_transfer_accepted", offer.to, None, offer.offer, protocol)
        yield _asked(ObligationKind.HANDOVER, step, offer.by)


def _of_accountability(state: CaseState, protocol: Protocol) -> Iterator[OwedStep]:
    """Yield the steps that countries owe each other whether the case is open or closed."""
    for opened, access in state.break_glass.items():
        actor = protocol.agencies_by_id[access.by].party
        for party in access.to_review:
            step = ExpectedStep(
                action="break_glass_reviewed",
                party=party,
                roles=protocol.reviewing_roles("break_glass_reviewed", party, actor),
                due=_later(access.since, _REVIEW_WITHIN),
                concerning=opened,
            )
            yield _asked(ObligationKind.BREAK_GLASS_REVIEW, step)
    if protocol.left_parties:
        yield from _of_leaving(state, protocol)
    if state.erasure is not None:
        for party in state.erasure.pending:
            step = ExpectedStep(
                action="erasure_confirmed",
                party=party,
                due=_later(state.erasure.since, _ERASE_WITHIN),
                concerning=state.erasure.order,
            )
            yield _asked(ObligationKind.ERASURE, step)


def _has_left(agency: str, protocol: Protocol) -> bool:
    return protocol.agencies_by_id[agency].party in protocol.left_parties


def _of_leaving(state: CaseState, protocol: Protocol) -> Iterator[OwedStep]:
    """Yield the erasures that parties that left owe of what they had received in the case."""
    within = timedelta(days=protocol.withdrawal_terms.erase_within_days)
    pending = state.erasure.pending if state.erasure is not None else ()
    for party in state.parties:
        day = protocol.left_parties.get(party)
        if day is None or party in pending or len(state.parties) == 1:
            continue
        step = ExpectedStep(
            action="erasure_confirmed",
            party=party,
            due=_later(datetime.combine(day, time(), UTC), within),
        )
        yield OwedStep(ObligationKind.ERASURE, step, f"withdrawal on {day}")


def _each(
    responsible: Iterable[str], due: str | None, agreed: UUID, protocol: Protocol
) -> Iterator[OwedStep]:
    # The coordinator may answer for several of them, which are retired.
    for agency in dict.fromkeys(protocol.answering_for(one).id for one in responsible):
        step = _owed("joint_action_done", agency, due, agreed, protocol)
        yield _asked(ObligationKind.JOINT_ACTION, step)


def _asked(
    kind: ObligationKind, step: ExpectedStep, creditor: str | None = None, *, is_next: bool = True
) -> OwedStep:
    """Return the owed step that an action asks for."""
    return OwedStep(kind, step, str(step.concerning), creditor, is_next=is_next)


def _owed(
    action: str, agency: str, due: str | None, concerning: UUID, protocol: Protocol
) -> ExpectedStep:
    answering = protocol.answering_for(agency)
    return ExpectedStep(
        action=action,
        party=answering.party,
        agency=answering.id,
        due=_end_of(due),
        concerning=concerning,
    )


def _later(since: datetime, within: timedelta) -> datetime:
    """Return ``since`` plus ``within``, or the last possible time if the sum is beyond it.

    A hostile node may have recorded any time.
    """
    try:
        return since + within
    except OverflowError:
        return _LAST


def _end_of(day: str | None) -> datetime | None:
    if day is None:
        return None
    return datetime.combine(date.fromisoformat(day), time(23, 59, 59), UTC)


def _turn(expectation: Expectation, state: CaseState, protocol: Protocol) -> str | None:
    match expectation.by:
        case "lead":
            return protocol.leading(state.lead_agency, state.parties).party
        case "destination" if state.planned_return is not None:
            return state.planned_return.destination
        case "destination" if "received" in state.facts:
            return state.facts["received"].party
    return None
