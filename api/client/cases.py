"""Read cases, their trails, and both as they were known or valid at a moment."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from uuid import UUID

from api.client.connection import Connection
from api.client.schemas import Case, CasePage, TrailPage
from ledger.vocabulary.case_reference import read_reference
from ledger.vocabulary.picklists import CaseStatus, Priority, Stage
from projections.folds.audit_trail import TrailEntry
from projections.folds.case_view import CaseView
from projections.time.bitemporal import Moment
from projections.time.case_diff import CaseDifference
from projections.time.ledger_at import LedgerMoment


class CasesClient(Connection):
    """Reads cases as the agency's country sees them."""

    def case(
        self,
        case_id: UUID,
        *,
        as_of_position: int | None = None,
        as_of_time: datetime | None = None,
        valid_at: datetime | None = None,
        at_least: int | None = None,
    ) -> Case:
        """Return one case as this agency's country sees it: now, as it was known, or as it was."""
        params = {
            "as_of_position": as_of_position,
            "as_of_time": as_of_time and as_of_time.isoformat(),
            "valid_at": valid_at and valid_at.isoformat(),
            "at_least": at_least,
        }
        return self._get(f"/v1/cases/{case_id}", Case, params)

    def difference(self, case_id: UUID, before: Moment, after: Moment) -> CaseDifference:
        """Return the difference of a case between two moments, and the events that caused it."""
        params = {
            f"{name}_{part}": value.isoformat() if isinstance(value, datetime) else value
            for name, moment in (("from", before), ("to", after))
            for part, value in asdict(moment).items()
        }
        return self._get(f"/v1/cases/{case_id}/difference", CaseDifference, params)

    def ledger_moment(self, moment: Moment) -> LedgerMoment:
        """Return the whole ledger as it was known at a moment, in numbers."""
        params = {
            "as_of_position": moment.position,
            "as_of_time": moment.time and moment.time.isoformat(),
        }
        return self._get("/v1/ledger/moment", LedgerMoment, params)

    def cases(
        self,
        *,
        status: CaseStatus | None = None,
        stage: Stage | None = None,
        priority: Priority | None = None,
        lead_agency: str | None = None,
        awaits_us: bool | None = None,
        reference: str | None = None,
        page: int = 100,
    ) -> Iterator[CaseView]:
        """Yield every case of this agency's country that fits, the last opened first."""
        params = {
            "status": status,
            "stage": stage,
            "priority": priority,
            "lead_agency": lead_agency,
            "awaits_us": awaits_us,
            "reference": reference,
            "limit": page,
        }
        for found in self._pages("/v1/cases", CasePage, params, "before"):
            yield from found.cases

    def case_named(self, name: str) -> UUID:
        """Return the id of the case that an id or a short reference names.

        Raises ``ValueError`` if the text is neither, or if the reference is that of no case or of
        more than one that this agency sees.
        """
        try:
            return UUID(name)
        except ValueError:
            reference = read_reference(name)
        found = [view.case_id for view in self.cases(reference=reference)]
        if len(found) != 1:
            named = ", ".join(str(case_id) for case_id in found) or "none that you may see"
            raise ValueError(f"the reference {reference} is that of {len(found)} cases: {named}")
        return found[0]

    def trail(self, case_id: UUID, *, at_least: int | None = None) -> Iterator[TrailEntry]:
        """Yield the audit trail of a case, from its opening."""
        yield from self._trail(f"/v1/cases/{case_id}/trail", at_least)

    def protocol_trail(self, *, at_least: int | None = None) -> Iterator[TrailEntry]:
        """Yield the audit trail of the protocol: its adoption and its keys."""
        yield from self._trail("/v1/protocol/trail", at_least)

    def _trail(self, path: str, at_least: int | None) -> Iterator[TrailEntry]:
        for page in self._pages(path, TrailPage, {"at_least": at_least}, "after"):
            yield from page.entries
