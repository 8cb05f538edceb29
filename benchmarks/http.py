"""Measure HTTP: servers, loops, serialisers; the case read and the append beside their limits.

    python -m benchmarks.http [--seconds 3] [--rounds 5] [--connections 32] [--only read,append]

The API has one core, its clients and PostgreSQL have the others. What is compared runs in turn,
and medians are compared, for the machines are noisy: only ratios carry over. Requests are made and
signed before they are sent: an assertion is good once. Granian is measured where it is installed;
the project does not depend on it. Writes benchmarks/results/http.json.
"""

import argparse
import asyncio
import importlib.util
import json
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc.jwk import OKPKey
from joserfc.util import urlsafe_b64encode
from pydantic_core import to_json
from rich.console import Console
from rich.table import Table

from api.client.assertion import TYPE
from api.demo.node_process import children, free_port
from api.http.documents import event_document
from api.runtime.schema import migrate_all
from benchmarks.server_process import server_process
from ledger.application import Ledger, environment
from ledger.signing import ed25519, keys
from ledger.store.embedded import EmbeddedServer
from ledger.store.event_rows import RecordedRow
from ledger.system.identifiers import new_id
from ledger.vocabulary.picklists import RiskLevel
from ledger.vocabulary.protection import RiskAssessed
from tests.support.actions import START, opening
from tests.support.agencies import Agencies

RESULTS = Path(__file__).parent / "results" / "http.json"
CASES = 100
OURS, OVERSIGHT = "xk-dhtqnj", "xk-ombudsperson"
CASE_LENGTH = 8
SERVERS = ("uvicorn+uvloop", "uvicorn+asyncio", "granian")
console = Console()


@dataclass(frozen=True)
class Place:
    """A database with cases, and what a server of it is started with."""

    directory: Path
    conninfo: str
    agencies: Agencies
    cases: Sequence[UUID]
    api_cores: frozenset[int]
    other_cores: frozenset[int]

    def token(self, agency: str) -> str:
        return tokens(self.agencies.keys[agency], agency, 1)[0]


# --- Requests ---------------------------------------------------------------------------------


def tokens(key: OKPKey, agency: str, number: int) -> list[str]:
    """Return assertions, each of which is good once, within five minutes."""
    header = _b64({"alg": "Ed25519", "typ": TYPE, "kid": keys.key_id(key)})
    private = key.private_key
    assert isinstance(private, Ed25519PrivateKey)
    now = int(time.time())
    made = []
    for _ in range(number):
        claims = {"iss": agency, "aud": "case-ledger", "iat": now, "exp": now + 300,
                  "jti": str(uuid4())}  # fmt: skip
        signed = f"{header}.{_b64(claims)}"
        made.append(f"{signed}.{urlsafe_b64encode(private.sign(signed.encode())).decode()}")
    return made


def _b64(content: Mapping[str, Any]) -> str:
    return urlsafe_b64encode(json.dumps(content, separators=(",", ":")).encode()).decode()


def get(path: str, token: str | None = None) -> bytes:
    said = f"Authorization: Bearer {token}\r\n" if token else ""
    return f"GET {path} HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n{said}\r\n".encode()


