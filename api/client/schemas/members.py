"""The members of an agency, as their own country sees them."""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from api.client.schemas.document import Document
from ledger.vocabulary.registration import KeyId, KeyRequest
from ledger.vocabulary.types import AgencyId, Name, RecordedName, UtcDatetime

Position = Annotated[Name | None, Field(max_length=120)]


class MemberInput(Document):
    """The name, the function and the rights of a member."""

    name: Name
    position: Position = None
    is_head: bool = False
    """Whether the member may add, change and disable the members of the agency."""


class NewMember(MemberInput):
    """A member to be added to an agency."""

    agency: AgencyId


class MemberKey(Document):
    """A key that is registered for a member."""

    id: KeyId
    valid_from: UtcDatetime
    valid_until: UtcDatetime
    revoked_at: UtcDatetime | None
    is_valid: bool
    """Whether the key may sign now."""


class MemberDocument(Document):
    """A person who works for an agency."""

    id: UUID
    """The pseudonym by which every country sees the member."""
    agency: AgencyId
    name: RecordedName | None
    """``null`` until somebody gives a name, and once the name is erased."""
    position: RecordedName | None
    is_head: bool
    is_known_to_provider: bool
    """Whether the member signs in at the agency's OpenID provider."""
    added_at: UtcDatetime
    disabled_at: UtcDatetime | None
    keys: tuple[MemberKey, ...]


class MemberChange(Document):
    """A change of a member, who made it, and when."""

    change: str
    by_agency: AgencyId
    by_member: UUID | None
    at: UtcDatetime


class MemberHistory(Document):
    """A member, and every change of the member, the first change first."""

    member: MemberDocument
    changes: tuple[MemberChange, ...]


class Invitation(Document):
    """A link by which one browser, once, hands in a key for a member."""

    link: str
    """The page ``/join`` of this node, with a secret that browsers do not send with the address.

    Give it to the member and to nobody else."""
    expires_at: UtcDatetime


Secret = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$")]


class OpenedInvitation(Document):
    """The secret of a link that a browser opened."""

    secret: Secret


class InvitedKey(Document):
    """A key that an invited person's browser made, with the secret of the link."""

    secret: Secret
    request: KeyRequest


class InvitedMember(Document):
    """The member for whom a key was handed in."""

    member: UUID
    agency: AgencyId


class AskedKey(Document):
    """A key that a member's browser made, and that the coordinator has not registered yet."""

    key_id: KeyId
    member: UUID
    request: KeyRequest
    asked_at: UtcDatetime
