"""Contents of documents go to the countries that their fields go to, and to no other."""

import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from io import StringIO
from pathlib import Path
from unittest.mock import patch
from uuid import UUID, uuid4

import pytest
from rich.console import Console
from rich.table import Table

from api.background_jobs.vault_checker import content_troubles
from api.cli.steps.missing_tables import contents_table
from api.cli.steps.transfers import awaited_table, given_table
from api.exchange import content_fetching
from api.services.document_inventory import inventory_of
from ledger.procedure.protocol import Operation
from ledger.signing import signed_action
from ledger.signing.country_key import SealError
from ledger.signing.sd_jwt import SdJwt
from ledger.vault.documents.chunk_encryption import CHUNK_BYTES, seal_chunk
from ledger.vault.documents.content_messages import (
    ContentAsked,
    ContentHeld,
    ContentPart,
    ContentRefusal,
    ContentRefused,
    as_text,
)
from ledger.vault.documents.content_standings import ContentStanding, ContentState
from ledger.vault.documents.documents import opened_content_key
from ledger.vault.documents.scanning import MalwareError, NotScannedError
from ledger.vault.documents.uploads import place_of
from ledger.vault.required_disclosures import FieldPart
from ledger.vault.sealed_parcels import Parcel, ParcelError, unpack
from ledger.vocabulary.coordination import ConsentGiven, ConsentWithdrawn, Correction
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import (
    ConsentForm,
    ConsentGiver,
    ConsentScope,
    CorrectionEffect,
    CorrectionReason,
    GuardianKind,
    LegalBasis,
    Purpose,
)
from ledger.vocabulary.protection import GuardianAppointed
from ledger.vocabulary.sharing import InformationReleased, ReleasedFields
from tests.support.actions import START, opening
from tests.support.agencies import Agencies
from tests.support.databases import new_database
from tests.support.leaks import tables_with
from tests.support.papers import pdf
from tests.support.three_countries import PARTIES, Countries, Country, three_countries
from tests.support.vaults import reading

POLICE, SOCIAL_WORK = "xk-dhtqnj", "xk-csw-prishtina"
MARKER = b"zqWordsOfTheDocument"
PATIENCE = content_fetching.timedelta(0)
WINDOW = 2
"""So many chunks are asked for at a time here."""


@pytest.fixture(scope="module")
def countries(
    server: str, begun: str, agencies: Agencies, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Countries]:
    with (
        new_database(server, begun) as conninfo,
        three_countries(conninfo, agencies, tmp_path_factory.mktemp("contents")) as made,
        patch.object(content_fetching, "AT_MOST_CHUNKS", WINDOW),
        patch.object(content_fetching, "TRIES_EACH", 1000),  # these nodes have no patience
    ):
        yield made


@dataclass
class World:
    """A case of two countries or three. Montenegro may have Kosovo's identity fields."""

    countries: Countries
    case_id: UUID
    consent: UUID

    def add(self, content: bytes, group: FieldGroup | None = None) -> "Added":
        signed = self.countries.add_document(POLICE, self.case_id, content, group)
        name = f"{group.value}_document" if group is not None else "case_document"
        return Added(self, signed, name)

    def consents(self) -> UUID:
        consent = ConsentGiven(
            acted_at=START,
            scopes=(ConsentScope.INFORMATION_EXCHANGE,),
            given_by=ConsentGiver.GUARDIAN,
            form=ConsentForm.WRITTEN,
            groups=(FieldGroup.IDENTITY,),
            recipients=("ME",),
        )
        self.consent = signed_action.read(self.countries.act(SOCIAL_WORK, consent, self.case_id)).id
        return self.consent

    def withdraws(self) -> None:
        withdrawn = ConsentWithdrawn(
            acted_at=START,
            scopes=(ConsentScope.INFORMATION_EXCHANGE,),
            withdrawn_by=ConsentGiver.GUARDIAN,
        )
        self.countries.act(SOCIAL_WORK, withdrawn, self.case_id)

    def node(self, party: str) -> Country:
        return self.countries[party]

    def standing(self, party: str) -> list[ContentStanding]:
        return [*self.node(party).vault.contents.of_case(self.case_id, patience=PATIENCE)]

    def restart(self, party: str) -> None:
        """A process begins anew: it has nothing but its database and its keys."""
        self.countries.nodes[party] = Country(self.countries, party)


