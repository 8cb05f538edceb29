"""Which node a command talks to, and as which agency."""

from pathlib import Path
from typing import Annotated

import typer
from joserfc.jwk import OKPKey

from api.client import LedgerClient
from api.settings import Settings
from ledger import keys

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


def key_path(settings: Settings, agency: str) -> Path:
    """Where an agency's private key is kept unless said otherwise."""
    return settings.key_directory / f"{agency}.jwk"


def own_key(settings: Settings, agency: str, file: Path | None) -> OKPKey:
    """An agency's private key. Raises ``ValueError`` where there is none, or it is unusable."""
    path = file or key_path(settings, agency)
    if not path.is_file():
        raise ValueError(
            f"{agency} has no key at {path}; make one with `case-ledger keys new {agency}`, "
            "or name its file with --key"
        )
    return keys.load(path)


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
