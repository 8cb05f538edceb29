"""A small file system of a test's own, and a file that fills it."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from api.demo.node_process import NodeProcess
from ledger.store.disk import MEBIBYTE

RESERVE: Mapping[str, str] = {"disk_low_mebibytes": "48", "disk_reserve_mebibytes": "32"}
"""Settings of a node on such a disk."""


@contextmanager
def small_disk(directory: Path, mebibytes: int) -> Iterator[Path]:
    """Mount a file system of this size in a directory. Only root may: others skip the test."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    mounted = directory / "disk"
    mounted.mkdir()
    size = f"size={mebibytes}m,mode=755"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", mounted], check=True)
    try:
        yield mounted
    finally:
        subprocess.run(["umount", "--lazy", mounted], check=True)


class Filler:
    """A file that takes what is left of a disk."""

    def __init__(self, disk: Path) -> None:
        self._path = disk / "filler"

    def fill(self) -> None:
        with self._path.open("wb", buffering=0) as file:
            for size in (MEBIBYTE, 4096):
                with suppress(OSError):
                    while True:
                        file.write(bytes(size))
        space = os.statvfs(self._path)
        assert space.f_bavail * space.f_frsize < MEBIBYTE

    def empty(self) -> None:
        self._path.unlink(missing_ok=True)


def told(node: NodeProcess) -> tuple[int, str]:
    """Return the status of a node's readiness, and the rule of its trouble."""
    answer = httpx.get(f"{node.url}/ready", timeout=10)
    return answer.status_code, answer.json().get("rule", "")
