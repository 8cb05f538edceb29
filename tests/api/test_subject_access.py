"""A person's file, as JSON and as a PDF, in three languages."""

import json
import re
import unicodedata
import warnings
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from string import Formatter
from typing import Any
from uuid import UUID, uuid5

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue, ValidationError
from pypdf import PdfReader

from api.demo.story import STORY
from api.paper.languages import checking
from api.paper.languages.catalogue import messages
from api.paper.languages.found import language as found_language
from api.paper.languages.found import package_folder, shipped
from api.paper.printing.glyphs import _RANGES, shown
from api.paper.subject_access import catalogues
from api.paper.subject_access.document import Access, HeldField, SubjectFile, labelled
from api.paper.subject_access.messages import picklists, required
from api.paper.subject_access.pdf import NotRendered, render
from api.paper.subject_access.value_shapes import Plain, shape
from api.paper.subject_access.wording import wording
from ledger.procedure.protocol import shipped_protocol
from ledger.procedure.registry import SignatureState
from ledger.vocabulary import ALL_ACTIONS, CASE_ACTIONS
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import CaseStatus, LegalBasis, Purpose, Stage
from projections.folds.audit_trail import Change, TrailEntry

CASE = UUID("00000000-0000-4000-8000-00000000000a")
MADE_AT = datetime(2026, 6, 1, 8, 15, tzinfo=UTC)
LETTERS = {"sq": "ëç", "cnr": "čćšžđ", "en": "Aa"}
PROTOCOL = shipped_protocol()
LANGUAGES = tuple(shipped())
each_language = pytest.mark.parametrize("language", LANGUAGES)


def story(language: str) -> SubjectFile:
    """The girl of the demonstration's story, as Kosovo would hold her."""
    ids = {step.name: uuid5(CASE, step.name) for step in STORY}
    held: list[HeldField] = []
    trail: list[TrailEntry] = []
    for position, step in enumerate((s for s in STORY if s.case == "A"), start=1):
        action = step.action(ids)
        for field, value in action.disclosable_claims().items():
            level = type(action).level(field)
            held.append(
                HeldField(
                    action_id=ids[step.name],
                    kind=action.kind,
                    agency=step.agency,
                    acted_at=action.acted_at,
                    field=field,
                    level=level.level,
                    group=level.group,
                    value=value,
                    received_from="ME" if step.agency.startswith("me") else None,
                )
            )
        fields = action.ledger_claims()
        fields.pop("acted_at")
        trail.append(entry(position, action.kind, step.agency, action.acted_at, fields, step.name))
    return SubjectFile(
        case_id=CASE,
        country="XK",
        language=language,
        made_at=MADE_AT,
        protocol_title=PROTOCOL.title,
        parties=("XK", "ME"),
        status=CaseStatus.FOLLOW_UP,
        stage=Stage.RETURN,
        held=tuple(held),
        trail=tuple(trail),
        accesses=(
            access(granted=True, groups=(FieldGroup.IDENTITY, FieldGroup.FAMILY)),
            access(granted=False, groups=(FieldGroup.HEALTH,), person=None),
            access(granted=True, groups=()),
        ),
        agencies=PROTOCOL.agencies,
    )


def entry(
    position: int,
    kind: str,
    agency: str,
    acted_at: datetime,
    fields: dict[str, JsonValue],
    name: str = "",
) -> TrailEntry:
    return TrailEntry(
        case_id=CASE,
        version=position,
        position=position,
        action_id=uuid5(CASE, name or str(position)),
        kind=kind,
        agency=agency,
        party=agency[:2].upper(),
        acted_at=acted_at,
        signed_at=acted_at,
        recorded_at=acted_at,
        key_id="k" * 43,
        signature=SignatureState.VALID,
        fields=fields,
        changes=(Change(path="/status", before=None, after="Active"),),
    )


