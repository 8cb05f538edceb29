"""A day of a consent, of a retention, of an act and of a sitting is the day in the party's zone."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest

from ledger.events.act import Act
from ledger.procedure.case_state import CaseState, ConsentInForce
from ledger.procedure.dates import check_dates
from ledger.procedure.disclosed_dates import check_disclosed_dates
from ledger.procedure.legal_basis import reading_bases
from ledger.procedure.protocol import Protocol, shipped_protocol
from ledger.procedure.retention import period_end
from ledger.procedure.time_zones import agreed_day_begins, beginning_of_day, end_of_day
from ledger.refusals import Refusal
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import AgeGroup, ClosureReason, LegalBasis
from ledger.vocabulary.return_and_inclusion import TravelDocumentIssued

TONGA = ZoneInfo("Pacific/Tongatapu")
"""Thirteen hours before UTC."""
LATE = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
"""1 March in UTC; 2 March, 00:30 in Kosovo and 12:30 in Tonga."""
SECOND = timedelta(seconds=1)


def protocol(*, local_days: bool) -> Protocol:
    """The shipped protocol, in which Montenegro's time is that of Tonga."""
    text = shipped_protocol().model_dump(mode="json", exclude_none=True)
    for party in text["parties"]:
        if party["code"] == "ME":
            party["time_zone"] = str(TONGA)
    return Protocol.model_validate(text | {"local_days": local_days})


BY_UTC, BY_LOCAL = protocol(local_days=False), protocol(local_days=True)


def state(**told: Any) -> CaseState:
    base: dict[str, Any] = {
        "parties": ("XK", "ME"), "opened_at": LATE, "age_group": AgeGroup.ADULT, "facts": {},
        "consents": {}, "sharing": {}, "break_glass": {}, "unguarded": {}, "closure": None,
    }  # fmt: skip
    return CaseState.model_construct(**base | told)


def act(kind: str, agency: str, at: datetime, **fields: Any) -> Act:
    return Act(
        id=uuid4(), kind=kind, case_id=UUID(int=1), version=2, position=2, agency=agency,
        acted_at=at, recorded_at=at, fields=fields, key_id="k", digests=frozenset(),
    )  # fmt: skip


@pytest.mark.parametrize(("party", "hour"), [("XK", 23), ("ME", 11)])
def test_a_consent_ends_with_the_last_day_of_the_country_that_took_it(
    party: str, hour: int
) -> None:
    """Its last day is 2 March, which ends in Tonga before it ends in Kosovo."""
    agency = next(a for a in BY_LOCAL.agencies if (a.party, a.role) == (party, "ngo"))
    consent = ConsentInForce.model_construct(
        party=party, scopes=("assistance",), groups=("identity",), recipients=(),
        since=LATE - timedelta(days=9), expires="2026-03-02",
    )  # fmt: skip
    case = state(consents={uuid4(): consent})

    def holds(by: Protocol, at: datetime) -> bool:
        bases = reading_bases(case, by, agency, FieldGroup.IDENTITY, at)
        return LegalBasis.CONSENT in {basis.kind for basis in bases}

    ends = datetime(2026, 3, 2, hour, tzinfo=UTC)
    assert holds(BY_LOCAL, ends - SECOND)
    assert not holds(BY_LOCAL, ends)
    midnight = datetime(2026, 3, 3, tzinfo=UTC)
    assert holds(BY_UTC, midnight - SECOND)
    assert not holds(BY_UTC, midnight)


def test_a_retention_ends_once_its_last_day_is_over_in_each_country_of_the_case() -> None:
    closed = state(closure=ClosureReason.NOT_A_VICTIM, closed_at=LATE)
    assert period_end(closed, BY_UTC) == LATE + timedelta(days=365)
    # 365 days after 2 March; the day ends in Kosovo's winter at 23:00.
    assert period_end(closed, BY_LOCAL) == datetime(2027, 3, 2, 22, 59, 59, tzinfo=UTC)
    alone = state(closure=ClosureReason.NOT_A_VICTIM, closed_at=LATE, parties=("ME",))
    assert period_end(alone, BY_LOCAL) == datetime(2027, 3, 2, 10, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    ("agency", "at", "last_day", "by_utc", "by_local"),
    [
        ("xk-csw-peja", LATE, "2026-03-01", True, False),
        ("xk-csw-peja", LATE, "2026-03-02", True, True),
        ("me-csw-podgorica", LATE - timedelta(hours=13), "2026-03-01", True, True),
        ("me-csw-podgorica", LATE - timedelta(hours=12), "2026-03-01", True, False),
    ],
)
def test_an_act_is_of_the_day_of_its_agencys_country(
    agency: str, at: datetime, last_day: str, by_utc: bool, by_local: bool
) -> None:
    asked = act("sharing_decided", agency, at, until=last_day)
    for by, is_accepted in ((BY_UTC, by_utc), (BY_LOCAL, by_local)):
        opened = state(opened_at=at)
        if is_accepted:
            check_dates(asked, opened, {}, by, at)
            continue
        with pytest.raises(Refusal) as refused:
            check_dates(asked, opened, {}, by, at)
        assert refused.value.rule == "ends-before-it-begins"


