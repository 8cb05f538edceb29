"""Measure the search for a person on the page of a node with 100,000 persons.

    python -m benchmarks.searching [--persons 100000] [--searches 120]

The vault has the index of an invented population (``benchmarks/population.py``). The searches are
for its persons, half of them with a letter left out, each once. Every case that a search can show
is a real one: imported, with sealed disclosures. The others are rows of the index alone, which no
search of the run reaches. A search is timed from the request to the whole page: matrix, entries of
the access log, the index, the cases, the names that a legal basis opens, and HTTP. The client and
the server share one process. Beside it is the time of the index alone. The tokens are written by
this program: opening every imported case to make them is the work of a background job. Writes
benchmarks/results/searching.json.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from unittest.mock import patch
from uuid import UUID

import psycopg
from rich.console import Console

from api.cli.steps.building import expected
from api.importing.import_run import Importer, Order
from api.keys.country_keys import country_keys, search_keys
from api.runtime.schema import migrate_all
from api.runtime.settings import Settings
from api.services import person_search
from benchmarks import machine
from benchmarks.population import Population
from ledger.application import Ledger, environment
from ledger.importing.import_map import load_map
from ledger.importing.preparing import case_id_of
from ledger.store.database import Database
from ledger.store.datastore import LedgerDatastore
from ledger.store.embedded import EmbeddedServer
from ledger.system.identifiers import new_id
from ledger.vault.duplicates.identity_forms import ComparedIdentity
from ledger.vault.search.search_index import SearchIndex, array_text
from ledger.vault.search.search_tokens import SearchKey, sought_words, stated_forms
from projections.tables.all_views import VIEWS
from projections.upkeep import runner
from tests.support.agencies import Agencies
from tests.support.databases import new_database
from tests.support.htcds import write_csv
from tests.support.serving import Server, running
from tests.support.web import FROM_HERE, signed_in

RESULTS = Path(__file__).parent / "results" / "searching.json"
AGENCY = "xk-dhtqnj"
FIELDS = ("first_name", "middle_name", "second_name", "identity_number")
COLUMNS = ("prs_FirstName", "prs_MiddleName", "prs_SecondName", "prs_IdentityNumber")
MAP = b"""
[defaults]
"case_opened.ground" = "police_action"
"case_opened.age_group" = "child"
"case_opened.indicators" = "begging_in_the_street"

