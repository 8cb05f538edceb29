"""The conditions that must be settled before two cases are merged or parted.

A merge is rare, and it waits until both cases are simple. Each condition reads the state of the
action's own case, or something of the other case that no later event changes: an action that is
recorded there, or the other case up to an action that is named.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from uuid import UUID

from ledger.events.act import Act
from ledger.procedure.case_fold import addressed_parties, annulled_ids, facts_named, without_effect
from ledger.procedure.case_state import CaseState
from ledger.procedure.protocol import Protocol
from ledger.refusals import Refusal, out_of_procedure

_OPENING = "case_opened"

_UNSETTLED: tuple[tuple[str, str, Callable[[CaseState], bool]], ...] = (
    (
        "unsettled-hold",
        "A legal hold is in force in this case. A merge waits until it is lifted"
        " (legal_hold_lifted).",
        lambda state: bool(state.holds),
    ),
    (
        "unsettled-return",
        "A return of the person is planned or begun in this case. A merge waits until the person"
        " is received (received) or the return is cancelled (return_cancelled).",
        lambda state: (
            state.planned_return is not None
            or ("departed" in state.facts and "received" not in state.facts)
        ),
    ),
    (
        "unsettled-access",
        "An access in danger to life is not reviewed in this case. A merge waits until each"
        " country that owes the review has recorded it (break_glass_reviewed).",
        lambda state: bool(state.break_glass),
    ),
    (
        "unsettled-erasure",
        "An erasure is proposed or announced in this case. A merge waits until it is annulled, or"
        " the case is reopened.",
        lambda state: state.erasure is not None or state.retention is not None,
    ),
    (
        "unsettled-destruction",
        "A destruction of what an annulled action disclosed is not confirmed by every country in"
        " this case. A merge waits until it is, or its proposal is annulled.",
        lambda state: any(one.order is None or one.pending for one in state.destructions.values()),
    ),
    (
        "unsettled-merge",
        "This case has a part in another merge. Undo that merge first (merge_undone): merged cases"
        " form no chain.",
        lambda state: bool(state.taken_in) or state.merged_into is not None,
    ),
)
"""The rule, what to settle first, and the test of a case's own state."""


def unsettled(state: CaseState) -> Refusal | None:
    """Return why a case is not merged now, by its own state; ``None`` if it may be."""
    for rule, message, is_unsettled in _UNSETTLED:
        if is_unsettled(state):
            return out_of_procedure(rule, message)
    return None


def part_unsettled(state: CaseState, party: str, protocol: Protocol) -> Refusal | None:
    """Return what a country must settle in a case before it loses its part in the case."""
    open_parts = list(_open_parts(state, party, protocol))
    if not open_parts:
        return None
    return out_of_procedure(
        "unsettled-part",
        f"{party} would have no part in this case any more, and has {', '.join(open_parts)} in it."
        " Settle these first.",
    )


def _open_parts(state: CaseState, party: str, protocol: Protocol) -> Iterator[str]:
    """Yield what a country has begun, placed, asked for or owes in a case."""

    def is_of(agency: str) -> bool:
        return protocol.agencies_by_id[agency].party == party

    if any(one.party == party for one in state.holds.values()):
        yield "a legal hold (legal_hold_lifted)"
    if any(party in one.to_review or is_of(one.by) for one in state.break_glass.values()):
        yield "an access in danger to life that is not reviewed (break_glass_reviewed)"
    if any(is_of(one.by) or is_of(one.addressee) for one in state.open_requests.values()):
        yield "an open request (information_provided or information_declined)"
    if any(party == one.party for one in state.rectifications.values()):
        yield "a person's request (identity_recorded or rectification_declined)"
    if any(is_of(agency) for one in state.joint_actions.values() for agency in one.responsible):
        yield "an open joint action (joint_action_done)"
    if any(
        not one.acknowledged and (is_of(one.by) or is_of(one.addressee))
        for one in state.forms.values()
    ):
        yield "a communication form that is not acknowledged (form_acknowledged)"
    if any(one.party == party for one in state.services.values()):
        yield "a service (service_ended)"
    if any(one.party == party for one in state.measures.values()):
        yield "a protection measure (protection_measure_ended)"
    if state.shelter is not None and state.shelter.party == party:
        yield "a shelter (shelter_left)"
    if state.planned_return is not None and party in (
        state.planned_return.destination,
        state.planned_return.departed_from,
    ):
        yield "a return (received or return_cancelled)"
    if is_of(state.lead_agency):
        yield "the lead (lead_transfer_offered)"
    if any(one.order is not None and party in one.pending for one in state.destructions.values()):
        yield "a destruction to confirm (destruction_confirmed)"


