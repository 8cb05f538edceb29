"""The protocol, its agencies and their keys."""

from collections.abc import Mapping
from uuid import UUID

from pydantic import JsonValue

from api.client.schemas.document import Document
from ledger.procedure.protocol import KeyChange, Party, Role
from ledger.vocabulary.registration import PublicKey
from ledger.vocabulary.types import AgencyId, Name, UtcDatetime


class AgencyKey(Document):
    id: str
    key: PublicKey
    """The public key, as a JWK (RFC 8037)."""
    valid_from: UtcDatetime
    valid_until: UtcDatetime
    revoked_at: UtcDatetime | None
    compromised_since: UtcDatetime | None


class AgencyWithKeys(Document):
    """An agency of the protocol, and the keys it may sign or has signed with."""

    id: AgencyId
    name: Name
    party: str
    role: Role
    city: Name | None
    keys: tuple[AgencyKey, ...]


class KeyProposalDocument(Document):
    """A change of a key that waits until another party has confirmed or declined it."""

    id: UUID
    """The id of the action that proposed the change."""
    change: KeyChange
    key_id: str
    agency: AgencyId
    """The agency whose key it is."""
    by: AgencyId
    """The agency that proposed the change."""
    compromised_since: UtcDatetime | None
    valid_from: UtcDatetime
    valid_until: UtcDatetime
    yours: bool
    """Whether the caller may confirm it."""


class ProtocolDocument(Document):
    """The protocol that this ledger adopted."""

    id: str
    title: Name
    version: int
    ledger_id: UUID
    parties: tuple[Party, ...]
    roles: Mapping[str, str]
    rules: Mapping[str, JsonValue]
    """For each kind of action: who may take it, what it requires, establishes and ends."""
