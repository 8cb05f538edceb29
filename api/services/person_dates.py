"""Checks the dates that an action discloses, when the country's node takes it in."""

from ledger.application import Ledger
from ledger.procedure.checks.taking_part import has_part
from ledger.procedure.disclosed_dates import check_disclosed_dates
from ledger.procedure.protocol import Protocol
from ledger.procedure.time_zones import zone_of
from ledger.refusals import Refusal
from ledger.signing.signed_action import SignedAction
from ledger.vocabulary.action import Action


def check_person_dates(
    ledger: Ledger, protocol: Protocol, action: SignedAction, whole: Action, case_version: int
) -> None:
    """Check the dates of an action by its disclosures and its case at ``case_version``.

    An action that is recorded already is not judged again. Raises ``Refusal``.
    """
    if action.case_id is None:
        return
    case = ledger.case_at(action.case_id, case_version)
    agency = protocol.agencies_by_id.get(action.agency)
    zone = zone_of(protocol, agency.party if agency is not None else None)
    try:
        if case is None:
            check_disclosed_dates(whole, None, zone=zone)
            return
        if agency is None or not has_part(agency, case.state, case.history, protocol):
            return  # the rules refuse it, and say no more than for a case that does not exist
        check_disclosed_dates(whole, case.state, case.history.values(), zone)
    except Refusal:
        if ledger.receipt_of(action) is None:
            raise