def access(
    *, granted: bool, groups: tuple[FieldGroup, ...], person: str | None = "Vera Primjer"
) -> Access:
    return Access(
        at=MADE_AT - timedelta(days=3),
        agency="xk-csw-prishtina",
        person=person,
        groups=groups,
        purpose=Purpose.PROTECTION,
        bases=(LegalBasis.CONSENT,),
        granted=granted,
        refused_by=None if granted else "no-consent-in-force",
    )


def file_with(value: JsonValue, **update: Any) -> SubjectFile:
    """A file that holds one value alone."""
    base = story("en")
    held = base.held[0].model_copy(update={"kind": "sheltered", "field": "address", "value": value})
    return base.model_copy(update={"held": (held,), "trail": (), "accesses": (), **update})


def reader(content: bytes) -> PdfReader:
    return PdfReader(BytesIO(content))


def text_of(content: bytes) -> str:
    return squeezed("".join(page.extract_text() for page in reader(content).pages))


def squeezed(text: str) -> str:
    """Without white space, which says in a PDF where a line ended and no more."""
    return re.sub(r"\s+", "", unicodedata.normalize("NFC", text))


def texts(value: JsonValue) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from texts(item)
    elif isinstance(value, str):
        yield value


def structure(element: Any) -> Iterator[str]:
    """The structure types of a tagged PDF, in reading order."""
    element = element.get_object()
    if isinstance(element, list):
        for kid in element:
            yield from structure(kid)
    elif hasattr(element, "get"):
        if "/S" in element:
            yield element["/S"]
        if "/K" in element:
            yield from structure(element["/K"])


@each_language
def test_every_message_is_translated(language: str) -> None:
    assert catalogues.missing(language) == ()
    assert catalogues.unused(language) == ()


def test_the_messages_cover_the_vocabulary() -> None:
    ids = required()
    for kind, model in ALL_ACTIONS.items():
        assert f"kind.{kind}" in ids
        assert [name for name in model.model_fields if f"field.{name}" not in ids] == []
    for name in ("Gender", "FieldGroup", "CaseStatus", "Stage", "Purpose", "Platform", "Level"):
        assert name in {picklist.__name__ for picklist in picklists()}
    assert len(picklists()) > 45


@each_language
def test_a_catalogue_is_sorted_and_complete_as_the_command_writes_it(language: str) -> None:
    folder = package_folder() / language
    path = folder / "LC_MESSAGES" / "case_ledger.po"
    assert path.read_bytes() == checking.completed(folder, path.name)


@pytest.mark.parametrize("language", ["sq", "cnr"])
def test_translations_fill_in_what_the_english_text_does(language: str) -> None:
    english = messages_of("en")
    for message, text in messages_of(language).items():
        assert places(text) == places(english[message]), message


def messages_of(language: str) -> Mapping[str, str]:
    return messages(found_language(language))


def places(text: str) -> set[str | None]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


def test_languages_are_not_mixed_up() -> None:
    for language in LANGUAGES:
        joined = "".join(messages_of(language).values())
        assert all(letter in joined for letter in LETTERS[language])
    assert not set("ëç") & set("".join(messages_of("cnr").values()))
    assert not set("ćđ") & set("".join(messages_of("sq").values()))


