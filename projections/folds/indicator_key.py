"""The key of a case in the figures: one text that all cases that count alike have in common.

So a query counts along an index of texts, and reads no document.
"""

import json
from datetime import timedelta

from ledger.procedure.case_state import CaseState
from ledger.vocabulary.picklists import CaseStatus, ClosureReason, Stage
from projections.folds.caseload_indicators import CaseTally


def counted_as(state: CaseState) -> str:
    """Return the key of a case: all that a :class:`CaseTally` holds, except the number of cases."""
    opened, received = state.facts.get("case_opened"), state.facts.get("received")
    identified, planned = state.facts.get("victim_identified"), state.planned_return
    days = (
        (received.since - identified.since) // timedelta(days=1)
        if received is not None and identified is not None
        else None
    )
    received_by = received.party if received is not None else None
    return json.dumps(
        [
            state.stage.value,
            state.status.value,
            state.lead_agency,
            opened.party if opened is not None else state.parties[0],
            state.parties,
            planned.destination if planned is not None else received_by,
            received_by,
            days,
            *([True] if _is_left_out(state) else []),
        ],
        separators=(",", ":"),
    )


def _is_left_out(state: CaseState) -> bool:
    """Return whether the case is none of its own: it was merged, or opened in error."""
    return state.merged_into is not None or state.closure is ClosureReason.OPENED_IN_ERROR


def tally(alike: str, cases: int) -> CaseTally:
    """Return the tally of a number of cases that have the key ``alike``."""
    told = json.loads(alike)
    stage, status, lead, opened_by, parties, destination, received_by, days = told[:8]
    return CaseTally(
        stage=Stage(stage),
        status=CaseStatus(status),
        lead_agency=lead,
        opened_by=opened_by,
        parties=tuple(parties),
        destination=destination,
        received_by=received_by,
        days=days,
        left_out=len(told) > 8,
        cases=cases,
    )
