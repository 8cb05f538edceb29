"""The browser holds a signature against the validity of its key as the ledger does."""

import base64
import json
import shutil
import subprocess
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

import pytest
from nacl.signing import SigningKey

SCRIPT = Path(str(resources.files("api.web"))) / "static" / "proven_event.js"
ASK = """
const { signatureOf } = await import(process.argv[1]);
const { key, signed, signature, times } = JSON.parse(process.argv[2]);
const bytes = (text) => new Uint8Array(Buffer.from(text, "base64"));
const keys = new Map([["key", { ...key, key: { x: key.x }, position: 1, ended: [] }]]);
const stateAt = (recordedAt) => signatureOf({
  keyId: "key", agency: key.agency, position: 2, recordedAt,
  signed: bytes(signed), signature: bytes(signature),
}, keys);
console.log(JSON.stringify(await Promise.all(times.map(stateAt))));
process.exit(0);
"""
BEGINS, ENDS = "2026-12-01T07:00:00Z", "2026-12-02T07:00:00.5Z"
TIMES = [
    "2026-12-01T06:59:59.999999Z",
    "2026-12-01T07:00:00Z",
    "2026-12-01T07:00:00.000001Z",
    "2026-12-01T07:00:00.712759Z",
    "2026-12-01T07:00:01Z",
    "2026-12-02T07:00:00Z",
    "2026-12-02T07:00:00.499999Z",
    "2026-12-02T07:00:00.500000Z",
    "2026-12-02T07:00:01Z",
]


def test_fractions_of_a_second_count_at_both_ends_of_a_keys_validity() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no Node.js")
    key, signed = SigningKey.generate(), b"what was signed"
    x = base64.urlsafe_b64encode(bytes(key.verify_key)).decode().rstrip("=")
    asked = {
        "key": {"agency": "xk-police", "x": x, "valid_from": BEGINS, "valid_until": ENDS},
        "signed": base64.b64encode(signed).decode(),
        "signature": base64.b64encode(key.sign(signed).signature).decode(),
        "times": TIMES,
    }
    told = subprocess.run(
        [node, "--input-type=module", "-e", ASK, SCRIPT.as_uri(), json.dumps(asked)],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    begins, ends = datetime.fromisoformat(BEGINS), datetime.fromisoformat(ENDS)
    lasts = [begins <= datetime.fromisoformat(at).astimezone(UTC) < ends for at in TIMES]
    assert lasts == [False, True, True, True, True, True, True, False, False]
    said = ["valid" if one else "key not valid then" for one in lasts]
    assert json.loads(told.stdout) == said
