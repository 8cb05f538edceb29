"""The steps that are owed in a case, by which agency and by when, and the steps expected next."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from ledger.events.act import Act
from ledger.procedure.agreement import Agreement
from ledger.procedure.approving_parties import other_holders, other_parties
from ledger.procedure.case_state import CaseState, Destruction
from ledger.procedure.communication_forms import CommunicationForm
from ledger.procedure.conditions import Marked, Repeats, Standing
from ledger.procedure.dates import quarter_end
from ledger.procedure.held_parts import last_lifted
from ledger.procedure.merged_cases import (
    NO_OTHERS,
    OtherCases,
    accepted_by,
    lifted_elsewhere,
    stands_free,
)
from ledger.procedure.protocol import (
    Accountability,
    Agency,
    Expectation,
    Protocol,
)
from ledger.procedure.time_zones import end_of_day, end_of_local_day, zone_of, zone_of_days
from ledger.vocabulary.action import LedgerModel
from ledger.vocabulary.types import UtcDatetime
from projections.folds.obligation_terms import ObligationKind

COMING_OF_AGE = "coming of age"
"""The basis of the assessment of age at the coming of age."""
_OPENED = "case_opened"
_LIMITS_SINCE = 2
"""From this edition on, the recorded ends of permits and the limit of a claim are followed."""
_LIFTING_SINCE = 2
"""From this edition on, a party that left owes the lifting of its own holds by a day."""
_HOLDERS_SINCE = 2
"""From this edition on, a country that holds what would be destroyed approves the destruction."""
APPROVAL_DAYS = 7
"""Within so many days a proposal is expected to be approved if the text names no period.

