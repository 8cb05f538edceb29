"""New ids are UUIDs of version 7, of the present, in Python and in pages."""

import shutil
import subprocess
import time
from importlib import resources
from pathlib import Path
from uuid import RFC_4122, UUID

import pytest

from ledger.system.identifiers import new_id

SCRIPT = Path(str(resources.files("api.web"))) / "static" / "identifiers.js"
ASK = """
const { newId } = await import(process.argv[1]);
for (let count = 0; count < 200; count += 1) console.log(newId());
process.exit(0);
"""
TOLERANCE_MS = 60_000


def made_in_a_page() -> list[UUID]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no Node.js")
    asked = [node, "--input-type=module", "--eval", ASK, "--", str(SCRIPT)]
    told = subprocess.run(asked, check=True, capture_output=True, text=True, timeout=60).stdout
    return [UUID(line) for line in told.split()]


@pytest.mark.parametrize("made", [lambda: [new_id() for _ in range(200)], made_in_a_page])
def test_ids_tell_the_time_and_differ(made) -> None:  # type: ignore[no-untyped-def]
    began = time.time() * 1000
    ids = made()
    ended = time.time() * 1000
    assert len(set(ids)) == len(ids)
    for one in ids:
        assert (one.version, one.variant, type(one)) == (7, RFC_4122, UUID)
        assert began - TOLERANCE_MS < one.int >> 80 < ended + TOLERANCE_MS
    bits = [format(one.int & (2**62 - 1), "062b") for one in ids]
    assert all({row[place] for row in bits} == {"0", "1"} for place in range(62))


def test_a_process_makes_them_in_order() -> None:
    ids = [new_id() for _ in range(1000)]
    assert ids == sorted(ids)
