"""The auditor's script, in an interpreter that sees nothing of this project."""

import os
import runpy
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

AUDITOR = Path(__file__).parents[2] / "auditor" / "verify.py"


def run_auditor(
    what: str, path: Path, *more: str, script: Path = AUDITOR, alone: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run it; with ``alone`` it has no package but the standard library."""
    isolation = ["-I", "-S"] if alone else ["-P"]
    return subprocess.run(
        [sys.executable, *isolation, str(script), what, str(path), *more],
        capture_output=True,
        text=True,
        cwd="/",
        env={"PATH": os.environ["PATH"]},
        timeout=120,
    )


@cache
def auditor_names() -> dict[str, Any]:
    """Return the script's functions and classes by name: it is compiled once, as any module is."""
    return runpy.run_path(str(AUDITOR))
