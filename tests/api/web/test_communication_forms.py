"""All ten forms of the shipped protocol: sent, acknowledged, answered, and on paper."""

import re
from html.parser import HTMLParser
from uuid import UUID

import pytest

from api.client.schemas.case_documents import MadeKind
from api.paper.languages.found import shipped
from api.paper.subject_access.wording import wording
from api.web.texts import texts
from ledger.log.merkle import leaf_hash
from ledger.log.paper_code import paper_code
from ledger.procedure.form_rules import SendableForm, sendable_forms
from ledger.procedure.protocol import Agency, Protocol
from ledger.system import clock
from ledger.vocabulary.communication_forms import FormAcknowledged, FormSent
from ledger.vocabulary.coordination import CaseManagerNamed, Correction
from ledger.vocabulary.levels import Level
from projections.folds.obligation_terms import ObligationKind, ObligationState
from tests.api.test_subject_access import squeezed
from tests.api.web.test_printing import KOSOVO, MONTENEGRO, disclosed, oversight
from tests.support.actions import opening
from tests.support.pdf_text import page_texts
from tests.support.serving import Server
from tests.support.story import Told
from tests.support.web import signed_in

REMARKS = "Vërejtje për palën tjetër."
Sent = dict[int, tuple[UUID, int, str, str]]
"""Of each form the sending, its position, the addressee and the sender."""


def sender(node: Server, case_id: UUID, number: int) -> tuple[Agency, SendableForm]:
    case = node.node.ledger.case(case_id)
    assert case is not None
    protocol = node.agencies.protocol
    for agency in protocol.working_agencies:
        for one in sendable_forms(case.state, case.history, agency, protocol):
            if one.form.number == number:
                return agency, one
    raise AssertionError(f"nobody can send form {number}")


@pytest.fixture(scope="module")
def sent(node: Server, story: Told) -> Sent:
    """Every form, the answers to what asks for them; all but the last are acknowledged."""
    case_id, told = story.cases["A"], {}
    manager = CaseManagerNamed(
        acted_at=clock.now(),
        full_name="Invented Person",
        function="Social worker",
        institution="Centre for social work",
        telephone_24h="+382 20 000 000",
        languages=("cnr",),
    )
    with node.client("me-nac") as client:
        client.append(manager, case_id, client.case(case_id).view.version)
    for number in range(1, 11):
        agency, one = sender(node, case_id, number)
        version = node.node.ledger.case(case_id).version  # type: ignore[union-attr]
        action = FormSent(
            acted_at=clock.now(),
            form_number=number,
            addressee=one.addressees[0],
            actions=one.proposed,
            answers=one.answers[0] if one.answers else None,
            remarks=REMARKS,
        )
        with node.client(agency.id) as client:
            receipt = client.append(action, case_id, version)
        told[number] = (receipt.action_id, receipt.position, one.addressees[0], agency.id)
        if number < 10 and one.form.answered_by is None:
            with node.client(one.addressees[0]) as client:
                answer = FormAcknowledged(acted_at=clock.now(), sent=receipt.action_id)
                receipt = client.append(answer, case_id, version + 1)
    with node.client(KOSOVO) as client:
        list(client.trail(case_id, at_least=receipt.position))
        client.case(case_id, at_least=receipt.position)
    return told


def test_every_form_is_sent_and_what_it_asks_for_is_owed(
    node: Server, story: Told, sent: Sent
) -> None:
    with node.client("xk-nac") as client:
        owed = list(client.obligations(case_id=story.cases["A"], at_least=sent[10][1]))
        view = client.case(story.cases["A"]).view
    forms = {one.number: one for one in view.forms}
    assert sorted(forms) == list(range(1, 11))
    assert [number for number, one in forms.items() if one.answered] == [1, 3, 7]
    assert [number for number, one in forms.items() if not one.acknowledged] == [10]
    acknowledgements = [one for one in owed if one.kind is ObligationKind.FORM_ACKNOWLEDGEMENT]
    answers = [one for one in owed if one.kind is ObligationKind.FORM_ANSWER]
    assert {one.concerning for one in answers} == {sent[number][0] for number in (1, 3, 7)}
    assert {one.state for one in answers} == {ObligationState.DISCHARGED}
    open_ones = [one for one in acknowledgements if one.state is ObligationState.OPEN]
    assert [one.concerning for one in open_ones] == [sent[10][0]]
    assert open_ones[0].debtor_agency == sent[10][2]


