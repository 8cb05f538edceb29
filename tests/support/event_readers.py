"""Every reader of recorded events, each telling the same facts in the same form."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import psycopg
from pyarrow import parquet  # type: ignore[import-untyped]

from ledger.events.event import ActionRecorded
from ledger.store.datastore import LedgerDatastore
from ledger.store.event_rows import RecordedRow
from ledger.verification.revalidation import RowReader, inspect
from ledger.vocabulary.types import format_utc
from projections.columnar.parquet_export import export
from projections.columnar.snapshot_sources import database_source
from projections.folds.case_folder import Folder
from projections.tables.all_views import VIEWS
from projections.tables.view import PROJECTOR_ROLE, EventHistory
from projections.time.event_sources import DatabaseEvents
from projections.upkeep.rebuild import rebuild_views
from tests.support.auditor import auditor_names
from tests.support.views import rows_of

ROOT = Path(__file__).parents[2]
HAS_NODE = (
    shutil.which("node") is not None or os.environ.get("CASE_LEDGER_TEST_CROSSCHECK") == "required"
)


class Fact(NamedTuple):
    """The fields of an event that every reader gives."""

    kind: str
    agency: str
    key_id: str
    case: str | None
    action_id: str
    acted_at: str
    signed_at: int


Facts = dict[int, Fact]
"""By position."""


def rows_from(entries: Sequence[bytes]) -> list[RecordedRow]:
    """Rows made of events' bytes alone."""
    reader = RowReader()
    return [reader.row(position, state) for position, state in enumerate(entries, 1)]


def entries_of(database: str) -> list[bytes]:
    """Every event's bytes, by position."""
    with psycopg.connect(database) as connection:
        found = connection.execute("SELECT state FROM ledger.events ORDER BY notification_id")
        return [bytes(state) for (state,) in found.fetchall()]


def follow_views(database: str) -> None:
    """Follow into every live view, to the end."""
    datastore = LedgerDatastore(database, pool_size=3, role=PROJECTOR_ROLE)
    try:
        for view_class in VIEWS.values():
            view, history = view_class(datastore), EventHistory(datastore)
            folder, position = Folder(history), view.position()
            while position < history.head():
                view.record(folder.steps(history.page(position, 40)))
                position = view.position()
    finally:
        datastore.close()


def by_definition(entries: Sequence[bytes]) -> Facts:
    """The one definition, from bytes alone."""
    return _of_events(row.event() for row in rows_from(entries))


def by_verification(entries: Sequence[bytes]) -> Facts:
    found: Facts = {}
    for row in rows_from(entries):
        action = inspect(row).action
        event = ActionRecorded(row.originator_id, row.version, action, row.position)
        found |= _of_events([event])
    return found


def by_replay(database: str) -> Facts:
    return _of_events(DatabaseEvents(database).events())


def by_views(database: str) -> Facts:
    """The audit trail, which the views' follower wrote."""
    follow_views(database)
    return _trail(database)


def by_rebuild(database: str) -> Facts:
    rebuild_views(database, processes=0)
    return _trail(database)


def by_columns(database: str) -> Facts:
    """The columnar export."""
    found: Facts = {}
    with tempfile.TemporaryDirectory() as directory, database_source(database) as source:
        manifest = export(source, Path(directory))
        for file in manifest.files:
            if not file.table.startswith("events/"):
                continue
            for row in parquet.read_table(Path(directory) / file.path).to_pylist():
                found[row["position"]] = Fact(
                    row["kind"],
                    row["agency"],
                    row["signing_key"],
                    row["case_id"],
                    row["action_id"],
                    format_utc(row["acted_at"]),
                    _seconds(row["signed_at"]),
                )
    return dict(sorted(found.items()))


def by_auditor(entries: Sequence[bytes]) -> Facts:
    """The script that auditors are given. Raises where it refuses an event."""
    script = auditor_names()
    found: Facts = {}
    for position, state in enumerate(entries, 1):
        event = script["event_of"](state)
        found[position] = Fact(
            event.kind,
            event.agency,
            event.key_id,
            event.case,
            event.action_id,
            event.acted_at,
            event.signed_at,
        )
    return found


