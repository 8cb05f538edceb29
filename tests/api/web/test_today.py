"""An agency's own desk: the start page, arrivals, notes, reminders, flags and the calendar."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from api.client.assertion import make_assertion
from api.paper.calendar_file import CalendarEntry, calendar_file
from ledger.procedure.case_access import agencies_with_access
from ledger.procedure.protocol import COORDINATOR, NODE, OVERSIGHT
from ledger.system import clock
from ledger.vocabulary.case_reference import case_reference
from ledger.vocabulary.communication_forms import FormSent
from ledger.vocabulary.coordination import InformationProvided, InformationRequested
from ledger.vocabulary.picklists import InformationTopic, Purpose
from projections.folds.arrivals import ArrivalSort
from projections.tables.duty_lists import Duties
from tests.api.web.test_communication_forms import sender
from tests.support.actions import opening
from tests.support.leaks import tables_with
from tests.support.serving import Server
from tests.support.story import Told
from tests.support.web import FROM_HERE, signed_in

POLICE, NAC, THERE, ELSEWHERE = "xk-dhtqnj", "xk-nac", "me-nac", "al-nac"
COLLEAGUE = "me-police-thb"
MARK = "zqNobodyElseHasThis"


def ask(
    node: Server, agency: str, path: str, *, method: str = "GET", **body: object
) -> httpx.Response:
    """Ask as an agency's system does."""
    token = make_assertion(agency, node.agencies.keys[agency], "case-ledger")
    headers = {"Authorization": f"Bearer {token}"}
    content = {"json": body} if body else {}
    return httpx.request(method, node.url + path, headers=headers, timeout=20, **content)


def arrivals(node: Server, agency: str, case_id: UUID | None = None) -> list[Mapping[str, object]]:
    answer = ask(node, agency, "/v1/arrivals?limit=200")
    assert answer.status_code == 200, answer.text
    found: list[Mapping[str, object]] = answer.json()["arrivals"]
    return [one for one in found if case_id is None or one["case_id"] == str(case_id)]


@pytest.fixture(scope="module")
def case(node: Server) -> UUID:
    """A case of Kosovo and Montenegro. A request went there, and its answer came back."""
    now = datetime.now(UTC) - timedelta(hours=2)
    with node.client(POLICE) as police, node.client(NAC) as own, node.client(THERE) as there:
        opened = police.open_case(opening(("XK", "ME"), acted_at=now))
        request = InformationRequested(
            acted_at=now + timedelta(minutes=1), addressee=THERE,
            topics=(InformationTopic.FAMILY,), purpose=Purpose.IDENTIFICATION,
            answer_by=now.date() + timedelta(days=5),
        )  # fmt: skip
        asked = own.append(request, opened.case_id, 1)
        answer = InformationProvided(
            acted_at=now + timedelta(minutes=2), request=asked.action_id, complete=False, answer="a"
        )
        last = there.append(answer, opened.case_id, 2)
        own.case(opened.case_id, at_least=last.position)
        list(own.trail(opened.case_id, at_least=last.position))
        list(own.obligations(case_id=opened.case_id, at_least=last.position))
    return opened.case_id


def test_what_came_is_unread_until_its_page_was_opened(node: Server, case: UUID) -> None:
    """The answer comes to the agency that asked; the request to the other; the case to both."""
    sorts = [one["sort"] for one in arrivals(node, NAC, case)]
    assert sorts == ["answer", "case"]
    assert [one["sort"] for one in arrivals(node, POLICE, case)] == []
    assert [one["sort"] for one in arrivals(node, THERE, case)] == ["request", "case"]
    with signed_in(node, NAC) as browser:
        assert "Information provided" in browser.get("/today").text
        assert browser.get(f"/cases/{case}").status_code == 200
        assert arrivals(node, NAC, case) == []
    assert len(arrivals(node, THERE, case)) == 2


def test_a_form_is_unread_until_it_was_opened(node: Server, story: Told) -> None:
    """The page of the case does not read it: its content is on a page of its own."""
    case_id = story.cases["A"]
    agency, one = sender(node, case_id, 1)
    addressee = one.addressees[0]
    version = node.node.ledger.case(case_id).version  # type: ignore[union-attr]
    form = FormSent(acted_at=clock.now(), form_number=1, addressee=addressee, actions=one.proposed)
    with node.client(agency.id) as client:
        receipt = client.append(form, case_id, version)
        list(client.trail(case_id, at_least=receipt.position))

    def unread() -> bool:
        found = arrivals(node, addressee, case_id)
        return any(one["action_id"] == str(receipt.action_id) for one in found)

    path = f"/cases/{case_id}/forms/sent/{receipt.action_id}"
    with signed_in(node, addressee) as browser:
        assert unread()
        assert path in browser.get("/today?show=arrived").text
        browser.get(f"/cases/{case_id}")
        assert unread()
        assert browser.get(path).status_code == 200
        assert not unread()
        assert path not in browser.get("/today?show=arrived").text


