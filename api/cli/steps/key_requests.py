"""Read requests for keys, and settle changes of keys."""

from pathlib import Path

from joserfc.jwk import OKPKey
from pydantic import ValidationError

from api.cli.connection import AsAgencyOrJson
from api.cli.output import out
from api.cli.steps.signed_acts import sign_act
from api.client import LedgerClient, RefusedError
from api.runtime.settings import Settings
from ledger.signing.key_possession import request_of
from ledger.system.bounded_files import read_ordinary
from ledger.vocabulary import Action
from ledger.vocabulary.registration import KeyRequest


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
    """Return the request for a key, with the proof of its possession."""
    return request_of(key, protocol=Settings().load_protocol().id, agency=agency)


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
