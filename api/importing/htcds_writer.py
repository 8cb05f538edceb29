"""Writes cases as HTCDS: a CSV, or JSON lines, whole or not at all, for its owner alone."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ledger.signing.keys import write_private
from ledger.system.csv_cells import neutral

SEPARATOR = ";"
_JSON_LINES = (".jsonl", ".ndjson")


def check_writable(path: Path) -> None:
    """Check that a file's name states a format and is free.

    Raises ``ValueError`` if the name states no format, or if the file exists.
    """
    if path.suffix.lower() not in (".csv", *_JSON_LINES):
        raise ValueError(f"{path}: name it .csv, or .jsonl for JSON lines")
    if path.exists():
        raise ValueError(f"{path} is there already; an export is written over nothing")


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows, and return how many.

    The file is durable, and readable by its owner alone. Raises ``ValueError`` if a value cannot be
    told from two in a CSV, and as :func:`check_writable` does; then there is no file.
    """
    check_writable(path)
    written, file = list(rows), io.StringIO(newline="")
    if path.suffix.lower() in _JSON_LINES:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in written)
    else:
        columns = list(dict.fromkeys(name for row in written for name in row))
        table = csv.writer(file)
        table.writerow(columns)
        table.writerows([[neutral(_cell(n, row.get(n))) for n in columns] for row in written])
    write_private(path, file.getvalue().encode())
    return len(written)


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, Sequence) or isinstance(value, str):
        return str(value)
    texts = [str(one) for one in value]
    if any(SEPARATOR in text or "\n" in text for text in texts):
        raise ValueError(f"a value of {name} has a semicolon in it; export to .jsonl instead")
    return SEPARATOR.join(texts)
