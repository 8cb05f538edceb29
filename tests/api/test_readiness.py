"""Troubles of a node: what each does to ``/ready``, metrics, answers, pages and recording."""

from collections.abc import Sequence
from typing import Any

import httpx
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from api.background_jobs import view_checker
from api.client import RefusedError
from api.client.schemas.health import Effect
from api.runtime.readiness import HEADER, Checks, worst
from api.runtime.trouble import Trouble
from ledger.application import Ledger
from projections.upkeep.rebuild import rebuild_views
from tests.support.actions import opening
from tests.support.agencies import Agencies
from tests.support.serving import serving
from tests.support.waiting import until

WARNING = Trouble(rule="something-later", message="Act next month.", effect=Effect.WARNING)
GRAVE = Trouble(rule="log-diverged", message="The log forked.")
FULL = Trouble(
    rule="disk-low", message="Make space.", effect=Effect.NO_RECORDING, title="Full", status=507
)


def test_the_worst_of_several_troubles_decides() -> None:
    assert worst((WARNING, GRAVE, FULL), at_least=Effect.WARNING) is FULL
    assert worst((WARNING, GRAVE), at_least=Effect.NOT_READY) is GRAVE
    assert worst((WARNING,), at_least=Effect.NOT_READY) is None


def test_a_check_that_raises_hides_no_other() -> None:
    def broken() -> Sequence[Trouble]:
        raise OSError

    changes: list[int] = []
    checks = Checks(lambda: changes.append(1))
    checks.add(broken)
    checks.add(lambda: [GRAVE])
    checks.look()
    checks.look()
    assert (checks.now, len(changes)) == ((GRAVE,), 1)


def test_what_each_effect_does(ledger: Ledger, database: str, agencies: Agencies) -> None:
    assert ledger.registry() is not None
    with serving(database, agencies) as served:
        found: list[Trouble] = []
        checks = served.node.checks
        checks.add(lambda: found)

        def seen(*troubles: Trouble) -> httpx.Response:
            found[:] = troubles
            checks.look()
            return httpx.get(f"{served.url}/ready")

        before = opening()
        with served.client("xk-dhtqnj") as police:
            receipt = police.open_case(before)

            answer = seen(WARNING)
            assert answer.status_code == 200
            assert [t["rule"] for t in answer.json()["troubles"]] == [WARNING.rule]
            assert HEADER not in answer.headers

            answer = seen(GRAVE, WARNING)
            assert (answer.status_code, answer.json()["rule"]) == (503, GRAVE.rule)
            assert len(answer.json()["troubles"]) == 2
            police.open_case(opening())

            answer = seen(GRAVE, FULL)
            assert (answer.status_code, answer.json()["rule"]) == (503, FULL.rule)
            assert answer.headers[HEADER] == f"{GRAVE.rule}, {FULL.rule}"
            with pytest.raises(RefusedError) as refused:
                police.open_case(opening())
            assert (refused.value.problem.status, refused.value.problem.rule) == (507, FULL.rule)
            assert refused.value.problem.detail == FULL.message
            assert police.case(receipt.case_id).view.case_id == receipt.case_id

        page = httpx.get(f"{served.url}/sign-in", headers={"Accept-Language": "en"}).text
        assert "The server&#39;s disk is almost full." in page
        assert "Nothing new can be recorded" in page
        metrics = text_string_to_metric_families(httpx.get(f"{served.url}/metrics").text)
        told = {m.name: m.samples for m in metrics}
        assert told["case_ledger_not_to_be_relied_on"][0].value == 1
        assert {s.labels["rule"] for s in told["case_ledger_trouble"]} == {GRAVE.rule, FULL.rule}
        assert seen().json()["troubles"] == []


def test_a_view_that_differs_is_reported_until_it_is_rebuilt(
    ledger: Ledger, database: str, agencies: Agencies, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A running node finds by itself what somebody wrote into a view."""
    monkeypatch.setattr(view_checker, "_SHORTEST_SECONDS", 0.1)
    monkeypatch.setattr(view_checker, "_LONGEST_SECONDS", 0.1)
    assert ledger.registry() is not None
    with serving(database, agencies) as served:

        def ready(status: int) -> dict[str, Any]:
            answer = until(
                lambda: (
                    found
                    if (found := httpx.get(f"{served.url}/ready", timeout=20)).status_code == status
                    else None
                ),
                seconds=60,
            )
            content: dict[str, Any] = answer.json()
            return content

        with served.client("xk-dhtqnj") as police:
            receipt = police.open_case(opening())
            police.case(receipt.case_id, at_least=receipt.position)
        ready(200)
        with psycopg.connect(database) as owner:
            owner.execute("UPDATE views.case_views SET lead_agency = 'al-nac' WHERE viewer = 'XK'")
        told = ready(503)
        assert told["rule"] == "views-differ"
        assert "case_views: " in told["detail"]
        metrics = httpx.get(f"{served.url}/metrics").text
        assert 'case_ledger_view_rows_differing{view="audit_trail"} 0.0' in metrics
        assert 'case_ledger_view_rows_differing{view="case_views"} 0.0' not in metrics
        assert "case_ledger_views_checked_seconds" in metrics
        rebuild_views(database, ["case_views"], processes=0)
        ready(200)
