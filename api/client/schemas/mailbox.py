"""Parcels between countries' nodes, and what became of them."""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from api.client.schemas.document import Document
from ledger.replication.outcomes import MailboxOutcome
from ledger.vocabulary.types import Country, UtcDatetime

Place = Annotated[int, Field(ge=0, le=2**63 - 1)]
"""The place of a parcel or an outcome in the mailbox; later ones have higher numbers."""


class ParcelDocument(Document):
    """A sealed parcel between two countries' nodes. The ledger node cannot open it."""

    id: UUID
    sender: Country
    recipient: Country
    sealed: Annotated[str, Field(max_length=1_500_000)]
    """HPKE (RFC 9180) to the recipient's country key, base64."""


class WaitingParcel(ParcelDocument):
    """A parcel that waits for its recipient's acknowledgement."""

    place: Place


class ParcelStanding(Document):
    """The number of parcels of one country that wait for another, and since when."""

    sender: Country
    recipient: Country
    parcels: int
    oldest_at: UtcDatetime


class ParcelPage(Document):
    """Parcels that wait: the first one of each sender first, then the second ones."""

    parcels: tuple[WaitingParcel, ...]
    standing: tuple[ParcelStanding, ...]
    """All that waits for the caller's country, by sender."""


class Acknowledgements(Document):
    """A country's node's signed statements on parcels that it fetched."""

    acknowledgements: Annotated[
        tuple[Annotated[str, Field(max_length=4096)], ...], Field(min_length=1, max_length=100)
    ]
    """Compact JWS (RFC 7515), of the type ``parcel-acknowledgement+jwt``."""


class ParcelsTakenOut(Document):
    """The number of parcels that left the mailbox by the caller's acknowledgements."""

    parcels: int


class ParcelLeft(Document):
    """The outcome of a parcel that the caller's country sent."""

    place: Place
    parcel: UUID
    outcome: MailboxOutcome
    acknowledgement: str | None = None
    """The recipient node's signed acknowledgement. A parcel that expired or was lost has none."""


class OutcomePage(Document):
    """The outcomes of parcels that are not settled yet, the oldest first."""

    outcomes: tuple[ParcelLeft, ...]


class SettledOutcomes(Document):
    """Outcomes that the sender has, and that the mailbox need not keep."""

    places: Annotated[tuple[Place, ...], Field(min_length=1, max_length=1000)]


class SentDigest(Document):
    """A parcel that was handed in."""

    parcel: UUID
    digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """SHA-256 of its sealed bytes, in hexadecimal."""


class SentDigests(Document):
    """Parcels that a sender asks about."""

    sent: Annotated[tuple[SentDigest, ...], Field(min_length=1, max_length=1000)]


class TakenBack(Document):
    """Parcels that their sender removes before they are fetched."""

    parcels: Annotated[tuple[UUID, ...], Field(min_length=1, max_length=1000)]


class MissingParcels(Document):
    """Parcels that neither wait nor have an outcome: they are to be sent again."""

    missing: tuple[UUID, ...]