def test_marks_are_of_the_agency_alone(node: Server, story: Told) -> None:
    """One by one, and all up to a position; repeating is harmless."""
    found = arrivals(node, COLLEAGUE)
    assert found
    first = found[0]
    path = f"/v1/cases/{first['case_id']}/arrivals/{first['action_id']}/read"
    others = len(arrivals(node, THERE))
    for _ in range(2):
        assert ask(node, COLLEAGUE, path, method="PUT").status_code == 204
    assert first not in arrivals(node, COLLEAGUE)
    answer = ask(node, COLLEAGUE, path.replace(str(first["action_id"]), str(uuid4())), method="PUT")
    assert (answer.status_code, answer.json()["rule"]) == (404, "unknown-arrival")
    answer = ask(node, COLLEAGUE, "/v1/arrivals/read", method="PUT", upto=10**9)
    assert (answer.status_code, answer.json()["rule"]) == (422, "unknown-position")
    answer = ask(node, COLLEAGUE, "/v1/arrivals/read", method="PUT", upto=story.position)
    assert answer.status_code == 204
    assert arrivals(node, COLLEAGUE) == []
    assert len(arrivals(node, THERE)) == others
    with psycopg.connect(node.node.conninfo) as database:  # as if that tail was moved out
        database.execute(
            "UPDATE desk.read_upto SET action_id = gen_random_uuid() WHERE agency = %s",
            (COLLEAGUE,),
        )
    assert arrivals(node, COLLEAGUE)
    answer = ask(node, COLLEAGUE, "/v1/arrivals/read", method="PUT", upto=story.position)
    assert (answer.status_code, arrivals(node, COLLEAGUE)) == (204, [])


def working(node: Server) -> Iterator[str]:
    """Yield an agency of Kosovo of each role."""
    yield from {
        one.role: one.id
        for one in node.agencies.protocol.agencies
        if one.party == "XK" and one.role != NODE and not one.international
    }.values()


def test_each_role_keeps_notes_that_no_other_agency_reads(node: Server, case: UUID) -> None:
    """The access matrix of notes: every agency its own, and nobody another's."""
    path, agencies = f"/v1/cases/{case}/notes", list(working(node))
    assert len(agencies) > 8
    for agency in agencies:
        kept = ask(node, agency, path, method="POST", text=f"of {agency}")
        assert kept.status_code == 201, (agency, kept.text)
    for agency in (*agencies, THERE):
        found = [one["text"] for one in ask(node, agency, path).json()["notes"]]
        assert found == ([f"of {agency}"] if agency in agencies else []), agency


def test_who_has_no_part_in_the_case_keeps_nothing_on_it(node: Server, case: UUID) -> None:
    """Countries that are no party, oversight of such a country, and nodes."""
    with node.client("al-police-thb") as albanian:
        domestic = albanian.open_case(opening(("AL",), acted_at=datetime.now(UTC)))
        albanian.case(domestic.case_id, at_least=domestic.position)
    oversight = next(
        one.id
        for one in node.agencies.protocol.agencies
        if one.party == "XK" and one.role == OVERSIGHT
    )
    refused = {
        (ELSEWHERE, case): (404, "unknown-case"),
        (POLICE, domestic.case_id): (404, "unknown-case"),
        (oversight, domestic.case_id): (403, "another-countrys-case"),
        ("xk-node", case): (403, "nodes-copy-only"),
    }
    for (agency, of), expected in refused.items():
        for method, path, body in (
            ("GET", "notes", {}),
            ("POST", "notes", {"text": "a"}),
            ("PUT", "flag", {}),
        ):
            answer = ask(node, agency, f"/v1/cases/{of}/{path}", method=method, **body)
            told = answer.status_code, answer.json()["rule"]
            assert told == expected, (agency, method, path)
    for path in ("duties", "arrivals", "reminders", "flags", "calendar.ics"):
        answer = ask(node, "xk-node", f"/v1/{path}")
        assert (answer.status_code, answer.json()["rule"]) == (403, "nodes-copy-only"), path
    answer = ask(node, POLICE, "/v1/duties?owed=country")
    assert (answer.status_code, answer.json()["rule"]) == (403, "coordinators-only")


def test_a_text_that_is_empty_or_too_long_is_refused(node: Server, case: UUID) -> None:
    """Nothing is cut."""
    path = f"/v1/cases/{case}/notes"
    for text in ("", "  ", "a" * 2_001, "a\x00b"):
        assert ask(node, POLICE, path, method="POST", text=text).status_code == 422, text[:9]
    with signed_in(node, POLICE) as browser:
        answer = browser.post(
            f"/cases/{case}/notes",
            data={"text": MARK, "day": "31.02.2027"},
            headers=FROM_HERE,
        )
        assert answer.status_code == 422
        assert MARK in answer.text
        assert 'value="31.02.2027"' in answer.text
        assert "24.12.2026" in answer.text


