"""One server for all attacks that need no settings of their own."""

import logging
from collections.abc import Iterator

import pytest

from api.schema import migrate_all
from ledger.application import Ledger, environment
from tests.attacks.target import Target
from tests.support.agencies import Agencies
from tests.support.databases import new_database
from tests.support.leaks import everything_logged
from tests.support.serving import serving


@pytest.fixture(scope="package")
def target(server: str, agencies: Agencies) -> Iterator[Target]:
    for ours in ("httpx", "httpcore"):  # the attacker's own log
        logging.getLogger(ours).setLevel(logging.WARNING)
    with new_database(server) as conninfo, everything_logged() as log:
        migrate_all(conninfo, agencies.protocol)
        with Ledger(environment(conninfo)) as ledger:
            agencies.begin(ledger)
        with serving(conninfo, agencies) as running:
            yield Target(running, conninfo, log)
