"""A ledger of an earlier edition, where agencies signed today's case fields in the clear."""

from collections.abc import Iterator
from uuid import UUID, uuid4

import httpx
import pytest

from ledger.application import Ledger, environment
from ledger.signing import signed_action
from ledger.signing.sd_jwt import decoy_digest, issue
from tests.support.actions import opening
from tests.support.agencies import Agencies
from tests.support.databases import new_database
from tests.support.serving import Server, serving
from tests.support.web import signed_in

SHELTER = "xk-shelter-children"
PLACED = {"shelter_kind": "high_security", "provider": SHELTER}


@pytest.fixture(scope="module")
def earlier(server: str, migrated: str) -> Iterator[Server]:
    """A server over a ledger whose protocol names the first edition of the rules."""
    agencies = Agencies()
    agencies.protocol = agencies.protocol.model_copy(update={"edition": 1})
    with new_database(server, migrated) as conninfo:
        with Ledger(environment(conninfo)) as application:
            agencies.begin(application)
        with serving(conninfo, agencies) as served:
            yield served


def sheltered(server: Server, case: UUID) -> str:
    """Return an action on a person's shelter as an earlier program signed it: in the clear."""
    signed = server.agencies.sign("xk-csw-peja", opening(), case)
    act = {"acted_at": "2026-01-06T08:00:00Z", **PLACED, "_sd": [decoy_digest(), decoy_digest()]}
    claims = {name: value for name, value in signed.payload.items() if name != "version"}
    payload = {**claims, "jti": str(uuid4()), "kind": "sheltered", "act": act}
    return str(issue(dict(signed.header), payload, (), server.agencies.keys["xk-csw-peja"]))


@pytest.fixture(scope="module")
def case(earlier: Server) -> UUID:
    with earlier.client("xk-csw-peja") as client:
        receipt = client.open_case(opening())
        last = client.send(sheltered(earlier, receipt.case_id), receipt.case_id, 1)
        client.case(receipt.case_id, at_least=last.position)
        list(client.trail(receipt.case_id, at_least=last.position))
    return receipt.case_id


def test_the_countries_of_the_case_still_read_it(earlier: Server, case: UUID) -> None:
    with earlier.client("xk-nac") as client:
        told = list(client.trail(case))[-1]
        assert (told.fields, told.in_clear) == ({}, PLACED)
        seen = client.case(case)
        assert seen.view.shelter is not None
        assert seen.view.shelter.party == "XK"
        file = client.subject_access(case, "en").decode()
    assert SHELTER in file
    with signed_in(earlier, "xk-nac") as browser:
        page = browser.get(f"/cases/{case}").text
        assert page.count("Shelter for Child Victims") == 2, "in the state, and in the timeline"


def test_oversight_reads_the_ledger_level_alone(earlier: Server, case: UUID) -> None:
    for agency in ("al-advocate", "xk-ombudsperson"):
        with earlier.client(agency) as client:
            assert list(client.trail(case))[-1].in_clear == {}
        with signed_in(earlier, agency) as browser:
            for path in (f"/cases/{case}", f"/cases/{case}/trail"):
                page: httpx.Response = browser.get(path)
                assert page.status_code == 200
                assert "Shelter for Child Victims" not in _of_rows(page.text), path


def test_the_old_action_is_read_as_of_today(earlier: Server, case: UUID) -> None:
    action = signed_action.read(signed_action.parse(sheltered(earlier, case)))
    assert (action.version, action.fields.keys()) == (1, {"acted_at"})
    assert signed_action.signed_in_clear(action) == PLACED


def _of_rows(page: str) -> str:
    """A page without the list of agencies that its filters offer."""
    return page.partition("</form>")[2] or page
