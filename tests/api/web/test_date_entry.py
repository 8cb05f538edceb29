"""Dates in three fields: their order, what was typed, and what a script makes of it."""

import json
import shutil
import subprocess
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from babel import Locale

from api.web.date_entry import TypedDate, date_example, date_order, days_in_words

STATIC = Path(str(resources.files("api.web"))) / "static"


@pytest.mark.parametrize(
    ("locale", "order", "example"),
    [
        ("en_GB", "day month year", "27/03/2026"),
        ("en_US", "month day year", "3/27/2026"),
        ("sq", "day month year", "27.3.2026"),
        ("sr_Latn_ME", "day month year", "27. 3. 2026."),
        ("hu", "year month day", "2026. 03. 27."),
    ],
)
def test_the_fields_have_the_order_of_the_language(locale: str, order: str, example: str) -> None:
    parsed = Locale.parse(locale)
    assert " ".join(date_order(parsed)) == order
    assert date_example(parsed) == example


@pytest.mark.parametrize(
    "typed",
    [
        TypedDate("5", "12", ""),
        TypedDate("", "12", "2026"),
        TypedDate("31", "2", "2026"),
        TypedDate("1", "1", "26"),
        TypedDate("1", "1", "2926"),
        TypedDate("yesterday", "", ""),
        TypedDate("1-2", "3", "2026"),
    ],
)
def test_a_date_that_is_none_is_refused_and_its_text_stays(typed: TypedDate) -> None:
    with pytest.raises(ValueError, match=r"."):
        typed.read()
    assert TypedDate.of(typed.text).text == typed.text != ""


def test_a_whole_date_is_read_and_nothing_is_no_date() -> None:
    assert TypedDate(" 3", "12", "2026").read() == date(2026, 12, 3)
    assert TypedDate.of("2026-12-03") == TypedDate("03", "12", "2026")
    assert TypedDate().read() is TypedDate.of("").read() is None


ASK = """
const { read, said, pasted, fill, typed, timeOf } = await import(process.argv[1]);
const parts = (values) => {
  const inputs = Object.entries(values).map(([part, value]) => ({ dataset: { part }, value }));
  return {
    dataset: { first: "1900-01-01", last: "today", zone: "Europe/Podgorica" },
    querySelectorAll: () => inputs,
    querySelector: (sought) => inputs.find((one) => sought === `[data-part="${one.dataset.part}"]`),
  };
};
globalThis.document = {
  documentElement: { dataset: { days: process.argv[3] } },
  getElementById: () => ({ content: { querySelector: () => null } }),
};
const asked = JSON.parse(process.argv[2]);
const told = asked.map((values) => {
  const { value, wrong, control } = read(parts(values));
  return [value, wrong, control?.dataset.part ?? ""];
});
const field = parts({ day: "", month: "", year: "", time: "" });
fill(field, "2026-12-03T08:05");
console.log(JSON.stringify({ told, said: said(parts(asked.at(-2))), filled: typed(field), pasted: [
  pasted("3.12.2026", ["day", "month", "year"]), pasted("12/3/2026", ["month", "day", "year"]),
  pasted("2026-12-03", ["day", "month", "year"]), pasted("3.12", ["day", "month", "year"]),
], times: ["8:05", "0805", "8.05", "24:00", "8"].map(timeOf) }));
"""


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    """The answers of the pages' script."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no Node.js")
    asked = [{"day": day, "month": month, "year": year} for day, month, year in READ]
    asked.append({"day": "3", "month": "12", "year": "2025", "time": "8:05"})
    asked.append({"day": "3", "month": "12", "year": "2025", "time": ""})
    found = subprocess.run(
        [
            node,
            "--input-type=module",
            "-e",
            ASK,
            str(STATIC / "date_fields.js"),
            json.dumps(asked),
            days_in_words(Locale("sq")),
        ],
        env={"TZ": "America/New_York"},
        check=True,
        capture_output=True,
        text=True,
    )
    answers: dict[str, Any] = json.loads(found.stdout)
    return answers


READ = {
    ("", "", ""): ("", "", "day"),
    ("3", "12", "2025"): ("2025-12-03", "", ""),
    ("05", "dd", "2025"): ("", "date.digits", "month"),
    ("5", "12", ""): ("", "date.part_missing", "year"),
    ("", "12", ""): ("", "date.part_missing", "day"),
    ("31", "2", "2025"): ("", "date.no_day", "day"),
    ("29", "2", "2024"): ("2024-02-29", "", ""),
    ("1", "13", "2025"): ("", "date.no_month", "month"),
    ("1", "1", "25"): ("", "date.four_digits", "year"),
    ("1", "1", "1899"): ("", "date.between", "year"),
    ("1", "1", "2199"): ("", "date.between", "year"),
}


def test_the_script_reads_whole_dates_and_names_the_part_that_is_wrong(
    told: dict[str, Any],
) -> None:
    assert [tuple(one) for one in told["told"][: len(READ)]] == list(READ.values())


def test_a_moment_needs_its_time(told: dict[str, Any]) -> None:
    whole, half = told["told"][len(READ) :]
    assert whole == ["2025-12-03T08:05", "", ""]
    assert half == ["", "date.no_time", "time"]
    assert told["times"] == ["08:05", "08:05", "08:05", "", ""]


def test_the_script_writes_a_moment_in_the_language_of_the_page(told: dict[str, Any]) -> None:
    """Chromium has no Albanian names of months; the page brings them."""
    assert told["said"] == "3 dhjetor 2025 08:05 (UTC+1)"
    assert days_in_words(Locale.parse("hu")).startswith("{year}. január {day}.|")


def test_a_kept_or_pasted_date_fills_all_fields(told: dict[str, Any]) -> None:
    assert told["filled"] == {"day": "3", "month": "12", "year": "2026", "time": "08:05"}
    day, us, iso, half = told["pasted"]
    assert day == {"day": "3", "month": "12", "year": "2026"}
    assert us == {"day": "3", "month": "12", "year": "2026"}
    assert iso == {"day": "03", "month": "12", "year": "2026"}
    assert half is None
