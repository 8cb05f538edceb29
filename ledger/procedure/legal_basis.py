"""On what basis a personal field may be read or released: a question to a case's state.

The access matrix says what a role could ever do; a legal basis, which is always an event, says
that it may do so in this case and now. Both are needed. A consent that a child gave while the
person counted as an adult, without a child's safeguards, is no basis from then on. What the person
refuses, no earlier consent allows.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from types import MappingProxyType
from uuid import UUID

from ledger.events.act import Act
from ledger.procedure.case_state import CaseState, ConsentInForce
from ledger.procedure.protocol import Agency, Protocol
from ledger.procedure.time_zones import zone_of_days
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import ConsentScope, LegalBasis

_NO_ACTS: Mapping[UUID, Act] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Basis:
    """A legal basis, and the action that it stands on."""

    kind: LegalBasis
    action: UUID


def reading_bases(
    state: CaseState,
    protocol: Protocol,
    agency: Agency,
    group: FieldGroup,
    at: datetime,
    history: Mapping[UUID, Act] = _NO_ACTS,
) -> Iterator[Basis]:
    """Yield the legal bases on which ``agency`` may read its country's fields of ``group``.

    ``history`` has the case's actions by id. Without it, no duty of an acting agency holds.
    """

    def reaches(party: str | None, recipients: Iterable[str]) -> bool:
        return agency.party == party or agency.party in recipients

    yield from _duties(state, protocol, agency, group, history, abroad=False)
    for action, consent in state.consents.items():
        if (
            not state.lacks_safeguard(action)
            and group in consent.groups
            and reaches(*_readers(consent))
            and _lasts(consent.expires, consent.party, protocol, at)
        ):
            yield Basis(LegalBasis.CONSENT, action)
    for action, decision in state.sharing.items():
        if (
            group in decision.groups
            and reaches(decision.party, decision.recipients)
            and _lasts(decision.until, decision.party, protocol, at)
        ):
            yield Basis(LegalBasis.BEST_INTERESTS, action)
    yield from _dangers(state, agency, group, at)


def release_bases(
    state: CaseState,
    protocol: Protocol,
    agency: Agency,
    recipient: str,
    group: FieldGroup,
    at: datetime,
    history: Mapping[UUID, Act] = _NO_ACTS,
) -> Iterator[Basis]:
    """Yield the legal bases on which ``agency`` may release ``group`` to ``recipient``.

    ``recipient`` is a country. Whereabouts leave a country only on a basis that names no other
    group.
    """

    def names(groups: Collection[str]) -> bool:
        return group in groups and (group is not FieldGroup.WHEREABOUTS or len(groups) == 1)

    yield from _duties(state, protocol, agency, group, history, abroad=True)
    for action, consent in state.consents.items():
        if (
            not state.lacks_safeguard(action)
            and names(consent.groups)
            and ConsentScope.INFORMATION_EXCHANGE in consent.scopes
            and recipient in consent.recipients
            and _lasts(consent.expires, consent.party, protocol, at)
        ):
            yield Basis(LegalBasis.CONSENT, action)
    for action, decision in state.sharing.items():
        if (
            names(decision.groups)
            and recipient in decision.recipients
            and _lasts(decision.until, decision.party, protocol, at)
        ):
            yield Basis(LegalBasis.BEST_INTERESTS, action)
    for basis in _dangers(state, agency, group, at):
        if names(state.break_glass[basis.action].groups):
            yield basis


def _readers(consent: ConsentInForce) -> tuple[str | None, tuple[str, ...]]:
    """Return the country that reads at home on a consent, and those that read abroad.

    Another country reads only while the person agrees to the exchange of information.
    """
    is_shared = ConsentScope.INFORMATION_EXCHANGE in consent.scopes
    at_home = consent.party if is_shared or ConsentScope.ASSISTANCE in consent.scopes else None
    return at_home, consent.recipients if is_shared else ()


def _duties(
    state: CaseState,
    protocol: Protocol,
    agency: Agency,
    group: FieldGroup,
    history: Mapping[UUID, Act],
    *,
    abroad: bool,
) -> Iterator[Basis]:
    for duty in protocol.duties:
        if agency.role not in duty.roles or group not in duty.groups:
            continue
        if abroad and not duty.to_other_countries:
            continue
        needed = duty.after if state.is_child else (*duty.after, *duty.after_for_adult)
        if all(fact in state.facts for fact in needed):
            begun = max((state.facts[fact] for fact in needed), key=lambda f: f.since)
            if duty.of_acting_agency:
                acted = history.get(state.facts[duty.after[-1]].action)
                if acted is None or protocol.answering_for(acted.agency).id != agency.id:
                    continue
            yield Basis(LegalBasis.DUTY, begun.action)


def _dangers(state: CaseState, agency: Agency, group: FieldGroup, at: datetime) -> Iterator[Basis]:
    for action, access in state.break_glass.items():
        if access.by == agency.id and group in access.groups and at < access.until:
            yield Basis(LegalBasis.DANGER_TO_LIFE, action)


def _lasts(until: str | None, party: str, protocol: Protocol, at: datetime) -> bool:
    """Return whether a basis of a party with an optional last day still holds.

    The day is the party's, where the protocol counts local days, and else one of UTC.
    """
    today = at.astimezone(zone_of_days(protocol, party)).date()
    return until is None or today <= date.fromisoformat(until)
