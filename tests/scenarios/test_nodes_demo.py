"""`case-ledger demo-nodes`, as its users run it: the whole story across four machines."""

from pathlib import Path

from api.demo.story import FORBIDDEN, STORY
from tests.support.command_line import CommandLine

MANY_SECONDS = 400


def test_the_story_across_nodes(directory: Path) -> None:
    scenes = CommandLine(directory).json("demo-nodes", timeout=MANY_SECONDS)["scenes"]
    told = [line for lines in scenes.values() for line in lines]
    assert len(scenes) == 7
    assert sum("copies nothing of it, cosigns nothing" in line for line in told) == 3
    ended = [line for line in told if line.startswith("the story ends")]
    # One attempt follows a step that is taken while the ledger node is away: nobody makes it there.
    refused = len(FORBIDDEN) - 1
    assert ended == [f"the story ends: {len(STORY)} actions, {refused} others refused"]
    verified = [line.split(": ")[0] for line in told if "verifies its" in line]
    assert len(verified) == 3
    assert len({line.split(" verifies ")[1] for line in verified}) == 1  # as many events
    assert not list((directory / "demo-nodes").glob("stolen"))
