"""Parcels at the ledger node: kept until they are taken out, and then closed in every copy."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from api.exchange.parcel_transport import to_document
from api.processes.app import MAX_BODY
from ledger.procedure.agreement import Agreement
from ledger.procedure.protocol import shipped_protocol
from ledger.procedure.registry import RegisteredKey, Registry
from ledger.refusals import Refusal
from ledger.replication import mailbox
from ledger.replication.mailbox import MAX_BYTES, Mailbox, QuotaError
from ledger.signing import keys, sd_jwt
from ledger.signing.country_key import FileCountryKey
from ledger.store.database import Database
from ledger.vault.acknowledgements import (
    Acknowledgement,
    ParcelOutcome,
    Signed,
    digest_of,
    sign,
    verify,
)
from ledger.vault.sealed_parcels import Parcel, ParcelError, Presentation, pack, unpack
from tests.support.agencies import PAST, Agencies

PROTOCOL, MONTENEGRO = shipped_protocol(), FileCountryKey.generate()
NODE_KEY, AGENCIES = keys.generate(), Agencies()
FAR = datetime(2999, 1, 1, tzinfo=UTC)
CONTENT = Presentation(presentation="zqNameNobodyElseHas~")


@dataclass
class World:
    mailbox: Mailbox
    database: str
    keys: Path

    def put(self, sender: str = "XK") -> Parcel:
        parcel = pack(CONTENT, uuid4(), PROTOCOL, sender, "ME", MONTENEGRO.public)
        self.mailbox.put(parcel)
        return parcel

    def rows(self) -> list[Parcel]:
        """Return the table's rows, as a backup has them."""
        with psycopg.connect(self.database) as connection:
            rows = connection.execute("SELECT id, sender, recipient, sealed FROM mailbox.parcels")
            return [Parcel(*row) for row in rows]

    def restore(self, rows: list[Parcel]) -> None:
        with psycopg.connect(self.database) as connection:
            for row in rows:
                connection.execute(
                    "INSERT INTO mailbox.parcels (id, sender, recipient, sealed)"
                    " VALUES (%s, %s, %s, %s)",
                    (row.id, row.sender, row.recipient, row.sealed),
                )

    def ids(self, limit: int = 10) -> list[UUID]:
        return [parcel.id for parcel in self.parcels(limit=limit)]

    def parcels(self, recipient: str = "ME", limit: int = 10) -> list[Parcel]:
        return [one.parcel for one in self.mailbox.waiting(recipient, limit).parcels]

    def acknowledge(
        self,
        *parcels: Parcel,
        recipient: str = "ME",
        outcome: ParcelOutcome = ParcelOutcome.TAKEN_IN,
    ) -> int:
        return self.mailbox.acknowledge(
            recipient, [acknowledgement(one, outcome) for one in parcels]
        )

    def left(self, sender: str = "XK") -> list[tuple[UUID, str]]:
        """Return the outcomes of a sender's parcels."""
        return [(one.parcel_id, one.outcome.value) for one in self.mailbox.outcomes(sender, 100)]

    def key_files(self) -> list[Path]:
        return list(self.keys.rglob("*.key"))


@pytest.fixture
def world(database: str, tmp_path: Path) -> Iterator[World]:
    with Database(database) as pool:
        yield World(Mailbox(pool, tmp_path / "parcels"), database, tmp_path / "parcels")


@pytest.fixture(scope="module")
def registry() -> Registry:
    """The registry of a protocol whose agencies all have a key."""
    known = {
        keys.key_id(key): RegisteredKey(keys.key_id(key), agency, key, PAST, FAR)
        for agency, key in AGENCIES.keys.items()
    }
    return Registry(Agreement.of(PROTOCOL), known, version=1)


def test_a_sender_whose_parcels_are_not_taken_in_keeps_no_others_waiting(world: World) -> None:
    """A receiver leaves what its copy of the ledger does not have yet, and takes one page."""
    flood = [world.put("AL").id for _ in range(7)]
    first, second = world.put().id, world.put().id
    assert world.ids(4) == [flood[0], first, flood[1], second]
    assert world.ids(20) == [flood[0], first, flood[1], second, *flood[2:]]


