"""Pseudonymised records of a country's persons, for its own analysts.

A record has values of given lists alone: no text that anyone typed, no day, no number of a case. A
category of too few persons is told as ``other``. A pseudonym is made with a key that this release
alone has and that nobody keeps: records of two releases have no pseudonym in common.
"""

import hashlib
import hmac
import secrets
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

from ledger.procedure.protocol import DatePeriod
from ledger.vocabulary.action import LedgerModel
from ledger.vocabulary.picklists import (
    AgeGroup,
    CaseStatus,
    ClosureReason,
    Gender,
    Offence,
    OpeningGround,
    Stage,
    TraffickingStatus,
    TypeOfExploitation,
    Verdict,
)
from projections.statistics.values import MISSING, NONE, NOT_ASSESSED, OTHER, SEVERAL

PSEUDONYM = "case_pseudonym"
_KEY_BYTES = 32
_PSEUDONYM_CHARACTERS = 32
_GENDER = {
    Gender.FEMININE: "Female",
    Gender.MASCULINE: "Male",
    Gender.NON_SPECIFIED_UNKNOWN: MISSING,
}
_MAJORITY = {AgeGroup.CHILD: "Minor", AgeGroup.PRESUMED_CHILD: "Minor", AgeGroup.ADULT: "Adult"}
_T = TypeOfExploitation
_FLAGS: Mapping[str, frozenset[TypeOfExploitation]] = {
    "isForcedLabour": frozenset({_T.FORCED_LABOUR, _T.CHILD_LABOUR, _T.FORCED_BEGGING}),
    "isSexualExploit": frozenset({_T.SEXUAL_EXPLOITATION}),
    "isForcedMarriage": frozenset({_T.FORCED_MARRIAGE}),
    "isForcedMilitary": frozenset({_T.FORCED_MILITARY}),
    "isOrganRemoval": frozenset({_T.ORGAN_REMOVAL}),
    "isSlaveryAndPractices": frozenset({_T.SERVITUDE}),
    "isOtherExploit": frozenset({_T.FORCED_ADOPTION, _T.SURROGACY, _T.OTHER}),
}
"""The columns of CTDC, each with the forms that it stands for: a reading of the two lists."""
_OTHER_FLAG = "isOtherExploit"


class PersonFacts(LedgerModel):
    """The facts of one case that a record is made of."""

    case_id: UUID
    opened: datetime
    """At the local time of the country that opened the case."""
    age_group: AgeGroup
    stage: Stage
    status: CaseStatus
    trafficking_status: TraffickingStatus | None
    """``None`` if no action states one: the person was never assessed."""
    closure: ClosureReason | None
    destination: str | None
    gender: Gender | None = None
    citizenships: tuple[str, ...] = ()
    ground: OpeningGround | None = None
    exploitation: tuple[TypeOfExploitation, ...] = ()
    offences: tuple[Offence, ...] = ()
    verdict: Verdict | None = None


class PersonRecords(LedgerModel):
    """One release of records, with the lists that its values are of."""

    format: Literal[1] = 1
    country: str
    protocol: str
    version: int
    """The version of the protocol that was the basis."""
    position: int
    """How far the ledger was read."""
    dates: DatePeriod
    smallest_category: int
    categories: Mapping[str, tuple[str, ...]]
    """The given values of each column, whether they occur or not. Any other is ``other``."""
    rows: tuple[Mapping[str, str], ...]


def period_of(moment: datetime, dates: DatePeriod) -> str:
    """Return the month or quarter of a local time, such as ``2026-03`` or ``2026-Q1``."""
    if dates is DatePeriod.MONTH:
        return f"{moment.year:04}-{moment.month:02}"
    return f"{moment.year:04}-Q{(moment.month + 2) // 3}"


def make_records(
    facts: Iterable[PersonFacts],
    *,
    country: str,
    parties: Collection[str],
    citizenships: Collection[str],
    dates: DatePeriod,
    smallest_category: int,
    now: datetime,
    about: tuple[str, int, int],
) -> PersonRecords:
    """Return a release of records, in the order of their pseudonyms.

    A case is in it once the period in which it was opened has ended at ``now``, which is the local
    time. So a release within the same period brings no new person alone. ``about`` has the id
    and the version of the protocol, and the position that the ledger was read up to.
    """
    key = secrets.token_bytes(_KEY_BYTES)
    present = period_of(now, dates)
    told = [one for one in facts if period_of(one.opened, dates) < present]
    periods = _periods({one.opened.year for one in told}, dates, present)
    known = _categories(country, sorted(parties), sorted({*parties, *citizenships}), periods)
    rows = [_row(one, country, dates, known) for one in told]
    for name in _FOLDED:
        _fold(rows, name, smallest_category)
    _fold_flags(rows, smallest_category)
    for row, one in zip(rows, told, strict=True):
        row[PSEUDONYM] = hmac.digest(key, one.case_id.bytes, hashlib.sha256).hex()[
            :_PSEUDONYM_CHARACTERS
        ]
    rows.sort(key=lambda row: row[PSEUDONYM])
    protocol, version, position = about
    return PersonRecords(
        country=country,
        protocol=protocol,
        version=version,
        position=position,
        dates=dates,
        smallest_category=smallest_category,
        categories=known,
        rows=tuple(rows),
    )


