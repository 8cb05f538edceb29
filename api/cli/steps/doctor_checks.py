"""Checks of a node and its surroundings, each with what to do about what it finds.

The node's own troubles are what the running node sees. These checks also see what a node that does
not run, or runs with other settings, cannot tell.
"""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import httpx
import psycopg
from psycopg.rows import scalar_row

from api.cli.steps.backup_drill import LAST_DRILL, witness_heads
from api.client.bounded_answers import bounded_client
from api.keys.key_ends import key_troubles
from api.keys.log_keys import own_parties, trusted_policy
from api.node.agreed_protocol import with_agreed_protocol
from api.node.node import own_key_names
from api.runtime.disk import directories, marks
from api.runtime.node_database import StoreError, check_migrated, open_store
from api.runtime.settings import Settings
from ledger.application import Ledger, environment
from ledger.log.policy import Policy
from ledger.procedure.time_zones import zone_name
from ledger.refusals import OperatorError
from ledger.signing.keys import load
from ledger.store.disk import MEBIBYTE, Space
from ledger.system import clock
from ledger.system.version import program_version
from ledger.system.zones import find_zone
from ledger.vocabulary.action import LedgerModel

_ANSWER_BYTES = 4 * 1024 * 1024
_BASE_AGE = timedelta(days=8)
"""The backup service takes a base each week."""
_DRILL_AGE = timedelta(days=45)
_SILENT = timedelta(seconds=60)
_WITNESS_LAG_EVENTS = 1000
_DISK_WARNING = 4
"""A disk with less free space than so many times the low-water mark is soon full."""
_OF_CLIENTS = frozenset({"URL", "AGENCY", "KEY", "LANGUAGE"})
_OF_PROGRAMS = ("TEST_", "PICTURES", "TREE", "BACKUP", "RESTORE_", "KEYS_COPY")
"""Variables of the tests, of compose and of the backup service."""
_OF_FILES = ("PASSWORD_FILE", "COUNTRY_KEY_PASSPHRASE_FILE", "OIDC_CLIENT_SECRET_FILE")
_DURABLE = ("fsync", "full_page_writes", "synchronous_commit")


class State(StrEnum):
    """The result of a check, from the best to the worst."""

    OK = "ok"
    UNKNOWN = "unknown"
    """It could not be checked; the finding says why."""
    WARNING = "warning"
    """All works, and the operator has work to do."""
    BROKEN = "broken"


class Finding(LedgerModel):
    """The result of one check."""

    check: str
    """The name of the check, which stays the same in every version."""
    state: State
    what: str
    do: str | None = None
    """The remedy; ``None`` where there is nothing to do."""


class Examination(LedgerModel):
    """The results of all checks of a node."""

    state: State
    """The worst of all."""
    version: str
    """The version of the program that checked."""
    at: datetime
    findings: tuple[Finding, ...]


@dataclass
class Facts:
    """The answers that several checks look at: each is read once."""

    settings: Settings
    url: str
    environ: Mapping[str, str]
    conninfo: str | None = None
    is_migrated: bool = False
    health: dict[str, Any] | None = None
    ready: dict[str, Any] | None = None
    policy: Policy | None = None
    answered: dict[str, datetime] = field(default_factory=dict)
    """The time that another node named, by its address."""


Answer = Finding | None | Sequence[Finding]


def examine(settings: Settings, url: str, environ: Mapping[str, str] = os.environ) -> Examination:
    """Check a node and its surroundings. Nothing is changed, and no embedded database started."""
    facts = Facts(settings, url, environ)
    found: list[Finding] = []
    for name, check in CHECKS.items():
        try:
            answer = check(facts)
        except Exception as error:
            # One check that fails hides no other. A database's message may hold a value, and a
            # class does not.
            is_own = isinstance(error, OperatorError | ValueError | OSError)
            said = str(error) if is_own else type(error).__name__
            answer = _broken(name, said or type(error).__name__, "see the log of the node")
        found += [answer] if isinstance(answer, Finding) else answer or ()
    return Examination(
        state=max((one.state for one in found), key=tuple(State).index),
        version=program_version(),
        at=clock.now(),
        findings=tuple(found),
    )