def acknowledgement(parcel: Parcel, outcome: ParcelOutcome = ParcelOutcome.TAKEN_IN) -> Signed:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    content = Acknowledgement.of(parcel, outcome, None, protocol=PROTOCOL.id, at=now)
    return sign(content, NODE_KEY)


def opens(row: Parcel, keys: list[bytes]) -> bool:
    """Return whether the country's key and these files open a row of a backup."""
    tries = [row.sealed]
    for key in keys:
        for start in range(64):
            with suppress(InvalidTag):
                bound = f"{row.id}\n{row.sender}\n{row.recipient}\n".encode()
                content = row.sealed[start:]
                tries.append(AESGCM(key).decrypt(content[:12], content[12:], bound))
    for sealed in tries:
        with suppress(ParcelError):
            unpack(Parcel(row.id, row.sender, row.recipient, sealed), PROTOCOL, MONTENEGRO)
            return True
    return False


def test_a_parcel_waits_as_it_was_handed_in_until_it_is_taken_out(world: World) -> None:
    first, second = world.put(), world.put()
    assert world.parcels() == [first, second]
    assert world.parcels(limit=1) == [first]
    assert world.parcels("XK") == []
    world.mailbox.put(first)  # the same again is no other
    assert world.ids() == [first.id, second.id]
    assert world.acknowledge(first, recipient="AL") == 0  # nobody takes out another's
    assert world.ids() == [first.id, second.id]
    assert world.acknowledge(first, second) == 2
    assert (world.ids(), world.key_files()) == ([], [])
    assert world.left() == [(first.id, "acknowledged"), (second.id, "acknowledged")]
    assert world.acknowledge(first, second) == 0  # the same again changes nothing


def test_what_was_taken_out_opens_from_no_backup(world: World) -> None:
    """Not even to the country that it was for: it may have erased that person since."""
    taken, waits = world.put(), world.put()
    backup = world.rows()
    before = [path.read_bytes() for path in world.key_files()]
    assert all(opens(row, before) for row in backup)
    assert not any(opens(row, []) for row in backup)
    world.acknowledge(taken)
    left = [path.read_bytes() for path in world.key_files()]
    assert [opens(row, left) for row in backup] == [row.id == waits.id for row in backup]


def test_what_is_handed_in_again_while_it_is_taken_out_leaves_no_key_behind(world: World) -> None:
    parcel = world.put()
    for _ in range(12):
        with ThreadPoolExecutor(6) as pool:
            done = [
                pool.submit(world.acknowledge, parcel)
                if n % 2
                else pool.submit(world.mailbox.put, parcel)
                for n in range(12)
            ]
        for one in done:
            one.result()
        assert len(world.key_files()) == len(world.ids()) == 1 - len(world.left())
    world.acknowledge(parcel)
    assert world.key_files() == []


def test_what_came_back_with_a_backup_is_told_to_its_sender(world: World) -> None:
    """Its key is gone. The sender knows whether it was acknowledged, or is to be sent again."""
    old = [world.put() for _ in range(3)]
    backup = world.rows()
    world.acknowledge(*old)
    world.mailbox.settle("XK", [one.seq for one in world.mailbox.outcomes("XK", 10)])
    world.restore(backup)
    new = world.put()
    assert set(world.mailbox.missing("XK", {one.id: digest_of(one) for one in (*old, new)})) == {
        one.id for one in old
    }
    assert world.ids(limit=10) == [new.id]
    assert sorted(world.left()) == sorted((one.id, "lost") for one in old)
    world.mailbox.put(old[0])
    assert world.parcels() == [new, old[0]]


def test_a_row_that_was_altered_is_for_its_receiver_to_refuse(world: World) -> None:
    world.put()
    with psycopg.connect(world.database) as connection:
        connection.execute(
            "UPDATE mailbox.parcels SET sealed = set_byte(sealed, octet_length(sealed) - 1, 0)"
            " || '\\x00'::bytea"
        )
    (parcel,) = world.parcels()
    with pytest.raises(ParcelError):
        unpack(parcel, PROTOCOL, MONTENEGRO)


def test_what_an_earlier_version_kept_is_still_handed_out(world: World) -> None:
    parcel = pack(CONTENT, uuid4(), PROTOCOL, "XK", "ME", MONTENEGRO.public)
    world.restore([parcel])
    assert world.parcels() == [parcel]
    assert world.acknowledge(parcel) == 1


