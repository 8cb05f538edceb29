"""The protocol, its agencies and their keys."""

from collections.abc import Mapping
from datetime import date
from uuid import UUID

from pydantic import JsonValue

from api.client.schemas.document import Document
from ledger.procedure.agencies import AgencyChangeKind
from ledger.procedure.amendments import AmendmentState
from ledger.procedure.conditions import Role, Standing
from ledger.procedure.protocol import KeyChange, Party
from ledger.vocabulary.registration import Office, PublicKey
from ledger.vocabulary.types import AgencyId, Name, RecordedName, UtcDatetime


class AgencyKey(Document):
    id: str
    key: PublicKey
    """The public key, as a JWK (RFC 8037)."""
    valid_from: UtcDatetime
    valid_until: UtcDatetime
    revoked_at: UtcDatetime | None
    compromised_since: UtcDatetime | None
    member: UUID | None = None
    """The pseudonym of the member who holds the key; none if a system of the agency does."""


class AgencyChangeDocument(Document):
    """A change of an agency by its country, from the position after ``position`` on."""

    change: AgencyChangeKind
    position: int
    recorded_at: UtcDatetime
    by: AgencyId
    """The coordinator that signed it."""
    name: RecordedName | None = None
    """The name that it gave the agency, if it gave one."""


class AgencyWithKeys(Document):
    """An agency of the protocol, and the keys it may sign or has signed with."""

    id: AgencyId
    name: RecordedName
    party: str
    role: Role
    city: RecordedName | None
    names: Mapping[str, RecordedName] = {}
    """Its name by language, where its country gave any."""
    office: Office | None = None
    international: bool = False
    """Whether it is an international body, which the party invited."""
    retired_at: int | None = None
    """The position of the act that retired it."""
    answered_by: AgencyId | None = None
    """The agency that answers for its leads and for what it owes, once it is retired."""
    standing: Standing | None = None
    """The authority for naming the body: a published text, or an assumption of the program.

    Without it, the agency stands as the parties signed it, or its country registered it."""
    source: str | None = None
    """The published text."""
    history: tuple[AgencyChangeDocument, ...] = ()
    """The changes by its country, the first change first."""
    keys: tuple[AgencyKey, ...]


class AgencyProposalDocument(Document):
    """An oversight body to be registered or retired, which another party has to confirm."""

    id: UUID
    """The id of the action that proposed the change."""
    change: AgencyChangeKind
    agency: AgencyId
    party: str
    name: RecordedName | None
    by: AgencyId
    yours: bool
    """Whether the caller may confirm it."""


class ContactCardDocument(Document):
    """The person who holds a contact point, from the vault of the reader's country."""

    id: UUID
    """The id of the action that gave the card."""
    full_name: RecordedName | None = None
    telephone_24h: str | None = None
    email: str | None = None


class ContactPointDocument(Document):
    """A contact point of a party for the procedure, or a deputy: an office, and its card."""

    id: UUID
    """The id of the action that named it."""
    party: str
    agency: AgencyId
    function: RecordedName
    functions: Mapping[str, RecordedName] = {}
    deputy: bool
    languages: tuple[str, ...]
    office: Office
    since: int
    """The position of the act that named it."""
    named_at: UtcDatetime
    ended_at: int | None
    """The position of the act that ended it."""
    card: ContactCardDocument | None = None
    """The card in force, for coordinators and for the offices that are contact points. Its fields
    are ``null`` where they have not arrived at the node of the reader's country."""


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


class ProtocolVersionDocument(Document):
    """A version of the protocol that the parties adopted, with its text."""

    version: int
    edition: int
    """The edition of the program's rules that judges the events under it."""
    digest: str
    """The SHA-256 of the text."""
    adopted_at: int
    """The position of the act that completed its adoption."""
    in_force_from: UtcDatetime | None
    """The earliest time of recording that it applies to; ``None`` for the first version."""
    is_in_force: bool
    proposal: UUID | None
    """The amendment that proposed it; ``None`` for the first version."""
    text: Mapping[str, JsonValue]


class AmendmentDocument(Document):
    """A proposed text of the protocol, and what the parties said to it."""

    proposal: UUID
    version: int
    """The version that the text would be."""
    state: AmendmentState
    digest: str
    reason: str
    earliest_day: date | None
    """``None``: it applies as soon as it is adopted."""
    by: AgencyId
    party: str
    proposed_at: int
    """The position of the proposal."""
    recorded_at: UtcDatetime
    accepted: tuple[str, ...]
    missing: tuple[str, ...]
    """The parties that have not accepted it."""
    closed_at: int | None
    """The position of the act that adopted, declined or superseded it."""
    declined_by: str | None
    """The party that declined it, or withdrew its own."""
    declined_because: str | None = None
    """The reason that this party gave."""
    text: Mapping[str, JsonValue]
    is_read: bool = True
    """Whether the node's program can read the text. If not, update the node before you accept."""


class PartyDocument(Document):
    """A party of the protocol: since when it is one, and until when."""

    code: str
    name: RecordedName
    names: Mapping[str, RecordedName] = {}
    """Its name by language, where the text has any."""
    joined_at: int
    """The position of the act that adopted the first version that has the party, or that admitted
    it again."""
    in_force_from: UtcDatetime | None = None
    """The earliest time from which that version is in force; none for the first version."""
    is_party: bool
    """Whether it is a party today."""
    declaration: UUID | None = None
    """The act by which it declared that it leaves."""
    leaves_on: date | None = None
    """The first day on which it is no party any more."""
    reason: str | None = None


class ProtocolDocument(Document):
    """The version of the protocol that is in force today."""

    id: str
    title: Name
    version: int
    ledger_id: UUID
    parties: tuple[Party, ...]
    roles: Mapping[str, str]
    rules: Mapping[str, JsonValue]
    """For each kind of action: who may take it, what it requires, establishes and ends."""
