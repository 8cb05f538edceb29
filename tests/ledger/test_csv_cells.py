"""No cell of a CSV is a formula, and each is read back as it was."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.system.csv_cells import neutral, original

_BEGINNINGS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"


@given(st.text(st.sampled_from([*_BEGINNINGS, "'", "a", "1", " "]), max_size=6) | st.text())
def test_a_text_is_no_formula_and_comes_back(text: str) -> None:
    cell = neutral(text)
    assert cell[:1] not in set(_BEGINNINGS) or not cell
    assert original(cell) == text
    written = io.StringIO(newline="")
    csv.writer(written).writerow([cell, "end"])
    written.seek(0)
    assert original(next(csv.reader(written))[0]) == text


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=HYPERLINK(A1)", "'=HYPERLINK(A1)"),
        ("+38344123456", "'+38344123456"),
        ("-", "'-"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("'=1", "''=1"),
        ("O'Neill", "O'Neill"),
        ("'Arta'", "'Arta'"),
        ("a=b", "a=b"),
        ("", ""),
    ],
)
def test_a_cell_as_it_is_written(text: str, cell: str) -> None:
    assert neutral(text) == cell
    assert original(cell) == text


def test_a_number_stays_one() -> None:
    assert neutral(-3) == -3
