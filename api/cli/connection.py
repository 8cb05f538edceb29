"""Which node a command talks to, and as which agency."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from api.client import LedgerClient
from api.keys.agency_keys import own_key
from api.runtime.settings import Settings

DEFAULT_URL = "http://127.0.0.1:8420"
_EVERY_ADDRESS = ("", "0.0.0.0", "::")  # noqa: S104  # nothing listens here


def own_address(environment: Mapping[str, str]) -> str:
    """Return where a node with these settings listens, for commands on the same machine."""
    default = urlsplit(DEFAULT_URL)
    host = environment.get("CASE_LEDGER_HOST", "")
    host = str(default.hostname) if host in _EVERY_ADDRESS else host
    port = environment.get("CASE_LEDGER_PORT") or default.port
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _default_url(context: typer.Context, option: typer.CallbackParam, value: str) -> str:
    """Take the address of this machine's node where neither option nor variable names one."""
    source = context.get_parameter_source(option.name or "")
    is_named = source is not None and source.name != "DEFAULT"
    return value if is_named else own_address(os.environ)


Url = Annotated[
    str,
    typer.Option(
        envvar="CASE_LEDGER_URL",
        help="The node's address. Unset: the one that CASE_LEDGER_HOST and _PORT name.",
        callback=_default_url,
    ),
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


def connect(url: str, agency: str, key: Path | None, patience: float = 10.0) -> LedgerClient:
    """A client for one agency. Raises ``ValueError`` for an unusable key."""
    settings = Settings()
    return LedgerClient(
        url,
        agency=agency,
        key=own_key(settings, agency, key),
        audience=settings.audience,
        patience=patience,
    )
