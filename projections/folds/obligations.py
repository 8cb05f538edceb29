"""Obligations of a case, with debtor and creditors, opened and discharged by events alone.

A pure fold of the case's actions, and of those of the cases that were joined with it by a merge
(:mod:`projections.folds.joined_cases`). The owed steps are those that :func:`owed_steps` yields for
a state. An obligation is opened by the action after which it is owed, and closed by the action
after which it is not. Whether an obligation is overdue depends on a moment, and is never stored.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeAlias
from uuid import UUID, uuid5

from ledger.events.act import Act
from ledger.procedure.agreement import Agreement
from ledger.procedure.case import Case
from ledger.procedure.case_fold import annuls, applied, takes_back, without_effect
from ledger.procedure.case_state import CaseState
from ledger.procedure.conditions import Standing
from ledger.procedure.merged_cases import NO_OTHERS, OtherCases
from ledger.procedure.protocol import Protocol
from ledger.vocabulary.action import LedgerModel
from ledger.vocabulary.linking import MergeUndone
from ledger.vocabulary.types import UtcDatetime
from projections.folds.expected_steps import OwedStep, owed_steps
from projections.folds.joined_cases import NONE_JOINED, JoinedActs, timeline
from projections.folds.obligation_terms import ObligationKind, ObligationOutcome, ObligationState

_BY_RECORDING = (ObligationKind.FORM_ACKNOWLEDGEMENT, ObligationKind.FORM_ANSWER)
_DISCHARGING = (ObligationOutcome.DONE, ObligationOutcome.DECLINED)


class Deed(LedgerModel):
    """The event that opened or closed an obligation: of its case, or of a joined one."""

    position: int
    action: UUID
    kind: str
    agency: str
    party: str
    acted_at: UtcDatetime
    recorded_at: UtcDatetime


class Obligation(LedgerModel):
    """A duty of one country or agency towards others in a case."""

    id: UUID
    """The same wherever the ledger is folded."""
    case_id: UUID
    kind: ObligationKind
    action: str
    """The action that discharges it."""
    roles: tuple[str, ...] = ()
    """The debtor's roles that may take it, by the protocol; empty if one agency owes it."""
    debtor: str | None
    """The country that owes it; ``None`` where any party to the case does."""
    debtor_agency: str | None = None
    creditors: tuple[str, ...] = ()
    """The countries that it is owed to: the one that asked, or every other party to the case."""
    creditor_agency: str | None = None
    concerning: UUID | None = None
    """The action that asks for it: a request, an agreed joint action, an offer."""
    opened: Deed
    due: UtcDatetime | None = None
    expected_by: UtcDatetime | None = None
    """By when it is expected by a deadline that the protocol only assumes. It makes nobody late."""
    standing: Standing | None = None
    """The authority of the deadline, where the protocol marks it."""
    told_from: UtcDatetime | None = None
    """From when on the debtor is told of it; ``None`` for a few days before it is due."""
    state: ObligationState = ObligationState.OPEN
    outcome: ObligationOutcome | None = None
    closed: Deed | None = None
    late: bool | None = None
    """True if it was discharged, by when that was done, after it was due.

    Of an obligation that a merge ended it is ``True`` if its due date had passed, and else
    ``None``."""

    def is_overdue(self, moment: datetime) -> bool:
        """Return whether the obligation was due before ``moment`` and open then.

        The answer uses all that is recorded now.
        """
        if self.due is None or self.due >= moment or self.outcome is ObligationOutcome.ANNULLED:
            return False
        was_closed = self.closed is not None and self.closed.acted_at <= moment
        return self.opened.acted_at <= moment and not was_closed


Key: TypeAlias = tuple[str, str | None, str | None, str]
"""The owed action, its country, its agency and its basis: once at a time."""


@dataclass(frozen=True, slots=True)
class Owing:
    """An obligation that is open, and the step that is owed."""

    id: UUID
    owed: OwedStep


@dataclass(frozen=True, slots=True)
class CaseObligations:
    """Every obligation that there ever was in a case."""

    version: int = 0
    by_id: Mapping[UUID, Obligation] = field(default_factory=dict)
    open: Mapping[Key, Owing] = field(default_factory=dict)

    def since(self, earlier: "CaseObligations") -> Iterator[Obligation]:
        """Yield the obligations that are new, or differ from their state in ``earlier``."""
        for obligation_id, obligation in self.by_id.items():
            was = earlier.by_id.get(obligation_id)
            if was is not obligation and was != obligation:
                yield obligation


