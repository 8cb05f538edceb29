"""Figures of the cases that a coordinator sees: counted right, and of no other case."""

import csv
import io
import json
import re
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from html import unescape
from typing import Any
from uuid import UUID

import pytest

from api.paper.subject_access.wording import wording
from api.web.flow_map import HEIGHT, WIDTH, flow_map
from ledger.procedure.protocol import shipped_protocol
from ledger.vocabulary.coordination import Correction
from ledger.vocabulary.picklists import CaseStatus, CorrectionEffect, CorrectionReason, Stage
from projections.folds.caseload_indicators import (
    Caseload,
    CaseTally,
    Flow,
    TimeToReturn,
    chosen,
    figures,
)
from tests.support.actions import opening
from tests.support.serving import Server
from tests.support.story import Told
from tests.support.web import signed_in

NAMES = {"XK": "Kosovo", "ME": "Montenegro", "AL": "Albania"}
Table = dict[str, dict[str, str]]


def shown(node: Server, agency: str) -> dict[str, Table]:
    """The page's tables: by chart, then by row, then by column."""
    with signed_in(node, agency) as browser:
        page = browser.get("/charts").text
    found = {}
    for name in ("caseload", "flow", "returns"):
        section = re.search(rf'<section aria-labelledby="{name}">.*?</section>', page, re.DOTALL)
        assert section, page
        columns = re.findall(r'<th scope="col">(.*?)</th>', section[0])
        rows = re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', section[0])
        found[name] = {
            row: dict(zip(columns[1:], re.findall(r"<td>(.*?)</td>", cells), strict=True))
            for row, cells in rows
        }
    return found


def specifications(node: Server, agency: str) -> dict[str, Any]:
    with signed_in(node, agency) as browser:
        page = browser.get("/charts").text
    found = re.findall(r'<pre id="specification-(\w+)"[^>]*>(.*?)</pre>', page, re.DOTALL)
    return {name: json.loads(unescape(text)) for name, text in found}


@pytest.mark.parametrize("agency", ["xk-nac", "me-nac", "xk-ombudsperson"])
def test_the_figures_are_a_simple_count_of_the_story(
    node: Server, story: Told, agency: str
) -> None:
    loads: Counter[tuple[str, str]] = Counter()
    days = []
    with node.client(agency) as client:
        for case_id in story.cases.values():
            view = client.case(case_id, at_least=story.position).view
            assert (view.parties[0], view.status) == ("XK", CaseStatus.FOLLOW_UP)
            loads[view.stage, NAMES[view.lead_agency[:2].upper()]] += 1
            waited = view.facts["received"].since - view.facts["victim_identified"].since
            days.append(waited.days)
    tables = shown(node, agency)
    assert sum(int(row["All"]) for row in tables["caseload"].values()) == len(story.cases)
    for (_, country), cases in loads.items():
        assert str(cases) in [row[country] for row in tables["caseload"].values()]
    assert [row["All"] for row in tables["flow"].values()] == [str(len(story.cases))]
    assert list(tables["flow"]) == ["Kosovo → Montenegro"]
    returns = tables["returns"]["Montenegro"]
    assert returns["Cases"] == str(len(days))
    assert (returns["Shortest"], returns["Longest"]) == (str(min(days)), str(max(days)))
    assert Decimal(returns["Median"]) == Decimal(sum(days)) / 2


def test_what_is_drawn_has_the_numbers_of_the_tables(
    node: Server,
    story: Told,  # noqa: ARG001
) -> None:
    tables, drawn = shown(node, "xk-nac"), specifications(node, "xk-nac")
    assert drawn.keys() == tables.keys()
    for name in ("caseload", "flow"):
        rows = drawn[name]["datasets"]["rows"]
        assert {row["bar"] for row in rows} == tables[name].keys()
        for row in rows:
            assert tables[name][row["bar"]][row["series"]] == str(row["cases"])
    for row in drawn["returns"]["datasets"]["quartiles"]:
        told = tables["returns"][row["destination"]]
        assert Decimal(told["Median"]) == Decimal(str(row["median"]))
        assert Decimal(told["Lower quartile"]) == Decimal(str(row["lower"]))


@pytest.mark.parametrize("agency", ["xk-dhtqnj", "me-police-thb", "xk-csw-peja", "me-ngo-support"])
def test_figures_are_for_coordinators_and_oversight(node: Server, agency: str) -> None:
    with signed_in(node, agency) as browser:
        answer = browser.get("/charts")
        assert 'href="/charts"' not in browser.get("/cases").text
    assert answer.status_code == 403
    assert "<table" not in answer.text


def test_another_countrys_case_does_not_count(node: Server, story: Told) -> None:  # noqa: ARG001
    before = {agency: shown(node, agency) for agency in ("xk-nac", "me-nac")}
    with node.client("xk-dhtqnj") as police:
        receipt = police.open_case(opening(("XK",), acted_at=datetime.now(UTC)))
        police.case(receipt.case_id, at_least=receipt.position)
    assert shown(node, "me-nac") == before["me-nac"]
    assert shown(node, "al-nac") == {"caseload": {}, "flow": {}, "returns": {}}
    after = shown(node, "xk-nac")
    assert after["flow"] == before["xk-nac"]["flow"]  # it is of one country alone
    assert after["caseload"]["Identification"]["Kosovo"] == "1"


