"""Help for actions: what the protocol in force says, and nothing else."""

import pytest

from api.paper.subject_access.wording import wording
from api.web.action_help import ActionHelp, action_help, kinds_by_stage
from ledger.procedure.conditions import Standing
from ledger.procedure.protocol import MemberApproval, Protocol, shipped_protocol
from tests.support.serving import Server
from tests.support.web import signed_in


def told(kind: str, protocol: Protocol | None = None) -> ActionHelp:
    known = protocol or shipped_protocol()
    return action_help(kind, known, wording("en", known, "XK"))


def test_the_next_steps_have_their_deadlines_and_marks() -> None:
    protocol, words = shipped_protocol(), wording("en", shipped_protocol(), "XK")
    follows = {one.action: one for one in told("return_requested").follows}
    (step,) = [one for one in protocol.expected if one.action == "return_accepted"]
    accepted = follows[words.kind("return_accepted")]
    assert accepted.days == step.within_days == 15
    assert step.standing is Standing.ASSUMPTION
    assert accepted.standing == words.picked(Standing.ASSUMPTION)
    assert words.kind("return_decided") in told("return_accepted").opens
    assert words.kind("departed") not in follows


def test_another_protocol_has_its_own_help() -> None:
    protocol = shipped_protocol()
    expected = tuple(
        one.model_copy(update={"within_days": 3}) if one.action == "return_accepted" else one
        for one in protocol.expected
    )
    other = protocol.model_copy(update={"expected": expected})
    assert [one.days for one in told("return_accepted", other).expected] == [3]
    assert told("return_accepted").approvals == ()
    asked = MemberApproval(actions=("return_accepted",), roles=("coordinator",), within_days=5)
    (said,) = told("return_accepted", protocol.model_copy(update={"approvals": (asked,)})).approvals
    assert "second colleague of the same agency" in said
    assert "within 5 days" in said


@pytest.mark.parametrize("language", ["en", "sq", "cnr"])
def test_every_action_has_help_in_every_language(language: str) -> None:
    protocol = shipped_protocol()
    words = wording(language, protocol, "XK")
    listed = [kind for _, kinds in kinds_by_stage(protocol, words) for kind, _ in kinds]
    assert sorted(listed) == sorted(protocol.actions)
    for kind, rule in protocol.actions.items():
        found = action_help(kind, protocol, words)
        assert len(found.right.roles) == len(rule.roles)
        assert found.right.action not in found.stops


@pytest.mark.parametrize("agency", ["xk-dhtqnj", "me-ombudsman", "al-nac"])
def test_pages_and_the_form_have_the_same_help(node: Server, agency: str) -> None:
    with signed_in(node, agency) as browser:
        every = browser.get("/help/actions").text
        page = browser.get("/help/actions/return_requested").text
        assert browser.get("/help/actions/no_such_kind").status_code == 404
        form = browser.get("/cases/new") if agency == "xk-dhtqnj" else None
    assert 'href="/help/actions/return_requested"' in every
    assert "Deadline: 15 days." in page
    assert "The procedure then expects:" in page
    if form is not None:
        assert 'href="/help/actions/case_opened"' in form.text
