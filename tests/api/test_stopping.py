"""A node stops soon, whatever its workers wait for."""

import time
from contextlib import ExitStack

from tests.support.agencies import Agencies
from tests.support.databases import new_database
from tests.support.serving import serving
from tests.support.waiting import until

SECONDS = 15.0
"""Less than the 30 after which the supervisor kills, and more than a loaded machine needs."""


def test_a_node_whose_database_is_gone_stops_soon(
    server: str, begun: str, agencies: Agencies
) -> None:
    """A pool of connections waits ten seconds for a server, at each of many questions."""
    with ExitStack() as stack:
        database = ExitStack()
        node = stack.enter_context(
            serving(database.enter_context(new_database(server, begun)), agencies)
        )
        node.worker("erase").wait_for_step()
        database.close()
        listener = node.worker("listen")
        until(lambda: listener.health.failures)
        began = time.monotonic()
        stack.close()
        assert time.monotonic() - began < SECONDS
