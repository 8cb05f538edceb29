"""Tables of three countries together are right, and lead to nobody, whatever solver is used.

Each country counts records of its own persons, and protects its table before the others see it.
"""

import csv
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from typer.testing import CliRunner

from api.cli.main import app
from projections.statistics.counting import count_records
from projections.statistics.cube import Cell, Cube
from projections.statistics.joint_tables import JointError, join, read_publication
from projections.statistics.publication_files import Record
from tests.support.joint_attack import JointAttacker, JointTold

PERSONS = int(os.environ.get("CASE_LEDGER_TEST_PERSONS", "20000"))
COUNTRIES = {"XK": 0.45, "ME": 0.2, "AL": 0.35}
K = 10
BY = ("gender", "ageBroad", "typeOfExploitConcatenated")
CATEGORIES = {
    "gender": ["Female", "Male"],
    "ageBroad": ["0--8", "9--17", "18--20", "21--23", "24--26", "27--29", "30+"],
    "typeOfExploitConcatenated": ["Forced labour", "Sexual exploitation", "Slavery and practices"],
}
_SHARES = {
    "gender": [("Female", 70), ("Male", 29), ("Unspecified", 0.3), ("", 0.7)],
    "ageBroad": list(zip(CATEGORIES["ageBroad"], (2, 38, 20, 14, 10, 8, 7), strict=True)),
    "typeOfExploitConcatenated": [
        *zip(CATEGORIES["typeOfExploitConcatenated"], (48, 44, 6), strict=True),
        ("Organ removal", 0.4),
        ("", 1.6),
    ],
}
"""Invented shares; some combinations are rare."""
RELEASES = (0.7, 0.702, 0.85, 1.0)
"""The part of the persons that each release counts: the second has a few more than the first."""

runner = CliRunner()


@dataclass(frozen=True)
class Released:
    """The publications of one country: each release's counts, and its record in the end."""

    persons: Sequence[Mapping[str, str]]
    directories: Sequence[Path]
    record: Path
    truths: Sequence[Mapping[Cell, int]]
    cube: Cube


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Released]:
    place, drawn = tmp_path_factory.mktemp("joint"), Random(2026)
    (place / "own.json").write_text(json.dumps(CATEGORIES))
    return {
        country: publish(place / country, round(PERSONS * share), drawn)
        for country, share in COUNTRIES.items()
    }


def publish(place: Path, number: int, drawn: Random) -> Released:
    place.mkdir()
    people = [person(drawn) for _ in range(number)]
    directories, truths = [], []
    cube = None
    for release, part in enumerate(RELEASES, 1):
        file = place / "own.csv"
        with file.open("w", newline="") as opened:
            writer = csv.DictWriter(opened, fieldnames=BY)
            writer.writeheader()
            writer.writerows(people[: round(number * part)])
        asked = ["statistics", "publish", "--records", str(file), "--out", str(place / "counts")]
        asked += ["--categories", str(place.parent / "own.json"), "--k", str(K)]
        asked += ["--record", str(place / "record.json"), "--json"]
        result = runner.invoke(app, [*asked, *(word for name in BY for word in ("--by", name))])
        assert result.exit_code == 0, result.output
        directories.append(place / "counts" / f"{release:04}")
        cube, counts = count_records(file, BY, CATEGORIES)
        truths.append(cube.totals(counts))
    assert cube is not None
    return Released(people, directories, place / "record.json", truths, cube)


def person(drawn: Random) -> dict[str, str]:
    return {
        name: drawn.choices([one for one, _ in shares], [share for _, share in shares])[0]
        for name, shares in _SHARES.items()
    }


def joined(released: Mapping[str, Released], release: int, out: Path) -> list[dict[str, str]]:
    named = [f"{country}={one.directories[release]}" for country, one in released.items()]
    result = runner.invoke(app, ["statistics", "join", *named, "--out", str(out)])
    assert result.exit_code == 0, result.output
    with (out / "table.csv").open(newline="") as opened:
        return list(csv.DictReader(opened))


def cell_of(row: Mapping[str, str]) -> Cell:
    return tuple(None if row[name] == "total" else row[name] for name in BY)


def test_joint_tables_are_right(released: Mapping[str, Released], tmp_path: Path) -> None:
    rows = joined(released, 0, tmp_path / "joint")
    truth: Counter[Cell] = Counter()
    for one in released.values():
        truth.update(one.truths[0])
    whole = [row for row in rows if row["count"]]
    assert len(whole) >= 10
    for row in whole:
        assert int(row["count"]) == int(row["at_least"]) == truth[cell_of(row)]
        assert row["shown_by"] == "3"
    for row in rows:
        assert int(row["at_least"]) <= truth[cell_of(row)]
        assert bool(row["count"]) is (row["shown_by"] == "3")
    about = json.loads((tmp_path / "joint" / "about.json").read_text())
    assert set(about["countries"]) == set(COUNTRIES)
    # Whoever gets it for CTDC has one record for each person of a shown cell.
    with (tmp_path / "joint" / "ctdc.csv").open(newline="") as opened:
        listed = list(csv.DictReader(opened))
    assert {row["citizenship"] for row in listed} == {"-99"}
    records = Counter(tuple(row[name] for name in BY) for row in listed)
    inner = {cell_of(row): int(row["count"]) for row in whole if None not in cell_of(row)}
    assert records == Counter(inner)


