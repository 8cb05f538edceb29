"""A corridor that the program does not have, in a script and a language of its own, by files alone.

The example of Cyprus and Malta is started, played and printed: its protocol and its Greek
catalogues are files outside of the program's packages.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import unescape
from io import BytesIO
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
from pypdf import PdfReader

from api.client import RefusedError
from api.demo.derived_story import derived_story
from api.notifying.letters import email_of, words_for
from api.notifying.mail_choices import MailChoices
from api.notifying.notifier import Notifier
from api.notifying.subscriptions import Send, Subscription
from api.paper.languages import found
from api.paper.languages.catalogue import forms_of, id_of, read_catalogue
from api.paper.languages.checking import check_folder
from api.paper.languages.found import package_folder
from api.paper.subject_access.wording import wording
from api.runtime.schema import migrate_all
from api.runtime.settings import Settings
from api.web.texts import texts
from ledger.application import Ledger, environment
from ledger.procedure.protocol import Protocol, load_protocol
from ledger.store.database import Database
from tests.support.agencies import Agencies
from tests.support.databases import new_database
from tests.support.serving import Server, running
from tests.support.web import signed_in

EXAMPLE = Path(__file__).parents[2] / "examples" / "corridors" / "cyprus-malta"
PROTOCOL = load_protocol(EXAMPLE / "protocol.toml")
CYPRUS, MALTA = "cy-coordination", "mt-coordination"
NOW = datetime.now(UTC).replace(microsecond=0)
BEGAN = NOW - timedelta(days=25)


@dataclass(frozen=True)
class Corridor:
    """The example's node, with one case that is closed and one that waits for its next steps."""

    node: Server
    closed: UUID
    opened: UUID
    position: int

    def get(self, agency: str | None, path: str, language: str = "el") -> httpx.Response:
        headers = {"Accept-Language": language, "Accept": "text/html"}
        if agency is None:
            return httpx.get(f"{self.node.url}{path}", headers=headers, timeout=20)
        with signed_in(self.node, agency) as browser:
            return browser.get(path, headers=headers)


@pytest.fixture(scope="module")
def corridor(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Corridor]:
    agencies = Agencies(PROTOCOL)
    with pytest.MonkeyPatch.context() as patch, new_database(server) as conninfo:
        patch.setenv(found.VARIABLE, str(EXAMPLE / "locale"))
        migrate_all(conninfo, PROTOCOL)
        with Ledger(environment(conninfo)) as ledger:
            agencies.begin(ledger)
        settings = Settings(
            data_directory=tmp_path_factory.mktemp("corridor"),
            port=0,
            protocol=EXAMPLE / "protocol.toml",
        )
        with running(settings, conninfo, agencies) as node:
            yield told(node)


def told(node: Server) -> Corridor:
    story = derived_story(PROTOCOL, BEGAN)
    closed, opened, position = uuid4(), uuid4(), 0
    for case, steps in ((closed, story), (opened, story[:1])):
        version, ids = 0, dict[str, UUID]()
        for step in steps:
            with node.client(step.agency) as client:
                receipt = client.append(step.action(ids), case, version)
            ids[str(step.planned_id)] = receipt.action_id
            version, position = receipt.case_version, receipt.position
    with node.client(CYPRUS) as client:
        for case in (closed, opened):
            client.case(case, at_least=position)
            list(client.trail(case, at_least=position))
    return Corridor(node, closed, opened, position)


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", unicodedata.normalize("NFC", text))


def english_sentences() -> tuple[Mapping[str, str], Sequence[str]]:
    """The English texts of pages that the example translates, and those that it does not yet.

    They are long enough to be told from names and machine words.
    """
    catalogue = read_catalogue(package_folder() / "en" / "LC_MESSAGES" / "case_ledger_web.po")
    missing = check_folder(EXAMPLE / "locale" / "el").files[1].missing
    long = {
        id_of(message): forms_of(message)[0]
        for message in catalogue
        if message.id and len(forms_of(message)[0]) > 15 and "{" not in forms_of(message)[0]
    }
    translated = {one: told for one, told in long.items() if one not in missing}
    return translated, [told for one, told in long.items() if one in missing]


def test_its_catalogues_have_no_faulty_text() -> None:
    """A new text of the program may wait for its translation: until then it is English."""
    found = check_folder(EXAMPLE / "locale" / "el", PROTOCOL)
    assert found.unlabelled == found.without_glyph == ()
    for file in found.files:
        assert file.faulty == ()
        # A few texts, so that a change of the program need not wait for its translation.
        assert len(file.missing) <= file.needed / 20, file.missing


def test_its_pages_are_in_its_language(corridor: Corridor) -> None:
    sentences, waiting = english_sentences()
    assert len(sentences) > 600
    assert len(waiting) < len(sentences) / 10
    case = f"/cases/{corridor.opened}"
    pages = (
        "/cases", f"/cases/{corridor.closed}", case, f"{case}/act", f"{case}/act/sheltered",
        "/cases/new", f"{case}/personal", f"{case}/trail", f"{case}/replay", f"{case}/verify",
        "/board", "/meeting", "/meeting/MT", f"/meeting/MT/{corridor.opened}",
        "/meeting/MT/summary", "/charts", "/waiting", "/missing", "/retention", "/keys",
        "/agencies", "/agreement", "/verify",
    )  # fmt: skip
    for path in pages:
        agency = "cy-shelter" if path.endswith("sheltered") else CYPRUS
        answer = corridor.get("cy-police" if path == "/cases/new" else agency, path)
        assert answer.status_code == 200, (path, answer.text[:300])
        text = unescape(answer.text)
        assert '<html lang="el" ' in text, path
        assert texts("el").text("sign_out") in text
        for told in waiting:  # one of them may begin with a sentence that is translated elsewhere
            text = text.replace(told, "")
        assert [one for one, told in sentences.items() if told in text] == [], path


