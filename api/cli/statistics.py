"""Commands that publish counts of cases, so that they tell of nobody."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from api.cli.columnar import writing
from api.cli.connection import AsAgencyOrJson, asks
from api.cli.output import AsJson, failures, out, print_json
from api.cli.verify import PolicyFile

if TYPE_CHECKING:
    from projections.statistics.cube import Cell, Cube

app = typer.Typer(name="statistics", help="Counts that can be published.", no_args_is_help=True)

Columns = Annotated[
    Path | None, typer.Option(help="A directory that `case-ledger export --parquet` wrote.")
]
Records = Annotated[
    Path | None,
    typer.Option(
        help="Count these records instead: a directory that `statistics export` wrote, or Parquet"
        " or CSV with one row for each person."
    ),
]
Categories = Annotated[
    Path | None,
    typer.Option(help="The values of the records' columns: JSON, a list for each column."),
]
By = Annotated[
    list[str],
    typer.Option(help="A dimension, such as year; may be repeated. Another one lists all."),
]
K = Annotated[int, typer.Option(min=5, help="The smallest group that is shown.")]


@app.command("publish")
def publish_counts(
    directory: Annotated[Path, typer.Option("--out", help="The directory of the publications.")],
    by: By,
    parquet: Columns = None,
    records: Records = None,
    categories: Categories = None,
    static: Annotated[
        Path | None,
        typer.Option(
            "--export",
            help="Prove the columns against what `case-ledger log export` wrote.",
            show_default="our database",
        ),
    ] = None,
    policy: PolicyFile = None,
    k: K = 10,
    epsilon: Annotated[
        float | None, typer.Option(help="Add noise instead of hiding (differential privacy).")
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            help="The bound of the sum of a series' epsilons, from its beginning.", show_default="3"
        ),
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(
            help="The record of the series, never to be published.", show_default="our data"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Publish a table of counts with all its totals, as CSV and Parquet, and for CTDC.

    The columns are proven first: every row must be one that the ledger's events give. Small counts
    are hidden. Other counts are hidden too, until neither a total nor an earlier
    publication gives a small count back. Publish from one record alone, and by one set of
    dimensions.
    """

    from api.cli.steps.column_sources import source_of
    from api.cli.steps.verification_reports import policy_in
    from api.runtime.settings import Settings
    from projections.columnar.proof import prove
    from projections.statistics.publication_files import (
        publish_noisy,
        publish_suppressed,
        recorded,
        write,
    )

    with failures(as_json):
        if parquet is not None:
            trusted = None if policy is None else policy_in(policy)
            with source_of(static) as source, writing(as_json, "Verifying") as progress:
                prove(parquet, source, trusted, progress)
        cube, counts, position, root, of = _counted(parquet, records, categories, by)
        file = record or Settings().data_directory / "statistics" / f"{of}.json"
        with recorded(file) as known:
            if epsilon is None:
                made = publish_suppressed(known, cube, counts, k, position, root)
            else:
                made = publish_noisy(known, cube, counts, k, epsilon, budget, position, root)
            about, told_cube, told, after = made
            target = write(file, after, directory, about, told_cube, told)
        if as_json:
            print_json({"directory": str(target), **about.model_dump(mode="json")})
            return
        out.print(f"{about.shown} of {about.cells} counts are shown, in {target}", soft_wrap=True)
        out.print(f"[dim]{about.note}[/]")


@app.command("export")
@asks
def export_records(
    asked: AsAgencyOrJson,
    directory: Annotated[Path, typer.Argument(help="A new directory, for this release alone.")],
) -> None:
    """Write pseudonymised records of the own country's persons, for an analyst of that country.

    The files have values of given lists alone, months or quarters in place of days, and pseudonyms
    of this release. The access log of the country's vault has an entry for each person.
    """
    from projections.statistics.record_files import check_free, write_records

    with asked.client() as client:
        check_free(directory)
        about = write_records(directory, client.statistics_records())
        if asked.as_json:
            print_json({"directory": str(directory), **about.model_dump(mode="json")})
            return
        out.print(
            f"{about.rows} persons are in {directory}, which only you can read. Publish counts with"
            f" `case-ledger statistics publish --records {directory}`.",
            soft_wrap=True,
        )


