"""A country that confirmed an erasure shows a field of that time: it contradicts itself."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

from ledger.events.act import Act
from ledger.procedure.case import Case, CaseHistory
from ledger.procedure.case_state import CaseState
from ledger.procedure.erasure_statement import (
    confirmation_of,
    contradicts_erasure,
    last_version_with_fields,
)
from tests.support.agencies import Agencies

NOW = datetime(2026, 5, 1, tzinfo=UTC)
CASE = UUID(int=7)


def act(version: int, kind: str, agency: str, **fields: object) -> Act:
    return Act(
        id=uuid4(),
        kind=kind,
        case_id=CASE,
        version=version,
        position=version,
        agency=agency,
        acted_at=NOW,
        recorded_at=NOW,
        fields=fields,
        key_id="k",
        digests=frozenset({f"digest {version}"}),
    )


def test_what_is_confirmed_erased_may_not_be_shown_any_more(agencies: Agencies) -> None:
    opened, risk = act(1, "case_opened", "xk-dhtqnj"), act(2, "risk_assessed", "xk-dhtqnj")
    history = CaseHistory().followed_by(opened).followed_by(risk)
    case = Case(CASE, 2, CaseState.model_construct(), history)
    assert last_version_with_fields(case) == 2
    confirmed = act(3, "erasure_confirmed", "xk-node", upto=1)
    after = Case(CASE, 3, case.state, history.followed_by(confirmed))
    assert last_version_with_fields(after) == 2  # the same for each attempt to confirm
    assert confirmation_of(after, "XK", agencies.protocol) == confirmed
    assert confirmation_of(after, "ME", agencies.protocol) is None

    def shows(party: str, one: Act, *digests: str) -> bool:
        return contradicts_erasure(after, party, agencies.protocol, {one.id: digests})

    assert shows("XK", opened, "digest 1")
    assert not shows("XK", opened)  # it says that it has nothing of the action
    assert not shows("XK", opened, "digest 2")
    assert not shows("XK", risk, "digest 2")  # of a later version than it confirmed
    assert not shows("ME", opened, "digest 1")
    before = Case(CASE, 3, case.state, history.followed_by(act(3, "erasure_confirmed", "xk-node")))
    held = {opened.id: ["digest 1"]}
    assert not contradicts_erasure(before, "XK", agencies.protocol, held)  # an earlier program's
