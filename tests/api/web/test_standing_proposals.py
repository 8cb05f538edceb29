"""The notes at the top of a case on an erasure or a destruction that waits for approval."""

from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from api.paper.subject_access.wording import wording
from api.web.rendering import _templates
from api.web.texts import texts
from tests.support.actions import START

DESTRUCTION = {"since": START, "order": None, "pending": (), "stoppable_until": None}
ERASURE = {"since": START, "proposal": uuid4(), "order": None, "confirmed": (), "ground": "x"}


def standing(*, erasure: dict[str, Any] | None, destructions: list[dict[str, Any]]) -> str:
    case = SimpleNamespace(
        erasure=SimpleNamespace(**erasure) if erasure else None,
        retention=None,
        destructions=[SimpleNamespace(**one) for one in destructions],
    )
    macros: Any = _templates().get_template("erasure.html").module
    return str(macros.standing(case, wording("en"), texts("en").text))


@pytest.mark.parametrize(
    ("erasure", "destructions", "said"),
    [
        (None, [DESTRUCTION], "the destruction of an annulled entry&#39;s contents was proposed"),
        (ERASURE, [], "the erasure of all data on this person was proposed"),
    ],
)
def test_a_proposal_says_that_another_party_has_to_approve_it(
    erasure: dict[str, Any] | None, destructions: list[dict[str, Any]], said: str
) -> None:
    html = standing(erasure=erasure, destructions=destructions)
    assert said in html
    assert "until another party records" in html


def test_an_approved_destruction_is_no_longer_a_proposal() -> None:
    approved = DESTRUCTION | {"order": uuid4(), "pending": ("XK",), "stoppable_until": START}
    html = standing(erasure=None, destructions=[approved])
    assert "was proposed" not in html
    assert "will be destroyed" in html
