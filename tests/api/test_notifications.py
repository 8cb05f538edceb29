"""Agencies are told of what they owe: at least once, ordinarily once, and nothing personal."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from pydantic import SecretStr, ValidationError
from structlog.testing import capture_logs

from api.node.node import check_settings
from api.notifying.channels import MailChannel, MailServer, NotReceivedError
from api.notifying.letters import email_of, words_for
from api.notifying.mail_choices import Duties, MailChoice, MailChoices
from api.notifying.notice_outbox import NoticeOutbox
from api.notifying.notices import LONGEST_OVERDUE, Notice, OwedNotice, notices, owes
from api.notifying.notifier import LEASE, Notifier, check_notifications, pause_after
from api.notifying.subscriptions import Send, Subscription, read_subscriptions
from api.paper.subject_access.wording import wording
from api.runtime.settings import Settings
from ledger.application import Ledger
from ledger.procedure import amendments
from ledger.procedure.agreement import Agreement, ProtocolVersion
from ledger.procedure.case_access import CaseAccess
from ledger.procedure.dates import quarter_of
from ledger.procedure.protocol import Protocol, shipped_protocol
from ledger.procedure.registry import Registry
from ledger.signing import signed_action
from ledger.store.database import Database
from ledger.vocabulary import Action
from ledger.vocabulary.case_reference import case_reference
from ledger.vocabulary.coordination import InformationProvided, InformationRequested
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.person import IdentityRecorded
from ledger.vocabulary.picklists import Danger, InformationTopic, Purpose
from ledger.vocabulary.sharing import BreakGlassOpened
from projections.folds.obligation_terms import ObligationKind, ObligationState
from projections.folds.obligations import Deed, Obligation
from projections.tables.view_queries import ViewReader
from projections.upkeep.runner import ViewRunner
from tests.support.actions import opening
from tests.support.agencies import Agencies
from tests.support.amending import amended
from tests.support.receiving import (
    OTHER_SECRET,
    SECRET,
    Hook,
    mail_server,
    text_of,
    webhook,
)
from tests.support.serving import running
from tests.support.views import wait_for
from tests.support.waiting import until

PROTOCOL = shipped_protocol()
PARTIES = sorted(PROTOCOL.party_codes)
NOW = datetime.now(UTC)
DAY = timedelta(days=1)
NOBODY = "zqNobodysName"


@dataclass
class Case:
    """A case in which Montenegro's coordinator owes an answer."""

    ledger: Ledger
    agencies: Agencies
    database: str
    pool: Database
    case_id: UUID
    version: int = 0
    position: int = 0

    def take(self, agency: str, action: Action) -> UUID:
        signed = signed_action.read(self.agencies.sign(agency, action, self.case_id))
        receipt = self.ledger.append(signed, self.case_id, self.version)
        self.version, self.position = receipt.case_version, receipt.position
        return receipt.action_id

    def ask(self, answer_by: datetime, to: str = "me-nac") -> UUID:
        asked = self.take(
            "xk-nac",
            InformationRequested(
                acted_at=NOW - 20 * DAY,
                addressee=to,
                topics=(InformationTopic.FAMILY,),
                purpose=Purpose.IDENTIFICATION,
                answer_by=answer_by.date(),
                question=NOBODY,
            ),
        )
        self.fold()
        return asked

    def fold(self) -> None:
        with ViewRunner(self.database):
            wait_for(ViewReader(self.pool), self.position)

    def notifier(
        self, subscriptions: Sequence[Subscription], *, lease: timedelta = LEASE
    ) -> Notifier:
        channels = Notifier.channels(None)
        return Notifier(self.pool, PROTOCOL, subscriptions, channels, 2 * DAY, lease)

    def rows(self) -> list[dict[str, Any]]:
        with self.pool.connection() as connection:
            return connection.execute("SELECT * FROM notifications.outbox ORDER BY id").fetchall()

    def known_for(self, subscription: Subscription, time: timedelta) -> None:
        """As if the node had this subscription for so long."""
        MailChoices(self.pool).begun([subscription.id], NOW - time)

    def hurry(self) -> None:
        """As if the pause were over."""
        with psycopg.connect(self.database) as connection:
            connection.execute("UPDATE notifications.outbox SET next_attempt_at = now()")


@pytest.fixture
def case(ledger: Ledger, database: str, agencies: Agencies) -> Iterator[Case]:
    with Database(database) as pool:
        case = Case(ledger, agencies, database, pool, uuid4())
        case.take("xk-dhtqnj", opening(("XK", "ME"), acted_at=NOW - 300 * DAY))
        yield case


