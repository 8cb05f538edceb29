"""Acts: forms of what is possible, signed in the browser, kept when the connection is lost."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from uuid import UUID

import pytest
from playwright.sync_api import Page, expect

from ledger.signing import keys, signed_action
from ledger.vocabulary.case_reference import case_reference
from ledger.vocabulary.protection import RiskAssessed
from ledger.vocabulary.registration import PublicKey
from tests.browser.conftest import Person, answer_is_lost, draft, fill_date, open_menu, show_whole
from tests.support.actions import opening
from tests.support.serving import Server
from tests.support.story import Told
from tests.support.waiting import until

POLICE, CARE, OVERSIGHT = "xk-dhtqnj", "me-csw-podgorica", "xk-ombudsperson"
NAME = "Izmišljena Ђорђевић 🙂"
REFUSED = re.compile("status of (401|403|409|412)|ERR_INTERNET_DISCONNECTED|ERR_FAILED")
"""What the tests here provoke, and the browser tells on its console."""
People = Callable[[str], Person]


def opened(police: Person) -> UUID:
    """A case that was opened by the form. Gives its id."""
    page = police.goto("/cases/new")
    show_whole(page)
    page.locator("#f-age_group").select_option("child")
    page.get_by_label("Kosovo").check()
    page.locator("#f-ground").select_option("helpline")
    page.get_by_label("Out of school").check()
    page.locator("#f-first_name").fill(NAME)
    page.locator("#f-number_of_children").fill("0")
    page.get_by_role("button", name="See what will be signed").click()
    review = page.locator("#review")
    expect(review).to_contain_text(NAME)
    expect(review).to_contain_text("Only with a legal basis")
    police.sees_no_barrier()
    police.picture("act-review")
    page.get_by_role("button", name="Sign and record").click()
    page.wait_for_url(re.compile(r"/cases/[0-9a-f-]{36}\?at_least=\d+$"))
    return UUID(page.url.split("/")[-1].split("?")[0])


@pytest.fixture(scope="module")
def case(person: People) -> UUID:
    return opened(person(POLICE))


def test_what_the_browser_issues_is_what_the_ledger_reads(person: People) -> None:
    """The same SD-JWT that Python makes: header, claims, digests, decoys, in random order."""
    page = person(POLICE).goto("/cases")
    modules = page.locator("script[type=module]").first.get_attribute("src")
    assert modules is not None
    found = page.evaluate(
        """async ([at, name]) => {
            const { issue } = await import(`${at}/sd_jwt.js`);
            const pair = await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]);
            const { x } = await crypto.subtle.exportKey("jwk", pair.publicKey);
            const { thumbprint } = await import(`${at}/keys.js`);
            const key = { agency: "xk-dhtqnj", x, id: await thumbprint(x), sign: pair.privateKey };
            const many = [];
            for (let one = 0; one < 20; one += 1) {
                many.push(await issue(key, {
                    protocol: "kosovo-montenegro-albania",
                    caseId: "7cc57600-0000-4000-8000-000000000001",
                    kind: "case_opened",
                    open: { acted_at: `${new Date().toISOString().slice(0, 19)}Z`,
                            age_group: "child", countries: ["XK"] },
                    closed: { ground: "helpline", indicators: ["out_of_school"], first_name: name,
                              number_of_children: 0 },
                    digests: 18,
                }));
            }
            return { x, many };
        }""",
        [modules.rsplit("/", 1)[0], NAME],
    )
    key = keys.from_public(PublicKey(x=found["x"]))
    places, salts = set(), set()
    for issued in found["many"]:
        parsed = signed_action.parse(issued["text"])
        action = signed_action.read(parsed)
        signed_action.verify(action, key)
        assert dict(parsed.header) == {
            "alg": "Ed25519", "typ": "case-action+sd-jwt", "kid": keys.key_id(key),
        }  # fmt: skip
        assert (str(action.id), len(action.digests)) == (issued["id"], 18)
        whole = signed_action.check_disclosures(action, parsed.disclosures)
        assert whole is not None
        assert whole.disclosable_claims()["first_name"] == NAME
        places.add(tuple(action.digests.index(d.digest) for d in parsed.disclosures))
        salts |= {d.encoded for d in parsed.disclosures}
    assert len(places) > 15
    assert len(salts) == 20 * 4


def test_a_case_is_opened_and_carried_on_by_forms(person: People, case: UUID, node: Server) -> None:
    police = person(POLICE)
    with node.client(POLICE) as client:
        view = client.case(case).view
        assert (view.version, view.lead_agency) == (1, POLICE)
        trail = list(client.trail(case))
    assert trail[0].signature.value == "valid"
    assert NAME not in str(trail)
    page = police.goto(f"/cases/{case}/act")
    fold = page.locator("section details", has_text="There is nothing in the case now").first
    reason = fold.locator("li .quiet").first
    expect(reason).to_be_hidden()
    expect(page.locator("section details a")).to_have_count(0)
    fold.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(reason).to_be_visible()
    police.sees_no_barrier()
    police.picture("acts")
    page.get_by_role("link", name="Taken into a shelter").click()
    page.locator("#f-shelter_kind").select_option(index=1)
    page.locator("#f-provider").select_option("xk-isf")
    police.picture("act")
    page.get_by_role("button", name="See what will be signed").click()
    page.get_by_role("button", name="Sign and record").click()
    page.wait_for_url(re.compile(r"at_least="))
    expect(page.locator("table.lanes tbody tr")).to_have_count(2)
    said = page.locator("#recorded")
    expect(said).to_contain_text("Recorded as number 2: Taken into a shelter")
    expect(said).to_be_focused()
    page.wait_for_url(lambda url: "recorded=" not in url)  # a reload does not say it again
    expect(said.get_by_role("link").first).to_be_visible()
    police.sees_no_barrier()
    police.pictures("recorded")
    with node.client(POLICE) as client:
        action = next(iter(client.trail(case))).action_id
    page = police.goto(f"/cases/{case}?recorded={action}")
    expect(page.locator("#recorded")).to_contain_text("Recorded as number 1")
    page = person(OVERSIGHT).goto(f"/cases/{case}?recorded={action}")
    expect(page.locator("#recorded")).to_have_count(0)  # another agency recorded it


def test_what_is_not_possible_now_says_why(person: People, case: UUID) -> None:
    page = person(POLICE).goto(f"/cases/{case}/act/consent_given")
    expect(page.locator(".note.bad:visible")).to_contain_text("First comes: Guardian appointed")
    assert page.locator("#act").count() == 0


def test_a_field_that_is_missing_is_named(person: People, case: UUID) -> None:
    page = person(POLICE).goto(f"/cases/{case}/act/risk_assessed")
    page.get_by_role("button", name="See what will be signed").click()
    expect(page.get_by_role("alert")).to_contain_text("Level of risk: needs a value")
    assert page.evaluate("document.activeElement.id") == "f-risk_level"


def test_all_that_is_wrong_is_said_at_once_and_nothing_is_cut(person: People) -> None:
    police = person(POLICE)
    page = police.goto("/cases/new")
    show_whole(page)
    long = "ž" * 4010
    page.locator("#f-indicators_note").fill(f"  {long} ")
    expect(page.locator("#f-indicators_note-count")).to_have_text("4010 of 4000 characters")
    page.locator("#f-number_of_children").fill("-1")
    page.get_by_role("button", name="See what will be signed").click()
    said = page.get_by_role("alert").locator("li")
    expect(said).to_have_count(5)
    expect(said.filter(has_text="10 characters too many")).to_have_count(1)
    expect(said.filter(has_text="must be from 0 to")).to_have_count(1)
    expect(said.filter(has_text="needs a value")).to_have_count(3)
    expect(page.locator("#review")).to_be_hidden()
    assert page.locator("#f-indicators_note").input_value().strip() == long
    said.filter(has_text="too many").locator("a").click()
    field = page.locator("#f-indicators_note")
    expect(field).to_be_focused()
    expect(field).to_have_attribute("aria-invalid", "true")
    described = field.get_attribute("aria-describedby")
    assert described is not None
    expect(page.locator(f"#{described.split()[0]}")).to_contain_text("Nothing is cut")
    police.sees_no_barrier()
    police.pictures("act-wrong")
    page.reload()
    page.get_by_role("button", name="Throw away").click()
    until(lambda: kept(page) == [])


def test_another_language_keeps_the_form(person: People, case: UUID) -> None:
    page = person(POLICE).goto(f"/cases/{case}/act/risk_assessed")
    assess(page, NAME)
    open_menu(page)
    page.get_by_role("button", name="Shqip").click()
    expect(page.locator("html")).to_have_attribute("lang", "sq")
    expect(page.locator("#f-threats")).to_have_value(NAME)
    expect(page.locator("#f-risk_level")).to_have_value("high")
    open_menu(page)
    page.get_by_role("button", name="English").click()
    expect(page.locator("#f-threats")).to_have_value(NAME)
    page.get_by_role("button", name="Throw away").click()
    expect(page.locator("#f-threats")).to_have_value("")
    until(lambda: kept(page) == [])


def test_two_clicks_whose_answer_is_lost_open_one_case(person: People, node: Server) -> None:
    police = person(POLICE)
    police.expected = REFUSED
    page = police.goto("/cases/new")
    show_whole(page)
    page.locator("#f-age_group").select_option("child")
    page.get_by_label("Kosovo").check()
    page.locator("#f-ground").select_option("helpline")
    page.get_by_label("Out of school").check()
    page.get_by_role("button", name="See what will be signed").click()
    sent: list[str] = []
    page.on("request", lambda r: sent.append(r.post_data or "") if r.method == "POST" else None)
    with node.client(POLICE) as client:
        before = len(list(client.cases()))
        page.route("**/actions", answer_is_lost, times=1)
        # Both in the same moment: no script runs between them.
        page.get_by_role("button", name="Sign and record").evaluate(
            "one => { one.click(); one.click(); }"
        )
        expect(page.locator("#draft")).to_contain_text("not sent yet")
        page.get_by_role("button", name="Send again").click()
        page.wait_for_url(re.compile(r"at_least="))
        assert len(sent) == 2
        assert sent[0] == sent[1]
        assert len(list(client.cases())) == before + 1


def test_what_is_recorded_does_not_come_back_as_a_draft(person: People, node: Server) -> None:
    """A change waits to be kept when the form is signed, and its turn comes after the recording."""
    police = person(POLICE)
    page = police.goto("/cases/new")
    show_whole(page)
    page.locator("#f-age_group").select_option("child")
    page.get_by_label("Kosovo").check()
    page.locator("#f-ground").select_option("helpline")
    until(lambda: "helpline" in str(draft(page, f"{POLICE}/new/case_opened")))
    # Another tab is about to read the draft: each change waits for it, and the signature too.
    page.evaluate(
        """name => new Promise((holds) => navigator.locks.request(name, () => {
            holds();
            return new Promise((end) => { globalThis.endOfOtherTab = end; });
        }))""",
        f"sign {POLICE}/new/case_opened",
    )
    page.get_by_label("Out of school").check()
    page.locator("#f-ground").select_option("border_control")
    page.get_by_role("button", name="See what will be signed").click()
    page.get_by_role("button", name="Sign and record").click()
    page.evaluate("endOfOtherTab()")
    page.wait_for_url(re.compile(r"at_least="))
    assert kept(page) == []
    with node.client(POLICE) as client:
        case = UUID(page.url.split("/cases/")[1][:36])
        assert client.case(case).view.version == 1


def test_a_form_that_was_signed_in_another_tab_opens_no_second_case(
    person: People, node: Server
) -> None:
    police = person(POLICE)
    police.expected = REFUSED
    page = police.goto("/cases/new")
    show_whole(page)
    page.locator("#f-age_group").select_option("child")
    page.get_by_label("Kosovo").check()
    page.locator("#f-ground").select_option("helpline")
    page.get_by_label("Out of school").check()
    until(lambda: "out_of_school" in str(draft(page, f"{POLICE}/new/case_opened")))
    other = police.context.new_page()
    other.goto(f"{police.server.url}/cases/new")
    expect(other.locator("#f-ground")).to_have_value("helpline")
    with node.client(POLICE) as client:
        before = len(list(client.cases()))
        for tab in (page, other):
            tab.get_by_role("button", name="See what will be signed").click()
            tab.get_by_role("button", name="Sign and record").click()
            if tab is page:
                tab.wait_for_url(re.compile(r"at_least="))
        expect(other.locator("#trouble")).to_contain_text("opened from this form already")
        expect(other.locator("#since li")).to_have_count(1)
        assert len(list(client.cases())) == before + 1
        other.get_by_role("button", name="This is another person").click()
        other.wait_for_url(re.compile(r"at_least="))
        assert len(list(client.cases())) == before + 2
    other.close()


def test_a_clock_that_is_wrong_signs_the_servers_time(
    person: People, case: UUID, node: Server
) -> None:
    police = person(POLICE)
    page = police.context.new_page()
    page.add_init_script(
        """const behind = 40 * 60_000;
        const [now, origin] = [Date.now, performance.timeOrigin];
        const Real = Date;
        globalThis.Date = class extends Real {
            constructor(...given) { if (given.length) super(...given); else super(now() - behind); }
            static now() { return now() - behind; }
        };
        Object.defineProperty(performance, "timeOrigin", { value: origin - behind });"""
    )
    page.goto(f"{police.server.url}/cases/{case}/act/risk_assessed")
    page.locator("#f-risk_level").select_option("high")
    page.get_by_role("button", name="See what will be signed").click()
    expect(page.locator("#review-clock")).to_contain_text("40 minutes wrong")
    page.get_by_role("button", name="Sign and record").click()
    page.wait_for_url(re.compile(r"at_least="))
    with node.client(POLICE) as client:
        last = list(client.trail(case))[-1]
    assert abs((last.recorded_at - last.acted_at).total_seconds()) < 120
    page.close()


def test_an_act_of_now_is_not_earlier_than_what_was_recorded_in_the_same_minute(
    person: People, node: Server
) -> None:
    with node.client(POLICE) as client:
        now = datetime.now(UTC).replace(microsecond=0)
        opened = client.open_case(opening(acted_at=now))
        case = client.case(opened.case_id, at_least=opened.position).view.case_id
    page = person(POLICE).goto(f"/cases/{case}/act/risk_assessed")
    page.locator("#f-risk_level").select_option("high")
    page.get_by_role("button", name="See what will be signed").click()
    page.get_by_role("button", name="Sign and record").click()
    page.wait_for_url(f"**/cases/{case}?at_least=*")


def test_oversight_has_no_form_but_that_of_its_review(person: People, story: Told) -> None:
    watcher = person(OVERSIGHT)
    watcher.expected = re.compile("403")
    page = watcher.goto(f"/cases/{story.cases['A']}/act/risk_assessed")
    expect(page.get_by_role("heading", level=1)).to_have_text("This is not for your agency")
    watcher.sees_no_barrier()
    page = watcher.goto(f"/cases/{story.cases['A']}/act")
    offered = page.locator("main a[href*='/act/']").evaluate_all("all => all.map((a) => a.href)")
    assert all(address.endswith("/break_glass_reviewed") for address in offered)
    watcher.sees_no_barrier()


def test_another_roles_form_is_refused(person: People, case: UUID) -> None:
    police = person(POLICE)
    police.expected = REFUSED
    page = police.goto(f"/cases/{case}/act/charged")
    expect(page.get_by_role("heading", level=1)).to_have_text("This is not for your agency")


def assess(page: Page, threats: str) -> None:
    page.locator("#f-risk_level").select_option("high")
    page.locator("#f-threats").fill(threats)


def kept(page: Page) -> list[str]:
    """Return the drafts in the browser's database as text."""
    found: list[str] = page.evaluate(
        """async () => {
            const database = await new Promise((resolve) => {
                const asked = indexedDB.open("case-ledger");
                asked.onsuccess = () => resolve(asked.result);
            });
            const rows = await new Promise((resolve) => {
                const asked = database.transaction("drafts").objectStore("drafts").getAll();
                asked.onsuccess = () => resolve(asked.result);
            });
            return rows.map((row) => row.id + new TextDecoder().decode(row.sealed));
        }"""
    )
    return found


