"""The difference between two versions of a protocol, part by part, for people to read.

Each change has a stable id and the values that a sentence about it needs. Catalogues have one text
for each id in every language: ``change.`` and the id, with the values' names as ``{places}``.
Nothing is left out: a part that has no change of its own is reported as ``other``.
"""

import json
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from typing import Any, TypeVar

from ledger.procedure.accessions import accession_of, coordinators_keys, joining_parties
from ledger.procedure.communication_forms import CommunicationForm
from ledger.procedure.conditions import Marked, Standing
from ledger.procedure.protocol import (
    Accountability,
    ActionRule,
    Duty,
    Expectation,
    KeyConfirmation,
    Operation,
    Protocol,
    Retention,
)

_Part = TypeVar("_Part", bound=Marked)
_PartOrNone = TypeVar("_PartOrNone", bound=Marked | None)

CHANGES: Mapping[str, tuple[str, ...]] = {
    "title": ("before", "after"),
    "edition": ("before", "after"),
    "languages": ("before", "after"),
    "local_days": (),
    "local_days_no_more": (),
    "case_access_named": (),
    "case_access_country": (),
    "analysts": ("role",),
    "analysts_no_more": ("role",),
    "label": ("language", "label", "before", "after"),
    "party_added": ("party", "name"),
    "party_keys": ("party", "coordinators", "node"),
    "party_copy": ("party",),
    "party_copy_without": ("party",),
    "party_renamed": ("party", "before", "after"),
    "party_named": ("party", "names"),
    "party_removed": ("party",),
    "time_zone": ("party", "before", "after"),
    "party_language": ("party", "before", "after"),
    "agency_added": ("agency", "name", "role", "party"),
    "agency_renamed": ("agency", "before", "after"),
    "agency_moved": ("agency", "before", "after"),
    "agency_role": ("agency", "before", "after"),
    "agency_removed": ("agency", "name"),
    "role_added": ("role",),
    "role_renamed": ("role", "before", "after"),
    "role_removed": ("role",),
    "action_added": ("action", "roles"),
    "action_removed": ("action",),
    "may_act": ("role", "action"),
    "may_act_no_more": ("role", "action"),
    "requires": ("action", "fact"),
    "requires_no_more": ("action", "fact"),
    "requires_for_child": ("action", "fact"),
    "requires_for_child_no_more": ("action", "fact"),
    "requires_for_adult": ("action", "fact"),
    "requires_for_adult_no_more": ("action", "fact"),
    "requires_one_of": ("action", "fact"),
    "requires_one_of_no_more": ("action", "fact"),
    "where": ("kind", "field", "values"),
    "where_no_more": ("kind", "field", "values"),
    "condition": ("action", "kind", "field", "values"),
    "condition_no_more": ("action", "kind", "field", "values"),
    "condition_otherwise": ("kind", "field", "values"),
    "bodies": ("action", "parties", "roles"),
    "bodies_no_more": ("action", "parties", "roles"),
    "deciding_party": ("action",),
    "reflection": ("parties", "days"),
    "reflection_no_more": ("parties",),
    "forbidden_while": ("action", "fact"),
    "forbidden_while_no_more": ("action", "fact"),
    "establishes": ("action", "fact"),
    "establishes_no_more": ("action", "fact"),
    "ends": ("action", "fact"),
    "ends_no_more": ("action", "fact"),
    "second_party": ("role", "action"),
    "second_party_no_more": ("role", "action"),
    "on_closed_case": ("action",),
    "on_closed_case_no_more": ("action",),
    "status": ("action", "before", "after"),
    "expected": ("action", "after", "roles"),
    "expected_no_more": ("action", "after"),
    "expected_of": ("action", "after", "roles"),
    "deadline": ("action", "after", "days_before", "days"),
    "deadline_added": ("action", "after", "days"),
    "deadline_removed": ("action", "after", "days_before"),
    "deadline_of_open_steps": ("action", "after"),
    "expected_otherwise": ("action", "after"),
    "access_opened": ("role", "operation", "group"),
    "access_closed": ("role", "operation", "group"),
    "duty_opened": ("role", "group", "after"),
    "duty_closed": ("role", "group", "after"),
    "duty_abroad": ("role", "group", "after"),
    "duty_abroad_no_more": ("role", "group", "after"),
    "retention": ("reasons", "days", "grace_days"),
    "retention_no_more": ("reasons", "days"),
    "retention_unless": ("reasons", "facts"),
    "key_confirmation": ("role", "key_change", "by"),
    "key_confirmation_no_more": ("role", "key_change", "by"),
    "quorum": ("witnesses", "coordinators", "notice_days"),
    "quorum_no_more": (),
    "withdrawal": ("notice_days", "erase_within_days"),
    "hold_review": ("days",),
    "hold_review_no_more": (),
    "person_record": ("rectification_days", "of_age_weeks"),
    "person_record_no_more": (),
    "form_added": ("number", "title"),
    "form_removed": ("number", "title"),
    "form_changed": ("number", "title", "parts"),
    "accountability": (
        "review_days",
        "erasure_days",
        "destruction_grace_days",
        "error_closing_days",
        "merge_undoing_days",
    ),
    "member_approval": ("action", "roles", "parties", "days"),
    "member_approval_no_more": ("action", "roles", "parties"),
    "approval_period": ("approval_days",),
    "approval_period_no_more": (),
    "standing": ("part", "before", "after"),
    "standing_kept": ("part", "after"),
    "assumed_now": ("part", "before"),
    "source_lost": ("part", "before"),
    "source_no_more": ("part", "before"),
    "closing": ("reasons", "requires", "forbidden"),
    "closing_no_more": ("reasons",),
    "shelter_exit": ("party", "levels", "roles"),
    "shelter_exit_no_more": ("party",),
    "indicators": ("number",),
    "annulled_as": ("action", "kind"),
    "annulled_as_no_more": ("action",),
    "joins": ("action",),
    "joins_no_more": ("action",),
    "source": ("part", "before", "after"),
    "other": ("part",),
}
"""Every change, with the names of its values."""
_PERIODS = CHANGES["accountability"]
_FACTS = (
    "requires",
    "requires_for_child",
    "requires_for_adult",
    "requires_one_of",
    "forbidden_while",
    "establishes",
    "ends",
)


