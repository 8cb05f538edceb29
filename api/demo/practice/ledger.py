"""The practice ledger on this machine: its beginning, kept as a template, and its reset.

The beginning is a database and a directory of keys, made once. A reset copies both. So a reset
takes seconds, and the log and the vaults agree with each other afterwards. The log's key signs
another history after each reset: checkpoints of a practice ledger prove nothing.
"""

import hashlib
import json
import shutil
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Composed, Identifier

from api.demo.begun_ledger import (
    BEFORE,
    Players,
    prepared_ledger,
    register_agencies,
    register_countries,
)
from api.demo.officials import name_case_managers, name_contact_points
from api.demo.practice.runs import Runs
from api.demo.story import STORY, has_story
from api.node.agreed_protocol import recorded_agreement
from api.processes.server import serving
from api.runtime.node_database import create_database
from api.runtime.practice_directory import PracticeError, claim_for_practice
from api.runtime.settings import Settings
from ledger.procedure.amendments import text_of
from ledger.procedure.practice_protocol import is_practice
from ledger.procedure.protocol import Protocol
from ledger.signing import keys
from ledger.system.identifiers import new_id
from ledger.system.version import program_version
from projections.folds.case_view import CaseView

DATABASE = "case_ledger_practice"
BEGINNING = "case_ledger_practice_start"
_KEPT_DAYS = 180
"""The keys of the beginning are valid for a year."""
_GRACE_SECONDS = 2


class PracticeLedger:
    """A practice ledger in a data directory and two databases of its own."""

    def __init__(
        self, settings: Settings, server: str, *, prefix: str = "", with_story: bool = True
    ) -> None:
        """Take the settings of the practice, and the address of a PostgreSQL server.

        ``settings`` have the practice's own data directory and protocol. ``prefix`` begins the
        names of the databases, and ``with_story`` is whether the two cases of the demonstration
        are in it. Raises ``PracticeError`` where a real ledger is.
        """
        self.settings, self._server, self._with_story = settings, server, with_story
        self._database, self._beginning = prefix + DATABASE, prefix + BEGINNING
        self._start = settings.data_directory / "start"
        self._ready = settings.data_directory / "start.json"
        claim_for_practice(settings.data_directory)
        for name in (self._database, self._beginning):
            _check_practice(server, name)

    @property
    def protocol(self) -> Protocol:
        """Return the protocol that is practised."""
        return self.settings.load_protocol()

    @property
    def conninfo(self) -> str:
        """Return the address of the database in use."""
        return make_conninfo(self._server, dbname=self._database)

    @property
    def runs(self) -> Runs:
        """Return the exercises that people began."""
        return Runs(self.conninfo)

    def prepare(self) -> None:
        """Make the beginning if this program has not made it yet, and a ledger if there is none."""
        mark = self._mark()
        if self._read_mark() != mark:
            self._ready.unlink(missing_ok=True)
            self._make_beginning()
            self._ready.write_text(json.dumps({"of": mark, "made": _now().isoformat()}))
            self.reset()
        elif not _exists(self._server, self._database):
            self.reset()

    def reset(self) -> None:
        """Put the ledger back to its beginning. No node may have it open.

        If the process dies in between, the next :meth:`prepare` finds no database and resets it.
        """
        directory = self.settings.key_directory
        create = SQL("CREATE DATABASE {} TEMPLATE {}")
        with psycopg.connect(self._server, autocommit=True) as connection:
            connection.execute(_drop(self._database))
            _copy(self._start, directory)
            connection.execute(
                create.format(Identifier(self._database), Identifier(self._beginning))
            )

    def players(self, url: str) -> Players:
        """Return a client for each agency, with its key. The caller closes them."""
        directory = self.settings.key_directory
        held = {a.id: keys.load(directory / f"{a.id}.jwk") for a in self.protocol.agencies}
        return Players(url, self.protocol, held, self.settings.audience)

    def _make_beginning(self) -> None:
        create_database(self._server, self._beginning, anew=True)
        conninfo = make_conninfo(self._server, dbname=self._beginning)
        directory = self.settings.key_directory
        shutil.rmtree(directory, ignore_errors=True)
        prepared_ledger(conninfo, conninfo, self.protocol, directory)
        Runs(conninfo).create()
        quiet = self.settings.model_copy(update={"host": "127.0.0.1", "port": 0})
        with serving(quiet, conninfo, grace=_GRACE_SECONDS) as url:
            players = self.players(url)
            try:
                held = {a.id: keys.load(directory / f"{a.id}.jwk") for a in self.protocol.agencies}
                register_agencies(players, self.protocol, held)
                register_countries(players, self.protocol, quiet)
                name_contact_points(players, self.protocol, BEFORE)
                if self._with_story and has_story(self.protocol):
                    _tell_story(players, self.protocol)
            finally:
                players.close()
        _copy(directory, self._start)

    def _mark(self) -> str:
        """Return what the beginning depends on."""
        text = f"{program_version()}\n{text_of(self.protocol)}\n{self._with_story}"
        return hashlib.sha256(text.encode()).hexdigest()

    def _read_mark(self) -> str | None:
        """Return of what the beginning was made; ``None`` if there is none of use."""
        try:
            told = json.loads(self._ready.read_text())
            made = datetime.fromisoformat(told["made"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        is_there = self._start.is_dir() and _exists(self._server, self._beginning)
        is_old = _now() - made > timedelta(days=_KEPT_DAYS)
        return None if is_old or not is_there else str(told["of"])


def _tell_story(players: Players, protocol: Protocol) -> None:
    """Record the two cases of the demonstration, to look at."""
    cases: dict[str, UUID] = {}
    versions: dict[str, int] = {}
    ids: dict[str, UUID] = {}
    position = 0
    for step in STORY:
        case = cases.setdefault(step.case, new_id())
        action = step.action(ids)
        receipt = players[step.agency].append(action, case, versions.get(step.case, 0))
        versions[step.case], ids[step.name] = receipt.case_version, receipt.action_id
        position = receipt.position
    told_until = max(step.action(ids).acted_at for step in STORY)
    for case in cases.values():
        view: CaseView = players[STORY[0].agency].case(case, at_least=position).view
        name_case_managers(players, protocol, view, told_until)


def _check_practice(server: str, name: str) -> None:
    """Check that a database is missing, empty, or a practice ledger's. Raises ``PracticeError``."""
    if not _exists(server, name):
        return
    agreement = recorded_agreement(make_conninfo(server, dbname=name))
    if agreement is not None and not is_practice(agreement.protocol_id):
        raise PracticeError(
            f"the database {name} holds the ledger of {agreement.protocol_id}, which is a real"
            " one. A practice ledger is never made beside it: use a server of its own"
        )


def _exists(server: str, name: str) -> bool:
    with psycopg.connect(server, connect_timeout=10, autocommit=True) as connection:
        found = connection.execute("SELECT FROM pg_database WHERE datname = %s", (name,))
        return found.fetchone() is not None


def _drop(name: str) -> Composed:
    return SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name))


def _copy(source: Path, target: Path) -> None:
    """Replace a directory of keys with a copy of another."""
    with suppress(FileNotFoundError):
        shutil.rmtree(target)
    shutil.copytree(source, target)


def _now() -> datetime:
    return datetime.now(UTC)
