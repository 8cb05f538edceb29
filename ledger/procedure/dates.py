"""Check that an action's dates fit each other and the case, by its ``ledger`` fields.

The ledger node sees these fields alone. The dates of sealed fields are checked by the node of the
agency's country (``ledger.procedure.disclosed_dates``).
"""

from collections.abc import Mapping
from datetime import date, datetime, timedelta, tzinfo
from uuid import UUID

from ledger.events.act import Act
from ledger.procedure.case_state import CaseState
from ledger.procedure.protocol import Protocol
from ledger.procedure.time_zones import zone_of_days
from ledger.refusals import invalid
from ledger.vocabulary.picklists import AgeGroup

SINCE_EDITION = 2
ADULT_AT_YEARS = 18
OLDEST_YEARS = 130
"""Nobody lives longer: an earlier date is a mistake."""
_QUARTER_MONTHS = 3

_ENDS: Mapping[str, str] = {
    "consent_given": "expires",
    "sharing_decided": "until",
    "protection_measure_taken": "until",
    "information_requested": "answer_by",
    "merge_proposed": "answer_by",
    "joint_action_agreed": "due",
    "risk_assessed": "review_by",
    "reintegration_planned": "planned_end_date",
    "compensation_limit_set": "claim_by",
}
"""The field of an action that says until when it holds, or by when something is due."""

_NAMED: Mapping[str, str] = {
    "service_ended": "service_action",
    "protection_measure_ended": "measure_action",
    "information_acknowledged": "request",
    "information_provided": "request",
    "information_declined": "request",
    "form_sent": "answers",
    "form_acknowledged": "sent",
    "joint_action_done": "agreed_action",
    "lead_transfer_accepted": "offer",
    "sharing_ended": "decision",
    "legal_hold_lifted": "hold",
    "break_glass_reviewed": "access",
    "identity_recorded": "request",
    "rectification_declined": "request",
    "correction": "corrects",
    "cases_unlinked": "link",
    "merge_declined": "proposal",
    "merge_undone": "merge",
    "erasure_approved": "proposal",
    "error_closing_accepted": "proposal",
    "destruction_proposed": "annulled",
    "destruction_approved": "proposal",
    "information_released": "basis_action",
    "lead_transfer_declined": "offer",
    "decision_confirmed": "proposal",
    "outcome_overridden": "overrides",
    "handover_confirmed": "handover",
    "reintegration_plan_agreed": "plan",
}
"""The field by which an action names the earlier action that it ends or answers."""


def check_dates(
    act: Act,
    state: CaseState | None,
    history: Mapping[UUID, Act],
    protocol: Protocol,
    now: datetime,
) -> None:
    """Check the dates of an action against each other and against the case.

    Raises ``Refusal`` with the rule and the field. Protocols of edition 1 are not checked. Days are
    those of the acting agency's party where the protocol counts local days, and else those of UTC.
    """
    if protocol.edition < SINCE_EDITION:
        return
    if now.year - act.acted_at.year > OLDEST_YEARS:
        raise invalid(
            "acted-too-long-ago",
            f"The time of the act is more than {OLDEST_YEARS} years ago; check the year.",
            "acted_at",
        )
    zone = zone_of_days(protocol, protocol.agencies_by_id[act.agency].party)
    _end_after_begin(act, zone)
    _of_age(act, state, zone)
    if state is None:
        return
    if _day(act, zone) < state.opened_at.astimezone(zone).date():
        # A stated birth date is compared with all acts of the case: so no act is before the birth.
        raise invalid(
            "before-the-opening",
            "The act is dated before the opening of the case; check the time of the act.",
            "acted_at",
        )
    _after_what_it_names(act, history, zone)
    if act.kind == "consent_withdrawn":
        _was_given(act, state)


def _day(act: Act, zone: tzinfo) -> date:
    """Return the day of an act at the local time of its agency's party."""
    return act.acted_at.astimezone(zone).date()


def _end_after_begin(act: Act, zone: tzinfo) -> None:
    field = _ENDS.get(act.kind)
    end = act.fields.get(field) if field is not None else None
    if field is None or end is None:
        return
    if _last_day(end, zone) < _day(act, zone):
        raise invalid(
            "ends-before-it-begins",
            f"It ends on {end[:10]}, before it began; check both dates.",
            field,
        )


def _last_day(end: str, zone: tzinfo) -> date:
    """Return the day that a field names, or the local day of the moment that it names."""
    if len(end) == len("2026-01-01"):
        return date.fromisoformat(end)
    return datetime.fromisoformat(end).astimezone(zone).date()


def _of_age(act: Act, state: CaseState | None, zone: tzinfo) -> None:
    """Check the quarter in which the person is said to come of age."""
    stated = act.fields.get("of_age_from")
    if stated is None:
        return
    group = act.fields.get("age_group") or (state.age_group if state is not None else None)
    if group == AgeGroup.ADULT:
        raise invalid(
            "of-age-already", "An adult does not come of age; leave this out.", "of_age_from"
        )
    first = date.fromisoformat(stated)
    on = _day(act, zone)
    if quarter_end(first) < on:
        raise invalid(
            "of-age-past",
            "This quarter was over at the time of the act: record that the person is an adult, or"
            " another quarter.",
            "of_age_from",
        )
    if first.year - on.year > ADULT_AT_YEARS:
        raise invalid(
            "of-age-too-late",
            f"Nobody comes of age more than {ADULT_AT_YEARS} years later; check the year.",
            "of_age_from",
        )


def _after_what_it_names(act: Act, history: Mapping[UUID, Act], zone: tzinfo) -> None:
    field = _NAMED.get(act.kind)
    named = act.fields.get(field) if field is not None else None
    earlier = history.get(UUID(named)) if named is not None else None
    if earlier is not None and _day(act, zone) < _day(earlier, zone):
        raise invalid(
            "before-what-it-names",
            f"{act.kind} is dated before the {earlier.kind} that it names; check the time of the"
            " act.",
            "acted_at",
        )


def _was_given(act: Act, state: CaseState) -> None:
    for scope in act.fields["scopes"]:
        given = state.facts.get(f"consent_{scope}")
        if given is None:
            raise invalid(
                "never-given",
                f"No consent to {scope} is in force; name only the consents that were given.",
                "scopes",
            )
        if act.acted_at < given.since:
            raise invalid(
                "before-what-it-names",
                f"The consent to {scope} was given later than this; check the time of the act.",
                "acted_at",
            )


def quarter_of(day: date) -> date:
    """Return the first day of the quarter that ``day`` is in."""
    return day.replace(month=day.month - (day.month - 1) % _QUARTER_MONTHS, day=1)


def quarter_end(first: date) -> date:
    """Return the last day of the quarter that begins on ``first``."""
    if first.month == 10:
        return first.replace(month=12, day=31)
    return first.replace(month=first.month + _QUARTER_MONTHS) - timedelta(days=1)
