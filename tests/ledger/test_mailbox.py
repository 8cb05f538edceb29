"""Parcels at the ledger node: kept until they are taken out, and then closed in every copy."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger.mailbox import MAX_BYTES, Mailbox
from ledger.protocol import shipped_protocol
from ledger.refusals import Refusal
from ledger.store.database import Database
from ledger.vault.country_key import FileCountryKey
from ledger.vault.parcels import Parcel, ParcelError, Presentation, pack, unpack

PROTOCOL, MONTENEGRO = shipped_protocol(), FileCountryKey.generate()
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
        """What lies in the table, as a backup has it."""
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
        return [parcel.id for parcel in self.mailbox.waiting("ME", limit)]

    def key_files(self) -> list[Path]:
        return list(self.keys.rglob("*.key"))


@pytest.fixture
def world(database: str, tmp_path: Path) -> Iterator[World]:
    with Database(database) as pool:
        yield World(Mailbox(pool, tmp_path / "parcels"), database, tmp_path / "parcels")


def test_a_sender_whose_parcels_are_not_taken_in_keeps_no_others_waiting(world: World) -> None:
    """A receiver leaves what its copy of the ledger does not have yet, and takes one page."""
    flood = [world.put("AL").id for _ in range(7)]
    first, second = world.put().id, world.put().id
    assert world.ids(4) == [flood[0], first, flood[1], second]
    assert world.ids(20) == [flood[0], first, flood[1], second, *flood[2:]]


def opens(row: Parcel, keys: list[bytes]) -> bool:
    """Whether who has the country's key and these files' opens a row of a backup."""
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
    assert list(world.mailbox.waiting("ME", 10)) == [first, second]
    assert list(world.mailbox.waiting("ME", 1)) == [first]
    assert list(world.mailbox.waiting("XK", 10)) == []
    world.mailbox.put(first)  # the same again is no other
    assert world.ids() == [first.id, second.id]
    assert world.mailbox.remove("AL", [first.id]) == 0  # nobody takes out another's
    assert world.ids() == [first.id, second.id]
    assert world.mailbox.remove("ME", [first.id, second.id]) == 2
    assert (world.ids(), world.key_files()) == ([], [])


def test_what_was_taken_out_opens_from_no_backup(world: World) -> None:
    """Not even to the country that it was for: it may have erased that person since."""
    taken, waits = world.put(), world.put()
    backup = world.rows()
    before = [path.read_bytes() for path in world.key_files()]
    assert all(opens(row, before) for row in backup)
    assert not any(opens(row, []) for row in backup)
    world.mailbox.remove("ME", [taken.id])
    left = [path.read_bytes() for path in world.key_files()]
    assert [opens(row, left) for row in backup] == [row.id == waits.id for row in backup]


def test_what_is_handed_in_again_while_it_is_taken_out_leaves_no_key_behind(world: World) -> None:
    parcel = world.put()
    for _ in range(12):
        with ThreadPoolExecutor(6) as pool:
            done = [
                pool.submit(world.mailbox.remove, "ME", [parcel.id])
                if n % 2
                else pool.submit(world.mailbox.put, parcel)
                for n in range(12)
            ]
        for one in done:
            one.result()
        assert len(world.key_files()) == len(world.rows()) == len(world.ids())
    world.mailbox.remove("ME", [parcel.id])
    assert world.key_files() == []


def test_what_came_back_with_a_backup_is_passed_over_and_can_be_sent_again(world: World) -> None:
    old = [world.put() for _ in range(3)]
    backup = world.rows()
    world.mailbox.remove("ME", [parcel.id for parcel in old])
    world.restore(backup)
    new = world.put()
    assert world.ids(limit=1) == world.ids() == [new.id]
    world.mailbox.put(old[0])
    assert list(world.mailbox.waiting("ME", 10)) == [new, old[0]]


def test_a_row_that_was_altered_is_for_its_receiver_to_refuse(world: World) -> None:
    world.put()
    with psycopg.connect(world.database) as connection:
        connection.execute(
            "UPDATE mailbox.parcels SET sealed = set_byte(sealed, octet_length(sealed) - 1, 0)"
            " || '\\x00'::bytea"
        )
    (parcel,) = world.mailbox.waiting("ME", 10)
    with pytest.raises(ParcelError):
        unpack(parcel, PROTOCOL, MONTENEGRO)


def test_what_an_earlier_version_kept_is_still_handed_out(world: World) -> None:
    parcel = pack(CONTENT, uuid4(), PROTOCOL, "XK", "ME", MONTENEGRO.public)
    world.restore([parcel])
    assert list(world.mailbox.waiting("ME", 10)) == [parcel]
    assert world.mailbox.remove("ME", [parcel.id]) == 1


def test_the_largest_parcel_is_kept_and_a_larger_one_refused(world: World) -> None:
    largest = Parcel(uuid4(), "XK", "ME", bytes(MAX_BYTES))
    world.mailbox.put(largest)
    assert list(world.mailbox.waiting("ME", 10)) == [largest]
    with pytest.raises(Refusal):
        world.mailbox.put(Parcel(uuid4(), "XK", "ME", bytes(MAX_BYTES + 1)))
