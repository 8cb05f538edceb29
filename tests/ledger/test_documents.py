"""Documents in a vault: bound with a deposit or not at all, opened by an entry, and erased."""

import hashlib
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch
from uuid import UUID, uuid4

import psycopg
import pytest
from obstore.store import LocalStore

from ledger.procedure.protocol import Operation
from ledger.refusals import Refusal
from ledger.signing import signed_action
from ledger.signing.country_key import FileCountryKey, SealError
from ledger.store.database import Database
from ledger.vault.data_key_rotation import replace_data_keys
from ledger.vault.data_keys import DataKeys
from ledger.vault.documents.chunk_encryption import CHUNK_BYTES, OVERHEAD_BYTES
from ledger.vault.documents.chunk_store import ChunkStore, PostgresChunks
from ledger.vault.documents.documents import NamedDocument
from ledger.vault.documents.object_chunks import ObjectChunks
from ledger.vault.documents.uploads import Upload
from ledger.vault.vault import Vault
from ledger.vault.vault_check import VaultCheck
from ledger.vocabulary.levels import CASE, FieldGroup, FieldLevel, personal
from ledger.vocabulary.picklists import Purpose
from tests.ledger.test_data_key_rotation import _NoLedger
from tests.support.actions import opening
from tests.support.agencies import Agencies
from tests.support.leaks import tables_with
from tests.support.papers import pdf
from tests.support.vaults import reading

AGENCY = "xk-dhtqnj"
COUNTRY = FileCountryKey.generate()
MARKER = b"zqWordsOfTheDocument"
MOST = 500_000_000
IDENTITY = personal(FieldGroup.IDENTITY)


@dataclass
class World:
    vault: Vault
    agencies: Agencies
    database: str
    annulled: set[UUID]
    store: ChunkStore

    def upload(
        self, case_id: UUID, content: bytes, *, step: int = CHUNK_BYTES, until: int | None = None
    ) -> Upload:
        """Begin or resume an upload, in steps of some bytes."""
        documents = self.vault.documents
        digest = hashlib.sha256(content).hexdigest()
        upload = documents.begin(case_id, AGENCY, len(content), digest, most_of_case=MOST)
        while upload.received < (len(content) if until is None else until):
            piece = documents.piece(upload)
            begins = upload.received - len(piece)
            more = min(step, CHUNK_BYTES - len(piece), len(content) - upload.received)
            upload = documents.store(upload, content[begins : upload.received + more])
        return documents.settle(upload)

    def act(self, case_id: UUID, content: bytes, level: FieldLevel = IDENTITY) -> tuple[UUID, UUID]:
        """Deposit an action that has the document. Returns the action and the deposit."""
        signed = self.agencies.sign(AGENCY, opening(), case_id)
        action = signed_action.read(signed)
        named = self.named(content, level)
        self.vault.documents.check(case_id, AGENCY, action.id, [named])
        deposit = self.vault.deposit(action, case_id, signed.disclosures, documents=[named])
        return action.id, deposit

    @staticmethod
    def named(content: bytes, level: FieldLevel = IDENTITY) -> NamedDocument:
        digest = hashlib.sha256(content).hexdigest()
        return NamedDocument("document", level, digest, len(content), "application/pdf")

    def read(self, case_id: UUID, action: UUID, **asked: object) -> bytes | None:
        opened = self.vault.document(reading(self.vault, case_id, **asked), action)
        return None if opened is None else b"".join(opened.part(0, opened.place.size - 1))

    def execute(self, statement: str, *params: object) -> int:
        with psycopg.connect(self.database) as connection:  # as the owner
            return connection.execute(statement.encode(), params).rowcount

    def findings(self) -> list[str]:
        protocol = self.agencies.protocol
        pool = self.vault._database
        check = VaultCheck(pool, "XK", self.vault.keys, _NoLedger(), self.store)
        return [one.what for one in check.findings(protocol, protocol)]


