"""The node that a command asks, the agency in whose name, and the form of the answer.

``--url``, ``--agency``, ``--key`` and ``--json`` are declared here alone. A command takes one
parameter of the group that has its options, and is decorated with :func:`asks`.
"""

import functools
import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints
from urllib.parse import urlsplit

import typer

from api.cli.output import AsJson, failures

if TYPE_CHECKING:
    from api.client import LedgerClient

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
        help="The node's address. Unset: the address of CASE_LEDGER_HOST and CASE_LEDGER_PORT.",
        callback=_default_url,
    ),
]
CASE = "The case: its reference, such as K7Q-F3M-9XR, or its id."
CaseName = Annotated[str, typer.Argument(metavar="CASE", help=CASE)]
PATIENCE_SECONDS = 10.0
"""For so long a command sends a request again that gets no answer."""
_AGENCY = typer.Option("--agency", "-a", envvar="CASE_LEDGER_AGENCY", help="The agency that asks.")
Agency = Annotated[str, _AGENCY]
_KEY_VARIABLE = "CASE_LEDGER_KEY"
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key", "-k", envvar=_KEY_VARIABLE, help="Its private key.", show_default="its own"
    ),
]
OwnKeyFile = Annotated[
    Path | None,
    typer.Option(
        "--own-key",
        "-k",
        envvar=_KEY_VARIABLE,
        help="The private key of the agency that asks.",
        show_default="its own",
    ),
]
"""The same for a command whose ``--key`` names another key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AtNode:
    """The node that a command asks."""

    url: Url = DEFAULT_URL

    def connect(
        self, agency: str, key: Path | None, patience: float = PATIENCE_SECONDS
    ) -> "LedgerClient":
        """Return a client for one agency. Raises ``ValueError`` for an unusable key."""
        from api.client import LedgerClient
        from api.keys.agency_keys import own_key
        from api.runtime.settings import Settings

        settings = Settings()
        return LedgerClient(
            self.url,
            agency=agency,
            key=own_key(settings, agency, key),
            audience=settings.audience,
            patience=patience,
            language=os.environ.get("CASE_LEDGER_LANGUAGE"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AsAgency(AtNode):
    """The node, and the agency that asks it."""

    agency: Agency
    key: KeyFile = None

    @contextmanager
    def client(self, *, as_json: bool = False) -> "Iterator[LedgerClient]":
        """Give a client, and turn an error in the block into a message and an exit code."""
        with failures(as_json), self.connect(self.agency, self.key) as client:
            yield client


@dataclass(frozen=True, slots=True, kw_only=True)
class AsAgencyOrJson(AsAgency):
    """The node, the agency that asks it, and whether the answer is printed as JSON."""

    as_json: AsJson = False

    @contextmanager
    def client(self, *, as_json: bool = False) -> "Iterator[LedgerClient]":
        """Give a client, and turn an error in the block into a message and an exit code."""
        with AsAgency.client(self, as_json=as_json or self.as_json) as client:
            yield client


@dataclass(frozen=True, slots=True, kw_only=True)
class MayAsk(AtNode):
    """The same, for a command that asks a node in some of its uses only."""

    agency: Annotated[str | None, _AGENCY] = None
    key: KeyFile = None
    as_json: AsJson = False


def asks(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of its one parameter whose type is a group of options."""
    hints = get_type_hints(command, include_extras=True)
    (name, group), *others = (
        (name, hint)
        for name, hint in hints.items()
        if isinstance(hint, type) and issubclass(hint, AtNode)
    )
    if others:
        raise TypeError(f"{command.__name__} has several groups of options")
    types = get_type_hints(group, include_extras=True)
    options = [
        inspect.Parameter(
            one.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if one.default is MISSING else one.default,
            annotation=types[one.name],
        )
        for one in fields(group)
    ]
    own = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[parameter.name])
        for parameter in inspect.signature(command).parameters.values()
        if parameter.name != name
    ]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        asked = group(**{option.name: given.pop(option.name) for option in options})
        command(**given, **{name: asked})

    parameters = [*own, *options]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run
