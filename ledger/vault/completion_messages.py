"""The messages by which countries' nodes complete their vaults, each in a sealed parcel.

A node asks for the fields of actions that it must hold by the ledger. The other node sends the
fields that it has as presentations, and lists their digests in a signed statement.
"""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from ledger.vocabulary.action import LedgerModel
from ledger.vocabulary.sharing import Digest
from ledger.vocabulary.types import Country, UnixTime

TYPE = "fields-held+jwt"
AT_MOST_ACTIONS = 100


class FieldsAsked(LedgerModel):
    """The sender must hold fields of these actions by the ledger, and does not."""

    kind: Literal["fields_asked"] = "fields_asked"
    ask: UUID
    """Random, and repeated in the answer."""
    actions: Annotated[tuple[UUID, ...], Field(min_length=1, max_length=AT_MOST_ACTIONS)]


class FieldsAnswered(LedgerModel):
    """The sender's answer, as a statement that its node signed."""

    kind: Literal["fields_answered"] = "fields_answered"
    statement: Annotated[str, Field(max_length=512_000)]


class ActionHeld(LedgerModel):
    """The fields of an action that a country holds and the other country must hold."""

    action: UUID
    digests: Annotated[tuple[Digest, ...], Field(max_length=200)]
    """Of the fields that it sends. None: it holds nothing of it."""


class HeldStatement(LedgerModel):
    """The claims of an answer."""

    protocol: Annotated[str, Field(max_length=200)]
    sender: Country
    """The country that was asked."""
    recipient: Country
    ask: UUID
    held: Annotated[tuple[ActionHeld, ...], Field(max_length=AT_MOST_ACTIONS)]
    iat: UnixTime