def test_the_page_of_the_steps_says_how_far_each_is(node: Server, story: Told, sent: Sent) -> None:
    assert sent
    for language in shipped():
        with signed_in(node, "me-nac") as browser:
            browser.cookies.set("case-ledger-language", language)
            page = browser.get(f"/cases/{story.cases['A']}/forms").text
        for form in node.agencies.protocol.forms or ():
            assert form.title_in(language) in page
            assert form.step_in(language) in page
        text = texts(language).text
        assert page.count(f'<span class="tag answered">{text("forms.standing.answered")}') == 3
        assert page.count(f'<span class="tag sent">{text("forms.standing.sent")}') == 1


def test_the_page_of_the_steps_says_which_country_acknowledged(node: Server) -> None:
    with node.client("xk-dhtqnj") as police:
        opened = police.open_case(opening(("XK",)))
    with node.client("xk-nac") as client:
        for version, addressee in enumerate(("me-nac", "al-nac"), 1):
            action = FormSent(
                acted_at=clock.now(),
                form_number=1,
                addressee=addressee,
                actions=(opened.action_id,),
            )
            receipt = client.append(action, opened.case_id, version)
    with node.client("al-nac") as client:
        answer = FormAcknowledged(acted_at=clock.now(), sent=receipt.action_id)
        receipt = client.append(answer, opened.case_id, 3)
    with signed_in(node, "xk-nac") as browser:
        page = browser.get(f"/cases/{opened.case_id}/forms?at_least={receipt.position}").text
    assert '<li class="sent">' in page
    assert '<span class="tag sent">Montenegro: sent, not acknowledged</span>' in page
    assert '<span class="tag acknowledged">Albania: acknowledged</span>' in page


def parts(node: Server, case_id: UUID, sending: UUID, language: str) -> list[str]:
    """Return the names of the actions that a sent form carries."""
    case = node.node.ledger.case(case_id)
    assert case is not None
    carried = case.history[sending].fields["actions"]
    return [wording(language).kind(case.history[UUID(one)].kind) for one in carried]


@pytest.mark.parametrize(("here", "there"), [("sq", "cnr"), ("cnr", "en")])
def test_each_is_printed_in_two_languages_side_by_side(
    node: Server, story: Told, sent: Sent, here: str, there: str
) -> None:
    personal = disclosed(Level.PERSONAL, "xk") | disclosed(Level.PERSONAL, "me")
    shared = disclosed(Level.CASE, "xk") | disclosed(Level.CASE, "me")
    personal = {one for one in personal if not any(one in other for other in shared)}
    assert len(personal) > 5
    protocol, begun = node.agencies.protocol, 0
    for number, (action, position, _, by) in sent.items():
        with signed_in(node, by) as browser:
            browser.cookies.set("case-ledger-language", here)
            path = f"/cases/{story.cases['A']}/forms/sent/{action}/form.pdf?beside={there}"
            answer = browser.get(path)
        assert answer.status_code == 200, answer.text
        pages = [squeezed(one) for one in page_texts(answer.content)]
        carried = parts(node, story.cases["A"], action, here)
        begun += len(pages) > 1 and bool(carried)
        # A part begins on the first page, which is not left half empty.
        if carried:
            assert any(squeezed(part) in pages[0] for part in carried), number
        text = "".join(pages)
        (row,) = node.node.ledger.rows_at([position])
        assert paper_code(leaf_hash(bytes(row.state))) in text
        assert squeezed(REMARKS) in text, number
        for language in (here, there):
            form = protocol.forms_by_number[number]
            assert squeezed(form.title_in(language)) in text
            assert squeezed(texts(language).text("forms.source.assumption")) in text
        assert str(position) in text
        assert [one for one in personal if one in text] == []
    assert begun > 1, "some forms have several pages"


