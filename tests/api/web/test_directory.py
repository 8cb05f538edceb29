"""The directory: found by name, country, role, city and language; cards for few alone."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from api.client.schemas import ContactCardDocument, ContactPointDocument
from api.paper.subject_access.wording import wording
from api.web.directory import Directory, DirectoryChoice, directory, plain
from ledger.procedure.protocol import NODE, shipped_protocol
from ledger.vocabulary.registration import Office
from tests.support.serving import Server
from tests.support.web import signed_in


def contact(agency: str, **more: Any) -> ContactPointDocument:
    values: dict[str, Any] = {
        "id": uuid4(),
        "party": agency[:2].upper(),
        "agency": agency,
        "function": "Duty officer",
        "deputy": False,
        "languages": ("sqi",),
        "office": Office(telephone="+383 38 000 001"),
        "since": 1,
        "named_at": datetime(2026, 1, 1, tzinfo=UTC),
        "ended_at": None,
    }
    return ContactPointDocument(**values | more)


CARD = ContactCardDocument.model_construct(full_name="zqArta Berisha")
CONTACTS = (
    contact("xk-nac", deputy=True, languages=("sqi", "eng")),
    contact("xk-nac", card=CARD),
    contact("me-nac", languages=("cnr",), function="Dežurni službenik"),
    contact("me-nac", ended_at=9, languages=("deu",)),
)


def found(**asked: str) -> Directory:
    protocol = shipped_protocol()
    choice = DirectoryChoice(**asked)
    return directory(protocol, CONTACTS, choice, wording("en", protocol, "XK"))


def test_without_a_search_everybody_who_may_be_called_is_there() -> None:
    every, protocol = found(), shipped_protocol()
    assert {one.id for one in every.agencies} == {
        one.id for one in protocol.working_agencies if one.role != NODE
    }
    assert [(one.party, one.deputy) for one in every.contacts] == [
        ("XK", False), ("XK", True), ("ME", False),
    ]  # fmt: skip
    assert set(every.spoken) == {"sqi", "eng", "cnr"}


def test_country_role_city_and_language_each_leave_their_own() -> None:
    assert {one.party for one in found(country="ME").agencies} == {"ME"}
    assert {one.role for one in found(role="shelter").agencies} == {"shelter"}
    city = found().cities[0]
    assert {one.city for one in found(city=city).agencies} == {city}
    spoken = found(language="eng")
    assert [one.id for one in spoken.agencies] == ["xk-nac"]
    assert [one.deputy for one in spoken.contacts] == [True]
    assert found(language="deu").agencies == []  # only one that ended speaks it


def test_words_are_found_without_marks_and_in_any_order() -> None:
    assert plain("Dežurni ĐORĐE Prishtinë") == "dezurni dorde prishtine"
    assert [one.id for one in found(text="sluzbenik dezurni").agencies] == ["me-nac"]
    assert found(text="no such agency").agencies == []


def test_a_persons_name_is_not_searched() -> None:
    assert found(text="zqArta").agencies == []
    assert found(text="zqArta").contacts == []


@pytest.mark.parametrize("agency", ["xk-dhtqnj", "al-nac", "me-ombudsman"])
def test_the_page_is_for_every_agency(node: Server, agency: str) -> None:
    with signed_in(node, agency) as browser:
        page = browser.get("/directory?country=ME&role=shelter")
        strange = browser.get("/directory?text=%3Cscript%3E&country=zz")
        assert 'href="/directory"' in browser.get("/cases").text
    assert page.status_code == 200
    assert "xk-" not in page.text.split('<section aria-labelledby="agencies">')[1]
    assert ("24-hour telephones of persons are for coordinators" in page.text) is (
        agency != "al-nac"
    )
    assert "No agency is like this." in strange.text
    assert "<script>" not in strange.text.split("<main")[1]