def test_its_protocol_has_words_of_its_own(corridor: Corridor) -> None:
    text = unescape(corridor.get(CYPRUS, f"/cases/{corridor.closed}").text)
    labels = (PROTOCOL.labels or {})["el"]
    assert labels["kind.sheltered"] in text, "the protocol's word, before the catalogue's"
    assert wording("el").kind("departed") in text
    assert labels["role.coordinator"] in text
    assert "Επινοημένος ξενώνας, Κύπρος" in text
    english = unescape(corridor.get(CYPRUS, f"/cases/{corridor.closed}", "en").text)
    assert "Taken into a shelter of the protocol" in english


def test_each_country_reads_its_own_local_time(corridor: Corridor) -> None:
    with corridor.node.client(CYPRUS) as client:
        first = next(iter(client.trail(corridor.opened)))
    for agency, language in ((CYPRUS, "el"), (MALTA, "en")):
        party = PROTOCOL.agencies_by_id[agency].party
        words = wording(language, PROTOCOL, party)
        text = unescape(corridor.get(agency, f"/cases/{corridor.opened}/trail", language).text)
        assert words.moment(first.recorded_at) in text
        assert words.day(first.acted_at) in text
        assert words.zone_name(NOW) in text
    here, there = (wording("el", PROTOCOL, party) for party in ("CY", "MT"))
    assert here.moment(first.recorded_at) != there.moment(first.recorded_at)


def test_only_its_own_languages_are_offered(corridor: Corridor) -> None:
    text = unescape(corridor.get(None, "/sign-in").text)
    assert re.findall(r'name="language" value="(\w+)"', text) == ["el", "en"]
    assert f"<h1>{texts('el').text('sign_in.title')}</h1>" in text
    assert '<html lang="en" ' in corridor.get(None, "/sign-in", "sq").text
    nowhere = corridor.get(CYPRUS, f"/cases/{uuid4()}")
    assert nowhere.status_code == 404
    assert texts("el").text("problem.404.title") in unescape(nowhere.text)


def test_its_case_is_printed_in_its_script(corridor: Corridor) -> None:
    answer = corridor.get(CYPRUS, f"/cases/{corridor.closed}/summary.pdf")
    assert answer.status_code == 200, answer.text
    pdf = PdfReader(BytesIO(answer.content))
    text = squeezed("".join(page.extract_text() for page in pdf.pages))
    assert pdf.metadata is not None
    assert pdf.metadata.title == texts("el").text("print.summary")
    assert pdf.trailer["/Root"]["/Lang"] == "el"
    assert squeezed((PROTOCOL.labels or {})["el"]["kind.sheltered"]) in text
    assert squeezed("Επινοημένο γραφείο συντονισμού, Κύπρος") in text
    assert re.search(r"UTC\+[23]", text)
    assert "[U+" not in text, "every letter has a glyph"


def test_a_person_has_the_file_in_the_language(corridor: Corridor) -> None:
    with corridor.node.client("cy-welfare") as client:
        content = client.subject_access(corridor.opened, "el", pdf=True)
        with pytest.raises(RefusedError, match="el, en") as refused:
            client.subject_access(corridor.opened, "sq", pdf=True)
    assert refused.value.problem.rule == "language"
    pdf = PdfReader(BytesIO(content))
    text = squeezed("".join(page.extract_text() for page in pdf.pages))
    assert squeezed((PROTOCOL.labels or {})["el"]["title"]) in text
    assert squeezed(wording("el").text("rights.explain")) in text


def test_its_emails_are_in_the_language_of_each_party(corridor: Corridor) -> None:
    """The digest of a day, and the letter on each step that is overdue."""
    letters: dict[str, str] = {}

    class Post:
        def send(
            self, to: Subscription, notice: UUID, message: Mapping[str, object], agreed: Protocol
        ) -> None:
            words = words_for(to, agreed)
            made = email_of("node@office.example", str(to.email), notice, message, words)
            text = f"{made['Subject']}\n{made.get_content()}"
            letters[str(to.email)] = letters.get(str(to.email), "") + text

    daily = [Subscription(one, email=f"{one}@office.example") for one in (CYPRUS, MALTA)]
    chosen = Subscription("mt-welfare", email="w@office.example", language="el")
    each = Subscription(CYPRUS, email="each@office.example", send=Send.EACH)
    to = [*daily, chosen, each]
    with Database(corridor.node.node.conninfo) as pool:
        # A new subscription gets no letters on the past: this one is as old as the cases.
        MailChoices(pool).begun([each.id], BEGAN)
        days = timedelta(days=2)
        notifier = Notifier(pool, PROTOCOL, to, {"email": Post()}, days, digest_hour=0)
        notifier.look()
        assert notifier.send() > len(daily)
    ids = [one.id for one in PROTOCOL.agencies]
    for letter in letters.values():  # an agency has a name, except in its e-mail address
        assert not any(re.search(rf"(?<![\w-]){one}(?![\w@-])", letter) for one in ids)
    greek, english = wording("el"), wording("en")
    digest, overdue = letters[str(daily[0].email)], letters[str(each.email)]
    assert greek.text("mail.digest.overdue_in_country") in digest
    assert greek.text("mail.overdue") in overdue
    for letter in (digest, overdue):
        assert greek.text("mail.foot") in letter
        assert "Asia/Nicosia (UTC+" in letter
    for owed in ("risk_assessed", "guardian_appointed", "victim_identified"):
        assert greek.kind(owed) in overdue
    assert english.text("mail.foot") in letters[str(daily[1].email)]
    assert greek.text("mail.foot") in letters[str(chosen.email)]
