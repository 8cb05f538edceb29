"""The processor cores that this process may use."""

import math
import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_cores(quota: Path = _QUOTA) -> int:
    """Return the number of cores that this process may use, at least one.

    A container's CPU quota counts, rounded up. ``quota`` is the file of cgroup version 2.
    """
    cores = len(os.sched_getaffinity(0))
    try:
        most, period = quota.read_text().split()
        return max(1, min(cores, math.ceil(int(most) / int(period))))
    except (OSError, ValueError):  # no container, or one without a quota ("max")
        return cores