def test_a_missing_message_is_found_and_written_to_be_filled_in(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = directory / "sq" / "LC_MESSAGES"
    own.mkdir(parents=True)
    whole = (package_folder() / "sq" / "LC_MESSAGES" / "case_ledger.po").read_text("utf-8")
    (own / "case_ledger.po").write_text(whole.replace('msgstr "Femër"', 'msgstr ""'), "utf-8")
    assert catalogues.main([str(directory)]) == 1
    told = capsys.readouterr().out
    assert "sq: missing value.Gender.Feminine" in told
    assert "sq: missing brand" in told, "the folder has no texts of the pages"
    assert catalogues.main([str(directory), "--add"]) == 1
    written = (own / "case_ledger.po").read_bytes()
    assert b'msgid "value.Gender.Feminine"\nmsgstr ""\n' in written
    assert b'msgid "brand"\nmsgstr ""\n' in (own / "case_ledger_web.po").read_bytes()
    assert (
        b'msgid "meeting.owed"\nmsgid_plural "meeting.owed.many"\n'
        in (own / "case_ledger_web.po").read_bytes()
    )


def test_what_has_no_translation_is_shown_by_its_name() -> None:
    words = wording("sq")
    assert words.kind("not_invented_yet") == "not_invented_yet"
    assert words.value("case_opened", "gender", "Unheard", {}) == ("Unheard",)
    assert words.value("not_invented_yet", "x", {"a": [1]}, {}) == ('{"a": [1]}',)
    assert words.country("ZZ9") == "ZZ9"
    assert words.language_name("xyz9") == "xyz9"


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("sq", ("3 dhjetor 2025 09:30 UTC", "Mal i Zi", "shqip", "femër", "1.234,5")),
        ("cnr", ("3. decembar 2025. 09:30 UTC", "Crna Gora", "albanski", "ženski", "1.234,5")),
        ("en", ("3 December 2025 09:30 UTC", "Montenegro", "Albanian", "female", "1,234.5")),
    ],
)
def test_dates_codes_and_numbers_follow_the_language(
    language: str, expected: tuple[str, ...]
) -> None:
    words = wording(language)
    found = (
        words.moment(datetime(2025, 12, 3, 9, 30, tzinfo=UTC)),
        words.country("ME"),
        words.language_name("sqi"),
        words.value("case_opened", "gender", "Feminine", {})[0].lower(),
        words.value("compensation_recorded", "amount_eur", "1234.50", {})[0],
    )
    assert found[:4] == expected[:4]
    assert squeezed(found[4]).replace("\u00a0", "") in (expected[4], expected[4].replace(".", ""))


def test_shapes_are_read_from_the_vocabulary() -> None:
    assert shape("case_opened", "birthdate") is Plain.DATE
    assert shape("case_opened", "citizenship") is Plain.COUNTRY
    assert shape("consent_given", "language") is Plain.LANGUAGE
    assert shape("sheltered", "provider") is Plain.AGENCY
    assert shape("correction", "corrects") is Plain.ACTION
    assert shape("protection_measure_taken", "until") is Plain.MOMENT
    assert shape("compensation_recorded", "amount_eur") is Plain.NUMBER
    assert shape("family_assessed", "suitable") is Plain.FLAG
    assert shape("shelter_left", "destination") is Plain.TEXT


@each_language
def test_json_keeps_machine_names_and_labels_them(language: str) -> None:
    file = story(language)
    assert SubjectFile.model_validate_json(file.model_dump_json()) == file
    given = labelled(file)
    assert type(given).model_validate_json(given.model_dump_json()) == given
    document = json.loads(given.model_dump_json())
    assert document["file"]["held"][0]["field"] in document["labels"]["fields"]
    labels, words = given.labels, wording(language)
    assert labels.values["case_opened.gender"] == {
        "Feminine": words.value("case_opened", "gender", "Feminine", {})[0]
    }
    for held in file.held:
        assert labels.fields[held.field] == words.field(held.field)
        assert labels.actions[held.kind] == words.kind(held.kind)
        assert held.agency in labels.agencies
    assert labels.countries["ME"] == words.country("ME")
    assert labels.roles["police"] == words.role("police")
    assert labels.purposes == {"protection": words.picked(Purpose.PROTECTION)}


@each_language
def test_a_pdf_shows_all_that_is_held_and_done(language: str) -> None:
    file = story(language)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        content = render(file)
    text, words = text_of(content), wording(language)
    named = {**labelled(file).labels.agencies}
    for held in file.held:
        assert squeezed(words.field(held.field)) in text
        for line in words.value(held.kind, held.field, held.value, named):
            assert (squeezed(line) in text) is True, f"{held.kind}.{held.field}"
    for step in file.trail:
        assert squeezed(words.kind(step.kind)) in text
        assert squeezed(named[step.agency]) in text
    for name in ("access.granted", "access.refused", "rights.complaint", "rights.child"):
        assert squeezed(words.text(name)) in text
    assert all(letter in text for letter in LETTERS[language])
    assert str(CASE) in text
    assert squeezed(words.text("page", page="2", pages=str(len(reader(content).pages)))) in text
    assert "\ufffd" not in text
    assert "[U+" not in text


