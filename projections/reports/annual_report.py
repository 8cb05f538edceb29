"""The joint annual report: the countries' actions and obligations in a year, by the ledger alone.

A pure function of the events up to a size, of ``ledger`` fields, in whole numbers and machine
names, with no clock: two nodes that have the same events write the same bytes. The countries are
those that were a party at any time of the year. A party that left in the year is in the report of
that year, and in no later one. A party that joined later is in none before, whenever its agencies
say that they acted.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal, TypeVar
from uuid import UUID

from ledger.events.act import Act
from ledger.procedure.agreement import Agreement
from ledger.procedure.case_fold import fold, without_effect
from ledger.procedure.parties_of_time import parties_between, protocol_at
from ledger.procedure.protocol import Protocol
from ledger.procedure.time_zones import agreed_day_begins
from ledger.vocabulary import NOT_UNDERSTOOD
from ledger.vocabulary.action import LedgerModel
from ledger.vocabulary.picklists import (
    CaseStatus,
    ClosureReason,
    CorrectionEffect,
    CorrectionReason,
    Stage,
    TraffickingStatus,
)
from ledger.vocabulary.types import UtcDatetime
from projections.folds.joined_cases import NONE_JOINED, JoinedActs
from projections.folds.obligation_terms import Dimension, ObligationKind
from projections.folds.obligations import obligations
from projections.reports.accountability import (
    ANY,
    UNMARKED,
    Balance,
    Debt,
    ObligationStanding,
    ResponseTimes,
    reciprocity,
    response_times,
)

NOT_FOR_PUBLICATION = (
    "For coordinators and oversight. Small numbers can tell who a person is: not for publication."
)
_TICK = timedelta(microseconds=1)
_OF_FORMS = (ObligationKind.FORM_ACKNOWLEDGEMENT, ObligationKind.FORM_ANSWER)
_STILL_OPEN = (
    ObligationStanding.OPEN,
    ObligationStanding.PAST_EXPECTED,
    ObligationStanding.OVERDUE,
)
_Key = TypeVar("_Key", bound=tuple[Any, ...])


class ReportedProtocol(LedgerModel):
    id: str
    ledger_id: UUID
    title: str
    version: int


class ReportedCheckpoint(LedgerModel):
    """The base of the report: the first ``size`` events, whose tree has this root."""

    size: int
    root: str
    """RFC 6962, in base64, as a checkpoint has it."""


class CasesOpened(LedgerModel):
    country: str
    cases: int


class CasesIdentified(LedgerModel):
    """Cases whose person was identified as a victim, by who did so first in the year."""

    country: str
    cases: int


class Returns(LedgerModel):
    """Persons who were received, by where they had departed from."""

    origin: str
    destination: str
    returns: int


class CasesClosed(LedgerModel):
    country: str
    reason: ClosureReason
    closings: int


class CasesStanding(LedgerModel):
    """All cases that were opened by the end, as they stood then."""

    corridor: tuple[str, ...]
    """The countries party to them."""
    stage: Stage
    status: CaseStatus
    cases: int


class CasesProtected(LedgerModel):
    """All cases that were opened by the end, by what the person was protected as then."""

    country: str
    """The country that opened the case."""
    protected_as: TraffickingStatus
    cases: int


class Cases(LedgerModel):
    opened: tuple[CasesOpened, ...]
    identified: tuple[CasesIdentified, ...]
    returned: tuple[Returns, ...]
    closed: tuple[CasesClosed, ...]
    standing: tuple[CasesStanding, ...]
    protected: tuple[CasesProtected, ...]


class ActionsTaken(LedgerModel):
    """Actions that stand: those that were annulled are among the corrections."""

    kind: str
    country: str
    role: str
    actions: int


class CorrectionsMade(LedgerModel):
    kind: str
    """Of the action that was corrected."""
    country: str
    effect: CorrectionEffect
    reason: CorrectionReason
    corrections: int


class ObligationsOfYear(LedgerModel):
    """A country's obligations of a year. Carried in and opened are discharged, lapsed or open."""

    country: str
    kind: ObligationKind
    carried_in: int
    """Open when the year began."""
    opened: int
    on_time: int
    late: int
    undated: int
    """Discharged, and nobody had said by when."""
    lapsed: int
    open: int
    """At the end, and neither overdue nor past an expected day."""
    past_expected: int
    """Open at the end, past the day of a deadline that the protocol only assumes. Nobody is late.
    """
    overdue: int