def test_what_was_typed_survives_and_is_in_no_store_in_clear(person: People, case: UUID) -> None:
    police = person(POLICE)
    page = police.goto(f"/cases/{case}/act/risk_assessed")
    assess(page, NAME)
    until(lambda: NAME in str(draft(page, f"{POLICE}/{case}/risk_assessed")))
    assert [NAME in text for text in kept(page)] == [False]
    page.reload()
    expect(page.locator("#draft")).to_contain_text("A draft from")
    expect(page.locator("#f-threats")).to_have_value(NAME)
    assert NAME not in page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    police.sees_no_barrier()
    page.reload()
    page.get_by_role("button", name="Throw away").click()
    until(lambda: kept(page) == [])


def test_what_was_signed_on_a_lost_connection_is_sent_once_when_it_is_back(
    person: People, case: UUID, node: Server
) -> None:
    police = person(POLICE)
    police.expected = REFUSED
    with node.client(POLICE) as client:
        before = len(list(client.trail(case)))
    page = police.goto(f"/cases/{case}/act/risk_assessed")
    assess(page, "on a lost connection")
    page.get_by_role("button", name="See what will be signed").click()
    police.context.set_offline(True)
    page.get_by_role("button", name="Sign and record").click()
    expect(page.locator("#trouble")).to_contain_text("kept in this browser")
    expect(page.locator("#draft")).to_contain_text("not sent yet")
    police.picture("act-offline")
    page.goto("about:blank")
    police.context.set_offline(False)
    page = police.goto(f"/cases/{case}/act/risk_assessed")
    expect(page.locator("#draft")).to_contain_text("not sent yet")
    sent: list[str] = []
    page.on("request", lambda r: sent.append(r.post_data or "") if r.method == "POST" else None)
    # The first answer is lost on its way, after the ledger has recorded the action.
    page.route("**/actions", answer_is_lost, times=1)
    page.get_by_role("button", name="Send again").click()
    expect(page.locator("#trouble")).to_contain_text("kept in this browser")
    page.get_by_role("button", name="Send again").click()
    page.wait_for_url(re.compile(r"at_least="))
    assert len(sent) == 2
    assert sent[0] == sent[1]
    with node.client(POLICE) as client:
        assert len(list(client.trail(case))) == before + 1
    assert kept(page) == []


