"""The list "due from others" has the obligations whose own rows say that they belong to it."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from ledger.procedure.agreement import Agreement
from ledger.procedure.protocol import COORDINATOR, OVERSIGHT, Agency
from ledger.store.database import Database
from projections.folds.obligations import obligations
from projections.tables.duty_lists import Duties, DutyLists, viewer_of
from tests.support.actions import opening
from tests.support.agencies import Agencies
from tests.support.recorded_case import RecordedCase

AGENCIES = Agencies()
NOW = datetime(2026, 3, 1, tzinfo=UTC)
CASES, IN_A_CASE = 60, 5
XK = ("xk-dhtqnj", "xk-nac", "xk-border", "xk-ombudsperson")
Row = dict[str, Any]


def rows_of(cases: int, seed: int) -> tuple[list[Row], list[Row]]:
    """Return made-up cases, one row a viewer, and their open obligations."""
    of = random.Random(seed)
    led, owed = [], []
    for position in range(cases):
        case_id, lead = uuid4(), of.choice(("xk-dhtqnj", "xk-border", "me-police-thb"))
        shares = of.choice(([], ["ME"]))
        led += [
            {"viewer": viewer, "case_id": case_id, "position": position, "lead": lead,
             "shares": shares}
            for viewer in ("XK", "oversight")
        ]  # fmt: skip
        owed += [
            {
                "id": uuid4(), "case_id": case_id, "debtor": of.choice((None, "XK", "ME")),
                "debtor_agency": of.choice((None, *XK, "me-nac")),
                "creditors": of.choice(([], ["XK"], ["ME", "XK"])),
                "creditor_agency": of.choice((None, None, *XK)),
                "roles": of.choice(([], ["police"], [COORDINATOR, "shelter"])),
                "due": of.choice((None, NOW + timedelta(minutes=of.randrange(-9000, 9000)))),
                "position": position,
            }
            for _ in range(IN_A_CASE)
        ]  # fmt: skip
    return led, owed


def put(database: str, led: list[Row], owed: list[Row]) -> None:
    case = RecordedCase(AGENCIES, second_persons=Agencies())
    case.take("xk-dhtqnj", opening(("XK", "ME")))
    like = next(iter(obligations(case.acts, Agreement.of(AGENCIES.protocol)).by_id.values()))
    with psycopg.connect(database) as connection, connection.cursor() as cursor:
        slots = "SELECT views.live_slot('case_views'), views.live_slot('obligations')"
        of_cases, of_owed = cursor.execute(slots).fetchone() or ("", "")
        cursor.executemany(
            f"""INSERT INTO views.case_views (slot, viewer, case_id, version, position,
                opened_position, status, stage, priority, lead_agency, awaits_us, document,
                waits_for, waits_until, counted_as, has_request, has_basis, has_danger,
                shares_with, reference, opened_at, age_group, parties, our_steps, agencies)
            VALUES ('{of_cases}', %(viewer)s, %(case_id)s, 1, %(position)s, %(position)s, 'open',
                'identification', 'normal', %(lead)s, false, '{{}}', '{{}}', '{{}}', '', false,
                false, false, %(shares)s, %(case_id)s, now(), '', '{{}}', '{{}}', '{{}}')""",
            led,
        )
        cursor.executemany(
            f"""INSERT INTO views.obligations (slot, id, case_id, kind, debtor, debtor_agency,
                creditors, state, opened_position, opened_at, due, document, action, roles,
                creditor_agency)
            VALUES ('{of_owed}', %(id)s, %(case_id)s, 'answer', %(debtor)s, %(debtor_agency)s,
                %(creditors)s, 'open', %(position)s, now(), %(due)s, %(document)s,
                'information_provided', %(roles)s, %(creditor_agency)s)""",
            [
                row | {"document": Jsonb(like.model_copy(update={"id": row["id"]}).model_dump(
                    mode="json"))}
                for row in owed
            ],
        )  # fmt: skip
        cursor.execute("ANALYZE views.case_views, views.obligations")


def is_due_from_others(row: Row, case: Row, agency: Agency) -> bool:
    by_role = row["debtor_agency"] is None and agency.role in row["roles"]
    acts = row["debtor_agency"] == agency.id or (by_role and row["debtor"] in (None, agency.party))
    to_country = row["debtor"] != agency.party and agency.party in row["creditors"]
    by_any = row["debtor"] is None and bool(case["shares"])
    return not acts and (
        agency.id in (row["creditor_agency"], case["lead"])
        or (agency.role == COORDINATOR and (to_country or by_any))
        or agency.role == OVERSIGHT
    )


@pytest.fixture
def lists(database: str) -> Iterator[DutyLists]:
    with Database(database) as opened:
        yield DutyLists(opened)


def test_due_from_others_is_what_each_row_says(database: str, lists: DutyLists) -> None:
    led, owed = rows_of(CASES, seed=7)
    put(database, led, owed)
    cases: dict[UUID, Row] = {row["case_id"]: row for row in led}
    for name in XK:
        agency = next(one for one in AGENCIES.protocol.agencies if one.id == name)
        found = lists.of(agency, viewer_of(agency), Duties.OTHERS, NOW, limit=1000)
        expected = [row for row in owed if is_due_from_others(row, cases[row["case_id"]], agency)]
        expected.sort(key=lambda row: (row["due"] is None, row["due"] or NOW, row["id"]))
        assert expected
        assert [one.id for one in found.obligations] == [row["id"] for row in expected]
        assert found.number == len(expected)
        assert found.overdue == sum(row["due"] is not None and row["due"] < NOW for row in expected)
