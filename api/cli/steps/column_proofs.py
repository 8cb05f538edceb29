"""Prove a columnar export, and show the proof."""

from dataclasses import asdict
from pathlib import Path

from api.cli.columnar import writing
from api.cli.output import fail, failures, out, print_json
from api.cli.steps import column_sources
from api.cli.steps.verification_reports import DOES_NOT_HOLD
from ledger.log.policy import Policy


def prove_columns(
    directory: Path, static: Path | None, policy: Policy | None, as_json: bool
) -> None:
    """Prove an export against its ledger, and print the result.

    Exits with 3 if something does not hold.
    """
    # DuckDB is not installed with every node.
    from projections.columnar.manifest import ColumnarError
    from projections.columnar.proof import prove

    with failures(as_json), column_sources.source_of(static) as source:
        try:
            with writing(as_json, "Verifying") as progress:
                found = prove(directory, source, policy, progress)
        except ColumnarError as error:
            fail(str(error), DOES_NOT_HOLD)
    if as_json:
        print_json(asdict(found))
        return
    out.print(
        f"[green]{found.rows} rows are those of the first {found.upto} events[/], root "
        f"{found.root}",
        soft_wrap=True,
    )
    covered = "no published checkpoint covers them yet"
    if found.checkpoint is not None:
        signed = "signed as your policy asks" if found.trusted else "signatures not checked"
        covered = f"the checkpoint of {found.checkpoint} events covers them ({signed})"
    out.print(covered, soft_wrap=True)
