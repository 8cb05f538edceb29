"""Programs in Go that verify a log's files, with Debian's packages alone."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

GOCODE = Path("/usr/share/gocode")
PROGRAMS = Path(__file__).parents[1] / "crosscheck"
_SHARED = ("formats.go", "tree.go")


def need_go(*, module: bool = False) -> None:
    """Skip the test, or its whole module, where Go is missing and no setting requires it."""
    has_go = shutil.which("go") is not None and (GOCODE / "src/golang.org/x/mod/sumdb").is_dir()
    if not has_go and os.environ.get("CASE_LEDGER_TEST_CROSSCHECK") != "required":
        pytest.skip(
            "needs Debian's golang-go and golang-golang-x-mod-dev", allow_module_level=module
        )


def build(built: Path) -> Path:
    """Compile the program of this name."""
    env = os.environ | {"GO111MODULE": "off", "GOPATH": str(GOCODE), "GOFLAGS": ""}
    env["GOCACHE"] = str(built.parent / "cache")
    sources = [PROGRAMS / f"{built.name}.go", *(PROGRAMS / name for name in _SHARED)]
    subprocess.run(["go", "build", "-o", built, *sources], check=True, env=env, cwd=built.parent)
    return built