def test_one_is_made_a_document_that_belongs_to_its_sending(
    node: Server, story: Told, sent: Sent
) -> None:
    case_id, (action, _, _, by) = story.cases["A"], sent[1]
    with signed_in(node, by) as browser:
        page = browser.get(f"/cases/{case_id}/forms/sent/{action}").text
    assert f'data-form="{action}"' in page
    with node.client(by) as client:
        (made,) = client.make_documents(case_id, MadeKind.FORM, "sq", form=action, beside="cnr")
    assert made.belongs_to == action
    assert made.case_document is not None
    title = node.agencies.protocol.forms_by_number[1].title_in("sq")
    assert title in made.case_document.title
    assert (made.case_document.language, made.case_document.media_type) == (
        "sqi",
        "application/pdf",
    )


def test_who_has_no_part_in_the_case_sees_no_form_of_it(
    node: Server, story: Told, sent: Sent
) -> None:
    case_id, action = story.cases["A"], sent[1][0]
    paths = ("forms", "forms/1", f"forms/sent/{action}", f"forms/sent/{action}/form.pdf?beside=sq")
    for path in paths:
        with signed_in(node, "al-nac") as browser:
            assert browser.get(f"/cases/{case_id}/{path}").status_code == 404
    with signed_in(node, oversight(node)) as browser:
        seen = browser.get(f"/cases/{case_id}/forms/sent/{action}").text
        assert REMARKS not in seen
        printed = browser.get(f"/cases/{case_id}/forms/sent/{action}/form.pdf?beside=sq")
    assert squeezed(REMARKS) not in squeezed("".join(page_texts(printed.content)))
    with signed_in(node, MONTENEGRO) as browser:
        for path in (f"forms/sent/{UUID(int=1)}", "forms/77"):
            assert browser.get(f"/cases/{case_id}/{path}").status_code == 404
        odd = browser.get(f"/cases/{case_id}/forms/sent/{action}/form.pdf?beside=xx")
        assert odd.status_code == 422


def test_what_was_annulled_is_marked_on_page_and_paper(
    node: Server, story: Told, sent: Sent
) -> None:
    case_id, (action, _, _, by) = story.cases["A"], sent[5]
    path, text = f"/cases/{case_id}/forms/sent/{action}", texts("en").text
    marks = (text("forms.annulled"), text("forms.part_annulled"))

    def told() -> tuple[str, str]:
        with signed_in(node, by) as browser:
            page = browser.get(path).text
            paper = browser.get(f"{path}/form.pdf?beside=sq").content
        return page, squeezed("".join(page_texts(paper)))

    page, paper = told()
    assert not any(mark in page or squeezed(mark) in paper for mark in marks)
    case = node.node.ledger.case(case_id)
    assert case is not None
    risk = next(
        act
        for act in case.history.values()
        if act.kind == "risk_assessed" and str(act.id) in case.history[action].fields["actions"]
    )
    for mistaken in (risk.id, action):
        correction = Correction(
            acted_at=clock.now(), corrects=mistaken, effect="annulled", reason="entry_error"
        )
        author = case.history[mistaken].agency
        with node.client(author) as client:
            receipt = client.append(correction, case_id, node.node.ledger.case(case_id).version)  # type: ignore[union-attr]
    with node.client(by) as client:
        list(client.trail(case_id, at_least=receipt.position))
        client.case(case_id, at_least=receipt.position)
    page, paper = told()
    assert all(mark in page and squeezed(mark) in paper for mark in marks)