def test_a_press_files_the_summary_as_a_document(person: People, case: UUID) -> None:
    """The node prints it, the browser signs its digest."""
    police = person(POLICE)
    page = police.goto(f"/cases/{case}")
    police.sees_no_barrier()
    page.locator("form.filing[data-made=summary] button").click()
    page.wait_for_url(re.compile(rf"/cases/{case}/documents\?at_least=\d+&filed=1$"))
    expect(page.get_by_role("status").filter(has_text="Filed and signed: 1.")).to_be_visible()
    with police.server.client(POLICE) as client:
        (filed,) = client.documents(case).documents
    assert (filed.is_here, filed.document.media_type) == (True, "application/pdf")


def test_a_case_that_moved_on_keeps_what_was_typed(
    person: People, case: UUID, node: Server
) -> None:
    police = person(POLICE)
    police.expected = REFUSED
    page = police.goto(f"/cases/{case}/act/risk_assessed")
    assess(page, "typed before it moved on")
    with node.client(POLICE) as client:
        version = client.case(case).view.version
        client.append(RiskAssessed(acted_at=datetime.now(UTC), risk_level="high"), case, version)
    page.get_by_role("button", name="See what will be signed").click()
    page.get_by_role("button", name="Sign and record").click()
    expect(page.locator("#trouble")).to_contain_text("Somebody recorded something")
    expect(page.locator("#trouble")).to_be_focused()
    expect(page.locator("#since li")).to_have_count(1)
    expect(page.locator("#since li")).to_contain_text("Risk assessed: High")
    expect(page.locator("#f-threats")).to_have_value("typed before it moved on")
    police.sees_no_barrier()
    police.pictures("act-moved-on")
    page.get_by_role("button", name="I have read it").click()
    page.wait_for_url(re.compile(r"at_least="))
    with node.client(POLICE) as client:
        assert client.case(case).view.version == version + 2