@dataclass(frozen=True, slots=True)
class ProtocolChange:
    """One change: its id in :data:`CHANGES`, and its values as texts.

    Values are machine names, such as an agency's id, a role or a fact, and names as written. A
    value with several parts has them separated by commas.
    """

    id: str
    values: Mapping[str, str] = field(default_factory=dict)


def changes(before: Protocol, after: Protocol) -> tuple[ProtocolChange, ...]:
    """Return the changes from ``before`` to ``after``, in the protocol's own order of parts.

    The number of the version is no change.
    """
    found = chain(
        _general(before, after),
        _withdrawal(before, after),
        _parties(before, after),
        _agencies(before, after),
        _roles(before, after),
        _labels(before, after),
        _actions(before, after),
        _changed_conditions(before, after),
        _expected(before, after),
        _access(before, after),
        _duties(before.duties, after.duties),
        _retention(before.retention, after.retention),
        _person_record(before, after),
        _accountability(before, after),
        _indicators(before, after),
        _closings(before, after),
        _shelter_exits(before, after),
        _member_approvals(before, after),
        _standings(before, after),
        _confirmations(before.confirmed_keys, after.confirmed_keys),
        _forms(before, after),
        _others(before, after),
    )
    return tuple(found)


def _change(change: str, **values: object) -> ProtocolChange:
    told = {name: _text(values[name]) for name in CHANGES[change]}
    return ProtocolChange(change, told)


def _text(value: object) -> str:
    if isinstance(value, str) or not isinstance(value, Iterable):
        return str(value)
    return ", ".join(map(str, value))


