"""Write the text by which a country joins, and its coordinator's statement on the proposal."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from joserfc.jwk import OKPKey
from pydantic import ValidationError

from api.cli.output import fail
from api.node.setting_up.hand_over import CountryHandOver, read_hand_over
from ledger.procedure.accessions import coordinators_keys
from ledger.procedure.amendments import text_digest, text_of
from ledger.procedure.protocol import Protocol
from ledger.signing.accession_statement import sign_statement
from ledger.signing.country_key import CountryPublicKey
from ledger.signing.key_possession import grant_of
from ledger.signing.keys import key_id
from ledger.system.bounded_files import read_ordinary
from ledger.vocabulary.action import LedgerModel
from ledger.vocabulary.registration import Proof, TextDigest
from ledger.vocabulary.types import ActionId, Country

_VALID_BEFORE = timedelta(days=1)
"""The keys are valid from so long before, because the clocks of two machines may differ."""


class JoiningStatement(LedgerModel):
    """The file that a joining party's coordinator hands to a party's coordinator."""

    party: Country
    proposal: ActionId
    digest: TextDigest
    statement: Proof


def hand_over_of(file: Path, compared: str | None) -> CountryHandOver:
    """Read a joining country's file, whose fingerprint was compared. Raises ``ValueError``."""
    found = read_hand_over(file)
    if not isinstance(found, CountryHandOver):
        raise ValueError(f"{file} is the ledger node's file; name the joining country's")
    if compared is None or "".join(compared.split()) != "".join(found.fingerprint.split()):
        fail(
            f"{file} is not accepted: call the operator of {found.party}'s node at a number that"
            " you know, let them read out the fingerprint of their file, and name what you hear"
            " with --compared"
        )
    return found


def text_with(draft: Protocol, joining: CountryHandOver, country_key: str, years: int) -> Protocol:
    """Return the draft with the keys and the node of a joining country.

    Raises ``ValueError`` if the draft does not name the country.
    """
    joining.check(draft)
    CountryPublicKey.from_text(country_key)
    now = datetime.now(UTC).replace(microsecond=0)
    validity = {"valid_from": now - _VALID_BEFORE, "valid_until": now + timedelta(days=365 * years)}
    if not joining.coordinators:
        raise ValueError(
            f"the file of {joining.party} has no key of its coordinator: its side runs `case-ledger"
            " node init` again with --coordinator"
        )
    grants = [grant_of(one, **validity) for one in (*joining.coordinators, joining.node_key)]
    accession = {
        "keys": [grant.model_dump(mode="json", exclude_none=True) for grant in grants],
        "witness": joining.witness_key,
        "country_key": country_key,
        "node": joining.address,
    }
    told = text_of(draft)
    parties = [
        one | ({"accession": accession} if one["code"] == joining.party else {})
        for one in told["parties"]
    ]
    return Protocol.model_validate(told | {"parties": parties})


def party_of(text: Protocol, agency: str) -> str:
    """Return the joining party whose coordinator an agency is. Raises ``ValueError``."""
    known = text.agencies_by_id.get(agency)
    party = None if known is None else known.party
    if party is None or not any(one.agency == agency for one in coordinators_keys(text, party)):
        raise ValueError(f"the text names no key of {agency} as the coordinator of a joining party")
    return party


def statement_of(text: Protocol, proposal: UUID, agency: str, key: OKPKey) -> JoiningStatement:
    """Sign the acceptance of a proposed text by a joining party's coordinator.

    Raises ``ValueError`` if the text does not name this key.
    """
    party = party_of(text, agency)
    if key_id(key) not in {_key_id(one.key.x) for one in coordinators_keys(text, party)}:
        raise ValueError(f"the text names another key of {agency}: sign with the one that it names")
    digest = text_digest(text_of(text))
    statement = sign_statement(
        key, protocol=text.id, proposal=proposal, digest=digest, party=party, agency=agency
    )
    return JoiningStatement(party=party, proposal=proposal, digest=digest, statement=statement)


def _key_id(x: str) -> str:
    return key_id(OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": x}))


def read_statement(file: Path) -> JoiningStatement:
    """Read the statement of a joining party. Raises ``ValueError``."""
    try:
        return JoiningStatement.model_validate_json(read_ordinary(file))
    except ValidationError:
        raise ValueError(
            f"{file} is no statement of a joining party, as `case-ledger protocol join-statement`"
            " writes it"
        ) from None


def written(text: Protocol) -> str:
    """Return a text of the protocol as the file that ``protocol propose`` takes."""
    return json.dumps(text_of(text), ensure_ascii=False, indent=2) + "\n"