class FormsOfYear(ObligationsOfYear):
    """The obligations of a country on one communication form that was sent to it."""

    form: int
    """The number of the form that was sent."""
    standing: str
    """The mark of the period: ``source``, ``assumption``, ``adopted``, or ``unmarked``."""


class AnnualReport(LedgerModel):
    format: Literal["case-ledger annual report 2"] = "case-ledger annual report 2"
    audience: str = NOT_FOR_PUBLICATION
    year: int
    """From January to December at the parties' local time, by when things were done as agencies
    signed."""
    as_of: UtcDatetime
    """The end of the year, or the time of the last event where that is earlier."""
    protocol: ReportedProtocol
    checkpoint: ReportedCheckpoint
    cases: Cases
    actions: tuple[ActionsTaken, ...]
    corrections: tuple[CorrectionsMade, ...]
    obligations: tuple[ObligationsOfYear, ...]
    forms: tuple[FormsOfYear, ...]
    """Of these the acknowledgements and the answers of communication forms, by form and mark."""
    response_times: tuple[ResponseTimes, ...]
    """Of the year's obligations, by country and kind."""
    agencies_response_times: tuple[ResponseTimes, ...]
    """Of those of one agency, by agency and kind."""
    reciprocity: tuple[Balance, ...]


def canonical(report: AnnualReport) -> bytes:
    """Return the report as canonical JSON (RFC 8785): the same bytes for the same report.

    All its numbers are integers and its names are ASCII, so sorted names and no spaces are enough.
    """
    told = report.model_dump(mode="json", exclude_none=True)
    return json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@dataclass(frozen=True, slots=True)
class Year:
    """The part of a year that the report is of."""

    year: int
    first: datetime
    last: datetime

    @classmethod
    def of(cls, year: int, recorded_until: datetime, agreement: Agreement) -> "Year":
        """Return the part of a year up to ``recorded_until``, the time of the last record.

        Its first day begins for all parties of the text that is in force then. Raises
        ``ValueError`` if nothing was recorded since.
        """
        first, end = _beginning(year, agreement), _beginning(year + 1, agreement)
        if recorded_until < first:
            raise ValueError(f"the ledger does not reach {year} up to there")
        return cls(year, first, min(end - _TICK, recorded_until))

    def has(self, moment: datetime) -> bool:
        return self.first <= moment <= self.last


def _was_opened_in_error(stand: Sequence[Act]) -> bool:
    """Return whether the last closing says that the case was opened in error."""
    for act in reversed(stand):
        if act.kind == "case_reopened":
            return False
        if act.kind == "case_closed":
            return bool(act.fields["reason"] == ClosureReason.OPENED_IN_ERROR)
    return False


def _beginning(year: int, agreement: Agreement) -> datetime:
    """Return when a year begins for all parties of the text that is in force then."""
    day = date(year, 1, 1)
    text = agreement.text_at(datetime.combine(day, time(), UTC))
    return agreed_day_begins(day, text, text.every_party_code)


