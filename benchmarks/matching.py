"""Measure how many cases of one person are found, and how many pairs of two are taken for one.

    python -m benchmarks.matching [--persons 100000] [--both 5000]

Invents a population (``benchmarks/population.py``), of which two countries each open cases. Some
persons have a case in both, recorded differently. Compares the cases as the nodes do, without the
masks, which change no answer. Writes benchmarks/results/matching.json.
"""

import argparse
import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.population import CHANGES, Population, as_recorded
from ledger.vault.duplicates.identity_forms import (
    ComparedIdentity,
    blocking_forms,
    evidence,
    name_pairs,
)
from ledger.vault.duplicates.weighing import Weighed, name_bits, threshold, weigh

RESULTS = Path(__file__).parent / "results" / "matching.json"
console = Console()


@dataclass(frozen=True, slots=True)
class Recorded:
    """A case of one country."""

    person: int
    identity: ComparedIdentity
    change: str | None = None
    """How the record differs from that of the other country, if the person has one there."""


def cases(persons: int, both: int, seed: int) -> tuple[Sequence[Recorded], Sequence[Recorded]]:
    """Return the cases of two countries, of ``persons`` persons, ``both`` of them in each."""
    chance, population = random.Random(seed), Population.invented()
    one: list[Recorded] = []
    other: list[Recorded] = []
    kinds, shares = list(CHANGES), [share for share, _ in CHANGES.values()]
    for number in range(persons):
        person = population.person(chance)
        first, second = as_recorded(person, chance), as_recorded(person, chance)
        if number < both:
            kind = chance.choices(kinds, shares)[0]
            changed = CHANGES[kind][1](second, chance)
            if kind == "other names, same number":
                known = {"identity_number": person.identity_number}
                first, changed = replace(first, **known), replace(changed, **known)
            one.append(Recorded(number, first, kind))
            other.append(Recorded(number, changed, kind))
        else:
            (one if number % 2 else other).append(Recorded(number, first))
    return one, other


def candidates(one: Sequence[Recorded], other: Sequence[Recorded]) -> Iterator[tuple[int, int]]:
    """Yield each pair of cases that have a blocking form in common, once."""
    by_form: dict[str, list[int]] = defaultdict(list)
    for index, case in enumerate(other):
        for form in blocking_forms(case.identity):
            by_form[form].append(index)
    for index, case in enumerate(one):
        found = {match for form in blocking_forms(case.identity) for match in by_form[form]}
        yield from ((index, match) for match in sorted(found))


def compare(one: Recorded, other: Recorded, equal_names: float) -> Weighed:
    """Weigh two cases by the forms that both have."""
    own = evidence(one.identity)
    theirs = {(form.kind, form.text) for form in evidence(other.identity)}
    agreed = [form for form in own if (form.kind, form.text) in theirs]
    return weigh(own, agreed, equal_names)


def measure(persons: int, both: int, seed: int) -> dict[str, object]:
    """Compare the cases of two countries, and return how many pairs were found."""
    one, other = cases(persons, both, seed)
    held: Counter[str] = Counter()
    for case in (*one, *other):
        held.update(set(name_pairs(case.identity)))
    least, number = threshold(max(len(one), len(other))), len(one) + len(other)
    found: Counter[str] = Counter()
    wrong = 0
    looked = 0
    for a, b in track(list(candidates(one, other)), "comparing", console=console):
        looked += 1
        common = set(name_pairs(one[a].identity)) & set(name_pairs(other[b].identity))
        most = min((held[pair] for pair in common), default=0)
        weighed = compare(one[a], other[b], name_bits(most, number))
        if weighed.bits < least:
            continue
        if one[a].person == other[b].person:
            found[one[a].change or ""] += 1
        else:
            wrong += 1
    there = Counter(case.change for case in one if case.change)
    right = sum(found.values())
    table = Table("difference", "pairs", "found", "recall")
    for kind in CHANGES:
        table.add_row(
            kind, str(there[kind]), str(found[kind]), f"{found[kind] / max(there[kind], 1):.3f}"
        )
    console.print(table)
    result: dict[str, object] = {
        "persons": persons,
        "cases": number,
        "in_both": both,
        "threshold_bits": round(least, 2),
        "looked_at": looked,
        "recall": round(right / both, 4),
        "precision": round(right / max(right + wrong, 1), 4),
        "false_pairs": wrong,
        "false_pairs_in_10000_cases": round(wrong / number * 10_000, 3),
        "by_difference": {kind: {"pairs": there[kind], "found": found[kind]} for kind in CHANGES},
    }
    console.print({k: v for k, v in result.items() if k != "by_difference"})
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--persons", type=int, default=100_000)
    parser.add_argument("--both", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    result = measure(options.persons, options.both, options.seed)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
