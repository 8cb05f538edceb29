"""One server for all attacks that need no settings of their own."""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from api.runtime.settings import Settings
from tests.attacks.target import Target
from tests.support.agencies import Agencies
from tests.support.databases import new_database
from tests.support.leaks import everything_logged
from tests.support.serving import running


@pytest.fixture(scope="package")
def target(server: str, begun: str, agencies: Agencies) -> Iterator[Target]:
    with attacked(server, begun, agencies) as made:
        yield made


@pytest.fixture(scope="module")
def narrow(server: str, begun: str, agencies: Agencies) -> Iterator[Target]:
    """A server whose bounds are soon met."""
    with attacked(
        server,
        begun,
        agencies,
        streams=6,
        streams_reserved=1,
        streams_per_agency=3,
        requests_per_minute=40,
        failures_per_minute=8,
    ) as made:
        yield made


@contextmanager
def attacked(server: str, begun: str, agencies: Agencies, **settings: int) -> Iterator[Target]:
    for ours in ("httpx", "httpcore"):  # the attacker's own log
        logging.getLogger(ours).setLevel(logging.WARNING)
    with (
        new_database(server, begun) as conninfo,
        everything_logged() as log,
        tempfile.TemporaryDirectory(prefix="case-ledger-keys-") as directory,
    ):
        named = Settings(data_directory=Path(directory), port=0, **settings)
        with running(named, conninfo, agencies) as served:
            target = Target(served, conninfo, log)
            with target.http:
                yield target
