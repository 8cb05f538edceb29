"""The cases whose data retention will erase, those on hold, and those erased."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from api.client.schemas import ErasedCase, RetainedCase, RetentionStatus
from api.client.schemas.retention import ObstacleKind, RetentionObstacle
from api.node.node import Node
from ledger.procedure.erasures import erased_data
from ledger.procedure.merged_cases import (
    all_concluded,
    held_by_continuing,
    held_elsewhere,
    joined_cases,
    with_joined,
)
from ledger.procedure.protocol import Protocol, Retention
from ledger.procedure.retention import period_end, retention_rule
from ledger.publication.dated_checkpoints import cosigned_times
from ledger.system import clock
from ledger.vault.erasures import ErasedRow
from projections.folds.case_view import CaseView
from projections.folds.obligation_terms import ObligationKind
from projections.folds.obligations import Obligation
from projections.tables.case_lists import Retained

_LOOKED_AT = 12
"""So many checkpoints are read to find the last that proves a time."""
_LATEST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Coming:
    """A page of cases whose period of retention ends, the earliest first."""

    cosigned_until: datetime | None
    """The time that a quorum of witnesses cosigned last."""
    cases: Sequence[RetainedCase]


def coming(
    node: Node,
    party: str,
    protocol: Protocol,
    *,
    within: timedelta,
    limit: int,
    after: tuple[datetime, UUID] | None = None,
) -> Coming:
    """Return a country's cases whose period ends ``within`` a time from the last cosigned time.

    Without any cosigned time it is counted from this node's clock, and nothing is erased.
    """
    cosigned = _cosigned_until(node)
    now = cosigned or clock.now()
    # A clock that is years ahead must not make a date that does not exist.
    upto = now + min(within, _LATEST - now)
    found = (
        node.views.lists.retained(party, upto, limit=limit)
        if after is None
        else node.views.lists.retained(party, upto, limit=limit, after=after)
    )
    return Coming(cosigned, _all(node, party, protocol, found, now))


def of_case(node: Node, party: str, protocol: Protocol, case_id: UUID) -> Coming:
    """Return the retention of one case of a country, or no case if no period runs for it."""
    cosigned, case = _cosigned_until(node), node.views.case(party, case_id)
    due = period_end(case, protocol) if case is not None else None
    if case is None or due is None:
        return Coming(cosigned, ())
    one = [Retained(due, case)]
    return Coming(cosigned, _all(node, party, protocol, one, cosigned or clock.now()))


def erased_cases(
    node: Node, party: str, *, limit: int, before: datetime | None = None
) -> Iterator[ErasedCase]:
    """Yield the cases that a country's vault erased, the last first."""
    for row in node.vaults.of(party).erasures(limit, before):
        if (case := _erased(node, row)) is not None:
            yield case


def _cosigned_until(node: Node) -> datetime | None:
    return cosigned_times(node.database, node.policy_at, latest=_LOOKED_AT).now


def _all(
    node: Node, party: str, protocol: Protocol, found: Sequence[Retained], now: datetime
) -> list[RetainedCase]:
    case_ids, erased = [one.case.case_id for one in found], set[UUID]()
    if node.vaults.has(party):
        erased = node.vaults.of(party).erased(case_ids)
    owed: dict[UUID, list[Obligation]] = defaultdict(list)
    for obligation in node.views.open_in(party, case_ids):
        owed[obligation.case_id].append(obligation)
    is_timed = _cosigned_until(node) is not None
    listed = []
    for one in found:
        rule, case_id = retention_rule(one.case, protocol), one.case.case_id
        if rule is None:
            continue
        case = _retained(one, rule, now, erased=case_id in erased)
        obstacles = _obstacles(node, one.case, case.status, owed[case_id], is_timed=is_timed)
        listed.append(case.model_copy(update={"obstacles": (*obstacles,)}))
    return listed


def _obstacles(
    node: Node,
    case: CaseView,
    status: RetentionStatus,
    owed: Sequence[Obligation],
    *,
    is_timed: bool,
) -> Iterator[RetentionObstacle]:
    """Yield what blocks the erasure of a case, and then what is still owed in it."""
    if status is RetentionStatus.ERASED:
        return
    for hold in case.holds:
        yield RetentionObstacle(kind=ObstacleKind.LEGAL_HOLD, blocks=True, party=hold.party)
    if (case.taken_in or case.merged_into) and _is_held_elsewhere(node, case.case_id):
        yield RetentionObstacle(kind=ObstacleKind.MERGED_CASE, blocks=True)
    if status is RetentionStatus.DUE:
        yield RetentionObstacle(kind=ObstacleKind.NOT_ANNOUNCED, blocks=True)
    if not is_timed:
        yield RetentionObstacle(kind=ObstacleKind.NOT_COSIGNED, blocks=True)
    for one in owed:
        if one.kind is ObligationKind.ERASURE:
            continue
        is_approval = one.kind is ObligationKind.APPROVAL
        yield RetentionObstacle(
            kind=ObstacleKind.APPROVAL if is_approval else ObstacleKind.OBLIGATION,
            blocks=False,
            party=one.debtor,
            agency=one.debtor_agency,
            action=one.action,
            due=one.due,
        )


def _is_held_elsewhere(node: Node, case_id: UUID) -> bool:
    """Return whether a case that was merged with this one keeps it, by the rules of the eraser."""
    case = node.ledger.case(case_id)
    if case is None:
        return False
    others = with_joined(list(joined_cases(case.state)), node.ledger.case)
    return (
        not all_concluded(case.state, others)
        or held_elsewhere(case.state, others)
        or held_by_continuing(case.state, node.ledger.case)
    )


def _retained(one: Retained, rule: Retention, now: datetime, *, erased: bool) -> RetainedCase:
    case, announced = one.case, one.case.retention
    earliest, grace = one.due, timedelta(days=rule.grace_days)
    if erased:
        status = RetentionStatus.ERASED
    elif case.holds:
        status = RetentionStatus.HELD
    elif announced is not None:
        status = RetentionStatus.ANNOUNCED
        earliest = max(one.due, announced.erase_from, announced.announced_at + grace)
    else:
        status = RetentionStatus.DUE if one.due <= now else RetentionStatus.KEPT
    return RetainedCase(
        case_id=case.case_id,
        status=status,
        closure=case.closure,
        closed_at=case.closed_at,
        kept_days=rule.days,
        grace_days=rule.grace_days,
        period_ends=one.due,
        erase_from=earliest if status is RetentionStatus.ANNOUNCED else None,
        announcement=announced.announcement if announced is not None else None,
        announced_at=announced.announced_at if announced is not None else None,
        announced_by=announced.by if announced is not None else None,
        holds=case.holds,
        confirmed_by=case.erasure.confirmed if case.erasure is not None else (),
    )


def _erased(node: Node, row: ErasedRow) -> ErasedCase | None:
    case = node.ledger.case(row.case_id)
    data = erased_data(case.state, row.erased_at) if case is not None else None
    if case is None or data is None:
        return None
    erasure = case.state.erasure
    return ErasedCase(
        case_id=row.case_id,
        erased=data,
        confirmed_by=erasure.confirmed if erasure is not None else (),
        pending=erasure.pending if erasure is not None else case.state.parties,
    )