def annual_report(
    cases: Iterable[Sequence[Act]],
    agreement: Agreement,
    year: Year,
    checkpoint: ReportedCheckpoint,
    joined: Callable[[UUID], JoinedActs] = lambda _: NONE_JOINED,
) -> AnnualReport:
    """Return the report on ``cases``.

    Each case is all its actions up to the checkpoint, in any order. ``joined`` returns the actions
    of the cases that were ever joined with a case by a merge.
    """
    told = _Counts(agreement, year, parties_between(agreement, year.first, year.last))
    protocol = protocol_at(agreement, year.last)
    for acts in cases:
        told.add(acts, joined)
    debts = [debt for debt in told.debts if told.is_of_the_year(debt)]
    of_agencies = [debt for debt in debts if debt.agency is not None]
    return AnnualReport(
        year=year.year,
        as_of=year.last,
        protocol=ReportedProtocol(
            id=protocol.id,
            ledger_id=protocol.ledger_id,
            title=protocol.title,
            version=protocol.version,
        ),
        checkpoint=checkpoint,
        cases=told.cases(),
        actions=tuple(
            ActionsTaken(kind=kind, country=country, role=role, actions=n)
            for (kind, country, role), n in sorted(told.actions.items())
        ),
        corrections=tuple(
            CorrectionsMade.model_validate(
                {"kind": k, "country": c, "effect": e, "reason": r, "corrections": n}
            )
            for (k, c, e, r), n in sorted(told.corrections.items())
        ),
        obligations=tuple(told.obligations(debts)),
        forms=tuple(told.of_forms()),
        response_times=tuple(response_times(debts, year.last)),
        agencies_response_times=tuple(
            response_times(of_agencies, year.last, (Dimension.AGENCY, Dimension.KIND))
        ),
        reciprocity=tuple(reciprocity(debts, year.last, told.parties)),
    )


