"""The worker of the pages keeps the release's own files, and nothing that came in their place."""

import json
import subprocess
from pathlib import Path

import pytest

from api.web.assets import PREFIX, assets
from api.web.shell import worker
from tests.support.event_readers import HAS_NODE

_RUN = """
import { readFile } from "node:fs/promises";
const heard = {}, kept = [];
globalThis.addEventListener = (name, how) => { heard[name] = how; };
globalThis.location = { origin: "https://node.example" };
globalThis.caches = {
  match: async () => undefined, has: async () => true,
  open: async () => ({ put: async (request) => { kept.push(request); } }),
};
globalThis.Request = class {};
let sort;
globalThis.fetch = async (_, { redirect } = {}) => {
  if (redirect === "error" && sort.redirected) throw new TypeError("redirected");
  const answer = { status: 200, ok: true, redirected: false, type: "basic", ...sort };
  return { ...answer, clone: () => answer };
};
(0, eval)(await readFile(process.argv[2], "utf8"));
const told = {};
const sorts = {
  own: {}, signIn: { redirected: true }, another: { type: "cors" }, part: { status: 206 },
};
for (const [name, how] of Object.entries(sorts)) {
  sort = how;
  kept.length = 0;
  let done;
  const request = { method: "GET", url: `https://node.example${process.argv[3]}app.js` };
  let keeping;
  const waitUntil = (work) => { keeping = work; };
  heard.fetch({ request, waitUntil, respondWith: (answer) => { done = answer; } });
  await done;
  await keeping;
  const files = kept.length;
  heard.install({ waitUntil: (work) => { done = work; } });
  told[name] = [files, await done.then(() => true, () => false)];
}
console.log(JSON.stringify(told));
"""


@pytest.mark.skipif(not HAS_NODE, reason="needs Node")
def test_the_worker_keeps_no_answer_of_a_proxy_in_the_place_of_a_file(tmp_path: Path) -> None:
    """A proxy or a network that asks for a sign-in redirects, and its page would be kept."""
    (tmp_path / "worker.js").write_bytes(worker(("en",)))
    (tmp_path / "run.mjs").write_text(_RUN)
    base = f"{PREFIX}/{assets().version}/"
    ran = ["node", str(tmp_path / "run.mjs"), str(tmp_path / "worker.js"), base]
    made = subprocess.run(ran, capture_output=True, timeout=60, check=False)
    assert not made.returncode, made.stderr.decode()
    assert json.loads(made.stdout) == {
        "own": [1, True], "signIn": [0, False], "another": [0, False], "part": [0, False],
    }  # fmt: skip