def _ok(check: str, what: str) -> Finding:
    return Finding(check=check, state=State.OK, what=what)


def _warn(check: str, what: str, do: str) -> Finding:
    return Finding(check=check, state=State.WARNING, what=what, do=do)


def _broken(check: str, what: str, do: str) -> Finding:
    return Finding(check=check, state=State.BROKEN, what=what, do=do)


def _unknown(check: str, what: str, do: str | None = None) -> Finding:
    return Finding(check=check, state=State.UNKNOWN, what=what, do=do)


def _settings(facts: Facts) -> Finding:
    """Find variables that no part of the program reads: a misspelt one has no effect."""
    known = {name.upper() for name in Settings.model_fields} | _OF_CLIENTS | {*_OF_FILES}
    ours = [name for name in facts.environ if name.startswith("CASE_LEDGER_")]
    short = {name: name.removeprefix("CASE_LEDGER_") for name in ours}
    strange = sorted(
        name for name, own in short.items() if own not in known and not own.startswith(_OF_PROGRAMS)
    )
    if strange:
        return _broken(
            "settings", f"no setting: {', '.join(strange)}", "correct the name, or remove it"
        )
    return _ok("settings", f"{len(ours)} variables are set, and each is one of this program")


def _node(facts: Facts) -> Finding:
    try:
        facts.health = _asked(facts, facts.url, "health")
    except (httpx.TransportError, ValueError) as error:
        return _broken(
            "node",
            f"no node answers at {facts.url} ({type(error).__name__})",
            "start `case-ledger serve`, or name its address with --url",
        )
    own, running = program_version(), str(facts.health.get("version"))
    if running != own:
        return _warn(
            "node",
            f"version {running} runs at {facts.url}, and {own} is installed",
            "start the node again, so that it runs the installed version",
        )
    return _ok("node", f"version {running} runs at {facts.url}")


def _troubles(facts: Facts) -> Answer:
    if facts.health is None:
        return _unknown("troubles", "the node does not answer")
    facts.ready = _asked(facts, facts.url, "ready")
    if "troubles" not in facts.ready:
        rule = str(facts.ready.get("rule", "not-ready"))
        return _broken("troubles", f"{rule}: {facts.ready.get('detail', 'the node is not ready')}",
                       "docs/operations.md, keys and adoption")  # fmt: skip
    found = [
        Finding(
            check=f"trouble {one['rule']}",
            state=State.WARNING if one["effect"] == "warning" else State.BROKEN,
            what=one["message"],
            do="docs/operations.md, troubles",
        )
        for one in facts.ready["troubles"]
    ]
    return found or _ok("troubles", "the node names none")


def _worker(facts: Facts) -> Finding:
    if facts.ready is None or "views" not in facts.ready:
        return _unknown("worker", "the node does not answer")
    said = facts.ready.get("worked_at")
    moment = datetime.fromisoformat(said) if said else None
    if moment is None or clock.now() - moment > _SILENT:
        return _broken(
            "worker",
            f"the worker process said nothing since {moment or 'the start'}",
            'run one process with the role "work" (CASE_LEDGER_ROLES), and look at its log',
        )
    return _ok("worker", "the worker process works")


def _views(facts: Facts) -> Finding:
    if facts.ready is None or "views" not in facts.ready:
        return _unknown("views", "the node does not answer")
    head = int(facts.ready["head"])
    behind = {name: head - at for name, at in facts.ready["views"].items() if at < head}
    if behind:
        told = ", ".join(f"{name} by {lag}" for name, lag in sorted(behind.items()))
        return _warn(
            "views",
            f"views are behind the last event: {told} events",
            "wait a minute and look again; if they stay behind, `case-ledger rebuild VIEW`",
        )
    return _ok("views", f"all views are at position {head}")


