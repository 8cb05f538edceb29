"""The list of actions has the possible ones first, and says once that the others are not."""

from pathlib import Path

import pytest

from api.paper.languages.found import shipped
from api.paper.subject_access.wording import wording
from api.web.action_list import by_stage
from api.web.refusal_text import reason
from api.web.rendering import Words
from api.web.texts import texts
from ledger.procedure.available_actions import Offer
from ledger.procedure.condition_checks import CONDITION
from ledger.procedure.protocol import shipped_protocol
from ledger.refusals import Ground, Refusal
from ledger.vocabulary.picklists import Stage

PROTOCOL = shipped_protocol()
REFUSED = Refusal(Ground.CONFLICT, "requires-case_opened", "First.")
TEMPLATES = Path(__file__).parents[3] / "api" / "web" / "templates"


def words_of(language: str) -> Words:
    return Words(texts(language), wording(language, PROTOCOL))


def test_the_possible_actions_of_a_stage_come_before_the_others() -> None:
    told = {
        "sheltered": Offer("sheltered", REFUSED),
        "risk_assessed": Offer("risk_assessed"),
        "service_started": Offer("service_started"),
        "charged": Offer("charged", REFUSED),
    }
    found = {one.stage: one for one in by_stage(told, words_of("en"))}
    protection = found[Stage.PROTECTION]
    assert protection.possible == ("risk_assessed", "service_started")
    assert protection.impossible == (("sheltered", reason(REFUSED, words_of("en"))),)
    assert found[Stage.PROCEEDINGS].possible == ()
    assert set(found) == {Stage.PROTECTION, Stage.PROCEEDINGS}, "no stage without an action"


@pytest.mark.parametrize("language", shipped())
def test_a_reason_does_not_say_again_that_the_action_is_not_possible(language: str) -> None:
    words = words_of(language)
    heading = words.texts.text("act.not_now").removesuffix(":").lower()
    parts = set(heading.split()) - {"now", "tani", "sada", "është", "e", "is"}
    rules = ["not-while-case_closed", *(f"{CONDITION}{name}" for name in PROTOCOL.conditions)]
    for rule in rules:
        said = reason(Refusal(Ground.CONFLICT, rule, "English"), words)
        begins = set(said.lower().split()[:3])
        assert not parts & begins, said
