"""Cases that a random walk's case may be merged with; the rules read them as evidence."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from ledger.events.act import Act
from ledger.procedure.agreement import Agreement
from ledger.procedure.case_fold import fold
from ledger.procedure.case_state import CaseState
from ledger.procedure.merged_cases import NO_OTHERS, OtherCases, reads_others
from ledger.procedure.protocol import Protocol

ENDED, CONTINUING = UUID(int=0xE1), UUID(int=0xC1)
PROPOSAL, ACCEPTANCE, UNDOING = UUID(int=0xE2), UUID(int=0xC2), UUID(int=0xC3)
OPENED = datetime(2025, 12, 1, 8, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Counterpart:
    """A case that is read as evidence."""

    state: CaseState
    history: Mapping[UUID, Act]


def proposer(state: CaseState, protocol: Protocol) -> str:
    """An agency of another country than the one that leads the walk's case."""
    lead = protocol.agencies_by_id[state.lead_agency].party
    return next(a.id for a in protocol.agencies if a.party != lead and a.role == "coordinator")


def counterparts(kind: str, state: CaseState | None, protocol: Protocol) -> OtherCases:
    """Return the other cases that the rules read to decide on an action of ``kind``."""
    if state is None or not reads_others(kind):
        return NO_OTHERS
    by = proposer(state, protocol)
    party = protocol.agencies_by_id[by].party
    age = state.age_group.value
    ended: list[tuple[UUID, str, str, dict[str, Any]]] = [
        (UUID(int=0xE0), "case_opened", by, {"countries": [party], "age_group": age}),
        (PROPOSAL, "merge_proposed", by, {"addressee": state.lead_agency, "told": [party]}),
    ]
    for number, acceptance in enumerate(state.taken_in):
        fields = {"continues_in": str(state.case_id), "acceptance": str(acceptance)}
        ended.append((UUID(int=0xE3 + number), "case_merged", by, fields))
    own = state.merge_proposal
    proposal = own.proposal if own is not None else UUID(int=0xE9)
    accepted = {
        "ended_case": str(state.case_id),
        "proposal": str(proposal),
        "countries": list(state.parties),
        "opened_at": OPENED.isoformat(),
    }
    continuing = [
        (UUID(int=0xC0), "case_opened", by, {"countries": [party], "age_group": age}),
        *_with_facts_of(state, by, protocol),
        (ACCEPTANCE, "merge_accepted", by, accepted),
    ]
    if state.merged_into is not None and state.merged_into.undoing is not None:
        undone = {"merge": str(ACCEPTANCE), "ground": "another_person"}
        continuing.append((UNDOING, "merge_undone", by, undone))
    return {
        ENDED: _case(ENDED, ended, protocol),
        CONTINUING: _case(CONTINUING, continuing, protocol),
    }


def _with_facts_of(
    state: CaseState, by: str, protocol: Protocol
) -> list[tuple[UUID, str, str, dict[str, Any]]]:
    """Actions that establish in the other case what holds in the walk's case."""
    told: list[tuple[UUID, str, str, dict[str, Any]]] = []
    for number, fact in enumerate(sorted(state.facts.keys() - {"case_opened"})):
        for kind in protocol.establishing(fact)[:1]:
            fields: dict[str, Any] = {
                "of_age_from": state.of_age_from,
                "age_group": state.age_group.value,
            }
            for one in protocol.actions[kind].where:
                if fact in one.establishes:
                    fields[one.field] = one.values[0]
            for pattern in protocol.actions[kind].establishes:
                head, brace, rest = pattern.partition("{")
                if brace:
                    fields[rest.rstrip("}")] = fact.removeprefix(head)
            told.append((UUID(int=0xD00 + number), kind, by, fields))
    return told


def _case(
    case_id: UUID, told: list[tuple[UUID, str, str, dict[str, Any]]], protocol: Protocol
) -> Counterpart:
    acts = [
        Act(
            id=action,
            kind=kind,
            case_id=case_id,
            version=version,
            position=version,
            agency=agency,
            acted_at=OPENED + timedelta(hours=version - 1),
            recorded_at=OPENED + timedelta(hours=version - 1),
            fields=fields,
            key_id="a key",
            digests=frozenset(),
        )
        for version, (action, kind, agency, fields) in enumerate(told, 1)
    ]
    state = fold(acts, Agreement.of(protocol))
    assert state is not None
    return Counterpart(state, {act.id: act for act in acts})
