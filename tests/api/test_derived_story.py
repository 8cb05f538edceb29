"""A story of one case is derived from any protocol's rules, or refused in one line."""

from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pypdf import PdfReader

from api.demo import DemoError
from api.demo.derived_story import derived_story
from api.demo.play_nodes import play_nodes
from api.demo.story import has_story
from api.http.access import Caller
from api.paper.languages import found
from api.paper.subject_access.wording import wording
from api.runtime.settings import Settings
from api.web.case_text import names, rows
from api.web.printing import Printing
from api.web.rendering import Words
from api.web.texts import texts
from ledger.procedure.agreement import Agreement
from ledger.procedure.protocol import Protocol, load_protocol, shipped_protocol
from ledger.procedure.registry import Registry, SignatureState
from ledger.vault.held_fields import HeldFields
from projections.folds.audit_trail import TrailEntry, trail_document
from projections.folds.case_view import case_view
from tests.api.test_subject_access import squeezed
from tests.support.agencies import Agencies
from tests.support.recorded_case import RecordedCase

CORRIDORS = Path(__file__).parents[2] / "examples" / "corridors"
EXAMPLES = sorted(CORRIDORS.glob("*/protocol.toml"))
BEGAN = datetime(2026, 5, 1, tzinfo=UTC)
TEXT = shipped_protocol().model_dump(mode="json", exclude_none=True)


def without_roles(*kinds: str) -> Protocol:
    actions: dict[str, Any] = {**TEXT["actions"]}
    for kind in kinds:
        actions[kind] = {**actions[kind], "roles": []}
    return Protocol.model_validate(TEXT | {"actions": actions})


def test_there_are_two_examples() -> None:
    assert len(EXAMPLES) == 2
    for file in EXAMPLES:
        assert "AN EXAMPLE, INVENTED" in file.read_text("utf-8")


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.parent.name)
def test_a_story_goes_from_opening_to_closing(file: Path) -> None:
    protocol = load_protocol(file)
    assert not has_story(protocol)
    story = derived_story(protocol, BEGAN)
    kinds = [step.action({}).kind for step in story]
    assert (kinds[0], kinds[-1]) == ("case_opened", "case_closed")
    assert {"information_provided", "sheltered", "return_decided", "received"} <= set(kinds)
    parties = {protocol.agencies_by_id[step.agency].party for step in story}
    assert parties == protocol.party_codes
    assert [step.acted_at for step in story] == sorted(step.acted_at for step in story)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.parent.name)
def test_the_case_of_a_story_is_printed_in_the_languages_of_its_protocol(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its summary and its trail, with the protocol's own words and its local time."""
    if (folder := file.parent / "locale").is_dir():
        monkeypatch.setenv(found.VARIABLE, str(folder))
    protocol = load_protocol(file)
    case = RecordedCase(Agencies(protocol))
    ids: dict[str, UUID] = {}
    for step in derived_story(protocol, BEGAN):
        ids[str(step.planned_id)] = case.take(step.agency, step.action(ids))
    assert case.case is not None
    assert case.case.state is not None
    agreement, registry = Agreement.of(protocol), Registry(Agreement.of(protocol), {}, 1)
    party = protocol.parties[0].code
    view = case_view(case.case.state, party, agreement, {act.id: act for act in case.acts})
    trail = [
        TrailEntry.model_validate(
            trail_document(event, registry, SignatureState.VALID, {}, {}, None)
        )
        for event in case.events
    ]
    agency = protocol.agencies_by_id[trail[0].agency]
    for code in protocol.languages or ():
        words = Words(texts(code), wording(code, protocol, party))
        printing = Printing(
            caller=Caller(agency, registry),
            words=words,
            at=BEGAN,
            case=view,
            position=len(trail),
            rows=rows(trail, HeldFields(), {}, agreement, words.things),
            named=names(protocol, trail, words.things),
        )
        for content in (printing.summary(()), printing.trail()):
            pdf = PdfReader(BytesIO(content))
            told = squeezed("".join(page.extract_text() for page in pdf.pages))
            assert pdf.trailer["/Root"]["/Lang"] == code
            assert "[U+" not in told, "every letter has a glyph"
            assert squeezed(words.things.kind("sheltered")) in told
            assert squeezed(words.things.agency(agency)) in told
            assert squeezed(words.things.day(trail[0].acted_at)) in told
            assert squeezed(words.things.country(party)) in told


def test_the_protocol_that_ships_has_its_own_story_and_could_have_another() -> None:
    assert has_story(shipped_protocol())
    assert len(derived_story(shipped_protocol(), BEGAN)) > 20


@pytest.mark.parametrize(
    ("kinds", "why"),
    [(["case_opened"], "no role may open a case"), (["case_closed"], "let no agency close")],
)
def test_rules_without_a_story_are_named_in_one_line(kinds: list[str], why: str) -> None:
    with pytest.raises(DemoError, match=why) as refused:
        derived_story(without_roles(*kinds), BEGAN)
    assert "\n" not in str(refused.value)


def test_several_nodes_play_the_story_of_the_shipped_protocol_alone(tmp_path: Path) -> None:
    settings = Settings(data_directory=tmp_path, protocol=EXAMPLES[0])
    with pytest.raises(DemoError, match="demo-nodes plays the story of other agencies"):
        play_nodes(settings, as_json=True)
    assert list(tmp_path.iterdir()) == []
