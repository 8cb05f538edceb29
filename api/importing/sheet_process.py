"""The process that reads a spreadsheet: a hostile file takes no memory and no time from a node.

    SHEET=… python -P -s -m api.importing.sheet_process < FILE

The process reads the file whole, locks itself (``ledger/system/lockdown.py``), and writes JSON, a
line each: first the sheet and the number of its rows, or what is wrong; then the texts of each row;
at the end ``null``. A few bytes of a spreadsheet can ask for a cell a million rows below.
"""

import encodings.cp437
import io
import json
import os
import sys
import zipfile
from contextlib import suppress
from datetime import date, datetime, time
from typing import Any

from python_calamine import CalamineError, CalamineWorkbook, PasswordError

from ledger.system.lockdown import NotIsolatedError, lock_down

_NEEDED_LATE = (encodings.cp437,)
"""The names in a ZIP are read by it: once the process is locked, it imports nothing."""
MEMORY_BYTES = 4 * 1024**3
CPU_SECONDS = 900
_HEAD_LINES = 40
_MOST_UNPACKED_BYTES = 1 << 30
"""A spreadsheet is a ZIP of XML: one that says that it unpacks to more is not opened."""
_ROUNDED_FROM = 1e15
"""A spreadsheet keeps 15 digits of a number: of a longer one the last digits are lost."""


def main() -> None:
    """Read the file, lock this process, and write the rows."""
    content = sys.stdin.buffer.read()
    with suppress(NotIsolatedError):  # on another system its memory alone is bounded
        lock_down(memory_bytes=MEMORY_BYTES, cpu_seconds=CPU_SECONDS)
    try:
        _write(content, os.environ.get("SHEET"))
    except PasswordError:
        _tell({"error": "password"})
    except (CalamineError, zipfile.BadZipFile):
        _tell({"error": "no-spreadsheet"})
    except MemoryError:
        _tell({"error": "too-large"})


def _write(content: bytes, named: str | None) -> None:
    held = io.BytesIO(content)
    if zipfile.is_zipfile(held):
        with zipfile.ZipFile(held) as packed:
            if sum(part.file_size for part in packed.infolist()) > _MOST_UNPACKED_BYTES:
                _tell({"error": "too-large"})
                return
    held.seek(0)
    book = CalamineWorkbook.from_filelike(held)
    if named is not None and named not in book.sheet_names:
        _tell({"error": "no-such-sheet"})
        return
    for name in book.sheet_names if named is None else [named]:
        rows = book.get_sheet_by_name(name).to_python(skip_empty_area=False)
        if named is None and not any(cell != "" for row in rows[:_HEAD_LINES] for cell in row):
            continue
        _tell({"sheet": name, "rows": len(rows)})
        for row in rows:
            _tell([_text(cell) for cell in row])
        _tell(None)
        return
    _tell({"error": "empty"})


def _tell(value: object) -> None:
    sys.stdout.write(f"{json.dumps(value)}\n")


def _text(cell: Any) -> str:
    """Return a cell as a person types it: a day as 2024-03-01, a whole number without a point.

    A number that lost digits is written with an exponent, as a spreadsheet shows it.
    """
    match cell:
        case bool():
            return "true" if cell else "false"
        case float() if abs(cell) >= _ROUNDED_FROM:
            return f"{cell:E}"
        case float() if cell.is_integer():
            return str(int(cell))
        case datetime() if cell.time() == time():
            return cell.date().isoformat()
        case datetime() | date() | time():
            return cell.isoformat()
    return str(cell)


if __name__ == "__main__":
    main()