def test_the_node_compares_sealed_dates_with_the_local_day() -> None:
    issued = TravelDocumentIssued(acted_at=LATE, document="passport", valid_until="2026-03-01")
    check_disclosed_dates(issued, state())
    with pytest.raises(Refusal):
        check_disclosed_dates(issued, state(), zone=TONGA)


def test_a_sitting_begins_with_the_local_day() -> None:
    assert beginning_of_day(LATE, TONGA) == datetime(2026, 3, 1, 11, tzinfo=UTC)
    assert beginning_of_day(LATE, ZoneInfo("Europe/Belgrade")) == LATE - timedelta(minutes=30)
    # The night in which the clocks go forward is an hour shorter.
    spring = datetime(2026, 3, 29, 12, tzinfo=UTC)
    assert beginning_of_day(spring, ZoneInfo("Europe/Belgrade")).hour == 23


@pytest.mark.parametrize(
    ("zone", "day", "ends"),
    [
        # Back from 00:00 to 23:00: this day's last hour comes twice.
        ("Asia/Beirut", date(2026, 10, 24), datetime(2026, 10, 24, 21, 59, 59)),
        ("Africa/Cairo", date(2026, 10, 29), datetime(2026, 10, 29, 21, 59, 59)),
        # Back from 01:00 to 00:00: the next day's first hour comes twice.
        ("Atlantic/Azores", date(2026, 10, 24), datetime(2026, 10, 24, 23, 59, 59)),
        ("America/Havana", date(2026, 10, 31), datetime(2026, 11, 1, 3, 59, 59)),
        # Back from 00:01 to 23:01.
        ("America/St_Johns", date(2010, 11, 6), datetime(2010, 11, 7, 3, 29, 59)),
        # Forward from 00:00 to 01:00: the next day begins at 01:00.
        ("Asia/Beirut", date(2026, 3, 28), datetime(2026, 3, 28, 21, 59, 59)),
        # Forward from 23:00 to 00:00: this day has no 23:59.
        ("America/Nuuk", date(2026, 3, 28), datetime(2026, 3, 29, 0, 59, 59)),
        # A day that this place never had.
        ("Pacific/Apia", date(2011, 12, 30), datetime(2011, 12, 30, 9, 59, 59)),
        ("Europe/Podgorica", date(2026, 3, 29), datetime(2026, 3, 29, 21, 59, 59)),
        ("UTC", date.max, datetime(9999, 12, 31, 23, 59, 59)),
    ],
)
def test_a_day_ends_once_whatever_the_clocks_do_at_midnight(
    zone: str, day: date, ends: datetime
) -> None:
    assert end_of_day(day, ZoneInfo(zone)) == ends.replace(tzinfo=UTC)


def test_a_day_of_the_agreement_begins_once_it_has_begun_for_all_that_it_concerns() -> None:
    day = date(2026, 3, 1)
    of_one = agreed_day_begins(day, BY_UTC, ("ME",))
    assert of_one == datetime(2026, 2, 28, 11, tzinfo=UTC)
    assert agreed_day_begins(day, BY_UTC, ("ME", "XK")) == datetime(2026, 2, 28, 23, tzinfo=UTC)
    earlier = BY_UTC.model_copy(update={"edition": 1})
    assert agreed_day_begins(day, earlier, ("ME",)) == datetime(2026, 3, 1, tzinfo=UTC)
    assert agreed_day_begins(date.min, BY_UTC, ("ME",)) == datetime.min.replace(tzinfo=UTC)