def _database(facts: Facts) -> Finding:
    if facts.settings.database_url is None:
        place = facts.settings.data_directory / "postgresql" / "postmaster.pid"
        if not place.exists():
            return _broken(
                "database",
                "the private PostgreSQL does not run",
                "start the node, or name a database in CASE_LEDGER_DATABASE_URL",
            )
    with open_store(facts.settings, watch=False) as store:
        conninfo = store.conninfo
        with psycopg.connect(conninfo, connect_timeout=5) as connection:
            version = connection.info.server_version
    facts.conninfo = conninfo
    return _ok("database", f"PostgreSQL {version // 10_000}.{version % 10_000} answers")


def _schema(facts: Facts) -> Finding:
    if facts.conninfo is None:
        return _unknown("schema", "the database does not answer")
    try:
        facts.settings = with_agreed_protocol(facts.settings, facts.conninfo)
        check_migrated(facts.conninfo, facts.settings.load_protocol().every_party_code)
    except StoreError as error:
        return _broken("schema", str(error), "run `case-ledger migrate` as the database's owner")
    facts.is_migrated = True
    return _ok("schema", "the tables and roles are those of this program")


def _durability(facts: Facts) -> Finding:
    if facts.conninfo is None:
        return _unknown("durability", "the database does not answer")
    off = [name for name in _DURABLE if _shown(facts, name) in ("off", "local")]
    if off:
        return _broken(
            "durability",
            f"PostgreSQL acknowledges what it may lose: {', '.join(off)} is not on",
            "set them on, reload PostgreSQL, and compare the ledger with the other parties",
        )
    return _ok("durability", ", ".join(_DURABLE) + " are on")


def _standby(facts: Facts) -> Finding:
    if facts.conninfo is None:
        return _unknown("standby", "the database does not answer")
    names = _shown(facts, "synchronous_standby_names")
    if not names:
        return _warn(
            "standby",
            "an acknowledged event is on one machine alone",
            "set up the backup service or a synchronous standby (docs/operations.md, backup)",
        )
    if not _value(facts, "SELECT count(*) FROM pg_stat_replication"):
        return _broken(
            "standby",
            f"appends wait: nothing of synchronous_standby_names ({names}) is connected",
            "start the backup service or the standby, and look at its log",
        )
    return _ok("standby", f"an acknowledged event is on two machines ({names})")


def _clock(facts: Facts) -> Finding:
    tolerance = timedelta(seconds=facts.settings.clock_tolerance_seconds)
    others = dict(facts.answered)
    if facts.conninfo is not None:
        others["the database"] = _value(facts, "SELECT clock_timestamp()")
    if facts.settings.ledger_url is not None:
        try:
            _asked(facts, facts.settings.ledger_url.rstrip("/"), "health")
            others = {**others, **facts.answered}
        except (httpx.TransportError, ValueError):
            pass  # the check of the ledger node tells
    now = clock.now()
    # ``Date`` has whole seconds.
    late = {
        n: abs(now - t)
        for n, t in others.items()
        if abs(now - t) > tolerance + timedelta(seconds=1)
    }
    if late:
        told = ", ".join(
            f"{name} by {gap.total_seconds():.0f} seconds" for name, gap in late.items()
        )
        return _broken("clock", f"this clock differs from {told}", "set the clocks right (NTP)")
    if not others:
        return _unknown("clock", "no other clock answers")
    return _ok("clock", f"this clock agrees with {len(others)} others")


def _time_zones(facts: Facts) -> Finding:
    protocol = facts.settings.load_protocol()
    names = {one: zone_name(protocol, one) for one in sorted(protocol.every_party_code)}
    lacking = sorted(
        zone for zone in names.values() if zone is not None and find_zone(zone) is None
    )
    if lacking:
        return _broken(
            "time-zones",
            f"this machine lacks {', '.join(lacking)}, and counts days there by UTC",
            "install or update tzdata, and start the node again",
        )
    told = ", ".join(f"{party} {zone or 'UTC'}" for party, zone in names.items())
    return _ok("time-zones", f"this machine's zone is {time.tzname[0]}; {told}")


