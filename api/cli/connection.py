"""Which node a command talks to, and as which agency."""

from pathlib import Path
from typing import Annotated

import typer

from api.client import LedgerClient
from api.keys.agency_keys import own_key
from api.runtime.settings import Settings

Url = Annotated[
    str,
    typer.Option(envvar="CASE_LEDGER_URL", help="The node's address."),
]
Agency = Annotated[
    str,
    typer.Option("--agency", "-a", envvar="CASE_LEDGER_AGENCY", help="The agency that asks."),
]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key", "-k", envvar="CASE_LEDGER_KEY", help="Its private key. [default: its own]"
    ),
]
DEFAULT_URL = "http://127.0.0.1:8420"


def connect(url: str, agency: str, key: Path | None, patience: float = 10.0) -> LedgerClient:
    """A client for one agency. Raises ``ValueError`` for an unusable key."""
    settings = Settings()
    return LedgerClient(
        url,
        agency=agency,
        key=own_key(settings, agency, key),
        protocol=settings.load_protocol().id,
        audience=settings.audience,
        patience=patience,
    )
