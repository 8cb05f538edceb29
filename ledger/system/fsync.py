"""Makes the names of files durable."""

import os
from pathlib import Path


def sync_directory(directory: Path) -> None:
    """Make the names of files in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
