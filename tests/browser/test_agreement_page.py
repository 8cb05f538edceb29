"""The agreement page: what everyone reads, and what coordinators propose, accept and decline."""

import json
import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from playwright.sync_api import Page, expect

from ledger.procedure.amendments import text_digest, text_of
from ledger.procedure.protocol import Protocol
from tests.browser.conftest import SECONDS, Person
from tests.support.amending import amended, declining, proposal
from tests.support.serving import Server

People = Callable[[str], Person]
STEP = "reintegration_monitored"
DIFFERENCE = "is due within 60 days instead of 90"


def newest(node: Server) -> dict[str, Any]:
    with node.client("xk-nac") as client:
        return dict(client.protocol_versions()[-1].text)


def shortened(text: dict[str, Any], days: int = 60) -> dict[str, Any]:
    expected = [
        one | {"within_days": days} if one["action"] == STEP else one for one in text["expected"]
    ]
    return text | {"version": text["version"] + 1, "expected": expected}


def write(desk: Page, text: dict[str, Any]) -> None:
    desk.fill("#text", json.dumps(text, ensure_ascii=False))


def proposed(node: Server, text: Protocol) -> UUID:
    """Propose a text for Kosovo, by its system."""
    act = proposal(text).model_copy(update={"reason": "Reports."})
    with node.client("xk-nac") as client:
        return client.append_to_registry(act).action_id


def look(desk: Page, start: str) -> None:
    desk.get_by_role("button", name=re.compile(f"^{start}")).click()


def sign(desk: Page) -> None:
    desk.get_by_role("button", name="Sign and record").click()
    expect(desk.locator("#said")).to_contain_text("Signed and recorded", timeout=SECONDS)


def test_a_text_is_proposed_accepted_by_every_country_and_in_force(
    person: People, node: Server
) -> None:
    base = newest(node)
    proposer = person("xk-nac")
    desk = proposer.goto("/agreement")
    for one in desk.locator("section.rules summary").all():
        one.click()
    proposer.sees_no_barrier()
    rules = desk.locator("section.rules")
    expect(rules).to_contain_text("90 days")
    expect(rules).to_contain_text("Whatever is not named here is denied")

    # A text that cannot follow: told, and nothing typed is lost, even when the page is left.
    desk.get_by_role("button", name="Begin with the newest text").click()
    expect(desk.locator("#text")).to_have_value(re.compile('"version": 2'))
    write(desk, shortened(base) | {"version": 7})
    desk.fill("#reason", "Reports come too late.")
    look(desk, "Check it")
    expect(desk.locator("#trouble")).to_contain_text("In “version”: The text amends version 1")
    expect(desk.locator("#reason")).to_have_value("Reports come too late.")
    expect(desk.locator("#review")).to_be_hidden()
    desk = proposer.goto("/agreement")
    expect(desk.locator("#draft")).to_be_visible()
    expect(desk.locator("#text")).to_have_value(re.compile('"version": 7'))
    expect(desk.locator("#reason")).to_have_value("Reports come too late.")

    desk.set_input_files(
        "#file",
        {
            "name": "next.json",
            "mimeType": "application/json",
            "buffer": json.dumps(shortened(base)).encode(),
        },
    )
    look(desk, "Check it")
    expect(desk.locator("#told-changes")).to_contain_text(DIFFERENCE)
    digest = text_digest(shortened(base))
    expect(desk.locator("#told")).to_contain_text(digest)
    proposer.sees_no_barrier()
    proposer.picture("agreement-review")
    sign(desk)

    for agency, elsewhere in (("me-nac", digest.upper()), ("al-nac", "")):
        coordinator = person(agency)
        desk = coordinator.goto("/agreement")
        article = desk.locator("article.proposal")
        expect(article).to_contain_text(DIFFERENCE)
        expect(article.locator("dt:text-is('Kosovo') + dd")).to_have_text("accepted")
        expect(article.locator("dt:text-is('Albania') + dd")).to_have_text("not yet answered")
        if elsewhere:
            coordinator.sees_no_barrier()
            coordinator.picture("agreement")
            desk.locator("input[name=digest]").fill("0" * 64)
            look(desk, "Accept")
            expect(desk.locator("#trouble")).to_contain_text("Do not accept it")
            expect(desk.locator("#review")).to_be_hidden()
            desk.locator("input[name=digest]").fill(elsewhere)
        look(desk, "Accept")
        expect(desk.locator("#told")).to_contain_text(digest)
        sign(desk)
    desk = person("al-nac").goto("/agreement")
    expect(desk.locator("main")).to_contain_text("Version 2 is in force today")
    newest_row = desk.locator("ol.steps > li").first
    expect(newest_row).to_contain_text("Albania, Montenegro, Kosovo")
    newest_row.locator("summary").click()
    expect(newest_row).to_contain_text(DIFFERENCE)


