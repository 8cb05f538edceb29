"""On what machine something was measured, for whoever reads the figures."""

import os
import platform
import statistics
import subprocess
import time
from importlib import metadata
from pathlib import Path

_SYNCED = 200


def describe(directory: Path) -> dict[str, object]:
    """Describe the machine, and how fast ``directory`` of the stores' data reaches its disk."""
    return {
        "cores": os.cpu_count(),
        "cpu": _cpu(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "filesystem": _filesystem(directory),
        "fdatasync_microseconds": round(_fdatasync_seconds(directory) * 1e6),
        "python": platform.python_version(),
        "psycopg": metadata.version("psycopg"),
        "commit": _commit(),
    }


def load() -> float:
    """Return the average number of runnable processes in the last minute, ours among them."""
    return round(os.getloadavg()[0], 2)


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _filesystem(directory: Path) -> str:
    """Return the type of the file system that is mounted closest above."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "unknown"
    above = [
        (len(Path(at).parts), kind) for at, kind in mounts if directory.resolve().is_relative_to(at)
    ]
    return max(above)[1] if above else "unknown"


def _fdatasync_seconds(directory: Path) -> float:
    """Return the median seconds until 4 KiB at the end of a file are on the disk."""
    path = directory / "synced"
    took = []
    with path.open("wb", buffering=0) as file:
        for _ in range(_SYNCED):
            began = time.perf_counter()
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - began)
    path.unlink()
    return statistics.median(took)


def _commit() -> str:
    """Return the commit that was measured, with a plus sign if files were changed since."""
    here = Path(__file__).parent
    try:
        said = [
            subprocess.run(
                ["git", *asked], cwd=here, capture_output=True, text=True, check=True
            ).stdout.strip()
            for asked in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "-uno"))
        ]
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return said[0] + ("+" if said[1] else "")
