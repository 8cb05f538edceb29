"""Send and fetch parcels at the ledger node, which may be this node itself."""

import base64
from collections.abc import Mapping, Sequence
from typing import Protocol
from uuid import UUID

import structlog

from api.client import LedgerClient, RefusedError
from api.client.schemas import ParcelDocument, ParcelPage, SentDigest, WaitingParcel
from ledger.refusals import Ground, Refusal
from ledger.replication.mailbox import Left, ParcelInMailbox, QuotaError, WaitingPage
from ledger.vault.acknowledgements import Signed
from ledger.vault.arrived_parcels import PairStanding
from ledger.vault.sealed_parcels import Parcel

_OF_ONE_PARCEL = frozenset({403, 413, 422})
_log = structlog.get_logger(__name__)


class OutdatedMailboxError(Exception):
    """The ledger node runs an earlier program, which has no such mailbox."""


class PostOffice(Protocol):
    """The place of sending and fetching parcels, such as the ledger node's ``Mailbox``."""

    def put(self, parcel: Parcel) -> None:
        """Hand in a parcel. It is kept, durably, until its recipient acknowledges it.

        Raises ``QuotaError`` where too much waits, and ``Refusal`` for this parcel alone.
        """

    def waiting(self, recipient: str, limit: int, after: Mapping[str, int]) -> WaitingPage:
        """Return parcels for a country beyond the last place looked at, by sender."""

    def get(self, recipient: str, parcel_ids: Sequence[UUID]) -> Sequence[ParcelInMailbox]:
        """Return some of the given parcels that still wait."""

    def acknowledge(self, recipient: str, acknowledgements: Sequence[Signed]) -> int:
        """Hand in the recipient's signed acknowledgements, and return how many parcels left."""

    def outcomes(self, sender: str, limit: int) -> Sequence[Left]:
        """Return the outcomes of a country's parcels."""

    def settle(self, sender: str, seqs: Sequence[int]) -> int:
        """Forget outcomes that the sender has written down."""

    def missing(self, sender: str, sent: Mapping[UUID, bytes]) -> set[UUID]:
        """Return which of a country's parcels are not there, by id and digest."""

    def take_back(self, sender: str, parcel_ids: Sequence[UUID]) -> int:
        """Remove parcels of a country that still wait. Returns how many."""


class HttpPostOffice:
    """The ledger node's, asked in the name of the country's own node.

    Every method raises ``OutdatedMailboxError`` where the ledger node runs an earlier program.
    """

    def __init__(self, client: LedgerClient) -> None:
        self._client = client

    def put(self, parcel: Parcel) -> None:
        try:
            self._client.send_parcel(to_document(parcel))
        except RefusedError as error:
            raise _told(error) from error

    def waiting(self, recipient: str, limit: int, after: Mapping[str, int]) -> WaitingPage:
        known = [f"{sender}:{seq}" for sender, seq in after.items()]
        try:
            page = self._client.parcels(limit=limit, after=known)
        except RefusedError as error:
            raise _told(error) from error
        standing = tuple(
            PairStanding(one.sender, one.recipient, one.parcels, one.oldest_at)
            for one in page.standing
            if one.recipient == recipient
        )
        return WaitingPage(_of_recipient(page, recipient), standing)

    def get(self, recipient: str, parcel_ids: Sequence[UUID]) -> Sequence[ParcelInMailbox]:
        try:
            page = self._client.parcels(limit=len(parcel_ids), ids=parcel_ids)
        except RefusedError as error:
            raise _told(error) from error
        return _of_recipient(page, recipient)

    def acknowledge(self, recipient: str, acknowledgements: Sequence[Signed]) -> int:  # noqa: ARG002
        try:
            return self._client.acknowledge_parcels([one.text for one in acknowledgements])
        except RefusedError as error:
            raise _told(error) from error

    def outcomes(self, sender: str, limit: int) -> Sequence[Left]:  # noqa: ARG002
        try:
            page = self._client.parcel_outcomes(limit)
        except RefusedError as error:
            raise _told(error) from error
        return [Left(o.place, o.parcel, o.outcome, o.acknowledgement) for o in page.outcomes]

    def settle(self, sender: str, seqs: Sequence[int]) -> int:  # noqa: ARG002
        try:
            self._client.settle_outcomes(seqs)
        except RefusedError as error:
            raise _told(error) from error
        return len(seqs)

    def missing(self, sender: str, sent: Mapping[UUID, bytes]) -> set[UUID]:  # noqa: ARG002
        asked = [SentDigest(parcel=key, digest=digest.hex()) for key, digest in sent.items()]
        try:
            return set(self._client.missing_parcels(asked)) & set(sent)
        except RefusedError as error:
            raise _told(error) from error

    def take_back(self, sender: str, parcel_ids: Sequence[UUID]) -> int:  # noqa: ARG002
        try:
            return self._client.take_back_parcels(parcel_ids)
        except RefusedError as error:
            raise _told(error) from error


def _told(error: RefusedError) -> Exception:
    """Return the error that the sending or fetching code raises for the ledger node's refusal."""
    problem = error.problem
    if problem.status == 404 and problem.rule == "no-such-resource":
        return OutdatedMailboxError("the ledger node has no mailbox of this kind")
    if problem.rule == "mailbox-quota":
        return QuotaError()
    if problem.status in _OF_ONE_PARCEL and problem.rule not in ("http", "nodes-only"):
        return Refusal(Ground.INVALID, problem.rule, problem.detail or problem.title)
    return error


def _of_recipient(page: ParcelPage, recipient: str) -> tuple[ParcelInMailbox, ...]:
    """Return the parcels of a page, without those that are not base64."""
    found = []
    for one in page.parcels:
        try:
            parcel = from_document(one)
        except ValueError:
            _log.error("a parcel is no base64", sender=one.sender)
            continue
        if one.recipient == recipient:
            found.append(ParcelInMailbox(one.place, parcel))
    return tuple(found)


def to_document(parcel: Parcel) -> ParcelDocument:
    """Return a parcel in the form in which it is sent."""
    return ParcelDocument(
        id=parcel.id,
        sender=parcel.sender,
        recipient=parcel.recipient,
        sealed=base64.b64encode(parcel.sealed).decode("ascii"),
    )


def to_waiting(one: ParcelInMailbox) -> WaitingParcel:
    """Return a parcel in the form in which its recipient gets it."""
    return WaitingParcel(place=one.seq, **to_document(one.parcel).model_dump())


def from_document(document: ParcelDocument) -> Parcel:
    """Return a parcel from the form in which it was sent.

    Raises ``ValueError`` if the content is not base64.
    """
    sealed = base64.b64decode(document.sealed, validate=True)
    return Parcel(document.id, document.sender, document.recipient, sealed)
