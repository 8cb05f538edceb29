"""Over several invented populations, few pairs of different persons are taken for one person.

It takes a minute of CPU for each population, so it runs only where it is asked for.
"""

import os

import pytest

from benchmarks.matching import measure

POPULATIONS = int(os.environ.get("CASE_LEDGER_TEST_POPULATIONS", "0"))
PERSONS, BOTH = 100_000, 5_000


@pytest.mark.skipif(not POPULATIONS, reason="CASE_LEDGER_TEST_POPULATIONS says how many")
def test_matching_finds_95_of_100_with_less_than_one_false_pair_in_10000_cases() -> None:
    """The bounds are of all populations together: one alone differs by chance."""
    results = [measure(PERSONS, BOTH, seed) for seed in range(1, POPULATIONS + 1)]
    recall = [float(str(one["recall"])) for one in results]
    false_pairs = [float(str(one["false_pairs_in_10000_cases"])) for one in results]
    assert sum(recall) / POPULATIONS >= 0.95, recall
    assert sum(false_pairs) / POPULATIONS < 1, false_pairs