def _general(before: Protocol, after: Protocol) -> Iterator[ProtocolChange]:
    if before.title != after.title:
        yield _change("title", before=before.title, after=after.title)
    if before.edition != after.edition:
        yield _change("edition", before=before.edition, after=after.edition)
    if before.languages != after.languages:
        yield _change("languages", before=before.languages or "-", after=after.languages or "-")
    if bool(before.local_days) != bool(after.local_days):
        yield _change("local_days" if after.local_days else "local_days_no_more")
    if before.binds_agencies != after.binds_agencies:
        yield _change("case_access_named" if after.binds_agencies else "case_access_country")
    for role in before.analysts:
        if role not in after.analysts:
            yield _change("analysts_no_more", role=role)
    for role in after.analysts:
        if role not in before.analysts:
            yield _change("analysts", role=role)
    quorum = after.quorum
    if _unmarked(before.quorum) != _unmarked(quorum):
        if quorum is None:
            yield _change("quorum_no_more")
        else:
            yield _change(
                "quorum",
                witnesses=quorum.witnesses,
                coordinators=quorum.coordinators,
                notice_days=quorum.notice_days,
            )


def _withdrawal(before: Protocol, after: Protocol) -> Iterator[ProtocolChange]:
    terms = after.withdrawal_terms
    if _unmarked(before.withdrawal_terms) != _unmarked(terms):
        yield _change(
            "withdrawal", notice_days=terms.notice_days, erase_within_days=terms.erase_within_days
        )
    elif (before.withdrawal is None) != (after.withdrawal is None):
        yield _change("other", part="withdrawal")
    if before.withdrawal_terms.hold_review_days != terms.hold_review_days:
        if terms.hold_review_days is None:
            yield _change("hold_review_no_more")
        else:
            yield _change("hold_review", days=terms.hold_review_days)


def _person_record(before: Protocol, after: Protocol) -> Iterator[ProtocolChange]:
    periods = after.person_record
    if _unmarked(before.person_record) == _unmarked(periods):
        return
    if periods is None:
        yield _change("person_record_no_more")
    else:
        yield _change(
            "person_record",
            rectification_days=periods.rectification_days,
            of_age_weeks=periods.of_age_weeks,
        )


def _accountability(before: Protocol, after: Protocol) -> Iterator[ProtocolChange]:
    old, new = before.accountability_terms, after.accountability_terms
    if any(getattr(old, name) != getattr(new, name) for name in _PERIODS):
        yield _periods_of(new)
    if old.approval_days != new.approval_days:
        yield from _approval_period(new)
    if _unmarked(old) != _unmarked(new):
        return
    if (before.accountability is None) != (after.accountability is None):
        yield _change("other", part="accountability")


def _indicators(before: Protocol, after: Protocol) -> Iterator[ProtocolChange]:
    if before.indicators != after.indicators:
        yield _change("indicators", number=len(after.indicators))


def _closings(before: Protocol, after: Protocol) -> Iterator[ProtocolChange]:
    for rule in after.closings:
        if rule not in before.closings:
            yield _change(
                "closing",
                reasons=rule.reason.value,
                requires=rule.requires or "-",
                forbidden=rule.forbidden_while or "-",
            )
    kept = {rule.reason for rule in after.closings}
    for rule in before.closings:
        if rule.reason not in kept:
            yield _change("closing_no_more", reasons=rule.reason.value)


def _shelter_exits(before: Protocol, after: Protocol) -> Iterator[ProtocolChange]:
    old, new = (
        [(one.party, _unmarked(one)) for one in text.shelter_exits] for text in (before, after)
    )
    for _, was, now in _paired(old, new):
        if now is not None:
            levels = [level.value for level in now.risk_levels]
            yield _change("shelter_exit", party=now.party, levels=levels, roles=now.approved_by)
        elif was is not None:
            yield _change("shelter_exit_no_more", party=was.party)


def _member_approvals(before: Protocol, after: Protocol) -> Iterator[ProtocolChange]:
    old, new = _approved(before), _approved(after)
    for cell, days in new.items():
        if old.get(cell) != days:
            yield _approval_asked(cell, days)
    for action, roles, parties in old.keys() - new.keys():
        yield _change(
            "member_approval_no_more", action=action, roles=roles or "-", parties=parties or "-"
        )


def approvals_of(kind: str, protocol: Protocol) -> Iterator[ProtocolChange]:
    """Yield where a second member approves an action of a kind, each as the change that asks it."""
    for cell, days in _approved(protocol).items():
        if cell[0] == kind:
            yield _approval_asked(cell, days)