def post(path: str, token: str, version: int, body: str) -> bytes:
    condition = f'If-Match: "{version}"' if version else "If-None-Match: *"
    return (
        f"POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n{condition}\r\n"
        f"Content-Type: application/sd-jwt\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


class Connection(asyncio.Protocol):
    """Sends requests one after the other, each when the answer before it is whole."""

    def __init__(self) -> None:
        self.statuses: dict[int, int] = {}
        self._read = b""
        self._length = -1
        self._answered: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(ConnectionError("the server closed"))

    def data_received(self, data: bytes) -> None:
        self._read += data
        if self._length < 0:
            end = self._read.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._read[:end].lower()
            at = head.find(b"content-length:")
            self._length = end + 4 + int(head[at + 15 :].split(b"\r\n", 1)[0])
        if len(self._read) >= self._length and self._answered is not None:
            status = int(self._read[9:12])
            self.statuses[status] = self.statuses.get(status, 0) + 1
            self._read, self._length = b"", -1
            self._answered.set_result(None)

    async def ask(self, request: bytes) -> None:
        assert self._transport is not None
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        await self._answered


async def _closed(port: int, shares: Sequence[Sequence[bytes]], seconds: float) -> dict[str, Any]:
    """As fast as it goes: each connection asks again when it is answered."""
    loop = asyncio.get_running_loop()
    made = [(await loop.create_connection(Connection, "127.0.0.1", port))[1] for _ in shares]
    took: list[float] = []
    began = time.perf_counter()
    until = began + seconds

    async def ask(connection: Connection, share: Sequence[bytes]) -> None:
        nonlocal until
        for request in share:
            sent = time.perf_counter()
            if sent > until:
                return
            await connection.ask(request)
            took.append(time.perf_counter() - sent)
        until = 0.0  # all requests that were made for one are sent: it is over for all

    await asyncio.gather(*map(ask, made, shares))
    return _said(made, took, time.perf_counter() - began)


async def _paced(
    port: int, shares: Sequence[Sequence[bytes]], per_second: float, seconds: float
) -> dict[str, Any]:
    """At a rate, whatever the answers take: latency counts from when a request was due."""
    loop = asyncio.get_running_loop()
    made = [(await loop.create_connection(Connection, "127.0.0.1", port))[1] for _ in shares]
    took: list[float] = []
    began = time.perf_counter() + 0.1
    every = len(shares) / per_second

    async def ask(place: int, connection: Connection, share: Sequence[bytes]) -> None:
        for number, request in enumerate(share):
            due = began + place * every / len(shares) + number * every
            if due > began + seconds:
                return
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            await connection.ask(request)
            took.append(time.perf_counter() - due)

    await asyncio.gather(*(ask(i, c, s) for i, (c, s) in enumerate(zip(made, shares, strict=True))))
    return _said(made, took, time.perf_counter() - began)


def _said(made: Sequence[Connection], took: list[float], seconds: float) -> dict[str, Any]:
    statuses: dict[int, int] = {}
    for connection in made:
        for status, count in connection.statuses.items():
            statuses[status] = statuses.get(status, 0) + count
    took.sort()
    return {
        "requests": len(took),
        "rate": len(took) / seconds,
        "p50": took[len(took) // 2],
        "p99": took[int(len(took) * 0.99)],
        "statuses": statuses,
        "took": took,
    }


def load(place: Place, work: Callable[..., Any], *given: Any) -> dict[str, Any]:
    """Run a client in a process of its own, on the cores that the API has not."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)

    def client() -> None:
        os.sched_setaffinity(0, place.other_cores)
        theirs.send(uvloop.run(work(*given)))

    process = context.Process(target=client)
    process.start()
    theirs.close()
    said: dict[str, Any] = ours.recv()
    process.join()
    refused = {status: n for status, n in said["statuses"].items() if status >= 300}
    if refused:
        raise RuntimeError(f"the server refused: {refused}")
    return said


# --- Servers ----------------------------------------------------------------------------------


@contextmanager
def serving(place: Place, server: str) -> Iterator[tuple[int, int]]:
    """Run the application under a server, in its own process. Yield its port and its process id."""
    port = free_port()
    env = os.environ | {
        "CASE_LEDGER_DATA_DIRECTORY": str(place.directory / "node"),
        "CASE_LEDGER_DATABASE_URL": place.conninfo,
        "CASE_LEDGER_REQUESTS_PER_MINUTE": "100000000",
        "CASE_LEDGER_PORT": str(port),
        "BENCHMARK_CORES": ",".join(map(str, place.api_cores)),
    }
    if server == "granian":
        command = ["-m", "granian", "--interface", "asgi", "--loop", "uvloop", "--host",
                   "127.0.0.1", "--port", str(port), "--workers", "1", "--no-ws", "--log-level",
                   "error", "benchmarks.http_app:application"]  # fmt: skip
    else:
        command = ["-m", "benchmarks.http_app", server.partition("+")[2]]
    log, health = place.directory / "server.log", f"http://127.0.0.1:{port}/health"
    with server_process(command, env, log, health) as pid:
        yield port, pid


@contextmanager
def place() -> Iterator[Place]:
    """Make a ledger with cases, on a PostgreSQL of its own."""
    cores = sorted(os.sched_getaffinity(0))
    api, other = (cores[:1], cores[1:]) if len(cores) > 1 else (cores, cores)
    agencies = Agencies()
    with tempfile.TemporaryDirectory(prefix="case-ledger-bench-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        os.sched_setaffinity(0, other)  # PostgreSQL inherits it
        server = EmbeddedServer(directory / "postgresql")
        try:
            migrate_all(server.conninfo, agencies.protocol)
            with Ledger(environment(server.conninfo)) as ledger:
                agencies.begin(ledger)
            cases = [new_id() for _ in range(CASES)]
            made = Place(
                directory, server.conninfo, agencies, cases, frozenset(api), frozenset(other)
            )
            with serving(made, SERVERS[0]) as (port, _):
                _fill(made, port)
            with psycopg.connect(server.conninfo, autocommit=True) as connection:
                connection.execute("VACUUM ANALYZE")
            yield made
        finally:
            server.stop()


def _fill(place: Place, port: int) -> None:
    """Cases of some actions each, whose openings disclose `case` fields, as openings do."""
    shares = [appends(place, [case]) for case in place.cases]
    load(place, _paced, port, shares, 100.0, CASE_LENGTH * len(shares) / 100 + 1)
    last = place.cases[-1]
    for _ in range(100):  # until the views are there
        answer = httpx.get(
            f"http://127.0.0.1:{port}/v1/cases/{last}",
            headers={"Authorization": f"Bearer {place.token(OURS)}"},
        )
        if answer.is_success and answer.json()["view"]["version"] == CASE_LENGTH:
            return
        time.sleep(0.1)
    raise RuntimeError("the cases did not come into the views")


def appends(place: Place, cases: Sequence[UUID]) -> list[bytes]:
    """Signed actions on cases, one after the other, each with an assertion of its own."""
    requests = []
    for case in cases:
        for version in range(CASE_LENGTH):
            later = RiskAssessed(
                acted_at=START + timedelta(hours=version), risk_level=RiskLevel.LOW
            )
            action = later if version else opening(indicators_note="a note of some length")
            body = str(place.agencies.sign(OURS, action, case))
            path = f"/v1/cases/{case}/actions"
            requests.append(post(path, place.token(OURS), version, body))
    return requests


# --- What is measured -------------------------------------------------------------------------


def shares_of(place: Place, kind: str, connections: int, number: int) -> list[list[bytes]]:
    """So many requests of a kind for each of the connections."""
    if kind == "health":
        return [[get("/health")] * number for _ in range(connections)]
    agency = OVERSIGHT if "without disclosures" in kind else OURS
    made = tokens(place.agencies.keys[agency], agency, connections * number)
    paths = ["/benchmark/empty"] if kind == "empty" else [f"/v1/cases/{c}" for c in place.cases]
    requests = [get(paths[i % len(paths)], token) for i, token in enumerate(made)]
    return [requests[i::connections] for i in range(connections)]


READS = ("health", "empty", "case without disclosures", "case with disclosures")


def measure_reads(place: Place, given: argparse.Namespace, servers: Sequence[str]) -> Any:
    """Measure the requests a second of each kind on each server, in turn."""
    rates: dict[str, dict[str, list[float]]] = {s: {k: [] for k in READS} for s in servers}
    costs: dict[str, dict[str, list[float]]] = {s: {k: [] for k in READS} for s in servers}
    guess = dict.fromkeys(READS, 8_000.0)
    for number in range(given.rounds):
        for server in servers if number % 2 == 0 else reversed(servers):
            with serving(place, server) as (port, pid):
                for kind in READS:
                    for seconds in (0.5, given.seconds):  # the first to warm up
                        most = int(guess[kind] * seconds / given.connections) + 20
                        shares = shares_of(place, kind, given.connections, most)
                        before = cpu_seconds(pid)
                        said = load(place, _closed, port, shares, seconds)
                        used = cpu_seconds(pid) - before
                        guess[kind] = max(1_000, 1.6 * said["rate"])
                    rates[server][kind].append(said["rate"])
                    costs[server][kind].append(1e6 * used / said["requests"])
    return {"a second": _medians(rates), "microseconds of the API's core": _medians(costs)}


def _medians(found: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, dict[str, float]]:
    return {
        server: {kind: statistics.median(values) for kind, values in kinds.items()}
        for server, kinds in found.items()
    }


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of a process and its children, which others' load does not change."""
    used = 0.0
    for each in (pid, *children(pid)):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        used += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return used


def measure_appends(place: Place, given: argparse.Namespace) -> dict[str, Any]:
    """Saturation, what is possible by signatures alone, and latency at half of it."""
    saturated, limits, paced = [], [], []
    for _ in range(given.rounds):
        limits.append(verification_limit(place))
        with serving(place, SERVERS[0]) as (port, _):
            for seconds in (0.5, given.seconds):
                shares = _append_shares(place, given.connections, 1_500, seconds)
                said = load(place, _closed, port, shares, seconds)
            saturated.append(said["rate"])
            half = statistics.median(saturated) / 2
            shares = _append_shares(place, given.connections, half * 1.5, given.seconds)
            paced.append(load(place, _paced, port, shares, half, given.seconds))
    rate, limit = statistics.median(saturated), statistics.median(limits)
    return {
        "saturation": rate,
        "limit by signatures": limit,
        "of the limit": rate / limit,
        "at half": statistics.median(p["rate"] for p in paced),
        "p50": statistics.median(p["p50"] for p in paced),
        "p99": statistics.median(p["p99"] for p in paced),
        "p99 / p50": statistics.median(p["p99"] / p["p50"] for p in paced),
    }


def _append_shares(
    place: Place, connections: int, per_second: float, seconds: float
) -> list[list[bytes]]:
    cases = int(per_second * seconds / connections / CASE_LENGTH) + 2
    return [appends(place, [new_id() for _ in range(cases)]) for _ in range(connections)]


def verification_limit(place: Place) -> float:
    """Return the appends a second whose two signatures the API's cores could verify."""
    key = place.agencies.keys[OURS]
    private = key.private_key
    assert isinstance(private, Ed25519PrivateKey)
    message = os.urandom(600)
    signature = private.sign(message)
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(place.api_cores)})
    try:
        began = time.perf_counter()
        for _ in range(5_000):
            assert ed25519.verifies(key, signature, message)
        of_one = 5_000 / (time.perf_counter() - began)
    finally:
        os.sched_setaffinity(0, before)
    return of_one * len(place.api_cores) / 2


