"""A node that idles asks its database little: events wake the work that follows the ledger."""

from collections.abc import Iterator

import pytest

from api.background_jobs import access_matrix, checkpoint_publisher, eraser
from api.continuity import history_guard
from api.exchange import disclosure_exchange, duplicate_matcher, parcel_receipt
from api.runtime.readiness import Checks
from api.runtime.trouble import Trouble
from tests.support.actions import opening
from tests.support.agencies import Agencies
from tests.support.databases import new_database
from tests.support.serving import Server, serving
from tests.support.waiting import until

HOUR = 3600.0
PAUSES = {
    access_matrix: ("_EVERY_SECONDS",),
    checkpoint_publisher: ("_SIGN_EVERY_SECONDS", "_COMPLETE_SECONDS"),
    disclosure_exchange: ("_EVERY_SECONDS", "_QUIET_SECONDS"),
    duplicate_matcher: ("_EVERY_SECONDS", "_AT_LEAST_EVERY_SECONDS"),
    eraser: ("_EVERY_SECONDS",),
    history_guard: ("_LOOK_SECONDS",),
    parcel_receipt: ("_EVERY_SECONDS", "_QUIET_SECONDS"),
}
FOLLOWERS = ("access_matrix", "erase", "fetch", "mark", "match", "send", "sign")


@pytest.fixture
def without_polls(
    server: str, begun: str, agencies: Agencies, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Server]:
    for module, names in PAUSES.items():
        for name in names:
            monkeypatch.setattr(module, name, HOUR)
    with new_database(server, begun) as conninfo, serving(conninfo, agencies) as made:
        yield made


def test_an_event_wakes_the_work_that_follows_the_ledger(without_polls: Server) -> None:
    node = without_polls
    until(lambda: node.worker("listen").health.steps > 0)  # its first step ends when it listens
    for name in FOLLOWERS:
        node.worker(name).wait_for_step()
    before = {name: node.worker(name).health.steps for name in FOLLOWERS}
    with node.client("xk-dhtqnj") as police:
        police.open_case(opening())

    def waiting() -> list[str]:
        return [name for name in FOLLOWERS if node.worker(name).health.steps == before[name]]

    until(lambda: not waiting(), waiting)


def test_checks_on_which_recording_depends_are_asked_more_often() -> None:
    asked: list[str] = []

    def check(name: str) -> list[Trouble]:
        asked.append(name)
        return []

    checks = Checks()
    checks.add(lambda: check("urgent"))
    checks.add(lambda: check("other"), is_seldom=True)
    checks._look_at_due()
    checks._look_at_due()
    assert asked == ["urgent", "other", "urgent"]
    checks.look()
    assert asked[3:] == ["urgent", "other"]