def test_the_largest_parcel_is_kept_and_a_larger_one_refused(world: World) -> None:
    largest = Parcel(uuid4(), "XK", "ME", bytes(MAX_BYTES))
    world.mailbox.put(largest)
    assert world.parcels() == [largest]
    with pytest.raises(Refusal):
        world.mailbox.put(Parcel(uuid4(), "XK", "ME", bytes(MAX_BYTES + 1)))


def test_the_largest_parcel_fits_into_a_request() -> None:
    document = to_document(Parcel(uuid4(), "XK", "ME", bytes(MAX_BYTES)))
    assert len(document.model_dump_json()) < MAX_BODY


def test_a_reader_goes_past_what_it_cannot_take_in(world: World) -> None:
    """Fifty parcels of one sender that rest on an unrecorded action stop none of its others."""
    stuck, others = [world.put().id for _ in range(50)], [world.put("AL").id for _ in range(2)]
    after: dict[str, int] = {}
    seen: list[UUID] = []
    last = world.put().id
    while page := world.mailbox.waiting("ME", 20, after).parcels:
        seen += [one.parcel.id for one in page]
        after |= {one.parcel.sender: one.seq for one in page}
    assert sorted(seen) == sorted([*stuck, *others, last])
    assert [one.parcel.id for one in world.mailbox.get("ME", stuck[:2])] == stuck[:2]
    assert world.mailbox.get("AL", stuck[:2]) == ()
    standing = world.mailbox.waiting("ME", 20, after).standing
    assert [(one.sender, one.parcels) for one in standing] == [("AL", 2), ("XK", 51)]
    assert world.mailbox.standing() == standing


def test_a_page_has_a_bounded_size(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [world.put().id for _ in range(5)]
    monkeypatch.setattr(mailbox, "MAX_PAGE_BYTES", 2 * len(world.rows()[0].sealed))
    assert world.ids() == ids[:2]
    assert [one.parcel.id for one in world.mailbox.get("ME", ids)] == ids[:2]
    monkeypatch.setattr(mailbox, "MAX_PAGE_BYTES", 1)
    assert world.ids() == ids[:1]  # one always comes


def test_one_sender_fills_the_mailbox_of_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailbox, "MAX_PARCELS", 3)
    full = [world.put("AL") for _ in range(3)]
    with pytest.raises(QuotaError):
        world.put("AL")
    assert world.put().sender == "XK"
    world.mailbox.put(full[0])  # that one waits already
    world.acknowledge(full[0])
    with pytest.raises(QuotaError):  # the outcome takes a place until it is collected
        world.put("AL")
    world.mailbox.settle("AL", [one.seq for one in world.mailbox.outcomes("AL", 10)])
    world.put("AL")
    monkeypatch.setattr(mailbox, "MAX_PARCELS", 100)
    monkeypatch.setattr(mailbox, "MAX_TOTAL_BYTES", 20_000)
    with pytest.raises(QuotaError):
        world.mailbox.put(Parcel(uuid4(), "AL", "ME", bytes(19_000)))
    with pytest.raises(QuotaError):  # nor by putting more into one that waits
        world.mailbox.put(Parcel(full[1].id, "AL", "ME", bytes(19_000)))


def test_other_bytes_take_the_place_of_those_that_wait(world: World) -> None:
    """A sender that lost its memory seals anew. The recipient must see the newer ones."""
    first = world.put()
    seen = world.mailbox.waiting("ME", 10).parcels[0].seq
    again = replace(first, sealed=MONTENEGRO.public.seal(b"again", b"context"))
    world.mailbox.put(again)
    (page,) = world.mailbox.waiting("ME", 10, {"XK": seen}).parcels
    assert page.parcel == again
    assert world.acknowledge(first) == 0  # of bytes that do not wait any more
    assert world.acknowledge(first, outcome=ParcelOutcome.NOT_BELIEVED) == 0
    assert world.acknowledge(again) == 1
    assert world.mailbox.missing("XK", {again.id: digest_of(again)}) == set()
    world.mailbox.put(again)  # the outcome was not collected: it waits again
    assert (world.ids(), world.left()) == ([again.id], [])


