"""A story of one case is derived from any protocol's rules, or refused in one line."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from api.demo import DemoError
from api.demo.derived_story import derived_story
from api.demo.play_nodes import play_nodes
from api.demo.story import has_story
from api.runtime.settings import Settings
from ledger.procedure.protocol import Protocol, load_protocol, shipped_protocol

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