def _approval_asked(
    cell: tuple[str, tuple[str, ...], tuple[str, ...]], days: int
) -> ProtocolChange:
    action, roles, parties = cell
    return _change(
        "member_approval", action=action, roles=roles or "-", parties=parties or "-", days=days
    )


def _approved(
    protocol: Protocol,
) -> dict[tuple[str, tuple[str, ...], tuple[str, ...]], int]:
    """Return the days of each action that a second member approves, by roles and parties."""
    found: dict[tuple[str, tuple[str, ...], tuple[str, ...]], int] = {}
    for one in protocol.approvals:
        for action in one.actions:
            cell = (action, one.roles, one.parties)
            found[cell] = min(one.within_days, found.get(cell, one.within_days))
    return found


def accountability_changes(terms: Accountability) -> Iterator[ProtocolChange]:
    """Yield the periods of reviews and erasures and their mark, as of a text that adds them."""
    yield _periods_of(terms)
    if terms.approval_days is not None:
        yield from _approval_period(terms)
    if terms.standing is not None:
        yield _change("standing", part="accountability", before="-", after=terms.standing)


def _approval_period(terms: Accountability) -> Iterator[ProtocolChange]:
    if terms.approval_days is None:
        yield _change("approval_period_no_more")
    else:
        yield _change("approval_period", approval_days=terms.approval_days)


def _periods_of(terms: Accountability) -> ProtocolChange:
    return _change("accountability", **{name: getattr(terms, name) for name in _PERIODS})


def _unmarked(part: _PartOrNone) -> _PartOrNone:
    """Return a part without its mark."""
    if part is None:
        return part
    return part.model_copy(update={"standing": None, "source": None})


def _marked(protocol: Protocol) -> Iterator[tuple[str, Marked]]:
    """Yield the parts of a text that may have a mark, each with a name that stays between versions.

    Several parts may have one name: two expectations of one action after the same facts.
    """
    for step in protocol.expected:
        yield f"expected {step.action} ({', '.join(step.after)})", step
    for duty in protocol.duties:
        yield f"duties {', '.join(duty.roles)} ({', '.join(duty.after)})", duty
    for name, condition in protocol.conditions.items():
        yield f"conditions {name}", condition
    for period in protocol.reflection:
        yield f"reflection ({', '.join(period.parties) or '-'})", period
    for kind, action in protocol.actions.items():
        yield f"actions {kind}", action.model_copy(update={"by": (), "where": ()})
        for bodies in action.by:
            yield f"actions {kind} ({', '.join(bodies.parties) or '-'})", bodies
        for one in action.where:
            values = ", ".join(map(str, one.values))
            yield f"actions {kind} ({one.field}: {values})", one
    for agency in protocol.agencies:
        yield f"agencies {agency.id}", agency
    for rule in protocol.retention:
        reasons = f" ({', '.join(rule.reasons)})" if rule.reasons else ""
        yield f"retention{reasons}", rule
    for exiting in protocol.shelter_exits:
        yield f"shelter_exits {exiting.party}", exiting
    for approval in protocol.approvals:
        more = ", ".join((*approval.roles, *approval.parties))
        yield f"approvals {', '.join(approval.actions)}" + (f" ({more})" if more else ""), approval
    for form in protocol.forms or ():
        yield f"forms {form.number}", form.model_copy(update=_NO_PERIODS)
        yield f"forms {form.number} (periods)", _Periods.of(form)
    yield "withdrawal", protocol.withdrawal_terms
    yield "accountability", protocol.accountability_terms
    for name in ("person_record", "quorum"):
        part = getattr(protocol, name)
        if part is not None:
            yield name, part


_NO_PERIODS: Mapping[str, object] = {
    "periods": Marked(),
    "acknowledge_within_days": None,
    "answer_within_days": None,
}


class _Periods(Marked):
    """The periods of a form with their mark."""

    acknowledge_within_days: int | None
    answer_within_days: int | None

    @classmethod
    def of(cls, form: CommunicationForm) -> "_Periods":
        return cls(
            acknowledge_within_days=form.acknowledge_within_days,
            answer_within_days=form.answer_within_days,
            **form.periods.model_dump(),
        )