def test_a_reminder_is_on_the_pages_and_in_the_calendar_and_nowhere_else(
    node: Server, case: UUID
) -> None:
    """Its text is in no table in clear; neither ledger nor other countries have anything of it."""
    day = date.today() + timedelta(days=3)
    head = node.node.ledger.head()
    with signed_in(node, POLICE) as browser:
        answer = browser.post(
            f"/cases/{case}/notes",
            data={"text": MARK, "day": f"{day:%d.%m.%Y}"},
            headers=FROM_HERE,
        )
        assert answer.status_code == 303
        assert MARK in browser.get("/today").text
        assert MARK in browser.get(f"/cases/{case}/notes").text
        assert MARK in browser.get(f"/today/calendar?month={day:%Y-%m}").text
        saved = browser.get("/today/calendar.ics")
    events = entries(saved.content)
    mine = [one for one in events if one["SUMMARY"] == f"{case_reference(case)}: Reminder"]
    assert [one["DTSTART;VALUE=DATE"] for one in mine] == [f"{day:%Y%m%d}"]
    assert MARK not in saved.text
    assert node.node.ledger.head() == head
    assert tables_with(node.node.conninfo, [MARK]) == {}
    with psycopg.connect(node.node.conninfo) as database:
        for other in ("me", "al"):
            found = database.execute(
                f"SELECT count(*) FROM vault_{other}.working_notes WHERE agency = %s", (POLICE,)
            ).fetchone()
            assert found == (0,)
    for agency in (NAC, THERE):
        with signed_in(node, agency) as browser:
            for path in ("/today", "/today/calendar", f"/cases/{case}/notes", f"/cases/{case}"):
                assert MARK not in browser.get(path).text, (agency, path)
    reminder = ask(node, POLICE, "/v1/reminders").json()["notes"][0]
    assert (reminder["text"], reminder["day"]) == (MARK, day.isoformat())
    assert ask(node, NAC, f"/v1/notes/{reminder['id']}/done", method="POST").status_code == 404
    assert ask(node, NAC, f"/v1/notes/{reminder['id']}", method="DELETE").status_code == 404
    assert ask(node, POLICE, f"/v1/notes/{reminder['id']}/done", method="POST").status_code == 204
    assert ask(node, POLICE, "/v1/reminders").json()["notes"] == []
    with signed_in(node, POLICE) as browser:
        assert MARK not in browser.get("/today").text
        assert MARK not in browser.get("/today/calendar.ics").text
    assert ask(node, POLICE, f"/v1/notes/{reminder['id']}", method="DELETE").status_code == 204


def entries(content: bytes) -> list[dict[str, str]]:
    """Read a calendar: lines of at most 75 bytes, which end with CRLF, are unfolded (RFC 5545)."""
    lines = content.decode().split("\r\n")
    assert (lines[0], lines[-2], lines[-1]) == ("BEGIN:VCALENDAR", "END:VCALENDAR", "")
    assert all(len(line.encode()) <= 75 and "\n" not in line for line in lines)
    found: list[dict[str, str]] = []
    for line in content.decode().replace("\r\n ", "").split("\r\n"):
        name, _, value = line.partition(":")
        if line == "BEGIN:VEVENT":
            found.append({})
        elif found and line != "END:VCALENDAR":
            found[-1][name] = value
    return found


def test_a_calendar_is_folded_and_escaped() -> None:
    """Separators in texts are escaped, and no character is cut in two."""
    text = "Vlerësimi; i rrezikut, " + "ë" * 90 + "\\\nfund"
    entry = CalendarEntry(uuid4(), date(2026, 12, 31), text)
    (read,) = entries(calendar_file([entry], "Regjistri", datetime(2026, 1, 1, tzinfo=UTC)))
    escaped = text.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,")
    assert read["SUMMARY"] == escaped.replace("\n", "\\n")
    assert read["DTSTART;VALUE=DATE"] == "20261231"
    assert read["DTEND;VALUE=DATE"] == "20270101"
    assert read["UID"] == f"{entry.id}@case-ledger"


def test_flags_are_set_and_taken_off(node: Server, case: UUID) -> None:
    """By pages and by the interface; another agency of the country does not see the flag."""
    with signed_in(node, POLICE) as browser:
        path = f"/cases/{case}/flag"
        browser.post(path, data={"do": "flag"}, headers=FROM_HERE)
        assert ask(node, POLICE, "/v1/flags").json()["cases"] == [str(case)]
        assert "Flagged cases" in browser.get("/today").text
        assert ask(node, NAC, "/v1/flags").json()["cases"] == []
        browser.post(path, data={"do": "unflag", "return_to": "//evil.example"}, headers=FROM_HERE)
    assert ask(node, POLICE, "/v1/flags").json()["cases"] == []
    for _ in range(2):
        assert ask(node, POLICE, f"/v1{path}", method="PUT").status_code == 204
    assert ask(node, POLICE, f"/v1{path}", method="DELETE").status_code == 204
    assert ask(node, POLICE, "/v1/flags").json()["cases"] == []