def test_a_session_that_ended_goes_on_where_it_was(
    person: People, case: UUID, node: Server
) -> None:
    police = person(POLICE)
    police.expected = REFUSED
    with node.client(POLICE) as client:
        before = client.case(case).view.version
    page = police.goto(f"/cases/{case}/act/risk_assessed")
    assess(page, "across the end of a session")
    page.get_by_role("button", name="See what will be signed").click()
    police.context.clear_cookies()
    page.get_by_role("button", name="Sign and record").click()
    over = page.locator("#session-over")
    expect(over).to_contain_text("Your session ended")
    police.sees_no_barrier()
    police.pictures("session-over")
    over.get_by_role("button").click()
    police.unlock()
    page.wait_for_url(re.compile(r"at_least="))
    with node.client(POLICE) as client:
        assert client.case(case).view.version == before + 1


def test_a_half_typed_date_is_an_error_and_its_text_is_kept(person: People, case: UUID) -> None:
    police = person(POLICE)
    page = police.goto(f"/cases/{case}/act/risk_assessed")
    assess(page, "with a half date")
    page.locator("#f-review_by-day").fill("5")
    page.locator("#f-review_by-month").fill("12")
    page.get_by_role("button", name="See what will be signed").click()
    expect(page.get_by_role("alert").locator("li")).to_have_text(
        re.compile("a part of the date is missing: Year")
    )
    expect(page.locator("#f-review_by-wrong")).to_contain_text("Year")
    year = page.locator("#f-review_by-year")
    expect(year).to_be_focused()
    expect(year).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#review")).to_be_hidden()
    police.sees_no_barrier()
    police.pictures("act-half-date")
    until(lambda: "'month': '12'" in str(draft(page, f"{POLICE}/{case}/risk_assessed")))
    page.reload()
    expect(page.locator("#f-review_by-day")).to_have_value("5")
    expect(page.locator("#f-review_by-month")).to_have_value("12")
    year.fill(str(datetime.now(UTC).year + 1))
    page.get_by_role("button", name="See what will be signed").click()
    expect(page.locator("#review")).to_contain_text("5 December")
    page.get_by_role("button", name="Change something").click()
    page.get_by_role("button", name="Throw away").click()
    until(lambda: kept(page) == [])


