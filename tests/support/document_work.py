"""Agencies work with documents at a node that a test disturbs, and what must hold afterwards.

One node has the vaults of Kosovo and Montenegro, so contents travel between the two countries as
sealed parcels in it.
"""

import io
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import TypeVar
from unittest.mock import patch
from uuid import UUID, uuid4

import psycopg
from PIL import Image
from psycopg.rows import dict_row
from pypdf import PdfWriter

from api.client import LedgerClient, RefusedError
from api.keys.country_keys import country_key, country_keys, person_keys
from api.runtime.document_store import document_chunks
from api.runtime.node_database import open_store
from api.runtime.schema import migrate_all
from api.runtime.settings import Settings
from ledger.application import Ledger, environment
from ledger.procedure.readings import CopyKind
from ledger.signing import signed_action
from ledger.store.database import Database
from ledger.vault.documents.chunk_encryption import DocumentPlace
from ledger.vault.vault import Vaults
from ledger.vocabulary import Action
from ledger.vocabulary.coordination import ConsentGiven
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import (
    ConsentForm,
    ConsentGiver,
    ConsentScope,
    DocumentKind,
    GuardianKind,
    LegalBasis,
    Purpose,
)
from ledger.vocabulary.protection import GuardianAppointed
from ledger.vocabulary.registration import CountryKeyRegistered
from ledger.vocabulary.sharing import InformationReleased, ReleasedFields
from tests.support.actions import START, opening
from tests.support.agencies import PAST, Agencies
from tests.support.four_nodes import HastyNode
from tests.support.object_server import ObjectServer
from tests.support.pictures import encoded

T = TypeVar("T")
PARTIES = ("XK", "ME")
POLICE, SOCIAL_WORK, ABROAD = "xk-dhtqnj", "xk-csw-prishtina", "me-police-thb"
MARKER = b"zqWordsOfTheDocument"
PATIENCE_SECONDS = 180.0
_AGAIN_SECONDS = 0.2
_NO_TIME = timedelta(0)
_READING = Purpose.PROTECTION


