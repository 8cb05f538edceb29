"""Every operation of the OpenAPI document under generated requests, valid and not.

Requests are authenticated, and half of them name a case and carry an action that exist
in earnest, so that they get past the first checks. ``CASE_LEDGER_TEST_REQUESTS`` sets
how many are made of each operation and each sort.
"""

import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.client.assertion import make_assertion
from api.processes.app import create_app
from api.runtime.settings import Settings
from ledger.application import Ledger, environment
from ledger.signing import keys
from ledger.vocabulary.registration import KeyRegistered, KeyRevoked
from tests.support.actions import START, opening
from tests.support.agencies import PAST, Agencies
from tests.support.databases import new_database
from tests.support.serving import Server, serving
from tests.support.strategies import proposals

REQUESTS = int(os.environ.get("CASE_LEDGER_TEST_REQUESTS", "2"))
EXPECTED = {
    "POST /v1/cases/{case_id}/actions": {201, 422},
    "GET /v1/cases": {200, 422},
    "GET /v1/cases/{case_id}": {200, 404},
    "GET /v1/events": {200, 422},
}
"""Statuses that show that requests of these operations got past the first checks."""
AT_LEAST_OF_EXPECTED = 40
"""Requests of each such operation and sort: with fewer, a status may be missing by chance."""
LONGEST_ADDRESS = 15_000
"""A head of a request has 16 KiB, of which some are its other lines'."""
schemathesis.serializer.alias("application/sd-jwt", "text/plain")
schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
SCHEMA = schemathesis.openapi.from_dict(create_app(Settings(), "").openapi())
OPENING = opening(("XK", "ME"))
OPERATIONS = {
    f"{o.method.upper()} {o.path}": o for o in (r.ok() for r in SCHEMA.get_all_operations())
}


class Fuzzed:
    """A server with some cases, and what it takes to make requests that mean something."""

    def __init__(self, server: Server, ledger: Ledger) -> None:
        self.server = server
        self.ledger = ledger
        self.cases = [uuid4() for _ in range(5)]
        self.statuses: dict[str, set[int]] = {name: set() for name in OPERATIONS}
        self.http = httpx.Client(base_url=server.url, timeout=20)

    @property
    def agencies(self) -> Agencies:
        return self.server.agencies

    def headers(self, agency: str) -> dict[str, str]:
        assertion = make_assertion(agency, self.agencies.keys[agency], "case-ledger")
        return {"Authorization": f"Bearer {assertion}"}

    def meant(self, draw: st.DataObject, operation: str, agency: str, case: Any) -> str:
        """Make a generated request one that means something. Returns who sends it."""
        if "case_id" in case.path_parameters:
            if operation.endswith("/actions"):
                return self._act(draw, case)
            case.path_parameters["case_id"] = str(draw.draw(st.sampled_from(self.cases)))
            if draw.draw(st.booleans()):
                case.query = {}  # most moments and positions are of no event
        elif operation == "POST /v1/protocol/actions":
            grant = self.agencies.grant(agency, keys.generate())
            action = draw.draw(
                st.sampled_from(
                    (
                        KeyRegistered(acted_at=PAST, grant=grant),
                        KeyRevoked(acted_at=PAST, key_id=keys.key_id(keys.generate())),
                        OPENING,
                    )
                )
            )
            case.body = str(self.agencies.sign(agency, action, None))
            case.media_type = "application/sd-jwt"
        return agency

    def _act(self, draw: st.DataObject, case: Any) -> str:
        """Make the request a proposal on a new case, some steps in. Returns who proposes it.

        The case is new each time, so that what is drawn depends on what was drawn alone.
        """
        case_id = uuid4()
        for step in range(draw.draw(st.integers(0, 3))):
            sender, signed, condition = self._proposal(draw, case_id, step)
            sent = {"Content-Type": "application/sd-jwt", **condition, **self.headers(sender)}
            self.http.post(f"/v1/cases/{case_id}/actions", content=signed, headers=sent)
        sender, signed, condition = self._proposal(draw, case_id, 4)
        if draw.draw(st.integers(0, 2)) == 0:
            sender, signed, condition = self._refused(case_id)
        case.path_parameters["case_id"] = str(case_id)
        case.body, case.media_type, case.headers = signed, "application/sd-jwt", condition
        return sender

    def _refused(self, case_id: UUID) -> tuple[str, str, dict[str, str]]:
        """Return a proposal that the rules refuse in any state: no court opens a case."""
        known = self.ledger.case(case_id)
        condition = {"If-Match": f'"{known.state.version}"'} if known else {"If-None-Match": "*"}
        court = "me-court-podgorica"
        return court, str(self.agencies.sign(court, OPENING, case_id)), condition

    def _proposal(
        self, draw: st.DataObject, case_id: UUID, step: int
    ) -> tuple[str, str, dict[str, str]]:
        known = self.ledger.case(case_id)
        state = known.state if known else None
        acted_at = START + timedelta(hours=step)
        sender, action = draw.draw(proposals(state, self.agencies.protocol, (), acted_at))
        condition = {"If-Match": f'"{state.version}"'} if state else {"If-None-Match": "*"}
        return sender, str(self.agencies.sign(sender, action, case_id)), condition


