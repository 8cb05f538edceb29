"""A protocol as data: parties, agencies and roles, and the rules of each action."""

import json
import tomllib
from collections.abc import Iterable, Mapping
from datetime import date
from enum import StrEnum
from functools import cached_property, lru_cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Self
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from ledger.procedure.case_access import CaseAccess
from ledger.procedure.communication_forms import CommunicationForm, check_forms
from ledger.procedure.conditions import (
    Bodies,
    Condition,
    ConditionName,
    Fact,
    FieldOfFact,
    FieldValue,
    Marked,
    Reflection,
    Repeats,
    Role,
    Standing,
    ValueRule,
)
from ledger.procedure.operational_indicators import ListedIndicator
from ledger.system.zones import is_area_name, is_known_zone
from ledger.vocabulary import CASE_ACTIONS
from ledger.vocabulary.action import LedgerModel, field_adapter
from ledger.vocabulary.characters import checked_name
from ledger.vocabulary.erasure import RetentionDays
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import CaseStatus, ClosureReason, RiskLevel
from ledger.vocabulary.registration import Accession, Office
from ledger.vocabulary.types import AgencyId, Country, LanguageTag, RecordedName

TimeZone = Annotated[str, Field(pattern=r"^[A-Za-z0-9_+-]{1,30}(/[A-Za-z0-9_+-]{1,30}){0,2}$")]
Label = Annotated[
    str,
    Field(pattern=r"^(title|(role|kind|field|value|country|language)\.[A-Za-z0-9_.]{1,90})$"),
]
"""The id of a name: as the catalogues have it, or ``title`` for the protocol's title."""

LATEST_EDITION = 2
"""The newest edition of the rules in Python that this program has."""

_VISIBLE_SINCE = 2
"""From this edition on, a name has no character that nobody can see."""
_ANY_ID_SINCE = 2
"""From this edition on, the id of an agency need not begin with the code of its party."""
_LOCAL_DAYS_SINCE = 2
"""From this edition on, a protocol may count deadlines by days of local time."""
_BINDS_SINCE = 2
"""The edition of the rules from which on ``case_access`` counts."""
_ANALYSTS_SINCE = 2
"""From this edition on, a protocol may have analysts."""
_QUORUM_SINCE = 2
"""From this edition on, a protocol may say how many parties publish and decide."""
_APPROVALS_SINCE = 2
"""From this edition on, a protocol may ask for the approval of a second member."""
_NOT_APPROVED = frozenset({"document_added"})
"""Actions that no text can let wait: a document's content is not kept in a draft."""
_MARKS_SINCE = 2
"""From this edition on, a period that the text does not have is only assumed."""
COORDINATOR: Role = "coordinator"
OVERSIGHT: Role = "oversight"
COURT: Role = "court"
NODE: Role = "node"
"""A country's node: it follows the ledger, and passes on what its agencies signed."""


class Party(LedgerModel):
    code: Country
    name: RecordedName
    names: dict[LanguageTag, RecordedName] | None = None
    """Its name by language, where the catalogues of this program have none."""
    accession: Accession | None = None
    """Its keys and node, if it joined by an amendment. The parties that adopted the first text
    have none: the adoption and later acts register their keys."""
    left_on: date | None = None
    """The first day on which it is no party any more. No text of the protocol has it."""
    time_zone: TimeZone | None = None
    """Its local time, by the name of the IANA time zone database, e.g. ``Europe/Podgorica``.

    Without it: see :func:`ledger.procedure.time_zones.zone_of`."""
    language: LanguageTag | None = None
    """The language of messages to its agencies that name none. Without it: English."""


class Agency(Marked):
    id: AgencyId
    name: RecordedName
    party: Country
    role: Role
    city: RecordedName | None = None
    names: dict[LanguageTag, RecordedName] | None = None
    """Its name by language, where the catalogues of this program have none."""
    office: Office | None = None
    international: bool | None = None
    """Whether it is an international body, which ``party`` invited.

    It works through that party's node, and has part in the cases that name it alone."""
    retired_at: int | None = None
    """The position of the act that retired it. No text of the protocol has it."""


_BY_VALUE = ("requires", "forbidden_while", "party_that_established", "establishes", "ends")
"""The parts of a rule that ``where`` adds to."""


class ActionRule(Marked):
    """The rule of one kind of action: its conditions and its effects."""

    roles: tuple[Role, ...] = ()
    requires: tuple[Fact, ...] = ()
    requires_for_child: tuple[Fact, ...] = ()
    requires_for_adult: tuple[Fact, ...] = ()
    requires_one_of: tuple[Fact, ...] = ()
    """One of these facts holds. Without any, none is needed."""
    conditions: tuple[ConditionName, ...] = ()
    """The conditions of the protocol that must hold."""
    conditions_of: str | None = None
    """Another kind of action whose conditions must hold too."""
    by: tuple[Bodies, ...] = ()
    """The bodies of each party that decide. Without an entry for a party, ``roles`` says it."""
    party_named_in: FieldOfFact | None = None
    """Only the party that this field names takes the action: ``return_requested.destination``."""
    not_party_named_in: FieldOfFact | None = None
    """Every party but the one that this field names takes the action."""
    party_that_established: tuple[Fact, ...] = ()
    """Where one of these facts holds, only the party that established it takes the action, so that
    no party undoes another's decision."""
    or_party_that_established: tuple[Fact, ...] = ()
    """The party that established one of these facts takes the action as well."""
    waits_for_reflection_unless: Fact | None = None
    """The action waits for the end of the recovery and reflection period, unless this holds."""
    forbidden_while: tuple[Fact, ...] = ()
    establishes: tuple[Fact, ...] = ()
    ends: tuple[Fact, ...] = ()
    on_closed_case: bool = False
    sets_status: CaseStatus | None = None
    reviews: str | None = None
    """The field that names the earlier action which this one reviews. The agency that took the
    earlier action does not review it."""
    by_another_party: tuple[Role, ...] = ()
    """The roles that review only what an agency of another party did."""
    joins: bool = False
    """Whether an agency of a party that has no part in the case may take it. Its party joins."""
    annulled_as: str | None = None
    """The kind of action as which the annulment of such an action is decided: the bodies of that
    kind decide, by the value that stands afterwards (edition 2)."""
    named_roles: dict[str, tuple[Role, ...]] = Field(default_factory=dict)
    """Of a field that names an agency: the roles that this agency may have. Forms offer only these.

    No rule reads it: the field may be sealed. Without an entry every agency is offered."""
    where: tuple[ValueRule, ...] = ()
    """The parts that count where a field of the action has one of some values."""

    def taken_with(self, fields: Mapping[str, Any]) -> Self:
        """Return the rule of an action with these ``ledger`` fields, with what ``where`` adds."""
        held = [one for one in self.where if one.is_of(fields)]
        if not held:
            return self
        added = {
            name: (*getattr(self, name), *(fact for one in held for fact in getattr(one, name)))
            for name in _BY_VALUE
        }
        return self.model_copy(update=added)

    @property
    def may_establish(self) -> tuple[Fact, ...]:
        """Return the facts that the rule establishes, for some value of the action's fields."""
        return (*self.establishes, *(fact for one in self.where for fact in one.establishes))

    def bodies_of(self, party: str) -> tuple[Bodies, ...]:
        """Return the bodies of a party that decide; none, where ``roles`` alone says it."""
        named = tuple(one for one in self.by if party in one.parties)
        return named or tuple(one for one in self.by if not one.parties)


