"""On paper: a case's summary and its audit trail, in three languages, for who may see them."""

import re
from datetime import UTC, datetime, timedelta
from io import BytesIO
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from pypdf import PdfReader

from api.demo.story import STORY
from api.http.access import Caller
from api.http.error_handlers import PRINTED_POLICY
from api.paper.languages.found import shipped
from api.paper.subject_access.value_shapes import Plain, shape
from api.paper.subject_access.wording import wording
from api.web.case_text import names, rows
from api.web.printing import _TRAIL, Printing
from api.web.refusal_text import fact
from api.web.rendering import Words
from api.web.texts import texts
from ledger.procedure.agreement import Agreement
from ledger.procedure.protocol import OVERSIGHT
from ledger.procedure.registry import Registry
from ledger.vault.held_fields import HeldFields
from ledger.vocabulary.levels import Level
from ledger.vocabulary.picklists import ServiceKind
from projections.folds.case_view import CaseView
from tests.api.test_subject_access import CASE, MADE_AT, entry, squeezed, structure
from tests.support.actions import opening
from tests.support.agencies import Agencies
from tests.support.pdf_text import page_texts
from tests.support.serving import Server
from tests.support.story import Told
from tests.support.web import page_text, signed_in

KOSOVO, MONTENEGRO, ALBANIA = "xk-dhtqnj", "me-nac", "al-nac"
MARKUP = '#import "/etc/passwd": * \n#panic() *bold* _thin_ $x^2$ @ref <label> `raw` = Heading //'
LETTERS = {"sq": "ëç", "cnr": "čšž", "en": "Aa"}
PRINTED = ("summary.pdf", "trail.pdf")
each_language = pytest.mark.parametrize("language", shipped())


def asked(
    node: Server, agency: str, case: UUID, name: str, language: str = "en", query: str = ""
) -> httpx.Response:
    with signed_in(node, agency) as browser:
        browser.cookies.set("case-ledger-language", language)
        return browser.get(f"/cases/{case}/{name}{query}")


def printed(
    node: Server, agency: str, case: UUID, name: str, language: str = "en", query: str = ""
) -> str:
    answer = asked(node, agency, case, name, language, query)
    assert answer.status_code == 200, answer.text
    return whole(answer.content, language)


def whole(content: bytes, language: str) -> str:
    """The text of all pages as one, without what stands at their heads and feet."""
    pages, told = page_texts(content), ""
    titles = "|".join(squeezed(texts(language).text(t)) for t in ("print.summary", "tab.trail"))
    for number, page in enumerate(pages, start=1):
        foot = wording(language).text("page", page=str(number), pages=str(len(pages)))
        text = squeezed(page)
        assert squeezed(foot) in text
        told += re.sub(rf"({titles})[0-9a-f-]{{36}}", "", text.replace(squeezed(foot), ""))
    return told


def disclosed(level: Level, country: str) -> set[str]:
    """Free texts of the girl's case that agencies of a country recorded at a level."""
    ids = {step.name: uuid4() for step in STORY}
    found = set()
    for step in STORY:
        action = step.action(ids)
        for field, value in action.disclosable_claims().items():
            if (
                step.case == "A"
                and step.agency.startswith(country.lower())
                and type(action).level(field).level is level
                and shape(action.kind, field) is Plain.TEXT
                and isinstance(value, str)
            ):
                found.add(squeezed(value))
    return found


def test_two_facts_of_one_action_with_the_same_words_are_printed_once() -> None:
    held = SimpleNamespace(action=uuid4(), since=MADE_AT, party="XK")
    words: Any = SimpleNamespace(things=wording("en"), texts=texts("en"))
    case: Any = SimpleNamespace(facts={"indicators_assessed": held, "screened": held})
    caller: Any = None
    printing = Printing(caller, words, MADE_AT, case, 1, (), {})
    assert [label for label, _ in printing._facts()] == ["Operational indicators assessed"]


