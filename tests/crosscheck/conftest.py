"""A served ledger, as the tests of the API have it, and packages of npm."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.api.conftest import alone, served, served_once

__all__ = ["alone", "npm_packages", "served", "served_once"]

SOURCE = Path(__file__).parent


def installed(name: str) -> Path:
    """Return a folder with the packages of the lock file in the folder ``name``, by their hashes.

    The folder's name has the hash of the lock file, so all tests and later runs share it.
    """
    lock = (SOURCE / name / "package-lock.json").read_bytes()
    kept = (
        Path(tempfile.gettempdir()) / f"case-ledger-{name}-{hashlib.sha256(lock).hexdigest()[:16]}"
    )
    if not kept.exists():
        making = Path(tempfile.mkdtemp(prefix=f"{kept.name}-"))
        for file in ("package.json", "package-lock.json"):
            shutil.copy(SOURCE / name / file, making)
        subprocess.run(
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"],
            check=True,
            cwd=making,
            timeout=400,
        )
        try:
            making.rename(kept)
        except OSError:  # another process was faster
            shutil.rmtree(making)
    return kept


@pytest.fixture(scope="session")
def npm_packages() -> Path:
    """The packages of the TypeScript client and of the cross-checks."""
    if shutil.which("npm") is None and os.environ.get("CASE_LEDGER_TEST_CROSSCHECK") != "required":
        pytest.skip("needs Node.js 18 or newer, and npm")
    return installed("npm")
