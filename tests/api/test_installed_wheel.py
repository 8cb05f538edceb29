"""The wheel in a clean environment outside the checkout: the base, then everything.

pip installs it, with the pinned versions of the dependencies. That takes minutes, so the test runs
only if it is asked for.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from api.client.assertion import make_assertion
from api.demo.node_process import free_port
from ledger.signing import keys
from tests.api.test_base_environment import POLICE, example
from tests.support.agencies import Agencies
from tests.support.base_environment import ROOT
from tests.support.serving import Server
from tests.support.waiting import until

MOST_BYTES = 36_000_000
"""The bound of all files of the base without bytecode, as in ``test_base_environment``."""
MOST_BYTECODE_BYTES = 16_000_000
SECONDS = 600
COORDINATOR = "xk-nac"

pytestmark = pytest.mark.skipif(
    os.environ.get("CASE_LEDGER_TEST_INSTALLED", "0") == "0",
    reason="CASE_LEDGER_TEST_INSTALLED is not set",
)


@dataclass(frozen=True)
class Installation:
    """An environment with nothing but pip, and the wheel that is installed into it."""

    directory: Path
    wheel: Path

    @property
    def environment(self) -> dict[str, str]:
        kept = ("PATH", "HOME", *(name for name in os.environ if name.startswith("PIP_")))
        data = {"XDG_DATA_HOME": str(self.directory / "data")}
        return {name: os.environ[name] for name in kept if name in os.environ} | data

    def program(self, name: str) -> Path:
        return self.directory / "env" / "bin" / name

    def run(self, name: str, *words: str, **more: str) -> str:
        """Run a program of the environment, outside the checkout. Return its output."""
        done = subprocess.run(
            [self.program(name), *words],
            cwd=self.directory,
            env=self.environment | more,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def install(self, pins: str, extra: str = "") -> None:
        """Install the dependencies at their pinned versions, and the wheel with an extra."""
        self.run("pip", "install", "-q", "-r", str(ROOT / "requirements" / pins))
        self.run("pip", "install", "-q", "--no-index", f"{self.wheel}{extra}")
        self.run("pip", "check")

    def size_bytes(self) -> tuple[int, int]:
        """Return the bytes of files and of bytecode, without pip itself."""
        (packages,) = (self.directory / "env").glob("lib/python*/site-packages")
        files = [
            file
            for file in packages.rglob("*")
            if file.is_file() and file.relative_to(packages).parts[0].split("-")[0] not in _TOOLS
        ]
        bytecode = sum(file.stat().st_size for file in files if file.suffix == ".pyc")
        return sum(file.stat().st_size for file in files) - bytecode, bytecode


_TOOLS = {"pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils"}


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    directory = tmp_path_factory.mktemp("installed")
    venv.create(directory / "env", with_pip=True)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = directory.glob("*.whl")
    yield Installation(directory, wheel)
    shutil.rmtree(directory)


@pytest.mark.timeout(SECONDS * 2)
def test_the_base_runs_the_clients_example_and_all_of_it_the_demonstration(
    installation: Installation, served: Server, agencies: Agencies
) -> None:
    installation.install("client.txt")
    keys.save(agencies.keys[POLICE], installation.directory / f"{POLICE}.jwk")
    for page in ("README.md", "docs/client.md"):
        installation.run("python", "-c", example(page, served.url))
    files, bytecode = installation.size_bytes()
    print(f"base: {files / 1e6:.1f} MB of files, {bytecode / 1e6:.1f} MB of bytecode")
    assert files < MOST_BYTES
    assert bytecode < MOST_BYTECODE_BYTES

    installation.install("runtime.txt", "[all]")
    files, bytecode = installation.size_bytes()
    print(f"all: {files / 1e6:.1f} MB of files, {bytecode / 1e6:.1f} MB of bytecode")
    assert "case-ledger" in installation.run("case-ledger", "--version")
    _check_demonstration(installation)


def _check_demonstration(installation: Installation) -> None:
    """Play the demonstration, and ask its server for a page and for a PDF of a case."""
    port, said = free_port(), installation.directory / "demo.log"
    url = f"http://127.0.0.1:{port}"
    with said.open("wb") as log:
        demonstration = subprocess.Popen(
            [installation.program("case-ledger"), "demo", "--keep-running"],
            cwd=installation.directory,
            env=installation.environment | {"CASE_LEDGER_PORT": str(port)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        until(
            lambda: b"Ctrl-C" in said.read_bytes() or demonstration.poll() is not None,
            "the demonstration",
            seconds=SECONDS,
        )
        assert demonstration.poll() is None, said.read_text()
        (file,) = installation.directory.rglob(f"keys/{COORDINATOR}.jwk")
        bearer = f"Bearer {make_assertion(COORDINATOR, keys.load(file), 'case-ledger')}"
        sent = {"Sec-Fetch-Site": "same-origin", "Authorization": bearer}
        session = httpx.post(f"{url}/auth/key", headers=sent, timeout=60)
        assert session.status_code == 201, session.text
        with httpx.Client(base_url=url, cookies=session.cookies, timeout=60) as browser:
            page = browser.get("/cases", headers={"Accept": "text/html"})
            assert page.status_code == 200
            case = re.findall(r'href="/cases/([0-9a-f-]{36})', page.text)[0]
            assert "<table" in browser.get(f"/cases/{case}").text
            pdf = browser.get(f"/cases/{case}/summary.pdf")
        assert (pdf.status_code, pdf.content[:5]) == (200, b"%PDF-")
        demonstration.send_signal(signal.SIGINT)
        assert demonstration.wait(60) == 0
    finally:
        demonstration.kill()
