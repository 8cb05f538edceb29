"""Three countries' nodes on one ledger, whose steps a test takes one by one."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from uuid import UUID, uuid4

import psycopg
from joserfc.jwk import OKPKey
from psycopg.rows import DictRow, dict_row

from api.background_jobs.vault_checker import VaultChecker
from api.exchange.content_exchange import ContentExchange
from api.exchange.disclosure_exchange import DisclosureExchange
from api.exchange.parcel_delivery import ParcelDelivery
from api.exchange.parcel_receipt import ParcelReceipt
from api.exchange.vault_completion import VaultCompletion
from ledger.application import Ledger, environment
from ledger.procedure.protocol import Agency
from ledger.procedure.registry import Registry
from ledger.replication.mailbox import Mailbox
from ledger.replication.outbox import Outbox
from ledger.signing import signed_action
from ledger.signing.country_key import FileCountryKey
from ledger.signing.sd_jwt import SdJwt
from ledger.store.database import Database
from ledger.vault.completion_messages import FieldsAnswered, FieldsAsked
from ledger.vault.data_keys import DataKeys
from ledger.vault.documents.chunk_encryption import CHUNK_BYTES
from ledger.vault.documents.content_messages import CONTENT_MESSAGES
from ledger.vault.documents.documents import NamedDocument
from ledger.vault.sealed_parcels import Content, Parcel
from ledger.vault.vault import Vault, Vaults
from ledger.vocabulary import Action
from ledger.vocabulary.documents import DocumentAdded
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import DocumentKind
from ledger.vocabulary.registration import CountryKeyRegistered
from tests.support.actions import START
from tests.support.agencies import PAST, Agencies
from tests.support.required_disclosures import VaultStanding, vault_standing

PARTIES = ("XK", "ME", "AL")


class Country:
    """One country's node, with a vault of its own."""

    def __init__(self, world: "Countries", party: str) -> None:
        self.party = party
        self.given_up: set[UUID] = set()
        """Persons whose data keys the operator gave up."""
        self.keys = DataKeys(world.directory / party, party, world.keys[party])
        vaults = Vaults(world.database, {party: self.keys})
        self.vault: Vault = vaults.of(party)
        self.delivery = ParcelDelivery(world.ledger, vaults, world.mailbox)
        self.sharing = DisclosureExchange(world.ledger, vaults, self.delivery, lambda: "log")
        self.checking = VaultChecker(
            world.ledger,
            world.database,
            Outbox(world.database),
            vaults,
            lambda: world.agencies.protocol,
            patience=0,
            given_up=lambda _: self.given_up,
        )
        self.completing = VaultCompletion(
            world.ledger,
            vaults,
            self.delivery,
            world.node_key,
            patience=0,
            touch=self.checking.touch,
        )
        self.contents = ContentExchange(
            world.ledger,
            vaults,
            self.delivery,
            world.node_key,
            patience=world.content_patience,
        )
        self.delivery.send_message_again = self.contents.send_again
        self.receiving = ParcelReceipt(
            world.ledger, vaults, world.keys, world.mailbox, self._take_message, world.node_key
        )
        self.receiving.when_completed = self.completing.completed
        self.asked: list[tuple[str, FieldsAsked]] = []
        """The questions that came from other countries."""

    def _take_message(self, vault: Vault, parcel: Parcel, said: Content, of: Registry) -> None:
        if isinstance(said, CONTENT_MESSAGES):
            self.contents.take_in(vault, parcel, said, of)
            return
        assert isinstance(said, FieldsAsked | FieldsAnswered)
        if isinstance(said, FieldsAsked):
            self.asked.append((parcel.sender, said))
        self.completing.take_in(vault, parcel, said, of)

    def share(self) -> None:
        """Send what is to be sent, and take in what has come."""
        while self.sharing.queue():
            pass
        self.delivery.step()
        while self.receiving.fetch():
            pass


