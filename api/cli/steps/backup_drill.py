"""A drill with a backup: restore it beside the node, verify all of it, and count what it lacks.

A backup counts only if a restored copy holds. The drill compares the copy with what others know of
the ledger: the running node, the witnesses, and the mark among the copied keys. It asks them first:
events that are recorded while the copy is restored are no loss.
"""

import hashlib
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import NoReturn

import httpx
import psycopg
from psycopg.rows import dict_row
from psycopg.sql import SQL, Identifier
from pydantic import SecretStr

from api.background_jobs.vault_checker import vault_check
from api.cli.steps.restored_server import Backup, BackupError, programs_of, restored
from api.cli.steps.verification_reports import ledger_report
from api.client.bounded_answers import bounded_client
from api.continuity.history_guard import mark_file
from api.continuity.key_faults import find
from api.exchange.witness_clients import HttpWitness
from api.keys.country_keys import country_keys, person_keys
from api.keys.log_keys import own_parties, trusted_policy
from api.node.agreed_protocol import with_agreed_protocol
from api.runtime.document_store import document_chunks
from api.runtime.node_database import check_migrated
from api.runtime.settings import Settings
from ledger.application import Ledger, environment
from ledger.log.checkpoint import Checkpoint
from ledger.log.note import Note, NoteError, verify
from ledger.log.policy import Policy
from ledger.refusals import OperatorError
from ledger.replication.history_mark import MarkError, Reached
from ledger.replication.outbox import Outbox
from ledger.signing.country_key import SealError
from ledger.store.database import Database
from ledger.store.migrate import vault_schema
from ledger.system import clock
from ledger.vault.data_keys import DataKeys
from ledger.vault.field_encryption import unseal
from ledger.vault.vault import Vaults
from ledger.vocabulary.action import LedgerModel

LAST_DRILL = "last-drill.json"
"""The file in the backup's directory with the result of the last drill."""
FIELDS = 50
"""The newest fields of each vault that a drill opens."""
_READY_BYTES = 1024 * 1024
_MEMORY = Path("/dev/shm")  # noqa: S108  # a directory of this process alone is made in it


class DrillStep(LedgerModel):
    """One thing that a drill tried with the restored copy."""

    name: str
    holds: bool
    what: str
    """The finding, for people."""


class KnownSize(LedgerModel):
    """The size of the ledger by a source outside the backup."""

    source: str
    """``node``, ``mark``, or the name of a witness."""
    size: int
    agrees: bool | None
    """True if the restored events are those of the source; ``None`` if there are too few."""


class DrillReport(LedgerModel):
    """The result of a drill."""

    holds: bool
    """True if the backup restores, verifies, opens, and lacks nothing that a source knows."""
    began_at: datetime
    seconds: float
    """The time from the beginning of the restoring to the last comparison."""
    base: str | None
    """The directory of the base backup; ``None`` for a server that another program restored."""
    base_began_at: datetime | None
    events: int
    """The number of events in the restored copy."""
    root: str | None
    last_recorded_at: datetime | None
    """The time of recording of the last restored event: later events are lost."""
    fields_opened: int
    known: tuple[KnownSize, ...]
    lost_events: int
    """The number of events that a source knows and the copy lacks."""
    persons_without_key: int
    """Persons with disclosures in the copy that no copied key opens."""
    steps: tuple[DrillStep, ...]


@dataclass(frozen=True, slots=True)
class KnownHead:
    """The head of the ledger by a source outside the backup."""

    source: str
    size: int
    root: bytes | None = None