def _paired(
    before: Iterable[tuple[Hashable, _Part]], after: Iterable[tuple[Hashable, _Part]]
) -> Iterator[tuple[Hashable, _Part | None, _Part | None]]:
    """Yield each part that changed, with its key, its old content and its new content.

    ``None`` stands for a part that one of the texts does not have. Of several parts with one key,
    those that are equal in both texts did not change. The others are compared in their order, so
    that no change is lost behind another part.
    """
    old: dict[Hashable, list[_Part]] = {}
    new: dict[Hashable, list[_Part]] = {}
    for found, parts in ((old, before), (new, after)):
        for key, part in parts:
            found.setdefault(key, []).append(part)
    for key in dict.fromkeys([*new, *old]):
        was, now = old.get(key, []), new.get(key, [])
        gone = [part for part in was if part not in now]
        come = [part for part in now if part not in was]
        for first, second in zip_longest(gone, come):
            yield key, first, second


def _standings(before: Protocol, after: Protocol) -> Iterator[ProtocolChange]:
    """Yield the old and the new mark of each part that changed.

    A part that loses its source, or is only assumed from now on, has a change of its own.
    """
    for name, first, second in _paired(_marked(before), _marked(after)):
        was, now = first or Marked(), second or Marked()
        if was.standing is Standing.SOURCE and (second is None or now.standing is not was.standing):
            change = "source_lost" if now.is_assumed else "source_no_more"
            yield _change(change, part=name, before=was.source or "-")
        elif now.is_assumed and first is not None and not was.is_assumed:
            yield _change("assumed_now", part=name, before=was.standing or "-")
        if was.standing != now.standing:
            yield _change(
                "standing", part=name, before=was.standing or "-", after=now.standing or "-"
            )
        elif now.standing is not None:
            yield _change("standing_kept", part=name, after=now.standing)
        if was.source != now.source:
            yield _change("source", part=name, before=was.source or "-", after=now.source or "-")


def _parties(before: Protocol, after: Protocol) -> Iterator[ProtocolChange]:
    old = before.parties_by_code
    for code, party in after.parties_by_code.items():
        was = old.get(code)
        if was is None:
            yield _change("party_added", party=code, name=party.name)
        elif was.name != party.name:
            yield _change("party_renamed", party=code, before=was.name, after=party.name)
        if party.names != (was.names if was is not None else None):
            names = [f"{language}: {name}" for language, name in (party.names or {}).items()]
            yield _change("party_named", party=code, names=names or "-")
    for code, party in after.parties_by_code.items():
        was = old.get(code)
        zone, language = (was.time_zone, was.language) if was is not None else (None, None)
        if zone != party.time_zone:
            yield _change("time_zone", party=code, before=zone or "-", after=party.time_zone or "-")
        if language != party.language:
            yield _change(
                "party_language", party=code, before=language or "-", after=party.language or "-"
            )
    for code in sorted(joining_parties(before, after)):
        yield from _joining(code, after)
    for code, party in old.items():
        now = after.parties_by_code.get(code)
        if now is None:
            yield _change("party_removed", party=code)
        elif party.accession is not None and now.accession is None:
            yield _change("other", part=f"parties.{code}.accession")


def _joining(code: str, after: Protocol) -> Iterator[ProtocolChange]:
    """Yield with which keys a party joins, and what its copy of the ledger will contain."""
    accession = accession_of(after, code)
    node = "-" if accession is None else accession.node
    coordinators = dict.fromkeys(grant.agency for grant in coordinators_keys(after, code))
    yield _change("party_keys", party=code, coordinators=coordinators, node=node)
    yield _change("party_copy", party=code)
    yield _change("party_copy_without", party=code)


