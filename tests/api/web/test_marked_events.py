"""Pages, prints and the API show events that are not understood, and go on around them."""

from uuid import uuid4

import httpx

from ledger.events.event_mapper import UnsealedEvent
from ledger.signing import sd_jwt, signed_action
from projections.tables.view_queries import ViewReader
from tests.support.actions import opening
from tests.support.serving import Server
from tests.support.views import wait_for
from tests.support.web import signed_in

POLICE = "xk-dhtqnj"


def test_a_case_with_such_events_is_shown_and_goes_on(node: Server) -> None:
    case = uuid4()
    with node.client(POLICE) as client:
        client.open_case(opening(), case)
        honest = node.agencies.sign(POLICE, opening(), case)
        texts = ["no.event~"]
        for claims in ({"act": {}}, {"iat": str(honest.payload["iat"])}):
            header = {"typ": signed_action.TYPE, "kid": honest.header["kid"]}
            payload = {**honest.payload, **claims, "jti": str(uuid4())}
            key = node.agencies.keys[POLICE]
            texts.append(sd_jwt.issue(header, payload, (), key).without_disclosures())
        rows, position = node.node.ledger.rows, 0
        for version, text in enumerate(texts, 2):
            event = UnsealedEvent(case, version, "some", text.encode(), uuid4())
            (position,) = rows.insert_events([event]) or (0,)
        wait_for(ViewReader(node.node.database), position)
        # The version that an append names counts them.
        assert client.case(case).view.version == 4
    with signed_in(node, POLICE) as browser:
        for path in ("", "/trail", "/verify", "/replay", "/act", "/summary.pdf"):
            answer = browser.get(f"/cases/{case}{path}")
            assert answer.status_code == 200, (path, answer.text)
        trail = browser.get(f"/cases/{case}/trail").text
        assert "An event that this program does not understand" in trail
        assert "Written in an earlier form" in trail
        assert browser.get(f"/cases/{case}/trail.pdf").status_code == 200
    ready = httpx.get(f"{node.url}/ready")
    assert ready.status_code == 200
