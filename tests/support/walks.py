"""Random cases without keys or a database: actions that the rules accept, as acts."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from hypothesis import strategies as st

from ledger.events.act import Act
from ledger.procedure import case_rules
from ledger.procedure.agreement import Agreement
from ledger.procedure.case_fold import annulled_ids, fold
from ledger.procedure.case_state import CaseState
from ledger.procedure.protocol import Protocol
from ledger.refusals import Refusal
from ledger.vocabulary import Action
from tests.support.counterparts import counterparts
from tests.support.strategies import proposals

START = datetime(2026, 1, 5, 8, tzinfo=UTC)
_AGO = (0,) * 6 + (1, 5, 30)


@st.composite
def walks(draw: st.DrawFn, protocol: Protocol, *, proposed: int = 40) -> tuple[Act, ...]:
    """The acts of one case, of ``proposed`` proposals those that the rules accept.

    Some are reported late, so that the order of acting is not that of recording.
    """
    case_id = uuid4()
    acts: tuple[Act, ...] = ()
    now = START
    for _ in range(proposed):
        now += timedelta(hours=1)
        state = fold(acts, Agreement.of(protocol))
        acted_at = now - timedelta(hours=draw(st.sampled_from(_AGO)))
        signed = {
            act.id: (protocol.agencies_by_id[act.agency].party, sorted(act.digests))
            for act in acts
            if act.id not in annulled_ids(acts)
        }
        gone = {act.id: act.agency for act in acts if act.id in annulled_ids(acts) and act.digests}
        known = [act.id for act in acts]
        agency, action = draw(proposals(state, protocol, known, acted_at, signed, annulled=gone))
        act = _act(agency, action, case_id, len(acts) + 1, now)
        if _is_accepted(state, acts, act, protocol, now):
            acts = (*acts, act)
    return acts


def prefixes(acts: tuple[Act, ...]) -> Iterator[tuple[Act, ...]]:
    """Return the events after each act, from none to all."""
    for count in range(len(acts) + 1):
        yield acts[:count]


def _act(agency: str, action: Action, case_id: UUID, version: int, now: datetime) -> Act:
    return Act(
        id=uuid4(),
        kind=action.kind,
        case_id=case_id,
        version=version,
        position=3 * version,  # other cases' events lie between
        agency=agency,
        acted_at=action.acted_at,
        recorded_at=now + timedelta(seconds=1),
        fields=action.ledger_claims(),
        key_id=f"key of {agency} {'two' if action.kind.endswith('_approved') else 'one'}",
        digests=frozenset(f"{version:04}{n:04}".ljust(43, "A") for n in range(3)),
    )


def _is_accepted(
    state: CaseState | None, acts: tuple[Act, ...], act: Act, protocol: Protocol, now: datetime
) -> bool:
    if act.agency not in protocol.agencies_by_id:
        return False
    try:
        others = counterparts(act.kind, state, protocol)
        case_rules.decide(state, {a.id: a for a in acts}, act, protocol, now, None, others)
    except Refusal:
        return False
    return True
