"""The demo's links: one key each, from its own pages, and in no node that is served."""

import httpx
import pytest
from fastapi import FastAPI

from api.demo.enrolment import Enrolment, enrolled, of_each_role
from api.processes.app import create_app
from api.processes.server import serving
from api.runtime.settings import Settings
from ledger.signing import keys
from ledger.signing.key_possession import request_of
from ledger.vocabulary.registration import KeyRequest
from tests.support.agencies import Agencies
from tests.support.databases import new_database
from tests.support.web import FROM_HERE


def paths(app: FastAPI) -> set[str]:
    return {getattr(route, "path", "") for route in app.routes}


def test_no_node_that_is_served_enrols_anyone() -> None:
    assert not [path for path in paths(create_app(Settings(), "")) if "demo" in path]


def test_every_role_that_has_an_agency_has_a_link(agencies: Agencies) -> None:
    by_role = of_each_role(agencies.protocol)
    assert set(by_role) == {a.role for a in agencies.protocol.agencies} - {"node"}


def test_every_countrys_coordinator_has_a_link_and_every_link_another_agency(
    agencies: Agencies,
) -> None:
    own = enrolled(agencies.protocol)
    assert {"xk-nac", "me-nac", "al-nac", *of_each_role(agencies.protocol).values()} == set(own)
    assert len(set(own)) == len(own)
    links = Enrolment(agencies.protocol).links("http://127.0.0.1")
    assert set(links) == set(own)
    assert len(set(links.values())) == len(own)


@pytest.mark.parametrize("sent", [{}, {"Sec-Fetch-Site": "cross-site"}])
def test_a_link_is_good_for_one_key_of_its_own_page(
    server: str,
    begun: str,
    agencies: Agencies,
    sent: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    registered: list[KeyRequest] = []
    enrolment = Enrolment(agencies.protocol)
    with new_database(server, begun) as conninfo:
        settings = Settings(data_directory=tmp_path_factory.mktemp("demo"), port=0)
        with serving(settings, conninfo, enrolment.add_to) as url:
            enrolment.open(registered.append)
            agency, link = next(iter(enrolment.links(url).items()))
            protocol = agencies.protocol.id
            public = request_of(keys.generate(), protocol=protocol, agency=agency)
            other = request_of(keys.generate(), protocol=protocol, agency="xk-border")
            assert httpx.get(link).status_code == 200
            assert httpx.post(link, json=public.model_dump(), headers=sent).status_code == 403
            foreign = httpx.post(link, json=other.model_dump(), headers=FROM_HERE)
            assert foreign.status_code == 422
            assert registered == []
            first = httpx.post(link, json=public.model_dump(), headers=FROM_HERE)
            assert first.status_code == 204
            assert registered == [public]
            again = httpx.post(link, json=public.model_dump(), headers=FROM_HERE)
            assert again.status_code == 404
            assert httpx.get(link).status_code == 404
            assert len(registered) == 1
