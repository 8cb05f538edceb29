"""A served ledger for the tests of the API."""

from collections.abc import Iterator

import pytest

from ledger.application import Ledger
from tests.support.agencies import Agencies
from tests.support.serving import Server, serving


@pytest.fixture
def served(ledger: Ledger, database: str, agencies: Agencies) -> Iterator[Server]:
    """A server over a ledger that adopted the protocol, with every agency's key."""
    assert ledger.registry() is not None
    with serving(database, agencies) as server:
        yield server
