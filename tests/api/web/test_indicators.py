"""The assessments of operational indicators that a case's page shows, with the rule's reasons."""

from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

from api.paper.subject_access.wording import wording
from api.web.indicators import assessed_indicators
from api.web.rendering import _templates
from api.web.texts import texts
from ledger.procedure.agreement import Agreement
from ledger.procedure.operational_indicators import IndicatorDimension
from ledger.procedure.protocol import shipped_protocol
from ledger.vault.held_fields import Held
from tests.support.actions import START

AGREEMENT = Agreement.of(shipped_protocol())
FIELDS = {
    "indicator_list": "children_labour",
    "observed": ["exploitation_excessive_working_days_hours", "exploitation_low_no_salary"],
    "observers": ["social_worker"],
    "acts_of_trafficking": ["harbouring"],
}


def shown(fields: dict[str, Any]) -> Any:
    entry = SimpleNamespace(
        kind="indicators_assessed", action_id=uuid4(), agency="xk-csw-peja", acted_at=START,
        position=7, recorded_at=START, fields={}, in_clear={},
    )  # fmt: skip
    held = [
        SimpleNamespace(action_id=entry.action_id, field=name, value=value)
        for name, value in fields.items()
    ]
    return assessed_indicators(cast("Any", [entry]), cast("list[Held]", held), AGREEMENT)


def test_an_assessment_is_combined_with_its_reasons() -> None:
    (one,) = shown(FIELDS)
    (dimension,) = one.combination.dimensions
    assert dimension.dimension is IndicatorDimension.EXPLOITATION
    assert (dimension.strong, dimension.medium, dimension.weak) == (1, 1, 0)
    assert (dimension.is_positive, one.combination.points_to_trafficking) == (True, True)
    assert [observer.value for observer in one.observers] == ["social_worker"]


def test_without_an_act_of_trafficking_a_childs_exploitation_alone_does_not_reach_the_rule() -> (
    None
):
    (one,) = shown({k: v for k, v in FIELDS.items() if k != "acts_of_trafficking"})
    assert not one.combination.points_to_trafficking


def test_an_assessment_whose_fields_are_not_held_is_left_out() -> None:
    assert shown({"observers": ["police"]}) == ()


def test_a_screening_that_no_list_fits_has_no_result_of_the_rule() -> None:
    (one,) = shown({"indicator_list": "none_fits", "observers": ["own_account"]})
    assert (one.observed, one.combination.dimensions) == ((), ())
    html = (
        _templates()
        .get_template("indicators.html")
        .render(indicators=(one,), named={}, w=wording("en"), t=texts("en").text)
    )
    assert "No list fits" in html
    assert "The indicators together" not in html


def test_the_page_says_the_counts_and_that_nothing_is_decided() -> None:
    words = wording("en")
    html = (
        _templates()
        .get_template("indicators.html")
        .render(indicators=shown(FIELDS), named={}, w=words, t=texts("en").text)
    )
    assert "1 strong, 1 medium, 0 weak" in html
    assert "it decides nothing" in html
    assert "The indicators together point to trafficking" in html