def _disk(facts: Facts) -> Finding:
    kept = marks(facts.settings)
    places = directories(facts.settings)
    if facts.settings.backup_directory is not None:
        places["the backup directory"] = facts.settings.backup_directory
    spaces = {name: Space.of(path) for name, path in places.items()}
    told = ", ".join(f"{n} {s.free_bytes // MEBIBYTE} MiB" for n, s in spaces.items())
    if low := [name for name, space in spaces.items() if kept.is_low(space)]:
        return _broken(
            "disk", f"nothing is recorded: {', '.join(low)} is almost full ({told})", "make space"
        )
    if [s for s in spaces.values() if s.free_bytes < _DISK_WARNING * kept.low(s)]:
        return _warn("disk", f"a disk is soon full: {told}", "make space")
    return _ok("disk", f"free: {told}")


def _keys(facts: Facts) -> Answer:
    directory = facts.settings.key_directory
    needed = own_key_names(facts.settings, leads=facts.settings.ledger_url is None)
    gone = [
        n for n in needed if not any((directory / f"{n}.{end}").exists() for end in ("jwk", "jwe"))
    ]
    if gone:
        return _broken(
            "keys",
            f"not in {directory}: {', '.join(gone)}",
            "put the files back from their copy; a new node makes them at its first start",
        )
    damaged = []
    for path in sorted(directory.glob("*.jwk")):
        try:
            load(path)
        except (ValueError, OSError):
            damaged.append(path.name)
    if damaged:
        return _broken(
            "keys", f"cannot be read: {', '.join(damaged)}", "put them back from their copy"
        )
    files = [*directory.glob("*.jwk"), *directory.glob("*.jwe"), directory / "passphrase"]
    if open_files := sorted(p.name for p in files if p.exists() and p.stat().st_mode & 0o077):
        return _broken(
            "keys", f"others may read {', '.join(open_files)}", "chmod 600, and replace these keys"
        )
    if (directory / "passphrase").exists():
        return _warn(
            "keys",
            "the passphrase of the countries' keys lies beside them",
            "set CASE_LEDGER_COUNTRY_KEY_PASSPHRASE (docs/operations.md, the country's key)",
        )
    return _ok("keys", f"{len(needed)} keys of the node are there")


def _key_ends(facts: Facts) -> Answer:
    if facts.conninfo is None or not facts.is_migrated:
        return _unknown("key-ends", "the database does not answer, or is not migrated")
    with Ledger(environment(facts.conninfo)) as ledger:
        registry = ledger.registry()
    found = key_troubles(registry, own_parties(facts.settings), facts.settings)
    if found:
        return [
            _warn("key-ends", one.message, "docs/key-loss.md, an agency's key") for one in found
        ]
    return _ok("key-ends", "no key and no certificate ends within 90 days")


def _witnesses(facts: Facts) -> Finding:
    try:
        facts.policy = trusted_policy(facts.settings)
    except (ValueError, OSError) as error:
        return _broken(
            "witnesses", f"no policy: {error}", "docs/operations.md, checkpoints and witnesses"
        )
    elsewhere = {n: w for n, w in facts.policy.witnesses.items() if w.url is not None}
    if not elsewhere:
        return _warn(
            "witnesses",
            "every witness is in this node, which protects against nothing",
            "let each country's node be its witness (docs/operations.md, countries' nodes)",
        )
    heads = witness_heads(facts.policy, facts.settings.origin)
    sizes = {head.source: head.size for head in heads}
    away = sorted(elsewhere.keys() - sizes.keys())
    published = int((facts.ready or {}).get("published", 0))
    behind = sorted(n for n, size in sizes.items() if size < published - _WITNESS_LAG_EVENTS)
    told = ", ".join(f"{name} {size}" for name, size in sorted(sizes.items()))
    if away or behind:
        return _warn(
            "witnesses",
            f"away: {', '.join(away) or 'none'}; far behind: {', '.join(behind) or 'none'}",
            "ask the operators of these countries' nodes",
        )
    return _ok("witnesses", f"sizes that the witnesses hold: {told}")


