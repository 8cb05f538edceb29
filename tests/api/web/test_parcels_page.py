"""The page on what waits between countries, with every sort of row that it can have."""

from uuid import uuid4

import psycopg
import pytest

from api.web.routes.parcels import KNOWN_REASONS
from tests.support.serving import Server
from tests.support.web import signed_in

SENT = """
INSERT INTO vault_xk.parcels_sent (id, recipient, kind, about, state, queued_at, reason, due_at,
    settled_at)
VALUES (%s, %s, 'presentation', %s, %s, now() - interval '2 days', %s, now() + interval '1 day', %s)
"""
WAITING = """
INSERT INTO vault_xk.parcels_waiting (sender, parcels, oldest_at)
VALUES ('AL', 17, now() - interval '1 hour')
ON CONFLICT (sender) DO UPDATE SET parcels = 17, oldest_at = EXCLUDED.oldest_at
"""
REFUSED = """
INSERT INTO vault_xk.parcels_refused (sender, reason, parcels, last_at)
VALUES ('ME', 'damaged', 23, now()), ('ME', 'some-rule', 29, now())
ON CONFLICT (sender, reason) DO NOTHING
"""


@pytest.fixture(scope="module")
def filled(node: Server) -> Server:
    with psycopg.connect(node.node.conninfo) as connection:
        for reason in (*sorted(KNOWN_REASONS - {"not_believed"}), "another-rule"):
            connection.execute(SENT, (uuid4(), "ME", uuid4(), "due", reason, None))
        settled = "2026-11-01T00:00:00Z"
        connection.execute(SENT, (uuid4(), "AL", uuid4(), "not_believed", "a-rule", settled))
        connection.execute(SENT, (uuid4(), "AL", uuid4(), "not_believed", None, settled))
        connection.execute(REFUSED)
    return node


@pytest.mark.parametrize("language", ["en", "sq", "cnr"])
def test_what_waits_is_shown(filled: Server, language: str) -> None:
    with psycopg.connect(filled.node.conninfo) as connection:
        connection.execute(WAITING)  # the node looks into the mailbox and notes that nothing waits
    with signed_in(filled, "xk-nac") as browser:
        browser.cookies.set("case-ledger-language", language)
        answer = browser.get("/parcels")
    assert answer.status_code == 200, answer.text
    for shown in (">23</td>", ">29</td>", "<code>some-rule</code>", "<code>a-rule</code>",
                  "<code>another-rule</code>"):  # fmt: skip
        assert shown in answer.text
    assert answer.text.count('class="tag late"') >= 8
    if language == "en":
        for said in ("damaged on the way", "waited too long and expired", "contradicts the ledger",
                     "Sent and not confirmed", "longer than 24 hours"):  # fmt: skip
            assert said in answer.text


def test_it_is_for_the_own_countrys_coordinator(filled: Server) -> None:
    with signed_in(filled, "xk-dhtqnj") as police:
        assert police.get("/parcels").status_code == 403
    with signed_in(filled, "me-nac") as other:
        text = other.get("/parcels").text
    assert "some-rule" not in text
    assert "a-rule" not in text
    with signed_in(filled, "me-police-thb") as police:
        assert 'href="/parcels"' not in police.get("/cases").text
