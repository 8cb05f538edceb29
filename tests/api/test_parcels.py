"""What travels between countries' nodes arrives, or is known not to have, and is sent again."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest

from api.delivering import Delivery
from api.receiving import Receiving
from api.sharing import Sharing
from ledger import clock, keys, signing
from ledger.application import Ledger, environment
from ledger.mailbox import Mailbox
from ledger.protocol import Agency
from ledger.registry import Registry
from ledger.store.database import Database
from ledger.vault.acknowledgements import ParcelOutcome, verify
from ledger.vault.country_key import FileCountryKey
from ledger.vault.data_keys import DataKeys
from ledger.vault.disclosures import Vault, Vaults
from ledger.vault.parcels import Content, NotHereYetError, Parcel, pack
from ledger.vault.sent_parcels import SentParcel, SentState
from ledger.vocabulary.registration import CountryKeyRegistered
from tests.support.actions import opening
from tests.support.agencies import PAST, Agencies
from tests.support.databases import new_database

NOTE, PARTIES = "zqNobodysNote", ("XK", "ME", "AL")


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

    def sending(self, *countries: str) -> tuple[Vault, Sharing, Delivery]:
        vaults = Vaults(self.database, {party: self.opened[party] for party in countries})
        delivery = Delivery(self.ledger, vaults, self.mailbox)
        return (
            vaults.of(countries[0]),
            Sharing(self.ledger, vaults, delivery, lambda: "log"),
            delivery,
        )

    def receiving(self, *countries: str) -> Receiving:
        vaults = Vaults(self.database, {party: self.opened[party] for party in countries})
        return Receiving(
            self.ledger, vaults, self.keys, self.mailbox, self.take_message, self.node_key
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

    def opens(self, case_id: UUID | None = None) -> UUID:
        """Kosovo opens a case that Montenegro is party to. Returns the action's id."""
        case_id = case_id or uuid4()
        signed = self.agencies.sign(
            "xk-dhtqnj", opening(("XK", "ME"), indicators_note=NOTE), case_id
        )
        action = signing.read(signed)
        self.sender.deposit(action, case_id, signed.disclosures)
        self.ledger.append(action, case_id, 0)
        return action.id

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
        parcel = pack(content, about or uuid4(), self.registry.protocol, sender, "ME", key)
        self.mailbox.put(parcel)
        return parcel

    def waiting(self) -> set[UUID]:
        return {one.parcel.id for one in self.mailbox.waiting("ME", 100).parcels}

    def outcome(self, parcel: Parcel) -> tuple[ParcelOutcome, str | None]:
        """What Montenegro's node signed on a parcel."""
        (left,) = [
            one for one in self.mailbox.outcomes(parcel.sender, 1000) if one.parcel_id == parcel.id
        ]
        assert left.acknowledgement is not None
        said = verify(left.acknowledgement, self.registry, clock.now()).content
        return said.outcome, said.reason


@pytest.fixture
def world(server: str, begun: str, agencies: Agencies, tmp_path: Path) -> Iterator[World]:
    with (
        new_database(server, begun) as conninfo,
        Database(conninfo) as database,
        Ledger(environment(conninfo)) as ledger,
    ):
        own = {party: FileCountryKey.generate() for party in PARTIES}
        for party, key in own.items():
            registered = CountryKeyRegistered(acted_at=PAST, key=str(key.public))
            signed = agencies.sign(f"{party.lower()}-nac", registered, None)
            ledger.append_to_registry(signing.read(signed))
        yield World(ledger, database, conninfo, agencies, tmp_path, own)


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