@each_language
def test_a_summary_tells_what_the_case_page_does(node: Server, story: Told, language: str) -> None:
    text = printed(node, KOSOVO, story.cases["A"], "summary.pdf", language)
    words = Words(texts(language), wording(language, node.agencies.protocol, "XK"))
    with node.client(KOSOVO) as client:
        view = client.case(story.cases["A"]).view
        trail = list(client.trail(story.cases["A"]))
    things, protocol = words.things, node.agencies.protocol
    named = names(protocol, trail, things)
    expected = [str(view.case_id), named[KOSOVO], named[view.lead_agency]]
    expected += [things.picked(one) for one in (view.stage, view.status, view.priority)]
    expected += [things.country(party) for party in view.parties]
    expected += [things.kind(step.action) for step in view.expected]
    expected += [fact(name, words) for name in view.facts]
    expected += [named[one.addressee] for one in view.open_requests]
    expected.append(f"{things.kind('service_started')}: {things.picked(ServiceKind.MEDICAL)}")
    for step in trail:
        expected += [f"{step.version}. {things.kind(step.kind)}", named[step.agency]]
        expected += [things.day(step.acted_at), things.country(step.party)]
        for field, value in step.fields.items():
            expected += [things.field(field), *things.value(step.kind, field, value, named)]
    assert [one for one in expected if squeezed(one) not in text] == []
    assert squeezed(words.texts.text("print.stands", position=story.position)) in text
    assert all(letter in text for letter in LETTERS[language])
    assert len(view.facts) > 5


@each_language
@pytest.mark.parametrize("name", PRINTED)
def test_no_personal_field_is_printed(node: Server, story: Told, name: str, language: str) -> None:
    personal = disclosed(Level.PERSONAL, "xk") | disclosed(Level.PERSONAL, "me")
    shared = disclosed(Level.CASE, "xk") | disclosed(Level.CASE, "me")
    personal = {one for one in personal if not any(one in other for other in shared)}
    assert len(personal) > 5
    for agency in (KOSOVO, MONTENEGRO, oversight(node)):
        text = printed(node, agency, story.cases["A"], name, language)
        assert [one for one in personal if one in text] == []
        assert "Izmišljenović" not in text


def test_case_fields_are_those_that_the_country_holds(node: Server, story: Told) -> None:
    ours, theirs = disclosed(Level.CASE, "xk"), disclosed(Level.CASE, "me")
    assert len(ours) > 3
    case = story.cases["A"]
    here = printed(node, KOSOVO, case, "summary.pdf")
    assert {one for one in ours if one in here} == ours
    above = printed(node, oversight(node), case, "summary.pdf")
    assert [one for one in ours | theirs if one in above] == []
    assert "fieldsoftheledgeralone" in above
    for agency in (KOSOVO, oversight(node)):
        trail = printed(node, agency, case, "trail.pdf")
        assert [one for one in ours | theirs if one in trail] == []


@each_language
def test_a_trail_has_every_event(node: Server, story: Told, language: str) -> None:
    text = printed(node, KOSOVO, story.cases["A"], "trail.pdf", language)
    things = wording(language, node.agencies.protocol, "XK")
    with node.client(KOSOVO) as client:
        trail = list(client.trail(story.cases["A"]))
    named = names(node.agencies.protocol, trail, things)
    expected = [named[KOSOVO]]
    expected.append(f"{things.kind('service_started')}: {things.picked(ServiceKind.MEDICAL)}")
    for step in trail:
        expected += [str(step.version), str(step.position), things.kind(step.kind)]
        expected += [things.moment(step.recorded_at), things.moment(step.acted_at)]
        expected += [named[step.agency], things.picked(step.signature)]
        for change in step.changes:
            expected += [change.path, "→"]
            values = (one for one in (change.before, change.after) if isinstance(one, str))
            expected += [named.get(one, one) for one in values]
    assert len(trail) > 20
    assert [one for one in expected if squeezed(one) not in text] == []
    assert squeezed(texts(language).text("print.stands", position=story.position)) in text


