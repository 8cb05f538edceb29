"""Parcels between countries' nodes arrive, or are known as lost and sent again."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn, TypeVar
from uuid import UUID, uuid4

import psycopg
import pytest

from api.client.schemas.health import Effect, Side
from api.exchange import parcel_receipt as receiving
from api.exchange.disclosure_exchange import DisclosureExchange
from api.exchange.parcel_delivery import ParcelDelivery
from api.exchange.parcel_receipt import ParcelReceipt
from api.exchange.parcel_standing import (
    full_troubles,
    not_believed_troubles,
    outdated_troubles,
    parcels_standing,
    waiting_troubles,
    without_key_troubles,
)
from api.exchange.parcel_transport import OutdatedMailboxError
from ledger.application import Ledger, environment
from ledger.procedure.protocol import Agency
from ledger.procedure.registry import Registry
from ledger.replication import mailbox
from ledger.replication.mailbox import Mailbox
from ledger.signing import keys, signed_action
from ledger.signing.country_key import FileCountryKey
from ledger.signing.sd_jwt import SdJwt, issue, make_disclosure
from ledger.store.database import Database
from ledger.system import clock
from ledger.vault import sealed_parcels
from ledger.vault.acknowledgements import (
    Acknowledgement,
    ParcelOutcome,
    sign,
    unsigned,
    verify,
)
from ledger.vault.daily_quotas import QuotaUsedUpError
from ledger.vault.data_keys import DataKeys
from ledger.vault.deposits import KeyMissingError
from ledger.vault.duplicates.messages import TokensWithdrawn
from ledger.vault.held_fields import Held
from ledger.vault.key_files import KeyFiles
from ledger.vault.sealed_parcels import (
    Content,
    NotHereYetError,
    Parcel,
    ParcelError,
    Presentation,
    pack,
)
from ledger.vault.sent_parcels import SentParcel, SentState
from ledger.vault.vault import Vault, Vaults
from ledger.vocabulary.registration import CountryKeyRegistered
from tests.support.actions import opening
from tests.support.agencies import PAST, Agencies
from tests.support.command_line import CommandLine
from tests.support.databases import new_database

T = TypeVar("T")
NOTE, PARTIES = "zqNobodysNote", ("XK", "ME", "AL")


NOT_BELIEVED = (
    "not-the-senders",
    "not-a-party",
    "no-release",
    "not-as-recorded",
    "not-released-to-us",
    "fields",
    "malformed",
)


class Crash:
    """Ends what a process does at one of its steps."""

    class Killed(BaseException):
        """No code of the program copes with this."""

    def __init__(self) -> None:
        self.at: int | None = None
        self.met = 0

    def before(self, step: Callable[..., T]) -> Callable[..., T]:
        def stepping(*given: object, **more: object) -> T:
            self._count()
            return step(*given, **more)

        return stepping

    def after(self, step: Callable[..., T]) -> Callable[..., T]:
        def stepping(*given: object, **more: object) -> T:
            done = step(*given, **more)
            self._count()
            return done

        return stepping

    def _count(self) -> None:
        if self.at is not None:
            self.met += 1
            if self.met > self.at:
                self.at = None
                raise Crash.Killed


@dataclass(frozen=True)
class Prepared:
    """An opening that is signed."""

    case_id: UUID
    signed: SdJwt

    @property
    def action(self) -> signed_action.SignedAction:
        return signed_action.read(self.signed)

    @property
    def presentation(self) -> Presentation:
        return Presentation(presentation=str(self.signed))

    def record(self, ledger: Ledger) -> None:
        ledger.append(self.action, self.case_id, 0)


@dataclass
class World:
    """Three countries' vaults and a mailbox, whose steps a test takes one by one."""

    ledger: Ledger
    database: Database
    conninfo: str
    agencies: Agencies
    directory: Path
    keys: dict[str, FileCountryKey]
    said: list[Content] = field(default_factory=list)
    hidden: set[UUID] = field(default_factory=set)
    """Messages about these cases are not taken in yet."""
    kept: dict[tuple[str, ...], Vaults] = field(default_factory=dict)

    def __post_init__(self) -> None:
        opened = {
            party: DataKeys(self.directory / party, party, key) for party, key in self.keys.items()
        }
        self.opened = opened
        self.mailbox = Mailbox(self.database, self.directory / "parcels")
        self.begin_anew()

    def begin_anew(self) -> None:
        """As after ``kill -9`` of every process."""
        self.sender, self.sharing, self.delivery = self.sending("XK")
        self.receiver = self.receiving("ME")

        self.receiving_vault = self.vaults("ME").of("ME")

    def vaults(self, *countries: str) -> Vaults:
        """Vaults remember nothing of parcels: they outlive the processes here."""
        if countries not in self.kept:
            own = {party: self.opened[party] for party in countries}
            self.kept[countries] = Vaults(self.database, own)
        return self.kept[countries]

    def sending(self, country: str) -> tuple[Vault, DisclosureExchange, ParcelDelivery]:
        vaults = self.vaults(country)
        delivery = ParcelDelivery(self.ledger, vaults, self.mailbox)
        sharing = DisclosureExchange(self.ledger, vaults, delivery, lambda: "log")
        return vaults.of(country), sharing, delivery

    def receiving(self, *countries: str) -> ParcelReceipt:
        return ParcelReceipt(
            self.ledger,
            self.vaults(*countries),
            self.keys,
            self.mailbox,
            self.take_message,
            self.node_key,
        )

    def node_key(self, node: Agency) -> keys.OKPKey | None:
        return self.agencies.keys[node.id]

    def take_message(self, _: Vault, __: Parcel, content: Content, ___: Registry) -> None:
        if self.hidden:
            raise NotHereYetError(cases=self.hidden)
        self.said.append(content)

    @property
    def registry(self) -> Registry:
        return self.ledger.adopted()

    def prepares(
        self,
        case_id: UUID | None = None,
        *,
        parties: tuple[str, ...] = ("XK", "ME"),
        action_id: UUID | None = None,
        **fields: object,
    ) -> "Prepared":
        """Kosovo signs the opening of a case, and does not record it yet."""
        case_id = case_id or uuid4()
        action = opening(parties, **(fields or {"indicators_note": NOTE}))
        return Prepared(case_id, self.agencies.sign("xk-dhtqnj", action, case_id, action_id))

    def opens(
        self, case_id: UUID | None = None, *, parties: tuple[str, ...] = ("XK", "ME")
    ) -> UUID:
        """Kosovo opens a case that Montenegro is party to. Returns the action's id."""
        one = self.prepares(case_id, parties=parties)
        self.sender.deposit(one.action, one.case_id, one.signed.disclosures)
        one.record(self.ledger)
        return one.action.id

    def send(self) -> None:
        self.sharing.queue()
        self.delivery.step()

    def fetch(self) -> None:
        while self.receiver.fetch():
            pass

    def received(self) -> set[UUID]:
        """The actions that Montenegro's vault has fields of."""
        with psycopg.connect(self.conninfo) as connection:
            rows = connection.execute(
                "SELECT action_id FROM vault_me.disclosures WHERE received_from IS NOT NULL"
            )
            return {row[0] for row in rows}

    def is_there_once(self, action: UUID) -> bool:
        """Return whether Montenegro's vault has each field of an action exactly once."""
        with psycopg.connect(self.conninfo) as connection:
            row = connection.execute(
                "SELECT count(*), count(DISTINCT digest) FROM vault_me.disclosures"
                " WHERE action_id = %s",
                (action,),
            ).fetchone()
        assert row is not None
        return bool(row[0] == row[1] > 0)

    def execute(self, statement: str, *values: object) -> None:
        with psycopg.connect(self.conninfo) as connection:
            connection.execute(statement.encode(), values)

    def now(self) -> None:
        """As if the pause before a parcel is sent again were over."""
        self.execute("UPDATE vault_xk.parcels_sent SET due_at = now() WHERE state = 'due'")

    def sent(self, action: UUID) -> SentParcel:
        (one,) = self.sender.sent.about([action])
        return one

    def hostile(self, content: Content, about: UUID | None = None, sender: str = "AL") -> Parcel:
        """Put into the mailbox what another country's node made up."""
        key = self.keys["ME"].public
        parcel = pack(content, about or uuid4(), self.registry.directory, sender, "ME", key)
        self.mailbox.put(parcel)
        return parcel

    def waiting(self) -> set[UUID]:
        return {one.parcel.id for one in self.mailbox.waiting("ME", 100).parcels}

    def outcome(self, parcel: Parcel) -> tuple[ParcelOutcome, str | None]:
        """Return the outcome that Montenegro's node signed for a parcel."""
        (left,) = [
            one for one in self.mailbox.outcomes(parcel.sender, 1000) if one.parcel_id == parcel.id
        ]
        assert left.acknowledgement is not None
        said = verify(left.acknowledgement, self.registry, clock.now()).content
        return said.outcome, said.reason