def test_a_long_form_is_filled_in_step_by_step_by_keyboard(person: People) -> None:
    """A step is checked when it is left; nothing typed is lost by moving, or by loading again."""
    police = person(POLICE)
    page = police.goto("/cases/new")
    steps = page.get_by_role("navigation", name="Steps of this form").locator("li button")
    expect(steps).to_have_count(5)
    page.locator("#f-age_group").focus()
    page.keyboard.press("Home")
    page.get_by_role("button", name="Next step").press("Enter")
    expect(page.get_by_role("alert").locator("li")).to_have_count(1)
    expect(page.locator("#f-age_group")).to_be_focused()
    expect(steps.first).to_contain_text("something is to be corrected")
    police.sees_no_barrier()
    page.keyboard.type("Ch")
    page.get_by_role("button", name="Next step").press("Enter")
    expect(page.get_by_role("heading", name="Step 2 of 5")).to_be_focused()
    expect(page.locator("#f-age_group")).to_be_hidden()
    steps.nth(4).press("Enter")
    page.locator("#f-phone").press_sequentially("044/100 200")
    page.keyboard.press("Tab")
    expect(page.locator("#f-phone")).to_have_value("+383 44 100 200")
    steps.nth(2).press("Space")
    page.locator("#f-first_name").press_sequentially(NAME)
    until(lambda: NAME in str(draft(page, f"{POLICE}/new/case_opened")))
    page.reload()
    expect(page.locator("#f-first_name")).to_have_value(NAME)
    expect(steps.nth(2)).to_have_attribute("aria-current", "step")
    steps.nth(4).press("Enter")
    page.get_by_role("button", name="See what will be signed").press("Enter")
    missing = page.get_by_role("alert").locator("li a")
    expect(missing).to_have_count(2)
    expect(page.locator("#f-ground")).to_be_focused()
    expect(steps.nth(1)).to_have_attribute("aria-current", "step")
    page.keyboard.type("Help")
    page.get_by_label("Out of school").press("Space")
    steps.nth(4).press("Enter")
    page.get_by_role("button", name="See what will be signed").press("Enter")
    review = page.locator("#review")
    expect(review).to_contain_text(NAME)
    expect(review).to_contain_text("+383 44 100 200")
    page.get_by_role("button", name="Sign and record").press("Enter")
    page.wait_for_url(re.compile(r"/cases/[0-9a-f-]{36}\?at_least=\d+$"))
    with police.server.client(POLICE) as client:
        opened_case = UUID(page.url.split("/")[-1].split("?")[0])
        assert client.case(opened_case).view.parties == ("XK",)


