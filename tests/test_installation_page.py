"""``docs/installation.md``: what it names is there, and a Debian system can follow it.

``CASE_LEDGER_TEST_CHROOT`` names the directory of a Debian 13 that ``debootstrap`` made with the
packages of the page's first command. The page's commands are run in it, word for word, as root;
``systemctl`` is a script that starts what a unit starts. It needs root, an index of packages, and
the ports 5432 and 8420.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests.support.page_blocks import Part, read
from tests.support.waiting import until

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "installation.md").read_text(encoding="utf-8")
PARTS, _ = read(PAGE)
CHROOT = os.environ.get("CASE_LEDGER_TEST_CHROOT")
SOURCE = "usr/local/src/case-ledger"
LOG = "var/log/case-ledger-backup.log"
SYSTEMCTL = """\
#!/bin/sh
# Starts what the unit starts, as its user, with its environment and credentials.
set -eu
unit=/etc/systemd/system/case-ledger.service
case "$*" in
"enable --now case-ledger" | "start case-ledger")
    install -d -m 700 -o case-ledger /run/credentials
    install -m 400 -o case-ledger /etc/case-ledger/country-key-passphrase \\
        /run/credentials/passphrase
    . /dev/stdin <<END
$(sed -n 's/^EnvironmentFile=/settings=/p' $unit)
END
    sed -n 's/^ExecStart=/exec /p' $unit > /run/start
    setsid setpriv --reuid=case-ledger --regid=case-ledger --init-groups env -i HOME=/srv/xk \\
        PATH=/usr/bin:/bin CREDENTIALS_DIRECTORY=/run/credentials \\
        sh -c 'set -a; . "$0"; set +a; . /run/start' "$settings" >>/var/log/case-ledger.log 2>&1 &
    echo $! > /run/case-ledger.pid
    ;;
"stop case-ledger")
    pid=$(cat /run/case-ledger.pid)
    kill "$pid"
    while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
    ;;
"enable --now case-ledger-backup" | "restart case-ledger-backup")
    pkill -f 'case-ledger-backup follow' || true
    # The certificate of another machine's server is not here.
    sed -n 's/^Environment=//p' /etc/systemd/system/case-ledger-backup.service | tr ' ' '\\n' |
        sed 's/^PGSSLMODE=.*/PGSSLMODE=prefer/' > /run/backup
    setsid setpriv --reuid=postgres --regid=postgres --init-groups env -i $(cat /run/backup) \\
        PATH=/usr/bin:/bin \\
        /usr/local/sbin/case-ledger-backup follow >>/var/log/case-ledger-backup.log 2>&1 &
    ;;
daemon-reload | "enable --now case-ledger-"*) ;;
*) echo "unexpected: systemctl $*" >&2; exit 1 ;;
esac
"""


def test_each_block_names_who_runs_it() -> None:
    assert {(part.user, part.place) for part in PARTS} == {
        ("root", "the node's machine"),
        ("root", "the backup machine"),
        ("postgres", "the database's machine"),
    }


def test_files_users_and_directories_are_those_of_the_units() -> None:
    text = "".join(part.text for part in PARTS)
    named = set(re.findall(r"(?<![\w/])((?:deploy|requirements)/[\w./-]+)", text))
    assert len(named) > 8
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []
    units = {file.name: file.read_text() for file in (ROOT / "deploy" / "systemd").iterdir()}
    for unit in re.findall(r"enable --now (.+)", text):
        for name in unit.split():
            assert {name, f"{name}.service"} & units.keys(), name
    made = set(re.findall(r"/(?:srv|etc/case-ledger|opt/case-ledger)[\w/.-]*", text))
    for name, unit_text in units.items():
        for path in re.findall(r"=(/(?:srv|etc/case-ledger|opt)[\w/.-]+)", unit_text):
            assert any(path == one or path.startswith(f"{one}/") for one in made), (name, path)
        if "User=case-ledger" in unit_text:
            assert "useradd --system --home-dir /srv/xk" in text
    command = (ROOT / "deploy" / "bin" / "case-ledger").read_text()
    for path in re.findall(r"^\w+=(/[\w/.-]+)", command, re.MULTILINE):
        assert any(path.startswith(one) for one in made), path
    assert os.access(ROOT / "deploy" / "bin" / "case-ledger", os.X_OK)


@contextmanager
def system(home: Path) -> Iterator[None]:
    """A system in a directory, with its kernel's file systems, and PostgreSQL's ends in the end."""
    mounted = []
    try:
        for kind, place in (("proc", "proc"), ("tmpfs", "dev/shm"), ("tmpfs", "run")):
            subprocess.run(["mount", "-t", kind, kind, home / place], check=True)
            mounted.append(home / place)
        yield
    finally:
        for pid in _inside(home):
            with suppress(ProcessLookupError):
                os.kill(pid, 15)
        with suppress(AssertionError):
            until(lambda: not _inside(home), "processes in the system", seconds=20)
        for place in reversed(mounted):
            subprocess.run(["umount", "--lazy", place], check=False)


def _inside(home: Path) -> list[int]:
    """Return the processes whose root is the system's."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "root").readlink() == home:
                found.append(int(process.name))
    return found


