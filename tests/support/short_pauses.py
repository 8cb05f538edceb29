"""Short pauses between the looks of a node's background jobs, for tests of what nodes exchange.

A node that people work with looks for parcels each half second, and gathers for up to a second the
events that one look may answer. A test records one event at a time and waits for what follows.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from api.exchange import disclosure_exchange, duplicate_matcher, parcel_receipt
from api.processes import worker

_SHORT = (
    (worker, "_SOON_SECONDS", 0.05),
    (worker, "_SELDOM_SECONDS", 0.1),
    (parcel_receipt, "_EVERY_SECONDS", 0.2),
    (disclosure_exchange, "_EVERY_SECONDS", 0.2),
    (duplicate_matcher, "_EVERY_SECONDS", 1.0),
    (duplicate_matcher, "_AT_LEAST_EVERY_SECONDS", 1.0),
    (duplicate_matcher, "_BETWEEN_BATCHES_SECONDS", 0.05),
)


@contextmanager
def short_pauses() -> Iterator[None]:
    """Shorten the pauses of the nodes of this process that start within the block."""
    with ExitStack() as patches:
        for module, name, seconds in _SHORT:
            patches.enter_context(patch.object(module, name, seconds))
        yield
