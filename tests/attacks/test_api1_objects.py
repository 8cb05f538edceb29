"""API1:2023: what belongs to another country is as if there were none of it."""

import statistics
import time
from collections.abc import Callable
from uuid import uuid4

import pytest

from ledger.vocabulary.coordination import CasePrioritised
from ledger.vocabulary.picklists import Priority
from tests.attacks.target import KOSOVO, MONTENEGRO, Target
from tests.support.actions import START, opening
from tests.support.waiting import until

READS = (
    "/v1/cases/{}",
    "/v1/cases/{}?as_of_position=1",
    "/v1/cases/{}?as_of_time=2026-01-01T00:00:00Z",
    "/v1/cases/{}?valid_at=2026-06-01T00:00:00Z",
    "/v1/cases/{}/difference?from_position=0",
    "/v1/cases/{}/difference?from_position=0&to_valid_at=2026-06-01T00:00:00Z",
    "/v1/cases/{}/trail",
    "/v1/cases/{}/trail?after=0&limit=1",
)


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize("agency", [MONTENEGRO, "me-nac", "al-nac"])
def test_another_countrys_case_is_as_if_there_were_none(
    target: Target, path: str, agency: str
) -> None:
    """API1:2023 object-level authorisation; ASVS V8.2.2: a case and its trail."""
    with target.untouched():
        theirs, none = (target.ask(path.format(c), agency) for c in (target.case, uuid4()))
    target.refuses(theirs, 404, "unknown-case")
    own = {"date": "", "ratelimit": "", "x-request-id": ""}  # of this request alone
    assert (theirs.json(), dict(theirs.headers) | own) == (none.json(), dict(none.headers) | own)


def test_another_countrys_obligations(target: Target) -> None:
    """API1:2023 object-level authorisation: what is owed in a case is of that case."""
    with target.untouched():
        path = f"/v1/obligations?case_id={target.case}"
        (owed, *_) = target.ask(path, "xk-nac").json()["obligations"]
        for agency in ("me-nac", "al-nac"):
            assert target.ask(path, agency).json() == {"obligations": [], "next": None}
            theirs, none = (
                target.ask(f"/v1/obligations?after={i}", agency) for i in (owed["id"], uuid4())
            )
            target.refuses(theirs, 404, "unknown-obligation")
            assert theirs.json() == none.json()


def test_an_action_on_another_countrys_case(target: Target) -> None:
    """API1:2023 object-level authorisation: the same refusal at every version, known or not."""
    action = CasePrioritised(acted_at=START, priority=Priority.HIGH)
    with target.untouched():
        told = [
            target.append(target.sign("me-nac", action, c), case=c, agency="me-nac", version=v)
            for c in (target.case, uuid4())
            for v in (1, 7)
        ]
    for answer in told:
        target.refuses(answer, 404, "unknown-case")
    assert len({answer.text for answer in told}) == 1


def test_another_countrys_outbox_item(target: Target) -> None:
    """API1:2023 object-level authorisation: what another agency handed in."""
    with target.server.client(KOSOVO) as police:
        done = police.open_case(opening()).action_id
    with target.untouched():
        for agency in (MONTENEGRO, "me-nac", "xk-border"):
            theirs, none = (target.ask(f"/v1/outbox/{i}", agency) for i in (done, uuid4()))
            target.refuses(theirs, 404, "unknown-action")
            assert theirs.text == none.text
            assert str(done) not in target.ask("/v1/outbox", agency).text


def test_another_countrys_event_and_its_proof(target: Target) -> None:
    """API1:2023 object-level authorisation: a proof's bytes, and a page of events."""
    until(lambda: target.ask("/ready", None).json()["published"] >= target.position)
    with target.untouched():
        theirs, none = (target.ask(f"/log/proof/{p}", MONTENEGRO) for p in (target.position, 2**52))
        target.refuses(theirs, 404, "unknown-position")
        assert theirs.text == none.text
        page = target.ask("/v1/events", MONTENEGRO, params={"after": target.position - 1})
        assert str(target.case) not in page.text
        assert str(target.case) not in target.ask("/v1/cases?limit=200", MONTENEGRO).text
        told = target.ask("/log/tile/entries/000.p/1", MONTENEGRO)
        target.refuses(told, 403, "whole-ledger")


def test_time_does_not_tell_whether_a_case_exists(target: Target) -> None:
    """API1:2023; ASVS V8: a refusal takes as long for "not yours" as for "there is none"."""

    def took(path: Callable[[], str]) -> float:
        began = time.perf_counter()
        target.refuses(target.ask(path(), MONTENEGRO), 404, "unknown-case")
        return time.perf_counter() - began

    pairs = [
        (took(lambda: f"/v1/cases/{target.case}"), took(lambda: f"/v1/cases/{uuid4()}"))
        for _ in range(25)
    ]
    theirs, none = (statistics.median(column) for column in zip(*pairs, strict=True))
    assert abs(theirs - none) < max(0.02, min(theirs, none))


def test_oversight_reads_no_disclosure_and_other_countries_none_of_ours(target: Target) -> None:
    """API1:2023 and API3:2023: who sees the case sees no other country's vault."""
    with target.untouched():
        seen = target.ask(f"/v1/cases/{target.case}", "me-ombudsman").json()
    assert seen["disclosed"] == []