@pytest.mark.parametrize("name", PRINTED)
def test_it_is_a_tagged_document_with_the_headers_of_pages(
    node: Server, story: Told, name: str
) -> None:
    answer = asked(node, KOSOVO, story.cases["A"], name, "sq", f"?at_least={story.position}")
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    page = asked(node, KOSOVO, story.cases["A"], "trail")
    header = "cross-origin-opener-policy"
    assert answer.headers[header] == page.headers[header]
    # WebKit's viewer has its size in a style attribute, and the policy of the PDF applies to it.
    assert answer.headers["content-security-policy"] == PRINTED_POLICY
    said = answer.headers["content-disposition"]
    assert re.fullmatch(r'inline; filename="(case-summary|audit-trail)\.pdf"', said)
    catalogue: Any = PdfReader(BytesIO(answer.content)).trailer["/Root"]
    assert catalogue["/Lang"] == "sq"
    assert catalogue["/MarkInfo"]["/Marked"]
    assert b"pdfuaid" in catalogue["/Metadata"].get_object().get_data()
    assert {"/Table", "/TH", "/TD"} & set(structure(catalogue["/StructTreeRoot"]["/K"]))


@pytest.mark.parametrize("name", PRINTED)
def test_another_countrys_case_is_not_printed(node: Server, story: Told, name: str) -> None:
    theirs = asked(node, ALBANIA, story.cases["A"], name)
    none = asked(node, ALBANIA, uuid4(), name)
    assert theirs.status_code == none.status_code == 404
    assert page_text(theirs) == page_text(none)
    assert theirs.headers["content-type"].startswith("text/html")
    assert "content-disposition" not in theirs.headers


def test_who_is_not_signed_in_is_sent_to_do_that_and_back(node: Server, story: Told) -> None:
    path = f"/cases/{story.cases['A']}/summary.pdf"
    answer = httpx.get(node.url + path)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/sign-in?return_to={path}")
    assert httpx.get(node.url + answer.headers["location"]).status_code == 200


@pytest.mark.parametrize(("page", "name"), [("", "summary.pdf"), ("/trail", "trail.pdf")])
def test_the_pages_lead_to_it(node: Server, story: Told, page: str, name: str) -> None:
    case = story.cases["A"]
    with signed_in(node, KOSOVO) as browser:
        told = browser.get(f"/cases/{case}{page}").text
    assert f'<a href="/cases/{case}/{name}">Print (PDF)</a>' in told


def test_markup_is_printed_as_text(node: Server) -> None:
    with node.client(KOSOVO) as police:
        receipt = police.open_case(opening(indicators_note=MARKUP))
    query = f"?at_least={receipt.position}"
    text = printed(node, KOSOVO, receipt.case_id, "summary.pdf", "en", query)
    assert squeezed(MARKUP) in text
    assert "None." in text


@each_language
def test_a_long_trail_repeats_its_head_on_every_page(agencies: Agencies, language: str) -> None:
    trail = [
        entry(n, MARKUP if n == 7 else "risk_assessed", "xk-nac", MADE_AT + timedelta(hours=n), {})
        for n in range(1, 121)
    ]
    printing = a_printing(agencies, language, trail)
    content = printing.trail()
    pages = PdfReader(BytesIO(content)).pages
    assert len(pages) > 4
    head = [squeezed(texts(language).text(name)) for name in _TRAIL]
    texts_of_pages = []
    for number, page in enumerate(pages, start=1):
        text = squeezed(page.extract_text())
        texts_of_pages.append(text)
        assert [one for one in head if one not in text] == []
        foot = wording(language).text("page", page=str(number), pages=str(len(pages)))
        assert squeezed(foot) in text
        assert float(page.mediabox.width) > float(page.mediabox.height)
    assert [squeezed(one) for one in page_texts(content)] == texts_of_pages
    text = "".join(texts_of_pages)
    assert squeezed(MARKUP) in text
    for step in trail:
        assert squeezed(wording(language, agencies.protocol, "XK").moment(step.acted_at)) in text
    assert content == printing.trail()


def a_printing(agencies: Agencies, language: str, trail: Any) -> Printing:
    protocol = agencies.protocol
    words = Words(texts(language), wording(language, protocol, "XK"))
    return Printing(
        caller=Caller(protocol.agencies_by_id["xk-nac"], Registry(Agreement.of(protocol), {}, 1)),
        words=words,
        at=datetime(2026, 6, 1, 8, tzinfo=UTC),
        case=CaseView.model_construct(case_id=CASE),
        position=len(trail),
        rows=rows(trail, HeldFields(), {}, Agreement.of(protocol), words.things),
        named=names(protocol, trail, words.things),
    )


def oversight(node: Server) -> str:
    return next(a.id for a in node.agencies.protocol.agencies if a.role == OVERSIGHT)
