"""One import from file to ledger: prepared on every core, recorded chunk by chunk."""

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from hashlib import blake2b
from json import dumps
from pathlib import Path
from uuid import UUID

from joserfc.jwk import OKPKey
from psycopg import Connection
from psycopg.errors import UniqueViolation
from psycopg.rows import DictRow

from api.authentication.members import Members, member_disabled
from api.background_jobs.clock_watch import ClockWatch
from api.importing.cases_table import NoCase
from api.importing.error_file import ErrorFile
from api.importing.files import ReadRow, digest, file_form, read_rows
from api.importing.journal import ImportProgress, ImportSource, Journal, JournalError
from api.importing.known_cases import Change, KnownCases, Updated
from api.importing.preparation import PreparationJob, prepare_all
from api.importing.tables import TableForm
from api.keys.country_keys import country_keys, person_keys, search_keys
from api.keys.log_keys import own_parties
from api.runtime.disk import Room
from api.runtime.settings import Settings
from ledger.application import Ledger
from ledger.importing.import_map import ImportMap
from ledger.importing.mapping import Fault, Mapper
from ledger.importing.preparing import ImportRow, ReadyCase, case_id_of
from ledger.importing.recording import record_cases
from ledger.refusals import Refusal
from ledger.signing.keys import key_id
from ledger.store.bulk_append import recorded_cases
from ledger.store.database import Database
from ledger.store.event_rows import Guard
from ledger.store.migrate import vault_role
from ledger.store.recorder import RegistryMovedError
from ledger.system.identifiers import new_id
from ledger.vault.bulk_deposits import KeysReplacedError, KnownPersonError
from ledger.vault.bulk_file_numbers import put_numbers, taken_numbers
from ledger.vault.file_numbers import FileNumbers, number_form, read_file_number
from ledger.vault.vault import Vaults

_NO_TERMS = (
    "to update known cases, the map names the column of your own number (file_number), and says "
    'whence the changes are known:\n[update]\nground = "learned"  # or entry_error\n'
    'source = "document"  # or own_statement, authority, family\n'
    'certainty = "confirmed"  # or probable, uncertain'
)
_CHANGES_SHOWN = 40
BATCH = 100
"""Rows that one process prepares at a time."""
_TRIES = 10


class ImportConflictError(RuntimeError):
    """The rows are recorded already by another import, or this machine's clock is wrong.

    Its message says which, and what to do.
    """


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of an import."""

    bytes_read: int
    bytes_total: int
    mark: ImportProgress
    form: TableForm


@dataclass(frozen=True, slots=True)
class Summary:
    """The result of an import."""

    mark: ImportProgress
    form: TableForm
    """The form in which the file was read."""
    recorded_now: int
    first: int | None
    last: int | None
    """The positions between which this run recorded new cases."""
    changes: Sequence[tuple[int, Change]] = ()
    """The first differences to known cases, by row: personal data, for the operator's eyes."""


@dataclass(frozen=True, slots=True)
class Order:
    """The file to import, and the options of the import."""

    source: Path
    agency: str
    private: OKPKey
    import_map: ImportMap
    map_digest: str
    errors: Path
    dry_run: bool = False
    workers: int | None = None
    skip_known: bool = False
    """True if a row with the file number of a recorded case is passed over, and not refused."""
    update_known: bool = False
    """True if such a row records in its case what it changes there."""
    chunk: int = 2000
    """A transaction ends with the batch that brings it to so many events."""

    @property
    def journal(self) -> Path:
        """Beside the file."""
        return self.source.with_name(f"{self.source.name}.journal")


@dataclass
class _Batch:
    """Rows in the order of the file, with what is known of them before they are prepared."""

    rows: list[ImportRow]
    faults: list[tuple[int, Fault]]
    no_cases: list[tuple[int, NoCase]]
    known: int
    """Rows that the ledger has already."""
    updates: Sequence[tuple[ImportRow, UUID]]
    """Rows that are about recorded cases, which they may change."""
    last: int
    read: int
    bytes_read: int


