"""The page on what a vault lacks, with every sort of row that it can have."""

from itertools import product
from uuid import uuid4

import psycopg
import pytest

from ledger.vault.required_disclosures import FieldPart, MissingReason
from tests.support.serving import Server
from tests.support.waiting import until
from tests.support.web import signed_in

MISSING = """
INSERT INTO vault_xk.missing
    (action_id, part, case_id, kind, origin, digests, why, holders, position, since, lost_at)
VALUES (%s, %s, %s, 'case_opened', 'ME', %s, %s, '{ME,AL}', 1, now() - interval '1 day', %s)
"""
CONTENT = """
WITH made AS (INSERT INTO vault_xk.documents (document_id, case_id, agency, size, content_key,
    metadata, action_id, field, level, received_from) VALUES (gen_random_uuid(), gen_random_uuid(),
    'me-nac', 1000, '', '', %s, 'case_document', 'case', 'ME') RETURNING document_id)
INSERT INTO vault_xk.contents_expected (document_id, digest, since, asked, refused, asked_at)
SELECT document_id, 'A', now() - %s::interval, 'ME', %s, now() FROM made
"""
ASKED = "INSERT INTO vault_xk.asked (action_id, country, answered_at) VALUES (%s, %s, %s)"


def put(node: Server) -> list[str]:
    """Put in a row of every sort. Returns the actions."""
    actions = []
    with psycopg.connect(node.node.conninfo) as connection:
        for part, why, digests in product(FieldPart, MissingReason, (None, ["a", "b"])):
            lost = "2026-11-01T00:00:00Z" if digests is None else None
            actions.append(str(action := uuid4()))
            connection.execute(MISSING, (action, part, uuid4(), digests, why, lost))
            connection.execute(ASKED, (action, "ME", lost))
        for age, refused in (("0", None), ("1 day", None), ("1 day", "withdrawn")):
            actions.append(str(action := uuid4()))
            connection.execute(CONTENT, (action, age, refused))
    return actions


@pytest.mark.parametrize("language", ["en", "sq", "cnr"])
def test_what_is_missing_is_shown(node: Server, language: str) -> None:
    def is_shown() -> bool:
        actions = put(node)  # the comparison after the start removes what the ledger does not name
        answer = browser.get("/missing")
        assert answer.status_code == 200, answer.text
        return all(action[:8] in answer.text for action in actions)

    with signed_in(node, "xk-nac") as browser:
        browser.cookies.set("case-ledger-language", language)
        until(is_shown)
    with signed_in(node, "xk-dhtqnj") as police:
        assert police.get("/missing").status_code == 403
