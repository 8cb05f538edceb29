"""Until when the ledger node serves a party that left, where a legal hold kept it from erasing."""

from datetime import date, timedelta
from uuid import UUID, uuid4

from api.services.settling import Settling
from ledger.application import Ledger
from ledger.procedure.held_parts import erasing_period, regular_end
from ledger.procedure.protocol import with_left_parties
from ledger.signing import signed_action
from ledger.store.event_rows import RecordedRow
from ledger.vocabulary import Action
from ledger.vocabulary.erasure import LegalHoldLifted, LegalHoldPlaced
from ledger.vocabulary.picklists import HoldGround
from tests.support.actions import START, opening
from tests.support.agencies import Agencies

LEFT = date(2026, 5, 1)
MINUTE = timedelta(minutes=1)


def test_a_party_that_left_has_time_as_long_as_a_hold_keeps_it(
    ledger: Ledger, agencies: Agencies
) -> None:
    protocol = with_left_parties(agencies.protocol, {"AL": LEFT, "ME": LEFT})
    prosecutor = next(
        a.id for a in agencies.protocol.agencies if (a.party, a.role) == ("AL", "prosecutor")
    )

    def take(agency: str, action: Action, case_id: UUID, version: int) -> RecordedRow:
        signed = agencies.sign(agency, action, case_id)
        return ledger.append(signed_action.read(signed), case_id, version)

    case_id = uuid4()
    take("xk-dhtqnj", opening(("XK", "AL")), case_id, 0)
    settling, end = Settling(ledger), regular_end(LEFT, protocol)
    assert settling.has_time("AL", protocol, end - MINUTE)
    assert not settling.has_time("AL", protocol, end)
    held = LegalHoldPlaced(acted_at=START, ground=next(iter(HoldGround)))
    hold = take(prosecutor, held, case_id, 1)
    late = end + timedelta(days=1000)
    assert not settling.has_time("AL", protocol, end)  # the answer counts for some seconds
    assert Settling(ledger).has_time("AL", protocol, late)
    assert not Settling(ledger).has_time("ME", protocol, late)  # it has no part in the case
    lifting = LegalHoldLifted(acted_at=START, hold=hold.action_id)
    lifted = take(prosecutor, lifting, case_id, 2).recorded_at
    out = lifted + erasing_period(protocol)
    assert Settling(ledger).has_time("AL", protocol, max(end, out - MINUTE)) is (end < out)
    assert not Settling(ledger).has_time("AL", protocol, max(end, out))
