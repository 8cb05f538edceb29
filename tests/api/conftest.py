"""A served ledger for the tests of the API."""

from collections.abc import Iterator

import pytest

from ledger.application import Ledger
from tests.support.agencies import Agencies
from tests.support.databases import new_database
from tests.support.serving import Server, serving


@pytest.fixture
def alone(ledger: Ledger, database: str, agencies: Agencies) -> Iterator[Server]:
    """A server over a ledger that adopted the protocol, with every agency's key."""
    assert ledger.registry() is not None
    with serving(database, agencies) as server:
        yield server


@pytest.fixture
def served(alone: Server) -> Server:
    """The server of a test. A module may give its tests :func:`served_once` instead."""
    return alone


@pytest.fixture(scope="module")
def served_once(server: str, begun: str, agencies: Agencies) -> Iterator[Server]:
    """One server for the tests of a module that find what others recorded, and mind it not."""
    with new_database(server, begun) as conninfo, serving(conninfo, agencies) as made:
        yield made
