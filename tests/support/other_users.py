"""Commands as other users of this machine, so that owners and modes of files count.

Only root may become another user. Elsewhere each command runs as the user of the tests: then modes
count as far as they are that user's. A command of the program is a process that is forked from one
that has loaded the program, under the user who asks for it.
"""

import json
import os
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

from tests.support.waiting import until

ASKING = """\
#!{python} -SE
import json, os, signal, socket, sys
asked = json.dumps([sys.argv[1:], dict(os.environ), os.getcwd()]).encode()
line = socket.socket(socket.AF_UNIX)
line.connect({place!r})
socket.send_fds(line, [len(asked).to_bytes(4, "big")], [0, 1, 2])
line.sendall(asked)
pid = int.from_bytes(line.recv(4), "big")
signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGTERM))
signal.signal(signal.SIGINT, lambda *_: os.kill(pid, signal.SIGINT))
code = line.recv(1)
sys.exit(code[0] if code else 137)
"""


def can_be_others(root: Path) -> bool:
    """Return true where this process is root, and others may read the program."""
    places = [Path(sys.executable), root]
    return os.geteuid() == 0 and all(
        step.stat().st_mode & stat.S_IXOTH for place in places for step in (place, *place.parents)
    )


@contextmanager
def program_for_all(program: Path, home: Path) -> Iterator[None]:
    """Write a program at ``program`` that runs `case-ledger` as the user who starts it."""
    place = home / "program"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(ASKING.format(python=sys.executable, place=str(place)))
    program.chmod(0o755)
    context = get_context("forkserver")
    context.set_forkserver_preload(["api.demo.loaded"])
    serving = context.Process(target=_serve, args=(str(place),))
    serving.start()
    try:
        until(place.exists, "the program was not loaded")
        yield
    finally:
        serving.kill()
        serving.join()


def _serve(place: str) -> None:
    listener = socket.socket(socket.AF_UNIX)
    mask = os.umask(0)  # every user may ask
    listener.bind(f"{place}.made")
    os.umask(mask)
    listener.listen(16)
    Path(f"{place}.made").rename(place)
    while True:
        line, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _answer(line)
        line.close()
        _reap()


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        pass


def _answer(line: socket.socket) -> None:
    """Run the command of one connection in a child, and send its exit code."""
    head, descriptors, _, _ = socket.recv_fds(line, 4, 3)
    wanted, asked = int.from_bytes(head, "big"), b""
    while len(asked) < wanted:
        asked += line.recv(wanted - len(asked))
    words, environment, directory = json.loads(asked)
    _, uid, gid = _peer(line)
    pid = os.fork()
    if pid == 0:
        line.close()
        _run(words, environment, directory, descriptors, uid, gid)
    for one in descriptors:
        os.close(one)
    line.sendall(pid.to_bytes(4, "big"))
    _, status = os.waitpid(pid, 0)
    line.sendall(bytes([os.waitstatus_to_exitcode(status) % 256]))
    os._exit(0)


def _peer(line: socket.socket) -> tuple[int, int, int]:
    told = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    pid, uid, gid = (int.from_bytes(told[at : at + 4], sys.byteorder) for at in (0, 4, 8))
    return pid, uid, gid


def _run(
    words: list[str], environment: dict[str, str], directory: str, descriptors: list[int],
    uid: int, gid: int,
) -> None:  # fmt: skip
    code = 1
    try:
        if os.geteuid() == 0 and uid != 0:
            os.setgroups([])
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
        os.umask(0o022)
        for number, one in enumerate(descriptors):
            os.dup2(one, number)
        os.chdir(directory)
        os.environ.clear()
        os.environ.update(environment)
        sys.stdout, sys.stderr = (os.fdopen(n, "w", closefd=False) for n in (1, 2))
        sys.stdin = os.fdopen(0, closefd=False)
        sys.argv = ["case-ledger", *words]
        from api.cli import app

        app(prog_name="case-ledger")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                code = code or 1
        os._exit(code)
