"""A TypeScript developer's first hour: ``docs/typescript.md``, word for word, at a real node."""

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import httpx

from tests.support.serving import Server
from tests.test_docs import ROOT

CLIENT = ROOT / "clients" / "typescript"
PAGE = (ROOT / "docs" / "typescript.md").read_text(encoding="utf-8")
MOST_LINES = 300
FORGERIES = """
import { ProofError } from './index.js';
const other = (place: number, whole: string) =>
  whole.slice(0, place) + (whole[place] === 'A' ? 'B' : 'A') + whole.slice(place + 1);
const decided = await (async () => {
  const refused = await careful.sign('risk_assessed',
    { acted_at: new Date().toISOString(), risk_level: 'high' }, opened.case_id);
  const error = await careful.send(refused, 77).catch((one) => one);
  if (policy.decision(error.decision, refused.text).rule !== 'case-version') throw error;
  return { jws: error.decision as string, text: refused.text };
})();
const changed = Buffer.from(event);
changed[20] = changed[20]! ^ 1;
const [head] = text.split('\\n\\n');
const path = head!.lastIndexOf('\\n') + 5;
const lines = text.split('\\n');
const at = (named: (line: string) => boolean) => text.indexOf(lines.find(named)!);
const origin = lines[lines.indexOf('') + 1]!;
const log = at((line) => line.startsWith(`— ${origin} `)) + origin.length + 30;
const alone = lines.filter((line) => !line.startsWith('— ') || line.startsWith(`— ${origin} `));
const forgeries: [string, () => unknown][] = [
  ['of the event', () => policy.position(text, changed)],
  ['of the path', () => policy.position(other(path, text), event)],
  ['of the log', () => policy.position(other(log, text), event)],
  ['of the witnesses', () => policy.position(alone.join('\\n') + '\\n', event)],
  ['of a decision', () => policy.decision(other(decided.jws.length - 9, decided.jws),
    decided.text)],
  ['of another action', () => policy.decision(decided.jws, signed.text)],
];
for (const [what, read] of forgeries) {
  try {
    read();
  } catch (error) {
    if (!(error instanceof ProofError)) throw error;
    console.log('forgery', what);
  }
}
"""


@contextmanager
def losing_an_answer(url: str, *, of_action: int) -> Iterator[str]:
    """Yield the address of a proxy that drops one answer, after the node gave it."""
    node = urlsplit(url)
    listener = socket.create_server(("127.0.0.1", 0))
    seen = 0

    def serve(client: socket.socket) -> None:
        nonlocal seen
        with client, socket.create_connection((node.hostname, node.port)) as upstream:
            drops = False

            def up() -> None:
                nonlocal seen, drops
                with suppress(OSError):
                    while part := client.recv(65536):
                        if re.match(rb"POST /v1/cases/\S+/actions ", part):
                            seen += 1
                            drops = seen == of_action
                        upstream.sendall(part)
                    upstream.shutdown(socket.SHUT_WR)

            Thread(target=up, daemon=True).start()
            with suppress(OSError):
                while part := upstream.recv(65536):
                    if drops:  # closing alone would wait for the other thread
                        client.shutdown(socket.SHUT_RDWR)
                        return
                    client.sendall(part)

    def accept() -> None:
        with suppress(OSError):
            while True:
                Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    Thread(target=accept, daemon=True).start()
    with listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_the_client_is_short() -> None:
    """Lines of code, without comments, each as long as people read; the generator is apart."""
    lines = {
        file: [line for line in file.read_text(encoding="utf-8").splitlines() if _is_code(line)]
        for file in (*(CLIENT / "src").glob("*.ts"), CLIENT / "generate.mjs")
    }
    generating = lines.pop(CLIENT / "generate.mjs")
    assert sum(map(len, lines.values())) <= MOST_LINES
    assert len(generating) <= 50
    assert max(len(line) for file in lines.values() for line in file) <= 120


def _is_code(line: str) -> bool:
    return bool(line.strip()) and not line.strip().startswith(("//", "/*", "*"))


def test_the_packages_are_those_that_the_client_names() -> None:
    named = json.loads((CLIENT / "package.json").read_text())
    tested = json.loads((Path(__file__).parent / "npm" / "package.json").read_text())
    assert {**named["dependencies"], **named["devDependencies"]} == tested["dependencies"]


def test_the_first_hour(served_once: Server, npm_packages: Path, tmp_path: Path) -> None:
    client = tmp_path / "clients" / "typescript"
    shutil.copytree(CLIENT, client, ignore=shutil.ignore_patterns("node_modules", "generated"))
    shutil.copytree(npm_packages / "node_modules", client / "node_modules", symlinks=True)
    hour = client / "src" / "hour.ts"
    hour.write_text("\n".join(re.findall(r"```ts\n(.*?)```", PAGE, re.DOTALL)), encoding="utf-8")
    for agency in ("xk-dhtqnj", "xk-nac"):
        key = served_once.agencies.keys[agency].as_dict(private=True)
        (client / f"{agency}.jwk").write_text(json.dumps(key))
    with hour.open("a", encoding="utf-8") as more:
        more.write(FORGERIES)
    make, run = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    with losing_an_answer(served_once.url, of_action=3) as address:
        said = ""
        for commands in (make, f"cd clients/typescript\n{run}"):
            done = subprocess.run(
                ["sh", "-ec", commands.replace("http://127.0.0.1:8420", address)],
                cwd=tmp_path, env={**os.environ, "LEDGER_NODE": address},
                capture_output=True, text=True, timeout=300,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout + done.stderr
            said += done.stdout
    for line in (
        "signed in as xk-dhtqnj",
        "refused by rule case-version",
        "no answer; sending the same again",
        "recorded as version 2",
        "signed in with the new key as xk-dhtqnj",
        "the revoked key is refused by rule revoked-key",
    ):
        assert said.count(line) == 1, said
    (opened,) = re.findall(r"opened at position (\d+)", said)
    (proven,) = re.findall(r"proven at position (\d+)", said)
    assert int(proven) == int(opened) + 1
    assert re.findall(r"forgery (.+)", said) == [
        "of the event", "of the path", "of the log", "of the witnesses", "of a decision",
        "of another action",
    ]  # fmt: skip
    followed = re.findall(r"event (\d+) (\w+)", said)
    assert [kind for _, kind in followed] == ["case_opened", "risk_assessed"]
    assert followed[0][0] == opened
    case = json.loads((client / "unsent.json").read_text())["caseId"]
    with served_once.client("xk-dhtqnj") as police:
        trail = police.trail(case)
        assert [entry.kind for entry in trail] == ["case_opened", "risk_assessed"]
    assert httpx.get(f"{served_once.url}/health").status_code == 200