@dataclass
class Added:
    """A document that Kosovo's police added."""

    world: World
    signed: SdJwt
    field: str

    @property
    def id(self) -> UUID:
        return signed_action.read(self.signed).id

    @property
    def digest(self) -> str:
        (found,) = [one.digest for one in self.signed.disclosures if one.name == self.field]
        return found

    def release(self) -> UUID:
        """Release it to Montenegro."""
        release = InformationReleased(
            acted_at=START,
            recipient="ME",
            groups=(FieldGroup.IDENTITY,),
            purpose=Purpose.PROTECTION,
            basis=LegalBasis.CONSENT,
            basis_action=self.world.consent,
            released=(ReleasedFields(action=self.id, digests=(self.digest,)),),
        )
        signed = self.world.countries.act(SOCIAL_WORK, release, self.world.case_id)
        return signed_action.read(signed).id

    def read(self, party: str) -> bytes | None:
        vault = self.world.node(party).vault
        opened = vault.document(reading(vault, self.world.case_id), self.id)
        return None if opened is None else b"".join(opened.part(0, opened.place.size - 1))

    def asked_by(self, party: str, first: int = 0, **changed: object) -> ContentAsked:
        """A question that any node could make."""
        said = {
            "transfer": uuid4(),
            "key": as_text(bytes(32)),
            "action": self.id,
            "field": self.field,
            "digest": self.digest,
            "first": first,
            "count": 1,
            **changed,
        }
        asked = ContentAsked.model_validate(said)
        node, registry = self.world.node(party), self.world.countries.ledger.adopted()
        node.delivery.send(node.vault, "XK", registry, asked, uuid4())
        return asked

    def place(self, party: str) -> tuple[UUID, int]:
        """The id of the row, and how many bytes are durable."""
        (row,) = self.world.countries.rows(
            f"SELECT * FROM vault_{party.lower()}.documents WHERE action_id = %s", self.id
        )
        return row["document_id"], row["received"]


@pytest.fixture
def world(countries: Countries) -> World:
    return begun_world(countries, ("XK", "ME"))


@pytest.fixture
def world_of_three(countries: Countries) -> World:
    return begun_world(countries, PARTIES)


def begun_world(countries: Countries, parties: tuple[str, ...]) -> World:
    # What other tests left is in no mailbox and no process.
    countries.execute("DELETE FROM mailbox.parcels")
    for party in PARTIES:
        countries.execute(f"DELETE FROM vault_{party.lower()}.parcels_sent")
        countries.execute(f"DELETE FROM vault_{party.lower()}.contents_expected")
        countries.nodes[party] = Country(countries, party)
    made = World(countries, uuid4(), uuid4())
    countries.act(POLICE, opening(parties), made.case_id)
    guardian = GuardianAppointed(acted_at=START, guardian_kind=GuardianKind.RELATIVE)
    countries.act(SOCIAL_WORK, guardian, made.case_id)
    made.consents()
    countries.share()
    return made


