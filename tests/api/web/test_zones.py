"""Forms take the local time of the reader's country, wherever the browser's clock is set to."""

import json
import shutil
import subprocess
from importlib import resources
from pathlib import Path

import pytest

SCRIPT = Path(str(resources.files("api.web"))) / "static" / "zones.js"
ASK = """
import { readFileSync } from "node:fs";
const source = readFileSync(process.argv[1], "utf-8");
const { localTime, momentAt } =
  await import("data:text/javascript;base64," + Buffer.from(source).toString("base64"));
const asked = JSON.parse(process.argv[2]);
console.log(JSON.stringify(asked.map(([local, zone]) => {
  const moment = momentAt(local, zone);
  return [moment.toISOString(), localTime(moment, zone)];
})));
"""
PODGORICA = "Europe/Podgorica"
TIMES = [
    ("2026-01-15T12:00", PODGORICA, "2026-01-15T11:00", "2026-01-15T12:00"),
    ("2026-07-15T12:00", PODGORICA, "2026-07-15T10:00", "2026-07-15T12:00"),
    ("2026-07-15T00:10", "Pacific/Auckland", "2026-07-14T12:10", "2026-07-15T00:10"),
    ("2026-07-15T00:10", "Asia/Kathmandu", "2026-07-14T18:25", "2026-07-15T00:10"),
    ("2026-07-15T00:10", "UTC", "2026-07-15T00:10", "2026-07-15T00:10"),
    # The clocks go forward from 2 to 3, and back from 3 to 2: the first of the two hours counts,
    # so that nothing of now is in the future.
    ("2026-03-29T02:30", PODGORICA, "2026-03-29T01:30", "2026-03-29T03:30"),
    ("2026-03-29T05:00", PODGORICA, "2026-03-29T03:00", "2026-03-29T05:00"),
    ("2026-10-25T02:30", PODGORICA, "2026-10-25T00:30", "2026-10-25T02:30"),
    ("2026-10-25T03:30", PODGORICA, "2026-10-25T02:30", "2026-10-25T03:30"),
]


def test_a_local_time_is_the_moment_in_the_zone_of_the_country() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no Node.js")
    asked = json.dumps([(local, zone) for local, zone, _, _ in TIMES])
    told = subprocess.run(
        [node, "--input-type=module", "-e", ASK, str(SCRIPT), asked],
        env={"TZ": "America/New_York"},
        check=True,
        capture_output=True,
        text=True,
    )
    expected = [[f"{moment}:00.000Z", shown] for _, _, moment, shown in TIMES]
    assert json.loads(told.stdout) == expected