This is an assumption of this program, which makes nobody late."""
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
    """By when it must be done; nobody is late before."""
    expected_by: UtcDatetime | None = None
    """By when it is expected by a deadline that the protocol only assumes. It makes nobody late."""
    standing: Standing | None = None
    """The authority of the deadline; ``None`` where the protocol has no mark, or an action set it.
    """
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
    """Its basis: the action that asks for it, or the facts that the protocol names."""
    creditor: str | None = None
    """The one agency that it is owed to, where only one is."""
    until: str | None = None
    """The fact that ends it, where the protocol expects it."""
    is_next: bool = True
    """Whether it is the next that is expected, or waits for another step of the same."""


def expected_steps(
    state: CaseState,
    agreement: Agreement,
    acts: Mapping[UUID, Act],
    others: OtherCases = NO_OTHERS,
) -> tuple[ExpectedStep, ...]:
    """Return the next steps of a case, the one due first at the head.

    ``acts`` are the case's acts by id, and ``others`` the cases that were ever joined with it.
    """
    steps = [owed.step for owed in owed_steps(state, agreement, acts, others) if owed.is_next]

    def order(step: ExpectedStep) -> tuple[datetime, str, str]:
        return step.due or step.expected_by or _LAST, step.action, str(step.concerning)

    return tuple(sorted(steps, key=order))


def owed_steps(
    state: CaseState,
    agreement: Agreement,
    acts: Mapping[UUID, Act],
    others: OtherCases = NO_OTHERS,
) -> Iterator[OwedStep]:
    """Yield all steps that are owed in a case, as of its last event.

    ``acts`` are the case's acts by id, and ``others`` the cases that were ever joined with it. An
    answer is owed from when it was asked for, though its acknowledgement is expected first. A step
    of the procedure is owed by the version of the protocol in force when its facts were
    established, so that an amendment neither moves its deadline nor ends it.
    """
    protocol = agreement.at(state.position, state.last_recorded_at)
    when = _Deadlines(state, agreement, acts)
    yield from _of_accountability(state, protocol, when, others)
    yield from _of_forms(state, protocol, agreement, acts)
    yield from _rectifications(state, agreement, acts)
    yield from _merges(state, protocol, when, others)
    if not state.is_closed or state.merged_into is not None:
        # What was asked for in a case that was merged is answered in it.
        yield from _of_coordination(state, protocol, when)
    if not state.is_closed:
        yield from _error_closing(state, protocol, when)
        yield from _of_procedure(state, protocol, agreement, acts)
        yield from _of_limits(state, protocol, acts)
        yield from _coming_of_age(state, protocol, acts)


def _merges(
    state: CaseState, protocol: Protocol, when: "_Deadlines", others: OtherCases
) -> Iterator[OwedStep]:
    """Yield the next step of a proposed merge of the case, and the undoing of a merge of it.

    The agency that was asked owes the acceptance. Once the other case has it, the lead of this case
    owes its end.
    """
    into = state.merged_into
    undoing = into.undoing if into is not None and not state.is_erased else None
    if undoing is not None:
        lead = protocol.leading(state.lead_agency, state.parties)
        if lead.party not in protocol.left_parties:
            asked, since = undoing.announcement, undoing.since
            step = ExpectedStep(
                action="merge_undone",
                party=lead.party,
                agency=lead.id,
                concerning=asked,
                **when.of_terms(asked, since, lambda terms: terms.merge_undoing_days, lead.party),
            )
            yield _asked(ObligationKind.MERGE, step)
    proposed = state.merge_proposal
    if proposed is None:
        return
    if (accepting := accepted_by(state.case_id, proposed.proposal, others)) is not None:
        lead = protocol.leading(state.lead_agency, state.parties)
        if lead.party not in protocol.left_parties:
            step = _owed("case_merged", lead.id, None, proposed.proposal, protocol, when)
            yield _asked(ObligationKind.MERGE, step, accepting)
    elif not _has_left(proposed.addressee, protocol):
        to, by = proposed.addressee, proposed.answer_by
        step = _owed("merge_accepted", to, by, proposed.proposal, protocol, when)
        # The proposing agency set this day alone: it makes nobody late.
        step = step.model_copy(update={"due": None, "expected_by": step.due or step.expected_by})
        yield _asked(ObligationKind.MERGE, step, proposed.by)


def _rectifications(
    state: CaseState, agreement: Agreement, acts: Mapping[UUID, Act]
) -> Iterator[OwedStep]:
    """Yield the answers to the person's requests, by the version in force at each request."""
    for request, asked in state.rectifications.items():
        protocol = agreement.of_act(acts[request])
        if asked.party in agreement.at(state.position, state.last_recorded_at).left_parties:
            continue  # it may take none of these steps any more
        periods = protocol.person_record
        due = None
        if periods is not None:
            due = _after_days(asked.since, periods.rectification_days, [asked.party], protocol)
        step = ExpectedStep(
            action="identity_recorded",
            party=asked.party,
            agency=protocol.answering_for(asked.by).id,
            concerning=request,
            **_dated(periods, due),
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
    agencies = [state.lead_agency]
    if (guardian := state.facts.get("guardian_appointed")) is not None:
        agencies.append(acts[guardian.action].agency)
    for agency in dict.fromkeys(protocol.answering_for(one).id for one in agencies):
        party = protocol.agencies_by_id[agency].party
        if party in protocol.left_parties:
            continue
        step = ExpectedStep(
            action="age_assessed",
            party=party,
            agency=agency,
            told_from=_beginning_of(first, party, protocol) - timedelta(weeks=periods.of_age_weeks),
            **_dated(periods, _end_of(quarter_end(first), party, protocol)),
        )
        yield OwedStep(ObligationKind.COMING_OF_AGE, step, COMING_OF_AGE)


def _beginning_of(day: date, party: str, protocol: Protocol) -> datetime:
    return datetime.combine(day, time(), zone_of_days(protocol, party)).astimezone(UTC)


def _of_limits(
    state: CaseState, protocol: Protocol, acts: Mapping[UUID, Act]
) -> Iterator[OwedStep]:
    """Yield what the recorded ends of permits and protections, and the limit of a claim, ask for.

    An action of the case set each date; the protocol has none. Edition 1 does not follow them.
    """
    if protocol.edition < _LIMITS_SINCE:
        return
    ending = protocol.actions.get("protection_measure_ended")
    for action, measure in state.measures.items():
        if measure.until is None or ending is None or measure.party in protocol.left_parties:
            continue
        step = ExpectedStep(
            action="protection_measure_ended",
            party=measure.party,
            roles=ending.roles,
            due=measure.until,
            concerning=action,
        )
        yield _asked(ObligationKind.MEASURE_END, step)
    limit = state.facts.get("compensation_limit_set")
    claiming = protocol.actions.get("compensation_recorded")
    if limit is None or claiming is None or limit.party in protocol.left_parties:
        return
    if any(fact.startswith("compensation_") and fact != "compensation_limit_set"
           for fact in state.facts):  # fmt: skip
        return
    step = ExpectedStep(
        action="compensation_recorded",
        party=limit.party,
        roles=claiming.roles,
        due=_end_of(
            date.fromisoformat(acts[limit.action].fields["claim_by"]), limit.party, protocol
        ),
        concerning=limit.action,
    )
    yield _asked(ObligationKind.COMPENSATION_CLAIM, step)


@dataclass(frozen=True, slots=True)
class _Deadlines:
    """The deadlines of a case's steps: each by the version in force when an action asked for it."""

    state: CaseState
    agreement: Agreement
    acts: Mapping[UUID, Act]

    def of_terms(
        self, asked: UUID | None, since: datetime, days: Callable[[Accountability], int], party: str
    ) -> Mapping[str, Any]:
        """Return the dates of a step that ``party`` owes within ``days`` of the terms."""
        protocol = self._under(asked)
        terms = protocol.accountability_terms
        return _dated(terms, _after_days(since, days(terms), [party], protocol))

    def until(self, asked: UUID, ends: datetime | None) -> Mapping[str, Any]:
        """Return the dates of a step that counts until ``ends``, by a period of the terms."""
        return _dated(self._under(asked).accountability_terms, ends)

    def of_approval(self, proposal: UUID, since: datetime, party: str) -> Mapping[str, Any]:
        """Return the dates of an approval that ``party`` may give.

        A text that names no period makes nobody late, even if its other periods are adopted.
        """
        protocol = self._under(proposal)
        terms = protocol.accountability_terms
        ends = _after_days(since, terms.approval_days or APPROVAL_DAYS, [party], protocol)
        if terms.approval_days is None:
            return {"expected_by": ends, "standing": Standing.ASSUMPTION}
        return _dated(terms, ends)

    def end_of(self, asked: UUID, day: str | None, party: str) -> datetime | None:
        """Return the end of the day that the action ``asked`` named to ``party``."""
        if day is None:
            return None
        return _end_of(date.fromisoformat(day), party, self._under(asked))

    def _under(self, action: UUID | None) -> Protocol:
        act = self.acts.get(action) if action is not None else None
        if act is None or len(self.agreement.versions) == 1:
            return self.agreement.latest.protocol
        return self.agreement.of_act(act)


def _of_procedure(
    state: CaseState, protocol: Protocol, agreement: Agreement, acts: Mapping[UUID, Act]
) -> Iterator[OwedStep]:
    for expectation, begun_under, not_before in _expectations(state, protocol, agreement, acts):
        party = _turn(expectation, state, protocol, acts)
        if party in protocol.left_parties:
            continue  # it may take none of these steps any more
        if expectation.parties and party not in expectation.parties:
            continue
        since = max(state.facts[fact].since for fact in expectation.after)
        before_merge = _since_own_opening(expectation, state, party)
        if expectation.children_only and state.child_since is not None:
            since = max(since, state.child_since)
        days, until = expectation.within_days, expectation.until
        basis = f"{'+'.join(expectation.after)} until {expectation.until}"
        if expectation.repeats is not None:
            until = expectation.repeats.after
            last = state.facts.get(until)
            if last is not None and last.action in acts and last.since >= since:
                since, days = last.since, _again_within(expectation.repeats, acts[last.action])
                basis = f"{basis}, after {last.action}"
        since = since if not_before is None else max(since, not_before)
        debtors = [party] if party is not None else state.parties
        when = None if days is None else _after_days(since, days, debtors, begun_under)
        if before_merge is not None and days is not None and when is not None:
            own_since, joined_at = before_merge
            if when < joined_at and own_since > since:
                # A merge makes nobody late who had no part in the case that was taken in.
                when = _after_days(own_since, days, debtors, begun_under)
        step = ExpectedStep(
            action=expectation.action,
            party=party,
            roles=expectation.roles,
            **_dated(expectation, when),
        )
        yield OwedStep(ObligationKind.PROCEDURE, step, basis, until=until)


def _since_own_opening(
    expectation: Expectation, state: CaseState, party: str | None
) -> tuple[datetime, datetime] | None:
    """Return since when a country owes a step by the opening of this very case.

    The second time is that of the acceptance. ``None`` is returned for a country that was party to
    each case that was taken in. A step that any country may take counts as owed by all.
    """
    owing = {party} if party is not None else {*state.parties}
    joined = [one.since for one in state.taken_in.values() if not owing <= {*one.countries}]
    if not joined:
        return None
    since = max(
        state.opened_at if fact == _OPENED else state.facts[fact].since
        for fact in expectation.after
    )
    return since, max(joined)


def _again_within(repeats: Repeats, last: Act) -> int:
    """Return within how many days the next action is expected after the last one."""
    days = [one.within_days for one in repeats.sooner if last.fields.get(one.field) in one.values]
    return min(days, default=repeats.within_days)


def _expectations(
    state: CaseState, protocol: Protocol, agreement: Agreement, acts: Mapping[UUID, Act]
) -> Iterator[tuple[Expectation, Protocol, datetime | None]]:
    """Yield the expectations that hold now, each with the version that its deadline is of.

    Each is by the version of the protocol under which its facts were established, or by a later one
    that applies to open steps. Where such a version changed the deadline, the third value is when
    it came into force: the days count from then, so that it makes no step late that was not.

    The roles are the roles that ``protocol``, the version of the case's last event, names for the
    same expectation: an amendment changes the roles that may act, but not the step that is owed.
    """
    if len(agreement.versions) == 1:
        # No amendment: each expectation is of the version in force.
        for expectation in protocol.expected:
            if _holds(expectation, state):
                yield expectation, agreement.latest.protocol, None
        return
    present = {one.key: one for one in protocol.expected}
    for version in agreement.versions:
        for expectation in version.protocol.expected:
            if not _holds(expectation, state):
                continue
            begun_under = _begun_under(expectation, state, agreement, acts)
            governing, since = _governing(expectation, begun_under, protocol, agreement)
            if governing.version != version.protocol.version:
                continue
            now = present.get(expectation.key)
            if now is not None and now.roles != expectation.roles:
                expectation = expectation.model_copy(update={"roles": now.roles})
            yield expectation, governing, since


def _governing(
    expectation: Expectation, begun_under: Protocol, present: Protocol, agreement: Agreement
) -> tuple[Protocol, datetime | None]:
    """Return the version of a step's deadline, and since when that deadline counts.

    The time is ``None`` if the deadline is that of the version under which the step began.
    """
    governing, since = begun_under, None
    if len(agreement.versions) == 1:
        return governing, since
    deadline = _deadline(expectation.key, begun_under)
    for version in agreement.versions:
        if not begun_under.version < version.protocol.version <= present.version:
            continue
        changed = _deadline(expectation.key, version.protocol)
        if changed is None or not changed.applies_to_open:
            continue
        if deadline is None or not _is_same_deadline(deadline, changed):
            since = version.earliest
        deadline = changed
        governing = present if version.protocol.version == present.version else version.protocol
    return governing, since


def _deadline(key: tuple[str, tuple[str, ...], str], text: Protocol) -> Expectation | None:
    return next((one for one in text.expected if one.key == key), None)


def _is_same_deadline(one: Expectation, other: Expectation) -> bool:
    """Return whether two versions of an expectation make a party late at the same time."""
    aside = {"roles": (), "source": None, "standing": None, "applies_to_open": False}
    first, second = (step.model_copy(update=aside) for step in (one, other))
    return first == second and one.is_assumed == other.is_assumed


def _holds(expectation: Expectation, state: CaseState) -> bool:
    if expectation.children_only and not state.is_child:
        return False
    facts = state.facts.keys()
    return (
        expectation.until not in facts
        and facts >= set(expectation.after)
        and facts.isdisjoint(expectation.not_while)
    )


def _begun_under(
    expectation: Expectation, state: CaseState, agreement: Agreement, acts: Mapping[UUID, Act]
) -> Protocol:
    """Return the version under which the last fact of an expectation was established."""
    if len(agreement.versions) == 1:
        return agreement.latest.protocol
    begun = (acts[state.facts[fact].action] for fact in expectation.after)
    return agreement.of_act(max(begun, key=lambda act: act.position))


def _of_forms(
    state: CaseState, protocol: Protocol, agreement: Agreement, acts: Mapping[UUID, Act]
) -> Iterator[OwedStep]:
    """Yield what the addressees of communication forms owe, in an open case and a closed one.

    The periods are those of the version in force when the form was sent.
    """
    if state.is_erased:
        return
    for action, sent in state.forms.items():
        if _has_left(sent.by, protocol) or _has_left(sent.addressee, protocol):
            continue
        then = agreement.of_act(acts[action])
        form = then.forms_by_number.get(sent.number)
        if form is None:
            continue
        to = protocol.answering_for(sent.addressee)
        asked = _AskedByForm(action, acts[action].recorded_at, to, then)
        if not sent.acknowledged:
            step = asked.step("form_acknowledged", form, form.acknowledge_within_days)
            yield _asked(ObligationKind.FORM_ACKNOWLEDGEMENT, step, sent.by)
        # An answer that the text in force has no more is owed no more.
        if sent.answered_by in protocol.forms_by_number and not sent.answered:
            step = asked.step("form_sent", form, form.answer_within_days)
            yield _asked(ObligationKind.FORM_ANSWER, step, sent.by, is_next=sent.acknowledged)


@dataclass(frozen=True, slots=True)
class _AskedByForm:
    """A debt by a form: the debtor, its beginning, and the version of the protocol."""

    sending: UUID
    since: datetime
    to: Agency
    protocol: Protocol

    def step(self, action: str, form: CommunicationForm, days: int | None) -> ExpectedStep:
        due = None
        if days is not None:
            due = _after_days(self.since, days, [self.to.party], self.protocol)
        return ExpectedStep(
            action=action,
            party=self.to.party,
            agency=self.to.id,
            concerning=self.sending,
            **_dated(form.periods, due),
        )


def _of_coordination(state: CaseState, protocol: Protocol, when: _Deadlines) -> Iterator[OwedStep]:
    for request_id, request in state.open_requests.items():
        if _has_left(request.by, protocol):
            continue  # nothing is sent to a party that left
        to, due = request.addressee, request.answer_by
        if not request.acknowledged:
            step = _owed("information_acknowledged", to, due, request_id, protocol, when)
            yield _asked(ObligationKind.ACKNOWLEDGEMENT, step, request.by)
        step = _owed("information_provided", to, due, request_id, protocol, when)
        yield _asked(ObligationKind.ANSWER, step, request.by, is_next=request.acknowledged)
    for agreed_id, agreed in state.joint_actions.items():
        yield from _each(agreed.responsible, agreed.due, agreed_id, protocol, when)
    offer = state.lead_offer
    if offer is not None and not _has_left(offer.to, protocol):
        step = _owed("lead_transfer_accepted", offer.to, None, offer.offer, protocol, when)
        yield _asked(ObligationKind.HANDOVER, step, offer.by)


def _of_accountability(
    state: CaseState, protocol: Protocol, when: _Deadlines, others: OtherCases
) -> Iterator[OwedStep]:
    """Yield the steps that countries owe each other whether the case is open or closed."""
    for opened, access in state.break_glass.items():
        actor = protocol.agencies_by_id[access.by].party
        for party in access.to_review:
            step = ExpectedStep(
                action="break_glass_reviewed",
                party=party,
                roles=protocol.reviewing_roles("break_glass_reviewed", party, actor),
                concerning=opened,
                **when.of_terms(opened, access.since, lambda terms: terms.review_days, party),
            )
            yield _asked(ObligationKind.BREAK_GLASS_REVIEW, step)
    if protocol.left_parties:
        yield from _of_leaving(state, protocol, when)
    if state.erasure is not None:
        order, since = state.erasure.order, state.erasure.since
        for party in state.erasure.pending:
            step = ExpectedStep(
                action="erasure_confirmed",
                party=party,
                concerning=order,
                **when.of_terms(order, since, lambda terms: terms.erasure_days, party),
            )
            yield _asked(ObligationKind.ERASURE, step)
    yield from _of_destructions(state, when)
    yield from _approvals(state, protocol, when, others)


def _approvals(
    state: CaseState, protocol: Protocol, when: _Deadlines, others: OtherCases
) -> Iterator[OwedStep]:
    """Yield the approvals that proposed erasures and destructions wait for.

    Every party that may approve owes the approval, and one approval ends it for all. Nothing is
    approved while a legal hold is in force, in this case or in one that holds it too, or while a
    merge is half done. The period then begins anew with the lifting of the hold.
    """
    if state.holds or state.is_erased or not stands_free(state, others):
        return
    past = [act for act in when.acts.values() if act.position <= state.position]
    lifted = [at for at in (last_lifted(past), lifted_elsewhere(state, others)) if at is not None]
    for one in _proposals(state, protocol, past):
        since = max([one.since, *lifted])
        proposing = protocol.agencies_by_id[one.by].party
        for party in one.parties:
            roles = protocol.reviewing_roles(one.action, party, proposing)
            if not roles or party in protocol.left_parties:
                continue
            step = ExpectedStep(
                action=one.action,
                party=party,
                agency=one.agency,
                roles=() if one.agency is not None else roles,
                concerning=one.proposal,
                **when.of_approval(one.proposal, since, party),
            )
            yield _asked(ObligationKind.APPROVAL, step, one.by)


def _error_closing(state: CaseState, protocol: Protocol, when: _Deadlines) -> Iterator[OwedStep]:
    """Yield the agreements that a proposal to close the case as opened in error waits for."""
    proposed = state.error_closing
    if proposed is None:
        return
    action, proposing = "error_closing_accepted", protocol.agencies_by_id[proposed.by].party
    for party in proposed.pending:
        roles = protocol.reviewing_roles(action, party, proposing)
        if roles and party not in protocol.left_parties:
            step = ExpectedStep(
                action=action,
                party=party,
                roles=roles,
                concerning=proposed.proposal,
                **when.until(proposed.proposal, proposed.until),
            )
            yield _asked(ObligationKind.APPROVAL, step, proposed.by)


@dataclass(frozen=True, slots=True)
class _Proposal:
    """A proposal without an approval."""

    action: str
    """The action that approves it."""
    proposal: UUID
    by: str
    since: datetime
    parties: Iterable[str]
    """The parties that may approve it."""
    agency: str | None = None
    """The one agency that may approve it, where only one may."""


def _proposals(state: CaseState, protocol: Protocol, past: Collection[Act]) -> Iterator[_Proposal]:
    """Yield the proposed erasure and the proposed destructions. ``past`` are the acts so far."""
    erasure = state.erasure
    is_erasable = state.is_closed and state.merged_into is None
    if is_erasable and erasure is not None and erasure.proposal and erasure.by:
        parties, agency = _approving_erasure(state, protocol, erasure.by)
        yield _Proposal(
            "erasure_approved", erasure.proposal, erasure.by, erasure.since, parties, agency
        )
    for proposal, one in state.destructions.items():
        if one.order is None:
            parties = _approving_destruction(state, protocol, one, past)
            yield _Proposal("destruction_approved", proposal, one.by, one.since, parties)


def _approving_erasure(
    state: CaseState, protocol: Protocol, by: str
) -> tuple[Iterable[str], str | None]:
    """Return the parties that may approve an erasure, and the one agency where only one may."""
    proposing = protocol.agencies_by_id[by].party
    rule = protocol.actions.get("erasure_approved")
    if state.taken_in:
        others = other_parties(state, proposing, protocol)
        if others:
            return others, None
    if rule is not None and rule.reviews is None:  # a second person of the proposing agency
        answering = protocol.answering_for(by)
        return [answering.party], answering.id
    return state.parties, None


def _approving_destruction(
    state: CaseState, protocol: Protocol, proposed: Destruction, past: Collection[Act]
) -> Iterable[str]:
    """Return the parties that may approve a destruction: other holders first, if there are any."""
    if protocol.edition < _HOLDERS_SINCE:
        return state.parties
    others = other_holders(proposed.annulled, past, protocol)
    return [party for party in state.parties if not others or party in others]


def _of_destructions(state: CaseState, when: _Deadlines) -> Iterator[OwedStep]:
    """Yield the destructions that were ordered and that countries have not confirmed."""
    for destruction in state.destructions.values():
        for party in destruction.pending:
            step = ExpectedStep(
                action="destruction_confirmed",
                party=party,
                concerning=destruction.order,
                **when.of_terms(
                    destruction.order,
                    destruction.stoppable_until or destruction.since,
                    lambda terms: terms.erasure_days,
                    party,
                ),
            )
            yield _asked(ObligationKind.DESTRUCTION, step)


def _has_left(agency: str, protocol: Protocol) -> bool:
    return protocol.agencies_by_id[agency].party in protocol.left_parties


def _of_leaving(state: CaseState, protocol: Protocol, when: "_Deadlines") -> Iterator[OwedStep]:
    """Yield what parties that left owe: to lift their holds, and to erase their part.

    Another party owes the review of its hold that keeps one of them from erasing: it lifts the
    hold, or places another one and lifts this one.

    Their part is what they had received in the case. The days are those of the last text that the
    party was bound by: it has no say in later ones. No day is set for the erasure while a legal
    hold is in force. Once the last one is lifted, the days for the erasure begin anew.
    """
    pending = state.erasure.pending if state.erasure is not None else ()
    reviewed: set[UUID] = set()
    for party in state.parties:
        day = protocol.left_parties.get(party)
        if day is None or party in pending or len(state.parties) == 1:
            continue
        leaving = when.agreement.leaving(party, day)
        since, terms = leaving.begins, when.agreement.bound_by(leaving).withdrawal_terms
        for hold, placed in state.holds.items():
            if placed.party == party and protocol.edition >= _LIFTING_SINCE:
                ends = _after_days(since, terms.erase_within_days, [party], protocol)
                lifting = ExpectedStep(
                    action="legal_hold_lifted", party=party, concerning=hold, **_dated(terms, ends)
                )
                yield _asked(ObligationKind.HOLD_LIFTING, lifting)
            elif (
                terms.hold_review_days is not None
                and placed.party not in protocol.left_parties
                and hold not in reviewed
            ):
                reviewed.add(hold)
                began = max(since, when.acts[hold].recorded_at)
                ends = _after_days(began, terms.hold_review_days, [placed.party], protocol)
                review = ExpectedStep(
                    action="legal_hold_lifted",
                    party=placed.party,
                    concerning=hold,
                    **_dated(terms, ends),
                )
                yield _asked(ObligationKind.HOLD_LIFTING, review)
        if (lifted := last_lifted(when.acts.values())) is not None:
            since = max(since, lifted)
        step = ExpectedStep(
            action="erasure_confirmed",
            party=party,
            **_dated(
                terms,
                None
                if state.holds
                else _after_days(since, terms.erase_within_days, [party], protocol),
            ),
        )
        yield OwedStep(ObligationKind.ERASURE, step, f"withdrawal on {day}")


def _each(
    responsible: Iterable[str],
    due: str | None,
    agreed: UUID,
    protocol: Protocol,
    when: _Deadlines,
) -> Iterator[OwedStep]:
    # The coordinator may answer for several of them, which are retired.
    for agency in dict.fromkeys(protocol.answering_for(one).id for one in responsible):
        step = _owed("joint_action_done", agency, due, agreed, protocol, when)
        yield _asked(ObligationKind.JOINT_ACTION, step)


def _asked(
    kind: ObligationKind, step: ExpectedStep, creditor: str | None = None, *, is_next: bool = True
) -> OwedStep:
    """Return the owed step that an action asks for."""
    return OwedStep(kind, step, str(step.concerning), creditor, is_next=is_next)


def _owed(
    action: str,
    agency: str,
    due: str | None,
    concerning: UUID,
    protocol: Protocol,
    when: _Deadlines,
) -> ExpectedStep:
    answering = protocol.answering_for(agency)
    return ExpectedStep(
        action=action,
        party=answering.party,
        agency=answering.id,
        due=when.end_of(concerning, due, answering.party),
        concerning=concerning,
    )


def _dated(part: Marked | None, when: datetime | None) -> Mapping[str, Any]:
    """Return the dates of a step by a part of the protocol, which may be assumed only."""
    standing = part.standing if part is not None and when is not None else None
    if standing is Standing.ASSUMPTION:
        return {"expected_by": when, "standing": standing}
    return {"due": when, "standing": standing}


def _after_days(since: datetime, days: int, debtors: Iterable[str], protocol: Protocol) -> datetime:
    """Return when a step is due that any of ``debtors`` owes within so many days.

    Where the protocol counts local days, that is the end of a local day: the last one to end, if
    several parties may take the step. A hostile node may have recorded any time: the result is the
    last possible time if the sum is beyond it.
    """
    try:
        if protocol.counts_local_days:
            return end_of_local_day(since, days, [zone_of(protocol, one) for one in debtors])
        return since + timedelta(days=days)
    except OverflowError:
        return _LAST


def _end_of(day: date, party: str, protocol: Protocol) -> datetime:
    """Return the end of a day that ``party`` has for a step, by its own days where these count."""
    zone = zone_of_days(protocol, party)
    try:
        return end_of_day(day, zone)
    except OverflowError:
        return _LAST


def _turn(
    expectation: Expectation, state: CaseState, protocol: Protocol, acts: Mapping[UUID, Act]
) -> str | None:
    asked = state.facts.get("return_requested")
    match expectation.by:
        case "lead":
            return protocol.leading(state.lead_agency, state.parties).party
        case "destination" if state.planned_return is not None:
            return state.planned_return.destination
        case "destination" if asked is not None and asked.action in acts:
            return str(acts[asked.action].fields["destination"])
        case "destination" if "received" in state.facts:
            return state.facts["received"].party
    return None