_STOPPING = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def cleaned_up_when_stopped() -> Iterator[None]:
    """Make SIGTERM and SIGHUP an ordinary exit, as SIGINT is one.

    By themselves they end the process at once, and leave the restored server running, and the
    copy of the keys where it is. A further signal changes nothing: the cleaning goes on.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread sets handlers
        return

    def stop(number: int, _frame: FrameType | None) -> NoReturn:
        for one in _STOPPING:
            signal.signal(one, signal.SIG_IGN)
        raise SystemExit(128 + number)

    before = {one: signal.signal(one, stop) for one in _STOPPING}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


@contextmanager
def copied_keys(settings: Settings, keys: Path) -> Iterator[Settings]:
    """Give the node's settings with a copy of the copied keys, in memory where there is room.

    The drill may write beside keys, and the backup stays as it is. Raises ``OperatorError``.
    """
    if not keys.is_dir():
        raise OperatorError(f"{keys} is no directory: name the copy of the node's keys, --keys")
    memory = _MEMORY if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > 2**30 else None
    with TemporaryDirectory(prefix="case-ledger-drill-keys-", dir=memory) as name:
        shutil.copytree(keys, Path(name) / "keys")
        changed = {"data_directory": Path(name), "disk_directories": ()}
        if settings.person_keys is not None:
            shutil.copytree(settings.person_keys, Path(name) / "person-keys")
            changed["person_keys"] = Path(name) / "person-keys"
        yield settings.model_copy(update=changed)


def drilled(
    settings: Settings,
    keys: Path,
    url: str,
    *,
    backup: Backup | None,
    programs: Path | None,
    conninfo: str | None,
    database: str,
    superuser: str,
    scratch: Path | None,
) -> DrillReport:
    """Restore a backup, or take the server at ``conninfo`` that holds one, and try all of it.

    Raises ``OperatorError`` if it cannot be tried.
    """
    began, since = clock.now(), time.monotonic()
    with cleaned_up_when_stopped(), copied_keys(settings, keys) as copied:
        known = asked_before(copied, url)
        if backup is None:
            drill = Drill(with_restored(copied, conninfo or ""), conninfo or "")
            drill.run(known)
            return drill.report(None, began, since)
        place = programs_of(backup.version, programs)
        try:
            with restored(backup, place, superuser=superuser, scratch=scratch) as server:
                there = server.conninfo(database)
                drill = Drill(with_restored(copied, there), there)
                drill.run(known)
        except BackupError as error:
            drill = Drill(copied, "")
            drill.steps.append(DrillStep(name="restored", holds=False, what=str(error)))
            drill.known = tuple(
                KnownSize(source=one.source, size=one.size, agrees=None) for one in known
            )
        else:
            what = "the base starts, and the WAL after it is replayed to its end"
            drill.steps.insert(0, DrillStep(name="restored", holds=True, what=what))
        return drill.report(backup, began, since)


def asked_before(settings: Settings, url: str) -> tuple[KnownHead, ...]:
    """Return what the node, its witnesses and the mark know of the ledger, before the restoring.

    A node or a witness that does not answer is left out: it may be lost.
    """
    found: list[KnownHead] = []
    try:
        policy: Policy | None = trusted_policy(settings)
    except (ValueError, OSError):
        policy = None  # a key is missing in the copy: a step tells
    client = bounded_client(timeout=5, limit=_READY_BYTES, seconds=10)
    with suppress(httpx.TransportError, ValueError, LookupError, TypeError), client as http:
        found.append(KnownHead("node", int(http.get(f"{url}/ready").json()["head"])))
        policy = Policy.parse(http.get(f"{url}/log/policy").text)
    if policy is not None:
        found += witness_heads(policy, settings.origin)
    try:
        mark = mark_file(settings).read()
    except MarkError as error:
        raise OperatorError(str(error)) from error
    if mark is not None:
        found.append(KnownHead("mark", mark.reached.size, bytes.fromhex(mark.reached.root)))
    return tuple(found)


def witness_heads(policy: Policy, origin: str) -> list[KnownHead]:
    """Return the size and root of the last checkpoint that each reachable witness cosigned."""
    found = []
    origin_hash = hashlib.sha256(origin.encode()).hexdigest()
    for name, trusted in policy.witnesses.items():
        if trusted.url is None:
            continue
        witness = HttpWitness(trusted.url)
        try:
            text = witness.latest(origin_hash)
            note = Note.parse(text) if text is not None else None
            if note is not None and verify(note, (trusted.key,)):
                head = Checkpoint.parse(note.text)
                found.append(KnownHead(name, head.size, head.root))
        except (ConnectionError, NoteError):
            continue  # it is away, or it is not the witness that the policy trusts
        finally:
            witness.close()
    return found


@dataclass
class Drill:
    """The steps of a drill on one restored database, and what they found."""

    settings: Settings
    conninfo: str
    steps: list[DrillStep] = field(default_factory=list)
    events: int = 0
    root: bytes | None = None
    last_recorded_at: datetime | None = None
    opened: int = 0
    persons_without_key: int = 0
    known: tuple[KnownSize, ...] = ()

    def run(self, known: Sequence[KnownHead]) -> None:
        """Take every step; a step that fails does not stop the next ones."""
        self._step("schema", self._check_schema)
        self._step("ledger", self._verify)
        self._step("keys", self._check_keys)
        self._step("vaults", self._check_vaults)
        self._step("fields", self._open_fields)
        self._step("complete", lambda: self._compare(known))

    def report(self, backup: Backup | None, began: datetime, since: float) -> DrillReport:
        """Return the result. ``since`` is by ``time.monotonic()``."""
        lost = max((one.size for one in self.known), default=0) - self.events
        return DrillReport(
            holds=all(step.holds for step in self.steps),
            began_at=began,
            seconds=round(time.monotonic() - since, 1),
            base=str(backup.base) if backup is not None else None,
            base_began_at=backup.began_at if backup is not None else None,
            events=self.events,
            root=self.root.hex() if self.root is not None else None,
            last_recorded_at=self.last_recorded_at,
            fields_opened=self.opened,
            known=self.known,
            lost_events=max(0, lost),
            persons_without_key=self.persons_without_key,
            steps=tuple(self.steps),
        )

    def _step(self, name: str, take: Callable[[], tuple[bool, str]]) -> None:
        try:
            holds, what = take()
        except (OperatorError, ValueError, OSError, SealError, psycopg.Error) as error:
            # The message of a database may hold a value; its class does not.
            said = type(error).__name__ if isinstance(error, psycopg.Error) else str(error)
            holds, what = False, said
        self.steps.append(DrillStep(name=name, holds=holds, what=what))

    def _check_schema(self) -> tuple[bool, str]:
        self.settings = with_agreed_protocol(self.settings, self.conninfo)
        check_migrated(self.conninfo, self.settings.load_protocol().every_party_code)
        return True, "the tables and roles are those of this program"

    def _verify(self) -> tuple[bool, str]:
        with psycopg.connect(self.conninfo) as connection:
            last = connection.execute(
                "SELECT count(*), max(recorded_at) FROM ledger.events"
            ).fetchone()
            self.events, self.last_recorded_at = last if last is not None else (0, None)
        report = ledger_report(
            self.conninfo, self.settings, trusted_policy(self.settings), (), as_json=True
        )
        self.events, self.root = report.events, report.root
        if report.findings:
            return False, "; ".join(str(finding.what) for finding in report.findings[:3])
        return report.holds, f"{report.events} events verify, {report.covered} by a checkpoint"

    def _check_keys(self) -> tuple[bool, str]:
        mark = mark_file(self.settings).read()
        with Database(self.conninfo) as database:
            faults = find(
                self.settings.key_directory, mark, Vaults(database, dict(self._data_keys()))
            )
        self.persons_without_key = sum(map(len, faults.missing.values()))
        wrong = []
        if faults.gone or faults.changed:
            wrong.append(
                "missing or other key files: " + ", ".join((*faults.gone, *faults.changed))
            )
        if self.persons_without_key:
            wrong.append(f"the data keys of {self.persons_without_key} persons are not in the copy")
        if faults.returned:
            count = sum(map(len, faults.returned.values()))
            wrong.append(f"the data keys of {count} erased persons are in the copy")
        return not wrong, "; ".join(wrong) or f"{len(faults.there)} files of keys are there"

    def _check_vaults(self) -> tuple[bool, str]:
        wrong, actions = [], 0
        with Ledger(environment(self.conninfo)) as ledger, Database(self.conninfo) as database:
            registry = ledger.adopted()
            protocol = registry.protocol_today(clock.now())
            chunks = document_chunks(self.settings)
            for party, keys in self._data_keys():
                outbox = Outbox(database)
                check = vault_check(ledger, database, outbox, party, keys, chunks(party))
                found = list(check.findings(registry.directory, protocol))
                wrong += [f"{party}: {len(found)} disclosures do not hold"] if found else []
                actions += 1
        return not wrong, "; ".join(wrong) or f"{actions} vaults are as their inventories say"

    def _open_fields(self) -> tuple[bool, str]:
        """Open the newest sealed fields of each vault. Nothing of them is shown or kept."""
        closed = 0
        for party, keys in self._data_keys():
            with psycopg.connect(self.conninfo, row_factory=dict_row) as connection:
                rows = connection.execute(
                    SQL(
                        "SELECT case_id, action_id, digest, field, sealed FROM {}.disclosures"
                        " WHERE sealed IS NOT NULL ORDER BY received_at DESC LIMIT %s"
                    ).format(Identifier(vault_schema(party))),
                    (FIELDS,),
                ).fetchall()
            for row in rows:
                data_key = keys.get(row["case_id"])
                if data_key is None or not _opens(data_key, row):
                    closed += 1
                else:
                    self.opened += 1
        if closed:
            return False, f"{closed} of the newest {closed + self.opened} sealed fields do not open"
        if not self.opened:
            return True, "the vaults hold no sealed field yet"
        return True, f"the newest {self.opened} sealed fields open"

    def _compare(self, known: Sequence[KnownHead]) -> tuple[bool, str]:
        with Ledger(environment(self.conninfo)) as ledger:
            tree = ledger.tree()

            def agrees(one: KnownHead) -> bool | None:
                if one.root is None or one.size > tree.size:
                    return None
                return Reached(size=one.size, root=one.root.hex()).is_in(tree)

            self.known = tuple(
                KnownSize(source=one.source, size=one.size, agrees=agrees(one)) for one in known
            )
        if not self.known:
            return False, (
                "neither the node, nor a witness, nor the mark among the keys says how many events"
                " there were: nothing tells that the backup is complete"
            )
        if others := [one.source for one in self.known if one.agrees is False]:
            return False, "other events than those of " + ", ".join(others)
        most = max(self.known, key=lambda one: one.size)
        if most.size > self.events:
            return False, (
                f"{most.size - self.events} events are lost: {self.events} are restored, and"
                f" {most.source} has {most.size}"
            )
        return True, f"no event is lost, by {', '.join(one.source for one in self.known)}"

    def _data_keys(self) -> Iterator[tuple[str, DataKeys]]:
        """Yield the data keys of each vault here. Raises ``OperatorError`` if a key is missing."""
        parties = own_parties(self.settings)
        for party in parties:
            if not any(self.settings.key_directory.glob(f"country-{party.lower()}*.jwe")):
                raise OperatorError(f"country-{party.lower()}.jwe is not in the copy of the keys")
        keys = country_keys(self.settings, parties)
        yield from person_keys(self.settings, keys).items()


def _opens(data_key: bytes, row: dict[str, object]) -> bool:
    place = {name: row[name] for name in ("case_id", "action_id", "digest", "field")}
    try:
        unseal(data_key, bytes(row["sealed"]), **place)  # type: ignore[arg-type, call-overload]
    except SealError:
        return False
    return True


def keep_last(report: DrillReport, directory: Path | None) -> None:
    """Keep the result beside the backup for ``doctor``, if this user may write there."""
    if directory is not None:
        with suppress(OSError):
            (directory / LAST_DRILL).write_text(report.model_dump_json(indent=1), encoding="utf-8")


def with_restored(settings: Settings, conninfo: str) -> Settings:
    """Return the settings of a node over a restored database."""
    return settings.model_copy(
        update={"database_url": SecretStr(conninfo), "owner_database_url": None}
    )