@each_language
def test_a_pdf_is_tagged_titled_dated_and_carries_its_fonts(language: str) -> None:
    pdf = reader(render(story(language)))
    catalogue: Any = pdf.trailer["/Root"]
    assert catalogue["/Lang"] == language
    assert catalogue["/MarkInfo"]["/Marked"]
    types = set(structure(catalogue["/StructTreeRoot"]["/K"]))
    assert {"/H1", "/H2", "/Table", "/TH", "/TD", "/L", "/P"} <= types
    assert b"pdfuaid" in catalogue["/Metadata"].get_object().get_data()
    assert pdf.metadata is not None
    assert pdf.metadata.title == wording(language).text("title")
    assert pdf.metadata.creation_date == MADE_AT
    for page in pdf.pages:
        assert [round(float(x)) for x in page.mediabox] == [0, 0, 595, 842]
        for font in page["/Resources"]["/Font"].values():  # type: ignore[index]
            descriptor = font.get_object()["/DescendantFonts"][0].get_object()["/FontDescriptor"]
            assert {"/FontFile2", "/FontFile3"} & set(descriptor.get_object())


def test_the_same_file_gives_the_same_bytes() -> None:
    assert render(story("cnr")) == render(story("cnr"))
    later = story("cnr").model_copy(update={"made_at": MADE_AT + timedelta(seconds=1)})
    assert render(later) != render(story("cnr"))


def test_a_file_says_what_was_annulled_and_whose_signature_is_in_doubt() -> None:
    fields: dict[str, JsonValue] = {
        "corrects": str(uuid5(CASE, "1")),
        "effect": "annulled",
        "reason": "entry_error",
    }
    wrong = entry(1, "risk_assessed", "xk-dhtqnj", MADE_AT, {"risk_level": "high"})
    doubtful = entry(2, "correction", "xk-dhtqnj", MADE_AT, fields).model_copy(
        update={"signature": SignatureState.KEY_COMPROMISED_THEN}
    )
    text = text_of(render(file_with("x", trail=(wrong, doubtful))))
    assert text.count(squeezed("Annulled by a later correction")) == 1
    assert text.count("Signature:") == 1
    assert squeezed("Entry that is corrected: Risk assessed, 1 June 2026") in text


def test_a_file_says_from_which_country_a_field_was_received() -> None:
    assert "Receivedfrom:Montenegro" in text_of(render(story("en")))


def test_a_personal_field_is_in_a_group_and_no_error_shows_its_value() -> None:
    held = story("en").held[0].model_dump() | {"level": "personal", "group": None}
    with pytest.raises(ValidationError) as refused:
        HeldField.model_validate(held | {"value": "a-held-value"})
    assert "a-held-value" not in str(refused.value)
    assert "a-held-value" not in repr(file_with("a-held-value"))


def test_an_erased_or_empty_file_says_so() -> None:
    file = story("en")
    nothing = {"held": (), "trail": (), "accesses": ()}
    text = text_of(render(file.model_copy(update={**nothing, "erased_at": MADE_AT})))
    for said in ("erased on 1 June 2026", "Nothing is held", "No reading is", "Nothing is on rec"):
        assert squeezed(said) in text


def test_long_texts_and_long_trails_go_on_over_pages() -> None:
    words = " ".join(f"w{n:05}" for n in range(571))
    unbroken = "č" * 4000
    assert len(words) < 4000
    kinds = sorted(CASE_ACTIONS)
    trail = tuple(
        entry(n, kinds[n % len(kinds)], "xk-nac", MADE_AT + timedelta(minutes=n), {})
        for n in range(1, 501)
    )
    content = render(file_with([words, unbroken, "end."], trail=trail))
    pages = reader(content).pages
    text = text_of(content)
    assert len(pages) > 12
    assert text.count("č") == 4000
    assert squeezed(words)[:300] in text
    assert "w00570" in text
    for step in trail:
        assert squeezed(wording("en").moment(step.acted_at)) in text
    assert len(widths_beyond_the_margin(content)) == 0


