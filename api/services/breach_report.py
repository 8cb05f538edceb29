"""The report on a breach: what a suspect opened, signed and could see, in one country.

The suspect is a key, a member, a person or an agency. The report is for those who may audit the
access log, and is an entry of it. It has ids and counts: who needs a name reads it for a purpose.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta
from uuid import UUID

from api.client.schemas.breach import (
    AffectedCase,
    AffectedCountry,
    BreachReport,
    BreachRequest,
    Reach,
    SignedAct,
    SuspectKey,
)
from api.services.access_log_audit import AccessLogAudit, check_may_audit
from api.services.personal_data_access import Reader
from ledger.application import Ledger
from ledger.procedure.checks.taking_part import is_bound
from ledger.procedure.protocol import (
    COORDINATOR,
    OVERSIGHT,
    Agency,
    Operation,
    Protocol,
)
from ledger.procedure.readings import Reading, Sought
from ledger.procedure.registry import RegisteredKey, Registry
from ledger.refusals import Ground, Refusal
from ledger.system import clock
from ledger.vault.access_log import NO_CASE, EntryFilter
from ledger.vocabulary.levels import FieldGroup
from projections.folds.audit_trail import TrailEntry
from projections.folds.case_view import CaseView
from projections.tables.view_queries import ViewReader

NOTICE_WITHIN = timedelta(hours=72)
"""GDPR, Article 33(1)."""
MOST_ENTRIES = 100_000
"""Entries of the access log that one report looks through."""
MOST_ACTS = 5_000
_OPENING = (Operation.READ, Operation.BREAK_GLASS, Operation.SUBJECT_ACCESS, Operation.RELEASE)


@dataclass(frozen=True, slots=True)
class Suspect:
    """The keys, the person or the agency whose entries are sought."""

    keys: Sequence[RegisteredKey]
    agencies: Sequence[str]
    """The agencies that the suspect acts for; empty if only the entries tell."""
    person: str | None = None
    agency: str | None = None

    def made(self, reading: Reading) -> bool:
        """Return whether an entry of the access log is the suspect's."""
        asked = reading.asked
        if self.agency is not None:
            return asked.agency == self.agency
        if self.person is not None:
            return asked.person == self.person
        return asked.key_id is not None and any(asked.key_id == key.id for key in self.keys)


def suspect_of(asked: BreachRequest, registry: Registry, party: str) -> Suspect:
    """Return the suspect of a request, of an agency of ``party``.

    Raises ``Refusal`` (``unknown-suspect``).
    """
    own = {one.id for one in registry.directory.agencies if one.party == party}
    if asked.person is not None:
        return Suspect((), (), person=asked.person)
    if asked.agency is not None:
        if asked.agency not in own:
            raise _unknown("agency")
        keys = [one for one in registry.keys.values() if one.agency == asked.agency]
        return Suspect(keys, (asked.agency,), agency=asked.agency)
    keys = [
        one
        for one in registry.keys.values()
        if one.agency in own
        and (one.id == asked.key_id if asked.key_id is not None else one.member == asked.member)
    ]
    if not keys:
        raise _unknown("key_id" if asked.key_id is not None else "member")
    return Suspect(keys, tuple(sorted({one.agency for one in keys})))


