"""The cases that merges ever joined: the input from other cases of what is owed in a case.

Each case has its own events, and most is folded from these alone. What is owed also depends on the
joined cases: once the other case has the acceptance of a merge, the lead of this case owes its end,
and a legal hold of one of these cases stops approvals in all of them. So the input of such a fold
is the case's own actions and those of the joined cases, in the order of their positions. Only the
acceptances of merges tell which cases these are: each names both at ``ledger`` level.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from uuid import UUID

from ledger.events.act import Act
from ledger.procedure.agreement import Agreement
from ledger.procedure.case import Case, after
from ledger.procedure.merged_cases import NO_OTHERS, OtherCases
from ledger.vocabulary.linking import CaseMerged, MergeAccepted, MergeProposed, MergeUndone

ACCEPTANCE = MergeAccepted.kind
REACHING = frozenset(
    {
        ACCEPTANCE,
        CaseMerged.kind,
        MergeUndone.kind,
        "legal_hold_placed",
        "legal_hold_lifted",
        "correction",  # annuls a hold
    }
)
"""The kinds of actions that may change what is owed in a joined case."""
MERGING = frozenset({MergeProposed.kind, ACCEPTANCE})
"""A case without an action of these kinds was never joined with another."""

JoinedActs = Mapping[UUID, Sequence[Act]]
"""All actions of each joined case, in order."""
NONE_JOINED: JoinedActs = {}


class JoinedCases:
    """The groups of cases that acceptances of merges joined, undone ones too."""

    def __init__(self, acceptances: Iterable[Act] = ()) -> None:
        self._groups: dict[UUID, frozenset[UUID]] = {}
        for act in acceptances:
            self.add(act)

    def add(self, act: Act) -> None:
        """Note an action; those that accept no merge change nothing."""
        if act.kind == ACCEPTANCE:
            self.join(act.case_id, UUID(str(act.fields["ended_case"])))

    def join(self, one: UUID, other: UUID) -> None:
        """Note that the acceptance of a merge joined two cases."""
        group = frozenset[UUID]()
        for case_id in (one, other):
            group |= self._groups.get(case_id, frozenset({case_id}))
        self._groups |= dict.fromkeys(group, group)

    @property
    def joined(self) -> Collection[UUID]:
        """Return every case that was ever joined with another."""
        return self._groups.keys()

    def others(self, case_id: UUID) -> frozenset[UUID]:
        """Return the cases that were ever joined with a case, directly or by others."""
        return self._groups.get(case_id, frozenset()) - {case_id}


def cases_then(joined: JoinedActs, agreement: Agreement) -> OtherCases:
    """Return the joined cases after all their actions."""
    folded = ([*_folded(acts, agreement)] for acts in joined.values())
    return {cases[-1][1].id: cases[-1][1] for cases in folded if cases}


def acts_of(joined: Mapping[UUID, Case]) -> JoinedActs:
    """Return the actions of joined cases."""
    return {case_id: tuple(case.history.values()) for case_id, case in joined.items()}


def timeline(
    acts: Sequence[Act], joined: JoinedActs, agreement: Agreement
) -> Iterator[tuple[Act, OtherCases]]:
    """Yield a case's ``acts``, and the joined cases' actions that may reach it, in order.

    Each comes with the joined cases as they were then.
    """
    if not joined:
        yield from ((act, NO_OTHERS) for act in acts)
        return
    reaching: list[tuple[Act, Case | None]] = [
        (act, case)
        for of_case in joined.values()
        for act, case in _folded(of_case, agreement)
        if act.version == 1 or act.kind in REACHING
    ]
    others: OtherCases = NO_OTHERS
    for act, case in sorted([*((act, None) for act in acts), *reaching], key=_position):
        if case is not None:
            others = {**others, case.id: case}
        yield act, others


def _folded(acts: Iterable[Act], agreement: Agreement) -> Iterator[tuple[Act, Case]]:
    """Yield each action of a case with the case after it, from the opening on."""
    case: Case | None = None
    for act in acts:
        case, _ = after(case, act, agreement)
        if case is not None:
            yield act, case


def _position(placed: tuple[Act, Case | None]) -> int:
    return placed[0].position
