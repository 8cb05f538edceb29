"""Read obligations, and how countries discharge them."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from uuid import UUID

from api.client.connection import Connection
from api.client.schemas import ObligationPage, Reciprocity, ResponseTimesOf
from projections.folds.obligation_terms import Dimension, ObligationKind, ObligationState
from projections.folds.obligations import Obligation


class AccountabilityClient(Connection):
    """Reads who owes what to whom, and how fast it is done."""

    def obligations(
        self,
        *,
        party: str | None = None,
        creditor: str | None = None,
        agency: str | None = None,
        kind: ObligationKind | None = None,
        state: ObligationState | None = None,
        case_id: UUID | None = None,
        overdue: bool = False,
        as_of: datetime | None = None,
        at_least: int | None = None,
        page: int = 200,
    ) -> Iterator[Obligation]:
        """Yield every obligation that fits, in the cases of this coordinator's country.

        The obligation that was opened last is the first. With ``overdue`` the longest overdue is
        the first, now or ``as_of`` a moment.
        """
        params = {
            "party": party,
            "creditor": creditor,
            "agency": agency,
            "kind": kind,
            "state": state,
            "case_id": case_id,
            "overdue": overdue,
            "as_of": as_of and as_of.isoformat(),
            "at_least": at_least,
            "limit": page,
        }
        for found in self._pages("/v1/obligations", ObligationPage, params, "after"):
            yield from found.obligations

    def response_times(
        self, by: Iterable[Dimension] = (), *, as_of: datetime | None = None
    ) -> ResponseTimesOf:
        """Return how fast obligations were discharged, by country and kind or other dimensions."""
        params = {"by": list(by), "as_of": as_of and as_of.isoformat()}
        return self._get("/v1/accountability/response-times", ResponseTimesOf, params)

    def reciprocity(self, *, as_of: datetime | None = None) -> Reciprocity:
        """Return what this coordinator's country and each other country owe each other."""
        params = {"as_of": as_of and as_of.isoformat()}
        return self._get("/v1/accountability/reciprocity", Reciprocity, params)