def _agencies(before: Protocol, after: Protocol) -> Iterator[ProtocolChange]:
    for agency in after.agencies:
        old = before.agencies_by_id.get(agency.id)
        if old is None:
            yield _change(
                "agency_added",
                agency=agency.id,
                name=agency.name,
                role=agency.role,
                party=agency.party,
            )
            continue
        if old.name != agency.name:
            yield _change("agency_renamed", agency=agency.id, before=old.name, after=agency.name)
        if old.role != agency.role:
            yield _change("agency_role", agency=agency.id, before=old.role, after=agency.role)
        if old.city != agency.city:
            yield _change(
                "agency_moved", agency=agency.id, before=old.city or "-", after=agency.city or "-"
            )
        if old.party != agency.party:
            yield _change("other", part=f"agencies.{agency.id}.party")
    for agency in before.agencies:
        if agency.id not in after.agencies_by_id:
            yield _change("agency_removed", agency=agency.id, name=agency.name)


def _roles(before: Protocol, after: Protocol) -> Iterator[ProtocolChange]:
    for role, name in after.roles.items():
        if role not in before.roles:
            yield _change("role_added", role=role)
        elif before.roles[role] != name:
            yield _change("role_renamed", role=role, before=before.roles[role], after=name)
    yield from (
        _change("role_removed", role=role) for role in before.roles if role not in after.roles
    )


def _labels(before: Protocol, after: Protocol) -> Iterator[ProtocolChange]:
    """Yield the changed words of each language."""
    old, new = _named(before), _named(after)
    for language, label in sorted(old.keys() | new.keys()):
        was, now = old.get((language, label), "-"), new.get((language, label), "-")
        if was != now:
            yield _change("label", language=language, label=label, before=was, after=now)


def _named(protocol: Protocol) -> dict[tuple[str, str], str]:
    return {
        (language, label): text
        for language, own in (protocol.labels or {}).items()
        for label, text in own.items()
    }


def _actions(before: Protocol, after: Protocol) -> Iterator[ProtocolChange]:
    for action, rule in after.actions.items():
        old = before.actions.get(action)
        if old is None:
            yield _change("action_added", action=action, roles=rule.roles)
        else:
            yield from _rule(action, old, rule)
        yield from _conditions(action, old, before, after)
    for action in before.actions:
        if action not in after.actions:
            yield _change("action_removed", action=action)


def _rule(action: str, before: ActionRule, after: ActionRule) -> Iterator[ProtocolChange]:
    yield from _moved("may_act", before.roles, after.roles, "role", action=action)
    for part in _FACTS:
        yield from _moved(part, getattr(before, part), getattr(after, part), "fact", action=action)
    yield from _moved(
        "second_party", before.by_another_party, after.by_another_party, "role", action=action
    )
    if before.on_closed_case != after.on_closed_case:
        yield _change(f"on_closed_case{'' if after.on_closed_case else '_no_more'}", action=action)
    if before.sets_status != after.sets_status:
        yield _change(
            "status",
            action=action,
            before=before.sets_status or "-",
            after=after.sets_status or "-",
        )
    if _whose(before) != _whose(after):
        yield _change("deciding_party", action=action)
    for change, old, new in (("bodies", before, after), ("bodies_no_more", after, before)):
        for bodies in new.by:
            if _unmarked(bodies) not in map(_unmarked, old.by):
                parties = bodies.parties or "-"
                yield _change(change, action=action, parties=parties, roles=bodies.roles)
    for change, old, new in (("where", before, after), ("where_no_more", after, before)):
        for one in new.where:
            if _unmarked(one) not in map(_unmarked, old.where):
                yield _change(change, kind=action, field=one.field, values=one.values)
    if before.annulled_as != after.annulled_as:
        if after.annulled_as is None:
            yield _change("annulled_as_no_more", action=action)
        else:
            yield _change("annulled_as", action=action, kind=after.annulled_as)
    if before.joins != after.joins:
        yield _change("joins" if after.joins else "joins_no_more", action=action)
    if before.reviews != after.reviews:
        yield _change("other", part=f"actions.{action}.reviews")
    if before.named_roles != after.named_roles:
        yield _change("other", part=f"actions.{action}.named_roles")


def _whose(rule: ActionRule) -> tuple[object, ...]:
    return (
        rule.party_named_in,
        rule.not_party_named_in,
        rule.party_that_established,
        rule.or_party_that_established,
        rule.waits_for_reflection_unless,
    )