_FOLDED = (
    *("trafficking_status", "closure", "destination", "gender", "citizenship", "ground"),
    *("exploitation", "offence", "verdict"),
)


def _categories(
    country: str, parties: Sequence[str], citizenships: Sequence[str], periods: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    years = [int(period[:4]) for period in periods]
    span = range(years[0], years[-1] + 1) if years else range(0)
    return {
        "country": (country,),
        "opened": tuple(periods),
        "yearOfRegistration": tuple(map(str, span)),
        "age_group": tuple(one.value for one in AgeGroup),
        "majorityStatus": ("Minor", "Adult"),
        "stage": tuple(one.value for one in Stage),
        "status": tuple(one.value for one in CaseStatus),
        "trafficking_status": (NOT_ASSESSED, *(one.value for one in TraffickingStatus)),
        "closure": (NONE, *(one.value for one in ClosureReason)),
        "destination": (NONE, *parties),
        "gender": ("Female", "Male"),
        "citizenship": (*citizenships, SEVERAL),
        "ground": tuple(one.value for one in OpeningGround),
        "exploitation": (*(one.value for one in TypeOfExploitation), SEVERAL),
        "offence": (NONE, *(one.value for one in Offence if one is not Offence.OTHER), SEVERAL),
        "verdict": (NONE, *(one.value for one in Verdict)),
        **dict.fromkeys(_FLAGS, ("0", "1")),
    }


def _row(
    one: PersonFacts, country: str, dates: DatePeriod, known: Mapping[str, Collection[str]]
) -> dict[str, str]:
    gender = MISSING if one.gender is None else _GENDER.get(one.gender, OTHER)
    row = {
        "country": country,
        "opened": period_of(one.opened, dates),
        "yearOfRegistration": str(one.opened.year),
        "age_group": one.age_group.value,
        "majorityStatus": _MAJORITY[one.age_group],
        "stage": one.stage.value,
        "status": one.status.value,
        "trafficking_status": (
            NOT_ASSESSED if one.trafficking_status is None else one.trafficking_status.value
        ),
        "closure": NONE if one.closure is None else one.closure.value,
        "destination": one.destination or NONE,
        "gender": gender,
        "citizenship": _one_of(one.citizenships, MISSING),
        "ground": MISSING if one.ground is None else one.ground.value,
        "exploitation": _one_of([form.value for form in one.exploitation], MISSING),
        "offence": _one_of([offence.value for offence in one.offences], NONE),
        "verdict": NONE if one.verdict is None else one.verdict.value,
    }
    for name, forms in _FLAGS.items():
        row[name] = MISSING if not one.exploitation else str(int(bool(forms & {*one.exploitation})))
    # A value that no list has would be somebody's: nothing passes that was not listed before.
    return {
        name: value if value in known[name] or value == MISSING else OTHER
        for name, value in row.items()
    }


def _periods(years: Collection[int], dates: DatePeriod, present: str) -> list[str]:
    """Return every period that has ended, from the first year of a case on."""
    of_year = (
        [f"{n:02}" for n in range(1, 13)] if dates is DatePeriod.MONTH else ["Q1", "Q2", "Q3", "Q4"]
    )
    span = range(min(years), int(present[:4]) + 1) if years else range(0)
    every = [f"{year:04}-{part}" for year in span for part in of_year]
    return [period for period in every if period < present]


def _one_of(values: Sequence[str], otherwise: str) -> str:
    distinct = set(values)
    if not distinct:
        return otherwise
    return SEVERAL if len(distinct) > 1 else next(iter(distinct))


def _fold(rows: Sequence[dict[str, str]], name: str, smallest: int) -> None:
    """Tell small categories of a column as ``other``, until that is not small either.

    With too few persons for that, the whole column is told as missing.
    """
    counts = Counter(row[name] for row in rows)
    folded = {value for value, count in counts.items() if count < smallest} | {OTHER}
    while 0 < sum(counts[value] for value in folded) < smallest:
        left = [value for value in counts if value not in folded]
        if not left:
            folded = set()
            for row in rows:
                row[name] = MISSING
            return
        folded.add(min(left, key=lambda value: (counts[value], value)))
    for row in rows:
        if row[name] in folded:
            row[name] = OTHER


def _fold_flags(rows: Sequence[dict[str, str]], smallest: int) -> None:
    """Tell a form of exploitation of too few persons as another one."""
    for name in _FLAGS:
        having = [row for row in rows if row[name] == "1"]
        if name == _OTHER_FLAG or not 0 < len(having) < smallest:
            continue
        for row in having:
            row[name], row[_OTHER_FLAG] = "0", "1"
    for name in _FLAGS:
        counts = Counter(row[name] for row in rows)
        if any(0 < count < smallest for count in counts.values()):
            for row in rows:
                row[name] = MISSING