class Importer:
    """Imports into the ledger in this database, in the application's and one vault's role."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        database: Database,
        order: Order,
        expected: Callable[[str, str], str],
    ) -> None:
        """Prepare an import.

        Raises ``Refusal`` if the agency or its key may not sign now, and ``ValueError`` for other
        faults.
        """
        self._settings = settings
        self._room = Room(settings)
        self._ledger = ledger
        self._database = database
        self._watch = ClockWatch.of(settings, database)
        self._order = order
        self._expected = expected
        registry = ledger.adopted()
        now = ledger.rows.next_time(ask=True)
        agency = registry.agency(order.agency, now)
        if agency.party not in own_parties(settings):
            raise ValueError(f"this is no node of {agency.party}: its vault is elsewhere")
        self._party = agency.party
        self._protocol = registry.next_protocol(now)
        self._key_id = key_id(order.private)
        self._registered = self._key_now(ledger.rows.next_time(ask=True))
        Mapper(order.import_map, agency.party)
        self._first: int | None = None
        self._last: int | None = None
        self._recorded_now = 0
        self._form = TableForm()
        self._numbers: FileNumbers | None = None
        if order.import_map.file_number is not None:
            own = country_keys(settings, [self._party])
            every = person_keys(settings, own)
            keys = every[self._party]
            searching = search_keys(settings, own)
            self._numbers = FileNumbers(
                database, self._party, keys, keys.make, searching[self._party]
            )
        self._changes: list[tuple[int, Change]] = []
        self._updating: KnownCases | None = None
        if order.update_known:
            terms = order.import_map.update
            if self._numbers is None or terms is None:
                raise ValueError(_NO_TERMS)
            vaults = Vaults(database, every, ledger.unread, search_keys=searching)
            words = (agency, order.private, self._protocol, order.import_map, terms)
            self._updating = KnownCases(ledger, database, vaults, *words)

    def run(self, progress: Callable[[Progress], None] = lambda _: None) -> Summary:
        """Import the rows that are not imported yet.

        Raises ``ImportFileError``, ``JournalError``, ``Refusal`` if the key was revoked meanwhile
        or its member disabled,
        and ``ImportConflictError``: the events that were recorded before that stay.
        """
        order = self._order
        self._form = file_form(order.source, order.import_map)
        content = digest(order.source, self._form)
        with ExitStack() as stack:
            journal = None if order.dry_run else self._journal(content)
            mark = ImportProgress(map=order.map_digest)
            if journal is not None:
                stack.enter_context(journal)
                mark = self._resumed(journal.mark)
                if mark.done:
                    return self._summary(mark)
            errors = stack.enter_context(ErrorFile(order.errors, mark.errors, self._expected))
            return self._run(journal, mark, errors, progress)

    def _journal(self, content: str) -> Journal:
        source = ImportSource(content, self._order.agency, self._protocol.id)
        memory = self._settings.data_directory / "imports"
        return Journal(self._order.journal, source, memory)

    def _resumed(self, mark: ImportProgress) -> ImportProgress:
        """Return where to go on: at the mark, or from the first row if refused rows may pass now.

        No action that the ledger has is recorded a second time, wherever the import begins.
        """
        anew = ImportProgress(map=self._order.map_digest)
        if mark.map != self._order.map_digest or (mark.done and mark.refused):
            return anew
        errors = self._order.errors
        if mark.refused and not (errors.is_file() and errors.stat().st_size >= mark.errors):
            return anew
        return mark

    def _run(
        self,
        journal: Journal | None,
        mark: ImportProgress,
        errors: ErrorFile,
        progress: Callable[[Progress], None],
    ) -> Summary:
        import_id = journal.import_id if journal else new_id()
        total = self._order.source.stat().st_size
        waiting: list[_Batch] = []

        def batches() -> Iterator[Sequence[ImportRow]]:
            for batch in self._batches(import_id, mark.through, is_new=journal is None):
                waiting.append(batch)
                yield batch.rows

        chunk: list[ReadyCase] = []
        reached = mark
        for prepared in prepare_all(self._work(import_id), batches(), workers=self._order.workers):
            batch = waiting.pop(0)
            refused = [(r.row, r.faults) for r in prepared.refused]
            refused += [(number, (fault,)) for number, fault in batch.faults]
            updated = self._updated(batch.updates)
            refused += [(row, one.faults) for row, one in updated if one.faults]
            told = refused + [(number, (Fault(why),)) for number, why in batch.no_cases]
            for number, faults in sorted(told, key=lambda one: one[0]):
                errors.write(number, faults)
            chunk += prepared.ready
            reached = replace(
                reached,
                through=batch.last,
                rows=reached.rows + batch.read,
                recorded=reached.recorded + batch.known + len(prepared.ready),
                refused=reached.refused + len(refused),
                updated=reached.updated + sum(bool(one.changes) for _, one in updated),
                unchanged=reached.unchanged
                + sum(not one.changes and not one.faults for _, one in updated),
                not_imported=_counted(
                    reached.not_imported,
                    [*prepared.not_imported, *(c for _, one in updated for c in one.not_compared)],
                ),
                no_cases=_counted(reached.no_cases, [why.value for _, why in batch.no_cases]),
            )
            if sum(len(case.events) for case in chunk) >= self._order.chunk:
                self._finish(journal, reached, errors, chunk)
                chunk = []
            progress(Progress(batch.bytes_read, total, reached, self._form))
        reached = replace(reached, done=True)
        reached = self._finish(journal, reached, errors, chunk)
        progress(Progress(total, total, reached, self._form))
        return self._summary(reached)

    def _updated(self, updates: Sequence[tuple[ImportRow, UUID]]) -> Sequence[tuple[int, Updated]]:
        """Record what rows change in known cases, each in transactions of its own.

        Raises ``OSError`` where the disk is almost full.
        """
        if self._updating is None or not updates:
            return ()
        if not self._order.dry_run:
            self._check_machine()
        told = []
        for row, case_id in updates:
            one = self._updating.update(row, case_id, is_rehearsal=self._order.dry_run)
            told.append((row.number, one))
            if len(self._changes) < _CHANGES_SHOWN:
                self._changes += [(row.number, change) for change in one.changes]
        return told

    def _finish(
        self,
        journal: Journal | None,
        mark: ImportProgress,
        errors: ErrorFile,
        chunk: list[ReadyCase],
    ) -> ImportProgress:
        """Finish a chunk of rows, in an order that is safe to interrupt.

        First the reasons of refused rows are durable, then the cases are recorded, then the
        progress is noted.
        """
        mark = replace(mark, errors=errors.sync())
        if journal is not None:
            if chunk:
                self._record(chunk)
            journal.write(mark)
        return mark

    def _record(self, cases: Sequence[ReadyCase]) -> None:
        """Record a chunk under the registry as it is, whose keys count at that time.

        Raises ``OSError`` where the disk is almost full.
        """
        self._check_machine()
        for attempt in range(1, _TRIES + 1):
            registry = self._ledger.adopted()
            guard = Guard(registry.ledger_id, registry.version)
            try:
                stretch = record_cases(
                    self._database,
                    self._party,
                    cases,
                    guard,
                    partial(self._check, cases),
                    partial(self._put_numbers, cases),
                )
            except RegistryMovedError:
                if attempt == _TRIES:
                    raise
                continue
            except KeysReplacedError as error:
                raise ImportConflictError(
                    "the persons' data keys are being replaced, or were meanwhile; nothing of this "
                    "chunk was recorded. Run this again when `keys replace-data-keys` has ended."
                ) from error
            except (UniqueViolation, KnownPersonError) as error:
                raise ImportConflictError(
                    "some of these cases were recorded meanwhile, by an import of the same file "
                    "elsewhere; nothing of this chunk was. Run this again."
                ) from error
            self._first = self._first or stretch.first
            self._last = stretch.last
            self._recorded_now += len(cases)
            return

    def _check_machine(self) -> None:
        """Check disk and clock. Raises ``OSError`` and ``ImportConflictError``."""
        if self._room.look():
            raise OSError(
                "the disk is almost full, so nothing more is imported; what is imported so far "
                "stays. Make space, and run this again."
            )
        if troubles := self._watch.check():
            raise ImportConflictError(troubles[0].message)

    def _check(self, cases: Sequence[ReadyCase], at: datetime) -> None:
        """Check that the decisions and the key hold at the time of recording too."""
        if at < max(case.decided_at for case in cases):
            raise ImportConflictError(
                "this machine's clock went back while cases were prepared, and nothing of this "
                "chunk was recorded. Set the clock right, then run this again."
            )
        # The guard of the registry's version holds an adoption off; time alone it does not.
        if self._ledger.adopted().next_protocol(at) != self._protocol:
            raise ImportConflictError(
                "another version of the protocol is in force by now, and nothing of this chunk was"
                " recorded. Run this again: the remaining rows are judged by it."
            )
        if self._key_now(at).as_dict(private=False) != self._registered.as_dict(private=False):
            raise RuntimeError("a key changed under its own thumbprint")

    def _key_now(self, at: datetime) -> OKPKey:
        """Return the key that signs. Raises ``Refusal`` if it may not, or not its member."""
        registry = self._ledger.adopted()
        found = registry.signing_key(self._key_id, self._order.agency, at)
        member = registry.keys[self._key_id].member
        if member is not None and Members(self._database, {}).disabled_among([member]):
            raise member_disabled()
        return found

    def _work(self, import_id: UUID) -> PreparationJob:
        return PreparationJob(
            settings=self._settings,
            import_id=import_id,
            import_map=self._order.import_map,
            agency=self._order.agency,
            party=self._party,
            private=dict(self._order.private.as_dict(private=True)),
            registered=dict(self._registered.as_dict(private=False)),
            protocol=self._protocol,
            seals=not self._order.dry_run,
        )

    def _batches(self, import_id: UUID, through: int, *, is_new: bool) -> Iterator[_Batch]:
        """Yield the rows after ``through`` in batches, without repeated and recorded rows."""
        for rows in _in_batches(self._distinct(through)):
            good = [r.row for r in rows if r.fault is None and r.no_case is None]
            known = set() if is_new else self._known(import_id, good)
            taken = self._with_taken_number([row for row in good if row.number not in known])
            faults = [(r.row.number, r.fault) for r in rows if r.fault is not None]
            updates = []
            if self._updating is not None:
                updates = [(row, taken[row.number]) for row in good if row.number in taken]
                good = [row for row in good if row.number not in taken]
            elif self._order.skip_known:
                known |= taken.keys()
            else:
                column = self._order.import_map.file_number or ""
                faults += [(number, Fault("number-known", column)) for number in taken]
                good = [row for row in good if row.number not in taken]
            yield _Batch(
                rows=[row for row in good if row.number not in known],
                faults=faults,
                no_cases=[(r.row.number, r.no_case) for r in rows if r.no_case is not None],
                known=len(known),
                updates=updates,
                last=rows[-1].row.number,
                read=sum(r.no_case is None for r in rows),
                bytes_read=rows[-1].bytes_read,
            )

    def _known(self, import_id: UUID, rows: Sequence[ImportRow]) -> set[int]:
        ids = {case_id_of(import_id, row.number): row.number for row in rows}
        with self._database.connection() as connection:
            return {ids[case_id] for case_id in recorded_cases(connection, list(ids))}

    def _with_taken_number(self, rows: Sequence[ImportRow]) -> Mapping[int, UUID]:
        """Return the rows whose file number the agency uses for a case in the vault, and which."""
        numbered = {row.file_number: row.number for row in rows if row.file_number is not None}
        if self._numbers is None or not numbered:
            return {}
        key = self._numbers.tokens_key()
        with self._database.transaction(role=vault_role(self._party)) as connection:
            taken = taken_numbers(connection, self._party, self._order.agency, key, list(numbered))
        return {numbered[number]: case_id for number, case_id in taken.items()}

    def _put_numbers(self, cases: Sequence[ReadyCase], connection: Connection[DictRow]) -> None:
        numbers = [case.file_number for case in cases if case.file_number is not None]
        if self._numbers is not None and numbers:
            key = self._numbers.tokens_key()
            put_numbers(connection, self._party, self._order.agency, key, numbers)

    def _distinct(self, through: int) -> Iterator[ReadRow]:
        seen: set[bytes] = set()
        key = secrets.token_bytes(16)

        def is_new(content: bytes) -> bool:
            mark = blake2b(content, digest_size=16, key=key).digest()
            before = len(seen)
            seen.add(mark)
            return len(seen) > before

        for read in read_rows(self._order.source, self._order.import_map, self._form):
            if read.fault is None and read.no_case is None:
                row = read.row
                content = dumps([row.values, row.file_number], sort_keys=True).encode()
                if not is_new(content):
                    read = replace(read, fault=Fault("duplicate-row"))
                elif row.file_number is not None:
                    read = self._numbered(read, row.file_number, is_new)
            if read.row.number > through:
                yield read

    def _numbered(self, read: ReadRow, told: str, is_new: Callable[[bytes], bool]) -> ReadRow:
        """Return a row with its file number as it is kept, or with what is wrong with it."""
        column = self._order.import_map.file_number or ""
        try:
            number = read_file_number(told)
        except Refusal as refusal:
            return replace(read, fault=Fault(refusal.rule, column))
        if not is_new(number_form(number).encode()):
            return replace(read, fault=Fault("number-again", column))
        return replace(read, row=read.row._replace(file_number=number))

    def _summary(self, mark: ImportProgress) -> Summary:
        positions = self._first, self._last
        return Summary(mark, self._form, self._recorded_now, *positions, tuple(self._changes))


def _in_batches(rows: Iterable[ReadRow]) -> Iterator[list[ReadRow]]:
    batch: list[ReadRow] = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _counted(before: dict[str, int], columns: Sequence[str]) -> dict[str, int]:
    after = dict(before)
    for column in columns:
        after[column] = after.get(column, 0) + 1
    return after


__all__ = ["ImportConflictError", "Importer", "JournalError", "Order", "Progress", "Summary"]