def _conditions(
    action: str, old: ActionRule | None, before: Protocol, after: Protocol
) -> Iterator[ProtocolChange]:
    """Yield the conditions that an action's rule gained or lost."""
    had = before.conditions_of(old) if old is not None else ()
    has = after.conditions_of(after.actions[action])
    for change, names, protocol in (
        ("condition", [one for one in has if one not in had], after),
        ("condition_no_more", [one for one in had if one not in has], before),
    ):
        for name in names:
            yield _condition(change, name, protocol, action)


def _condition(change: str, name: str, protocol: Protocol, action: str) -> ProtocolChange:
    condition = protocol.conditions[name]
    kinds = (action,) if condition.fact is None else protocol.establishing(condition.fact)
    kind = next(iter(kinds), condition.fact or "-")
    return _change(change, action=action, kind=kind, field=condition.field, values=condition.values)


def _changed_conditions(before: Protocol, after: Protocol) -> Iterator[ProtocolChange]:
    """Yield the conditions that ask for something else, and the periods of reflection."""
    for name, condition in after.conditions.items():
        old = before.conditions.get(name)
        if old is not None and _unmarked(old) != _unmarked(condition):
            users = (
                kind for kind, rule in after.actions.items() if name in after.conditions_of(rule)
            )
            yield _condition("condition_otherwise", name, after, next(users, "-"))
    periods = ([(one.parties, _unmarked(one)) for one in t.reflection] for t in (before, after))
    for _, was, now in _paired(*periods):
        if now is not None:
            yield _change("reflection", parties=now.parties or "-", days=now.days)
        elif was is not None:
            yield _change("reflection_no_more", parties=was.parties or "-")


def _moved(
    change: str, before: Iterable[str], after: Iterable[str], name: str, **values: str
) -> Iterator[ProtocolChange]:
    """Yield the items that a list gained, and the items that it lost."""
    old, new = tuple(before), tuple(after)
    for value in new:
        if value not in old:
            yield _change(change, **values, **{name: value})
    for value in old:
        if value not in new:
            yield _change(f"{change}_no_more", **values, **{name: value})


def _expected(before: Protocol, after: Protocol) -> Iterator[ProtocolChange]:
    old, new = ([(one.key, one) for one in text.expected] for text in (before, after))
    for _, was, step in _paired(old, new):
        if step is None:
            if was is not None:
                yield _change("expected_no_more", action=was.action, after=was.after)
            continue
        told = {"action": step.action, "after": step.after}
        if was is None:
            yield _change("expected", **told, roles=step.roles)
            if step.within_days is not None:
                yield _change("deadline_added", **told, days=step.within_days)
            if step.applies_to_open:
                yield _change("deadline_of_open_steps", **told)
        else:
            yield from _step(was, step, told)


def _step(
    before: Expectation, after: Expectation, told: Mapping[str, Any]
) -> Iterator[ProtocolChange]:
    days_before, days = before.within_days, after.within_days
    if days_before != days:
        if days is None:
            yield _change("deadline_removed", **told, days_before=days_before)
        elif days_before is None:
            yield _change("deadline_added", **told, days=days)
        else:
            yield _change("deadline", **told, days_before=days_before, days=days)
    if before.roles != after.roles:
        yield _change("expected_of", **told, roles=after.roles)
    if after.applies_to_open and after != before:
        yield _change("deadline_of_open_steps", **told)
    rest = {
        "within_days": days,
        "roles": after.roles,
        "applies_to_open": after.applies_to_open,
        "standing": after.standing,
        "source": after.source,
    }
    if before.model_copy(update=rest) != after:
        yield _change("expected_otherwise", **told)


def _access(before: Protocol, after: Protocol) -> Iterator[ProtocolChange]:
    old, new = _cells(before), _cells(after)
    for change, cells in (("access_opened", new - old), ("access_closed", old - new)):
        for role, operation, group in sorted(cells):
            yield _change(change, role=role, operation=operation, group=group)


def _cells(protocol: Protocol) -> set[tuple[str, str, str]]:
    return {
        (role, Operation(operation).value, group.value)
        for role, operations in protocol.access.items()
        for operation, groups in operations.items()
        for group in groups
    }