@dataclass
class _Counts:
    """The counts so far."""

    agreement: Agreement
    year: Year
    parties: frozenset[str]
    """The countries that were a party at any time of the year."""
    opened: Counter[str] = field(default_factory=Counter)
    identified: Counter[str] = field(default_factory=Counter)
    returned: Counter[tuple[str, str]] = field(default_factory=Counter)
    closed: Counter[tuple[str, str]] = field(default_factory=Counter)
    standing: Counter[tuple[tuple[str, ...], str, str]] = field(default_factory=Counter)
    protected: Counter[tuple[str, str]] = field(default_factory=Counter)
    actions: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    corrections: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    debts: list[Debt] = field(default_factory=list)
    form_debts: list[tuple[int, Debt]] = field(default_factory=list)
    """The debts on forms, each with the number of the form."""

    def add(self, acts: Sequence[Act], joined: Callable[[UUID], JoinedActs]) -> None:
        """Count a case. Events that are not understood, or of no agency, count as nothing."""
        acts = [act for act in acts if act.agency in self._protocol(act).agencies_by_id]
        acts = [act for act in acts if act.kind != NOT_UNDERSTOOD]
        annulled = without_effect(acts)
        kinds = {act.id: act.kind for act in acts}
        stand = [act for act in acts if act.id not in annulled]
        if acts and acts[0].id in annulled:  # a case whose opening is annulled never was
            stand = [act for act in stand if act.kind == "correction"]
        # The case in which a merged one continues counts the person.
        is_merged = any(a.kind == "case_merged" and a.acted_at <= self.year.last for a in stand)
        is_no_case = is_merged or _was_opened_in_error(stand)
        for act in stand:
            if not self.year.has(act.acted_at):
                continue
            agency = self._protocol(act).agencies_by_id[act.agency]
            if agency.party not in self.parties:
                continue
            self.actions[act.kind, agency.party, agency.role] += 1
            match act.kind:
                case "case_opened" if not is_no_case:
                    self.opened[agency.party] += 1
                case "case_closed" if not is_merged:
                    self.closed[agency.party, act.fields["reason"]] += 1
                case "correction":
                    mistaken = kinds.get(UUID(act.fields["corrects"]), NOT_UNDERSTOOD)
                    effect, reason = act.fields["effect"], act.fields["reason"]
                    self.corrections[mistaken, agency.party, effect, reason] += 1
        if not is_no_case:
            self._identified(stand)
            self._returned(stand)
        by_the_end = [act for act in stand if act.acted_at <= self.year.last]
        if not is_no_case and by_the_end and by_the_end[0].kind == "case_opened":
            state = fold(by_the_end, self.agreement)
            if state is not None:
                corridor = tuple(sorted(self.parties.intersection(state.parties)))
                home = self._country(by_the_end[0])
                if home in self.parties:
                    self.protected[home, state.trafficking_status.value] += 1
                if corridor:
                    self.standing[corridor, state.stage.value, state.status.value] += 1
        sent = {act.id: int(act.fields["form_number"]) for act in acts if act.kind == "form_sent"}
        others = joined(acts[0].case_id) if acts else NONE_JOINED
        for owed in obligations(acts, self.agreement, others).by_id.values():
            debt = Debt.of(owed)
            if debt is None or not (debt.debtor is None or debt.debtor in self.parties):
                continue
            self.debts.append(debt)
            if owed.kind in _OF_FORMS and owed.concerning in sent:
                self.form_debts.append((sent[owed.concerning], debt))

    def _identified(self, acts: Iterable[Act]) -> None:
        for act in acts:
            if act.kind == "victim_identified" and self.year.has(act.acted_at):
                if self._country(act) in self.parties:
                    self.identified[self._country(act)] += 1
                return

    def _returned(self, acts: Iterable[Act]) -> None:
        origin: str | None = None
        for act in acts:
            if act.kind == "departed":
                origin = self._country(act)
            elif act.kind == "received" and origin is not None:
                if self.year.has(act.acted_at) and {origin, self._country(act)} <= self.parties:
                    self.returned[origin, self._country(act)] += 1
                origin = None

    def _country(self, act: Act) -> str:
        return self._protocol(act).agencies_by_id[act.agency].party

    def _protocol(self, act: Act) -> Protocol:
        return self.agreement.of_act(act)

    def cases(self) -> Cases:
        """Return the counts of cases, in the report's order."""
        return Cases(
            opened=tuple(CasesOpened(country=c, cases=n) for c, n in sorted(self.opened.items())),
            identified=tuple(
                CasesIdentified(country=c, cases=n) for c, n in sorted(self.identified.items())
            ),
            returned=tuple(
                Returns(origin=origin, destination=destination, returns=n)
                for (origin, destination), n in sorted(self.returned.items())
            ),
            closed=tuple(
                CasesClosed(country=c, reason=ClosureReason(r), closings=n)
                for (c, r), n in sorted(self.closed.items())
            ),
            standing=tuple(
                CasesStanding(
                    corridor=corridor, stage=Stage(stage), status=CaseStatus(status), cases=n
                )
                for (corridor, stage, status), n in sorted(self.standing.items())
            ),
            protected=tuple(
                CasesProtected(country=c, protected_as=TraffickingStatus(status), cases=n)
                for (c, status), n in sorted(self.protected.items())
            ),
        )

    def is_of_the_year(self, debt: Debt) -> bool:
        """Return whether a debt was opened in the year, or was open when the year began."""
        return self.year.has(debt.opened_at) or self._was_carried_in(debt)

    def obligations(self, debts: Iterable[Debt]) -> Iterator[ObligationsOfYear]:
        """Yield the counts of the year's obligations by their outcome, by country and kind."""
        told = (((debt.debtor or ANY, debt.kind.value), debt) for debt in debts)
        for (country, kind), counts in self._counted(told):
            yield ObligationsOfYear.model_validate({"country": country, "kind": kind, **counts})

    def of_forms(self) -> Iterator[FormsOfYear]:
        """Yield the counts of what was owed on forms, by country, form, kind and mark."""
        told = (
            ((debt.debtor or ANY, number, debt.kind.value, debt.mark or UNMARKED), debt)
            for number, debt in self.form_debts
            if self.is_of_the_year(debt)
        )
        for (country, number, kind, mark), counts in self._counted(told):
            named = {"country": country, "form": number, "kind": kind, "standing": mark}
            yield FormsOfYear.model_validate({**named, **counts})

    def _counted(self, told: Iterable[tuple[_Key, Debt]]) -> Iterator[tuple[_Key, dict[str, int]]]:
        """Yield how many debts of each key began in the year, and how they stood at its end."""
        counts: dict[_Key, Counter[str]] = {}
        for key, debt in told:
            count = counts.setdefault(key, Counter())
            count["carried_in" if self._was_carried_in(debt) else "opened"] += 1
            standing = debt.standing(self.year.last)
            if standing is not None:
                count[standing.value] += 1
        names = ("carried_in", "opened", *(standing.value for standing in ObligationStanding))
        for key, count in sorted(counts.items()):
            yield key, {name: count[name] for name in names}

    def _was_carried_in(self, debt: Debt) -> bool:
        before = debt.standing(self.year.first - _TICK)
        return before in _STILL_OPEN
