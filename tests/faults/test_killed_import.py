"""`case-ledger import` killed at any moment: nothing is half-written, and it goes on."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import psycopg

from tests.support.command_line import CommandLine
from tests.support.databases import new_database
from tests.support.htcds import rows, write_csv, write_map
from tests.support.process import PROGRAM
from tests.support.waiting import until

KILLS = int(os.environ.get("CASE_LEDGER_TEST_KILLS", "1")) // 2 + 1
ROWS = 450
COORDINATORS = ("xk-nac", "me-nac", "al-nac")

# What would be half of something: an action without its disclosures or disclosures without their
# action, and a case that has not all of its row's actions (every row has at least two).
HALVES = """
SELECT (SELECT count(*) FROM vault_xk.disclosures d
        WHERE NOT EXISTS (SELECT FROM ledger.events e WHERE e.action_id = d.action_id)),
       (SELECT count(*) FROM ledger.events e WHERE e.topic = 'victim_identified'
        AND NOT EXISTS (SELECT FROM vault_xk.disclosures d WHERE d.action_id = e.action_id)),
       (SELECT count(*) FROM ledger.events o WHERE o.topic = 'case_opened' AND NOT EXISTS (
        SELECT FROM ledger.events e WHERE e.originator_id = o.originator_id
        AND e.topic = 'victim_identified'))
"""


def one(conninfo: str, statement: str) -> tuple[int, ...]:
    with psycopg.connect(conninfo) as connection:
        row = connection.execute(statement).fetchone()  # type: ignore[arg-type]
    assert row is not None
    return tuple(row)


def cases(conninfo: str) -> int:
    return one(conninfo, "SELECT count(*) FROM ledger.events WHERE topic = 'case_opened'")[0]


def children(pid: int) -> set[int]:
    """The processes that a process started."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, ValueError):
            continue
        if parent == pid:
            found.add(int(stat.parent.name))
    return found


def test_a_killed_import_leaves_nothing_half_written_and_goes_on(
    server: str, directory: Path
) -> None:
    source = write_csv(directory / "cases.csv", rows(ROWS, seed=20))
    names = write_map(directory / "map.toml")
    with new_database(server) as url:
        cli = CommandLine(directory, {"CASE_LEDGER_DATABASE_URL": url})
        cli.json("migrate")
        public = {a: cli.json("keys", "new", a)["public"] for a in COORDINATORS}
        others = [w for a in COORDINATORS[1:] for w in ("--coordinator", f"{a}={public[a]}")]
        cli.json("adopt", "--as", "xk-nac", *others)
        words = ("import", str(source), "-a", "xk-nac", "--map", str(names), "--chunk", "300")
        dice, started, killed = random.Random(20), 0, 0
        while killed < KILLS:
            process = subprocess.Popen(
                [PROGRAM, *words],
                env=cli.env,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            until(
                lambda p=process, n=started: cases(url) != n or p.poll() is not None,  # type: ignore[misc]
                every=0.01,
            )
            time.sleep(dice.random() * 0.3)
            # While it stands still it starts no further worker.
            process.send_signal(signal.SIGSTOP)
            workers = children(process.pid)
            process.send_signal(signal.SIGKILL)
            was_done = process.wait() == 0
            assert one(url, HALVES) == (0, 0, 0)
            # Its workers end by themselves, once what they were writing is written.
            until(lambda of=workers: not any(Path(f"/proc/{one}").exists() for one in of))  # type: ignore[misc]
            started = cases(url)
            assert started > 0
            assert one(url, HALVES) == (0, 0, 0)
            if was_done:
                break  # before it was killed
            killed += 1
        assert killed
        done = cli.json(*words)
        assert (done["rows"], done["recorded"], done["refused"]) == (ROWS, ROWS, 0)
        assert done["recorded_now"] == ROWS - started
        assert cases(url) == ROWS
        assert one(url, HALVES) == (0, 0, 0)
        assert one(
            url,
            "SELECT count(*) - count(DISTINCT (action_id, digest)), count(DISTINCT case_id)"
            " FROM vault_xk.disclosures",
        ) == (0, ROWS)
        cli.run("verify", "ledger")