def test_a_paper_is_checked_by_its_position_and_code(node: Server, sent: Sent) -> None:
    (row,) = node.node.ledger.rows_at([sent[3][1]])
    code = paper_code(leaf_hash(bytes(row.state)))
    text = texts("en").text
    with signed_in(node, "al-nac") as browser:
        for typed in (code, code.lower().replace("-", " ")):
            page = browser.get("/paper", params={"position": sent[3][1], "code": typed}).text
            assert text("paper.true", position=sent[3][1]) in page
            assert text("paper.not_yours") in page
        (other,) = node.node.ledger.rows_at([sent[1][1] - 1])
        wrong = paper_code(leaf_hash(bytes(other.state)))
        assert other.kind != "form_sent"
        page = browser.get("/paper", params={"position": other.position, "code": wrong}).text
        assert text("paper.false", position=other.position) in page, "no form was sent there"
        for position, typed in ((sent[3][1] + 1, code), (sent[3][1], code[:-1] + "A"), (10**9, "")):
            page = browser.get("/paper", params={"position": position, "code": typed}).text
            assert text("paper.false", position=position) in page or code[-1] == "A"
    with signed_in(node, MONTENEGRO) as browser:
        page = browser.get("/paper", params={"position": sent[3][1], "code": code}).text
    assert f"/forms/sent/{sent[3][0]}" in page


class VisibleText(HTMLParser):
    """The text of a page that people read as words: without code, scripts and choices' values."""

    _ASIDE = ("code", "script", "style", "kbd", "pre")

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._aside = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._aside += tag in self._ASIDE
        self.found += [str(value) for name, value in attrs if name in ("title", "aria-label")]

    def handle_endtag(self, tag: str) -> None:
        self._aside -= tag in self._ASIDE

    def handle_data(self, data: str) -> None:
        if not self._aside:
            self.found.append(data)


def ids_in(text: str, protocol: Protocol) -> set[str]:
    """The ids of agencies that stand in a text as words of their own."""
    ids = "|".join(re.escape(one.id) for one in protocol.agencies)
    return set(re.findall(rf"(?<![\w@./-])(?:{ids})(?![\w-])", text))


@pytest.mark.parametrize("agency", ["xk-nac", "me-nac", "xk-dhtqnj"])
def test_pages_and_papers_name_agencies_and_show_no_id(
    node: Server, story: Told, sent: Sent, agency: str
) -> None:
    case, protocol = f"/cases/{story.cases['A']}", node.agencies.protocol
    pages = [
        *("/cases?show=all", "/board", "/meeting", "/charts", "/keys", "/agencies", "/agreement"),
        *("/retention", "/missing", "/parcels", "/waiting", "/verify", "/meeting/ME"),
        *("/meeting/XK", "/meeting/ME/summary", f"/meeting/ME/{story.cases['A']}"),
        *(f"{case}{end}" for end in ("", "/act", "/forms", "/personal", "/replay", "/trail")),
        *(f"{case}/act/{kind}" for kind in ("information_requested", "lead_transfer_offered")),
        *(f"{case}/forms/sent/{action}" for action, *_ in sent.values()),
    ]
    papers = [
        f"{case}/summary.pdf",
        f"{case}/trail.pdf",
        f"{case}/forms/sent/{sent[9][0]}/form.pdf",
    ]
    shown: dict[str, set[str]] = {}
    looked = 0
    with signed_in(node, agency) as browser:
        for path in pages:
            answer = browser.get(path)
            if answer.status_code == 200:
                looked += 1
                reader = VisibleText()
                reader.feed(answer.text)
                if ids := ids_in("\n".join(reader.found), protocol):
                    shown[path] = ids
        for path in papers:
            content = browser.get(path).content
            text = "\n".join(page_texts(content))
            if ids := ids_in(text, protocol):
                shown[path] = ids
    assert looked > 20
    assert shown == {}
