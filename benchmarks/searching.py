"""Measure the search for a person in a vault of many persons: the index, and the access log.

    python -m benchmarks.searching [--persons 100000] [--searches 400]

Fills the index of one vault with an invented population (``benchmarks/population.py``) and searches
for its persons, half of them with a letter left out. A search is timed with the entries that it
writes into the access log: one for itself and one for each of ten cases. Opening of names and HTTP
are not in it. Writes benchmarks/results/searching.json.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
from rich.console import Console

from api.runtime.schema import migrate_all
from api.services.person_search import MOST_SHOWN
from benchmarks import machine
from benchmarks.population import Population
from ledger.procedure.protocol import Operation, shipped_protocol
from ledger.procedure.readings import Asked
from ledger.signing.country_key import FileCountryKey
from ledger.store.database import Database
from ledger.store.embedded import EmbeddedServer
from ledger.vault.access_log import NO_CASE, NewEntry
from ledger.vault.data_keys import DataKeys
from ledger.vault.duplicates.identity_forms import ComparedIdentity
from ledger.vault.search.search_index import array_text
from ledger.vault.search.search_tokens import SearchKey, sought_words, stated_forms
from ledger.vault.vault import Vault
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import Purpose
from tests.support.databases import new_database

RESULTS = Path(__file__).parent / "results" / "searching.json"
FIELDS = ("first_name", "middle_name", "second_name", "identity_number")
KEY = SearchKey.of(b"k" * 32)
_SIZE = "SELECT pg_total_relation_size('vault_xk.search_index')"
console = Console()


def fill(conninfo: str, people: Sequence[ComparedIdentity]) -> None:
    """Write the rows of the disclosures, with no content, and their tokens."""
    rows = [
        (uuid4(), uuid4(), case_id, name, getattr(person, name))
        for person, case_id in ((person, uuid4()) for person in people)
        for name in FIELDS
    ]
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("ALTER TABLE vault_xk.disclosures DISABLE TRIGGER USER")
        with connection.cursor() as cursor:
            columns = "action_id, deposit_id, digest, case_id, field, level, field_group, sealed"
            with cursor.copy(f"COPY vault_xk.disclosures ({columns}) FROM STDIN") as copy:
                for action, deposit, case_id, name, _ in rows:
                    copy.write_row(
                        (action, deposit, "d", case_id, name, "personal", "identity", b"-")
                    )
            columns = "action_id, deposit_id, digest, case_id, field, key_id, tokens"
            with cursor.copy(f"COPY vault_xk.search_index ({columns}) FROM STDIN") as copy:
                for action, deposit, case_id, name, value in rows:
                    tokens = array_text(KEY.tokens(stated_forms(name, value)))
                    copy.write_row((action, deposit, "d", case_id, name, KEY.id, tokens))
        connection.execute("VACUUM (ANALYZE)")


def entry(case_id: UUID) -> NewEntry:
    """Return an entry of the access log, as a search writes it."""
    return NewEntry(
        Asked(
            agency="xk-dhtqnj",
            role="police",
            case_id=case_id,
            operation=Operation.SEARCH,
            groups=(FieldGroup.IDENTITY,),
            purpose=Purpose.IDENTIFICATION,
        )
    )


def measure(conninfo: str, people: Sequence[ComparedIdentity], searches: int) -> dict[str, float]:
    """Return the milliseconds of searches: median and 95th percentile."""
    chance = random.Random(20260105)
    took: list[float] = []
    found = 0
    with tempfile.TemporaryDirectory() as directory, Database(conninfo) as database:
        keys = DataKeys(Path(directory), "XK", FileCountryKey.generate())
        vault = Vault(database, "XK", keys)
        for number in range(searches + 20):
            person = chance.choice(people)
            family = person.second_name or ""
            if number % 2:
                at = chance.randrange(len(family))
                family = family[:at] + family[at + 1 :]
            began = time.perf_counter()
            vault.readings.record_all([entry(NO_CASE)])
            words = sought_words(f"{person.first_name} {family}", phones=False)
            matches = vault.search.find(KEY, words, 40)
            shown = list(matches)[:MOST_SHOWN]
            if shown:
                vault.readings.record_all([entry(case_id) for case_id in shown])
            if number >= 20:  # the first ones warm the cache
                took.append((time.perf_counter() - began) * 1000)
                found += bool(matches)
    return {
        "median_ms": statistics.median(took),
        "p95_ms": statistics.quantiles(took, n=20)[-1],
        "found": found / searches,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--persons", type=int, default=100_000)
    parser.add_argument("--searches", type=int, default=400)
    asked = parser.parse_args()
    chance, population = random.Random(1), Population.invented()
    people = [population.person(chance) for _ in range(asked.persons)]
    with tempfile.TemporaryDirectory(prefix="case-ledger-bench-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        server = EmbeddedServer(directory / "postgresql")
        try:
            with new_database(server.conninfo) as conninfo:
                migrate_all(conninfo, shipped_protocol())
                fill(conninfo, people)
                result = measure(conninfo, people, asked.searches)
                with psycopg.connect(conninfo) as connection:
                    row = connection.execute(_SIZE).fetchone()
            here = machine.describe(directory)
        finally:
            server.stop()
    result |= {"persons": asked.persons, "index_bytes": row[0] if row else 0}
    console.print(result)
    RESULTS.write_text(json.dumps({"machine": here, **result}, indent=2) + "\n")


if __name__ == "__main__":
    main()