def to(hook: Hook, agency: str = "me-nac") -> Subscription:
    return Subscription(agency, webhook=hook.url, secret=SecretStr(SECRET))


def test_what_is_overdue_is_told_once(case: Case) -> None:
    case.ask(NOW - 3 * DAY)
    owed_of_case = NoticeOutbox(case.pool).owed(NOW - 5 * DAY, NOW, NOW)
    assert {one.agencies for one in owed_of_case} == {frozenset({"xk-dhtqnj", "xk-nac", "me-nac"})}
    with webhook() as hook:
        notifier = case.notifier([to(hook)])
        for _ in range(3):
            notifier.look()
            notifier.send()
        assert len(hook.came) == len(set(hook.ids)) == 2  # an acknowledgement, and an answer
        with Database(case.database) as pool:  # another process, later
            again = Notifier(pool, PROTOCOL, [to(hook)], Notifier.channels(None), 2 * DAY)
            assert (again.look(), again.send()) == (0, 0)
    told = [message for _, message in hook.came]
    assert {m["type"] for m in told} == {"obligation.overdue"}
    assert {m["data"]["kind"] for m in told} == {"acknowledgement", "answer"}
    assert {m["data"]["debtor_agency"] for m in told} == {"me-nac"}
    assert {m["data"]["case_id"] for m in told} == {str(case.case_id)}
    for message in told:
        assert message.keys() == {"type", "timestamp", "data"}
        assert message["data"].keys() == {
            "obligation_id", "case_id", "kind", "action", "debtor", "debtor_agency", "due",
        }  # fmt: skip
    assert NOBODY not in json.dumps(told)


def test_a_version_that_moves_a_role_counts_without_a_start(case: Case) -> None:
    """Coordinators are told of what their country owes: those of the version of today."""
    case.ask(NOW - DAY)
    told = amendments.text_of(PROTOCOL)["agencies"]
    moved = [one | {"role": "coordinator"} if one["id"] == "me-police-thb" else one for one in told]
    first = Agreement.of(PROTOCOL)
    later = ProtocolVersion(amended(PROTOCOL, agencies=moved), adopted_at=2)
    current = [Registry(first, {}, 1)]
    police = Subscription("me-police-thb", email="thb@office.example", send=Send.EACH)
    case.known_for(police, 30 * DAY)
    notifier = Notifier(case.pool, PROTOCOL, [police], {}, 2 * DAY, registry=lambda: current[-1])
    assert notifier.look() == 0
    current.append(Registry(first.followed_by(later), {}, 2))
    assert notifier.look() > 0


def test_what_will_be_due_is_told_and_again_when_it_is_overdue(case: Case) -> None:
    case.ask(NOW + DAY)
    with webhook() as hook:
        notifier = case.notifier([to(hook)])
        notifier.look()
        notifier.send()
        assert {m["type"] for _, m in hook.came} == {"obligation.due"}
        with psycopg.connect(case.database) as connection:
            connection.execute(
                "UPDATE views.obligations SET due = due - interval '4 days',"
                " document = jsonb_set(document, '{due}', to_jsonb(due - interval '4 days'))"
                " WHERE due IS NOT NULL"
            )
        notifier.look()
        notifier.send()
        assert len(hook.came) == len(set(hook.ids)) == 4
        assert {m["type"] for _, m in hook.came[2:]} == {"obligation.overdue"}


def test_the_lead_is_told_weeks_before_a_child_comes_of_age(case: Case) -> None:
    def states(quarter: date) -> None:
        case.take(
            "xk-dhtqnj",
            IdentityRecorded(
                acted_at=NOW,
                ground="learned",
                of_age_from=quarter,
                source="document",
                certainty="confirmed",
                first_name=NOBODY,
            ),
        )
        case.fold()

    with webhook() as hook:
        notifier = case.notifier([to(hook, "xk-dhtqnj")])
        notifier.look()
        before = len(case.rows())
        states(quarter_of((NOW + 300 * DAY).date()))
        assert notifier.look() == 0
        states(quarter_of((NOW + 7 * DAY).date()))
        assert (notifier.look(), notifier.look()) == (1, 0)
        assert len(case.rows()) == before + 1
        notifier.send()
        told = [m["data"] for _, m in hook.came if m["data"]["kind"] == "coming_of_age"]
        assert [one["debtor_agency"] for one in told] == ["xk-dhtqnj"]
        assert NOBODY not in json.dumps(told)