[columns]
found_on = "case_opened.acted_at"
"""
_WARM = 20
_CANDIDATES = 40
_SIZE = "SELECT pg_total_relation_size('vault_xk.search_index')"
_DISCLOSED = """
SELECT action_id, digest, deposit_id, case_id, field FROM vault_xk.disclosures
WHERE field = ANY(%s)
"""
console = Console()


def bring(
    conninfo: str,
    agencies: Agencies,
    settings: Settings,
    directory: Path,
    people: Sequence[ComparedIdentity],
) -> Mapping[UUID, ComparedIdentity]:
    """Import the population, and return each person by the case."""
    rows = [
        {"found_on": "2026-01-05"}
        | {
            column: str(getattr(person, name))
            for column, name in zip(COLUMNS, FIELDS, strict=True)
            if getattr(person, name)
        }
        for person in people
    ]
    with Ledger(environment(conninfo, pool_size=4)) as ledger, Database(conninfo) as database:
        order = Order(
            source=write_csv(directory / "people.csv", rows),
            agency=AGENCY,
            private=agencies.keys[AGENCY],
            import_map=load_map(MAP, Path("map")),
            map_digest="",
            errors=directory / "errors.csv",
        )
        summary = Importer(settings, ledger, database, order, expected).run()
    if summary.recorded_now != len(people):
        raise RuntimeError(f"{summary.mark.refused} rows were refused: {order.errors.read_text()}")
    import_id = UUID(json.loads(order.journal.read_text().splitlines()[0])["import"])
    return {case_id_of(import_id, row): person for row, person in enumerate(people, 2)}


Row = tuple[UUID, str, UUID, UUID, str]
"""Action, digest, deposit, case and field of a disclosure."""


def index(conninfo: str, key: SearchKey, people: Iterable[tuple[Row, ComparedIdentity]]) -> None:
    """Write the tokens of disclosures."""
    columns = "action_id, digest, deposit_id, case_id, field, key_id, tokens"
    with psycopg.connect(conninfo, autocommit=True) as connection:
        with (
            connection.cursor() as cursor,
            cursor.copy(f"COPY vault_xk.search_index ({columns}) FROM STDIN") as copy,
        ):
            for row, person in people:
                forms = stated_forms(row[4], getattr(person, row[4]))
                copy.write_row((*row, key.id, array_text(key.tokens(forms))))
        connection.execute("DELETE FROM vault_xk.search_due")
        connection.execute("VACUUM (ANALYZE)")


def fill(
    conninfo: str, key: SearchKey, people: Sequence[ComparedIdentity]
) -> Mapping[UUID, ComparedIdentity]:
    """Write rows without content for persons, and return each person by the case.

    The ids of the cases come after all others, so that of equal matches a real case is shown.
    """
    cases = {UUID(int=(0xFFFF << 112) | number): one for number, one in enumerate(people)}
    rows: list[tuple[Row, ComparedIdentity]] = [
        ((new_id(), "d", new_id(), case_id, name), person)
        for case_id, person in cases.items()
        for name in FIELDS
    ]
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("ALTER TABLE vault_xk.disclosures DISABLE TRIGGER USER")
        columns = "action_id, digest, deposit_id, case_id, field, level, field_group, sealed"
        with (
            connection.cursor() as cursor,
            cursor.copy(f"COPY vault_xk.disclosures ({columns}) FROM STDIN") as copy,
        ):
            for row, _ in rows:
                copy.write_row((*row, "personal", "identity", b"-"))
        connection.execute("ALTER TABLE vault_xk.disclosures ENABLE TRIGGER USER")
    index(conninfo, key, rows)
    return cases


def index_imported(conninfo: str, key: SearchKey, people: Mapping[UUID, ComparedIdentity]) -> None:
    """Write the tokens of the cases that an import brought."""
    with psycopg.connect(conninfo) as connection:
        rows = connection.execute(_DISCLOSED, (list(FIELDS),)).fetchall()
    index(conninfo, key, ((row, people[row[3]]) for row in rows))


def reached(conninfo: str, people: Sequence[ComparedIdentity], texts: Sequence[str]) -> set[int]:
    """Return the numbers of the persons whose cases the searches look at."""
    key = SearchKey.of(b"k" * 32)
    cases = {case_id: number for number, case_id in enumerate(fill(conninfo, key, people))}
    with Database(conninfo) as database:
        search = SearchIndex(database, "XK")
        found = (search.find(key, sought_words(one, phones=True), _CANDIDATES) for one in texts)
        return {cases[case_id] for matches in found for case_id in matches}


def sought(people: Sequence[ComparedIdentity], number: int) -> Iterator[str]:
    """Yield names of persons, every second one with a letter left out."""
    chance = random.Random(20260105)
    for count in range(number):
        person = chance.choice(people)
        family = person.second_name or ""
        if count % 2:
            at = chance.randrange(len(family))
            family = family[:at] + family[at + 1 :]
        yield f"{person.first_name} {family}"


def measure(server: Server, texts: Sequence[str]) -> dict[str, float]:
    """Return the milliseconds of searches: median and 95th percentile."""
    took: list[float] = []
    processor: list[float] = []
    found = names = 0
    with signed_in(server, AGENCY) as browser:
        for count, text in enumerate(texts):
            sent = {"q": text, "purpose": "identification"}
            began, worked = time.perf_counter(), time.process_time()
            answer = browser.post("/find", data=sent, headers=FROM_HERE)
            ended = time.perf_counter()
            answer.raise_for_status()
            if count >= _WARM:
                took.append((ended - began) * 1000)
                processor.append((time.process_time() - worked) * 1000)
                cases = answer.text.count('href="/cases/')
                found += cases > 0
                names += answer.text.count("<span><b>")
    key = server.node.vaults.of("XK").search_key()
    if key is None:
        raise RuntimeError("the index does not open")
    alone: list[float] = []
    searches = len(took)
    for text in texts:
        began = time.perf_counter()
        server.node.vaults.of("XK").search.find(key, sought_words(text, phones=False), 40)
        alone.append((time.perf_counter() - began) * 1000)
    return {
        "median_ms": statistics.median(took),
        "p95_ms": statistics.quantiles(took, n=20)[-1],
        "processor_median_ms": statistics.median(processor),
        "processor_p95_ms": statistics.quantiles(processor, n=20)[-1],
        "index_alone_p95_ms": statistics.quantiles(alone, n=20)[-1],
        "found": found / searches,
        "names_a_search": names / searches,
    }


def fold_views(conninfo: str) -> None:
    """Fold all that is recorded into every view."""
    datastore = LedgerDatastore(conninfo, pool_size=2, role=runner.PROJECTOR_ROLE)
    try:
        pages = runner.PageFolder(datastore, VIEWS.values())
        while pages.step():
            pass
    finally:
        datastore.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--persons", type=int, default=100_000)
    parser.add_argument("--searches", type=int, default=120)
    asked = parser.parse_args()
    chance, population = random.Random(1), Population.invented()
    people = [population.person(chance) for _ in range(asked.persons)]
    agencies = Agencies()
    with tempfile.TemporaryDirectory(prefix="case-ledger-bench-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        server = EmbeddedServer(directory / "postgresql")
        try:
            texts = [*sought(people, asked.searches + _WARM)]
            with new_database(server.conninfo) as conninfo:
                migrate_all(conninfo, agencies.protocol)
                real = reached(conninfo, people, texts)
            console.print(f"{len(real)} cases can be shown")
            with new_database(server.conninfo) as conninfo:
                result = run(conninfo, agencies, directory, people, real, texts)
            here = machine.describe(directory)
        finally:
            server.stop()
    console.print(result)
    RESULTS.write_text(json.dumps({"machine": here, **result}, indent=2) + "\n")


def run(
    conninfo: str,
    agencies: Agencies,
    directory: Path,
    people: Sequence[ComparedIdentity],
    real: Collection[int],
    texts: Sequence[str],
) -> dict[str, float]:
    """Fill a ledger, serve it, and measure."""
    migrate_all(conninfo, agencies.protocol)
    with Ledger(environment(conninfo)) as ledger:
        agencies.begin(ledger)
    settings = Settings(data_directory=directory / "data", port=0, requests_per_minute=1_000_000)
    began = time.perf_counter()
    others = [person for number, person in enumerate(people) if number not in real]
    by_case = bring(conninfo, agencies, settings, directory, [people[one] for one in sorted(real)])
    console.print(f"imported in {time.perf_counter() - began:.0f} s")
    key = search_keys(settings, country_keys(settings, ("XK",)))["XK"]()
    if key is None:
        raise RuntimeError("the index does not open")
    index_imported(conninfo, key, by_case)
    fill(conninfo, key, others)
    fold_views(conninfo)
    console.print(f"ready after {time.perf_counter() - began:.0f} s")
    with (
        patch.object(person_search, "SEARCHES_A_MINUTE", 1_000_000),
        patch.object(person_search, "SEARCHES_A_DAY", 1_000_000),
        running(settings, conninfo, agencies, works=False) as server,
    ):
        result = measure(server, texts)
    with psycopg.connect(conninfo) as connection:
        row = connection.execute(_SIZE).fetchone()
    result["cases_within_reach"] = len(real)
    return result | {"persons": len(people), "index_bytes": row[0] if row else 0}


if __name__ == "__main__":
    main()