def _duties(before: tuple[Duty, ...], after: tuple[Duty, ...]) -> Iterator[ProtocolChange]:
    for abroad, opened in ((False, "duty_opened"), (True, "duty_abroad")):
        closed = "duty_closed" if not abroad else "duty_abroad_no_more"
        old, new = _duty_cells(before, abroad), _duty_cells(after, abroad)
        for change, cells in ((opened, new - old), (closed, old - new)):
            for role, group, facts in sorted(cells):
                yield _change(change, role=role, group=group, after=facts)


def _duty_cells(duties: Iterable[Duty], abroad: bool) -> set[tuple[str, str, tuple[str, ...]]]:
    return {
        (role, group.value, (*duty.after, *duty.after_for_adult))
        for duty in duties
        for role in duty.roles
        for group in duty.groups
        if duty.to_other_countries or not abroad
    }


def _retention(
    before: tuple[Retention, ...], after: tuple[Retention, ...]
) -> Iterator[ProtocolChange]:
    rules = ([(rule.reasons, _unmarked(rule)) for rule in text] for text in (before, after))
    for _, was, now in _paired(*rules):
        rule = now or was
        if rule is None:
            continue
        reasons = [reason.value for reason in rule.reasons] or "-"
        if now is None:
            yield _change("retention_no_more", reasons=reasons, days=rule.days)
        else:
            yield _change("retention", reasons=reasons, days=rule.days, grace_days=rule.grace_days)
            if rule.unless:
                yield _change("retention_unless", reasons=reasons, facts=rule.unless)


def _confirmations(
    before: tuple[KeyConfirmation, ...], after: tuple[KeyConfirmation, ...]
) -> Iterator[ProtocolChange]:
    old, new = _confirmed(before), _confirmed(after)
    named = (("key_confirmation", new - old), ("key_confirmation_no_more", old - new))
    for change, cells in named:
        for role, key_change, by in sorted(cells):
            yield _change(change, role=role, key_change=key_change, by=by)


def _confirmed(rules: Iterable[KeyConfirmation]) -> set[tuple[str, str, str]]:
    return {
        (role, change.value, by)
        for rule in rules
        for role in rule.roles
        for change in rule.changes
        for by in rule.by
    }


def _forms(before: Protocol, after: Protocol) -> Iterator[ProtocolChange]:
    """Yield the forms that were added, changed and removed, and a changed order of them."""
    old, new = before.forms_by_number, after.forms_by_number
    for number, form in new.items():
        was = old.get(number)
        if was is None:
            yield _change("form_added", number=number, title=form.title)
        elif was != form:
            told, earlier = form.model_dump(mode="json"), was.model_dump(mode="json")
            parts = [name for name, value in told.items() if _plain(value) != _plain(earlier[name])]
            yield _change("form_changed", number=number, title=form.title, parts=parts or "-")
    for number, form in old.items():
        if number not in new:
            yield _change("form_removed", number=number, title=form.title)
    kept = [number for number in new if number in old]
    is_ordered = kept == [number for number in old if number in new]
    if not is_ordered or (before.forms is None) is not (after.forms is None):
        yield _change("other", part="forms")


_TOLD = {
    "title", "version", "edition", "quorum", "parties", "agencies", "roles", "actions",
    "expected", "access", "duties", "retention", "confirmed_keys", "withdrawal", "person_record",
    "languages", "labels", "local_days", "case_access", "analysts", "accountability", "forms",
    "conditions", "reflection", "closings", "shelter_exits", "indicators", "approvals",
}  # fmt: skip
"""The parts that the functions above compare."""


def _others(before: Protocol, after: Protocol) -> Iterator[ProtocolChange]:
    """Yield each changed part that this program compares only as a whole."""
    old, new = before.model_dump(mode="json"), after.model_dump(mode="json")
    for part in sorted(old.keys() | new.keys()):
        if part not in _TOLD and _plain(old.get(part)) != _plain(new.get(part)):
            yield _change("other", part=part)


def _plain(value: object) -> str:
    return json.dumps(value, sort_keys=True)
