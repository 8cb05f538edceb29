"""A server in a process of its own, for benchmarks: it answers when the block begins."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

_LOOKS = 600
_LOOK_SECONDS = 0.1


@contextmanager
def server_process(
    command: Sequence[str], env: Mapping[str, str], log: Path, address: str, seconds: float = 60
) -> Iterator[int]:
    """Run Python with the words of ``command``. Gives the id of the process.

    ``address`` answers once the server is ready. Both outputs go to ``log``. The process is killed
    where it does not stop within so many seconds. Raises ``RuntimeError`` with the end of the log
    where the process ends by itself, or does not answer.
    """
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, *command], env=env, stdout=out, stderr=out)
    try:
        for _ in range(_LOOKS):
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(address).is_success:
                    break
            if process.poll() is not None:
                raise RuntimeError(log.read_text()[-3000:])
            time.sleep(_LOOK_SECONDS)
        else:
            raise RuntimeError(f"no answer at {address}: {log.read_text()[-3000:]}")
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()  # what it still does in the background is of no figure
            process.wait()