@pytest.fixture(scope="module")
def fuzzed(server: str, begun: str, agencies: Agencies) -> Iterator[Fuzzed]:
    """A server whose database lives as long as this module's tests."""
    with (
        new_database(server, begun) as conninfo,
        Ledger(environment(conninfo)) as ledger,
        serving(conninfo, agencies) as running,
    ):
        world = Fuzzed(running, ledger)
        with running.client("xk-dhtqnj") as police:
            for case_id in world.cases[1:]:
                police.open_case(OPENING, case_id)
        yield world


def sorts() -> Iterator[tuple[str, GenerationMode]]:
    """Each operation with valid requests, and with invalid ones where it has any parameter."""
    for name, operation in OPERATIONS.items():
        yield name, GenerationMode.POSITIVE
        if any(True for _ in operation.iter_parameters()) or operation.body:
            yield name, GenerationMode.NEGATIVE


@pytest.mark.parametrize(("name", "mode"), list(sorts()))
def test_no_request_breaks_the_server(fuzzed: Fuzzed, name: str, mode: GenerationMode) -> None:
    operation = OPERATIONS[name]
    requests = max(REQUESTS, AT_LEAST_OF_EXPECTED if name in EXPECTED else 1)
    agency_ids = [agency.id for agency in fuzzed.agencies.protocol.agencies]

    @settings(
        max_examples=requests,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def ask(data: st.DataObject) -> None:
        case = data.draw(operation.as_strategy(generation_mode=mode))
        agency = data.draw(st.sampled_from(agency_ids))
        if data.draw(st.booleans()):
            agency = fuzzed.meant(data, name, agency, case)
        if "text/event-stream" in str(case.headers.get("Accept")):
            case.headers.pop("Accept")  # a follower's response has no end; tested elsewhere
        wait = case.query.get("wait")
        if isinstance(wait, int | float) and 0 < wait <= 5:
            case.query["wait"] = 0  # nothing grows meanwhile
        response = case.call(base_url=fuzzed.server.url, headers=fuzzed.headers(agency))
        if response.status_code == 400 and len(str(response.request.url)) > LONGEST_ADDRESS:
            return  # the head is too long for the server itself
        fuzzed.statuses[name].add(response.status_code)
        case.validate_response(response, checks=CHECKS)

    ask()
    assert fuzzed.http.get("/ready").is_success


def test_requests_got_past_the_first_checks(fuzzed: Fuzzed) -> None:
    """Otherwise the tests above would show little."""
    for name, expected in EXPECTED.items():
        assert expected <= fuzzed.statuses[name], name
    assert fuzzed.statuses["POST /v1/cases/{case_id}/actions"] & {403, 409}
    assert all(fuzzed.statuses.values())
