"""Makes the table, the plot and the file of figures of a comparison."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.peers.peer import ALONE, BATCHES, EIGHT, MANY, READING, WORKLOADS

DIRECTORY = Path(__file__).parent / "results"
FIGURES = "appends.json"
README = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- appends: begin -->", "<!-- appends: end -->"
COLUMNS = (*(workload.name for workload in WORKLOADS), READING)
TIMES = "\N{MULTIPLICATION SIGN}"
BASE = "eventsourcing recorder"
"""What the others are compared with."""
SAME_DUTIES = "eventsourcing, same duties"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Events a second, over all rounds."""

    median: float
    min: float
    max: float
    runs: Sequence[float]


@dataclass(frozen=True, slots=True)
class Row:
    """One store's results, or why there are none."""

    name: str
    about: str
    server: str
    version: str | None
    durability: str | None
    unavailable: str | None
    failed: Mapping[str, str]
    """By workload."""
    rates: Mapping[str, Outcome]
    """By workload, and of reading."""


@dataclass(frozen=True, slots=True)
class Results:
    """All of a comparison."""

    machine: Mapping[str, Any]
    measured: Mapping[str, Any]
    event: Mapping[str, Any]
    rows: Sequence[Row]

    def rate(self, name: str, column: str) -> float | None:
        """Return a store's median, if it has one."""
        for row in self.rows:
            if row.name == name and column in row.rates:
                return row.rates[column].median
        return None

    def runs(self, name: str, column: str) -> Sequence[float]:
        """Return a store's figures round by round, if it has any."""
        for row in self.rows:
            if row.name == name and column in row.rates:
                return row.rates[column].runs
        return ()


@dataclass(frozen=True, slots=True)
class Aim:
    """So many times as fast as another store is what this project aims at."""

    of: str
    column: str
    than: str
    times: float | None
    """``None`` where the ratio is only told."""

    def measured(self, results: Results) -> float | None:
        ours, theirs = results.rate(self.of, self.column), results.rate(self.than, self.column)
        return None if ours is None or theirs is None else ours / theirs

    def of_rounds(self, results: Results) -> list[float]:
        """Return the ratio within each round, whose runs were the closest to each other."""
        ours, theirs = results.runs(self.of, self.column), results.runs(self.than, self.column)
        return [our / their for our, their in zip(ours, theirs, strict=False)]

    def __str__(self) -> str:
        least = "" if self.times is None else f": at least {self.times}"
        return f"{self.of}, {self.column}{least} {TIMES} {self.than}"

    def holds(self, results: Results) -> bool | None:
        """Return whether the aim is met; ``None`` without a measurement or without an aim."""
        measured = self.measured(results)
        return None if measured is None or self.times is None else measured >= self.times


_EVERYTHING = "case ledger, everything on"
_STORE = "case ledger, store"
AIMS = (
    Aim(_EVERYTHING, ALONE.name, BASE, 0.8),
    Aim(_EVERYTHING, EIGHT.name, BASE, 1.5),
    Aim(_EVERYTHING, MANY.name, BASE, 3),
    *(Aim(_EVERYTHING, one.name, SAME_DUTIES, None) for one in (ALONE, EIGHT, MANY)),
    Aim(_STORE, ALONE.name, "UmaDB", 1),
    Aim(_STORE, MANY.name, "UmaDB", 1.3),
    Aim(_STORE, MANY.name, "bare INSERT", 1.3),
    Aim(_STORE, BATCHES.name, "UmaDB", 1),
    Aim(_STORE, READING, BASE, 2),
)