def obligations(
    acts: Sequence[Act], agreement: Agreement, joined: JoinedActs = NONE_JOINED
) -> CaseObligations:
    """Return the obligations after a case's ``acts``, which are all acts since its opening.

    ``joined`` has the actions of the cases that were ever joined with it.
    """
    folded = CaseObligations()
    state: CaseState | None = None
    told = _FoldContext(agreement, {act.id: act for act in acts})
    line = tuple(timeline(acts, joined, agreement))
    for place, (act, others) in enumerate(line):
        if act.id in told.acts and takes_back(act):
            folded, state = _refolded(folded, line[: place + 1], told)
        else:
            folded, state = _further(folded, state, act, others, told)
    return folded


def after_act(
    known: CaseObligations, case: Case, act: Act, agreement: Agreement
) -> CaseObligations:
    """Return the obligations of ``case``, given those before its last ``act`` in ``known``.

    No other case was ever joined with it.
    """
    told = _FoldContext(agreement, case.history)
    if takes_back(act):
        line = tuple((one, NO_OTHERS) for one in case.history.values())
        return _refolded(known, line, told)[0]
    return _following(known, case.state, act, told)


@dataclass(frozen=True, slots=True)
class _FoldContext:
    """The inputs of the fold of obligations: the agreement, and the case's own actions by id."""

    agreement: Agreement
    acts: Mapping[UUID, Act]

    def owed(self, state: CaseState, others: OtherCases) -> Iterator[OwedStep]:
        return owed_steps(state, self.agreement, self.acts, others)


def _further(
    known: CaseObligations,
    state: CaseState | None,
    act: Act,
    others: OtherCases,
    told: _FoldContext,
    annulled: Collection[UUID] = (),
) -> tuple[CaseObligations, CaseState | None]:
    """Return the obligations and the case's state after ``act``, its own or of a joined case.

    An own act that is annulled or was not applied opens and closes no obligation.
    """
    if act.id not in told.acts:
        return (known if state is None else _following(known, state, act, told, others)), state
    is_annulled = act.id in annulled
    state, is_applied = applied(state, act, told.agreement.of_act(act), annulled=is_annulled)
    if is_annulled:
        return known, state
    if state is None or not is_applied:
        return replace(known, version=act.version), state
    return _following(known, state, act, told, others), state


def _following(
    known: CaseObligations,
    state: CaseState,
    act: Act,
    told: _FoldContext,
    others: OtherCases = NO_OTHERS,
) -> CaseObligations:
    """Return the obligations after ``act``, which annuls and undoes nothing in the case.

    ``state`` is the case's state after ``act``.
    """
    protocol = told.agreement.of_act(act)
    are = dict(_keyed(told.owed(state, others)))
    by_id = dict(known.by_id)
    gone, new = known.open.keys() - are.keys(), are.keys() - known.open.keys()
    deed = _deed(act, protocol) if gone or new else None
    opened: dict[Key, Owing] = {}
    for key, owing in known.open.items():
        if deed is not None and key in gone:
            by_id[owing.id] = _closed(by_id[owing.id], deed, _outcome(key, owing, are, state, act))
    for key, owed in are.items():
        if deed is not None and key in new:
            obligation = _opened(key, owed, state, deed, protocol)
        else:
            obligation = _as_it_stands(by_id[known.open[key].id], owed, state, protocol)
        by_id[obligation.id] = obligation
        opened[key] = Owing(obligation.id, owed)
    return CaseObligations(state.version, by_id, opened)


def _refolded(
    known: CaseObligations, line: Sequence[tuple[Act, OtherCases]], told: _FoldContext
) -> tuple[CaseObligations, CaseState | None]:
    """Return the obligations without the actions that the case's own acts annul or undo.

    An obligation that such an action discharged is open again, or discharged by another action.
    An obligation that stood on such an action stays, with the outcome annulled. The announced
    undoing of a merge is discharged by the undoing itself.
    """
    own = [act for act, _ in line if act.id in told.acts]
    annulled = without_effect(own)
    if own[0].id in annulled:  # nothing was ever owed in a case whose opening is annulled
        line = [(act, others) for act, others in line if act.id in told.acts]
        annulled |= {act.id for act in own if not annuls(act)}
    folded = CaseObligations()
    state: CaseState | None = None
    for act, others in line:
        folded, state = _further(folded, state, act, others, told, annulled)
    deed = _deed(own[-1], told.agreement.of_act(own[-1]))
    gone = {
        obligation_id: _taken_back(obligation, deed)
        for obligation_id, obligation in known.by_id.items()
        if obligation_id not in folded.by_id
    }
    return CaseObligations(own[-1].version, {**folded.by_id, **gone}, folded.open), state