class BreachReports:
    """Makes reports on breaches in the countries that a node serves."""

    def __init__(self, ledger: Ledger, views: ViewReader, audit: AccessLogAudit) -> None:
        self._ledger = ledger
        self._views = views
        self._audit = audit

    def report(self, reader: Reader, asked: BreachRequest) -> BreachReport:
        """Write the look down, and return the facts.

        Raises ``Refusal`` (``coordinators-and-oversight``, ``unknown-suspect``).
        """
        until = asked.until or clock.now()
        span = EntryFilter(recorded_from=asked.since, recorded_before=until, with_nodes=True)
        registry, party = self._ledger.adopted(), reader.agency.party
        check_may_audit(reader.agency)
        suspect = suspect_of(asked, registry, party)
        named = asked.model_dump(include={"key_id", "member", "person", "agency", "since"})
        looked = self._audit.everything(
            reader, span, most=MOST_ENTRIES, sought=Sought(**named, until=until)
        )
        readings = [one for one in looked.readings if suspect.made(one)]
        acts = self._views.signed_with(
            [key.id for key in suspect.keys], asked.since, until, limit=MOST_ACTS + 1
        )
        names = {one.asked.case_id for one in readings if one.granted} - {NO_CASE}
        names |= {act.case_id for act in acts}
        views = {
            case_id: view
            for case_id in names
            if (view := self._views.case(party, case_id)) is not None
        }
        agencies = suspect.agencies or tuple(sorted({one.asked.agency for one in readings}))
        protocol = registry.protocol_today(clock.now())
        cases = tuple(affected_cases(readings, acts, views))
        return BreachReport(
            look=looked.look,
            since=asked.since.astimezone(UTC),
            until=until.astimezone(UTC),
            keys=tuple(map(_key, suspect.keys)),
            readings=tuple(readings),
            granted=sum(one.granted for one in readings),
            refused=sum(not one.granted for one in readings),
            documents=len({one.concerning for one in readings if _is_document(one)}),
            downloads=sum(one.copy_kind is not None for one in readings),
            searches=sum(one.asked.operation is Operation.SEARCH for one in readings),
            acts=tuple(_act(one, views) for one in acts[:MOST_ACTS]),
            cases=cases,
            persons=len({_person(views[one.case_id]) for one in cases}),
            countries=tuple(_countries(cases)),
            reach=tuple(
                self._reach(protocol, registry.directory.agencies_by_id[one]) for one in agencies
            ),
            aware_at=asked.aware_at and asked.aware_at.astimezone(UTC),
            notify_by=asked.aware_at and asked.aware_at.astimezone(UTC) + NOTICE_WITHIN,
            changed=looked.changed,
            log_begins_at=looked.begins_at,
            is_cut=looked.is_cut or len(acts) > MOST_ACTS,
        )

    def _reach(self, protocol: Protocol, agency: Agency) -> Reach:
        bound = agency.id if is_bound(agency, protocol) else None
        return Reach(
            agency=agency.id,
            cases=self._views.lists.number(agency.party, seen_by=bound),
            groups=tuple(
                group for group in FieldGroup if protocol.allows(agency.role, Operation.READ, group)
            ),
            every_event=agency.role in (COORDINATOR, OVERSIGHT),
        )


def affected_cases(
    readings: Iterable[Reading], acts: Iterable[TrailEntry], views: Mapping[UUID, CaseView]
) -> Iterator[AffectedCase]:
    """Yield each case of ``views`` that was opened or acted in, in the order of the ids."""
    granted = [one for one in readings if one.granted]
    opened: dict[UUID, set[FieldGroup]] = {case_id: set() for case_id in views}
    counts, downloads = Counter[UUID](), Counter[UUID]()
    for one in granted:
        case_id = one.asked.case_id
        if case_id not in opened:
            continue
        counts[case_id] += 1
        downloads[case_id] += one.copy_kind is not None
        if one.asked.operation in _OPENING:
            opened[case_id] |= {*one.asked.groups}
    signed = Counter(act.case_id for act in acts)
    for case_id in sorted(views):
        yield AffectedCase(
            case_id=case_id,
            parties=views[case_id].parties,
            opened=tuple(group for group in FieldGroup if group in opened[case_id]),
            readings=counts[case_id],
            downloads=downloads[case_id],
            acts=signed[case_id],
        )


def _countries(cases: Collection[AffectedCase]) -> Iterator[AffectedCountry]:
    counts = Counter(party for one in cases for party in one.parties)
    for country in sorted(counts):
        yield AffectedCountry(country=country, cases=counts[country])


def _person(view: CaseView) -> UUID:
    """Return the case that stands for the person: the one in which a merged case continues."""
    return view.merged_into.case if view.merged_into is not None else view.case_id


def _is_document(reading: Reading) -> bool:
    return (
        reading.granted
        and reading.concerning is not None
        and reading.asked.operation in (Operation.READ, Operation.BREAK_GLASS)
    )


def _key(key: RegisteredKey) -> SuspectKey:
    return SuspectKey(
        key_id=key.id,
        agency=key.agency,
        member=key.member,
        valid_from=key.valid_from,
        valid_until=key.valid_until,
        revoked_at=key.revoked_at,
        compromised_since=key.compromised_since,
    )


def _act(entry: TrailEntry, views: Mapping[UUID, CaseView]) -> SignedAct:
    recipient, groups = entry.fields.get("recipient"), entry.fields.get("groups")
    return SignedAct(
        position=entry.position,
        action_id=entry.action_id,
        case_id=entry.case_id if entry.case_id in views else None,
        kind=entry.kind,
        key_id=entry.key_id,
        recorded_at=entry.recorded_at,
        recipient=recipient if isinstance(recipient, str) else None,
        groups=tuple(FieldGroup(str(one)) for one in groups) if isinstance(groups, list) else (),
    )


def _unknown(field: str) -> Refusal:
    return Refusal(
        Ground.UNKNOWN,
        "unknown-suspect",
        "No agency of this country has that. Ask the country whose agency it is: each country has"
        " its own access log.",
        field,
    )