def _ledger_node(facts: Facts) -> Finding | None:
    if facts.settings.ledger_url is None:
        return None
    following = (facts.ready or {}).get("following") or {}
    if not following:
        return _unknown("ledger-node", "this node does not say how it follows")
    if not following["reachable"]:
        return _broken(
            "ledger-node",
            f"{facts.settings.ledger_url} does not answer since {following['heard_at']}",
            "see the way to it, then ask its operator",
        )
    waiting = int(following["waiting"])
    if waiting:
        return _warn("ledger-node", f"{waiting} actions wait for their outcome",
                     "docs/operations.md, actions that wait")  # fmt: skip
    return _ok("ledger-node", f"{facts.settings.ledger_url} answers, and no action waits")


def _backup(facts: Facts) -> Finding:
    directory = facts.settings.backup_directory
    if directory is None:
        return _unknown(
            "backup",
            "the age of the backup is not known here",
            "name its directory, CASE_LEDGER_BACKUP_DIRECTORY, or run doctor on its machine",
        )
    bases = [p for p in sorted(directory.glob("base-*")) if p.suffix != ".part"]
    if not bases:
        return _broken("backup", f"{directory} has no base backup", "start the backup service")
    age = clock.now() - _modified(bases[-1] / "backup_manifest")
    if age > _BASE_AGE:
        return _broken(
            "backup",
            f"the newest base backup is {age.days} days old",
            "look at the log of the backup service, and run `case-ledger-backup base`",
        )
    if not any((directory / "wal").glob("*.partial")):
        return _broken(
            "backup", f"no WAL is received in {directory / 'wal'}", "start the backup service"
        )
    return _ok("backup", f"the newest base backup is {age.days} days old, and WAL is received")


def _drill(facts: Facts) -> Finding:
    directory = facts.settings.backup_directory
    if directory is None:
        return _unknown("drill", "whether the backup was tried is not known here")
    file = directory / LAST_DRILL
    if not file.exists():
        return _warn("drill", "the backup was never tried", "run `case-ledger backup drill`")
    last = json.loads(file.read_text(encoding="utf-8"))
    age = clock.now() - datetime.fromisoformat(last["began_at"])
    if not last["holds"]:
        return _broken("drill", f"the last drill failed, {age.days} days ago",
                       "run `case-ledger backup drill`, and do what it says")  # fmt: skip
    if age > _DRILL_AGE:
        return _warn("drill", f"the backup was last tried {age.days} days ago",
                     "run `case-ledger backup drill`")  # fmt: skip
    return _ok("drill", f"the backup held when it was tried, {age.days} days ago")


CHECKS: Mapping[str, Callable[[Facts], Answer]] = {
    "settings": _settings,
    "node": _node,
    "database": _database,
    "schema": _schema,
    "troubles": _troubles,
    "worker": _worker,
    "views": _views,
    "ledger-node": _ledger_node,
    "witnesses": _witnesses,
    "durability": _durability,
    "standby": _standby,
    "backup": _backup,
    "drill": _drill,
    "keys": _keys,
    "key-ends": _key_ends,
    "disk": _disk,
    "clock": _clock,
    "time-zones": _time_zones,
}
"""Each check by its name, in the order in which it is made and shown."""


def _asked(facts: Facts, url: str, path: str) -> dict[str, Any]:
    """Return the JSON object that a node answers with, and keep the time that it names."""
    with bounded_client(timeout=5, limit=_ANSWER_BYTES, seconds=15) as http:
        answer = http.get(f"{url}/{path}")
    if date := answer.headers.get("date"):
        facts.answered[url] = parsedate_to_datetime(date)
    found = answer.json()
    if not isinstance(found, dict):
        raise ValueError(f"{url}/{path} is no node's answer")
    return found


def _value(facts: Facts, statement: str) -> Any:
    with (
        psycopg.connect(str(facts.conninfo), connect_timeout=5) as connection,
        connection.cursor(row_factory=scalar_row) as cursor,
    ):
        return cursor.execute(statement).fetchone()


def _shown(facts: Facts, name: str) -> str:
    return str(_value(facts, f"SELECT current_setting('{name}')"))


def _modified(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)
