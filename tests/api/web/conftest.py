"""A node with the story of two children told, for the tests of one module."""

from collections.abc import Iterator

import pytest

from tests.support.agencies import Agencies
from tests.support.databases import new_database
from tests.support.serving import Server, serving
from tests.support.story import Told, tell


@pytest.fixture(scope="module")
def node(server: str, begun: str, agencies: Agencies) -> Iterator[Server]:
    with new_database(server, begun) as conninfo, serving(conninfo, agencies) as served:
        yield served


@pytest.fixture(scope="module")
def story(node: Server) -> Told:
    return tell(node)
