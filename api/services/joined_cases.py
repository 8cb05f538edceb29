"""The actions of the cases that merges ever joined with a case, read from this node's copy."""

from collections.abc import Iterable

from ledger.application import Ledger
from ledger.events.act import Act
from ledger.procedure.agreement import Agreement
from ledger.procedure.merged_cases import OtherCases
from projections.folds.joined_cases import MERGING, JoinedCases, cases_then
from projections.time.bitemporal import Moment, acts_at, acts_of


def joined_cases_at(
    ledger: Ledger, own: Iterable[Act], agreement: Agreement, moment: Moment
) -> OtherCases:
    """Return the cases that were ever joined with a case, as of a moment.

    ``own`` are actions of the case.
    """
    merging = next((act for act in own if act.kind in MERGING), None)
    if merging is None:
        return {}
    acceptances = (row.event().as_act() for row in ledger.acceptances())
    others = JoinedCases(acceptances).others(merging.case_id)
    acts = {one: acts_at(acts_of(ledger.case_events(one)), moment) for one in others}
    return cases_then(acts, agreement)
