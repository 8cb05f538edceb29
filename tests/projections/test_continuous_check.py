"""Every row is checked again and again; what differs stays reported until it is mended."""

from uuid import UUID

import psycopg

from api.background_jobs.view_checker import pause, view_troubles
from ledger.application import Ledger
from ledger.store.database import Database
from projections.upkeep.continuous_check import ContinuousCheck, check_standing, differing_rows
from projections.upkeep.rebuild import rebuild_views
from tests.projections.test_rebuild import Recorder, follow
from tests.support.actions import opening
from tests.support.agencies import Agencies


def test_a_pass_goes_on_where_it_was_and_reports_until_it_is_mended(
    database: str, ledger: Ledger, agencies: Agencies
) -> None:
    case_ids = [UUID(int=number << 64) for number in range(1, 7)]
    recorder = Recorder(ledger, agencies, ledger.adopted(), dict.fromkeys(case_ids))
    recorder.versions[agencies.protocol.ledger_id] = ledger.adopted().version
    for case_id in case_ids:
        recorder.put("xk-dhtqnj", opening(), case_id)
    follow(database, pages=(100,))
    with Database(database) as pool:
        with psycopg.connect(database, autocommit=True) as owner:
            owner.execute(
                "UPDATE views.case_views SET lead_agency = 'al-nac' WHERE case_id = %s",
                (case_ids[-1],),
            )
        steps = 0
        while check_standing(pool).passes == 0:
            with ContinuousCheck(database) as check:  # each time as after a restart
                check.step(2)
            steps += 1
        assert steps > 2
        assert differing_rows(pool) == {"case_views": 2}
        (trouble,) = view_troubles(pool)
        assert (trouble.rule, trouble.effect) == ("views-differ", "not-ready")
        assert "case_views: 2" in trouble.message
        with ContinuousCheck(database) as check:
            check.step(2)
            assert differing_rows(pool) == {"case_views": 2}  # a new pass forgets nothing yet
            rebuild_views(database, processes=0)
            assert view_troubles(pool) == ()
            while check_standing(pool).passes == 1:
                check.step(2)
            assert differing_rows(pool) == {}
            # A row that is written back by hand is over with the next pass that does not find it.
            with psycopg.connect(database, autocommit=True) as owner:
                change = "UPDATE views.case_views SET version = version {} WHERE viewer = 'XK'"
                owner.execute(change.format("+ 1").encode())
                check.step(100)
                assert differing_rows(pool) == {"case_views": 6}
                owner.execute(change.format("- 1").encode())
            check.step(100)
            assert differing_rows(pool) == {}


def test_every_row_is_checked_within_a_day_and_a_small_ledger_costs_little() -> None:
    assert pause(0.02, 300) == 30.0
    assert pause(1.0, 1_000) == 50.0
    assert pause(60.0, 1_000) == 300.0
    for head, seconds in ((10_000_000, 1.0), (1_000_000, 2.0), (50_000_000, 0.5)):
        steps = head // 1_000 + 1
        assert steps * (seconds + pause(seconds, head)) <= 24 * 3600
