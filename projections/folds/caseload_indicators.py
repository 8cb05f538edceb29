"""Figures of the cases that a viewer sees: caseload, flow between countries, time to return.

Pure functions of tallies, which the reader makes of case views. An annulled action is no part of a
case's view, so it counts nowhere here.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from statistics import quantiles

from ledger.procedure.protocol import Protocol
from ledger.vocabulary.picklists import CLOSED, CaseStatus, Stage

_STAGES = tuple(Stage)


@dataclass(frozen=True, slots=True)
class CaseTally:
    """The number of cases that are alike in all counted fields."""

    stage: Stage
    status: CaseStatus
    lead_agency: str
    opened_by: str
    """The country that opened them."""
    parties: tuple[str, ...]
    destination: str | None
    """Where a return is decided to, or was completed to."""
    received_by: str | None
    days: int | None
    """Whole days from formal identification to reception."""
    cases: int
    left_out: bool = False
    """True if they were merged into others, which count the persons, or were opened in error."""


@dataclass(frozen=True, slots=True)
class Caseload:
    """Cases that are not closed, by the stage they reached and the country that leads them."""

    stage: Stage
    country: str
    cases: int


@dataclass(frozen=True, slots=True)
class Flow:
    """Cases between two countries, by the stage that they reached."""

    origin: str
    destination: str
    stage: Stage
    cases: int


@dataclass(frozen=True, slots=True)
class Returned:
    """Cases whose person was received in a country so many days after being identified."""

    destination: str
    days: int
    cases: int


@dataclass(frozen=True, slots=True)
class TimeToReturn:
    """The days of all returns to a country, the quartiles as R and Vega compute them (type 7)."""

    destination: str
    cases: int
    shortest: int | None
    """``None`` if it is withheld: it is one person's."""
    lower: Decimal
    median: Decimal
    upper: Decimal
    longest: int | None


@dataclass(frozen=True, slots=True)
class Figures:
    caseload: tuple[Caseload, ...]
    flows: tuple[Flow, ...]
    returned: tuple[Returned, ...]
    times: tuple[TimeToReturn, ...]


def chosen(figures: Figures, country: str | None, stage: Stage | None) -> Figures:
    """Return the figures of one country and one stage. ``None`` limits nothing.

    A country's cases are those that it leads; of the flow, those from it or to it; of the times,
    those that it received. The times have no stage, so a stage does not limit them.
    """
    return Figures(
        caseload=tuple(
            one
            for one in figures.caseload
            if country in (None, one.country) and stage in (None, one.stage)
        ),
        flows=tuple(
            one
            for one in figures.flows
            if country in (None, one.origin, one.destination) and stage in (None, one.stage)
        ),
        returned=tuple(one for one in figures.returned if country in (None, one.destination)),
        times=tuple(one for one in figures.times if country in (None, one.destination)),
    )


def figures(tallies: Iterable[CaseTally], protocol: Protocol) -> Figures:
    """Return the figures, in the order of the procedure's stages and of the countries' codes."""
    caseload: Counter[tuple[Stage, str]] = Counter()
    flows: Counter[tuple[str, str, Stage]] = Counter()
    returned: Counter[tuple[str, int]] = Counter()
    for tally in tallies:
        if tally.left_out:
            continue
        if tally.status not in CLOSED:
            caseload[tally.stage, _country(tally, protocol)] += tally.cases
        for destination in _destinations(tally):
            flows[tally.opened_by, destination, tally.stage] += tally.cases
        # Days before zero are of someone who was identified again after the return.
        if tally.received_by is not None and tally.days is not None and tally.days >= 0:
            returned[tally.received_by, tally.days] += tally.cases
    to: dict[str, list[tuple[int, int]]] = {}
    for (destination, days), cases in sorted(returned.items()):
        to.setdefault(destination, []).append((days, cases))
    return Figures(
        caseload=tuple(
            Caseload(stage, country, cases)
            for (stage, country), cases in sorted(
                caseload.items(), key=lambda item: (_STAGES.index(item[0][0]), item[0][1])
            )
        ),
        flows=tuple(
            Flow(origin, destination, stage, cases)
            for (origin, destination, stage), cases in sorted(
                flows.items(), key=lambda item: (*item[0][:2], _STAGES.index(item[0][2]))
            )
        ),
        returned=tuple(Returned(d, days, n) for d, own in to.items() for days, n in own),
        times=tuple(_time(destination, own) for destination, own in to.items()),
    )


def _destinations(tally: CaseTally) -> Sequence[str]:
    """Return the country of destination, or all other parties if no country abroad is decided."""
    if tally.destination is not None and tally.destination != tally.opened_by:
        return (tally.destination,)
    return [party for party in tally.parties if party != tally.opened_by]


def _time(destination: str, returned: Sequence[tuple[int, int]]) -> TimeToReturn:
    every = [Decimal(days) for days, cases in returned for _ in range(cases)]
    # Of one value there are no quartiles but itself.
    lower, median, upper = quantiles(every * 2 if len(every) == 1 else every, method="inclusive")
    return TimeToReturn(
        destination, len(every), int(every[0]), lower, median, upper, int(every[-1])
    )


def _country(tally: CaseTally, protocol: Protocol) -> str:
    """Return the country that leads now. The lead of a party that left passes on."""
    if tally.lead_agency not in protocol.agencies_by_id:
        return ""
    return protocol.leading(tally.lead_agency, tally.parties).party