def test_what_was_annulled_does_not_count(node: Server, story: Told) -> None:
    case_id: UUID = story.cases["B"]
    with node.client("me-nac") as coordinator:
        receipt = coordinator.append(
            Correction(
                acted_at=datetime.now(UTC),
                corrects=story.ids["B.received"],
                effect=CorrectionEffect.ANNULLED,
                reason=CorrectionReason.ENTRY_ERROR,
            ),
            case_id,
            coordinator.case(case_id).view.version,
        )
        coordinator.case(case_id, at_least=receipt.position)
    tables = shown(node, "me-nac")
    assert tables["returns"]["Montenegro"]["Cases"] == "1"
    assert tables["flow"]["Kosovo → Montenegro"]["All"] == "2"  # the return is still decided


def alike(cases: int = 1, **other: Any) -> CaseTally:
    told: dict[str, Any] = {
        "stage": Stage.RETURN,
        "status": CaseStatus.ACTIVE,
        "lead_agency": "xk-dhtqnj",
        "opened_by": "XK",
        "parties": ("XK", "ME"),
        "destination": None,
        "received_by": None,
        "days": None,
    }
    return CaseTally(**told | other, cases=cases)


def test_closed_cases_are_no_caseload_and_still_a_flow() -> None:
    closed = [alike(2, status=status) for status in CaseStatus if "Closed" in status]
    told = figures([alike(3), *closed], shipped_protocol())
    assert told.caseload == (Caseload(Stage.RETURN, "XK", 3),)
    assert told.flows == (Flow("XK", "ME", Stage.RETURN, 7),)


def test_a_case_goes_where_the_return_goes_or_to_every_other_country() -> None:
    parties = ("XK", "ME", "AL")
    told = figures(
        [alike(parties=parties), alike(4, parties=parties, destination="AL")], shipped_protocol()
    )
    assert {(one.destination, one.cases) for one in told.flows} == {("AL", 5), ("ME", 1)}
    home = figures([alike(parties=parties, destination="XK")], shipped_protocol())
    assert {one.destination for one in home.flows} == {"AL", "ME"}
    assert figures([alike(parties=("XK",))], shipped_protocol()).flows == ()


def test_a_country_and_a_stage_limit_the_figures() -> None:
    parties = ("XK", "ME", "AL")
    told = figures(
        [
            alike(3, parties=parties),
            alike(2, parties=parties, destination="AL", stage=Stage.IDENTIFICATION),
        ],
        shipped_protocol(),
    )
    assert chosen(told, None, None) == told
    assert {(one.destination, one.cases) for one in chosen(told, "ME", None).flows} == {("ME", 3)}
    assert [one.cases for one in chosen(told, None, Stage.IDENTIFICATION).flows] == [2]
    assert chosen(told, "AL", None).caseload == ()


def test_the_map_has_an_arrow_for_each_direction_as_wide_as_its_cases() -> None:
    words = wording("en", shipped_protocol(), "XK")
    flows = [
        Flow("XK", "ME", Stage.RETURN, 4), Flow("XK", "ME", Stage.IDENTIFICATION, 6),
        Flow("ME", "XK", Stage.RETURN, 5), Flow("XK", "AL", Stage.RETURN, 1),
    ]  # fmt: skip
    drawn = flow_map(flows, words)
    assert [one.name for one in drawn.places] == ["Albania", "Montenegro", "Kosovo"]
    assert {(one.origin, one.destination): one.cases for one in drawn.arrows} == {
        ("XK", "ME"): 10, ("ME", "XK"): 5, ("XK", "AL"): 1,
    }  # fmt: skip
    widths = {one.cases: one.width for one in drawn.arrows}
    assert widths[10] > widths[5] > widths[1]
    there, back = (one for one in drawn.arrows if {one.origin, one.destination} == {"XK", "ME"})
    assert there.path != back.path
    assert (there.label_x, there.label_y) != (back.label_x, back.label_y)
    assert all(0 < one.x < WIDTH and 0 < one.y < HEIGHT for one in drawn.places)
    assert flow_map([], words).arrows == ()


@pytest.mark.usefixtures("story")
def test_the_table_is_saved_as_the_page_shows_it(node: Server) -> None:
    table = shown(node, "xk-nac")["flow"]
    with signed_in(node, "xk-nac") as browser:
        saved = browser.get("/charts/flow.csv").text
        none = browser.get("/charts/flow.csv?country=AL").text
        assert browser.get("/charts/flow.xlsx").content[:2] == b"PK"
        assert browser.get("/charts/other.csv").status_code == 422
        assert browser.get("/charts?stage=other").status_code == 422
        assert 'class="flow-map"' in browser.get("/charts").text
        assert 'class="flow-map"' not in browser.get("/charts?country=AL").text
    rows = list(csv.reader(io.StringIO(saved.removeprefix("\ufeff"))))
    assert {row[0]: dict(zip(rows[0][1:], row[1:], strict=True)) for row in rows[1:]} == table
    assert len(none.splitlines()) == 1


def test_quartiles_of_days() -> None:
    days = [alike(n, received_by="ME", days=d) for d, n in ((10, 1), (20, 2), (50, 1), (-1, 9))]
    told = figures([*days, alike(received_by="AL", days=7)], shipped_protocol())
    assert told.times == (
        TimeToReturn("AL", 1, 7, Decimal(7), Decimal(7), Decimal(7), 7),
        TimeToReturn("ME", 4, 10, Decimal("17.5"), Decimal(20), Decimal("27.5"), 50),
    )