@pytest.fixture
def world(
    database: str, agencies: Agencies, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[World]:
    annulled: set[UUID] = set()
    store: ChunkStore = PostgresChunks("XK")
    if getattr(request, "param", None) == "objects":
        store = ObjectChunks(LocalStore(tmp_path / "objects", mkdir=True), "XK")
    with Database(database) as pool:
        keys = DataKeys(tmp_path / "persons", "XK", COUNTRY)
        vault = Vault(pool, "XK", keys, lambda _: annulled, store)
        yield World(vault, agencies, database, annulled, store)


in_each_store = pytest.mark.parametrize("world", ["database", "objects"], indirect=True)


@in_each_store
def test_a_document_lies_nowhere_in_clear_and_opens_for_an_entry(
    world: World, tmp_path: Path
) -> None:
    case_id, content = uuid4(), pdf(CHUNK_BYTES + 70_000, MARKER)
    digest = hashlib.sha256(content)
    part = world.upload(case_id, content, step=100_000, until=150_000)
    assert not part.is_whole
    sought = [MARKER.decode(), MARKER.hex(), digest.hexdigest(), digest.digest().hex()]
    assert tables_with(world.database, sought) == {}
    assert not world.vault.keys.has(case_id)  # none is made for what may never be used
    world.upload(case_id, content, step=100_000)
    action, _ = world.act(case_id, content)
    assert world.read(case_id, action) == content
    assert tables_with(world.database, sought) == {}
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(MARKER in one or digest.digest() in one for one in kept)
    # An entry for another group, another person or another action opens nothing.
    assert world.read(case_id, action, groups=(FieldGroup.HEALTH,)) is None
    assert world.read(uuid4(), action) is None
    assert world.read(case_id, uuid4()) is None
    assert world.read(case_id, action, role="ngo") is None
    asked = {"operation": Operation.READ, "purpose": Purpose.PROTECTION, "role": "police"}
    assert world.read(case_id, action, groups=(FieldGroup.IDENTITY,), **asked) == content
    other = pdf(500)
    world.upload(case_id, other)
    action, _ = world.act(case_id, other, CASE)
    assert world.read(case_id, action, groups=(FieldGroup.HEALTH,), **asked) == other
    assert world.findings() == []


def test_any_part_of_a_document_is_read(world: World) -> None:
    case_id, content = uuid4(), pdf(2 * CHUNK_BYTES + 1)
    world.upload(case_id, content)
    action, _ = world.act(case_id, content)
    opened = world.vault.document(reading(world.vault, case_id), action)
    assert opened is not None
    last = len(content) - 1
    for first, to in ((0, 0), (last, last), (CHUNK_BYTES - 1, CHUNK_BYTES), (5, last)):
        assert b"".join(opened.part(first, to)) == content[first : to + 1]


def test_the_database_opens_no_document_without_an_entry(world: World) -> None:
    case_id, content = uuid4(), pdf(1000)
    world.upload(case_id, content)
    world.act(case_id, content)
    seen = {}
    for role in ("case_ledger_vault_xk", "case_ledger_reader_xk"):
        with psycopg.connect(world.database) as connection:
            connection.execute(f"SET ROLE {role}".encode())
            found = connection.execute("SELECT count(*) FROM vault_xk.document_chunks").fetchone()
            seen[role] = found and found[0]
    assert set(seen.values()) == {0}


def test_a_document_is_bound_with_the_deposit_or_not_at_all(world: World) -> None:
    case_id, content = uuid4(), pdf(1000)
    with pytest.raises(Refusal, match="Upload it") as missing:
        world.act(case_id, content)
    assert missing.value.rule == "document-not-uploaded"
    signed = world.agencies.sign(AGENCY, opening(), case_id)
    action = signed_action.read(signed)
    with pytest.raises(Refusal):  # without the check before
        world.vault.deposit(action, case_id, signed.disclosures, documents=[world.named(content)])
    assert world.vault.held_digests([action.id]) == {}
    first = world.upload(case_id, content)
    other = world.named(content)._replace(media_type="image/png")
    with pytest.raises(Refusal) as wrong:
        world.vault.documents.check(case_id, AGENCY, action.id, [other])
    assert wrong.value.rule == "document-type"
    one, deposit = world.act(case_id, content)
    # The upload is used: the same content is uploaded anew for another action.
    assert world.upload(case_id, content).id != first.id
    # A refused action gives its document back, and the next one takes it.
    world.vault.withdraw(one, deposit)
    assert world.read(case_id, one) is None
    assert world.upload(case_id, content).is_whole
    again, _ = world.act(case_id, content)
    assert world.read(case_id, again) == content


def test_documents_of_one_size_are_added_to_a_case_at_the_same_time(world: World) -> None:
    """Beginning an upload and depositing an action wait for each other in one order."""
    case_id, size = uuid4(), 2000

    def add(number: int) -> UUID:
        content = pdf(size - 4) + number.to_bytes(4, "big")
        world.upload(case_id, content)
        return world.act(case_id, content)[0]

    with ThreadPoolExecutor(4) as pool:
        actions = [*pool.map(add, range(60))]
    assert len(world.vault.documents.held(actions)) == 60


def test_a_key_that_another_deposit_makes_meanwhile_is_no_lost_key(world: World) -> None:
    case_id, first, second = uuid4(), pdf(1000), pdf(2000)
    world.upload(case_id, second)
    get, looked = world.vault.keys.get, iter((None,))

    def late(person: UUID) -> bytes | None:
        if next(looked, 0) is None:  # the other deposit is whole before this one looks again
            world.upload(case_id, first)
            world.act(case_id, first)
            return None
        return get(person)

    with patch.object(world.vault.keys, "get", late):
        action, _ = world.act(case_id, second)
    assert world.read(case_id, action) == second


def test_a_second_deposit_of_an_action_keeps_its_document(world: World) -> None:
    case_id, content = uuid4(), pdf(1000)
    world.upload(case_id, content)
    signed = world.agencies.sign(AGENCY, opening(), case_id)
    action, named = signed_action.read(signed), [world.named(content)]
    first, second = (
        world.vault.deposit(action, case_id, signed.disclosures, documents=named) for _ in range(2)
    )
    world.vault.withdraw(action.id, second)
    assert world.read(case_id, action.id) == content
    world.vault.withdraw(action.id, first)
    assert world.read(case_id, action.id) is None


def test_after_an_erasure_no_document_opens_from_a_backup_either(world: World) -> None:
    case_id, content = uuid4(), pdf(1000)
    world.upload(case_id, content)
    action, _ = world.act(case_id, content)
    world.upload(case_id, pdf(2000))  # an upload that was not used
    world.execute("CREATE TABLE public.backup AS SELECT * FROM vault_xk.documents")
    world.execute("CREATE TABLE public.chunks AS SELECT * FROM vault_xk.document_chunks")
    other = uuid4()
    assert world.upload(other, pdf(2000)).is_whole
    assert world.vault.erase(case_id)
    assert world.execute("SELECT FROM vault_xk.documents WHERE case_id = %s", case_id) == 0
    assert world.execute("SELECT FROM vault_xk.document_chunks") == 1
    world.execute("INSERT INTO vault_xk.documents SELECT * FROM public.backup")
    world.execute("INSERT INTO vault_xk.document_chunks SELECT * FROM public.chunks")
    with pytest.raises(SealError):
        world.read(case_id, action)
    # An upload does not open either: neither a key file nor the country's key opens its key.
    assert world.vault.documents.with_content(case_id, AGENCY, *_declared(pdf(2000))) == []
    assert world.vault.documents.with_content(other, AGENCY, *_declared(pdf(2000))) != []
    with pytest.raises(Refusal) as refused:
        world.upload(case_id, content)
    assert refused.value.rule == "erased-case"


def test_a_refusal_after_an_erasure_gives_no_upload_back(world: World) -> None:
    case_id, content = uuid4(), pdf(1000)
    world.upload(case_id, content)
    action, deposit = world.act(case_id, content)
    with patch.object(world.vault.documents, "remove_of_case", lambda *_: None):
        world.vault.erase(case_id)  # as if it was stopped between the key and the rows
    world.vault.withdraw(action, deposit)
    assert world.execute("SELECT FROM vault_xk.documents") == 0
    assert world.vault.keys.upload_key(case_id) is None


def test_the_key_of_a_cases_uploads_goes_with_the_last_of_them(world: World) -> None:
    used, unused, content = uuid4(), uuid4(), pdf(1000)
    for case_id in (used, unused):
        world.upload(case_id, content)
    action, _ = world.act(used, content)
    world.execute("CREATE TABLE public.backup AS SELECT * FROM vault_xk.documents")
    world.vault.documents.sweep(timedelta(0))
    assert world.vault.keys.cases_with_upload_key() == []
    assert world.read(used, action) == content
    # A destruction of what an action disclosed closes the upload in a backup too.
    world.upload(used, pdf(2000))
    world.vault.destroyed.destroy(used, action, uuid4())
    assert world.vault.keys.upload_key(used) is None
    # An upload whose key is gone is begun anew.
    assert world.upload(used, pdf(2000)).is_whole
    assert world.vault.keys.reseal() == 2  # the person's key, and that of the uploads


def test_who_writes_to_the_database_moves_no_document_to_another_group(world: World) -> None:
    """A document at ``case`` level needs no legal basis to be read."""
    case_id, content = uuid4(), pdf(1000)
    world.upload(case_id, content)
    action, _ = world.act(case_id, content)
    for level, group in (("case", None), ("personal", "health")):
        world.execute("UPDATE vault_xk.documents SET level = %s, field_group = %s", level, group)
        with pytest.raises(SealError):
            world.read(case_id, action, groups=(FieldGroup.HEALTH,))
        assert world.findings() != []
    world.execute("UPDATE vault_xk.documents SET level = 'personal', field_group = 'identity'")
    assert world.read(case_id, action) == content


@in_each_store
def test_a_late_part_replaces_no_chunk_of_a_document_in_use(world: World) -> None:
    """A request that was begun before writes nothing once the content is checked."""
    case_id, content = uuid4(), pdf(2000)
    late = world.upload(case_id, content, until=0)
    world.upload(case_id, content)
    action, _ = world.act(case_id, content)
    with pytest.raises(Refusal) as refused:
        world.vault.documents.store(late, content[:-1] + b"?")
    assert refused.value.rule == "upload-offset"
    assert world.read(case_id, action) == content


def test_a_part_that_does_not_open_is_told_as_moved_or_damaged(world: World) -> None:
    case_id, content = uuid4(), pdf(2000)
    documents = world.vault.documents
    earlier = world.upload(case_id, content, step=1000, until=1000)
    world.upload(case_id, content, step=500, until=1500)
    with pytest.raises(Refusal) as moved:
        documents.piece(earlier)
    assert moved.value.rule == "upload-offset"
    world.execute("DELETE FROM vault_xk.document_chunks")
    with pytest.raises(Refusal) as damaged:
        documents.piece(documents.with_content(case_id, AGENCY, *_declared(content))[0])
    assert damaged.value.rule == "upload-damaged"
    assert documents.find(earlier.id, case_id, AGENCY) is None


def test_an_agency_that_only_declares_uploads_leaves_room_to_others(world: World) -> None:
    case_id, documents = uuid4(), world.vault.documents
    for digest in ("a" * 64, "b" * 64):
        documents.begin(case_id, AGENCY, MOST // 4, digest, most_of_case=MOST)
    with pytest.raises(Refusal) as full:
        documents.begin(case_id, AGENCY, 1, "c" * 64, most_of_case=MOST)
    assert full.value.rule == "case-documents-full"
    documents.begin(case_id, "xk-border", MOST // 4, "c" * 64, most_of_case=MOST)
    # One document may be as large as the whole case may.
    documents.begin(uuid4(), AGENCY, MOST, "d" * 64, most_of_case=MOST)


def _declared(content: bytes) -> tuple[int, str]:
    return len(content), hashlib.sha256(content).hexdigest()


def test_an_agency_has_a_bounded_number_of_uploads_without_use(world: World) -> None:
    case_id, documents = uuid4(), world.vault.documents
    with patch("ledger.vault.documents.uploads.MOST_UNUSED", 2):
        for digest in ("a" * 64, "b" * 64):
            documents.begin(case_id, AGENCY, 1, digest, most_of_case=MOST)
        with pytest.raises(Refusal) as full:
            documents.begin(case_id, AGENCY, 1, "c" * 64, most_of_case=MOST)
        assert full.value.rule == "case-documents-full"
        documents.begin(case_id, "xk-border", 1, "c" * 64, most_of_case=MOST)
        documents.begin(case_id, AGENCY, 1, "a" * 64, most_of_case=MOST)
    assert documents.unused_bytes(AGENCY) == {case_id: 2}


def test_an_annulled_or_destroyed_action_has_no_document_to_open(world: World) -> None:
    case_id, content = uuid4(), pdf(1000)
    world.upload(case_id, content)
    action, _ = world.act(case_id, content)
    world.annulled.add(action)
    assert world.read(case_id, action) is None
    world.annulled.clear()
    assert world.read(case_id, action) == content
    world.vault.destroyed.destroy(case_id, action, uuid4())
    assert world.read(case_id, action) is None
    assert world.execute("SELECT FROM vault_xk.documents") == 0


def test_a_replacement_of_data_keys_wraps_the_content_key_anew(world: World) -> None:
    case_id, content = uuid4(), pdf(3 * CHUNK_BYTES)
    world.upload(case_id, content)
    action, _ = world.act(case_id, content)
    old = world.vault.keys.get(case_id)
    done = replace_data_keys(world.database, "XK", world.vault.keys)
    assert (done.damaged, done.kept) == (0, 0)
    assert world.vault.keys.get(case_id) != old
    assert world.read(case_id, action) == content
    assert world.findings() == []


@in_each_store
def test_the_check_of_a_vault_finds_lost_chunks_and_keys(world: World, tmp_path: Path) -> None:
    case_id, content = uuid4(), pdf(CHUNK_BYTES + 1)
    world.upload(case_id, content)
    action, _ = world.act(case_id, content)
    assert world.findings() == []
    if world.store.in_database:
        world.execute("DELETE FROM vault_xk.document_chunks WHERE number = 1")
    else:
        next((tmp_path / "objects").rglob("000001-*")).unlink()
    assert world.findings() == ["chunks of the document are missing or were cut"]
    with pytest.raises(SealError):
        world.read(case_id, action)
    world.execute(
        "UPDATE vault_xk.documents SET content_key = %s", secrets.token_bytes(32 + OVERHEAD_BYTES)
    )
    assert "the key of the document does not open" in world.findings()


@in_each_store
def test_an_upload_is_resumed_and_the_same_content_is_one_upload(world: World) -> None:
    case_id, content = uuid4(), pdf(CHUNK_BYTES + 999)
    part = world.upload(case_id, content, step=1000, until=2500)
    assert part.received == 3000
    whole = world.upload(case_id, content, step=200_000)
    assert (whole.id, whole.is_whole) == (part.id, True)
    assert world.upload(case_id, content).id == part.id
    assert world.vault.documents.find(part.id, case_id, "xk-border") is None
    # A request that comes late changes nothing.
    with pytest.raises(Refusal) as late:
        world.vault.documents.store(part, content[:4000])
    assert late.value.rule == "upload-offset"


def test_another_content_than_the_declared_one_is_refused_and_removed(world: World) -> None:
    case_id, content = uuid4(), pdf(1000)
    documents = world.vault.documents
    digest = hashlib.sha256(content).hexdigest()
    upload = documents.begin(case_id, AGENCY, 1000, digest, most_of_case=MOST)
    upload = documents.store(upload, content[:-1] + b"?")
    with pytest.raises(Refusal) as other:
        documents.settle(upload)
    assert other.value.rule == "document-digest"
    assert documents.find(upload.id, case_id, AGENCY) is None
    with pytest.raises(Refusal) as text:
        world.upload(case_id, b"plain text")
    assert text.value.rule == "document-type"
    world.upload(case_id, content)
    with pytest.raises(Refusal) as full:
        documents.begin(case_id, AGENCY, 1, digest, most_of_case=1000)
    assert full.value.rule == "case-documents-full"


@pytest.mark.parametrize("world", ["objects"], indirect=True)
def test_an_object_without_a_document_is_removed_when_it_is_old(
    world: World, tmp_path: Path
) -> None:
    """As a process leaves it that is killed between an object and the commit of its row."""
    case_id, content = uuid4(), pdf(1000)
    world.upload(case_id, content)
    action, _ = world.act(case_id, content)
    documents, store = world.vault.documents, tmp_path / "objects"
    gone = world.upload(case_id, pdf(2000))
    put = world.store.put
    with (
        patch.object(world.store, "put", side_effect=lambda *a: (put(*a), 1 / 0)),
        pytest.raises(ZeroDivisionError),
    ):
        world.upload(case_id, pdf(3000))
    world.vault.documents.remove(gone)
    world.execute("DELETE FROM vault_xk.documents WHERE action_id IS NULL")
    world.execute("DELETE FROM vault_xk.removed_documents")
    (store / "xk" / "notes").mkdir()
    (store / "xk" / "notes" / "of-another-program").write_bytes(b"kept")
    assert documents.sweep() == 0
    assert (documents.remove_orphans(), len([*store.rglob("000000-*")])) == (0, 3)
    assert (documents.remove_orphans(timedelta(0)), len([*store.rglob("000000-*")])) == (2, 1)
    assert (store / "xk" / "notes" / "of-another-program").exists()
    assert world.read(case_id, action) == content
    assert documents.remove_orphans(timedelta(0)) == 0


@pytest.mark.parametrize("world", ["objects"], indirect=True)
def test_a_whole_upload_leaves_no_piece_of_an_unfinished_chunk(
    world: World, tmp_path: Path
) -> None:
    case_id, content = uuid4(), pdf(CHUNK_BYTES + 3000)
    world.upload(case_id, content, step=1000, until=2000)
    upload = world.upload(case_id, content, step=CHUNK_BYTES // 2)
    assert upload.is_whole
    objects = tmp_path / "objects" / "xk" / str(upload.id)
    assert {file.name for file in objects.iterdir()} == {f"000000-{CHUNK_BYTES}", "000001-3000"}
    action, _ = world.act(case_id, content)
    assert world.read(case_id, action) == content


def test_the_sweep_destroys_a_key_of_uploads_that_a_killed_process_left(world: World) -> None:
    """As a process leaves it that is killed after it removed the last upload of a case."""
    world.vault.keys.make_upload_key(uuid4())
    assert world.vault.documents.sweep() == 0
    assert world.vault.keys.cases_with_upload_key() == []


@in_each_store
def test_unused_uploads_and_their_objects_are_swept(world: World, tmp_path: Path) -> None:
    case_id, content = uuid4(), pdf(1000)
    world.upload(case_id, pdf(2000))
    world.upload(case_id, content)
    action, _ = world.act(case_id, content)
    assert world.vault.documents.sweep() == 0
    assert world.vault.documents.sweep(timedelta(0)) == 1
    assert world.execute("SELECT FROM vault_xk.documents") == 1
    assert world.execute("SELECT FROM vault_xk.removed_documents") == 0
    if not world.store.in_database:
        assert len([*(tmp_path / "objects").rglob("000000-*")]) == 1
    assert world.read(case_id, action) == content
    with (
        patch.object(world.vault.documents.chunks, "get", lambda *_: None),
        pytest.raises(SealError),
    ):
        world.read(case_id, action)