def attacker(
    released: Mapping[str, Released], told: Mapping[str, Mapping[Cell, int]]
) -> JointAttacker:
    cube = next(iter(released.values())).cube
    shared = set.intersection(*(set(one) for one in told.values()))
    summed = {cell: sum(one[cell] for one in told.values()) for cell in shared}
    least = {
        cell: sum(one.get(cell, 0) for one in told.values())
        for cell in set.union(*(set(one) for one in told.values()))
    }
    return JointAttacker(cube, told, JointTold(summed, least))


def test_no_solver_finds_a_small_count_in_all_tables_of_all_countries(
    released: Mapping[str, Released],
) -> None:
    """The attacker knows how each count changed between releases, and all tables at once."""
    told: dict[str, dict[Cell, int]] = {}
    small: list[tuple[str, Cell]] = []
    for country, one in released.items():
        series = Record.model_validate_json(one.record.read_bytes()).suppressed
        assert series is not None
        assert series.publications == len(RELEASES)
        # Changes that are known give every shown count for one table: the least of each count.
        floor = one.cube.totals(dict(series.floor))
        told[country] = {cell: floor[cell] for cell in series.shown}
        small += [(country, cell) for cell in series.small]
    assert small
    attack = attacker(released, told)
    for country, cell in small:
        least, most = attack.range(country, cell)
        assert most is None or most - least >= K, (country, cell, least, most)
        least, most = attack.joint_range(cell)
        assert most is None or most - least >= K, (cell, least, most)


def test_the_same_attack_succeeds_where_small_counts_alone_are_left_out(
    released: Mapping[str, Released],
) -> None:
    told = {
        country: {cell: count for cell, count in one.truths[-1].items() if count >= K}
        for country, one in released.items()
    }
    attack = attacker(released, told)
    found = [
        (country, cell)
        for country, one in released.items()
        for cell, count in one.truths[-1].items()
        if 0 < count < K and attack.range(country, cell) == (count, count)
    ]
    assert len(found) >= len(COUNTRIES), found


def test_a_new_release_does_not_tell_of_the_few_who_came(
    released: Mapping[str, Released], tmp_path: Path
) -> None:
    before = {cell_of(row): row for row in joined(released, 0, tmp_path / "before")}
    after = {cell_of(row): row for row in joined(released, 1, tmp_path / "after")}
    moved = [cell for cell in before if before[cell]["count"] != after[cell]["count"]]
    for cell in moved:
        changes = [one.truths[1][cell] - one.truths[0][cell] for one in released.values()]
        assert any(abs(change) >= K for change in changes), cell
    truth: Counter[Cell] = Counter()
    for one in released.values():
        truth.update(one.truths[1])
    assert any(int(row["at_least"]) < truth[cell] for cell, row in after.items() if row["count"])


def test_what_does_not_go_together_is_refused(
    released: Mapping[str, Released], tmp_path: Path
) -> None:
    place = released["XK"].directories[0]
    with pytest.raises(JointError, match="two countries or more"):
        join({"XK": read_publication(place)})
    with pytest.raises(JointError, match="is no publication"):
        read_publication(tmp_path)
    copied = tmp_path / "copied"
    copied.mkdir()
    about = json.loads((place / "about.json").read_text())
    (copied / "table.parquet").write_bytes((place / "table.parquet").read_bytes())
    for changed, why in (
        ({"dimensions": ["gender"]}, "other columns"),
        ({"k": 10_000}, "below its k"),
    ):
        (copied / "about.json").write_text(json.dumps(about | changed))
        with pytest.raises(JointError, match=why):
            read_publication(copied)
    (copied / "about.json").write_text(json.dumps(about | {"epsilon": 0.5}))
    with pytest.raises(JointError, match="some have noise"):
        join({"XK": read_publication(place), "ME": read_publication(copied)})
    for asked, why in ((["XK"], "COUNTRY=DIRECTORY"), ([f"XK={place}"] * 2, "named twice")):
        result = runner.invoke(app, ["statistics", "join", *asked, "--out", str(tmp_path / "no")])
        assert result.exit_code != 0
        assert why in " ".join(result.output.split())
    assert not (tmp_path / "no").exists()