def test_forms_come_from_the_nodes_own_pages_and_lead_back_to_them(
    node: Server, case: UUID
) -> None:
    """Another site's page keeps nothing, and no redirect leads to another site."""
    with signed_in(node, POLICE) as browser:
        path = f"/cases/{case}/notes"
        elsewhere = {"Sec-Fetch-Site": "cross-site"}
        assert browser.post(path, data={"text": "a"}, headers=elsewhere).status_code == 403
        answer = browser.post(
            f"/cases/{case}/flag",
            data={"do": "unflag", "return_to": "https://evil.example/"},
            headers=FROM_HERE,
        )
        assert (answer.status_code, answer.headers["location"]) == (303, "/today")


def test_each_side_sees_what_it_owes_and_what_is_owed_to_it(node: Server, case: UUID) -> None:
    """The request waits for the other country's coordinator; both start pages say so."""
    of_case = {"owed": "mine", "limit": 200}
    mine = ask(node, THERE, f"/v1/duties?{httpx.QueryParams(of_case)}").json()
    assert "information_provided" in {
        one["action"] for one in mine["obligations"] if one["case_id"] == str(case)
    }
    assert mine["number"] == len(mine["obligations"])
    others = ask(node, NAC, "/v1/duties?owed=others&limit=200").json()
    assert "information_provided" in {
        one["action"] for one in others["obligations"] if one["case_id"] == str(case)
    }
    own = ask(node, NAC, "/v1/duties?owed=mine&limit=200").json()["obligations"]
    country = ask(node, NAC, "/v1/duties?owed=country&limit=200").json()["obligations"]
    assert not {one["id"] for one in own} & {one["id"] for one in country}
    assert {one["debtor"] for one in country} == {"XK"}
    by_role = {"police", "prosecutor"}
    assert all(
        one["debtor_agency"] == POLICE or by_role & {*one["roles"]}
        for one in ask(node, POLICE, "/v1/duties?limit=200").json()["obligations"]
    )


@pytest.mark.usefixtures("story")
def test_the_root_leads_to_the_start_page_of_every_role(node: Server) -> None:
    """It has the sections of the role, in each language, and leads to lists of their own."""
    for agency in working(node):
        with signed_in(node, agency) as browser:
            assert browser.get("/").headers["location"] == "/today"
            page = browser.get("/today")
            assert page.status_code == 200, (agency, page.text)
            sections = set(re.findall(r'aria-labelledby="today-(\w+)"', page.text))
            assert {"mine", "others", "arrived", "reminders", "drafts", "cases"} <= sections
            role = node.agencies.protocol.agencies_by_id[agency].role
            assert ("country" in sections) == (role == COORDINATOR)
            for shown in ("mine", "others", "arrived"):
                assert browser.get(f"/today?show={shown}").status_code == 200
            assert browser.get("/today?show=country").status_code == (
                200 if role == COORDINATOR else 403
            )
            assert browser.get("/today/calendar?month=2026-02").status_code == 200
            assert browser.get("/today/calendar?month=2026-13").status_code == 422
    with signed_in(node, NAC) as browser:
        for code, word in (("sq", "Kalendari"), ("cnr", "Kalendar")):
            browser.cookies.set("case-ledger-language", code)
            assert word in browser.get("/today/calendar").text
            assert browser.get("/today").status_code == 200


def test_a_bound_agency_owes_only_in_the_cases_that_it_sees(node: Server, case: UUID) -> None:
    """The protocol lets agencies see only the cases that they have to know of."""
    agencies = node.agencies.protocol.agencies_by_id
    views, now = node.node.views, clock.now()
    other = agencies["xk-csw-peja"]
    free, bound = (
        views.duties.of(other, "XK", Duties.MINE, now, limit=500, is_bound=is_bound).obligations
        for is_bound in (False, True)
    )
    assert case in {one.case_id for one in free} - {one.case_id for one in bound}
    for one in bound:
        known = node.node.ledger.case(one.case_id)
        assert known is not None
        assert other.id in agencies_with_access(known.history.values())


def test_every_sort_has_its_text() -> None:
    """A sort without a text would fail the page on the day it comes."""
    from api.web.texts import texts

    for code in ("en", "sq", "cnr"):
        assert all(texts(code).find(f"arrival.{sort.value}") for sort in ArrivalSort)