def test_a_parcel_that_arrived_damaged_leaves_whatever_arrived(world: World) -> None:
    parcel = world.put()
    arrived = replace(parcel, sealed=parcel.sealed[:-1])
    assert world.acknowledge(arrived, outcome=ParcelOutcome.DAMAGED) == 1
    (left,) = world.mailbox.outcomes("XK", 10)
    assert left.acknowledgement is not None
    assert world.key_files() == []


def test_nobody_takes_the_id_of_a_parcel_that_waits(world: World) -> None:
    parcel = world.put()
    for other in (replace(parcel, sender="AL"), replace(parcel, recipient="AL")):
        with pytest.raises(Refusal) as refused:
            world.mailbox.put(other)
        assert refused.value.rule == "own-parcels"
    assert world.parcels() == [parcel]


def test_a_sender_takes_back_what_waits_and_nobody_else_does(world: World) -> None:
    parcel, backup = world.put(), world.rows()
    keys = [path.read_bytes() for path in world.key_files()]
    for other in ("AL", "ME"):
        assert world.mailbox.take_back(other, [parcel.id]) == 0
    assert world.parcels() == [parcel]
    assert world.mailbox.take_back("XK", [uuid4(), parcel.id]) == 1
    assert (world.ids(), world.left(), world.key_files()) == ([], [], [])
    assert opens(backup[0], keys)
    assert not opens(backup[0], [])
    assert world.acknowledge(parcel) == 0
    # What was acknowledged meanwhile stays until its sender has settled it.
    arrived = world.put()
    assert world.acknowledge(arrived) == 1
    assert world.mailbox.take_back("XK", [arrived.id]) == 0
    assert world.left() == [(arrived.id, "acknowledged")]


def test_what_expires_is_told_to_its_sender_and_opens_no_more(world: World) -> None:
    old, backup = world.put(), world.rows()
    keys = [path.read_bytes() for path in world.key_files()]
    assert world.mailbox.expire(timedelta(days=1)) == 0
    assert world.mailbox.expire(timedelta()) == 1
    assert (world.ids(), world.left(), world.key_files()) == ([], [(old.id, "expired")], [])
    assert opens(backup[0], keys)
    assert not opens(backup[0], [])
    assert world.left("AL") == []
    assert world.mailbox.settle("AL", [world.mailbox.outcomes("XK", 1)[0].seq]) == 0
    assert world.mailbox.missing("XK", {old.id: digest_of(old)}) == set()
    assert world.mailbox.settle("XK", [world.mailbox.outcomes("XK", 1)[0].seq]) == 1
    assert world.mailbox.missing("XK", {old.id: digest_of(old)}) == {old.id}


@pytest.mark.parametrize("change", ["key", "agency", "text", "type", "revoked", "recipient"])
def test_only_the_recipients_node_can_acknowledge(change: str, registry: Registry) -> None:
    """The operator of the mailbox cannot claim that a parcel arrived."""
    parcel = pack(CONTENT, uuid4(), PROTOCOL, "XK", "ME", MONTENEGRO.public)
    now = datetime.now(UTC)
    content = Acknowledgement.of(parcel, ParcelOutcome.TAKEN_IN, None, protocol=PROTOCOL.id, at=now)
    own = AGENCIES.keys["me-node"]
    assert verify(sign(content, own).text, registry, now).content == content
    text = {
        "key": lambda: sign(content, keys.generate()).text,
        "agency": lambda: sign(content, AGENCIES.keys["me-police-thb"]).text,
        "text": lambda: f"{sign(content, own).text[:-4]}AAAA",
        "type": lambda: (
            sd_jwt.issue(
                {"typ": "JWT", "kid": keys.key_id(own)}, content.model_dump(mode="json"), (), own
            ).jwt
        ),
        "revoked": lambda: sign(content, own).text,
        "recipient": lambda: sign(content.model_copy(update={"recipient": "AL"}), own).text,
    }[change]()
    if change == "revoked":
        registered = registry.keys[keys.key_id(own)]
        ended = replace(registered, revoked_position=1)
        registry = replace(registry, keys={**registry.keys, ended.id: ended})
    with pytest.raises(Refusal) as refused:
        verify(text, registry, now)
    assert refused.value.rule == "acknowledgement"
