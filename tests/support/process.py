"""Run `case-ledger` as processes of their own."""

import os
import sys
from pathlib import Path
from typing import Any

import httpx

from tests.support.waiting import until

PROGRAM = Path(sys.executable).with_name("case-ledger")
"""As it is installed: for a test that is about that, or kills what it starts."""


def environment(data_directory: Path, **more: str) -> dict[str, str]:
    """The environment of a node that keeps everything under ``data_directory``.

    It has one request process unless ``CASE_LEDGER_PROCESSES`` says otherwise.
    """
    ours = {k: v for k, v in os.environ.items() if not k.startswith("CASE_LEDGER_")}
    own = {"CASE_LEDGER_DATA_DIRECTORY": str(data_directory), "CASE_LEDGER_PROCESSES": "1"}
    return ours | own | more


def wait_until_published(url: str, size: int) -> None:
    """Wait until a node has a published checkpoint of so many events."""

    def ready() -> Any:
        return httpx.get(f"{url}/ready").json()

    until(lambda: ready().get("published", 0) >= size, ready)
