"""The requests between countries' nodes: parcels, and statements on actions that wait."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from api.client.connection import Connection
from api.client.schemas import (
    Acknowledgements,
    MissingParcels,
    OutcomePage,
    ParcelDocument,
    ParcelPage,
    ParcelsTakenOut,
    SentDigest,
    SentDigests,
    SettledOutcomes,
    StatedSubmissions,
    SubmissionPage,
    TakenBack,
)


class NodesClient(Connection):
    """Exchanges parcels and statements with other countries' nodes; for a node's agency."""

    def send_parcel(self, parcel: ParcelDocument) -> None:
        """Hand in a parcel for another country's node; for a node alone."""
        self._send_document("/v1/mailbox/parcels", parcel)

    def parcels(
        self, limit: int = 20, after: Sequence[str] = (), ids: Sequence[UUID] = ()
    ) -> ParcelPage:
        """Return the parcels that wait for this node's country.

        ``after`` has, for a sender, the place that this node has looked at last, as ``XK:12``.
        ``ids`` asks for these parcels alone.
        """
        params: dict[str, Any] = {"limit": limit}
        if after:
            params["after"] = list(after)
        if ids:
            params["id"] = [str(one) for one in ids]
        return self._get("/v1/mailbox/parcels", ParcelPage, params)

    def acknowledge_parcels(self, signed: Sequence[str]) -> int:
        """Hand in acknowledgements of parcels. Returns how many parcels left by them."""
        document = Acknowledgements(acknowledgements=tuple(signed))
        response = self._send_document("/v1/mailbox/acknowledgements", document)
        return ParcelsTakenOut.model_validate_json(response.content).parcels

    def parcel_outcomes(self, limit: int = 100) -> OutcomePage:
        """Return the outcomes of the parcels that this node's country handed in."""
        return self._get("/v1/mailbox/outcomes", OutcomePage, {"limit": limit})

    def settle_outcomes(self, places: Sequence[int]) -> None:
        """Say that these outcomes were written down here."""
        self._send_document("/v1/mailbox/outcomes/settled", SettledOutcomes(places=tuple(places)))

    def missing_parcels(self, sent: Sequence[SentDigest]) -> tuple[UUID, ...]:
        """Return the ids of the given parcels that the mailbox does not have."""
        response = self._send_document("/v1/mailbox/missing", SentDigests(sent=tuple(sent)))
        return MissingParcels.model_validate_json(response.content).missing

    def take_back_parcels(self, parcels: Sequence[UUID]) -> int:
        """Remove parcels of this country that wait at the mailbox. Returns how many."""
        document = TakenBack(parcels=tuple(parcels))
        response = self._send_document("/v1/mailbox/parcels/taken-back", document)
        return ParcelsTakenOut.model_validate_json(response.content).parcels

    def state_submissions(self, statements: Sequence[str]) -> SubmissionPage:
        """Hand signed statements on waiting actions to another country's node; for a node alone."""
        sent = StatedSubmissions(statements=tuple(statements))
        response = self._send_document("/v1/submissions", sent)
        return SubmissionPage.model_validate_json(response.content)

    def submissions(self, limit: int = 200) -> SubmissionPage:
        """Return other countries' nodes' statements of the actions that they handed in."""
        return self._get("/v1/submissions", SubmissionPage, {"limit": limit})