def _run(home: Path, part: Part) -> str:
    text = part.text.replace("DATABASE_MACHINE", "127.0.0.1").replace("…", "a password")
    words = ["sh", "-eu"]
    if part.is_sql:
        words = ["runuser", "-u", "postgres", "--", "psql", "-X", "-q", "--set=ON_ERROR_STOP=1"]
    done = subprocess.run(
        ["chroot", home, "sh", "-c", f'cd /{SOURCE} && exec "$@"', "sh", *words],
        input=text, text=True, capture_output=True, timeout=900,
        env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C",
             "DEBIAN_FRONTEND": "noninteractive", "HOME": "/root"},
    )  # fmt: skip
    assert done.returncode == 0, f"line {part.line}: {done.stdout}{done.stderr}"
    return done.stdout


def _adopt(home: Path) -> None:
    """Adopt the protocol, as a person with keys of their own and root do, and register a key."""
    own = (
        "useradd --create-home you\n"
        "runuser -u you -- sh -eu <<'END'\ncd\n"
        "for agency in xk-nac me-nac al-nac xk-dhtqnj; do\n"
        "    case-ledger keys new $agency\n"
        "    case-ledger keys public $agency > $agency.public.json\n"
        "done\ncp .local/share/case-ledger/keys/xk-nac.jwk .\nEND\n"
        "cd /srv/xk/files\n"
        "install -m 600 -o case-ledger /home/you/*.public.json /home/you/xk-nac.jwk .\n"
        "case-ledger adopt --as xk-nac --key xk-nac.jwk --coordinator me-nac=me-nac.public.json"
        " --coordinator al-nac=al-nac.public.json\n"
        "rm xk-nac.jwk\n"
        "runuser -u you -- sh -eu <<'END'\ncd\n"
        "case-ledger keys register -a xk-nac xk-dhtqnj xk-dhtqnj.public.json\nEND\n"
    )
    _run(home, Part(0, "root", "the node's machine", False, own))


@pytest.mark.skipif(CHROOT is None, reason="CASE_LEDGER_TEST_CHROOT names no system")
def test_a_debian_system_follows_the_page() -> None:
    home = Path(str(CHROOT)).resolve()
    shutil.rmtree(home / SOURCE, ignore_errors=True)
    for name in ("api", "auditor", "deploy", "ledger", "projections", "requirements"):
        shutil.copytree(ROOT / name, home / SOURCE / name,
                        ignore=shutil.ignore_patterns("__pycache__"))  # fmt: skip
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, home / SOURCE)
    control = home / "usr" / "local" / "sbin" / "systemctl"
    control.write_text(SYSTEMCTL)
    control.chmod(0o755)
    first, *others = PARTS
    bases = home / "srv" / "backup" / "xk"
    with system(home):
        _run(home, first)
        start = "pg_ctlcluster $(pg_lsclusters -h | cut -c1-2) main start"
        subprocess.run(["chroot", home, "sh", "-c", start], check=True)
        for part in others:
            said = _run(home, part)
            if "/health" in part.text:
                assert "version" in said
                _adopt(home)
            if "verify ledger" in part.text:
                assert "All 2 events hold" in said
            if "case-ledger-backup" in part.text and part.place == "the backup machine":
                until(lambda: [*bases.glob("base-*Z")], (home / LOG).read_text, seconds=60)
        # After the upgrade the node runs by the new directory, as its user alone.
        until(lambda: httpx.get("http://127.0.0.1:8420/health").is_success, "the node")
        exe = Part(0, "root", "the node's machine", False, "readlink -f /opt/case-ledger\n")
        assert _run(home, exe).strip() == "/opt/case-ledger-0.3.0"
        modes = Part(0, "root", "the node's machine", False,
                     "stat -c '%U %a %n' /srv/xk /srv/xk/node.env /srv/xk/.pgpass /etc/case-ledger"
                     " /etc/case-ledger/* /srv/xk/keys\n")  # fmt: skip
        for line in _run(home, modes).splitlines():
            owner, mode, name = line.split()
            assert int(mode, 8) & 0o077 == 0 or name == "/etc/case-ledger", line
            assert (owner == "case-ledger") == name.startswith("/srv"), line