@pytest.fixture(scope="module")
def begun_world(
    server: str, begun: str, agencies: Agencies, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with (
        new_database(server, begun) as conninfo,
        Database(conninfo) as database,
        Ledger(environment(conninfo)) as ledger,
    ):
        own = {party: FileCountryKey.generate() for party in PARTIES}
        for party, key in own.items():
            registered = CountryKeyRegistered(acted_at=PAST, key=str(key.public))
            signed = agencies.sign(f"{party.lower()}-nac", registered, None)
            ledger.append_to_registry(signed_action.read(signed))
        directory = tmp_path_factory.mktemp("keys")
        yield World(ledger, database, conninfo, agencies, directory, own)


@pytest.fixture
def world(begun_world: World) -> World:
    """Nothing waits, and what was recorded before is of no account."""
    begun_world.begin_anew()
    begun_world.send()
    begun_world.execute(
        "TRUNCATE mailbox.parcels, vault_xk.parcels_sent, vault_me.parcels_refused,"
        " vault_me.parcels_waiting, vault_me.disclosures, vault_me.search_index"
    )
    for path in (begun_world.directory / "parcels").rglob("*.key"):
        path.unlink()
    begun_world.said.clear()
    begun_world.hidden.clear()
    begun_world.begin_anew()
    return begun_world


def test_a_parcel_counts_as_sent_until_its_recipient_signed_for_it(world: World) -> None:
    action = world.opens()
    world.send()
    assert world.sent(action).state is SentState.SENT
    assert [(u.recipient, u.parcels) for u in world.sender.sent.unacknowledged()] == [("ME", 1)]
    world.fetch()
    assert world.received() == {action}
    assert world.waiting() == set()
    world.delivery.step()
    assert world.sent(action).state is SentState.TAKEN_IN
    assert world.sender.sent.unacknowledged() == ()
    assert world.mailbox.outcomes("XK", 10) == ()
    world.sender.sent.forget(timedelta())
    assert world.sender.sent.about([action]) == []


def test_every_step_may_be_the_last_one_of_a_process(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``kill -9`` of either side between any two transactions, and at every key of a parcel."""
    crash = Crash()
    monkeypatch.setattr(Database, "connection", crash.before(Database.connection))
    monkeypatch.setattr(KeyFiles, "write", crash.after(KeyFiles.write))
    monkeypatch.setattr(KeyFiles, "destroy", crash.after(KeyFiles.destroy))
    steps, was_met = 0, True
    while was_met:
        crash.at = None
        action = world.opens()
        crash.at, crash.met = steps, 0
        with suppress(Crash.Killed):
            world.send()
            world.fetch()
            world.delivery.collect(world.sender, world.registry)
        was_met, crash.at = crash.at is None, None
        world.begin_anew()
        world.execute("UPDATE vault_xk.parcels_sent SET due_at = now() WHERE state = 'due'")
        world.delivery.find_missing(world.sender, timedelta())
        world.now()
        for _ in range(2):
            world.send()
            world.fetch()
        world.delivery.step()
        assert world.sent(action).state is SentState.TAKEN_IN, steps
        assert world.is_there_once(action), steps
        assert (world.waiting(), world.mailbox.outcomes("XK", 9)) == (set(), ()), steps
        assert list((world.directory / "parcels").rglob("*.key")) == [], steps
        steps += 1
    assert steps > 20


def test_what_rests_on_unrecorded_actions_keeps_nothing_else_waiting(world: World) -> None:
    """Sixty parcels of one sender come before a good one of the same sender."""
    early = [world.prepares() for _ in range(60)]
    stuck = [world.hostile(one.presentation, one.action.id, sender="XK") for one in early]
    action = world.opens()
    world.send()
    world.fetch()
    assert world.received() == {action}
    assert world.waiting() == {parcel.id for parcel in stuck}
    early[7].record(world.ledger)
    world.fetch()
    assert world.received() == {action, early[7].action.id}
    assert len(world.waiting()) == 59
    world.begin_anew()  # it remembers nothing, and looks at all of them
    early[50].record(world.ledger)
    world.fetch()
    assert len(world.received()) == 3
    (standing,) = world.receiving_vault.arrived.waiting()
    assert (standing.sender, standing.parcels) == ("XK", 58)
    assert world.mailbox.expire(timedelta()) == 58  # what stays expires by itself


def test_set_aside_parcels_take_bounded_memory(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiving, "MAX_SET_ASIDE", 5)
    for _ in range(12):
        one = world.prepares()
        world.hostile(one.presentation, one.action.id, sender="XK")
    action = world.opens()
    world.send()
    world.fetch()
    assert world.received() == {action}
    assert len(world.receiver.set_aside("ME")) == 5


def test_a_mailbox_that_begins_anew_is_read_from_its_beginning(world: World) -> None:
    """Another ledger node's places are lower than those that were looked at."""
    for _ in range(3):
        world.opens()
    world.send()
    world.fetch()
    world.execute("TRUNCATE mailbox.parcels RESTART IDENTITY")
    action = world.opens()
    world.send()
    world.fetch()
    assert action not in world.received()
    world.fetch()
    assert action in world.received()


def test_a_damaged_parcel_is_sent_again(world: World) -> None:
    action = world.opens()
    world.send()
    world.execute("UPDATE mailbox.parcels SET sealed = sealed || '\\x00'")
    world.fetch()
    assert world.received() == set()
    assert [(r.sender, r.reason) for r in world.receiving_vault.arrived.refused()] == [
        ("XK", "does-not-open")
    ]
    world.delivery.step()
    assert world.sent(action).reason == "does-not-open"
    assert world.sender.sent.due("ME", 9) == []  # after a pause
    world.now()
    world.send()
    world.fetch()
    world.delivery.step()
    assert world.received() == {action}
    assert world.sent(action).state is SentState.TAKEN_IN


@pytest.mark.parametrize("loss", ["expired", "missing", "key"])
def test_what_left_the_mailbox_unread_is_sent_again(world: World, loss: str) -> None:
    """It expired; another ledger node took over; or the mailbox's keys were lost."""
    action = world.opens()
    world.send()
    first = world.sent(action)
    if loss == "expired":
        world.mailbox.expire(timedelta())
    elif loss == "missing":
        world.execute("DELETE FROM mailbox.parcels")
    else:
        world.mailbox._keys.destroy(first.id)
    world.fetch()
    world.delivery.step()
    world.delivery.find_missing(world.sender, timedelta())
    again = world.sent(action)
    assert again.state is SentState.DUE
    assert again.reason == {"key": "lost"}.get(loss, loss)
    world.now()
    world.send()
    assert world.sent(action).digest != first.digest  # made anew
    world.fetch()
    world.delivery.step()
    assert world.sent(action).state is SentState.TAKEN_IN


def test_what_the_vault_holds_no_more_is_not_sent_again(world: World) -> None:
    action = world.opens()
    world.send()
    world.mailbox.expire(timedelta())
    world.execute("DELETE FROM vault_xk.disclosures WHERE action_id = %s", action)
    world.delivery.step()
    world.now()
    world.delivery.step()
    assert (world.waiting(), world.sender.sent.about([action])) == (set(), [])


@pytest.mark.parametrize("forgery", ["key", "other parcel", "earlier bytes", "unsigned"])
def test_the_mailboxs_operator_cannot_claim_that_a_parcel_arrived(
    world: World, forgery: str
) -> None:
    action, other = world.opens(), world.opens()
    world.send()
    by_id = {one.parcel.id: one.parcel for one in world.mailbox.waiting("ME", 9).parcels}
    parcel = by_id[world.sent(action).id]

    def said(about: Parcel) -> Acknowledgement:
        return Acknowledgement.of(
            about, ParcelOutcome.TAKEN_IN, None, protocol=world.registry.protocol_id, at=clock.now()
        )

    true = world.agencies.keys["me-node"]
    text = {
        "key": sign(said(parcel), keys.generate()).text,
        "other parcel": sign(said(by_id[world.sent(other).id]), true).text,
        "earlier bytes": sign(said(replace(parcel, sealed=b"earlier")), true).text,
        "unsigned": unsigned(said(parcel)).text,
    }[forgery]
    world.execute(
        "UPDATE mailbox.parcels SET sealed = '', outcome = 'acknowledged', decided_at = now(),"
        " acknowledgement = %s WHERE id = %s",
        text,
        parcel.id,
    )
    world.delivery.step()
    assert (world.sent(action).state, world.sent(action).reason) == (
        SentState.DUE,
        "acknowledgement",
    )
    world.now()
    world.send()
    world.fetch()
    world.delivery.step()
    assert world.sent(action).state is SentState.TAKEN_IN


def test_a_full_mailbox_delays_one_recipient_and_loses_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailbox, "MAX_PARCELS", 1)
    first, second = world.opens(), world.opens()
    elsewhere = world.opens(parties=("XK", "AL"))
    world.send()
    assert world.delivery.full == {("XK", "ME")}
    assert [t.rule for t in full_troubles(world.delivery.full)] == ["mailbox-full"]
    assert world.sent(elsewhere).state is SentState.SENT
    assert {world.sent(first).state, world.sent(second).state} == {SentState.SENT, SentState.DUE}
    for _ in range(2):
        world.fetch()
        world.delivery.step()
        world.delivery.step()
    assert world.received() == {first, second}
    assert world.delivery.full == set()


def test_a_message_that_did_not_arrive_is_its_modules_again(world: World) -> None:
    about, again = uuid4(), list[tuple[str, UUID | None]]()

    def send_again(_: Vault, parcel: SentParcel) -> bool:
        again.append((parcel.kind, parcel.about))
        return bool(len(again) < 2)

    world.delivery.send_message_again = send_again
    withdrawal = TokensWithdrawn(reference=UUID(int=0))
    world.delivery.send(world.sender, "ME", world.registry, withdrawal, about)
    for count in (1, 2):
        world.execute("UPDATE mailbox.parcels SET sealed = '\\x00'")
        world.fetch()
        world.delivery.step()
        assert len(again) == count - 1
        world.now()
        world.delivery.step()
        assert again[-1] == ("tokens_withdrawn", about)
        if count == 1:
            world.delivery.send(world.sender, "ME", world.registry, withdrawal, about)
            assert world.sent(about).tries == 2
    assert world.sender.sent.about([about]) == []  # there was nothing more to say
    world.delivery.send(world.sender, "ME", world.registry, withdrawal, about)
    world.fetch()
    world.delivery.step()
    assert (world.said, world.sender.sent.about([about])) == ([withdrawal], [])


def test_a_message_that_has_to_wait_is_taken_in_later(world: World) -> None:
    case_id = uuid4()
    world.hidden.add(case_id)
    world.delivery.send(
        world.sender, "ME", world.registry, TokensWithdrawn(reference=UUID(int=0)), None
    )
    world.fetch()
    assert world.said == []
    world.hidden.clear()
    world.fetch()
    assert world.said == []  # the case is not there yet
    world.opens(case_id)
    world.fetch()
    assert len(world.said) == 1


def test_a_message_over_the_senders_quota_waits_for_the_next_day(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not refused, so that nothing is lost."""
    take = world.receiver._take_message
    withdrawal = TokensWithdrawn(reference=UUID(int=1))

    def over_quota(*_: object) -> None:
        raise QuotaUsedUpError

    world.receiver._take_message = over_quota
    world.delivery.send(world.sender, "ME", world.registry, withdrawal, None)
    world.fetch()
    world.delivery.step()
    assert world.receiver.set_aside("ME")
    world.receiver._take_message = take
    for seconds, said in ((3590, []), (3610, [withdrawal])):
        later = time.monotonic() + seconds
        clock_of_receiver = SimpleNamespace(monotonic=lambda later=later: later)
        monkeypatch.setattr(receiving, "time", clock_of_receiver)
        world.fetch()
        assert world.said == said


def test_a_fault_of_this_node_delays_one_parcel_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = world.opens(), world.opens()
    world.send()
    deposit = Vault.deposit

    def failing(
        vault: Vault, action: signed_action.SignedAction, *rest: object, **more: object
    ) -> UUID:
        if action.id == bad:
            raise KeyMissingError("its key is missing")
        return deposit(vault, action, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Vault, "deposit", failing)
    world.fetch()
    assert world.received() == {good}
    monkeypatch.setattr(Vault, "deposit", deposit)
    later = time.monotonic() + 61
    monkeypatch.setattr(receiving, "time", SimpleNamespace(monotonic=lambda: later))
    world.fetch()
    assert world.received() == {good, bad}


def test_a_person_whose_key_is_missing_delays_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = world.opens(), world.opens()
    fields = Vault.own_case_fields

    def failing(vault: Vault, actions: Sequence[UUID]) -> Sequence[Held]:
        if bad in actions:
            raise KeyMissingError("its key is missing")
        return fields(vault, actions)

    monkeypatch.setattr(Vault, "own_case_fields", failing)
    world.send()
    assert world.sent(good).state is SentState.SENT
    assert world.sent(bad).reason == "vault-key-missing"


def test_a_node_without_a_key_takes_in_and_says_that_it_cannot_acknowledge(world: World) -> None:
    action = world.opens()
    world.send()
    world.receiver._node_key = lambda _: keys.generate()  # not registered
    world.fetch()
    assert world.received() == {action}
    assert len(world.waiting()) == 1
    assert world.receiver.without_key == {"ME"}
    assert [t.rule for t in without_key_troubles(world.receiver.without_key)] == [
        "parcels-unsigned"
    ]
    # Between two countries of one process nothing is to be proved.
    both = world.receiving("ME", "XK")
    both._node_key = lambda _: None
    both.fetch()
    assert world.waiting() == set()
    delivery = ParcelDelivery(world.ledger, world.vaults("XK", "ME"), world.mailbox)
    delivery.collect(world.sender, world.registry)
    assert world.sent(action).state is SentState.TAKEN_IN


def test_what_a_hostile_node_sends_ends_by_itself(world: World) -> None:
    """Each kind of parcel that is not the sender's to send gets a signed answer, and is gone."""
    kosovos, own = world.prepares(), world.prepares(parties=("XK",))
    kosovos.record(world.ledger)
    own.record(world.ledger)
    personal = world.prepares(first_name=NOTE)
    personal.record(world.ledger)
    tampered = world.prepares(case_id=kosovos.case_id, action_id=kosovos.action.id)
    key, protocol = world.keys["ME"].public, world.registry.directory

    def sealed(text: bytes) -> Parcel:
        withdrawal = pack(TokensWithdrawn(reference=UUID(int=0)), None, protocol, "AL", "ME", key)
        parcel = replace(withdrawal, id=UUID(bytes=b"AL" + uuid4().bytes[2:]))
        context = sealed_parcels._context(protocol, parcel.id, "AL", "ME")
        parcel = replace(parcel, sealed=key.seal(text, context))
        world.mailbox.put(parcel)
        return parcel

    sent = {
        "not-the-senders": world.hostile(kosovos.presentation),
        "not-a-party": world.hostile(own.presentation, own.action.id, sender="XK"),
        "no-release": world.hostile(personal.presentation, personal.action.id, sender="XK"),
        "not-as-recorded": world.hostile(tampered.presentation, sender="XK"),
        "not-released-to-us": world.hostile(
            kosovos.presentation.model_copy(update={"release": personal.action.id}), sender="XK"
        ),
        "fields": world.hostile(Presentation(presentation="a~b~")),
        "malformed": sealed(b'{"kind": "tokens_withdrawn"}'),
        "unknown-kind": sealed(b'{"kind": "sell_everything", "price": 1}'),
        "does-not-open": world.hostile(TokensWithdrawn(reference=UUID(int=0))),
    }
    world.execute(
        "UPDATE mailbox.parcels SET sealed = '\\x00' WHERE id = %s", sent["does-not-open"].id
    )
    good = world.opens()
    world.send()
    world.fetch()
    assert world.waiting() == set()
    assert world.received() == {good}
    assert world.said == []
    found = {
        reason: world.outcome(parcel) for reason, parcel in sent.items() if reason in NOT_BELIEVED
    }
    assert found == {reason: (ParcelOutcome.NOT_BELIEVED, reason) for reason in NOT_BELIEVED}
    assert world.outcome(sent["unknown-kind"])[0] is ParcelOutcome.NOT_UNDERSTOOD
    assert world.outcome(sent["does-not-open"])[0] is ParcelOutcome.DAMAGED
    told = {r.reason: r.parcels for r in world.receiving_vault.arrived.refused()}
    assert told == dict.fromkeys(sent, 1)


def test_a_second_value_of_a_field_is_not_taken_in(world: World) -> None:
    """An agency of a hostile country signs two values, and its node sends one after the other."""
    once = world.prepares()
    first = next(one for one in once.signed.disclosures if one.name == "indicators_note")
    told = {one.digest for one in once.signed.disclosures}
    again = make_disclosure(first.name, "zqAnotherNote")
    act = once.signed.payload["act"]
    decoy = next(digest for digest in act["_sd"] if digest not in told)
    both = [again.digest if digest == decoy else digest for digest in act["_sd"]]
    twice = issue(
        {name: value for name, value in once.signed.header.items() if name != "alg"},
        {**once.signed.payload, "act": {**act, "_sd": both}},
        [],
        world.agencies.keys["xk-dhtqnj"],
    )
    action = signed_action.read(twice)
    world.ledger.append(action, once.case_id, 0)
    one, other = (
        world.hostile(Presentation(presentation=f"{twice}{shown.encoded}~"), uuid4(), sender="XK")
        for shown in (first, again)
    )
    world.fetch()
    outcomes = [world.outcome(parcel) for parcel in (one, other)]
    assert outcomes == [
        (ParcelOutcome.TAKEN_IN, None),
        (ParcelOutcome.NOT_BELIEVED, "contradictory"),
    ]
    assert world.receiving_vault.held_fields(action.id) == {first.name: {first.digest}}


@pytest.mark.parametrize(
    ("held", "come"),
    [
        (["identity_document"], ["case_document"]),
        ([], ["health_document", "care_document"]),
        (["signs"], ["identity_document"]),
        (["case_document", "signs"], ["redacts"]),
    ],
)
def test_an_action_with_two_documents_or_a_contradiction_is_not_taken_in(
    held: Sequence[str], come: Sequence[str]
) -> None:
    disclosures = [make_disclosure(name, "a value") for name in come]
    with pytest.raises(ParcelError, match="the action"):
        sealed_parcels.check_together(disclosures, {name: {"digest"} for name in held})
    # The same fields again, and others beside a document, are taken in.
    some = [make_disclosure(name, "a value") for name in ("belongs_to", "case_document", "redacts")]
    sealed_parcels.check_together(some, {one.name: {one.digest} for one in some})


def test_what_was_not_believed_waits_for_its_operator(world: World) -> None:
    action = world.opens()
    world.send()
    (parcel,) = [one.parcel for one in world.mailbox.waiting("ME", 9).parcels]
    content = Acknowledgement.of(
        parcel,
        ParcelOutcome.NOT_BELIEVED,
        "not-a-party",
        protocol=world.registry.protocol_id,
        at=clock.now(),
    )
    world.mailbox.acknowledge("ME", [sign(content, world.agencies.keys["me-node"])])
    world.delivery.step()
    (one,) = world.sender.sent.not_believed(9)
    assert (one.id, one.reason) == (parcel.id, "not-a-party")
    (trouble,) = not_believed_troubles([world.sender])
    assert (trouble.rule, trouble.effect) == ("parcels-not-believed", Effect.WARNING)
    assert world.sender.sent.forget(timedelta()) == 0
    assert world.sender.sent.send_again([one.id]) == 1
    world.send()
    world.fetch()
    world.delivery.step()
    assert world.sent(action).state is SentState.TAKEN_IN
    assert world.sender.sent.give_up([one.id]) == 0  # it was taken in


def test_each_side_says_since_when_the_oldest_parcel_waits(world: World) -> None:
    world.opens()
    world.send()
    world.receiver._take_message = lambda *_: None
    world.hidden.add(uuid4())
    (waits,) = [one.parcel for one in world.mailbox.waiting("ME", 9).parcels]
    world.execute("UPDATE mailbox.parcels SET received_at = now() - interval '25 hours'")
    world.execute("UPDATE vault_xk.parcels_sent SET queued_at = now() - interval '26 hours'")
    world.receiving_vault.arrived.note_waiting(world.mailbox.waiting("ME", 9).standing)
    standing = parcels_standing([world.sender, world.receiving_vault], world.mailbox)
    assert [(one.side, one.sender, one.recipient, one.parcels) for one in standing] == [
        (Side.MAILBOX, "XK", "ME", 1),
        (Side.SENT, "XK", "ME", 1),
        (Side.RECEIVED, "XK", "ME", 1),
    ]
    now = clock.now()
    assert {t.rule for t in waiting_troubles(standing, now)} == {
        "parcels-waiting",
        "parcels-unacknowledged",
        "parcels-not-taken-in",
    }
    assert waiting_troubles(standing, now - timedelta(hours=3)) == []
    world.fetch()
    world.delivery.step()
    assert waits.id not in world.waiting()
    assert parcels_standing([world.sender, world.receiving_vault], world.mailbox) == ()


def test_a_ledger_node_of_an_earlier_program_is_named(world: World) -> None:
    def outdated(_: str, __: int) -> NoReturn:
        raise OutdatedMailboxError

    world.opens()
    world.send()
    world.delivery._post = SimpleNamespace(outcomes=outdated)  # type: ignore[assignment]
    with pytest.raises(OutdatedMailboxError):
        world.delivery.step()
    (trouble,) = outdated_troubles(world.delivery.is_outdated)
    assert trouble.rule == "mailbox-outdated"


def test_the_operator_sees_and_decides_by_a_command(world: World, directory: Path) -> None:
    action = world.opens()
    world.send()
    (parcel,) = [one.parcel for one in world.mailbox.waiting("ME", 9).parcels]
    cli = CommandLine(directory, {"CASE_LEDGER_DATABASE_URL": world.conninfo})
    found = cli.json("node", "parcels")
    assert [(one["side"], one["sender"], one["parcels"]) for one in found["waiting"]] == [
        ("mailbox", "XK", 1),
        ("sent", "XK", 1),
    ]
    world.execute(
        "UPDATE vault_xk.parcels_sent SET state = 'not_believed', reason = 'not-a-party',"
        " settled_at = now() WHERE id = %s",
        parcel.id,
    )
    assert "not-a-party" in cli.run("node", "parcels").stdout
    assert cli.json("node", "parcels", "--send-again", str(parcel.id))["sent_again"] == 1
    assert world.sent(action).state is SentState.DUE