def parties_before(history: Mapping[UUID, Act], upto: UUID, protocol: Protocol) -> frozenset[str]:
    """Return the countries that were party to a case before an action of it.

    Proposed merges bring no country in here: a country may be party by a proposal alone.
    """
    return _addressed(_acts_before(history, upto), protocol)


def leaving(
    history: Mapping[UUID, Act], merge: UUID, candidates: Iterable[str], protocol: Protocol
) -> frozenset[str]:
    """Return those of ``candidates`` that are party to a case by ``merge`` or a proposal alone."""
    left_out = without_effect(history.values()) | {merge}
    return frozenset(candidates) - _addressed(
        [act for act in history.values() if act.id not in left_out], protocol
    )


def age_group_before(history: Mapping[UUID, Act], upto: UUID) -> str | None:
    """Return the age group of a case's person as of an action, by the actions before it alone."""
    acts = _acts_before(history, upto)
    annulled = annulled_ids(acts)
    group: str | None = None
    for act in acts:
        if act.kind in (_OPENING, "age_assessed") and act.id not in annulled:
            group = act.fields.get("age_group")
    return group


def lacking(state: CaseState, other: Mapping[UUID, Act], protocol: Protocol) -> tuple[str, ...]:
    """Return the facts in force in a case that no action of the other case establishes.

    These are the facts that a rule, a deadline or a condition of the protocol reads, and the
    stated quarter of the coming of age.
    """
    established: set[str] = set()
    statuses = {
        fact for rule in protocol.actions.values() for one in rule.where for fact in one.establishes
    }
    states_age = False
    for act in other.values():
        rule = protocol.actions.get(act.kind)
        if rule is not None:
            with_values = rule.taken_with(act.fields)
            established |= _established(with_values.establishes, act)
            # A later status of the person takes the place of an earlier one, and of no later one.
            established |= {
                fact
                for fact in _established(with_values.ends, act) & statuses
                if fact in state.facts and state.facts[fact].since <= act.acted_at
            }
        states_age = states_age or act.fields.get("of_age_from") is not None
    missing = sorted((state.facts.keys() & _read(protocol)) - established - {_OPENING})
    if state.of_age_from is not None and not states_age:
        missing.append("of_age_from")
    return tuple(missing)


def _established(patterns: Iterable[str], act: Act) -> set[str]:
    try:
        return set(facts_named(patterns, act.fields))
    except (KeyError, TypeError):
        return set()  # an old version of the action, which established nothing by this pattern


def _read(protocol: Protocol) -> set[str]:
    """Return the facts that some rule of the protocol reads."""
    read: set[str] = set()
    for rule in protocol.actions.values():
        read |= {*rule.requires, *rule.requires_for_child, *rule.requires_for_adult}
        read |= {*rule.requires_one_of, *rule.forbidden_while}
        for one in rule.where:
            read |= {*one.requires, *one.forbidden_while}
    for expected in protocol.expected:
        read |= {*expected.after, expected.until, *expected.not_while}
        if expected.repeats is not None:
            read.add(expected.repeats.after)
    for closing in protocol.closings:
        read |= {*closing.requires, *closing.forbidden_while}
    read |= {one.fact for one in protocol.conditions.values() if one.fact is not None}
    return read


def _addressed(acts: Iterable[Act], protocol: Protocol) -> frozenset[str]:
    found: set[str] = set()
    for act in acts:
        if act.kind == _OPENING:
            found.add(protocol.agencies_by_id[act.agency].party)
        if act.kind not in ("merge_proposed", "not_understood"):
            found |= set(addressed_parties(act, protocol))
    return frozenset(found)


def _acts_before(history: Mapping[UUID, Act], upto: UUID) -> list[Act]:
    acts: list[Act] = []
    for act in history.values():
        if act.id == upto:
            break
        acts.append(act)
    return acts