def widths_beyond_the_margin(content: bytes) -> list[float]:
    """Return the widths of texts beyond the right margin. A line that cannot break ends there."""
    found: list[float] = []

    def visit(text: str, _: Any, tm: list[float], __: Any, size: float) -> None:
        if text.strip():
            found.append(float(tm[4]) + 0.3 * size * len(text.strip()))

    for page in reader(content).pages:
        page.extract_text(visitor_text=visit)
    return [x for x in found if x > 595]


HOSTILE = (
    "<b>bold</b> &amp; <script>alert(1)</script>",
    "%s %d {title} {0} %(name)s \\n",
    '#let x = 1; #image("/etc/passwd") $a^2$ *b* _c_ `d` @ref <label> = Heading',
    ") Tj ET endstream endobj 1 0 obj << /JavaScript >>",
    "--- ... -- 'quoted' \"quoted\" ~ // comment /* comment */ https://example.org",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_markup_is_shown_as_it_is(text: str) -> None:
    entries = (entry(1, text, text, MADE_AT, {text: text}),)
    accesses = (access(granted=False, groups=()).model_copy(update={"refused_by": text}),)
    file = file_with(text, trail=entries, accesses=accesses, protocol_title=text)
    content = render(file)
    assert text_of(content).count(squeezed(text)) >= 6
    catalogue: Any = reader(content).trailer["/Root"]
    assert "/OpenAction" not in catalogue
    assert "/JavaScript" not in catalogue.get("/Names", {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\u202eb", "a[U+202E]b"),
        ("a\u2066b\u200f", "a[U+2066]b[U+200F]"),
        ("a\x00\x1b[31mb\x7f", "a[U+0000][U+001B][31mb[U+007F]"),
        ("中", "[U+4E2D]"),
        ("\U0001f600", "[U+1F600]"),
        ("x\u0335\u0489", "x[U+0335][U+0489]"),
        ("c\u030c", "č"),
        ("\u2028\u00ad\ufeff", "[U+2028][U+00AD][U+FEFF]"),
        ("Олга Κώστας", "ОлгаΚώστας"),
    ],
)
def test_what_cannot_be_seen_is_shown_by_its_number(text: str, expected: str) -> None:
    assert squeezed("".join(shown(text)[0])) == expected
    assert expected in text_of(render(file_with(text)))


def test_the_letters_of_the_languages_are_shown() -> None:
    letters = "ëçËÇčćšžđČĆŠŽĐśźŚŹ"
    assert letters in text_of(render(file_with(letters)))


def test_letters_that_run_from_right_to_left_are_there() -> None:
    text = text_of(render(file_with("before محمد after שלום end")))
    found = unicodedata.normalize("NFKC", text)
    assert set("محمدשלום") <= set(found)
    assert found.index("before") < found.index("after") < found.index("end")


def test_every_character_that_is_let_through_has_a_glyph() -> None:
    everything = [" ".join(chr(code) for code in range(first, last + 1)) for first, last in _RANGES]
    assert "[U+" not in "".join("".join(line) for text in everything for line in shown(text))
    render(file_with(list(everything)))  # PDF/UA refuses a character without a glyph


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(st.characters(exclude_categories=()), max_size=200))
def test_no_text_breaks_the_document(text: str) -> None:
    assert render(file_with(text)).startswith(b"%PDF-")


def test_what_fails_says_nothing_of_what_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "api.paper.subject_access.pdf._template", lambda: b"#panic(sys.inputs.file)"
    )
    with pytest.raises(NotRendered) as failed:
        render(file_with("a-held-value"))
    assert "a-held-value" not in str(failed.value)
    assert failed.value.__cause__ is None
    assert failed.value.__context__ is None