@dataclass
class Countries:
    """A ledger with a mailbox, and the nodes."""

    ledger: Ledger
    database: Database
    conninfo: str
    agencies: Agencies
    directory: Path
    keys: dict[str, FileCountryKey] = field(default_factory=dict)
    nodes: dict[str, Country] = field(default_factory=dict)
    content_patience: float = 0.0
    """Seconds until a content is asked for again."""

    def __post_init__(self) -> None:
        self.mailbox = Mailbox(self.database, self.directory / "parcels")
        is_new = not self.keys
        self.keys = self.keys or {party: FileCountryKey.generate() for party in PARTIES}
        for party, key in self.keys.items() if is_new else ():
            registered = CountryKeyRegistered(acted_at=PAST, key=str(key.public))
            signed = self.agencies.sign(f"{party.lower()}-nac", registered, None)
            self.ledger.append_to_registry(signed_action.read(signed))
        self.nodes = {party: Country(self, party) for party in PARTIES}

    def __getitem__(self, party: str) -> Country:
        return self.nodes[party]

    def node_key(self, node: Agency) -> OKPKey | None:
        return self.agencies.keys[node.id]

    def act(self, agency: str, action: Action, case_id: UUID | None = None) -> SdJwt:
        """Record an action, with its disclosures in its country's vault."""
        case_id = case_id or uuid4()
        signed = self.agencies.sign(agency, action, case_id)
        read = signed_action.read(signed)
        self[agency[:2].upper()].vault.deposit(read, case_id, signed.disclosures)
        case = self.ledger.case(case_id)
        self.ledger.append(read, case_id, case.version if case else 0)
        return signed

    def add_document(
        self,
        agency: str,
        case_id: UUID,
        content: bytes,
        group: FieldGroup | None = None,
        belongs_to: UUID | None = None,
    ) -> SdJwt:
        """Upload a content, and record the action that adds it."""
        name = f"{group.value}_document" if group is not None else "case_document"
        digest = sha256(content).hexdigest()
        document = {
            "sha256": digest,
            "size": len(content),
            "media_type": "application/pdf",
            "document_kind": DocumentKind.CONSENT_FORM,
            "title": "Consent of the mother",
        }
        told = {"acted_at": START, name: document, "belongs_to": belongs_to}
        vault = self[agency[:2].upper()].vault
        upload = vault.documents.begin(case_id, agency, len(content), digest, most_of_case=10**9)
        for begins in range(0, len(content), CHUNK_BYTES):
            upload = vault.documents.store(upload, content[begins : begins + CHUNK_BYTES])
        vault.documents.settle(upload)
        signed = self.agencies.sign(agency, DocumentAdded.model_validate(told), case_id)
        read = signed_action.read(signed)
        named = NamedDocument(
            name, DocumentAdded.level(name), digest, len(content), "application/pdf"
        )
        vault.deposit(read, case_id, signed.disclosures, documents=[named])
        case = self.ledger.case(case_id)
        self.ledger.append(read, case_id, case.version if case else 0)
        return signed

    def exchange_contents(self, rounds: int = 30) -> None:
        """Let nodes fetch contents, until nothing that another gives is awaited."""
        for _ in range(rounds):
            more = [node.contents.step() for node in self.nodes.values()]
            self.share(1)
            idle = all(node.vault.contents.is_idle() for node in self.nodes.values())
            if idle and not any(more):
                return

    def share(self, times: int = 2) -> None:
        """Let what is sent arrive, and be acknowledged."""
        for _ in range(times):
            for node in self.nodes.values():
                node.share()

    def settle(self, rounds: int = 8) -> None:
        """Let the nodes check their vaults and complete them, until nothing changes any more."""
        before: tuple[object, ...] = ()
        for _ in range(rounds):
            for node in self.nodes.values():
                node.checking.check_vaults()
                node.completing.step()
            self.share(1)
            if (now := self._state()) == before:
                return
            before = now

    def _state(self) -> tuple[object, ...]:
        counted = ", ".join(
            f"(SELECT count(*) FROM vault_{party}.{what})"
            for party in map(str.lower, PARTIES)
            for what in (
                "disclosures",
                "deposits",
                "missing",
                "missing WHERE lost_at IS NULL",
                "asked WHERE answered_at IS NULL",
                "parcels_sent WHERE settled_at IS NULL",
            )
        )
        with psycopg.connect(self.conninfo) as connection:
            return connection.execute(f"SELECT {counted}".encode()).fetchone() or ()

    def standing(self, party: str) -> VaultStanding:
        return vault_standing(self.ledger, self.database, party, self[party].keys)

    def execute(self, statement: str, *values: object) -> None:
        """As the database's owner."""
        with psycopg.connect(self.conninfo) as connection:
            connection.execute(statement.encode(), values)

    def rows(self, statement: str, *values: object) -> list[DictRow]:
        """As the database's owner."""
        with psycopg.connect(self.conninfo, row_factory=dict_row) as connection:
            return connection.execute(statement.encode(), values).fetchall()

    def lose(self, party: str, where: str = "true", *values: object) -> None:
        """Delete disclosures and their inventory, as a copy of before they came in has none."""
        for table in ("disclosures", "deposits"):
            self.execute(f"DELETE FROM vault_{party.lower()}.{table} WHERE {where}", *values)


@contextmanager
def three_countries(
    conninfo: str,
    agencies: Agencies,
    directory: Path,
    keys: Mapping[str, FileCountryKey] = MappingProxyType({}),
    *,
    content_patience: float = 0.0,
) -> Iterator[Countries]:
    """Three nodes on a database in which the protocol was adopted.

    ``keys`` are those of an earlier process with the same database.
    """
    with Database(conninfo) as database, Ledger(environment(conninfo)) as ledger:
        yield Countries(
            ledger,
            database,
            conninfo,
            agencies,
            directory,
            dict(keys),
            content_patience=content_patience,
        )
