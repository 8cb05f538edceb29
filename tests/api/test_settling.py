"""Until when the ledger node serves a party that left, where a legal hold kept it from erasing."""

from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from api.services import settling as settling_module
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

LEFT = (datetime.now(UTC) + timedelta(days=2)).date()
"""In the future: what the test records is recorded now, before the party's time is over."""
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
    settling, end = Settling(ledger), regular_end("AL", protocol)
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


def test_a_hold_that_comes_too_late_gives_no_time_again(
    ledger: Ledger, agencies: Agencies, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finding on a case counts until the case changes, and cases of others cost nothing."""
    protocol = with_left_parties(agencies.protocol, {"AL": date(2020, 5, 1)})
    court = next(
        a.id for a in agencies.protocol.agencies if (a.party, a.role) == ("XK", "prosecutor")
    )
    held = LegalHoldPlaced(acted_at=START, ground=next(iter(HoldGround)))
    ids: list[UUID] = []
    for countries in (("XK", "AL"), ("XK", "ME")):
        ids.append(case_id := uuid4())
        for version, (agency, action) in enumerate(
            (("xk-dhtqnj", opening(countries)), (court, held))
        ):
            ledger.append(
                signed_action.read(agencies.sign(agency, action, case_id)), case_id, version
            )
    monkeypatch.setattr(settling_module, "_KEPT_SECONDS", -1.0)
    settling, now = Settling(ledger), datetime.now(UTC)
    folded: list[UUID] = []
    read = Ledger.cases

    def counting(self: Ledger, case_ids: Collection[UUID], *, keep: bool = True) -> Any:
        folded.extend(case_ids)
        return read(self, case_ids, keep=keep)

    monkeypatch.setattr(Ledger, "cases", counting)
    assert not settling.has_time("AL", protocol, now)
    assert sorted(folded) == sorted(ids)
    assert not settling.has_time("AL", protocol, now)
    assert not settling.has_time("ME", with_left_parties(protocol, {"ME": date(2020, 5, 1)}), now)
    assert sorted(folded) == sorted(ids)  # no case is folded again
    lifting = LegalHoldLifted(acted_at=START, hold=next(iter(ledger.case(ids[0]).state.holds)))
    ledger.append(signed_action.read(agencies.sign(court, lifting, ids[0])), ids[0], 2)
    assert not settling.has_time("AL", protocol, now)  # nor does its lifting
    assert folded[2:] == [ids[0]]