def save(results: Results, directory: Path) -> None:
    """Write the figures and the plot of them."""
    directory.mkdir(parents=True, exist_ok=True)
    content = {**asdict(results), "aims": [_aim(aim, results) for aim in AIMS]}
    (directory / FIGURES).write_text(
        json.dumps(_rounded(content), indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    plot(results, directory / "appends.svg")


def load(directory: Path) -> Results:
    """Read the results. Raises ``FileNotFoundError`` before anything was measured."""
    content = json.loads((directory / FIGURES).read_text(encoding="utf-8"))
    rows = [
        Row(**{**row, "rates": {name: Outcome(**rate) for name, rate in row["rates"].items()}})
        for row in content["rows"]
    ]
    return Results(content["machine"], content["measured"], content["event"], rows)


def show(results: Results, console: Console) -> None:
    """Print the same tables on the terminal."""
    table = Table("Events a second", *COLUMNS, title=f"({TIMES} {BASE})", title_justify="left")
    for row in results.rows:
        table.add_row(row.name, *(_cell(results, row, column) for column in COLUMNS))
    console.print(table)
    aims = Table("What was aimed at", "measured", "holds?")
    for aim in AIMS:
        aims.add_row(*_aim_cells(aim, results))
    console.print(aims)
    for line in _notes(results):
        console.print(f"- {line}", highlight=False, markup=False)


def markdown(results: Results) -> str:
    """Return the tables as Markdown, with all that is needed to read them."""
    lines = [_rates(results), "", "| what was aimed at | measured | holds? |", "|---|--:|---|"]
    lines += [f"| {' | '.join(_aim_cells(aim, results))} |" for aim in AIMS]
    lines += ["", *(f"- {line}" for line in _notes(results))]
    return "\n".join(lines)


def _rates(results: Results) -> str:
    lines = [
        f"| events a second ({TIMES} {BASE}) | " + " | ".join(COLUMNS) + " |",
        "|---|" + "--:|" * len(COLUMNS),
    ]
    for row in results.rows:
        cells = [_cell(results, row, column) for column in COLUMNS]
        lines.append(f"| {row.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def update_readme(results: Results) -> None:
    """Put the tables into the benchmarks' README."""
    _between_markers(README, markdown(results))


def _between_markers(readme: Path, tables: str) -> None:
    text = readme.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    readme.write_text(f"{before}{BEGIN}\n{tables}\n{END}{after}", encoding="utf-8")


def plot(results: Results, path: Path) -> None:
    """Draw a panel for each workload: medians as bars, lines from slowest to fastest run."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "appends", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(COLUMNS), 1, figsize=(8, 11), layout="constrained")
    for axis, column in zip(axes, COLUMNS, strict=True):
        rows = [row for row in reversed(results.rows) if column in row.rates]
        rates = [row.rates[column] for row in rows]
        names = [row.name for row in rows]
        axis.barh(
            names,
            [rate.median for rate in rates],
            xerr=[
                [rate.median - rate.min for rate in rates],
                [rate.max - rate.median for rate in rates],
            ],
            color=["#1b6ca8" if name.startswith("case ledger") else "#b8bec4" for name in names],
            error_kw={"ecolor": "#333333", "elinewidth": 1, "capsize": 2},
        )
        most = max((rate.max for rate in rates), default=1)
        for place, rate in enumerate(rates):
            axis.text(rate.max + most * 0.01, place, f" {rate.median:,.0f}", va="center")
        axis.set_xlim(0, most * 1.12)
        axis.set_title(column, loc="left", fontweight="bold")
        axis.spines[["top", "right"]].set_visible(False)
        axis.xaxis.set_major_formatter(mpl.ticker.StrMethodFormatter("{x:,.0f}"))
    figure.supxlabel(
        f"events a second; {results.event['median_bytes']} bytes; durable; {_machine(results)}"
    )
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _cell(results: Results, row: Row, column: str) -> str:
    if row.unavailable is not None:
        return "not here"
    if column in row.failed:
        return "failed"
    if column not in row.rates:
        return "—"
    rate, base = row.rates[column].median, results.rate(BASE, column)
    return f"{rate:,.0f}" + (f" ({rate / base:.2f}{TIMES})" if base else "")


def _aim(aim: Aim, results: Results) -> dict[str, Any]:
    measured = aim.measured(results)
    return {
        "aim": str(aim),
        "times": aim.times,
        "measured": measured,
        "holds": aim.holds(results),
        "of_rounds": aim.of_rounds(results),
    }


def _aim_cells(aim: Aim, results: Results) -> tuple[str, str, str]:
    measured = aim.measured(results)
    if measured is None:
        return str(aim), "not measured", "—"
    rounds = aim.of_rounds(results)
    said = f"{measured:.2f} {TIMES} ({min(rounds):.2f} to {max(rounds):.2f})"
    return str(aim), said, {True: "yes", False: "no", None: "—"}[aim.holds(results)]


def _notes(results: Results) -> list[str]:
    event, measured = results.event, results.measured
    notes = [
        f"**Machine**: {_machine(results)}; {results.machine['memory_gib']} GiB,"
        f" {results.machine['kernel']}, {results.machine['filesystem']}; 4 KiB are on the disk in"
        f" {results.machine['fdatasync_microseconds']} µs; Python {results.machine['python']},"
        f" psycopg {results.machine['psycopg']}; clients and servers share it. Load average"
        f" {results.machine['load_before']} before, {results.machine['load_after']} after.",
        f"**Events**: real signed actions of this project, {event['median_bytes']} bytes in the"
        f" median ({event['min_bytes']} to {event['max_bytes']}), in cases of"
        f" {event['of_a_case']}; the same bytes for every store. This project's store adds the"
        " time and a leaf hash.",
        f"**Runs**: {measured['rounds']} interleaved rounds of {measured['seconds_each']} s each,"
        f" begun {measured['began']}, {measured['minutes']} minutes in all, at"
        f" {results.machine['commit']}; medians. The lowest and highest are in the file.",
    ]
    for row in results.rows:
        if row.unavailable is not None:
            notes.append(f"**{row.name}** is left out: {row.unavailable}")
            continue
        notes.append(f"**{row.name}** ({row.version}; {row.server}): {row.about}.")
        notes += [f"**{row.name}**, {name}, failed: {why}" for name, why in row.failed.items()]
    durable = dict.fromkeys(row.durability for row in results.rows if row.durability)
    notes += [
        f"**Durable** ({', '.join(row.name for row in results.rows if row.durability == how)}):"
        f" {how}."
        for how in durable
    ]
    return notes


def _machine(results: Results) -> str:
    return f"{results.machine['cores']} cores ({results.machine['cpu']})"


def _rounded(content: Any) -> Any:
    """With four digits, which is more than can be told apart."""
    if isinstance(content, Mapping):
        return {name: _rounded(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [_rounded(value) for value in content]
    if isinstance(content, float):
        return float(f"{content:.4g}")
    return content
