"""How a country's node sends and fetches parcels: at the ledger node, which may be itself."""

import base64
from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from api.client import LedgerClient
from api.documents import ParcelDocument
from ledger.vault.parcels import Parcel


class PostOffice(Protocol):
    """Where parcels are handed in and fetched."""

    def put(self, parcel: Parcel) -> None:
        """Hand in a parcel. It is kept, durably, until its recipient removes it."""

    def waiting(self, recipient: str, limit: int) -> Sequence[Parcel]:
        """Parcels for a country, the first one first."""

    def remove(self, recipient: str, parcel_ids: Sequence[UUID]) -> int:
        """Take out what was taken in."""


class HttpPostOffice:
    """The ledger node's, asked in the name of the country's own node."""

    def __init__(self, client: LedgerClient) -> None:
        self._client = client

    def put(self, parcel: Parcel) -> None:
        self._client.send_parcel(to_document(parcel))

    def waiting(self, recipient: str, limit: int) -> Sequence[Parcel]:
        page = self._client.parcels(limit=limit)
        return [from_document(p) for p in page.parcels if p.recipient == recipient]

    def remove(self, recipient: str, parcel_ids: Sequence[UUID]) -> int:  # noqa: ARG002
        for parcel_id in parcel_ids:
            self._client.remove_parcel(parcel_id)
        return len(parcel_ids)


def to_document(parcel: Parcel) -> ParcelDocument:
    """A parcel as it is sent."""
    return ParcelDocument(
        id=parcel.id,
        sender=parcel.sender,
        recipient=parcel.recipient,
        sealed=base64.b64encode(parcel.sealed).decode("ascii"),
    )


def from_document(document: ParcelDocument) -> Parcel:
    """A parcel as it was sent. Raises ``ValueError`` where it is not base64."""
    sealed = base64.b64decode(document.sealed, validate=True)
    return Parcel(document.id, document.sender, document.recipient, sealed)