@app.command("join")
def join_publications(
    publications: Annotated[
        list[str],
        typer.Argument(
            metavar="COUNTRY=DIRECTORY...",
            help="A publication of each country, such as XK=counts/0003.",
        ),
    ],
    directory: Annotated[Path, typer.Option("--out", help="The directory of the joint table.")],
    as_json: AsJson = False,
) -> None:
    """Join tables that countries published into one, without anybody's records.

    A count is the sum of those that the countries published, where all of them show one. Where some
    hide theirs, at_least is the sum of the others.
    """
    from projections.statistics.joint_tables import join, read_publication, write_joint

    with failures(as_json):
        read = {}
        for named in publications:
            country, is_named, place = named.partition("=")
            if not is_named or not country or not place:
                raise ValueError(f"{named}: write COUNTRY=DIRECTORY, such as XK=counts/0003")
            if country in read:
                raise ValueError(f"{country} is named twice; name one publication of each country")
            read[country] = read_publication(Path(place))
        about = write_joint(directory, join(read), read)
        if as_json:
            print_json({"directory": str(directory), **about.model_dump(mode="json")})
            return
        out.print(
            f"{about.shown} of {about.cells} counts are shown by all {len(read)} countries, in"
            f" {directory}",
            soft_wrap=True,
        )
        out.print(f"[dim]{about.note}[/]")


@app.command("trade")
def show_trade(
    by: By,
    parquet: Columns = None,
    records: Records = None,
    categories: Categories = None,
    k: K = 10,
    as_json: AsJson = False,
) -> None:
    """Show the loss of accuracy by privacy, for some epsilons. For the publisher alone."""
    from projections.statistics.differential_privacy import EPSILONS, trade

    with failures(as_json):
        cube, counts, *_ = _counted(parquet, records, categories, by)
        found = [trade(cube, counts, k, epsilon) for epsilon in EPSILONS]
        if as_json:
            names = ("epsilon", "error_of_a_cell", "error_at_95", "error_of_the_total",
                "suppressed_share")  # fmt: skip
            print_json([{name: getattr(one, name) for name in names} for one in found])
            return
        table = Table(title="Privacy and accuracy", box=box.SIMPLE_HEAD)
        for column in (
            "epsilon", "error of a count", "19 in 20 within", "error of the total", f"below {k}",
        ):  # fmt: skip
            table.add_column(column, justify="right")
        for one in found:
            table.add_row(
                f"{one.epsilon:g}",
                f"{one.error_of_a_cell:.1f}",
                f"{one.error_at_95}",
                f"{one.error_of_the_total:.1f}",
                f"{one.suppressed_share:.0%}",
            )
        out.print(table)


def _counted(
    parquet: Path | None, records: Path | None, categories: Path | None, by: list[str]
) -> tuple["Cube", dict["Cell", int], int, str | None, str]:
    """Count the cases of an export or of a file of records.

    Returns the cube, the counts, the position that the events reach, the root of these events, and
    a name for their source. The position is 0 and the root is ``None`` for a file of records.
    """
    from projections.columnar.duckdb_tables import parties_of
    from projections.columnar.manifest import existing_manifest
    from projections.statistics.counting import count_cases, count_records

    if (parquet is None) is (records is None):
        raise ValueError("name one: --parquet, or --records")
    if records is not None and records.is_dir():
        from projections.statistics.record_files import read_records

        file, known = read_records(records)
        cube, counts = count_records(file, by, known.categories)
        return cube, counts, known.position, None, f"records-{known.protocol}-{known.country}"
    if records is not None:
        cube, counts = count_records(records, by, _categories(categories))
        return cube, counts, 0, None, records.stem
    if parquet is None:
        raise ValueError("name an export: --parquet")
    parties = parties_of(parquet, existing_manifest(parquet))
    cube, counts, manifest = count_cases(parquet, parties, by)
    return cube, counts, manifest.upto, manifest.root, manifest.ledger_id


def _categories(file: Path | None) -> Mapping[str, list[str]]:
    """Read the lists of categories. Raises ``ValueError`` if the file has none."""
    from pydantic import TypeAdapter, ValidationError

    from ledger.system.bounded_files import read_ordinary

    if file is None:
        return {}
    try:
        return TypeAdapter(dict[str, list[str]]).validate_json(read_ordinary(file))
    except ValidationError as error:
        raise ValueError(f"{file} must have a list of texts for each column") from error
