"""A node with the story of two children told, for the tests of one module."""

from collections.abc import Iterator

import pytest

from tests.support.agencies import Agencies
from tests.support.databases import new_database
from tests.support.serving import Server, serving
from tests.support.story import Told, ToldStory


@pytest.fixture(scope="module")
def node(
    request: pytest.FixtureRequest, server: str, begun: str, agencies: Agencies
) -> Iterator[Server]:
    """A node of its own for each module. It has the story if a test of the module asks for it."""
    of_module = [item for item in request.session.items if item.path == request.path]
    if any("story" in getattr(item, "fixturenames", ()) for item in of_module):
        kept: ToldStory = request.getfixturevalue("told_story")
        template, keys = kept.database, kept.keys
    else:
        template, keys = begun, None
    with new_database(server, template) as conninfo, serving(conninfo, agencies, keys) as served:
        yield served


@pytest.fixture(scope="module")
def story(node: Server, told_story: ToldStory) -> Told:
    """The story that was told to the node."""
    assert node.node.ledger.head() >= told_story.told.position
    return told_story.told