_BROWSER = """
import { createInterface } from "node:readline";
const { readEvent } = await import(process.argv[2]);
for await (const line of createInterface({ input: process.stdin })) {
  const event = readEvent(Buffer.from(line, "base64"));
  console.log(JSON.stringify(event && [[event.kind, event.agency, event.keyId, event.caseId,
    event.id, event.actedAt, event.signedAt], event.canonical]));
}
"""


_SIGNATURES = """
import { createInterface } from "node:readline";
const { eventAt, keysOf, readRegistry, signatureOf } = await import("./static/proven_event.js");
const { withWholeText } = await import("./static/packed_text.js");
const events = [];
for await (const line of createInterface({ input: process.stdin })) {
  events.push(await withWholeText(eventAt(Buffer.from(line, "base64"), events.length + 1)));
}
const keys = await keysOf(readRegistry(events.filter((one) => !one.caseId)));
for (const one of events) console.log(await signatureOf(one, keys));
process.exit(0);
"""


def signatures_by_browser(entries: Sequence[bytes]) -> list[str]:
    """The pages' own code, run in Node: how the signatures of each event of a ledger stand."""
    with tempfile.TemporaryDirectory() as directory:
        static = Path(directory) / "static"
        shutil.copytree(
            ROOT / "api" / "web" / "static",
            static,
            ignore=shutil.ignore_patterns("vendor", "*.png"),
        )
        (Path(directory) / "read.mjs").write_text(_SIGNATURES)
        (Path(directory) / "package.json").write_text('{"type": "module"}')
        made = subprocess.run(
            ["node", str(Path(directory) / "read.mjs")],
            input=b"\n".join(map(base64.b64encode, entries)) + b"\n",
            capture_output=True,
            timeout=120,
        )
    assert not made.returncode, made.stderr.decode()
    return made.stdout.decode().splitlines()


def by_browser(entries: Sequence[bytes]) -> dict[int, tuple[Fact, bool] | None]:
    """The pages' own code, run in Node: facts, and whether it calls the form canonical."""
    with tempfile.TemporaryDirectory() as directory:
        program = Path(directory) / "read.mjs"
        program.write_text(_BROWSER)
        # Node takes a module by its extension or by its package.
        static = Path(directory) / "static"
        static.mkdir()
        for name in ("event.js", "bytes.js"):
            (static / name).write_bytes((ROOT / "api" / "web" / "static" / name).read_bytes())
        (Path(directory) / "package.json").write_text('{"type": "module"}')
        made = subprocess.run(
            ["node", str(program), str(static / "event.js")],
            input=b"\n".join(map(base64.b64encode, entries)) + b"\n",
            capture_output=True,
            check=True,
            timeout=120,
        )
    answers = [json.loads(line) for line in made.stdout.splitlines()]
    assert len(answers) == len(entries)
    return {
        position: answer and (Fact(*answer[0]), answer[1])
        for position, answer in enumerate(answers, 1)
    }


def _of_events(events: Iterable[ActionRecorded]) -> Facts:
    return {
        event.position or 0: Fact(
            event.action.kind,
            event.action.agency,
            event.action.key_id,
            str(event.action.case_id) if event.action.case_id else None,
            str(event.action.id),
            format_utc(event.action.acted_at),
            _seconds(event.action.signed_at),
        )
        for event in events
    }


def _trail(database: str) -> Facts:
    found: Facts = {}
    with psycopg.connect(database) as connection:
        first = connection.execute(
            "SELECT originator_id FROM ledger.events WHERE notification_id = 1"
        ).fetchone()
    ledger_id: UUID | None = first[0] if first else None
    for (row,) in rows_of(database, "audit_trail"):
        entry = row["document"]  # type: ignore[index]
        found[entry["position"]] = Fact(
            entry["kind"],
            entry["agency"],
            entry["key_id"],
            None if entry["case_id"] == str(ledger_id) else entry["case_id"],
            entry["action_id"],
            entry["acted_at"],
            _seconds(datetime.fromisoformat(entry["signed_at"])),
        )
    return dict(sorted(found.items()))


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())
