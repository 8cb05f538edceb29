"""The agencies that have part in a case by the version of the protocol in force today."""

from ledger.application import Ledger
from ledger.procedure.case import Case
from ledger.procedure.checks.taking_part import has_part
from ledger.procedure.protocol import Agency
from ledger.system import clock


def sees_case(ledger: Ledger, agency: Agency, case: Case) -> bool:
    """Return whether an agency has part in a case, and so sees it."""
    protocol = ledger.adopted().protocol_today(clock.now())
    return has_part(agency, case.state, case.history, protocol)