def test_a_receiver_that_is_down_is_told_later(case: Case) -> None:
    case.ask(NOW - 3 * DAY)
    with webhook() as hook, webhook() as other:
        hook.status = 500
        notifier = case.notifier([to(hook), to(other, "me-ombudsman"), to(other)])
        notifier.look()
        assert notifier.send() == 2  # the other is told meanwhile
        assert len(hook.came) == 1  # the second waits: this receiver is away
        assert notifier.send() == 0 or hook.ids[0] == hook.ids[-1]
        waiting = [row for row in case.rows() if row["sent_at"] is None]
        assert len(waiting) == 2
        assert max(row["attempts"] for row in waiting) == 1
        hook.status = 200
        case.hurry()
        assert notifier.send() == 2
        assert len(set(hook.ids)) == 2
        assert hook.ids.count(hook.ids[0]) == 2  # the same id both times
        assert all(m == hook.came[0][1] for i, m in hook.came if i == hook.ids[0])
        case.hurry()
        assert notifier.send() == 0


def test_pauses_grow_to_six_hours() -> None:
    pauses = [pause_after(attempts) for attempts in range(1, 30)]
    assert pauses[:3] == [timedelta(seconds=s) for s in (30, 60, 120)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == timedelta(hours=6)


def test_a_sender_that_is_killed_before_it_marks_sends_again(case: Case, tmp_path: Path) -> None:
    """`kill -9` between what the receiver got and what the sender notes: the same id again."""
    case.ask(NOW - 3 * DAY)
    program = (
        "import sys\n"
        "from datetime import timedelta\n"
        "from pydantic import SecretStr\n"
        "from api.notifying.notifier import Notifier\n"
        "from api.notifying.subscriptions import Subscription\n"
        "from ledger.procedure.protocol import shipped_protocol\n"
        "from ledger.store.database import Database\n"
        "conninfo, url, secret = sys.argv[1:]\n"
        "to = Subscription('me-nac', webhook=url, secret=SecretStr(secret))\n"
        "with Database(conninfo) as pool:\n"
        "    notifier = Notifier(pool, shipped_protocol(), [to], Notifier.channels(None),\n"
        "                        timedelta(days=2))\n"
        "    notifier.look()\n"
        "    notifier.send()\n"
    )
    with webhook() as hook:
        log = (tmp_path / "log").open("w")
        process = subprocess.Popen(
            [sys.executable, "-c", program, case.database, hook.url, SECRET], stderr=log, stdout=log
        )
        hook.when_it_comes = process.kill
        assert process.wait(timeout=60) == -9, (tmp_path / "log").read_text()
        assert len(hook.came) == 1
        (first,) = hook.ids
        assert [row["sent_at"] for row in case.rows()] == [None, None]
        hook.when_it_comes = lambda: None
        notifier = case.notifier([to(hook)])
        notifier.send()
        assert hook.ids.count(first) == 1  # it is still the other's to send
        case.hurry()
        notifier.send()
        assert hook.ids.count(first) == 2
        assert len(set(hook.ids)) == 2
        assert len({json.dumps(m) for i, m in hook.came if i == first}) == 1
        assert all(row["sent_at"] for row in case.rows())
        case.hurry()
        assert notifier.send() == 0


def test_two_senders_send_each_once(case: Case) -> None:
    for day in range(1, 9):
        case.ask(NOW - day * DAY)
    with webhook() as hook, Database(case.database) as pool:
        hook.when_it_comes = lambda: time.sleep(0.05)
        one = case.notifier([to(hook)])
        other = Notifier(pool, PROTOCOL, [to(hook)], Notifier.channels(None), 2 * DAY)
        one.look()
        other.look()
        threads = [threading.Thread(target=n.send) for n in (one, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(hook.came) == len(set(hook.ids)) == 16


def test_what_is_discharged_meanwhile_is_not_told(case: Case) -> None:
    asked = case.ask(NOW - 3 * DAY)
    with webhook() as hook:
        hook.status = 503
        notifier = case.notifier([to(hook)])
        notifier.look()
        assert notifier.send() == 0
        case.take("me-nac", InformationProvided(acted_at=NOW, request=asked, complete=True))
        case.fold()
        case.hurry()
        hook.came.clear()
        notifier.look()
        notifier.send()
        assert hook.came == []
        assert case.rows() == []


def test_a_notice_that_waits_is_not_sent_once_the_agency_may_not_see_the_case(
    case: Case,
) -> None:
    """Its admission ended, or a version of the protocol binds it, after the notice was put in."""
    bound = PROTOCOL.model_copy(update={"case_access": CaseAccess.NAMED})
    case.ask(NOW - 3 * DAY, to="me-csw-podgorica")
    with webhook() as hook:
        subscriptions = [to(hook, "me-csw-podgorica"), to(hook, "me-csw-niksic"), to(hook)]
        channels = Notifier.channels(None)
        notifier = Notifier(case.pool, bound, subscriptions, channels, 2 * DAY)
        notifier.look()
        (waiting,) = {row["obligation_id"] for row in case.rows() if "answer" in str(row)}
        ended = subscriptions[1]
        with psycopg.connect(case.database) as connection:
            connection.execute(
                "INSERT INTO notifications.outbox (id, subscription, obligation_id, due, message)"
                " SELECT gen_random_uuid(), %s, obligation_id, due, message"
                " FROM notifications.outbox WHERE obligation_id = %s LIMIT 1",
                (ended.id, waiting),
            )
        before = len(case.rows())
        assert notifier.send() == before - 1
        assert ended.id not in {row["subscription"] for row in case.rows()}


def test_who_is_told_no_more_gets_nothing(case: Case) -> None:
    case.ask(NOW - 3 * DAY)
    with webhook() as hook, webhook() as other:
        case.notifier([to(hook)]).look()
        notifier = case.notifier([to(other)])
        notifier.look()
        assert notifier.send() == 2
        assert hook.came == []
    told = json.dumps([row | {"due": "", "created_at": "", "next_attempt_at": "", "sent_at": ""}
                       for row in case.rows()], default=str)  # fmt: skip
    for secret in (SECRET, other.url, "token", "hook"):
        assert secret not in told


def test_what_was_sent_is_forgotten_once_nothing_is_owed(case: Case) -> None:
    asked = case.ask(NOW - 3 * DAY)
    outbox = NoticeOutbox(case.pool)
    with webhook() as hook:
        notifier = case.notifier([to(hook)])
        notifier.look()
        notifier.send()
    assert outbox.forget(timedelta()) == 0  # by these we know that it was told
    case.take("me-nac", InformationProvided(acted_at=NOW, request=asked, complete=True))
    case.fold()
    assert outbox.forget(DAY) == 0
    assert outbox.forget(timedelta()) == 2
    assert case.rows() == []


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 404, 410, 429, 500])
def test_only_success_is_success(case: Case, status: int) -> None:
    case.ask(NOW - 3 * DAY)
    with webhook() as hook, webhook() as elsewhere:
        hook.status, hook.headers = status, {"Location": elsewhere.url}
        notifier = case.notifier([to(hook)])
        notifier.look()
        with capture_logs() as said:
            assert notifier.send() == 0
        assert elsewhere.came == []  # a redirect is an answer, and is not followed
        (entry,) = said
        assert entry["why"] == f"status {status}"
        assert_silent(said)


def assert_silent(said: Sequence[Any]) -> None:
    for secret in (SECRET, "token=", "127.0.0.1", "@example", NOBODY):
        assert secret not in str(said)


def test_a_slow_webhook_delays_no_other_notice(case: Case) -> None:
    case.ask(NOW - 3 * DAY)
    let_go, others_came = threading.Event(), threading.Event()
    with webhook() as slow, webhook() as other:
        slow.when_it_comes = lambda: let_go.wait(20) and None
        other.when_it_comes = lambda: others_came.set() if len(other.came) == 2 else None
        with case.notifier([to(slow), to(other)]):
            assert others_came.wait(15)
            until(lambda: len(slow.came) == 1)  # it is still being answered
            let_go.set()


def test_nothing_of_an_address_is_logged(case: Case) -> None:
    case.ask(NOW - 3 * DAY)
    gone = Subscription("me-nac", webhook="http://127.0.0.1:9/token=x", secret=SecretStr(SECRET))
    notifier = case.notifier([gone])
    notifier.look()
    with capture_logs() as said:
        assert notifier.send() == 0
    assert [entry["why"] for entry in said] == ["ConnectError"]
    assert_silent(said)
    assert SECRET not in repr(gone)


def owed(debtor: str | None, agency: str | None = None, roles: tuple[str, ...] = ()) -> OwedNotice:
    deed = Deed(
        position=1,
        action=uuid4(),
        kind="case_opened",
        agency="xk-nac",
        party="XK",
        acted_at=NOW,
        recorded_at=NOW,
    )
    obligation = Obligation(
        id=uuid4(),
        case_id=uuid4(),
        kind=ObligationKind.PROCEDURE,
        action="risk_assessed",
        debtor=debtor,
        debtor_agency=agency,
        roles=roles,
        opened=deed,
        due=NOW,
        state=ObligationState.OPEN,
    )
    return OwedNotice(obligation, NOW, ("XK", "ME", "oversight"))


def told_of(one: OwedNotice) -> set[str]:
    return {agency.id for agency in PROTOCOL.agencies if owes(agency, one)}


def test_who_owes_it_and_their_coordinator_are_told() -> None:
    assert told_of(owed("ME", "me-shelter")) == {"me-nac", "me-shelter"}
    assert told_of(owed("AL", roles=("police",))) == {"al-nac", "al-police-thb"}
    assert told_of(owed(None, roles=("prosecutor",))) == {
        "xk-nac", "xk-prosecution-prishtina", "xk-special-prosecution",
        "me-nac", "me-prosecution-podgorica", "me-supreme-prosecution",
    }  # fmt: skip
    for one in (owed("XK", roles=("social_services",)), owed(None, roles=("court",))):
        assert not told_of(one) & {"xk-node", "xk-ombudsperson", "al-nac"}


def test_an_agency_is_told_of_no_case_that_it_does_not_have_to_know_of() -> None:
    bound = PROTOCOL.model_copy(update={"case_access": CaseAccess.NAMED})
    assert bound.binds_agencies
    one = replace(owed("ME", roles=("social_services",)), agencies=frozenset({"me-csw-podgorica"}))
    every = [
        Subscription(agency.id, email=f"{agency.id}@example.org") for agency in PROTOCOL.agencies
    ]
    named = {subscription.id: subscription.agency for subscription in every}

    def told(protocol: Protocol, of: OwedNotice) -> set[str]:
        return {named[notice.subscription] for notice in notices([of], every, protocol, NOW, DAY)}

    by_role = {
        one.id for one in PROTOCOL.agencies if (one.party, one.role) == ("ME", "social_services")
    }
    assert told(PROTOCOL, one) == {"me-nac", *by_role}
    assert told(bound, one) == {"me-nac", "me-csw-podgorica"}
    assert told(bound, replace(one, agencies=frozenset())) == {"me-nac"}


@pytest.mark.parametrize(
    ("days", "occasion"),
    [(3, None), (2, "due"), (0, "due"), (-1, "overdue"), (-30, "overdue"), (-31, None)],
)
def test_when_it_is_told(days: int, occasion: str | None) -> None:
    one = replace(owed("ME", "me-nac"), due=NOW + days * DAY)
    subscription = Subscription("me-nac", email="a@example.org")
    found = list(notices([one], [subscription], PROTOCOL, NOW, 2 * DAY))
    assert [n.message["type"] for n in found] == ([f"obligation.{occasion}"] if occasion else [])
    assert timedelta(days=30) == LONGEST_OVERDUE


def test_a_notice_has_one_id_for_each_deadline_and_receiver() -> None:
    one = replace(owed("ME", "me-nac"), due=NOW - DAY)
    subscription = Subscription("me-nac", email="a@example.org")

    def ids(at: datetime, due: datetime = one.due, to: Subscription = subscription) -> set[UUID]:
        return {n.id for n in notices([replace(one, due=due)], [to], PROTOCOL, at, 2 * DAY)}

    first = ids(NOW)
    assert ids(NOW + DAY) == first
    others = (
        ids(NOW, due=NOW - 2 * DAY),
        ids(NOW - DAY),  # it is not overdue yet
        ids(NOW, to=replace(subscription, email="b@example.org")),
        ids(NOW, to=Subscription("me-nac", webhook="https://example.org")),
    )
    assert all(len(other) == 1 and not other & first for other in others)


def message() -> Notice:
    subscription = Subscription("me-nac", email="duty@example.org")
    (found,) = notices([owed("ME", "me-nac")], [subscription], PROTOCOL, NOW + DAY, DAY)
    return found


def test_an_email_keeps_its_id() -> None:
    notice = message()
    letter, again = (
        email_of("ledger@example.org", "duty@example.org", notice.id, notice.message, wording("en"))
        for _ in range(2)
    )
    assert letter["Message-ID"] == again["Message-ID"] == f"<{notice.id}@example.org>"
    assert letter["Auto-Submitted"] == "auto-generated"
    assert "Overdue: Risk assessed" in letter["Subject"]


@contextmanager
def mailing(directory: Path, **options: Any) -> Iterator[tuple[MailChannel, Any]]:
    password = options.pop("given", "") or options.get("password", "")
    with mail_server(directory, **options) as post:
        server = MailServer(
            "127.0.0.1",
            post.port,
            options.get("security", "starttls"),
            "ledger@example.org",
            user="node" if password else None,
            password=SecretStr(password) if password else None,
            roots=directory / "roots.pem",
        )
        yield MailChannel(server), post


TO_DUTY = Subscription("me-nac", email="duty@example.org")


@pytest.mark.parametrize("security", ["starttls", "tls", "none"])
def test_an_email_is_handed_in(directory: Path, security: str) -> None:
    notice = message()
    with mailing(directory, security=security) as (channel, post):
        channel.send(TO_DUTY, notice.id, notice.message)
    (letter,) = post.letters
    assert letter["To"] == "duty@example.org"
    assert letter["Message-ID"] == f"<{notice.id}@example.org>"
    text = text_of(letter)
    for part in ("obligation_id", "case_id", "debtor_agency"):
        assert notice.message["data"][part] in text
    assert wording("en").moment(datetime.fromisoformat(notice.message["data"]["due"])) in text
    assert bool(post.encrypted[0]) is (security != "none")


def test_a_mail_server_asks_for_a_password(directory: Path) -> None:
    notice = message()
    with mailing(directory, password="zq secret") as (channel, post):
        channel.send(TO_DUTY, notice.id, notice.message)
        assert post.users == ["node"]
    with (
        mailing(directory, password="zq secret", given="another") as (channel, post),
        pytest.raises(NotReceivedError, match="SMTPAuthenticationError 535"),
    ):
        channel.send(TO_DUTY, notice.id, notice.message)
    assert post.letters == []


def test_a_mail_server_that_is_not_believed_is_told_nothing(directory: Path) -> None:
    """Its certificate is of no authority that is believed, or it speaks no TLS."""
    notice = message()
    with mail_server(directory) as post:
        server = MailServer("127.0.0.1", post.port, "starttls", "ledger@example.org")
        with pytest.raises(NotReceivedError, match="SSLCertVerificationError"):
            MailChannel(server).send(TO_DUTY, notice.id, notice.message)
    with mail_server(directory, security="none") as post:
        server = MailServer("127.0.0.1", post.port, "starttls", "ledger@example.org")
        with pytest.raises(NotReceivedError, match="SMTPNotSupportedError"):
            MailChannel(server).send(TO_DUTY, notice.id, notice.message)
    assert post.letters == []


def test_what_a_mail_server_refuses_is_tried_again(case: Case, directory: Path) -> None:
    case.ask(NOW - 3 * DAY)
    with mailing(directory) as (channel, post):
        each = replace(TO_DUTY, send=Send.EACH)
        notifier = Notifier(case.pool, PROTOCOL, [each], {"email": channel}, 2 * DAY)
        case.known_for(each, 30 * DAY)
        notifier.look()
        post.refuses = True
        with capture_logs() as said:
            assert notifier.send() == 0
        assert [entry["why"] for entry in said] == ["SMTPDataError 451"]
        assert_silent(said)
        post.refuses = False
        case.hurry()
        assert notifier.send() == 2
        assert len({letter["Message-ID"] for letter in post.letters}) == len(post.letters) == 2


@dataclass
class Recorded:
    """A channel that keeps what it is given."""

    came: list[dict[str, Any]] = field(default_factory=list)

    def send(
        self, subscription: Subscription, notice_id: UUID, message: Any, _: Any = None
    ) -> None:
        self.came.append(dict(message) | {"to": subscription, "id": notice_id})


def sent_by(notifier: Notifier, channel: Recorded) -> list[dict[str, Any]]:
    """The messages of one look."""
    channel.came.clear()
    notifier.look()
    notifier.send()
    return channel.came


def mailer(case: Case, *subscriptions: Subscription, hour: int = 0) -> tuple[Notifier, Recorded]:
    channel = Recorded()
    made = Notifier(
        case.pool, PROTOCOL, subscriptions, {"email": channel}, 2 * DAY, digest_hour=hour,
        reminders=lambda agency, _: 3 if agency.id == "me-nac" else 0,
    )  # fmt: skip
    return made, channel


def test_the_first_start_mails_no_history(case: Case) -> None:
    """One digest, and no letter for each of what was due before; later it is told what begins."""
    for days in range(1, 6):
        case.ask(NOW - days * DAY)
    each = replace(TO_DUTY, email="each@example.org", send=Send.EACH)
    notifier, channel = mailer(case, TO_DUTY, each)
    assert [m["type"] for m in sent_by(notifier, channel)] == ["digest.daily"]
    assert sent_by(notifier, channel) == []
    case.known_for(each, timedelta())
    with psycopg.connect(case.database) as connection:
        connection.execute("UPDATE notifications.subscriptions SET since = now() - interval '30 d'")
    told = sent_by(notifier, channel)
    assert {(m["type"], m["to"].email) for m in told} == {
        ("obligation.overdue", "each@example.org")
    }


def test_a_digest_is_sent_once_a_day_in_the_readers_language(case: Case) -> None:
    """From its hour on; it names cases by their reference, and nothing of a person."""
    case.ask(NOW - 3 * DAY)
    early, channel = mailer(case, TO_DUTY, hour=23)
    if datetime.now(UTC).hour < 20:
        assert sent_by(early, channel) == []
    notifier, channel = mailer(case, TO_DUTY)
    (digest,) = sent_by(notifier, channel)
    assert digest["data"] | {"first": [], "day": ""} == {
        "agency": "me-nac", "due": 2, "overdue": 2, "overdue_in_country": 0, "unread": 2,
        "reminders": 3, "first": [], "day": "",
        "drafts_waiting": 0, "drafts_returned": 0, "drafts_recorded": 0,
    }  # fmt: skip
    MailChoices(case.pool).choose("me-nac", MailChoice(Duties.DIGEST, True, "sq"))
    with psycopg.connect(case.database) as connection:
        connection.execute("DELETE FROM notifications.outbox")
    (digest,) = sent_by(notifier, channel)
    words = words_for(digest["to"], PROTOCOL)
    letter = email_of("ledger@example.org", "duty@example.org", digest["id"], digest, words)
    assert letter["Content-Language"] == "sq"
    text = text_of(letter)
    for part in ("Sot", "Rikujtesa deri sot", case_reference(case.case_id)):
        assert part in f"{letter['Subject']} {text}"
    for part in (str(case.case_id), NOBODY):
        assert part not in text


def test_an_agency_that_has_nothing_to_do_gets_no_digest(case: Case) -> None:
    """Nothing is due from a shelter, and what came is read."""
    notifier, channel = mailer(case, Subscription("al-nac", email="a@example.org"))
    assert sent_by(notifier, channel) == []


def test_an_agency_chooses_its_emails(case: Case) -> None:
    """None at all, or each; unsent letters of the former choice are dropped."""
    case.ask(NOW - 3 * DAY)
    choices = MailChoices(case.pool)
    notifier, channel = mailer(case, TO_DUTY)
    case.known_for(TO_DUTY, 30 * DAY)
    choices.choose("me-nac", MailChoice(Duties.NONE, urgent=False))
    assert sent_by(notifier, channel) == []
    choices.choose("me-nac", MailChoice(Duties.EACH, urgent=False))
    notifier.look()
    assert len(case.rows()) == 2
    choices.choose("me-nac", MailChoice(Duties.DIGEST, urgent=False))
    assert [m["type"] for m in sent_by(notifier, channel)] == ["digest.daily"]


def test_dangers_and_handovers_are_told_at_once(case: Case) -> None:
    """Those that came after the subscription; each once, to those whom it concerns."""
    subscriptions = [
        Subscription(f"{one}-nac", email="a@example.org") for one in ("xk", "me", "al")
    ]
    notifier, channel = mailer(case, *subscriptions, hour=23)

    def opened() -> None:
        case.take(
            "xk-dhtqnj",
            BreakGlassOpened(
                acted_at=datetime.now(UTC), danger=next(iter(Danger)),
                groups=(FieldGroup.IDENTITY,), until=datetime.now(UTC) + timedelta(hours=1),
                circumstances=NOBODY,
            ),
        )  # fmt: skip
        case.fold()

    opened()
    urgent = [m for m in sent_by(notifier, channel) if m["type"].startswith("case.")]
    assert urgent == []
    opened()
    for _ in range(2):
        urgent += [m for m in sent_by(notifier, channel) if m["type"].startswith("case.")]
    assert sorted(m["to"].agency for m in urgent) == ["me-nac", "xk-nac"]
    assert {m["type"] for m in urgent} == {"case.danger"}
    assert NOBODY not in str(urgent)
    letter = email_of("a@example.org", "b@example.org", urgent[0]["id"], urgent[0], wording("en"))
    assert case_reference(case.case_id) in letter["Subject"]


def test_a_node_notifies(case: Case, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    case.ask(NOW - 3 * DAY)
    secret = tmp_path / "secret"
    secret.write_text(f"{SECRET}\n")
    file = tmp_path / "notifications.toml"
    with webhook() as hook:
        file.write_text(
            f'[[subscription]]\nagency = "me-nac"\nwebhook = "{hook.url}"\n'
            f'secret_file = "{secret}"\n'
        )
        settings = Settings(data_directory=tmp_path / "data", port=0, notifications=file)
        check_settings(settings)
        with running(settings, case.database, case.agencies):
            until(lambda: len(hook.came) >= 2)
        assert len(hook.came) == len(set(hook.ids)) == 2
    for hidden in (SECRET, "not-to-be-logged"):
        assert hidden not in caplog.text


WRONG = {
    "no agency": '[[subscription]]\nagency = "xk-unheard-of"\nemail = "a@example.org"',
    "a node": '[[subscription]]\nagency = "xk-node"\nemail = "a@example.org"',
    "another country": '[[subscription]]\nagency = "al-nac"\nemail = "a@example.org"',
    "no way": '[[subscription]]\nagency = "xk-nac"',
    "two ways": (
        '[[subscription]]\nagency = "xk-nac"\nemail = "a@example.org"\n'
        'webhook = "https://example.org"\nsecret_file = "SECRET"'
    ),
    "no secret": '[[subscription]]\nagency = "xk-nac"\nwebhook = "https://example.org"',
    "in clear": (
        '[[subscription]]\nagency = "xk-nac"\nwebhook = "http://example.org"\n'
        'secret_file = "SECRET"'
    ),
    "another scheme": (
        '[[subscription]]\nagency = "xk-nac"\nwebhook = "file:///etc/passwd"\n'
        'secret_file = "SECRET"'
    ),
    "a short secret": (
        '[[subscription]]\nagency = "xk-nac"\nwebhook = "https://example.org"\n'
        'secret_file = "SHORT"'
    ),
    "two recipients": '[[subscription]]\nagency = "xk-nac"\nemail = "a@example.org,b@example.org"',
    "a header": '[[subscription]]\nagency = "xk-nac"\nemail = "a@example.org\\nBcc: b@c"',
    "another field": '[[subscription]]\nagency = "xk-nac"\nemail = "a@example.org"\nname = "zq"',
    "a webhook that is sent digests": (
        '[[subscription]]\nagency = "xk-nac"\nwebhook = "https://example.org"\n'
        'secret_file = "SECRET"\nsend = "digest"'
    ),
    "another way of sending": (
        '[[subscription]]\nagency = "xk-nac"\nemail = "a@example.org"\nsend = "hourly"'
    ),
    "twice": '[[subscription]]\nagency = "xk-nac"\nemail = "a@example.org"\n' * 2,
    "no TOML": "[[subscription",
}


@pytest.mark.parametrize("what", WRONG)
def test_subscriptions_that_do_not_hold_are_refused(what: str, tmp_path: Path) -> None:
    (tmp_path / "SECRET").write_text(OTHER_SECRET)
    (tmp_path / "SHORT").write_text("whsec_c2hvcnQ=")
    file = tmp_path / "file.toml"
    content = WRONG[what].replace('"SECRET"', f'"{tmp_path}/SECRET"')
    file.write_text(content.replace('"SHORT"', f'"{tmp_path}/SHORT"'))
    with pytest.raises(ValueError, match=r"toml|SHORT") as refused:
        read_subscriptions(file, PROTOCOL, ["XK"])
    for told in ("example.org", "whsec_c", "passwd"):
        assert told not in str(refused.value)


def test_settings_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "file.toml"
    file.write_text('[[subscription]]\nagency = "xk-nac"\nemail = "a@example.org"')
    password = tmp_path / "password"
    password.write_text("zq")
    mail = {"smtp_host": "127.0.0.1", "smtp_from": "a@example.org"}
    for wrong in (
        {"notifications": tmp_path / "missing.toml"},
        {"notifications": file},
        {"smtp_host": "127.0.0.1"},
        {**mail, "smtp_user": "a"},
        {**mail, "smtp_password_file": password},
        {**mail, "smtp_user": "a", "smtp_password_file": password, "smtp_security": "none"},
        {**mail, "smtp_roots": tmp_path / "missing.pem"},
    ):
        with pytest.raises((ValueError, OSError)):
            check_notifications(Settings(**wrong))  # type: ignore[arg-type]
    for wrong in ({"smtp_security": "ssl"}, {"smtp_from": "a b@c"}, {"notify_days_before": -1}):
        with pytest.raises(ValidationError):
            Settings(**wrong)  # type: ignore[arg-type]
    check_notifications(Settings(notifications=file, **mail))  # type: ignore[arg-type]
    check_notifications(Settings())


def test_a_long_ledger_tells_nothing_of_long_ago(case: Case) -> None:
    """A node that begins to notify tells nobody of what was overdue for months."""
    case.fold()
    with webhook() as hook:
        notifier = case.notifier([to(hook, "xk-nac")])
        assert notifier.look() == 0
        assert notifier.send() == 0
        assert PARTIES == ["AL", "ME", "XK"]