def test_an_act_of_half_past_midnight_is_shown_under_its_local_day(
    person: People, node: Server
) -> None:
    before = datetime(2026, 3, 14, 20, 0, tzinfo=UTC)
    with node.client(POLICE) as client:
        opened_case = client.open_case(opening(acted_at=before))
        case = client.case(opened_case.case_id, at_least=opened_case.position).view.case_id
    page = person(POLICE).goto(f"/cases/{case}/act/risk_assessed")
    page.locator("#f-risk_level").select_option("high")
    fill_date(page, "f-acted_at", date(2026, 3, 15))
    page.locator("#f-acted_at-time").fill("0030")
    expect(page.locator("#f-acted_at-hint")).to_contain_text("Local time of Kosovo: UTC+")
    page.get_by_role("button", name="See what will be signed").click()
    expect(page.locator("#review")).to_contain_text("15 March 2026 00:30 (UTC+1)")
    page.get_by_role("button", name="Sign and record").click()
    page.wait_for_url(f"**/cases/{case}?at_least=*")
    with node.client(POLICE) as client:
        assert list(client.trail(case))[-1].acted_at == datetime(2026, 3, 14, 23, 30, tzinfo=UTC)
    for part in ("", "/trail", "/act/correction"):
        page = person(POLICE).goto(f"/cases/{case}{part}")
        expect(page.locator("main")).to_contain_text("15 March 2026")


