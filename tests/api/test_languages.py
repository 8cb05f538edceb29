"""Languages are found at run time: a folder of catalogues, and an entry in the protocol."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from api.notifying.letters import email_of, words_for
from api.notifying.subscriptions import Subscription
from api.paper.languages import found
from api.paper.languages.checking import check_folder, completed
from api.paper.languages.found import LanguageError, offered
from api.paper.languages.glyphs import ScriptNotInFontsError, check_script
from api.paper.subject_access.wording import wording
from api.web.languages import accepted
from api.web.refusal_text import quoted
from api.web.texts import texts
from ledger.procedure.protocol import Protocol, shipped_protocol
from ledger.vocabulary.picklists import Gender

SHIPPED = shipped_protocol()
EXAMPLES = Path(__file__).parents[2] / "examples"
PAGES = 'msgid "brand"\nmsgstr "Register"\n\nmsgid "foot.zone"\nmsgstr "Zone {zone}."\n'
NAMES = 'msgid "kind.sheltered"\nmsgstr "Im Heim"\n\nmsgid "text.mail.due"\nmsgstr "Frist"\n'


def protocol(**changes: Any) -> Protocol:
    return Protocol.model_validate(SHIPPED.model_dump(mode="json", exclude_none=True) | changes)


def write(folder: Path, code: str, *, pages: str = PAGES, names: str = NAMES) -> Path:
    own = folder / code / "LC_MESSAGES"
    own.mkdir(parents=True)
    (own / "case_ledger_web.po").write_text(pages, "utf-8")
    (own / "case_ledger.po").write_text(names, "utf-8")
    return folder / code


@pytest.fixture
def german(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(found.VARIABLE, str(tmp_path))
    return write(tmp_path, "de")


def test_a_folder_is_a_language(german: Path) -> None:
    language = found.language("de")
    assert (language.name, language.tag, language.direction) == ("Deutsch", "de", "ltr")
    assert language.folders == (german,)
    words = wording("de")
    assert words.kind("sheltered") == "Im Heim"
    assert words.day(date(2026, 3, 1)) == "1. März 2026"
    assert words.country("AL") == "Albanien"
    assert words.language_name("sqi") == "Albanisch"
    assert texts("de").text("foot.zone", zone="UTC") == "Zone UTC."


def test_no_text_for_people_has_backticks() -> None:
    """Pages, letters and mails show a text as it is: commands are in quotation marks."""
    marked = [
        (file.name, line)
        for root in (found.package_folder(), EXAMPLES)
        for file in root.rglob("*.po")
        for line in file.read_text("utf-8").splitlines()
        if line.startswith("msgstr") and "`" in line
    ]
    assert marked == []


def test_a_reason_has_its_names_in_quotation_marks() -> None:
    assert quoted("Run `case-ledger log key` here.") == "Run “case-ledger log key” here."


def test_a_text_that_a_language_lacks_is_the_english_one(german: Path) -> None:
    assert german.is_dir()
    assert texts("de").text("sign_out") == texts("en").text("sign_out")
    assert texts("de").count("meeting.owed", 2) == "2 obligations"
    assert wording("de").picked(Gender.FEMININE) == "Female"


def test_a_folder_goes_before_the_texts_that_ship(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "sq", names='msgid "kind.sheltered"\nmsgstr "Në shtëpi"\n')
    before = wording("sq")
    monkeypatch.setenv(found.VARIABLE, str(tmp_path))
    after = wording("sq")
    assert after.kind("sheltered") == "Në shtëpi" != before.kind("sheltered")
    assert after.kind("case_opened") == before.kind("case_opened") != "case_opened"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Bis {day}", "other places"),
        ("Ortszeit", "lacks"),
        ("{zone.__class__}", "other places"),
        ("{zone", "other places"),
    ],
)
def test_a_text_with_other_places_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, why: str
) -> None:
    monkeypatch.setenv(found.VARIABLE, str(tmp_path))
    folder = write(tmp_path, "de", pages=f'msgid "foot.zone"\nmsgstr "{text}"\n')
    assert texts("de").text("foot.zone", zone="UTC") == "Times here: UTC."
    faulty = dict(check_folder(folder).files[1].faulty)
    assert why in faulty["foot.zone"]


def test_what_a_folder_lacks_is_told(german: Path) -> None:
    names, pages = check_folder(german).files
    assert "kind.case_opened" in names.missing
    assert "kind.sheltered" not in names.missing
    assert not any(one.startswith("agency.") for one in names.missing), "of one protocol alone"
    assert "country.DE" not in names.missing, "CLDR has it"
    assert "sign_out" in pages.missing
    filled = german / "LC_MESSAGES" / "case_ledger_web.po"
    filled.write_bytes(completed(german, filled.name))
    assert 'msgid "brand"\nmsgstr "Register"' in filled.read_text("utf-8")
    assert check_folder(german).files[1].missing == tuple(
        one for one in pages.missing if one != "brand"
    )
    labelled = check_folder(german, protocol(title="Another", roles=SHIPPED.roles)).unlabelled
    assert "title" in labelled
    assert "agency.xk-nac" in labelled


def test_a_language_that_does_not_hold_is_refused_with_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(found.VARIABLE, str(tmp_path))
    folder = write(tmp_path, "rup")
    with pytest.raises(LanguageError, match=r"no locale 'rup'.*language\.toml"):
        found.languages()
    (folder / "language.toml").write_text('locale = "ro"\nname = "Armãneashti"\n', "utf-8")
    found._languages.cache_clear()
    assert found.language("rup").name == "Armãneashti"
    (folder / "language.toml").write_text("locale = 7\n", "utf-8")
    found._languages.cache_clear()
    with pytest.raises(LanguageError, match=str(folder / "language.toml")):
        found.languages()
    found._languages.cache_clear()
    monkeypatch.setenv(found.VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(LanguageError, match="which is no folder"):
        found.languages()


def test_a_catalogue_that_does_not_parse_names_its_file(german: Path) -> None:
    file = german / "LC_MESSAGES" / "case_ledger.po"
    file.write_text("no catalogue\n", "utf-8")
    with pytest.raises(LanguageError, match=str(file)):
        check_folder(german)


def test_the_protocol_says_which_languages_are_offered(german: Path) -> None:
    assert german.is_dir()
    assert [one.code for one in offered(None)] == ["cnr", "sq", "en"]
    assert [one.code for one in offered(protocol(languages=None))] == ["cnr", "sq", "en"]
    own = offered(protocol(languages=["de", "sq", "mt"]))
    assert [one.code for one in own] == ["de", "sq"]
    assert accepted("de-AT", own).code == "de"
    assert accepted("cnr", own).code == "de", "not offered; English neither: the first"
    assert accepted("", offered(protocol(languages=["de", "en"]))).code == "en"
    assert [one.code for one in offered(protocol(languages=["mt"]))] == ["en"]
    assert found.missing_languages(protocol(languages=["de", "mt"])) == ["mt"]


def test_a_language_is_written_from_right_to_left_by_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(found.VARIABLE, str(tmp_path))
    write(tmp_path, "ar")
    assert found.language("ar").direction == "rtl"


def test_a_script_that_the_fonts_lack_has_no_pdf(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(found.VARIABLE, str(tmp_path))
    folder = write(tmp_path, "ka", names='msgid "kind.sheltered"\nmsgstr "თავშესაფარი"\n')
    assert found.language("ka").folders == (folder,)
    check_script(found.language("ka"))
    write(tmp_path, "am", names='msgid "kind.sheltered"\nmsgstr "መጠለያ"\n')
    found._languages.cache_clear()
    with pytest.raises(ScriptNotInFontsError, match=r"lack letters of አማርኛ, such as U\+12"):
        check_script(found.language("am"))
    assert check_folder(tmp_path / "am").without_glyph


LABELS: Mapping[str, Mapping[str, str]] = {
    "sq": {
        "title": "Protokolli",
        "role.police": "Rojat",
        "kind.sheltered": "Në strehë",
        "value.Gender.Feminine": "vajzë",
        "country.XK": "Kosovë",
    },
    "en": {"kind.sheltered": "Taken in"},
}


def test_a_protocol_has_words_of_its_own() -> None:
    words = wording("sq", protocol(labels=LABELS))
    assert words.role("police") == "Rojat"
    assert words.kind("sheltered") == "Në strehë"
    assert words.picked(Gender.FEMININE) == "vajzë"
    assert words.country("XK") == "Kosovë"
    assert words.proper_name(SHIPPED.title) == "Protokolli"
    assert wording("en", protocol(labels=LABELS)).kind("sheltered") == "Taken in"
    other = wording("cnr", protocol(labels=LABELS))
    assert other.kind("sheltered") == wording("cnr").kind("sheltered") != "Taken in"


def test_a_role_that_is_named_otherwise_is_not_translated_as_the_programs() -> None:
    renamed = protocol(roles={**SHIPPED.roles, "police": "Coast guard"})
    assert wording("sq", renamed).role("police") == "Coast guard"
    assert wording("sq", SHIPPED).role("police") == wording("sq").role("police") != "Police"


@pytest.mark.parametrize(
    "labels",
    [
        {"sq": {"role.gardener": "X"}},
        {"sq": {"agency.xk-nac": "X"}},
        {"albanian": {"title": "X"}},
        {"sq": {"title": "a\u202eb"}},
    ],
)
def test_labels_that_do_not_hold_are_refused(labels: object) -> None:
    with pytest.raises(ValueError, match=r"labels|name"):
        protocol(labels=labels)


def test_times_are_the_local_times_of_the_readers_party() -> None:
    winter, summer = datetime(2026, 1, 31, 23, 30, tzinfo=UTC), datetime(2026, 7, 1, 8, tzinfo=UTC)
    words = wording("en", SHIPPED, "ME")
    assert words.moment(winter) == "1 February 2026 00:30 UTC+1"
    assert words.day(winter) == "1 February 2026"
    assert words.zone_name(summer) == "Europe/Podgorica (UTC+2)"
    assert wording("en", SHIPPED).moment(winter) == "31 January 2026 23:30 UTC"
    parties = [
        {**one, "time_zone": "Asia/Kathmandu"} if one["code"] == "ME" else one
        for one in SHIPPED.model_dump(mode="json", exclude_none=True)["parties"]
    ]
    there = wording("en", protocol(parties=parties), "ME")
    assert there.moment(summer) == "1 July 2026 13:45 UTC+5:45"


def test_a_deadline_is_shown_as_the_day_by_which_it_counts() -> None:
    due = datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC)  # a day named in an action, as always
    assert wording("en", SHIPPED, "ME").due_day(due, "AL") == "1 March 2026"
    local = protocol(local_days=True)
    assert wording("en", local, "ME").due_day(due, "AL") == "2 March 2026"


def test_an_email_is_in_the_language_and_time_of_its_party(german: Path) -> None:
    assert german.is_dir()
    message = {
        "type": "obligation.overdue",
        "timestamp": "2026-01-05T09:00:00Z",
        "data": {
            "obligation_id": "o", "case_id": "c", "kind": "procedure", "action": "sheltered",
            "debtor": "ME", "debtor_agency": None, "due": "2026-01-04T12:00:00Z",
        },
    }  # fmt: skip

    def letter(agency: str, language: str | None) -> tuple[str, str]:
        words = words_for(
            Subscription(agency, email="x@office.example", language=language), SHIPPED
        )
        made = email_of("a@office.example", "x@office.example", UUID(int=1), message, words)
        return str(made["Content-Language"]), made["Subject"] + "\n" + made.get_content()

    tag, text = letter("me-nac", None)
    assert tag == "cnr-Latn"
    assert wording("cnr").kind("sheltered") in text
    assert "4. januar 2026. 13:00 UTC+1" in text
    assert "Europe/Podgorica" in text
    tag, text = letter("me-nac", "de")
    assert tag == "de"
    assert "Im Heim" in text
    assert "Frist" in text
    assert letter("me-nac", "mt")[0] == "en", "this node lacks its catalogues"