def test_a_document_of_the_case_comes_to_every_country_of_it(
    world_of_three: World, tmp_path: Path
) -> None:
    world = world_of_three
    content = pdf(2 * CHUNK_BYTES + 1000, MARKER)
    added = world.add(content)
    assert world.standing("ME") == []
    world.countries.share()
    (expected,) = world.standing("ME")
    assert (expected.action, expected.origin, expected.size) == (added.id, "XK", len(content))
    assert (expected.state, expected.received) == (ContentState.MISSING, 0)
    assert added.read("ME") is None
    assert world.node("ME").vault.documents.held([added.id]) == {}
    world.countries.exchange_contents()
    for party in ("ME", "AL"):
        assert added.read(party) == content
        (held,) = world.standing(party)
        assert (held.state, held.received) == (ContentState.HELD, len(content))
        assert world.countries.standing(party).findings == ()
    # As anybody checks it who has the file and the signed digest.
    (tmp_path / "received.pdf").write_bytes(added.read("ME") or b"")
    told = subprocess.run(
        ["sha256sum", "received.pdf"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    (signed,) = [d.value for d in added.signed.disclosures if d.name == added.field]
    assert told.stdout.split()[0] == signed["sha256"]  # type: ignore[index, call-overload]
    # The API and the command tell the same, and nothing that tells the document's group.
    found = inventory_of(world.node("ME").vault, world.case_id, 0)
    assert [(one.id, one.state) for one in found.awaited] == [(added.id, "held")]
    assert added.field not in found.model_dump_json()
    assert "held" in printed(awaited_table(found.awaited))
    told_given = inventory_of(world.node("XK").vault, world.case_id, 0).given
    assert {one.recipient for one in told_given} == {"ME", "AL"}
    assert added.field not in "".join(one.model_dump_json() for one in told_given)
    assert "not yet" not in printed(given_table(told_given))
    # The sender has a signed statement of each, and wrote down what it took out.
    given = world.node("XK").vault.given.of_case(world.case_id)
    assert {(one.recipient, one.held_at is not None) for one in given} == {
        ("ME", True),
        ("AL", True),
    }
    taken = world.node("XK").vault.readings.of_case(world.case_id)
    assert {(one.asked.agency, one.asked.operation, one.concerning) for one in taken} == {
        ("xk-node", Operation.RELEASE, added.id)
    }
    marks = [MARKER.decode(), MARKER.hex(), sha256(content).hexdigest()]
    assert tables_with(world.countries.conninfo, marks) == {}


def printed(table: Table) -> str:
    (console := Console(width=200, file=StringIO())).print(table)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_a_personal_document_goes_by_a_release_alone(world_of_three: World) -> None:
    world = world_of_three
    content = pdf(CHUNK_BYTES + 1)
    added = world.add(content, FieldGroup.IDENTITY)
    world.countries.share()
    assert world.standing("ME") == world.standing("AL") == []
    release = added.release()
    world.countries.share()
    world.countries.exchange_contents()
    assert added.read("ME") == content
    assert world.standing("AL") == []
    # Whoever has nothing to do with the group does not learn that there is paper, on either side.
    for party in ("XK", "ME"):
        vault = world.node(party).vault
        for concerned in (True, False):
            told = inventory_of(vault, world.case_id, 0, lambda _, told=concerned: told)
            found = {one.id for one in (*told.awaited, *told.given)}
            assert found == ({added.id} if concerned else set())
    sent = world.node("XK").vault.readings.of_case(world.case_id)
    contents = [one for one in sent if one.asked.operation is Operation.RELEASE]
    assert {(one.asked.agency, one.concerning) for one in contents} == {(SOCIAL_WORK, release)}


def test_a_country_to_which_it_did_not_go_gets_no_chunk(world_of_three: World) -> None:
    world = world_of_three
    added = world.add(pdf(CHUNK_BYTES), FieldGroup.IDENTITY)
    added.release()
    world.countries.share()
    answers: list[object] = []
    albania = world.node("AL").contents.fetching
    with patch.object(albania, "take_in", lambda _vault, _other, said: answers.append(said)):
        for changed in (
            {},
            {"field": "health_document"},
            {"field": "first_name"},
            {"action": uuid4()},
            {"digest": "A" * 43},
        ):
            added.asked_by("AL", **changed)
            world.countries.share(1)
            world.node("XK").contents.step()
            world.countries.share(1)
    # A refusal, whether there is such a document or not; nothing where there cannot be one.
    assert [type(one) for one in answers] == [ContentRefused] * 3
    assert world.node("XK").vault.given.of_case(world.case_id) == []
    assert not [
        one
        for one in world.node("XK").vault.readings.of_case(world.case_id)
        if one.asked.agency == "xk-node"
    ]


def test_a_process_that_died_goes_on_at_the_next_chunk(world: World) -> None:
    content = pdf(6 * CHUNK_BYTES - 1)
    added = world.add(content)
    world.countries.share()
    numbers: list[int] = []
    for party in ("ME", "XK", "ME"):
        world.node("ME").contents.step()
        world.countries.share(1)
        world.node("XK").contents.step()
        numbers += given_chunks(world, "ME")
        world.countries.share(1)
        world.restart(party)
    assert numbers == [*range(6)]
    assert added.place("ME")[1] == len(content)
    assert added.read("ME") is None  # whole, and not compared with the signed digest yet
    world.countries.exchange_contents()
    assert added.read("ME") == content


def given_chunks(world: World, recipient: str) -> list[int]:
    """The numbers of the chunks that wait in the mailbox for a country."""
    node, found = world.node(recipient), []
    protocol = world.countries.ledger.adopted().directory
    for one in world.countries.mailbox.waiting(recipient, 50).parcels:
        said = unpack(one.parcel, protocol, world.countries.keys[recipient])
        if isinstance(said, ContentPart):
            found.append(said.number)
    assert node.party == recipient
    return found


def test_lost_parcels_are_asked_for_again(world: World) -> None:
    content = pdf(3 * CHUNK_BYTES)
    added = world.add(content)
    world.countries.share()
    for _ in range(6):
        for node in world.countries.nodes.values():
            node.contents.step()
        # The mailbox loses a part of what waits each time: it was put back to an older copy.
        world.countries.execute("DELETE FROM mailbox.parcels WHERE seq %% 3 = 0")
        world.countries.share(1)
    world.countries.exchange_contents()
    assert added.read("ME") == content


def test_a_chunk_that_another_made_or_at_another_place_has_no_effect(world: World) -> None:
    content = pdf(2 * CHUNK_BYTES)
    added = world.add(content)
    world.countries.share()
    montenegro = world.node("ME")
    montenegro.contents.step()
    fetching = montenegro.contents.fetching
    (transfer,) = [
        one
        for (party, _), one in fetching._transfers.items()
        if party == "ME" and one.message.action == added.id
    ]
    sealed = seal_chunk(transfer.key, content[:CHUNK_BYTES], transfer.place, 0)
    changed = bytearray(sealed)
    changed[100] ^= 1
    other_key = seal_chunk(bytes(32), content[:CHUNK_BYTES], transfer.place, 0)
    for number, what in ((0, bytes(changed)), (0, other_key), (1, sealed), (5, sealed), (0, b"")):
        part = ContentPart(transfer=transfer.message.transfer, number=number, sealed=as_text(what))
        fetching.take_in(montenegro.vault, "XK", part)
        assert added.place("ME")[1] == 0
    right = ContentPart(transfer=transfer.message.transfer, number=0, sealed=as_text(sealed))
    fetching.take_in(montenegro.vault, "AL", right)  # another country sends it
    assert added.place("ME")[1] == 0
    for _ in range(2):  # the same chunk again changes nothing
        fetching.take_in(montenegro.vault, "XK", right)
        assert added.place("ME")[1] == CHUNK_BYTES
    world.countries.exchange_contents()
    assert added.read("ME") == content


def test_a_content_with_another_digest_is_not_held(world: World) -> None:
    content = pdf(2 * CHUNK_BYTES)
    added = world.add(content)
    world.countries.share()
    documents = world.countries.rows(
        "SELECT * FROM vault_xk.documents WHERE action_id = %s", added.id
    )
    place = place_of(documents[0])
    key = opened_content_key(world.node("XK").keys, documents[0])

    def put(chunk: bytes) -> None:
        world.countries.execute(
            "UPDATE vault_xk.document_chunks SET sealed = %s WHERE document_id = %s AND number = 1",
            seal_chunk(key, chunk, place, 1),
            place.document_id,
        )

    put(b"?" * CHUNK_BYTES)
    world.countries.exchange_contents(8)
    (one,) = world.standing("ME")
    assert (one.state, one.refused) == (ContentState.REFUSED, ContentRefusal.DIGEST)
    assert added.read("ME") is None
    assert [t.rule for t in content_troubles(world.node("ME").vault, PATIENCE)] == [
        "contents-missing"
    ]
    listed = world.node("ME").vault.contents.not_held(10, patience=PATIENCE)
    assert "refused: digest" in printed(contents_table("ME", listed))
    put(content[CHUNK_BYTES:])
    world.countries.exchange_contents()
    assert added.read("ME") == content
    assert content_troubles(world.node("ME").vault, PATIENCE) == []


def test_a_content_that_the_receivers_scanner_did_not_call_clean_is_not_held(world: World) -> None:
    answers: list[Exception | None] = [NotScannedError("away"), MalwareError("Eicar"), None]

    class Answering:
        def scan(self, content: Iterable[bytes]) -> None:
            assert b"".join(content) == pdf(1000)
            if (answer := answers[0]) is not None:
                raise answer

    world.node("ME").vault.documents._scanner = Answering()
    added = world.add(pdf(1000))
    world.countries.share()
    for refused in (None, ContentRefusal.INFECTED):
        world.countries.exchange_contents(8)
        (one,) = world.standing("ME")
        assert one.state is not ContentState.HELD
        assert (one.refused, added.read("ME")) == (refused, None)
        answers.pop(0)
    world.countries.exchange_contents()
    assert added.read("ME") == pdf(1000)


def test_a_withdrawn_consent_stops_the_next_chunk(world: World) -> None:
    content = pdf(3 * CHUNK_BYTES)
    added = world.add(content, FieldGroup.IDENTITY)
    added.release()
    world.countries.share()
    world.node("ME").contents.step()
    world.countries.share(1)
    world.node("XK").contents.step()
    world.countries.share(1)
    assert added.place("ME")[1] == WINDOW * CHUNK_BYTES
    world.withdraws()
    world.countries.exchange_contents(6)
    (one,) = world.standing("ME")
    assert (one.state, one.refused) == (ContentState.REFUSED, ContentRefusal.WITHDRAWN)
    assert one.received == WINDOW * CHUNK_BYTES
    assert content_troubles(world.node("ME").vault, PATIENCE) == []
    # Kosovo's node decides by its own copy: a node that asks all the same gets no chunk.
    answers: list[object] = []
    montenegro = world.node("ME").contents.fetching
    with patch.object(montenegro, "take_in", lambda _vault, _other, said: answers.append(said)):
        added.asked_by("ME", 2)
        world.countries.share(1)
        world.node("XK").contents.step()
        world.countries.share(1)
    assert [type(said) for said in answers] == [ContentRefused]
    # On a new consent a new release lets it go on.
    world.consents()
    added.release()
    world.countries.share()
    world.countries.exchange_contents()
    assert added.read("ME") == content


def test_what_the_sender_lost_comes_from_another_country_and_goes_back(
    world_of_three: World,
) -> None:
    world = world_of_three
    content = pdf(2 * CHUNK_BYTES)
    added = world.add(content)
    personal = world.add(content, FieldGroup.IDENTITY)
    personal.release()
    world.countries.share()
    world.countries.exchange_contents()
    for party, gone in (("XK", added), ("ME", added), ("XK", personal)):
        world.countries.lose(party, "action_id = %s", gone.id)
        world.countries.execute(
            f"DELETE FROM vault_{party.lower()}.documents WHERE action_id = %s", gone.id
        )
    world.countries.settle()
    world.countries.exchange_contents()
    # Albania has the document of the case, Montenegro the released one.
    for party in PARTIES:
        assert added.read(party) == content, party
    assert personal.read("XK") == personal.read("ME") == content
    for party in PARTIES:
        assert world.countries.standing(party).of_case(world.case_id).findings == (), party
    restored = [
        one.asked.agency
        for one in world.node("ME").vault.readings.of_case(world.case_id)
        if one.asked.operation is Operation.RESTORE and one.concerning == personal.id
    ]
    assert restored == ["xk-node"]


def test_a_receiver_that_lost_chunks_or_rows_fetches_again(world: World) -> None:
    content = pdf(2 * CHUNK_BYTES)
    added = world.add(content)
    world.countries.share()
    world.countries.exchange_contents()
    document, _ = added.place("ME")
    world.countries.execute(
        "DELETE FROM vault_me.document_chunks WHERE document_id = %s AND number = 1", document
    )
    (finding,) = world.countries.standing("ME").of_case(world.case_id).findings
    assert "chunks of the document are missing or were cut" in finding
    world.node("ME").checking.check_vaults()
    world.countries.exchange_contents()
    assert added.read("ME") == content
    # A chunk that was changed is found when it is opened. An own document does not come again.
    world.countries.execute(
        "UPDATE vault_me.document_chunks SET sealed = sealed || sealed WHERE document_id = %s",
        document,
    )
    with pytest.raises(SealError):
        added.read("ME")
    own = world.node("XK").vault.documents.held([added.id])
    assert world.node("XK").vault.contents.fetch_again([*own.values()]) == 0
    assert world.node("ME").vault.contents.fetch_again([document]) == 1
    world.countries.exchange_contents()
    assert added.read("ME") == content
    # A row that is gone: the field does not count as held, and brings the document with it.
    world.countries.execute("DELETE FROM vault_me.documents WHERE document_id = %s", document)
    lacking = world.countries.standing("ME").of_case(world.case_id).lacking
    assert {*lacking} == {(added.id, FieldPart.CASE)}
    world.countries.settle()
    world.countries.exchange_contents()
    assert added.read("ME") == content
    assert world.countries.standing("ME").of_case(world.case_id).lacking == {}


def test_erasure_and_annulment_in_the_middle_end_it(world: World) -> None:
    first, second = (world.add(pdf(2 * CHUNK_BYTES)) for _ in range(2))
    world.countries.share()
    world.node("ME").contents.step()
    world.countries.share(1)
    world.node("XK").contents.step()
    correction = Correction(
        acted_at=START,
        corrects=first.id,
        effect=CorrectionEffect.ANNULLED,
        reason=CorrectionReason.WRONG_CASE,
    )
    world.countries.act(POLICE, correction, world.case_id)
    world.countries.exchange_contents(6)
    standing = {one.action: one for one in world.standing("ME")}
    assert standing[first.id].refused == ContentRefusal.NOT_DUE
    assert standing[second.id].state is ContentState.HELD
    montenegro = world.node("ME").vault
    assert montenegro.erase(world.case_id)
    assert world.standing("ME") == []
    rows = "SELECT document_id FROM vault_me.documents WHERE case_id = %s"
    assert world.countries.rows(rows, world.case_id) == []
    world.node("XK").vault.erase(world.case_id)
    assert world.node("XK").vault.given.of_case(world.case_id) == []


def test_a_country_that_gives_up_what_it_received_loses_the_contents_too(world: World) -> None:
    added = world.add(pdf(1000))
    world.countries.share()
    world.countries.exchange_contents()
    assert added.read("ME") is not None
    world.node("ME").vault.erase_received(world.case_id)
    assert added.read("ME") is None


def test_only_the_other_countrys_node_says_that_it_holds_a_content(
    world_of_three: World,
) -> None:
    world = world_of_three
    added = world.add(pdf(1000))
    world.countries.share()
    kosovo, registry = world.node("XK"), world.countries.ledger.adopted()
    parcel = Parcel(uuid4(), "ME", "XK", b"")
    for statement in ("{}", "no.jws.here", f'{{"action": "{added.id}"}}'):
        with pytest.raises(ParcelError):
            kosovo.contents.take_in(
                kosovo.vault, parcel, ContentHeld(statement=statement), registry
            )
    world.countries.exchange_contents()
    statements = {
        one.recipient: one.statement or "" for one in kosovo.vault.given.of_case(world.case_id)
    }
    with pytest.raises(ParcelError):  # Albania's, in the name of Montenegro
        kosovo.contents.take_in(
            kosovo.vault, parcel, ContentHeld(statement=statements["AL"]), registry
        )