def measure_serialisers(rounds: int) -> dict[str, float]:
    """Events a second that become JSON, by each library that is here."""
    row = RecordedRow(
        position=7, originator_id=new_id(), version=3, kind="case_opened", state=b"e" * 700,
        action_id=new_id(), recorded_at=datetime.now(UTC), leaf_hash=os.urandom(32),
    )  # fmt: skip
    event = event_document(row)
    works: dict[str, Callable[[], object]] = {
        "pydantic-core, of the model": event.model_dump_json,
        "pydantic-core, of a dict": lambda: to_json(event.__dict__),
        "json": lambda: json.dumps(event.model_dump(mode="json")).encode(),
    }
    if importlib.util.find_spec("orjson"):
        import orjson  # type: ignore[import-not-found]

        works["orjson, of a dict"] = lambda: orjson.dumps(event.__dict__)
        works["orjson, of the model's dump"] = lambda: orjson.dumps(event.model_dump())
    rates: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            began = time.perf_counter()
            for _ in range(20_000):
                work()
            rates[name].append(20_000 / (time.perf_counter() - began))
    return {name: statistics.median(values) for name, values in rates.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--only", default="read,append,serialise")
    parser.add_argument("--servers", default=",".join(SERVERS))
    given = parser.parse_args()
    only = given.only.split(",")
    servers = [s for s in given.servers.split(",") if s != "granian" or _has_granian()]
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    found["machine"] = {"cores": os.cpu_count(), "python": platform.python_version(),
                        "machine": platform.machine()}  # fmt: skip
    found["missing"] = [s for s in given.servers.split(",") if s not in servers]
    if "serialise" in only:
        found["serialisers"] = measure_serialisers(given.rounds)
    if "read" in only or "append" in only:
        with place() as where:
            if "read" in only:
                found["reads"] = measure_reads(where, given, servers)
            if "append" in only:
                found["appends"] = measure_appends(where, given)
    show(found)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


def _has_granian() -> bool:
    return importlib.util.find_spec("granian") is not None


def show(found: Mapping[str, Any]) -> None:
    for what, servers in found.get("reads", {}).items():
        table = Table(what, *READS, "of empty", "of health")
        for server, rates in servers.items():
            turned = 1 if what == "a second" else -1
            table.add_row(
                server,
                *(f"{rates[kind]:,.0f}" for kind in READS),
                *(
                    ", ".join(f"{(rates[kind] / rates[limit]) ** turned:.2f}" for kind in READS[2:])
                    for limit in ("empty", "health")
                ),
            )
        console.print(table)
    if "appends" in found:
        table = Table("Append", "")
        for name, value in found["appends"].items():
            table.add_row(name, f"{value * 1e3:.1f} ms" if name in ("p50", "p99")
                          else f"{value:,.2f}" if "of" in name or "/" in name
                          else f"{value:,.0f}")  # fmt: skip
        console.print(table)
    for name, rate in found.get("serialisers", {}).items():
        console.print(f"{name}: {rate:,.0f} a second")


if __name__ == "__main__":
    main()
