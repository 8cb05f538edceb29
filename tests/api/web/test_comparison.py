"""The browser derives the same case from the events as the views show, and finds a change."""

import copy
import os
from collections.abc import Iterator
from operator import itemgetter
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ledger.application import Ledger, environment
from ledger.vocabulary import ALL_ACTIONS
from ledger.vocabulary.upcasting import upcasters
from projections.tables.all_views import VIEWS
from tests.projections.test_rebuild import follow, new_ledger, record_anything
from tests.support.agencies import Agencies
from tests.support.browser_comparison import Comparison, comparing, shown_in
from tests.support.databases import new_database
from tests.support.serving import Server, serving
from tests.support.story import Told, tell
from tests.support.views import rows_of as view_rows
from tests.support.web import signed_in

LEDGERS = int(os.environ.get("CASE_LEDGER_TEST_LEDGERS", "2"))
KEY_ACTS = ("protocol_adopted", "key_registered", "key_revoked", "key_compromised")
WHO = ("xk-dhtqnj", "me-nac", "xk-ombudsperson")


@pytest.fixture(scope="module")
def comparison() -> Iterator[Comparison]:
    with comparing() as running:
        yield running


@pytest.fixture(scope="module")
def world(server: str, begun: str, agencies: Agencies) -> Iterator[tuple[Server, Ledger, Told]]:
    with (
        new_database(server, begun) as database,
        serving(database, agencies) as served,
        Ledger(environment(database)) as ledger,
    ):
        yield served, ledger, tell(served)


@pytest.fixture(scope="module")
def shown(world: tuple[Server, Ledger, Told]) -> dict[str, Any]:
    served, _, told = world
    return _page(served, "xk-dhtqnj", told.cases["A"])


def _page(served: Server, agency: str, case_id: object) -> dict[str, Any]:
    with signed_in(served, agency) as browser:
        answer = browser.get(f"/cases/{case_id}/verify")
    assert answer.status_code == 200, answer.text
    return shown_in(answer.text)


def test_what_the_browser_derives_is_what_is_shown(
    world: tuple[Server, Ledger, Told], comparison: Comparison
) -> None:
    served, ledger, told = world
    for case_id in told.cases.values():
        for agency in WHO:
            found = comparison.compare(_page(served, agency, case_id), ledger)
            assert "failed" not in found, found
            assert found["wrong"] == []
            assert found["unsigned"] == 0
            assert found["proved"] > 500
            unproved = {one["field"] for one in found["said"] if one["where"] == "case"}
            assert unproved <= {
                "sharing", "break_glass", "holds", "retention", "erasure", "expected", "closed_at",
                "destructions", "links", "merge_proposal", "merged_into", "parted", "taken_in",
                "error_closing",
            }  # fmt: skip


CHANGES = {
    "lead agency": lambda s: s["case"].update(lead_agency="al-nac"),
    "status": lambda s: s["case"].update(status="Closed"),
    "a country": lambda s: s["case"]["parties"].append("AL"),
    "last action": lambda s: s["trail"].pop(),
    "first action": lambda s: s["trail"].pop(0),
    "an action twice": lambda s: s["trail"].append(s["trail"][-1]),
    "kind": lambda s: s["trail"][3].update(kind="shelter_left"),
    "agency": lambda s: s["trail"][3].update(agency="me-nac"),
    "acted at": lambda s: s["trail"][3].update(acted_at="2025-01-01T00:00:00Z"),
    "recorded at": lambda s: s["trail"][3].update(recorded_at="2025-01-01T00:00:00Z"),
    "signature": lambda s: s["trail"][3].update(signature="does not verify"),
    "a field": lambda s: s["trail"][0]["fields"].update(age_group="adult"),
    "a field gone": lambda s: s["trail"][0]["fields"].pop("age_group"),
    "a field more": lambda s: s["trail"][0]["fields"].update(urgent=True),
    "a change of status": lambda s: s["trail"][0]["changes"].append(
        {"path": "/priority", "before": "normal", "after": "high"}
    ),
    "a fact": lambda s: s["case"]["facts"].popitem(),
    "an obligation's opening": lambda s: s["obligations"][0]["opened"].update(agency="al-nac"),
    "an obligation's position": lambda s: s["obligations"][0]["opened"].update(position=1),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_field_that_is_shown_otherwise_is_found(
    world: tuple[Server, Ledger, Told], shown: dict[str, Any], comparison: Comparison, change: str
) -> None:
    changed = copy.deepcopy(shown)
    CHANGES[change](changed)
    found = comparison.compare(changed, world[1])
    assert found.get("wrong"), found


def test_an_obligation_that_was_discharged_in_the_database_is_found(
    world: tuple[Server, Ledger, Told], comparison: Comparison
) -> None:
    served, ledger, told = world
    seen = 0
    for alias in told.cases:
        page = _page(served, "xk-dhtqnj", told.cases[alias])
        for place, one in enumerate(page["obligations"]):
            changed = copy.deepcopy(page)
            obligation = changed["obligations"][place]
            if one["state"] == "discharged":
                obligation.update(closed=obligation["opened"])
            else:
                obligation.update(state="discharged", closed=None)
            found = comparison.compare(changed, ledger)
            assert found.get("wrong"), one
            seen += 1
    assert seen > 5


def test_the_browser_derives_whatever_was_recorded(
    server: str, migrated: str, comparison: Comparison
) -> None:
    """Random cases, with corrections, revoked keys and signatures that do not count."""

    @settings(
        max_examples=max(1, LEDGERS // 2),
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def each_ledger(data: st.DataObject) -> None:
        with new_ledger(server, migrated) as (database, ledger, agencies):
            recorder = record_anything(data, ledger, agencies)
            follow(database, pages=(30,))
            rows = {name: [row[0] for row in view_rows(database, name)] for name in VIEWS}
            ledger_id = ledger.adopted().ledger_id
            acts = [
                event.position
                for event in ledger.case_events(ledger_id)
                if event.action.kind in KEY_ACTS
            ]
            for view in rows["case_views"]:
                case_id = view["case_id"]
                events = ledger.case_events(UUID(case_id))
                shown = {
                    "positions": [event.position for event in events],
                    "acts": acts,
                    "trail": _of(rows["audit_trail"], case_id, "version"),
                    "case": view["document"],
                    "obligations": _of(rows["obligations"], case_id, "opened_position"),
                    "schemas": {kind: upcasters().version(kind) for kind in ALL_ACTIONS},
                    "stages": {kind: model.stage.value for kind, model in ALL_ACTIONS.items()},
                }
                found = comparison.compare(shown, ledger)
                assert "failed" not in found, found
                assert found["wrong"] == [], found["wrong"]
            assert any(recorder.cases.values())

    each_ledger()


def _of(rows: list[Any], case_id: str, order: str) -> list[Any]:
    found = sorted((row for row in rows if row["case_id"] == case_id), key=itemgetter(order))
    return [row["document"] for row in found]
