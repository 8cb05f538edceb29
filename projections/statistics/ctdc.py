"""Published counts as records of the Counter-Trafficking Data Collaborative (CTDC).

The columns are those of its k-anonymised global dataset, and -99 stands for what is not known, as
there. A record stands for one case of a cell that is shown; nothing that the table hides is in
them. Of what CTDC asks, the ledger holds few things; the rest is -99.
"""

from collections.abc import Callable, Mapping, Sequence

from projections.statistics.cube import Cell, Cube
from projections.statistics.values import MISSING

_MEANS = (
    *("DebtBondage", "TakesEarnings", "RestrictsFinancialAccess", "Threats"),
    *("PsychologicalAbuse", "PhysicalAbuse", "SexualAbuse", "FalsePromises"),
    *("PsychoactiveSubstances", "RestrictsMovement", "RestrictsMedicalCare"),
    *("ExcessiveWorkingHours", "UsesChildren", "ThreatOfLawEnforcement", "WithholdsNecessities"),
    *("WithholdsDocuments", "Other", "NotSpecified", "Concatenated"),
)
_LABOUR = (
    *("Agriculture", "Aquafarming", "Begging", "Construction", "DomesticWork", "Hospitality"),
    *("IllicitActivities", "Manufacturing", "MiningOrDrilling", "Peddling", "Transportation"),
    *("Other", "NotSpecified", "Concatenated"),
)
_SEX = (
    *("Prostitution", "Pornography", "RemoteInteractiveServices", "PrivateSexualServices"),
    "Concatenated",
)
COLUMNS = (
    *("yearOfRegistration", "Datasource", "gender", "ageBroad", "majorityStatus"),
    *("majorityStatusAtExploit", "majorityEntry", "citizenship"),
    *(f"meansOfControl{name}" for name in _MEANS),
    *("isForcedLabour", "isSexualExploit", "isOtherExploit", "isSexAndLabour", "isForcedMarriage"),
    *("isForcedMilitary", "isOrganRemoval", "isSlaveryAndPractices", "typeOfExploitConcatenated"),
    *(f"typeOfLabour{name}" for name in _LABOUR),
    *(f"typeOfSex{name}" for name in _SEX),
    *("isAbduction", "RecruiterRelationship", "CountryOfExploitation"),
    *(f"recruiterRelation{n}" for n in ("IntimatePartner", "Friend", "Family", "Other", "Unknown")),
)
DATASOURCE = "Case Management"

_MAJORITY = {"child": "Minor", "presumed_child": "Minor", "adult": "Adult"}


def _same(value: str) -> str:
    return value


def _majority(value: str) -> str:
    return _MAJORITY.get(value, MISSING)


_OURS: Mapping[str, tuple[str, Callable[[str], str]]] = {
    "year": ("yearOfRegistration", _same),
    "age_group": ("majorityStatus", _majority),
}
"""The column of CTDC for each dimension, and the mapping of its values."""


def records(cube: Cube, counts: Mapping[Cell, int]) -> list[dict[str, str]]:
    """Return one record for each case of a shown cell, by the dimensions that CTDC has.

    Totals are taken over the other dimensions. If a total is hidden, its cases have no records.
    """
    told = [_column(name) for name in cube.dimensions]
    rows: list[dict[str, str]] = []
    for cell in sorted(counts, key=lambda c: tuple(value or "" for value in c)):
        pairs = list(zip(cell, told, strict=True))
        if any((value is None) is not (column is None) for value, column in pairs):
            continue
        record = dict.fromkeys(COLUMNS, MISSING) | {"Datasource": DATASOURCE}
        for value, column in pairs:
            if value is not None and column is not None:
                name, written = column
                record[name] = written(value)
        rows += [record] * counts[cell]
    return rows


def has_any(dimensions: Sequence[str]) -> bool:
    """Return whether CTDC has a column for any of these dimensions."""
    return any(_column(name) is not None for name in dimensions)


def _column(name: str) -> tuple[str, Callable[[str], str]] | None:
    """Return the CTDC column of a dimension, and the function that converts its values.

    A column of a records file that has the name of a CTDC column is that column.
    """
    return _OURS.get(name) or ((name, _same) if name in COLUMNS else None)