def test_a_proposal_is_declined_and_another_withdrawn_meanwhile(
    person: People, node: Server
) -> None:
    text = Protocol.model_validate(shortened(newest(node), 45))
    proposed(node, text)
    desk = person("al-nac").goto("/agreement")
    desk.locator("article.proposal textarea").fill("Too short.")
    look(desk, "Decline")
    expect(desk.locator("#told")).to_contain_text("Too short.")
    sign(desk)
    desk = person("me-nac").goto("/agreement")
    expect(desk.locator("article.proposal")).to_have_count(0)
    closed = desk.locator("#history ~ ul.steps")
    expect(closed).to_contain_text("declined by Albania")
    expect(closed).to_contain_text("Too short.")

    other = amended(text, version=text.version, title="Another title")
    found = proposed(node, other)
    reader = person("me-nac")
    desk = reader.goto("/agreement")
    digest = text_digest(text_of(other))
    desk.locator("input[name=digest]").fill(digest)
    look(desk, "Accept")
    expect(desk.locator("#review")).to_be_visible()
    with node.client("xk-nac") as client:
        client.append_to_registry(declining(found, other))
    reader.expected = re.compile("404")
    desk.get_by_role("button", name="Sign and record").click()
    expect(desk.locator("#trouble")).to_contain_text("no longer open", timeout=SECONDS)
    expect(desk.locator("input[name=digest]")).to_have_value(digest)


def test_a_lost_answer_is_asked_for_again_with_the_same_signature(
    person: People, node: Server
) -> None:
    proposer = person("al-nac")
    desk = proposer.goto("/agreement")
    write(desk, shortened(newest(node), 75))
    desk.fill("#reason", "A try.")
    look(desk, "Check it")
    expect(desk.locator("#review")).to_be_visible()
    proposer.expected = re.compile("ERR_FAILED")

    def lost(route: Any) -> None:
        route.fetch()  # the node records it; its answer is lost
        route.abort()

    desk.route("**/v1/protocol/actions", lost)
    desk.get_by_role("button", name="Sign and record").click()
    expect(desk.locator("#trouble")).to_contain_text("did not answer", timeout=SECONDS)
    desk.unroute("**/v1/protocol/actions")
    desk = proposer.goto("/cases")
    waiting = desk.locator("#unsent li")
    expect(waiting).to_contain_text("Amendment of the protocol proposed")
    waiting.get_by_role("button", name="Send again").click()
    expect(desk.locator("#unsent")).to_be_hidden(timeout=SECONDS)
    with node.client("al-nac") as client:
        found = [one for one in client.amendments() if one.reason == "A try."]
        assert [one.state.value for one in found] == ["open"]
        text = Protocol.model_validate(found[0].text)
        client.append_to_registry(declining(found[0].proposal, text))


@pytest.mark.parametrize("agency", ["me-police-thb", "xk-ombudsperson"])
def test_others_read_it_and_have_no_form(person: People, agency: str) -> None:
    desk = person(agency).goto("/agreement")
    expect(desk.locator("section.rules")).to_contain_text("What holds now")
    expect(desk.locator("main form, main button")).to_have_count(0)
    refused = desk.request.post(
        person(agency).server.url + "/agreement/check",
        data={"text": "{}"},
        headers={"Sec-Fetch-Site": "same-origin"},
    )
    assert refused.status == 403