def paper(size: int) -> bytes:
    """Return a PDF of two pages, with the marker in the title and many times in an attachment."""
    first, second = (Image.new("RGB", (150, 200), colour) for colour in ("navy", "maroon"))
    plain = encoded(first, "PDF", save_all=True, append_images=[second])
    writer = PdfWriter(clone_from=io.BytesIO(plain))
    writer.add_metadata({"/Title": MARKER.decode()})
    line = MARKER + b" " + secrets.token_hex(8).encode() + b"\n"
    writer.add_attachment("notes.txt", line * (size // len(line)))
    file = io.BytesIO()
    writer.write(file)
    return file.getvalue()


class DocumentNode(HastyNode):
    """A node of two countries, with or without an object store, and a folder for its own files."""

    def __init__(self, home: Path, objects: ObjectServer | None = None) -> None:
        super().__init__(home)
        self.temporary = home.with_name(f"{home.name}-temporary")
        self.temporary.mkdir()
        self.temporary.chmod(0o777)
        self.settings |= {"countries": '["XK", "ME"]', "missing_after_seconds": "2"}
        self._more = {"TMPDIR": str(self.temporary)}
        self.objects = objects
        if objects is not None:
            self.settings["document_store"] = objects.url
            self._more |= objects.environment

    def environment(self) -> Mapping[str, str]:
        """Return the environment of its commands, with the credentials of the object store."""
        return {**super().environment(), **self._more}

    @property
    def own(self) -> Settings:
        """Return the settings that name its directories."""
        store = None if self.objects is None else self.objects.url
        return Settings(
            data_directory=self.home, database_url=None, countries=PARTIES, document_store=store
        )

    def begin(self, agencies: Agencies) -> None:
        """Make the database, register every agency and the keys of both countries."""
        with open_store(self.own) as store:
            migrate_all(store.owner_conninfo, agencies.protocol)
            with Ledger(environment(store.conninfo)) as ledger:
                agencies.begin(ledger)
                for party in PARTIES:
                    key = CountryKeyRegistered(
                        acted_at=PAST, key=str(country_key(self.own, party).public)
                    )
                    signed = agencies.sign(f"{party.lower()}-nac", key, None)
                    ledger.append_to_registry(signed_action.read(signed))


@dataclass(slots=True)
class Added:
    """A document that a receipt acknowledged."""

    case_id: UUID
    id: UUID
    content: bytes = field(repr=False)
    group: FieldGroup | None = None


@dataclass(slots=True)
class DocumentWork:
    """Steps of agencies with documents. Each is sent again until it is done."""

    url: str
    agencies: Agencies
    directory: Path
    """The agencies' own files, in clear."""
    size: int = 600_000
    added: list[Added] = field(default_factory=list)
    begun: list[tuple[UUID, Path]] = field(default_factory=list)
    """Files whose upload began, acknowledged or not, with their case."""
    released: list[Added] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)
    """A part of each preview, copy and archive that the node made."""
    step: str = ""
    """The step that is under way."""
    steps: int = 0
    """The number of steps that began."""

    def client(self, agency: str) -> LedgerClient:
        """Return a client that asks again while the node is away."""
        return LedgerClient(
            self.url,
            agency=agency,
            key=self.agencies.keys[agency],
            protocol=self.agencies.protocol.id,
            patience=PATIENCE_SECONDS,
        )

    def open_case(self) -> UUID:
        """Open a case of both countries, in which Kosovo may release identity fields."""
        case_id = uuid4()
        guardian = GuardianAppointed(acted_at=START, guardian_kind=GuardianKind.RELATIVE)
        consent = ConsentGiven(
            acted_at=START,
            scopes=(ConsentScope.INFORMATION_EXCHANGE,),
            given_by=ConsentGiver.GUARDIAN,
            form=ConsentForm.WRITTEN,
            groups=(FieldGroup.IDENTITY,),
            recipients=("ME",),
        )
        self._act(POLICE, opening(PARTIES), case_id, 0)
        self._act(SOCIAL_WORK, guardian, case_id, 1)
        self._act(SOCIAL_WORK, consent, case_id, 2)
        return case_id

    def add(self, case_id: UUID, version: int, group: FieldGroup | None = None) -> Added:
        """Upload a new file and record the action that adds it."""
        content = paper(self.size + secrets.randbelow(self.size))
        file = self.directory / f"{uuid4()}.pdf"
        file.write_bytes(content)
        self.begun.append((case_id, file))
        self._begin("upload")
        with self.client(POLICE) as client:
            described = {"kind": DocumentKind.REPORT, "title": MARKER.decode(), "group": group}
            action = patiently(lambda: client.document_action(case_id, file, **described))  # type: ignore[arg-type]
            self._begin("act")
            signed = client.sign(action, case_id)
            receipt = patiently(lambda: client.send(signed, case_id, version))
            added = Added(case_id, receipt.action_id, content, group)
            self.added.append(added)
            if group is not None:
                (digest,) = (d.digest for d in signed.disclosures if d.name.endswith("_document"))
                self._release(added, version + 1, digest)
            patiently(lambda: client.case(case_id, at_least=receipt.position))
        return added

    def download(self, added: Added, agency: str = POLICE) -> None:
        """Download the signed original, and compare it."""
        self._begin("download")
        file = self.directory / f"{uuid4()}"
        with self.client(agency) as client:
            digest = patiently(
                lambda: client.download(added.case_id, added.id, file, purpose=_READING)
            )
        assert digest == sha256(added.content).hexdigest()
        file.unlink()

    def make_copies(self, added: Added) -> None:
        """Ask for everything that the node makes of a document of two pages."""
        case_id = added.case_id
        with self.client(POLICE) as client:
            self._begin("preview")
            shown = patiently(lambda: client.preview(case_id, added.id, 2, purpose=_READING))
            self._answered(shown.picture)
            self._begin("redact")
            patiently(lambda: client.redact_document(case_id, added.id, "1", purpose=_READING))
            self._begin("mark")
            file = self.directory / f"{uuid4()}"
            copy = CopyKind.MARKED
            patiently(lambda: client.download(case_id, added.id, file, purpose=_READING, copy=copy))
            self._answered(file.read_bytes())
            file.unlink()
        with self.client(SOCIAL_WORK) as client:
            self._begin("archive")
            patiently(lambda: client.subject_documents(case_id, file, "sq"))
            file.unlink()

    def read_abroad(self, added: Added, is_over: Callable[[], bool] = lambda: False) -> None:
        """Wait until Montenegro's vault holds the content, and read it there."""
        self._begin("exchange")
        until = time.monotonic() + PATIENCE_SECONDS
        with self.client(ABROAD) as client:
            while not is_over():
                inventory = patiently(lambda: client.document_inventory(added.case_id))
                if any(d.id == added.id and d.state == "held" for d in inventory.awaited):
                    break
                assert time.monotonic() < until, inventory
                time.sleep(_AGAIN_SECONDS)
            else:
                return
        self.download(added, ABROAD)

    def _release(self, added: Added, version: int, digest: str) -> None:
        """Release the document to Montenegro, on the consent."""
        self._begin("release")
        with self.client(SOCIAL_WORK) as client:
            trail = patiently(lambda: client.trail(added.case_id))
            (consent,) = (one.action_id for one in trail if one.kind == "consent_given")
            release = InformationReleased(
                acted_at=START,
                recipient="ME",
                groups=(FieldGroup.IDENTITY,),
                purpose=_READING,
                basis=LegalBasis.CONSENT,
                basis_action=consent,
                released=(ReleasedFields(action=added.id, digests=(digest,)),),
            )
            signed = client.sign(release, added.case_id)
            receipt = patiently(lambda: client.send(signed, added.case_id, version))
            self.released.append(added)
            patiently(lambda: client.case(added.case_id, at_least=receipt.position))

    def _act(self, agency: str, action: Action, case_id: UUID, version: int) -> None:
        with self.client(agency) as client:
            signed = client.sign(action, case_id)
            receipt = patiently(lambda: client.send(signed, case_id, version))
            patiently(lambda: client.case(case_id, at_least=receipt.position))

    def _begin(self, step: str) -> None:
        self.step = step
        self.steps += 1

    def _answered(self, content: bytes) -> None:
        middle = len(content) // 2
        self.answers.append(content[middle : middle + 24])


def patiently(once: Callable[[], T]) -> T:
    """Do a thing again while the node refuses it for want of space or of its database."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return once()
        except RefusedError as error:
            if error.problem.status not in (503, 507) or time.monotonic() > until:
                raise
        time.sleep(_AGAIN_SECONDS)


@contextmanager
def working(once: Callable[[], object]) -> Iterator[Callable[[], None]]:
    """Do a thing again and again in a thread, for as long as the block runs.

    Yields a function that raises the error that ended the thread, if one did.
    """
    over, failed = threading.Event(), list[BaseException]()

    def run() -> None:
        try:
            while not over.is_set():
                once()
        except BaseException as error:
            failed.append(error)

    def check() -> None:
        if failed:
            raise failed[0]

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield check
    finally:
        over.set()
        thread.join()
    check()


def check_whole(work: DocumentWork) -> None:
    """Check that each upload goes on, and each document that a receipt has is whole."""
    with work.client(POLICE) as client:
        for case_id, file in work.begun:
            assert client.upload(case_id, file).is_whole
    for added in work.added:
        work.download(added)


def check_no_orphans(node: DocumentNode, documents: Mapping[str, int]) -> None:
    """Sweep the vaults of a node that is down, and check what is left.

    Every row is of an acknowledged document, every chunk is one of such a row, and no key of
    uploads is left. ``documents`` is the number that the vault of each party must have.
    """
    settings = node.own
    keys = person_keys(settings, country_keys(settings, PARTIES))
    with open_store(settings) as store, Database(store.conninfo) as database:
        with patch.dict(os.environ, node.environment()):
            vaults = Vaults(database, keys, chunks=document_chunks(settings))
        for party in PARTIES:
            uploads = vaults.of(party).documents
            uploads.sweep(_NO_TIME)
            uploads.remove_orphans(_NO_TIME)
            with psycopg.connect(store.owner_conninfo, row_factory=dict_row) as connection:
                schema = f"vault_{party.lower()}"
                rows = _rows(connection, f"SELECT * FROM {schema}.documents")
                removed = _rows(connection, f"SELECT FROM {schema}.removed_documents")
                chunks = _rows(
                    connection, f"SELECT document_id, number FROM {schema}.document_chunks"
                )
            assert all(row["action_id"] is not None for row in rows)
            assert len(rows) == documents[party], (party, len(rows))
            places = [DocumentPlace(r["document_id"], r["case_id"], r["size"]) for r in rows]
            kept = {(row["document_id"], row["number"]) for row in chunks}
            if node.objects is None:
                assert kept == {(p.document_id, n) for p in places for n in range(p.chunks)}
            else:
                assert kept == set()
                _check_objects(node.objects, party, places)
            assert removed == []
            assert keys[party].cases_with_upload_key() == []


def _check_objects(objects: ObjectServer, party: str, places: Sequence[DocumentPlace]) -> None:
    expected = {
        f"node/{party.lower()}/{place.document_id}/{number:06}-{place.length(number)}"
        for place in places
        for number in range(place.chunks)
    }
    found = {name for name in objects.objects() if name.startswith(f"node/{party.lower()}/")}
    assert found == expected, found ^ expected


def _rows(connection: psycopg.Connection[dict[str, object]], query: str) -> list[dict[str, object]]:
    return connection.execute(query.encode()).fetchall()
