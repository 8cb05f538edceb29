"""One file of keys: found, destroyed where they stand, whole whatever stopped a writer."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from unittest.mock import patch
from uuid import UUID, uuid4

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ledger.vault.key_store import KeyStore

SIZE = 40
RECORD = 36 + 1 + 8 + SIZE + 1


def content(filler: int) -> bytes:
    return bytes([filler]) * SIZE


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "persons" / "data-keys"


def test_what_is_added_is_there_for_others_and_what_is_destroyed_for_nobody(path: Path) -> None:
    ours, theirs = KeyStore(path, SIZE), KeyStore(path, SIZE)
    one, other = uuid4(), uuid4()
    assert (ours.read(one), ours.stamp(one), ours.destroy(one)) == (None, None, False)
    assert ours.add({one: content(1), other: content(2)}) == set()
    assert (theirs.read(one), theirs.read(other)) == (content(1), content(2))
    assert theirs.add({one: content(3)}) == {one}
    assert theirs.read(one) == content(1)
    assert theirs.destroy(one)
    assert (ours.stamp(one), ours.read(one), ours.destroy(one)) == (None, None, False)
    assert content(1) not in path.read_bytes()
    assert str(one).encode() not in path.read_bytes()
    assert ours.read(other) == content(2)


def test_a_new_record_of_an_id_has_another_stamp(path: Path) -> None:
    book, one = KeyStore(path, SIZE), uuid4()
    book.add({one: content(1)})
    before = book.stamp(one)
    book.destroy(one)
    book.add({one: content(2)})
    assert book.stamp(one) not in (None, before)


def test_only_records_of_the_right_length_are_taken(path: Path) -> None:
    with pytest.raises(ValueError, match="40 bytes"):
        KeyStore(path, SIZE).add({uuid4(): b"short"})
    assert not path.exists()


@pytest.mark.parametrize("cut", [1, 36, 45, RECORD - 1])
def test_half_a_record_is_none_and_stands_in_nobodys_way(path: Path, cut: int) -> None:
    one, torn, next_one = uuid4(), uuid4(), uuid4()
    KeyStore(path, SIZE).add({one: content(1), torn: content(2)})
    os.truncate(path, 2 * RECORD - cut)
    reading = KeyStore(path, SIZE)
    assert (reading.read(one), reading.read(torn)) == (content(1), None)
    assert KeyStore(path, SIZE).add({torn: content(3), next_one: content(4)}) == set()
    assert [reading.read(i) for i in (one, torn, next_one)] == [content(n) for n in (1, 3, 4)]
    assert path.stat().st_size == 3 * RECORD


@pytest.mark.parametrize("at", [0, 36, 40, 60])
def test_a_record_that_the_disk_did_not_keep_whole_is_none(path: Path, at: int) -> None:
    one, torn = uuid4(), uuid4()
    KeyStore(path, SIZE).add({torn: content(2), one: content(1)})
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"\0" * 4)
    book = KeyStore(path, SIZE)
    assert (book.read(torn), book.read(one)) == (None, content(1))
    assert book.add({torn: content(3)}) == set()
    assert book.read(torn) == content(3)


def test_a_file_that_was_put_in_its_place_is_read_anew(path: Path) -> None:
    book, one, other = KeyStore(path, SIZE), uuid4(), uuid4()
    book.add({one: content(1)})
    KeyStore(path.with_name("mirrored"), SIZE).add({other: content(2)})
    path.with_name("mirrored").rename(path)
    assert (book.read(one), book.read(other)) == (None, content(2))
    assert book.add({one: content(3)}) == set()
    assert KeyStore(path, SIZE).read(one) == content(3)


def test_where_the_disk_refuses_nothing_is_known(path: Path) -> None:
    book, one, other = KeyStore(path, SIZE), uuid4(), uuid4()
    book.add({one: content(1)})
    with patch("os.fdatasync", side_effect=OSError("no space")), pytest.raises(OSError, match="no"):
        book.add({other: content(2)})
    assert (book.read(other), KeyStore(path, SIZE).read(other)) == (None, None)
    assert book.add({other: content(3)}) == set()
    assert (book.read(one), book.read(other)) == (content(1), content(3))


def test_many_at_once_get_one_each(path: Path) -> None:
    """Several instances, as several processes have, and several threads of one."""
    ids = [uuid4() for _ in range(40)]
    books = [KeyStore(path, SIZE) for _ in range(3)] * 2
    added: list[tuple[UUID, int]] = []
    seen: list[tuple[UUID, bytes]] = []
    start = threading.Barrier(len(books))

    def work(number: int, book: KeyStore) -> None:
        start.wait()
        for key_id in ids:
            if not book.add({key_id: content(number)}):
                added.append((key_id, number))
            found = book.read(key_id)
            assert found is not None
            seen.append((key_id, found))

    threads = [threading.Thread(target=work, args=one) for one in enumerate(books)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(seen) == len(ids) * len(books)
    assert sorted(key_id for key_id, _ in added) == sorted(ids)
    assert {(key_id, content(number)) for key_id, number in added} == set(seen)
    assert path.stat().st_size == len(ids) * RECORD


WRITER = """
import sys, uuid
from pathlib import Path
from ledger.vault.key_store import KeyStore
book = KeyStore(Path(sys.argv[1]), 40)
while True:
    ids = [uuid.uuid4() for _ in range(5)]
    book.add({i: i.bytes * 2 + b"12345678" for i in ids})
    print(*ids, flush=True)