class Expectation(Marked):
    """A next step that the procedure expects while some facts hold and another does not."""

    action: str
    after: tuple[Fact, ...]
    until: Fact
    roles: tuple[Role, ...]
    by: Annotated[str, Field(pattern="^(lead|destination|any)$")] = "lead"
    """The country whose turn it is: the lead agency's, that of destination, or any party."""
    children_only: bool = False
    within_days: Annotated[int, Field(ge=0, le=3660)] | None = None
    applies_to_open: bool = False
    """Whether an amended expectation also holds where its facts were established earlier.

    Otherwise a step keeps the deadline of the version by which its facts were established. Where it
    does, a case has the new deadline from its next event on."""

    not_while: tuple[Fact, ...] = ()
    """Facts while one of which it is not expected: such as that the person is only at risk."""
    parties: tuple[Country, ...] = ()
    """Only while it is the turn of one of these parties; without any, of each."""
    repeats: Repeats | None = None
    """How the action is expected again, until the fact that ends it."""

    @property
    def key(self) -> tuple[str, tuple[Fact, ...], Fact]:
        """Return the expected action, after and until which facts.

        The same expectation has the same key in every version.
        """
        return self.action, self.after, self.until


class ClosingRule(LedgerModel):
    """The facts with which a reason for closing a case agrees."""

    reason: ClosureReason
    requires: tuple[Fact, ...] = ()
    forbidden_while: tuple[Fact, ...] = ()


class ShelterExit(Marked):
    """The roles that must approve before a person at high risk leaves a shelter for good."""

    party: Country
    """The party that shelters the person."""
    risk_levels: Annotated[tuple[RiskLevel, ...], Field(min_length=1)]
    """The levels of the newest risk assessment for which approvals are needed."""
    approved_by: Annotated[tuple[Role, ...], Field(min_length=1)]
    """An agency of each of these roles approves, of that party."""


class Operation(StrEnum):
    """An operation on the personal fields of a group."""

    READ = "read"
    REQUEST = "request"
    RELEASE = "release"
    BREAK_GLASS = "break_glass"
    SUBJECT_ACCESS = "subject_access"
    MATCH = "match"
    """By a country's node, to compare with other countries' cases; nobody sees what was read."""
    RESTORE = "restore"
    """Back to the node of the country whose agencies disclosed it, which lost it.

    No access matrix has it: a country may always have back what its own agencies disclosed."""
    REVIEW_DESTRUCTION = "review_destruction"
    """Of what one annulled action disclosed, to decide on its destruction.

    No access matrix has it: see :mod:`ledger.procedure.destruction_review`."""
    INDEX = "index"
    """By a country's node, to make the search index of its own vault; it shows nothing to anybody.

    No access matrix has it."""
    SEARCH = "search"
    """Of the own country's vault, for the cases of a person. It opens no field.

    No access matrix has it: a role that may read a group may search by its fields."""
    READ_DRAFT = "read_draft"
    """Of an action that waits for the approval of a second member, by members of its own agency.

    No access matrix has it."""
    AUDIT = "audit"
    """Of the own country's access log, by its coordinator or oversight body. It opens no field.

    No access matrix has it."""
    STATISTICS = "statistics"
    """By an analyst of the own country, into pseudonymised records. Nobody else has it."""


NOT_IN_MATRIX = frozenset(
    {
        Operation.RESTORE,
        Operation.REVIEW_DESTRUCTION,
        Operation.INDEX,
        Operation.SEARCH,
        Operation.READ_DRAFT,
        Operation.AUDIT,
    }
)
"""The operations that no access matrix may have."""


class Duty(Marked):
    """The groups that roles may read by duty of the protocol while some facts hold of a case."""

    roles: tuple[Role, ...]
    groups: tuple[FieldGroup, ...]
    after: Annotated[tuple[Fact, ...], Field(min_length=1)]
    after_for_adult: tuple[Fact, ...] = ()
    """Facts that must hold as well, where the person counts as an adult: such as the consent."""
    of_acting_agency: bool = False
    """Whether the duty is that of the one agency that established the last of ``after``, such as
    the shelter that took the person in, instead of every agency of these roles."""
    to_other_countries: bool = False
    """Whether these roles may also release the groups on this duty."""


class KeyChange(StrEnum):
    """A coordinator's change of an agency's key."""

    REGISTRATION = "registration"
    REVOCATION = "revocation"
    """A declaration that the key was compromised revokes it too."""


class KeyConfirmation(LedgerModel):
    """The roles whose keys no country changes alone: an agency of another party confirms."""

    roles: Annotated[tuple[Role, ...], Field(min_length=1)]
    """The roles of the agencies whose keys these are."""
    changes: Annotated[tuple[KeyChange, ...], Field(min_length=1)]
    by: Annotated[tuple[Role, ...], Field(min_length=1)] = (COORDINATOR,)
    """The roles that confirm, in another party than that of the key's agency."""


class Retention(Marked):
    """The period for which data on a person is kept after the case was closed."""

    days: RetentionDays
    reasons: tuple[ClosureReason, ...] = ()
    """For cases closed for these reasons; without any, for all others."""
    unless: tuple[Fact, ...] = ()
    """Facts with one of which a case has the rule of all others: such as an investigation."""
    grace_days: Annotated[int, Field(ge=1, le=3660)] = 30
    """For how many days an erasure by this rule stands announced on the ledger before it.

    The default is an assumption of this program, not a period that an authority set."""


class WithdrawalTerms(Marked):
    """The terms on which a party leaves the agreement.

    The defaults are assumptions of this program, not periods that an authority set.
    """

    notice_days: Annotated[int, Field(ge=1, le=3660)] = 90
    """A party leaves so many days after its declaration was recorded, at the earliest."""
    erase_within_days: Annotated[int, Field(ge=1, le=3660)] = 30
    """Within so many days of its last day it confirms that it erased what it had received."""
    hold_review_days: Annotated[int, Field(ge=1, le=3660)] | None = None
    """So many days after its last day, or after the hold was placed, the country that keeps it from
    erasing reviews the hold: lifts it, or places another. Then an unchanged hold gives no more time
    to copy the ledger. Without it, a hold gives time until it is lifted."""


