"""Statements that a country's node signs for another country's node.

A statement is a compact JWS (RFC 7515, https://www.rfc-editor.org/rfc/rfc7515) by a key of the
node's agency. The other node verifies it with the key that the registry holds, and can show it to
third parties.
"""

from datetime import datetime
from typing import Any, TypeVar

from joserfc.jwk import OKPKey
from pydantic import BaseModel, ValidationError

from ledger.procedure.protocol import NODE
from ledger.procedure.registry import Registry
from ledger.refusals import Refusal
from ledger.signing import sd_jwt
from ledger.signing.keys import key_id
from ledger.signing.sd_jwt import SdJwtError

MAX_CHARACTERS = 2_000
"""The longest statement on an action that waits."""
S = TypeVar("S", bound=BaseModel)


class StatementError(ValueError):
    """A text is no statement of the country's node that it should be of."""


def sign(content: BaseModel, typ: str, key: OKPKey) -> str:
    """Sign ``content`` as a statement of the type ``typ`` with the key of a country's node."""
    header = {"typ": typ, "kid": key_id(key)}
    claims = content.model_dump(mode="json", exclude_none=True)
    return sd_jwt.issue(header, claims, (), key).jwt


def verify(
    text: str, typ: str, model: type[S], *, party: str, registry: Registry, at: datetime
) -> S:
    """Read a statement that a registered key of a country's node signed.

    Raises ``StatementError`` for every other text.
    """
    try:
        parsed = sd_jwt.parse(f"{text}~")
        if parsed.disclosures:
            raise StatementError("it has disclosures")
        content = model.model_validate(dict(parsed.payload))
    except SdJwtError as error:
        raise StatementError(f"it {error}") from error
    except ValidationError as error:
        raise StatementError("its claims are malformed") from error
    kid: Any = parsed.header.get("kid")
    if dict(parsed.header) != {"alg": sd_jwt.ALGORITHM, "typ": typ, "kid": kid}:
        raise StatementError("its header is of something else")
    registered = registry.keys.get(kid) if isinstance(kid, str) else None
    agency = (
        registry.protocol_today(at).agencies_by_id.get(registered.agency) if registered else None
    )
    if registered is None or agency is None:
        raise StatementError("its key is not registered")
    if agency.role != NODE or agency.party != party:
        raise StatementError("its key is not of that country's node")
    try:
        sd_jwt.verify(parsed, registry.signing_key(registered.id, agency.id, at))
    except (Refusal, SdJwtError) as error:
        raise StatementError("its key does not count, or the signature does not verify") from error
    return content