"""


def test_what_a_killed_process_had_added_is_there(path: Path) -> None:
    acknowledged: list[UUID] = []
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            for _ in range(20):
                acknowledged += map(UUID, writer.stdout.readline().split())
            writer.send_signal(signal.SIGKILL)
            for line in writer.stdout:
                acknowledged += map(UUID, line.split() if line.endswith("\n") else ())
    book = KeyStore(path, 40)
    assert len(acknowledged) >= 300
    assert all(book.read(i) == i.bytes * 2 + b"12345678" for i in acknowledged)


class Books(RuleBasedStateMachine):
    """Two instances of one file do what one mapping does, whatever comes in which order."""

    @initialize(directory=st.uuids())
    def begin(self, directory: UUID) -> None:
        self.path = self.root / str(uuid4()) / str(directory)
        self.books = [KeyStore(self.path, SIZE) for _ in range(2)]
        self.model: dict[UUID, bytes] = {}

    root: Path

    @rule(
        which=st.integers(0, 1),
        wanted=st.dictionaries(
            st.integers(0, 6).map(lambda n: UUID(int=n)), st.integers(0, 255).map(content)
        ),
    )
    def add(self, which: int, wanted: dict[UUID, bytes]) -> None:
        assert self.books[which].add(wanted) == wanted.keys() & self.model.keys()
        self.model = wanted | self.model

    @rule(which=st.integers(0, 1), key_id=st.integers(0, 6).map(lambda n: UUID(int=n)))
    def destroy(self, which: int, key_id: UUID) -> None:
        assert self.books[which].destroy(key_id) == (key_id in self.model)
        self.model.pop(key_id, None)

    @precondition(lambda self: self.path.exists())
    @rule(extra=st.binary(max_size=RECORD - 1))
    def stopped_while_writing(self, extra: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(extra)
        self.books[0].add({})  # the next writer clears it away

    @rule(which=st.integers(0, 1))
    def begin_again(self, which: int) -> None:
        self.books[which] = KeyStore(self.path, SIZE)

    @invariant()
    def agree(self) -> None:
        for book in self.books if hasattr(self, "model") else ():
            found = {UUID(int=n): book.read(UUID(int=n)) for n in range(7)}
            assert {key: value for key, value in found.items() if value} == self.model


def test_any_sequence(tmp_path: Path) -> None:
    Books.root = tmp_path
    case = Books.TestCase
    case.settings = settings(max_examples=40, stateful_step_count=20, deadline=None, database=None)
    case().runTest()


def test_what_is_rewritten_is_new_for_everyone_and_nowhere_as_it_was(path: Path) -> None:
    ours, theirs = KeyStore(path, SIZE), KeyStore(path, SIZE)
    ids = [uuid4() for _ in range(5)]
    ours.add({key_id: content(n) for n, key_id in enumerate(ids)})
    assert theirs.read(ids[4]) == content(4)
    ours.destroy(ids[1])
    with path.open("rb") as before:
        assert theirs.rewrite(lambda _, kept: bytes(byte + 100 for byte in kept)) == 4
        assert before.read().strip(b"\0") == b""
    for book in (ours, theirs, KeyStore(path, SIZE)):
        assert [book.read(i) for i in ids] == [
            None if n == 1 else content(n + 100) for n in range(5)
        ]
    assert ours.destroy(ids[2])
    ours.add({ids[1]: content(50)})
    assert (theirs.read(ids[2]), theirs.read(ids[1])) == (None, content(50))
    assert theirs.rewrite(lambda _, kept: kept) == 4
    seen: dict[UUID, bytes] = {}
    ours.each(lambda key_id, kept: seen.update({key_id: kept}))
    assert seen.keys() == set(ids) - {ids[2]}
    # One that cannot be changed leaves all as it was.
    with pytest.raises(ValueError, match="40 bytes"):
        ours.rewrite(lambda _, __: b"short")
    assert theirs.read(ids[3]) == content(103)


def test_writers_meanwhile_lose_nothing(path: Path) -> None:
    """A key that is added or destroyed while the file is replaced is so in the new file."""
    book = KeyStore(path, SIZE)
    kept, gone = [uuid4() for _ in range(100)], [uuid4() for _ in range(100)]
    book.add(dict.fromkeys(gone, content(1)))
    missed: list[UUID] = []

    def write() -> None:
        own = KeyStore(path, SIZE)
        for one, other in zip(kept, gone, strict=True):
            own.add({one: content(2)})
            own.destroy(other)
            if own.read(one) is None or own.read(other) is not None:
                missed.append(one)

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        KeyStore(path, SIZE).rewrite(lambda _, kept_of_it: kept_of_it)
    writer.join()
    assert not missed
    assert [book.read(one) for one in kept] == [content(2)] * 100
    assert [book.read(one) for one in gone] == [None] * 100