class DocumentLimits(LedgerModel):
    """The limits of the documents at a country's node."""

    max_bytes: Annotated[int, Field(ge=1, le=1_000_000_000)] = 25_000_000
    """The most bytes of one document."""
    max_case_bytes: Annotated[int, Field(ge=1, le=1_000_000_000_000)] = 500_000_000
    """The most bytes of all documents of a case at one node, uploads among them."""


class PersonRecord(Marked):
    """The periods that concern what is recorded on a person.

    The defaults are assumptions of this program, not periods that an authority set."""

    rectification_days: Annotated[int, Field(ge=1, le=3660)] = 30
    """Within so many days a request of the person to rectify is answered."""
    of_age_weeks: Annotated[int, Field(ge=1, le=520)] = 8
    """So many weeks before the quarter in which a child comes of age, the lead agency and the
    agency that appointed the guardian are told."""


class Accountability(Marked):
    """The periods in which parties account to each other for what they did.

    The defaults are assumptions of this program, not periods that an authority set."""

    review_days: Annotated[int, Field(ge=1, le=3660)] = 3
    """Within so many days an access in danger to life is reviewed."""
    erasure_days: Annotated[int, Field(ge=1, le=3660)] = 7
    """Within so many days each country of a case confirms an erasure."""
    destruction_grace_days: Annotated[int, Field(ge=1, le=3660)] = 14
    """For so many days a destruction of an annulled action's disclosures can be stopped.

    They begin with the recorded time of its approval."""
    error_closing_days: Annotated[int, Field(ge=1, le=3660)] = 30
    """Within so many days of its proposal a case is closed as opened in error, or not at all."""
    merge_undoing_days: Annotated[int, Field(ge=1, le=3660)] = 14
    """Within so many days of its announcement the undoing of a merge is recorded in both cases."""
    approval_days: Annotated[int, Field(ge=1, le=3660)] | None = None
    """Within so many days a proposed erasure or destruction is approved.

    A text without it makes nobody late: the parties adopted no such period."""


class Quorum(Marked):
    """The number of parties that publish and decide while the others are away.

    Without it every party's witness publishes, and every party's coordinator decides.
    """

    witnesses: Annotated[int, Field(ge=1, le=64)]
    """So many parties' witnesses must cosign a checkpoint before it is published."""
    coordinators: Annotated[int, Field(ge=1, le=64)]
    """So many parties' coordinators decide on the log's policy while all others are absent."""
    notice_days: Annotated[int, Field(ge=7, le=3660)] = 14
    """A party counts as absent once that was announced on the ledger for so many days.

    The default is an assumption of this program, not a period that an authority set. Less than a
    week is refused: a party could be voted out over a few holidays."""
    minority: bool = False
    """Whether one of the two numbers may be half of the parties or fewer.

    With two parties this lets one country publish, or decide, without the other."""

    def check(self, parties: int) -> None:
        """Check that ``parties`` parties can have agreed to the numbers.

        Raises ``ValueError`` if they cannot.
        """
        for name, number in (("witnesses", self.witnesses), ("coordinators", self.coordinators)):
            if number > parties:
                raise ValueError(f"quorum: {number} {name} are more than there are parties")
            if 2 * number <= parties and not self.minority:
                raise ValueError(
                    f"quorum: {number} of {parties} {name} are no majority; add minority = true"
                    " only if every party agrees that fewer than a majority are enough"
                )


class DatePeriod(StrEnum):
    """The period that stands for a day in an analyst's records."""

    MONTH = "month"
    QUARTER = "quarter"


class StatisticsTerms(Marked):
    """The basis on which a country's own analysts get pseudonymised records of its cases.

    The numbers are assumptions of this program, not rules that an authority set.
    """

    dates: DatePeriod = DatePeriod.QUARTER
    """A day is told as its month or quarter. A case is told once that has ended."""
    smallest_category: Annotated[int, Field(ge=5, le=1000)] = 10
    """A category of fewer persons is told as another one."""
    citizenships: Annotated[tuple[Country, ...], Field(max_length=60)] = ()
    """The citizenships that are told, besides those of the parties."""


class MemberApproval(Marked):
    """Actions that a second member of the same agency approves before they are recorded.

    See :mod:`ledger.procedure.approvals`. The days are an assumption of this program."""

    actions: Annotated[tuple[str, ...], Field(min_length=1)]
    roles: tuple[Role, ...] = ()
    """The roles of the agencies to which it applies. Without any: every role but a node's."""
    parties: tuple[Country, ...] = ()
    """The parties to whose agencies it applies. Without any: every party."""
    within_days: Annotated[int, Field(ge=1, le=90)] = 7
    """The action is recorded at most so many days after its author signed it, and after its
    approval."""

    def applies_to(self, kind: str, agency: Agency) -> bool:
        """Return whether a second member approves an action of ``kind`` of an agency."""
        return (
            kind in self.actions
            and agency.role != NODE
            and (not self.roles or agency.role in self.roles)
            and (not self.parties or agency.party in self.parties)
        )


class NewerTextError(ValueError):
    """A text needs a newer program than this one."""