def _taken_back(obligation: Obligation, deed: Deed) -> Obligation:
    """Return an obligation that the case, folded without what was taken back, has no more."""
    if obligation.action == MergeUndone.kind:
        if obligation.closed is not None:
            return obligation
        if deed.kind == MergeUndone.kind:
            return _closed(obligation, deed, ObligationOutcome.DONE)
    if obligation.outcome is ObligationOutcome.ANNULLED:
        return obligation
    return _closed(obligation, deed, ObligationOutcome.ANNULLED)


def _keyed(steps: Iterable[OwedStep]) -> Iterator[tuple[Key, OwedStep]]:
    for owed in steps:
        yield (owed.step.action, owed.step.party, owed.step.agency, owed.basis), owed


_DECLINING = (
    "information_declined",
    "rectification_declined",
    "lead_transfer_declined",
    "merge_declined",
)


def _outcome(
    key: Key, owing: Owing, are: Mapping[Key, OwedStep], state: CaseState, act: Act
) -> ObligationOutcome:
    """Return how ``act`` closed an obligation that is no longer owed."""
    owed = owing.owed
    if owed.kind is ObligationKind.PROCEDURE:
        fact = state.facts.get(owed.until or "")
        if fact is not None and fact.action == act.id:
            return ObligationOutcome.DONE
    elif act.kind in (owed.step.action, "information_provided", "form_sent"):
        return ObligationOutcome.DONE
    elif act.kind in _DECLINING:
        return ObligationOutcome.DECLINED
    # Approvals are owed in closed and merged cases too: their end is not that of the case.
    if owed.kind is not ObligationKind.APPROVAL:
        if state.merged_into is not None:
            return ObligationOutcome.MERGED
        if state.is_closed:
            return ObligationOutcome.CASE_CLOSED
    action, _, _, basis = key
    if any((other, on) == (action, basis) for other, _, _, on in are):
        return ObligationOutcome.PASSED_ON
    return ObligationOutcome.NOT_EXPECTED


def _opened(
    key: Key, owed: OwedStep, state: CaseState, deed: Deed, protocol: Protocol
) -> Obligation:
    step = owed.step
    return Obligation.model_construct(
        id=uuid5(deed.action, " ".join(part or "-" for part in key)),
        case_id=state.case_id,
        kind=owed.kind,
        action=step.action,
        roles=step.roles,
        debtor=step.party,
        debtor_agency=step.agency,
        creditors=_creditors(owed, state, protocol),
        creditor_agency=owed.creditor,
        concerning=step.concerning,
        opened=deed,
        due=step.due,
        expected_by=step.expected_by,
        standing=step.standing,
        told_from=step.told_from,
        state=ObligationState.OPEN,
        outcome=None,
        closed=None,
        late=None,
    )


def _as_it_stands(
    obligation: Obligation, owed: OwedStep, state: CaseState, protocol: Protocol
) -> Obligation:
    """Return an open obligation with its present dates and creditors.

    A fact may hold anew, and another country may have joined the case.
    """
    step, creditors = owed.step, _creditors(owed, state, protocol)
    if (
        obligation.due == step.due
        and obligation.expected_by == step.expected_by
        and obligation.standing is step.standing
        and obligation.told_from == step.told_from
        and obligation.creditors == creditors
    ):
        return obligation
    return obligation.model_copy(
        update={
            "due": step.due,
            "expected_by": step.expected_by,
            "standing": step.standing,
            "told_from": step.told_from,
            "creditors": creditors,
        }
    )


def _closed(obligation: Obligation, deed: Deed, outcome: ObligationOutcome) -> Obligation:
    discharged = outcome in _DISCHARGING
    state = ObligationState.DISCHARGED if discharged else ObligationState.LAPSED
    # A form is sent and acknowledged by the recording itself, whatever day it names.
    done = deed.recorded_at if obligation.kind in _BY_RECORDING else deed.acted_at
    late = None
    if obligation.due is not None and (discharged or outcome is ObligationOutcome.MERGED):
        late = obligation.due < done
    if outcome is ObligationOutcome.MERGED and not late:
        late = None  # it goes on in the other case: only what was late already is judged
    return obligation.model_copy(
        update={"state": state, "outcome": outcome, "closed": deed, "late": late}
    )


def _creditors(owed: OwedStep, state: CaseState, protocol: Protocol) -> tuple[str, ...]:
    if owed.creditor is not None:
        return (protocol.agencies_by_id[owed.creditor].party,)
    if owed.step.party is None:
        return ()
    return tuple(party for party in state.parties if party != owed.step.party)


def _deed(act: Act, protocol: Protocol) -> Deed:
    agency = protocol.agencies_by_id.get(act.agency)
    return Deed.model_construct(
        position=act.position,
        action=act.id,
        kind=act.kind,
        agency=act.agency,
        party=agency.party if agency is not None else "",
        acted_at=act.acted_at,
        recorded_at=act.recorded_at,
    )
