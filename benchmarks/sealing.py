"""Measure the sealing of a disclosure: a field sealed and opened, beside bare AES-GCM.

    python -m benchmarks.sealing [--fields 20000] [--rounds 5]

Runs are interleaved and medians compared, for the machines are noisy: only ratios carry over.
Writes benchmarks/results/sealing.json.
"""

import argparse
import json
import os
import platform
import secrets
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from rich.console import Console
from rich.table import Table

from ledger.signing.country_key import FileCountryKey
from ledger.signing.sd_jwt import make_disclosure
from ledger.system.identifiers import new_id
from ledger.vault.data_keys import DataKeys
from ledger.vault.field_encryption import seal, unseal

RESULTS = Path(__file__).parent / "results" / "sealing.json"
FIELDS_OF_AN_ACTION = 8
console = Console()


def rate(number: int, work: Callable[[], object]) -> float:
    """Return how often a second ``work`` is done."""
    began = time.perf_counter()
    for _ in range(number):
        work()
    return number / (time.perf_counter() - began)


def measure(fields: int, rounds: int) -> dict[str, float]:
    """Fields a second, and persons' keys a second."""
    disclosure = make_disclosure("first_name", "a name of some length, as names are").encoded
    place = {"case_id": new_id(), "action_id": new_id(), "digest": "d" * 43, "field": "first_name"}
    key, content = secrets.token_bytes(32), disclosure.encode()
    sealed = seal(key, disclosure, **place)  # type: ignore[arg-type]
    bare = AESGCM(key)
    nonce = secrets.token_bytes(12)
    closed = bare.encrypt(nonce, content, b"place")
    with tempfile.TemporaryDirectory(prefix="case-ledger-bench-") as directory:
        persons = DataKeys(Path(directory), "XK", FileCountryKey.generate())
        person = new_id()
        persons.make(person)
        works: dict[str, tuple[int, Callable[[], object]]] = {
            "seal a field": (fields, lambda: seal(key, disclosure, **place)),  # type: ignore[arg-type]
            "bare AES-GCM, encrypt": (fields, lambda: bare.encrypt(nonce, content, b"place")),
            "open a field": (fields, lambda: unseal(key, sealed, **place)),  # type: ignore[arg-type]
            "bare AES-GCM, decrypt": (fields, lambda: bare.decrypt(nonce, closed, b"place")),
            "open a person's key": (fields // 20, lambda: persons.get(person)),
            "make a person's key, durably": (fields // 100, lambda: persons.make(new_id())),
        }
        rates: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(rounds):
            for name, (number, work) in works.items():
                rates[name].append(rate(number, work))
    return {name: statistics.median(values) for name, values in rates.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--fields", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    rates = measure(given.fields, given.rounds)
    ratios = {
        "sealing, of bare AES-GCM": rates["seal a field"] / rates["bare AES-GCM, encrypt"],
        "opening, of bare AES-GCM": rates["open a field"] / rates["bare AES-GCM, decrypt"],
    }
    table = Table("Sealing", "a second")
    for name, value in rates.items():
        table.add_row(name, f"{value:,.0f}")
    console.print(table)
    each = 1 / rates["open a person's key"] + FIELDS_OF_AN_ACTION / rates["seal a field"]
    console.print(
        f"Sealing goes at {ratios['sealing, of bare AES-GCM']:.2f} and opening at "
        f"{ratios['opening, of bare AES-GCM']:.2f} of bare AES-GCM; an action of "
        f"{FIELDS_OF_AN_ACTION} fields takes {each * 1e6:,.0f} microseconds."
    )
    machine = {"cores": os.cpu_count(), "python": platform.python_version(),
               "machine": platform.machine()}  # fmt: skip
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(
        json.dumps({"machine": machine, "rates": rates, "ratios": ratios}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