class Protocol(LedgerModel):
    """An agreement between countries, from a file: another corridor is another file."""

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{2,60}$")]
    title: RecordedName
    version: Annotated[int, Field(ge=1)]
    edition: Annotated[int, Field(ge=1)] = 1
    """The edition of the rules written in Python that judges this protocol's events.

    A stricter rule is a new edition, so that it does not condemn what earlier ones allowed."""
    parties: tuple[Party, ...]
    agencies: tuple[Agency, ...]
    roles: dict[Role, RecordedName]
    actions: dict[str, ActionRule]
    expected: tuple[Expectation, ...] = ()
    access: dict[Role, dict[Operation, tuple[FieldGroup, ...]]] = Field(default_factory=dict)
    """The access matrix: what is not named here is denied."""
    duties: tuple[Duty, ...] = ()
    retention: tuple[Retention, ...] = ()
    confirmed_keys: tuple[KeyConfirmation, ...] = ()
    """Without one, each country changes the keys of all its agencies alone."""
    person_record: PersonRecord | None = None
    """Without it, a request to rectify has no deadline, and no agency is told of a coming of age.
    """
    indicators: tuple[ListedIndicator, ...] = ()
    """The lists of operational indicators, by which assessments are combined."""
    closings: tuple[ClosingRule, ...] = ()
    """A reason without a rule needs no fact."""
    shelter_exits: tuple[ShelterExit, ...] = ()
    accountability: Accountability | None = None
    """Without it, the defaults of :class:`Accountability` count, from edition 2 on as assumed."""
    quorum: Quorum | None = None
    """Without one, nothing is published and no log policy is adopted without every party."""
    withdrawal: WithdrawalTerms | None = None
    """Without one, the defaults of :class:`WithdrawalTerms` count, from edition 2 on as assumed."""
    documents: DocumentLimits | None = None
    """Without it, the defaults of :class:`DocumentLimits` count."""
    forms: tuple[CommunicationForm, ...] | None = None
    """The communication forms, in the order of the procedure's steps."""
    languages: Annotated[tuple[LanguageTag, ...], Field(min_length=1, max_length=24)] | None = None
    """The languages of pages, documents and messages, in the order in which pages offer them.

    Each is a folder of catalogues that a node finds. Without it: those that ship with the node."""
    labels: dict[LanguageTag, dict[Label, RecordedName]] | None = None
    """The protocol's own words by language: of its title, roles, actions, fields and values.

    They go before the words of the catalogues, which are the program's."""
    case_access: CaseAccess | None = None
    """The agencies of a country that see its cases. Without it, every agency does.

    A reading of the procedure; see ``ledger.procedure.case_access``."""
    analysts: tuple[Role, ...] = ()
    """The roles whose agencies see counts of their country's cases, and no case.

    Without one, there are none. A reading of the procedure."""
    statistics: StatisticsTerms | None = None
    """The basis of analysts' records. Without it, analysts see counts alone."""
    local_days: bool | None = None
    """Whether a deadline in days ends with the local day of the party that owes the step.

    Otherwise it ends so many times 24 hours after its beginning, and a day ends at midnight UTC."""
    conditions: dict[ConditionName, Condition] = Field(default_factory=dict)
    """The values that outcomes and other fields must have, by the names that rules use."""
    reflection: tuple[Reflection, ...] = ()
    """The recovery and reflection period, per party. Without one, it has no effect."""
    approvals: tuple[MemberApproval, ...] = ()
    """The actions that a second member of the agency approves. Without one, none needs it."""

    @model_validator(mode="after")
    def _refers_only_to_what_it_declares(self) -> Self:
        if self.edition > LATEST_EDITION:
            raise ValueError(
                f"edition {self.edition} of the rules is newer than this program, which has"
                f" {LATEST_EDITION}; update it"
            )
        if self.edition >= _VISIBLE_SINCE:
            self._check_names()
        parties = {party.code for party in self.parties}
        if len(parties) < 2 or len(parties) != len(self.parties):
            raise ValueError("a protocol has two or more parties, each once")
        for party in self.parties:
            self._check_party(party)
        if self.quorum is not None:
            self.quorum.check(len(parties))
        if self.languages is not None and len(set(self.languages)) != len(self.languages):
            raise ValueError("languages: a language is named twice")
        for language, labels in (self.labels or {}).items():
            for role in (one[5:] for one in labels if one.startswith("role.")):
                if role not in self.roles:
                    raise ValueError(f"labels.{language}: role {role} is not declared")
        if len({agency.id for agency in self.agencies}) != len(self.agencies):
            raise ValueError("two agencies have the same id")
        for agency in self.agencies:
            if agency.party not in parties:
                raise ValueError(f"agency {agency.id}: {agency.party} is not a party")
            if agency.retired_at is not None:
                raise ValueError(f"agency {agency.id}: its own country retires it, by an act")
            if agency.international and agency.role in (COORDINATOR, NODE, OVERSIGHT):
                raise ValueError(f"agency {agency.id}: an international body is no {agency.role}")
            if self.edition < _ANY_ID_SINCE and agency.id[:2].upper() != agency.party:
                raise ValueError(f"agency {agency.id}: its id must begin with its party's code")
            if agency.role not in self.roles:
                raise ValueError(f"agency {agency.id}: role {agency.role} is not declared")
        if unknown := self.actions.keys() - CASE_ACTIONS.keys():
            raise ValueError(f"rules for unknown actions: {', '.join(sorted(unknown))}")
        established = {f for rule in self.actions.values() for f in rule.may_establish}
        for kind, rule in self.actions.items():
            if undeclared := set(rule.roles) - self.roles.keys():
                raise ValueError(f"{kind}: roles {sorted(undeclared)} are not declared")
            if set(rule.by_another_party) - set(rule.roles) or (
                rule.by_another_party and rule.reviews is None
            ):
                raise ValueError(f"{kind}: by_another_party names roles that do not review")
            if rule.reviews is not None and rule.reviews not in CASE_ACTIONS[kind].ledger_fields():
                raise ValueError(f"{kind}: there is no ledger field {rule.reviews!r} to review")
            for field, named in rule.named_roles.items():
                if field not in CASE_ACTIONS[kind].model_fields:
                    raise ValueError(f"{kind}: named_roles: there is no field {field!r}")
                if not named or set(named) - self.roles.keys():
                    raise ValueError(f"{kind}: named_roles: {field} needs declared roles")
            for fact in _facts_of(rule):
                if not any(covers(pattern, fact) for pattern in established):
                    raise ValueError(f"{kind}: no action establishes {fact!r}")
            for by_value in rule.where:
                _check_value(f"{kind}: where", kind, by_value)
            self._check_bodies(kind, rule)
            self._check_conditions_of(kind, rule)
        for name, condition in self.conditions.items():
            self._check_condition(name, condition, established)
        for period in self.reflection:
            if undeclared := set(period.parties) - parties:
                raise ValueError(f"reflection: {sorted(undeclared)} are not parties")
            for fact in (period.after, *period.or_after):
                if not any(covers(pattern, fact) for pattern in established):
                    raise ValueError(f"reflection: no action establishes {fact!r}")
        self._check_analysts()
        if undeclared := self.access.keys() - self.roles.keys():
            raise ValueError(f"access: roles {sorted(undeclared)} are not declared")
        by_node = self.access.get(NODE, {})
        if self.access.get(OVERSIGHT) or by_node.keys() - {Operation.MATCH}:
            raise ValueError("access: neither a node nor oversight has access to personal fields")
        if set(by_node.get(Operation.MATCH, ())) - {FieldGroup.IDENTITY}:
            raise ValueError("access: a node matches by identity alone")
        if any(Operation.MATCH in own for role, own in self.access.items() if role != NODE):
            raise ValueError("access: only a country's node matches")
        if any(Operation.RESTORE in own for own in self.access.values()):
            raise ValueError("access: restoring is no right of a role")
        if any(Operation.REVIEW_DESTRUCTION in own for own in self.access.values()):
            raise ValueError("access: no role has the review of a destruction by the matrix")
        if any({Operation.INDEX, Operation.SEARCH} & own.keys() for own in self.access.values()):
            raise ValueError("access: a role searches by what it may read, and a node indexes")
        if any(Operation.READ_DRAFT in own for own in self.access.values()):
            raise ValueError("access: the look at a draft is no right of the matrix")
        if any(Operation.AUDIT in own for own in self.access.values()):
            raise ValueError("access: the audit of an access log is no right of the matrix")
        for duty in self.duties:
            if undeclared := set(duty.roles) - self.roles.keys():
                raise ValueError(f"duties: roles {sorted(undeclared)} are not declared")
            for fact in (*duty.after, *duty.after_for_adult):
                if not any(covers(pattern, fact) for pattern in established):
                    raise ValueError(f"duties: no action establishes {fact!r}")
            if duty.to_other_countries and FieldGroup.WHEREABOUTS in duty.groups:
                raise ValueError("duties: whereabouts leave a country on no duty")
        for confirmation in self.confirmed_keys:
            if undeclared := {*confirmation.roles, *confirmation.by} - self.roles.keys():
                raise ValueError(f"confirmed_keys: roles {sorted(undeclared)} are not declared")
        for approval in self.approvals:
            self._check_approval(approval)
        check_forms(self.forms or (), self.roles)
        for kept in self.retention:
            for fact in kept.unless:
                if not any(covers(pattern, fact) for pattern in established):
                    raise ValueError(f"retention: no action establishes {fact!r}")
            if kept.unless and not kept.reasons:
                raise ValueError("retention: a rule with unless names the reasons for which it is")
        for closing in self.closings:
            for fact in (*closing.requires, *closing.forbidden_while):
                if not any(covers(pattern, fact) for pattern in established):
                    raise ValueError(f"closings: no action establishes {fact!r}")
        for one in self.shelter_exits:
            if undeclared := set(one.approved_by) - self.roles.keys():
                raise ValueError(f"shelter_exits: roles {sorted(undeclared)} are not declared")
        for step in self.expected:
            if step.action not in CASE_ACTIONS:
                raise ValueError(f"expected: unknown action {step.action}")
            if others := set(step.parties) - parties:
                raise ValueError(f"expected: {step.action} names {sorted(others)}, no parties")
            for fact in step.not_while:
                if not self.establishing(fact):
                    raise ValueError(f"expected: no action establishes {fact!r}")
            if step.repeats is None:
                continue
            if not self.establishing(step.repeats.after):
                raise ValueError(f"expected: no action establishes {step.repeats.after!r}")
            for sooner in step.repeats.sooner:
                value = FieldValue(field=sooner.field, values=sooner.values)
                _check_value("expected", step.action, value)
        return self

    def _check_approval(self, approval: MemberApproval) -> None:
        """Check that an approval names actions, roles and parties. Raises ``ValueError`` if not."""
        if self.edition < _APPROVALS_SINCE:
            raise ValueError(f"approvals needs edition {_APPROVALS_SINCE} of the rules")
        if unknown := set(approval.actions) - self.actions.keys():
            raise ValueError(f"approvals: there is no rule of {sorted(unknown)}")
        if barred := set(approval.actions) & _NOT_APPROVED:
            raise ValueError(
                f"approvals: {sorted(barred)} cannot wait for an approval, because its document is"
                " not kept in a draft"
            )
        if undeclared := set(approval.roles) - self.roles.keys():
            raise ValueError(f"approvals: roles {sorted(undeclared)} are not declared")
        if NODE in approval.roles:
            raise ValueError("approvals: a node has no members; name other roles")
        if others := set(approval.parties) - {party.code for party in self.parties}:
            raise ValueError(f"approvals: {sorted(others)} are not parties")

    def approval_of(self, kind: str, agency_id: str) -> MemberApproval | None:
        """Return the part that has a second member approve an action of an agency, if one does.

        Of several parts, the one with the fewest days counts.
        """
        agency = self.agencies_by_id.get(agency_id)
        if agency is None or not self.approvals:
            return None
        own = [one for one in self.approvals if one.applies_to(kind, agency)]
        return min(own, key=lambda one: one.within_days, default=None)

    def _check_bodies(self, kind: str, rule: ActionRule) -> None:
        """Check that the bodies of a rule are of the text. Raises ``ValueError`` if not."""
        if rule.annulled_as is not None and rule.annulled_as not in self.actions:
            raise ValueError(f"{kind}: there is no rule of {rule.annulled_as!r}")
        for bodies in rule.by:
            named = {*bodies.roles, *bodies.together, *bodies.together_for_child}
            if undeclared := named - self.roles.keys():
                raise ValueError(f"{kind}: roles {sorted(undeclared)} are not declared")
            if strangers := set(bodies.roles) - set(rule.roles):
                raise ValueError(f"{kind}: by names {sorted(strangers)}, which roles does not")
            if others := set(bodies.parties) - {party.code for party in self.parties}:
                raise ValueError(f"{kind}: by names {sorted(others)}, which are not parties")
            if bodies.field is None:
                if bodies.values or bodies.lowers:
                    raise ValueError(f"{kind}: by names values without the field that has them")
                continue
            if bodies.field not in _ledger_fields(kind):
                raise ValueError(f"{kind}: there is no ledger field {bodies.field!r} to confirm")
            for values in filter(None, (bodies.values, bodies.lowers)):
                _check_value(f"{kind}: by", kind, FieldValue(field=bodies.field, values=values))
            # With one value there is nothing else that a proposal could mean.
            if (
                bodies.field not in _ledger_fields("decision_proposed")
                and len(bodies.values) != 1
                and (bodies.together or bodies.together_for_child)
            ):
                raise ValueError(f"{kind}: a proposed decision has no field {bodies.field!r}")

    def _check_conditions_of(self, kind: str, rule: ActionRule) -> None:
        """Check that a rule's conditions exist and fit its action. Raises ``ValueError`` if not."""
        if rule.conditions_of is not None and rule.conditions_of not in self.actions:
            raise ValueError(f"{kind}: there is no rule of {rule.conditions_of!r}")
        for name in self.conditions_of(rule):
            condition = self.conditions.get(name)
            if condition is None:
                raise ValueError(f"{kind}: there is no condition {name!r}")
            for value in (condition, condition.when):
                if value is not None and value.fact is None:
                    _check_value(f"conditions.{name}", kind, value)
        for place in (rule.party_named_in, rule.not_party_named_in):
            if place is not None:
                fact, _, field = place.partition(".")
                if not any(field in _ledger_fields(one) for one in self.establishing(fact)):
                    raise ValueError(f"{kind}: no action that establishes {fact!r} has {field!r}")

    def _check_condition(self, name: str, condition: Condition, established: set[str]) -> None:
        """Check that a condition names facts, fields and values. Raises ``ValueError`` if not."""
        where = f"conditions.{name}"
        for value in (condition, condition.when):
            if value is None or value.fact is None:
                continue
            if not any(covers(pattern, value.fact) for pattern in established):
                raise ValueError(f"{where}: no action establishes {value.fact!r}")
            for kind in self.establishing(value.fact):
                _check_value(where, kind, value)
        if condition.unless is not None:
            if condition.fact is None:
                raise ValueError(f"{where}: only the value of a fact can be decided against")
            if "overrides" not in _ledger_fields(condition.unless):
                raise ValueError(f"{where}: {condition.unless} overrides nothing")
        if condition.of_each_party and condition.fact is None:
            raise ValueError(f"{where}: of_each_party needs a fact")

    def conditions_of(self, rule: ActionRule) -> tuple[ConditionName, ...]:
        """Return the names of all conditions of a rule."""
        other = self.actions.get(rule.conditions_of or "")
        return rule.conditions if other is None else (*rule.conditions, *other.conditions)

    def establishing(self, fact: str) -> tuple[str, ...]:
        """Return the kinds of actions that establish a fact."""
        return tuple(
            kind
            for kind, rule in self.actions.items()
            if any(covers(pattern, fact) for pattern in rule.may_establish)
        )

    def reflection_of(self, party: str) -> Reflection | None:
        """Return the recovery and reflection period of a party; ``None`` if it has no effect."""
        named = [one for one in self.reflection if party in one.parties]
        named += [one for one in self.reflection if not one.parties]
        return named[0] if named else None

    def check_zone_names(self) -> None:
        """Check that each time zone has the name of a place, or is UTC.

        Raises ``ValueError`` for another name. No recorded text of edition 1 is checked so.
        """
        for party in self.parties:
            if party.time_zone is not None and not is_area_name(party.time_zone):
                raise ValueError(
                    f"parties: {party.time_zone!r} is no time zone of a place: name UTC, or a zone"
                    " such as Europe/Podgorica"
                )

    def check_known_zones(self) -> None:
        """Check that this machine has each time zone of a new text.

        Raises ``ValueError`` if it lacks one.
        """
        for party in self.parties:
            if party.time_zone is not None and not is_known_zone(party.time_zone):
                raise ValueError(
                    f"parties: the time zone database of this machine has no {party.time_zone!r};"
                    " name another zone, or update that database (tzdata)"
                )

    def _check_party(self, party: Party) -> None:
        """Check that a party that joins names keys of its own coordinators and of its node.

        Raises ``ValueError`` if it does not.
        """
        if party.left_on is not None:
            raise ValueError(f"party {party.code}: a party leaves by an act of its own")
        if party.accession is None:
            return
        roles = {one.id: one.role for one in self.agencies if one.party == party.code}
        given = [roles.get(grant.agency) for grant in party.accession.keys]
        if set(given) != {COORDINATOR, NODE}:
            raise ValueError(
                f"party {party.code}: its accession names keys of its coordinators and of its node,"
                " and no other"
            )
        if len({grant.key.x for grant in party.accession.keys}) != len(given):
            raise ValueError(f"party {party.code}: its accession names a key twice")

    def _check_names(self) -> None:
        """Check that every character of each name is visible.

        Raises ``ValueError`` for a name with an invisible character.
        """
        cities = (agency.city for agency in self.agencies if agency.city is not None)
        names = [party.name for party in self.parties] + [one.name for one in self.agencies]
        names += [name for party in self.parties for name in (party.names or {}).values()]
        labels = (label for own in (self.labels or {}).values() for label in own.values())
        for name in (self.title, *self.roles.values(), *names, *cities, *labels):
            try:
                checked_name(name)
            except ValueError as error:
                raise ValueError(f"a name {error}") from None

    def _check_analysts(self) -> None:
        """Check that no part of the text lets an analyst do anything in a case.

        An analyst may have the operation of statistics in the matrix, and nobody else may. Raises
        ``ValueError`` if one does.
        """
        analysts = set(self.analysts)
        for role, own in self.access.items():
            if Operation.STATISTICS in own and role not in analysts:
                raise ValueError(f"access: {role} is no analyst, and has no statistics")
        if self.statistics is not None and not analysts:
            raise ValueError("statistics: the text names no analysts")
        if not analysts:
            return
        if self.edition < _ANALYSTS_SINCE:
            raise ValueError(f"analysts: they need edition {_ANALYSTS_SINCE} of the rules")
        if undeclared := analysts - self.roles.keys():
            raise ValueError(f"analysts: roles {sorted(undeclared)} are not declared")
        if named := analysts & {COORDINATOR, OVERSIGHT, COURT, NODE}:
            raise ValueError(f"analysts: {sorted(named)} have other work")
        for agency in self.agencies:
            if agency.international and agency.role in analysts:
                raise ValueError(f"agency {agency.id}: an international body is no analyst")
        more = [role for role, own in self.access.items() if own.keys() - {Operation.STATISTICS}]
        parts: list[tuple[str, Iterable[Role]]] = [("access", more)]
        for kind, rule in self.actions.items():
            bodies = (role for one in rule.by for role in one.roles)
            fields = (role for roles in rule.named_roles.values() for role in roles)
            parts.append((f"actions.{kind}", (*rule.roles, *bodies, *fields)))
        parts += [(f"expected.{step.action}", step.roles) for step in self.expected]
        parts += [("duties", duty.roles) for duty in self.duties]
        parts += [("confirmed_keys", one.by) for one in self.confirmed_keys]
        parts += [("shelter_exits", one.approved_by) for one in self.shelter_exits]
        for part, roles in parts:
            if named := analysts.intersection(roles):
                raise ValueError(f"{part}: {sorted(named)} see figures alone")

    def check_complete(self) -> None:
        """Check that every action has a rule.

        A protocol file is checked so. A recorded protocol is not: an action that was added to the
        program later is not allowed in that ledger, and the ledger's events still verify. Raises
        ``ValueError`` if an action has no rule.
        """
        if missing := CASE_ACTIONS.keys() - self.actions.keys():
            raise ValueError(f"no rule for {', '.join(sorted(missing))}")
        self.check_zone_names()
        self.check_known_zones()
        if self.local_days and self.edition < _LOCAL_DAYS_SINCE:
            raise ValueError(f"local_days needs edition {_LOCAL_DAYS_SINCE} of the rules")
        if self.case_access is CaseAccess.NAMED and not self.binds_agencies:
            raise ValueError(f"case_access needs edition {_BINDS_SINCE} of the rules")
        if self.edition >= 2 and OVERSIGHT in self.roles:
            for change in KeyChange:
                if not self.confirming_roles(OVERSIGHT, change):
                    raise ValueError(
                        f"confirmed_keys: the {change} of an oversight body's key needs a second"
                        " party, so that no country chooses its own oversight alone"
                    )

    def allows(self, role: Role, operation: Operation, group: FieldGroup) -> bool:
        """Return whether the access matrix has this cell.

        A legal basis is needed in addition.
        """
        return group in self.access.get(role, {}).get(operation, ())

    def reviewing_roles(self, kind: str, party: str, actor: str) -> tuple[Role, ...]:
        """Return the roles of ``party`` that take ``kind`` to review an action of ``actor``.

        ``actor`` is the party of the agency whose action is reviewed.
        """
        rule = self.actions.get(kind)
        if rule is None:
            return ()
        barred = rule.by_another_party if party == actor else ()
        return tuple(role for role in rule.roles if role not in barred)

    def confirming_roles(self, role: Role, change: KeyChange) -> frozenset[Role]:
        """Return the roles of which another party confirms a change of a key of ``role``."""
        return frozenset(
            by
            for confirmation in self.confirmed_keys
            if role in confirmation.roles and change in confirmation.changes
            for by in confirmation.by
        )

    @property
    def quorum_in_force(self) -> Quorum | None:
        """Return the quorum, or ``None`` if the edition of the rules has none."""
        return self.quorum if self.edition >= _QUORUM_SINCE else None

    @property
    def counts_local_days(self) -> bool:
        """Return whether deadlines end with the local day of the party that owes the step."""
        return bool(self.local_days) and self.edition >= _LOCAL_DAYS_SINCE

    @property
    def binds_agencies(self) -> bool:
        """Return whether an agency sees only the cases of its country that it has to know of."""
        return self.case_access is CaseAccess.NAMED and self.edition >= _BINDS_SINCE

    def sees_figures_alone(self, agency: Agency) -> bool:
        """Return whether an agency sees counts of its country's cases, and no case."""
        return agency.role in self.analysts

    @property
    def publishing_parties(self) -> int:
        """Return how many parties' witnesses must cosign a checkpoint before its publication."""
        quorum, every = self.quorum_in_force, len(self.party_codes)
        return every if quorum is None else min(quorum.witnesses, every)

    @property
    def deciding_parties(self) -> int:
        """Return how many parties' coordinators decide while all others are absent."""
        quorum, every = self.quorum_in_force, len(self.party_codes)
        return every if quorum is None else min(quorum.coordinators, every)

    @property
    def accountability_terms(self) -> Accountability:
        """Return the periods of reviews and of erasures."""
        if self.accountability is not None:
            return self.accountability
        assumed = Standing.ASSUMPTION if self.edition >= _MARKS_SINCE else None
        return Accountability(standing=assumed)

    @property
    def withdrawal_terms(self) -> WithdrawalTerms:
        """Return the terms on which a party leaves."""
        if self.withdrawal is not None:
            return self.withdrawal
        assumed = Standing.ASSUMPTION if self.edition >= _MARKS_SINCE else None
        return WithdrawalTerms(standing=assumed)

    @property
    def document_limits(self) -> DocumentLimits:
        """Return the limits of the documents at a country's node."""
        return self.documents or DocumentLimits()

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy. Its cached properties are computed from its own fields."""
        copied = super().model_copy(update=update, deep=deep)
        for name in copied.__dict__.keys() - type(self).model_fields.keys():
            del copied.__dict__[name]
        return copied

    @cached_property
    def ledger_id(self) -> UUID:
        """Return the id under which the acts on the protocol itself are recorded."""
        return uuid5(NAMESPACE_URL, f"urn:case-ledger:protocol:{self.id}")

    @cached_property
    def agencies_by_id(self) -> dict[str, Agency]:
        return {agency.id: agency for agency in self.agencies}

    @cached_property
    def forms_by_number(self) -> Mapping[int, CommunicationForm]:
        return {form.number: form for form in self.forms or ()}

    @cached_property
    def working_agencies(self) -> tuple[Agency, ...]:
        """Return the agencies that may act and be named.

        They are not retired, and their party has not left.
        """
        return tuple(
            agency
            for agency in self.agencies
            if agency.retired_at is None and agency.party in self.party_codes
        )

    def answering_for(self, agency_id: str) -> Agency:
        """Return the agency that answers for the cases and obligations of an agency.

        That is the agency itself, or the coordinator of its party once the agency is retired.
        """
        agency = self.agencies_by_id[agency_id]
        if agency.retired_at is None:
            return agency
        return self.coordinator_of(agency.party) or agency

    def acts_for(self, acting: Agency, agency_id: str) -> bool:
        """Return whether an agency is another one, answers for it or coordinates for it."""
        answering = self.answering_for(agency_id)
        its_coordinator = acting.role == COORDINATOR and acting.party == answering.party
        return acting.id == answering.id or its_coordinator

    def coordinator_of(self, party: str) -> Agency | None:
        """Return the coordinator of a party, which may have left; ``None`` if it has none."""
        for one in self.agencies:
            if (one.role, one.party, one.retired_at) == (COORDINATOR, party, None):
                return one
        return None

    def leading(self, agency_id: str, parties: Iterable[str]) -> Agency:
        """Return the agency that leads a case of ``parties``, which ``agency_id`` led last.

        That is the agency itself. If its party left, the lead passes to the coordinator of the
        first party of the case that has not left; the order is that in which they came into it.
        """
        agency, those = self.agencies_by_id[agency_id], tuple(parties)
        if agency.party in self.party_codes and agency.party in those:
            return agency
        for party in those:
            if party in self.party_codes and (one := self.coordinator_of(party)) is not None:
                return one
        return agency

    def answers_for(self, agency_id: str) -> tuple[str, ...]:
        """Return the ids of the agencies for which an agency answers, its own first."""
        retired = (one.id for one in self.agencies if one.retired_at is not None)
        return (
            agency_id,
            *(one for one in retired if self.answering_for(one).id == agency_id),
        )

    @cached_property
    def party_codes(self) -> frozenset[str]:
        """Return the codes of the parties that have not left."""
        return frozenset(party.code for party in self.parties if party.left_on is None)

    @property
    def every_party_code(self) -> frozenset[str]:
        """Return the codes of all parties of the text, also of those that left."""
        return frozenset(party.code for party in self.parties)

    @cached_property
    def left_parties(self) -> Mapping[str, date]:
        """Return the parties that left, with the first day on which they were none any more."""
        return {one.code: one.left_on for one in self.parties if one.left_on is not None}

    @cached_property
    def parties_by_code(self) -> Mapping[str, Party]:
        return {party.code: party for party in self.parties}


def with_agencies(protocol: Protocol, agencies: tuple[Agency, ...]) -> Protocol:
    """Return a protocol with other agencies. The text and its rules stay as they are."""
    return _with(protocol, agencies=agencies)


def with_assumptions_adopted(protocol: Protocol) -> Protocol:
    """Return a protocol whose parties adopt all that its text marks as assumed."""

    def adopted(part: Marked) -> Marked:
        return part.model_copy(update={"standing": Standing.ADOPTED}) if part.is_assumed else part

    changed: dict[str, object] = {
        name: tuple(map(adopted, getattr(protocol, name)))
        for name in ("agencies", "expected", "duties", "retention", "reflection", "approvals")
    }
    changed["conditions"] = {name: adopted(one) for name, one in protocol.conditions.items()}
    changed["actions"] = {
        kind: adopted(rule).model_copy(
            update={name: tuple(map(adopted, getattr(rule, name))) for name in ("by", "where")}
        )
        for kind, rule in protocol.actions.items()
    }
    for name in ("accountability", "withdrawal", "person_record", "quorum"):
        part = getattr(protocol, name)
        changed[name] = None if part is None else adopted(part)
    changed["forms"] = tuple(
        form.model_copy(update={"periods": adopted(form.periods)}) for form in protocol.forms or ()
    )
    return _with(protocol, **changed)


def with_left_parties(protocol: Protocol, left: Mapping[str, date]) -> Protocol:
    """Return a protocol whose parties in ``left`` left on these days."""
    parties = tuple(
        party.model_copy(update={"left_on": left[party.code]}) if party.code in left else party
        for party in protocol.parties
    )
    return _with(protocol, parties=parties)


def _with(protocol: Protocol, **changed: object) -> Protocol:
    parts = {name: getattr(protocol, name) for name in Protocol.model_fields}
    return Protocol.model_construct(**parts | changed)


def check_known(text: Mapping[str, Any]) -> None:
    """Check that this program has everything that a text names.

    Raises ``NewerTextError`` if the text names a later edition of the rules, an unknown action, or
    an unknown part of the protocol. Such a text needs an update of this node; it is not wrong.
    """
    edition, actions = text.get("edition", 1), text.get("actions", {})
    if isinstance(edition, int) and edition > LATEST_EDITION:
        raise NewerTextError(
            f"edition {edition} of the rules is newer than this program, which has"
            f" {LATEST_EDITION}; update this program"
        )
    unknown = [*(text.keys() - Protocol.model_fields.keys())]
    if isinstance(actions, Mapping):
        unknown += [*(actions.keys() - CASE_ACTIONS.keys())]
    for agency in _listed(text.get("agencies")):
        if isinstance(agency, Mapping):
            unknown += [*(agency.keys() - Agency.model_fields.keys())]
    for party in _listed(text.get("parties")):
        if isinstance(party, Mapping):
            unknown += [*(party.keys() - Party.model_fields.keys())]
            if isinstance(accession := party.get("accession"), Mapping):
                unknown += [*(accession.keys() - Accession.model_fields.keys())]
    if unknown:
        raise NewerTextError(
            f"the protocol names {', '.join(sorted(map(str, unknown)))}, which this program does"
            " not have; update this program"
        )


def _listed(value: object) -> Iterable[Any]:
    """Return the items of a list. Anything else has none; the model refuses it."""
    return value if isinstance(value, list | tuple) else ()


_OF_LATER_PROGRAMS = frozenset({"enum", "extra_forbidden", "literal_error"})
"""The errors of a part or a value that this program does not have."""


def read_recorded_text(text: Mapping[str, Any]) -> Protocol:
    """Read a text that was proposed or adopted.

    Raises ``NewerTextError`` if the text names anything that this program does not have, and
    ``ValueError`` if it does not hold.
    """
    check_known(text)
    try:
        return _recorded(json.dumps(text))
    except ValidationError as error:
        unknown = [one for one in error.errors() if one["type"] in _OF_LATER_PROGRAMS]
        if not unknown:
            raise
        place = ".".join(map(str, unknown[0]["loc"]))
        raise NewerTextError(
            f"the protocol has {place}, which this program does not have; update this program"
        ) from error


@lru_cache(maxsize=8)
def _recorded(text: str) -> Protocol:
    """Return the protocol of a recorded text in JSON.

    Validation takes about 30 ms. The registry, the views and each judgement of an amendment read
    the same few texts.
    """
    return Protocol.model_validate(json.loads(text))


def _facts_of(rule: ActionRule) -> tuple[str, ...]:
    """Return the facts that a rule asks for."""
    wished = rule.waits_for_reflection_unless
    return (
        *rule.requires,
        *rule.requires_for_child,
        *rule.requires_for_adult,
        *rule.requires_one_of,
        *rule.forbidden_while,
        *(fact for fact in rule.party_that_established if "{" not in fact),
        *rule.or_party_that_established,
        *(fact for bodies in rule.by for fact in (*bodies.requires, *bodies.not_while)),
        *(fact for one in rule.where for fact in (*one.requires, *one.forbidden_while)),
        *(fact for one in rule.where for fact in one.party_that_established),
        *([wished] if wished is not None else []),
    )


def _ledger_fields(kind: str) -> tuple[str, ...]:
    model = CASE_ACTIONS.get(kind)
    return model.ledger_fields() if model is not None else ()


def _check_value(where: str, kind: str, value: FieldValue | ValueRule) -> None:
    """Check that a field of ``kind`` can have each value. Raises ``ValueError`` if it cannot."""
    if value.field not in _ledger_fields(kind):
        raise ValueError(f"{where}: {kind} has no ledger field {value.field!r}")
    adapter = field_adapter(CASE_ACTIONS[kind], value.field)
    for one in value.values:
        if not any(_is_value(adapter, form, one) for form in (one, [one])):
            raise ValueError(f"{where}: {value.field} of {kind} is never {one!r}")


def _is_value(adapter: TypeAdapter[Any], form: object, value: bool | str) -> bool:
    try:
        written = adapter.dump_python(adapter.validate_python(form), mode="json")
    except ValidationError:
        return False
    return bool(written == (value if form is value else [value]))


def covers(pattern: str, fact: str) -> bool:
    """Return whether a pattern such as ``consent_{scopes}`` stands for a fact."""
    head, brace, _ = pattern.partition("{")
    return fact.startswith(head) if brace else fact == pattern


def load_protocol(path: Path) -> Protocol:
    """Read the protocol file of a new ledger or a proposal: each action has a rule in it.

    Raises as :func:`read_protocol`.
    """
    protocol = read_protocol(path)
    protocol.check_complete()
    return protocol


def read_protocol(path: Path) -> Protocol:
    """Read a protocol file, in TOML, or in JSON if its name ends in ``.json``.

    Raises ``ValueError`` with the fault if the file does not hold.
    """
    try:
        return _protocol_of(path.read_text(encoding="utf-8"), is_json=path.suffix == ".json")
    except (tomllib.TOMLDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: {error}") from error


def protocol_from(text: str) -> Protocol:
    """Return the protocol of a text, in JSON if it begins with a brace, else in TOML.

    As in the file of a proposal, each action has a rule in the text. Raises ``ValueError`` with the
    fault if the text does not hold.
    """
    try:
        content = _content_of(text, is_json=text.lstrip().startswith("{"))
    except RecursionError as error:
        raise ValueError("the text is nested too deeply") from error
    check_known(content)
    protocol = Protocol.model_validate(content)
    protocol.check_complete()
    return protocol


@lru_cache(maxsize=8)
def _protocol_of(text: str, *, is_json: bool) -> Protocol:
    """Return the protocol of a text in TOML or JSON.

    Parsing takes about 15 ms, and a node asks for its protocol each time that it signs a
    checkpoint. A changed file is a changed text, so the cache returns no stale protocol.
    """
    return Protocol.model_validate(_content_of(text, is_json=is_json))


def _content_of(text: str, *, is_json: bool) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(text) if is_json else tomllib.loads(text)
    return content


def shipped_protocol(name: str = "kosovo-montenegro-albania") -> Protocol:
    """Return a protocol that ships with the package."""
    with resources.as_file(
        resources.files("ledger.procedure") / "protocols" / f"{name}.toml"
    ) as path:
        return load_protocol(path)
