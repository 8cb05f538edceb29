"""Read requests for keys, and settle changes of keys."""

import os
from pathlib import Path

import httpx
from joserfc.jwk import OKPKey
from pydantic import ValidationError

from api.cli.connection import AsAgencyOrJson, own_address
from api.cli.output import out
from api.cli.steps.signed_acts import sign_act
from api.client import LedgerClient, RefusedError
from api.client.bounded_answers import bounded_client
from api.runtime.settings import Settings
from ledger.signing.key_possession import request_of
from ledger.system.bounded_files import read_ordinary
from ledger.vocabulary import Action
from ledger.vocabulary.registration import KeyRequest

_NODE_SECONDS = 5.0
"""The node that commands ask has so long to name its protocol."""


def read_request(file: Path, owner: str) -> KeyRequest:
    """Read the file that an agency hands to its coordinator.

    Raises ``ValueError`` for any other file.
    """
    try:
        request = KeyRequest.model_validate_json(read_ordinary(file))
    except ValidationError:
        raise ValueError(
            f"{file} is no public key with its proof: let {owner} write it with"
            f" `case-ledger keys public {owner}`"
        ) from None
    if request.agency != owner:
        raise ValueError(f"{file} is of {request.agency}, not of {owner}")
    return request


def request_for(key: OKPKey, agency: str) -> KeyRequest:
    """Return the request for a key, with the proof of its possession.

    The proof names the protocol of the ledger: of the node that the environment names, or of the
    database here. Before the adoption it is the settings' own.
    """
    settings = Settings()
    protocol = _asked_of_node() or _read_here(settings) or settings.load_protocol().id
    return request_of(key, protocol=protocol, agency=agency)


def _asked_of_node() -> str | None:
    """Return the id of the protocol of the node that commands ask, if it answers."""
    url = os.environ.get("CASE_LEDGER_URL") or own_address(os.environ)
    try:
        with bounded_client(seconds=_NODE_SECONDS) as http:
            told = http.get(f"{url}/ready").json()
    except (httpx.HTTPError, ValueError):
        return None
    found = told.get("protocol") if isinstance(told, dict) else None
    return found if isinstance(found, str) else None


def _read_here(settings: Settings) -> str | None:
    """Return the id of the protocol of the ledger in this machine's database, if it has one."""
    if settings.database_url is None and not (settings.data_directory / "postgresql").exists():
        return None
    from api.node.agreed_protocol import settings_here
    from api.runtime.node_database import StoreError

    try:
        return settings_here(settings).load_protocol().id
    except StoreError:
        return None


def change_key(asked: AsAgencyOrJson, client: LedgerClient, act: Action, done: str) -> None:
    """Sign and record a change of a key, and print whether it waits for another party."""
    receipt = sign_act(asked, client, act, done)
    if asked.as_json:
        return
    try:
        waits = any(one.id == receipt.action_id for one in client.key_proposals())
    except RefusedError as error:
        if error.problem.rule != "revoked-key":
            raise
        return  # it was the caller's own key, and is revoked
    if waits:
        out.print(
            "[yellow]It has no effect yet[/]: a coordinator of another country must confirm it"
            f" with `case-ledger keys confirm {receipt.action_id}`.",
            soft_wrap=True,
        )


def of_own_country(party: str) -> Settings:
    """Return the settings if this is the node of the country.

    Raises ``ValueError`` if it is not.
    """
    from api.keys.log_keys import own_parties

    settings = Settings()
    if party not in own_parties(settings):
        raise ValueError(f"this is no node of {party} (CASE_LEDGER_COUNTRIES)")
    return settings