def test_what_was_signed_is_sent_from_any_page_and_not_lost_by_signing_out(
    person: People, case: UUID, node: Server
) -> None:
    police = person(POLICE)
    police.expected = REFUSED
    page = police.goto(f"/cases/{case}/act/risk_assessed")
    assess(page, "waits at the top")
    page.get_by_role("button", name="See what will be signed").click()
    page.route("**/actions", lambda route: route.abort())
    page.get_by_role("button", name="Sign and record").click()
    expect(page.locator("#draft")).to_contain_text("not sent yet")
    page = police.goto("/cases")
    waiting = page.locator("#unsent li")
    expect(waiting).to_have_count(1)
    expect(waiting).to_contain_text("Risk assessed")
    expect(waiting).to_contain_text(case_reference(case))
    open_menu(page)
    page.get_by_role("button", name="Sign out").click()
    asked = page.get_by_role("dialog")
    expect(asked).to_contain_text("not recorded yet")
    police.sees_no_barrier()
    police.pictures("unsent")
    asked.get_by_role("button", name="Stay").click()
    page.unroute("**/actions")
    with node.client(POLICE) as client:
        before = client.case(case).view.version
    waiting.get_by_role("button", name="Send again").click()
    expect(page.locator("#unsent")).to_be_hidden()
    until(lambda: kept(page) == [], what=lambda: str([one[:90] for one in kept(page)]))
    with node.client(POLICE) as client:
        until(lambda: client.case(case).view.version == before + 1)
    page = police.goto(f"/cases/{case}/act/risk_assessed")
    assess(page, "typed and left")
    open_menu(page)
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("dialog").get_by_role("button", name="Sign out and remove").click()
    page.wait_for_url("**/sign-in")
    assert kept(page) == []
