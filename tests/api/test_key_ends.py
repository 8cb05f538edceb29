"""The end of a key is announced months before: at `/ready`, in metrics, on pages, by mail."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from api.client.schemas.health import Effect
from api.keys.key_ends import ending_keys, key_troubles, lacks_second_key, step_before
from api.notifying.letters import email_of
from api.notifying.notifier import Notifier
from api.notifying.subscriptions import Subscription
from api.paper.subject_access.wording import wording
from api.runtime.settings import Settings
from api.web.texts import texts
from ledger.application import Ledger
from ledger.signing import keys, signed_action
from ledger.store.database import Database
from ledger.system import clock
from ledger.vocabulary.registration import KeyRegistered, KeyRevoked
from tests.support.agencies import PAST, Agencies
from tests.support.serving import serving
from tests.support.waiting import until

DAY = timedelta(days=1)


def register(ledger: Ledger, agencies: Agencies, agency: str, ends: datetime) -> str:
    key = keys.generate()
    grant = agencies.grant_between(agency, PAST, ends, key)
    signed = agencies.sign("xk-nac", KeyRegistered(acted_at=PAST, grant=grant), None)
    ledger.append_to_registry(signed_action.read(signed))
    return keys.key_id(key)


def revoke(ledger: Ledger, agencies: Agencies, key_id: str) -> None:
    signed = agencies.sign("xk-nac", KeyRevoked(acted_at=PAST, key_id=key_id), None)
    ledger.append_to_registry(signed_action.read(signed))


class Letters:
    """Takes in what is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Mapping[str, Any]]] = []

    def send(
        self, subscription: Subscription, _: UUID, message: Mapping[str, Any], __: Any = None
    ) -> None:
        self.sent.append((subscription.agency, message))


def test_only_keys_that_count_and_end_soon_are_announced(
    ledger: Ledger, agencies: Agencies, tmp_path: Any
) -> None:
    settings, now = Settings(data_directory=tmp_path), clock.now()
    assert ending_keys(ledger.adopted(), {"XK", "ME", "AL"}, now) == []
    assert key_troubles(ledger.registry(), ("XK",), settings) == ()
    soon = register(ledger, agencies, "xk-dhtqnj", now + 80 * DAY)
    register(ledger, agencies, "xk-dhtqnj", now + 100 * DAY)
    registry = ledger.adopted()
    assert [key.key_id for key in ending_keys(registry, {"XK"}, now)] == [soon]
    assert ending_keys(registry, {"ME"}, now) == []
    assert ending_keys(registry, {"XK"}, now + 81 * DAY) != []  # the other one, by then
    (trouble,) = key_troubles(registry, ("XK",), settings)
    assert (trouble.rule, trouble.effect) == ("key-ends", Effect.WARNING)
    assert soon in trouble.message
    revoke(ledger, agencies, soon)
    assert key_troubles(ledger.registry(), ("XK",), settings) == ()


@pytest.mark.parametrize(
    ("days", "step"), [(91, None), (89, 90), (31, 90), (29, 30), (8, 30), (6, 7), (-1, None)]
)
def test_there_are_three_steps_before_the_end(days: int, step: int | None) -> None:
    now = clock.now()
    assert step_before(now + days * DAY, now) == step


def test_the_agency_and_its_coordinator_are_told_once_for_each_step(
    ledger: Ledger, database: str, agencies: Agencies
) -> None:
    letters = Letters()
    to = [
        Subscription(agency=agency, email=f"{agency}@office.example")
        for agency in ("xk-dhtqnj", "xk-nac", "me-nac", "xk-csw-prishtina")
        if agency in agencies.protocol.agencies_by_id
    ]
    with Database(database) as pool:
        notifier = Notifier(
            pool, agencies.protocol, to, {"email": letters}, DAY, registry=ledger.registry
        )
        notifier.look()
        assert notifier.send() == 0
        key_id = register(ledger, agencies, "xk-dhtqnj", clock.now() + 20 * DAY)
        for _ in range(2):
            notifier.look()
            notifier.send()
        assert sorted(agency for agency, _ in letters.sent) == ["xk-dhtqnj", "xk-nac"]
        message = letters.sent[0][1]
        assert message["type"] == "key.ending"
        assert message["data"]["key_id"] == key_id
        letter = email_of(
            "node@office.example", "x@office.example", UUID(int=1), message, wording("en")
        )
        assert "A key ends: xk-dhtqnj" in letter["Subject"]
        assert key_id in letter.get_content()
        # One that was replaced in time is told nobody.
        other = register(ledger, agencies, "xk-dhtqnj", clock.now() + 5 * DAY)
        notifier.look()
        revoke(ledger, agencies, other)
        notifier.look()
        assert notifier.send() == 0


def test_ready_and_metrics_say_it_and_the_node_stays_ready(
    ledger: Ledger, database: str, agencies: Agencies
) -> None:
    ends = clock.now() + 10 * DAY
    key_id = register(ledger, agencies, "xk-dhtqnj", ends)
    with serving(database, agencies) as server:
        until(lambda: "key-ends" in httpx.get(f"{server.url}/ready").text)
        ready = httpx.get(f"{server.url}/ready")
        assert ready.status_code == 200
        (told,) = [t for t in ready.json()["troubles"] if t["rule"] == "key-ends"]
        assert (told["effect"], key_id in told["message"]) == ("warning", True)
        lines = httpx.get(f"{server.url}/metrics").text.splitlines()
        name = 'case_ledger_key_ends_seconds{agency="xk-dhtqnj"}'
        (line,) = [one for one in lines if one.startswith(name)]
        assert 9 * DAY.total_seconds() < float(line.split()[-1]) <= 10 * DAY.total_seconds()


@pytest.mark.parametrize("language", ["en", "sq", "cnr"])
def test_pages_have_words_for_it(language: Any) -> None:
    said = texts(language).text("key.ends", agency="xk-dhtqnj", day="1.1.")
    assert "xk-dhtqnj" in said


def test_a_coordinator_with_one_key_is_told_to_have_a_second(
    ledger: Ledger, agencies: Agencies
) -> None:
    directory = ledger.adopted().directory.agencies_by_id
    coordinator, police = directory["xk-nac"], directory["xk-dhtqnj"]
    assert lacks_second_key(coordinator, ledger.adopted())
    assert not lacks_second_key(police, ledger.adopted())
    second = register(ledger, agencies, "xk-nac", clock.now() + 400 * DAY)
    assert not lacks_second_key(coordinator, ledger.adopted())
    revoke(ledger, agencies, second)
    assert lacks_second_key(coordinator, ledger.adopted())
