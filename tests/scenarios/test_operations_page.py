"""The commands of ``docs/operations.md``, as the page writes them, by the users that it names.

Each command is read from the page and handed to a shell of the user in whose block it stands. The
test puts files, ids and addresses in the place of the page's words for them. Where the tests run as
root, the node's user, PostgreSQL's and a person at another machine are three users, so that owners
and modes of files count; elsewhere all are one. Commands that need several nodes, or an engine of
containers, are run by other tests, which are looked for.
"""

import ast
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
import yaml

from api.cli.main import app
from api.client import LedgerClient
from api.demo.node_process import free_port
from ledger.procedure.amendments import text_of
from ledger.signing import keys
from tests.support.actions import opening
from tests.support.agencies import adopted_protocol
from tests.support.clusters import BINARIES, USER, Cluster
from tests.support.htcds import rows, write_csv, write_map
from tests.support.other_users import can_be_others, program_for_all
from tests.support.page_blocks import PageError, read
from tests.support.waiting import until
from tests.test_documented_code import shown

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
PARTS, TEXTS = read(PAGE)
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
# A test runs its request alone: tests/api/test_annulled_disclosures.py.
OF_THE_API = {("review-destruction",)}
AGENCIES = ("xk-nac", "me-nac", "al-nac", "xk-dhtqnj", "xk-ombudsperson")
OTHERS = can_be_others(ROOT)
# PostgreSQL asks for its user's name: a witness with a PostgreSQL of its own needs one.
UIDS = {"case-ledger": 61001, "you": 61002, "witness": 65534}
BY_OTHER_TESTS = {
    "pg_basebackup": "tests/faults/test_backups.py",
    "pg_ctl": "tests/faults/test_backups.py",
    "openssl ts": "tests/scenarios/test_proofs_by_command.py",
    "head -n 3": "tests/scenarios/test_proofs_by_command.py",
    "psql --host": "tests/faults/test_backups.py",
    "ALTER SYSTEM": "tests/test_compose.py",
    "docker/make-secrets": "tests/test_compose.py",
    "DOCKER_BUILDKIT=0 docker build": "tests/test_image.py",
    "make demo-nodes": "tests/scenarios/test_nodes_demo.py",
    "python3 auditor/verify.py": "tests/scenarios/test_proofs_by_command.py",
    "export CASE_LEDGER_LEDGER_ORIGIN": "tests/scenarios/test_operations_page.py",
}
"""The beginnings of commands that are no command of the program, with the test that runs each."""


def of_the_program(text: str) -> list[list[str]]:
    """Return each command of the program in a text, in words, without what is optional."""
    found = list(shown("\n".join(f"    {line}" for line in text.splitlines())))
    without = (re.sub(r"\[[^\]]*\]", "", shlex.join(words)) for words in found)
    return [[word for word in shlex.split(line) if word] for line in without]


def path_of(words: list[str]) -> tuple[str, ...]:
    """Return the names of the groups and the command that a line begins with."""
    command: Any = typer.main.get_command(app)
    context, found = command.make_context("case-ledger", [], resilient_parsing=True), []
    for word in words:
        if not hasattr(command, "get_command"):
            break
        found.append(word)
        command = command.get_command(context, word)
        context = command.make_context(word, [], parent=context, resilient_parsing=True)
    return tuple(found)


def run_by_tests() -> set[tuple[str, ...]]:
    """Return each sequence of words that a test, or the demonstration, hands to a call."""
    found = set()
    files = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "api" / "demo").rglob("*.py")]
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            given = getattr(node, "args", None) if isinstance(node, ast.Call) else None
            given = node.elts if isinstance(node, ast.Tuple | ast.List) else given
            words = [one.value if isinstance(one, ast.Constant) else None for one in given or ()]
            for at in range(len(words)):
                for end in range(at + 1, min(at + 3, len(words)) + 1):
                    found.add(tuple(words[at:end]))
    return found


@dataclass
class Surroundings:
    """The machines of the page, in one directory: each path of the page is under it."""

    home: Path
    cluster: Cluster
    port: int = field(default_factory=free_port)
    values: dict[str, str] = field(default_factory=dict)
    """The text for each of the page's words that stand for something."""
    done: set[tuple[int, int]] = field(default_factory=set)
    """The commands that were run, by the line of their part and their number in it."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def node(self) -> Path:
        return self.home / "srv" / "xk"

    @property
    def files(self) -> Path:
        return self.node / "files"

    @property
    def own(self) -> Path:
        """The home of the person at another machine."""
        return self.home / "home" / "you"

    def prepare(self) -> None:
        """Make what ``docs/installation.md`` makes: directories, modes, secrets, programs."""
        for path, user, mode in (
            (self.home / "etc" / "case-ledger", None, 0o700),
            (self.home / "srv", None, 0o755),
            (self.node, "case-ledger", 0o700),
            (self.files, "case-ledger", 0o700),
            (self.home / "home", None, 0o755),
            (self.own, "you", 0o700),
            (self.home / "home" / "witness", "witness", 0o700),
        ):
            path.mkdir(parents=True, exist_ok=True, mode=mode)
            path.chmod(mode)
            self.give(path, user)
        secrets = self.home / "etc" / "case-ledger"
        (secrets / "country-key-passphrase").write_text("a passphrase of a test alone")
        (secrets / "owner-url").write_text(self.login("case_ledger_owner"))
        for secret in secrets.iterdir():
            secret.chmod(0o600)
        protocol = self.home / "adopted.json"  # the parties adopt the assumed deadlines
        protocol.write_text(json.dumps(text_of(adopted_protocol())))
        settings = {
            "DATABASE_URL": self.login("case_ledger_api"),
            "DATA_DIRECTORY": str(self.node),
            "PROTOCOL": str(protocol),
            "PORT": str(self.port),
            "PROCESSES": "1",
        }
        env = self.node / "node.env"
        env.write_text("".join(f"CASE_LEDGER_{n}='{v}'\n" for n, v in settings.items()))
        env.chmod(0o600)
        self.give(env, "case-ledger")
        command = (ROOT / "deploy" / "bin" / "case-ledger").read_text()
        for old, new in (
            ("secrets=/etc", f"secrets={self.home}/etc"),
            ("program=/opt", f"program={self.home}/opt"),
            ('home=$(getent passwd "$user" | cut -d: -f6)', f"home={self.node}"),
            ("user=case-ledger", f"user={UIDS['case-ledger']}"),
            ("--init-groups", "--clear-groups"),
        ):
            assert command.count(old) == 1, old
            command = command.replace(old, new)
        if not OTHERS:
            command = re.sub(r"^\[ .*\n", "", command, flags=re.MULTILINE)
            command = re.sub(r"exec setpriv .* sh -c", "exec sh -c", command)
        sbin = self.home / "sbin"
        sbin.mkdir()
        (sbin / "case-ledger").write_text(command)
        (sbin / "case-ledger").chmod(0o755)
        shutil.copy(ROOT / "deploy" / "backup" / "case-ledger-backup", sbin)

    def login(self, name: str) -> str:
        return f"host=127.0.0.1 port={self.cluster.port} dbname=case_ledger user={name}"

    def give(self, path: Path, user: str | None) -> None:
        """Give a file or a directory to a user."""
        if OTHERS and user is not None:
            uid = UIDS.get(user)
            shutil.chown(path, uid or USER["user"], uid or USER["group"])

    def hand_over(self, *names: str) -> None:
        """Bring files of the person to the node's machine, as their users do by hand."""
        for name in names:
            path = shutil.copy(self.own / name, self.files / name)
            self.give(path, "case-ledger")

    def bring(self, *names: str) -> None:
        """Bring files of the node's machine to the person."""
        for name in names:
            source, target = self.files / name, self.own / name
            if source.is_dir():
                shutil.copytree(source, target, dirs_exist_ok=True)
            else:
                shutil.copy(source, target)
            for path in (target, *target.rglob("*")):
                self.give(path, "you")

    def environment(self, user: str) -> dict[str, str]:
        programs = [BINARIES, Path(sys.executable).parent, os.environ["PATH"]]
        first = self.home / ("sbin" if user in ("root", "postgres") else "opt/case-ledger/bin")
        path = os.pathsep.join(map(str, (first, *programs)))
        env = {"PATH": path, "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
        server = {"PGHOST": "127.0.0.1", "PGPORT": str(self.cluster.port)}
        if user == "root":
            return env | {"HOME": "/root"}
        if user == "postgres":
            return env | server | {"HOME": "/nonexistent", "PGUSER": "postgres"}
        if user == "case-ledger":
            return env | {"HOME": str(self.node)}
        home = self.home / "home" / user
        return env | {"HOME": str(home), "CASE_LEDGER_URL": self.url, "CASE_LEDGER_PROCESSES": "1"}

    def start(self, text: str, user: str) -> subprocess.Popen[str]:
        """Hand a text to a shell of a user, who is where this user works."""
        place = {"root": self.files, "case-ledger": self.files, "postgres": self.cluster.data}
        uid = UIDS.get(user)
        become: dict[str, Any] = {}
        if user == "postgres":
            become = dict(USER)
        elif OTHERS and uid is not None:
            become = {"user": uid, "group": uid, "extra_groups": []}
        return subprocess.Popen(
            ["sh", "-euc", text],
            env=self.environment(user), cwd=place.get(user, self.home / "home" / user), text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **become,
        )  # fmt: skip

    def run(self, text: str, user: str, code: int = 0) -> str:
        """Run a text to its end, and return its output."""
        process = self.start(text, user)
        try:
            out, err = process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        assert process.returncode == code, f"{user}: {text}: {process.returncode} {out}{err}"
        return out

    def mapped(self, text: str, **values: str) -> str:
        """Return a command of the page with this test's paths and values in it."""
        known = {**self.values, **values}
        if known:
            names = "|".join(map(re.escape, sorted(known, key=len, reverse=True)))
            text = re.sub(rf"(?<![\w/-])(?:{names})(?![\w-])", lambda m: known[m[0]], text)
        for root in ("/srv/", "/mnt/", "/var/lib/", "/backup/"):
            text = re.sub(rf"(?<![\w.]){root}", f"{self.home}{root}", text)
        return re.sub(r" ?\[(?!\[)[^\]]*\]", "", text)

    def does(self, beginning: str, more: str = "", code: int = 0, **values: str) -> str:
        """Run the command of the page that is so, or begins so, and return its output."""
        found = [
            (part, number, command)
            for part in PARTS
            for number, command in enumerate(part.commands())
            if (part.line, number) not in self.done
            and " ".join(command.split()).startswith(beginning)
        ]  # fmt: skip
        assert found, f"the page has no such command left: {beginning}"
        exact = [one for one in found if re.sub(r"\s+#.*", "", one[2]).strip() == beginning]
        part, number, command = (exact or found)[0]
        self.done.add((part.line, number))
        text = self.mapped(command, **values)
        user = "witness" if part.place == "the witness's machine" else part.user
        if part.is_sql:
            text = f"psql -X -q -v ON_ERROR_STOP=1 -d postgres <<'END'\n{text}\nEND\n"
        else:
            text = re.sub(r"\s+# .*", "", text) + f" {more}"
        return self.run(text, user, code)

    def also(self, text: str, user: str = "you") -> str:
        """Run a command that the page names elsewhere, or that is of another agency."""
        return self.run(text, user)

    def makes_key(self, agency: str) -> None:
        """Make a key whose id is no option: the page says how such ids are written."""
        self.also(f"case-ledger keys new {agency}")
        while self.key(agency).startswith("-"):
            self.key_file(agency).unlink()
            self.also(f"case-ledger keys new {agency}")

    def key_file(self, agency: str) -> Path:
        return self.own / ".local" / "share" / "case-ledger" / "keys" / f"{agency}.jwk"

    def key(self, agency: str) -> str:
        return keys.key_id(keys.load(self.key_file(agency)))

    def ready(self) -> dict[str, Any]:
        answer: dict[str, Any] = httpx.get(f"{self.url}/ready").json()
        return answer

    @contextmanager
    def running(self, text: str, user: str, url: str) -> Iterator[None]:
        """Run a command that serves, until the block ends; then it must end by itself."""
        process = self.start(f"exec {text}", user)
        try:
            until(lambda: process.poll() is not None or _answers(url), text)
            assert process.poll() is None, process.communicate()
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code < 500
    except httpx.TransportError:
        return False


@pytest.fixture
def page(directory: Path) -> Iterator[Surroundings]:
    with ExitStack() as stack:
        cluster = Cluster(directory / "server")
        cluster.make("max_wal_senders = 4\n")
        cluster.start()
        stack.callback(cluster.kill)
        made = Surroundings(directory, cluster)
        made.prepare()
        program = directory / "opt" / "case-ledger" / "bin" / "case-ledger"
        stack.enter_context(program_for_all(program, directory))
        yield made


def test_each_block_names_who_runs_it_or_its_language() -> None:
    assert len(PARTS) > 60
    assert {part.user for part in PARTS} == {"root", "case-ledger", "postgres", "you"}
    with pytest.raises(PageError, match="line 3 does not say"):
        read("Text:\n\n    case-ledger doctor\n")
    with pytest.raises(PageError, match="line 3 does not say"):
        read("Text:\n\n    # somebody, on the moon\n    case-ledger doctor\n")
    for one in TEXTS:
        if one.language == "json":
            json.loads(one.text)
        elif one.language == "toml":
            tomllib.loads(one.text)
        elif one.language == "ini":
            assert all(re.fullmatch(r"CASE_LEDGER_[A-Z_]+=\S+", li) for li in one.text.split("\n"))
        else:
            assert one.language in ("text", "python"), one.line


def test_commands_of_engines_and_services_name_what_there_is() -> None:
    """No engine is needed: services, profiles and units are looked up."""
    units = {file.name for file in (ROOT / "deploy" / "systemd").iterdir()}
    seen = set()
    for part in PARTS:
        for command in part.commands():
            words = [w for w in shlex.split(command, comments=True) if "=" not in w]
            if words[:2] == ["docker", "compose"]:
                seen.add("docker")
                named = [word for word in words[2:] if word in COMPOSE["services"]]
                assert named or words[2:4] == ["up", "-d"], command
                if "--profile" in words:
                    profile = words[words.index("--profile") + 1]
                    assert COMPOSE["services"][named[0]]["profiles"] == [profile], command
            elif words[0] == "systemctl":
                seen.add("systemctl")
                assert f"{words[-1]}.service" in units or words[-1] in units, command
    assert seen == {"docker", "systemctl"}


def test_the_page_from_the_first_key_to_a_restored_backup(page: Surroundings) -> None:
    does, values, cluster = page.does, page.values, page.cluster
    does("CREATE ROLE case_ledger_owner")
    does("case-ledger migrate --grant-to")
    _keys_and_adoption(page)
    serve = page.running("case-ledger serve", "root", f"{page.url}/health")
    with serve:
        _registrations(page)
        case = _told(page)
        until(lambda: page.ready()["published"] >= case.position, page.ready)
        values |= {"CASE_ID": str(case.case_id), "POSITION": str(case.position)}
        _proofs(page)
        _looks(page)
        _cases_in_and_out(page)
        does("case-ledger keys list -a xk-nac")
        does("case-ledger keys revoke", KEY_ID=page.key("xk-dhtqnj"))
        does("case-ledger keys compromised", KEY_ID=page.key("xk-dhtqnj"))
        _backup_and_restore(page)
        # This server waits for no disk, and the machine has one fault for it.
        found = json.loads(does("case-ledger doctor", "--json", code=3))
        broken = {one["check"] for one in found["findings"] if one["state"] == "broken"}
        assert broken == {"durability"}
    assert cluster.data.exists()
    _nothing_is_left(page)


def _keys_and_adoption(page: Surroundings) -> None:
    does = page.does
    does("case-ledger keys new me-nac")
    for agency in AGENCIES:
        if agency != "me-nac":
            page.makes_key(agency)
        public = f"case-ledger keys public {agency}"
        said = does(public) if agency == "me-nac" else page.also(public)
        (page.own / f"{agency}.public.json").write_text(said)
    shutil.copy(page.key_file("xk-nac"), page.own / "xk-nac.jwk")
    page.hand_over("me-nac.public.json", "al-nac.public.json", "xk-nac.jwk")
    (page.files / "xk-nac.jwk").chmod(0o600)
    assert "Compare with the other parties" in does("case-ledger adopt --as xk-nac")
    # Nobody but root and the node's user reads what is secret.
    if OTHERS:
        for secret in ("etc/case-ledger/owner-url", "srv/xk/node.env"):
            page.run(f"cat {page.home}/{secret}", "you", code=1)


def _registrations(page: Surroundings) -> None:
    does = page.does
    log_key = does("case-ledger log key").split()[-1]
    does("case-ledger log policy > policy")
    does("case-ledger keys register -a xk-nac xk-dhtqnj")
    does("case-ledger keys register -a xk-nac xk-ombudsperson")
    (waiting,) = json.loads(page.also("case-ledger keys proposals -a me-nac --json"))
    assert waiting["id"] in does("case-ledger keys proposals")
    does("case-ledger keys confirm", PROPOSAL_ID=waiting["id"])
    does("case-ledger keys country XK > xk.country")
    page.bring("xk.country", "policy")
    does("case-ledger keys register-country")
    does("case-ledger protocol parties")
    does("case-ledger log policy --in-force")
    page.bring("policy")
    for agency in ("xk-nac", "me-nac", "al-nac"):
        vote = f"case-ledger log adopt-policy -a {agency} policy"
        if agency == "xk-nac":
            does(vote)
        else:
            page.also(vote)
    does("case-ledger absence announce AL")
    assert "AL" in does("case-ledger absence show AL")
    _witness(page, log_key)


def _witness(page: Surroundings, log_key: str) -> None:
    """A witness without a node, as a user of its own, with a PostgreSQL of its own."""
    (part,) = [one for one in PARTS if "witness serve" in one.text]
    page.values["ORIGIN"] = log_key.split("+")[0]
    port = free_port()
    lines = page.mapped(part.text, LOG_KEY=log_key).replace("8421", str(port))
    lines = re.sub(r"\s+# .*", "", lines.replace("0.0.0.0", "127.0.0.1"))
    before, _, serving = lines.strip().rpartition("\n")
    told = page.run(before, "witness")
    assert "witness-me+" in told
    with page.running(f"sh -c '{before} > told\nexec {serving}'", "witness",
                      f"http://127.0.0.1:{port}/health"):  # fmt: skip
        page.done |= {(part.line, number) for number in range(3)}


def _proofs(page: Surroundings) -> None:
    does = page.does
    page.values |= {"FILE": "policy", "DIR": "export"}
    assert "Written down as reading" in does("case-ledger read -a xk-dhtqnj")
    does("case-ledger log export --signed DIR", DIR="signed")
    does("case-ledger log export DIR")
    does("case-ledger log export --signed copy")
    page.bring("export")
    older = {"DIR/timestamp/93.checkpoint": "export/checkpoint"}
    does("case-ledger verify export DIR --policy FILE --held", **older)
    does("case-ledger verify export DIR --policy FILE")
    does("case-ledger verify export DIR --policy FILE")
    does("python3 DIR/verify.py", **{"OLD/checkpoint": "export/checkpoint",
                                     "DIR/verify.py": "export/verify.py"})  # fmt: skip
    does("case-ledger log receipt")
    does("case-ledger verify receipt event.tlog-proof --policy FILE")
    does("case-ledger log policies", "--size 3")
    does("case-ledger verify receipt event.tlog-proof --policy FILE --policies")
    assert re.search(r"\d{4}", does("case-ledger log fingerprints"))
    held = page.own / "export" / "checkpoint"
    page.give(Path(shutil.copy(held, page.files / "CHECKPOINT")), "case-ledger")
    for command in ("ledger", "views", "vault XK", "readings XK", "readings XK", "vault XK",
                    "vault XK", "ledger --policy FILE --held"):  # fmt: skip
        does(f"case-ledger verify {command}")


def _looks(page: Surroundings) -> None:
    does, node = page.does, page.node
    for command in ("parcels", "evidence", "missing", "stated", "history"):
        does(f"case-ledger node {command}")
    if shutil.which("curl") and shutil.which("jq"):
        does("curl NODE/ready", NODE=page.url)
    shutil.copytree(node / "keys" / "persons", page.home / "backup" / "keys" / "persons")
    for path in (page.home / "backup").rglob("*"):
        page.give(path, "case-ledger")
    does("case-ledger node restore-keys --from")
    does("case-ledger node restore-keys")
    does("case-ledger retention list -a xk-nac")
    does("case-ledger retention list -a xk-nac --erased")
    does("case-ledger rebuild --all")
    does("case-ledger rebuild case_views")
    does("case-ledger keys replace-data-keys XK --destroyed")


def _cases_in_and_out(page: Surroundings) -> None:
    does, files = page.does, page.files
    write_csv(files / "cases.csv", rows(3, seed=30))
    write_map(files / "names.toml")
    for name in ("cases.csv", "names.toml"):
        page.give(files / name, "case-ledger")
    table = {"cases.xlsx": "cases.csv", "map.toml": "names.toml"}
    does("case-ledger import cases.xlsx -a xk-nac --suggest", **{"cases.xlsx": "cases.csv"})
    assert (files / "map.toml").stat().st_size
    with_map = "case-ledger import cases.xlsx -a xk-nac -k xk-nac.jwk --map map.toml"
    assert "could be recorded" in does(f"{with_map} --dry-run", **table)
    does(with_map, **table)
    does("case-ledger export-cases cases.csv", **{"cases.csv": "out.csv"})
    does("case-ledger export-cases cases.jsonl")
    assert (page.own / "cases.jsonl").stat().st_mode & 0o777 == 0o600


def _backup_and_restore(page: Surroundings) -> None:
    does, cluster = page.does, page.cluster
    does('psql -d case_ledger -c "DELETE')
    assert "count" in does('psql -d case_ledger -c "SELECT count')
    page.also(f"pg_dump --format=custom --file={cluster.data}/case_ledger.dump case_ledger",
              "postgres")  # fmt: skip
    page.also("createdb before_the_erasure", "postgres")
    does("pg_restore --dbname")
    assert "count" in does("psql -d before_the_erasure")
    keys_of = {"KEYS/persons/*/*": f"{page.node}/keys/persons/*/*"}
    does("grep -ac CASE_ID", "|| [ $? = 1 ]", **keys_of)
    does("CREATE ROLE case_ledger_backup")
    backup = page.home / "mnt" / "backup" / "xk"
    for path in (page.home / "mnt", backup.parent, backup):
        path.mkdir(exist_ok=True)
    page.give(backup, "postgres")
    given = (
        f"CASE_LEDGER_BACKUP_DIRECTORY={backup} PGUSER=case_ledger_backup exec case-ledger-backup"
    )
    following = page.start(f"{given} follow", "postgres")
    try:
        until(lambda: page.start(f"{given} check", "postgres").wait() == 0, "the backup", every=0.3)
        copied = page.home / "mnt" / "keys-copy" / "keys"
        copied.parent.mkdir()
        page.give(copied.parent, "case-ledger")
        if shutil.which("rsync"):
            does("rsync", **{"BACKUP_MACHINE:/srv/backup/xk-keys/keys/": f"{copied}/"})
        else:
            page.also(f"cp -a {page.node}/keys {copied}", "case-ledger")
        told = does("case-ledger backup drill", f"--json --programs {BINARIES}")
        assert json.loads(told)["holds"] is True
    finally:
        following.terminate()
        following.wait(30)  # its sleep keeps the pipe
    restored = page.home / "var" / "lib" / "postgresql"
    restored.mkdir(parents=True)
    page.give(restored, "postgres")
    recover = f"CASE_LEDGER_BACKUP_DIRECTORY={backup} CASE_LEDGER_RESTORE_DIRECTORY={restored}/main"
    recover += " case-ledger-backup recover"
    assert f"with all WAL into {restored}/main" in page.also(recover, "postgres")
    assert "in production" not in page.also(f"pg_controldata {restored}/main", "postgres")
    page.run(recover, "postgres", code=1)  # it removes no database that it did not copy
    (part,) = [one for one in PARTS if "case-ledger-backup restore" in one.text]
    page.done.add((part.line, 0))
    text = page.mapped(part.text, **{"/srv/backup/xk": str(backup)})
    other = free_port()
    server = page.start(f"export PGPORT={other}; exec env {text.strip()}", "postgres")
    try:
        count = 'psql -At -d case_ledger -c "SELECT count(*) FROM ledger.events"'
        asked = f"PGPORT={other} {count}"
        until(lambda: page.start(asked, "postgres").wait() == 0, "the restored copy", every=0.2)
        assert page.also(asked, "postgres") == page.also(count, "postgres")
    finally:
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=30)


def _nothing_is_left(page: Surroundings) -> None:
    """Each command that was not run here is run by another test, which is looked for."""
    run = run_by_tests()
    left = []
    for part in PARTS:
        for number, command in enumerate(part.commands()):
            if (part.line, number) in page.done:
                continue
            begins = [test for start, test in BY_OTHER_TESTS.items() if command.startswith(start)]
            engines = re.match(r"(\w+=\S+ )?(docker compose|systemctl)", command)
            missing = command.split()[0] in ("curl", "rsync") and not shutil.which(
                command.split()[0]
            )
            if begins or engines or missing:
                assert all((ROOT / test).exists() for test in begins)
                continue
            paths = {path_of(words) for words in of_the_program(command)}
            if not paths or paths - run - OF_THE_API:
                left.append(command)
    assert left == []
    assert len(page.done) > 70


def _told(page: Surroundings) -> Any:
    """Open a case with personal fields, as the police's own system does."""
    with LedgerClient(
        page.url,
        agency="xk-dhtqnj",
        key=keys.load(page.key_file("xk-dhtqnj")),
        protocol=adopted_protocol().id,
        patience=30,
    ) as police:
        return police.open_case(opening(("XK", "ME"), first_name="zqNobodysName"))
