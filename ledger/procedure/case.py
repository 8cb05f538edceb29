"""The Case aggregate: its state, its history, and the one decision it takes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, ValuesView
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from ledger.events.act import Act
from ledger.events.event import ActionRecorded
from ledger.procedure import case_rules
from ledger.procedure.agreement import Agreement
from ledger.procedure.case_fold import applied, fold, takes_back, withheld_ids
from ledger.procedure.case_state import CaseState
from ledger.procedure.merged_cases import NO_OTHERS, OtherCases
from ledger.procedure.protocol import Protocol
from ledger.procedure.replaced_managers import replaced_managers
from ledger.refusals import Ground, Refusal
from ledger.signing.signed_action import Mark, SignedAction
from ledger.vocabulary import NOT_UNDERSTOOD
from ledger.vocabulary.upcasting import upcasters


class CaseHistory(Mapping[UUID, Act]):
    """A case's actions by id, in order. Immutable: one more makes another history.

    That takes the same time however long the case is. The index is made when it is first asked.
    """

    __slots__ = ("_before", "_index", "_last", "_size")

    def __init__(self, before: "CaseHistory | None" = None, last: Act | None = None) -> None:
        self._before = before
        self._last = last
        self._size: int = (before._size if before is not None else 0) + (last is not None)
        self._index: dict[UUID, Act] | None = None

    def followed_by(self, act: Act) -> "CaseHistory":
        """Return the history with ``act`` at its end."""
        return CaseHistory(self, act)

    def _by_id(self) -> dict[UUID, Act]:
        if (index := self._index) is not None:
            return index
        added: list[Act] = []
        known: dict[UUID, Act] | None = None
        at: CaseHistory | None = self
        while at is not None:
            before = at._before  # read first: another thread may just let go of it
            if (known := at._index) is not None:
                break
            if at._last is not None:
                added.append(at._last)
            at = before
        index = dict(known or {})
        index.update((act.id, act) for act in reversed(added))
        # Whoever was first, it is the same index: no lock is needed.
        self._index = index
        self._before = None
        return index

    def __getitem__(self, action: UUID) -> Act:
        return self._by_id()[action]

    def __iter__(self) -> Iterator[UUID]:
        return iter(self._by_id())

    def __len__(self) -> int:
        return self._size

    def values(self) -> ValuesView[Act]:
        return self._by_id().values()


@dataclass(frozen=True, slots=True)
class Case:
    """One person's case across countries: an immutable aggregate."""

    id: UUID
    version: int
    state: CaseState
    history: CaseHistory

    @property
    def annulled(self) -> frozenset[UUID]:
        """Return the annulled actions.

        If the opening is annulled, these are all actions of the case.
        """
        return withheld_ids(self.history.values())

    def unread(self, directory: Protocol) -> frozenset[UUID]:
        """Return the actions of which nothing that they disclosed is read.

        These are the annulled ones and the namings of case managers that were replaced.
        ``directory`` has each agency's party.
        """
        return self.annulled | replaced_managers(self.history.values(), directory).keys()

    @staticmethod
    def projector(
        agreement: Agreement,
    ) -> Callable[["Case | None", Iterable[ActionRecorded]], "Case | None"]:
        """Return a projector function for ``eventsourcing``'s repository, under ``agreement``."""

        def project(case: Case | None, events: Iterable[ActionRecorded]) -> Case | None:
            for event in events:
                case, _ = after_event(case, event, agreement)
            return case

        return project


def decide(
    case: Case | None,
    action: SignedAction,
    case_id: UUID,
    protocol: Protocol,
    now: datetime,
    *,
    not_before: datetime | None = None,
    others: OtherCases = NO_OTHERS,
) -> ActionRecorded:
    """Return the event that ``action`` becomes.

    ``protocol`` is the version in force for that event. ``not_before`` is the earliest time of the
    decision, if that is before ``now``. ``others`` has the other cases that the rules read. Raises
    ``Refusal`` if the rules refuse the action.
    """
    if protocol.edition >= 2:
        _check_nothing_in_clear(action)
    version = (case.version if case else 0) + 1
    proposed = Act(
        id=action.id,
        kind=action.kind,
        case_id=case_id,
        version=version,
        position=0,
        agency=action.agency,
        acted_at=action.acted_at,
        recorded_at=now,
        fields=action.fields,
        key_id=action.key_id,
        digests=frozenset(action.digests),
    )
    case_rules.decide(
        case.state if case else None,
        case.history if case else {},
        proposed,
        protocol,
        now,
        not_before,
        others,
    )
    # What is recorded must be readable: an action that no fold can apply is not recorded.
    _, is_applied = applied(case.state if case else None, proposed, protocol)
    if not is_applied:
        raise Refusal(
            Ground.INVALID,
            "no-effect",
            "The action cannot be applied to the case as it stands; check its fields.",
            "act",
        )
    return ActionRecorded(case_id, version, action)


def _check_nothing_in_clear(action: SignedAction) -> None:
    """Check that the action's version signs no ``case`` field in the clear.

    Raises ``Refusal`` if an old version does.
    """
    if upcasters().signs_in_clear(action.kind, action.version):
        raise Refusal(
            Ground.INVALID,
            "outdated-version",
            f"Version {action.version} of {action.kind} shows to every country what only the"
            " countries of the case may see. Update the program and sign the action again.",
            "version",
        )


def after_event(
    case: Case | None, event: ActionRecorded, agreement: Agreement
) -> tuple[Case | None, Mark | None]:
    """Return the case after ``event``, and the event's mark, if it has one."""
    case, is_applied = after(case, event.as_act(), agreement)
    mark = event.action.mark
    return case, mark if is_applied or not event.action.is_understood else Mark.NO_EFFECT


def after(case: Case | None, act: Act, agreement: Agreement) -> tuple[Case | None, bool]:
    """Return the case after ``act``, and whether the act was applied.

    An act that annuls or undoes has all acts before it folded anew. An act that cannot be applied
    stays in the history as one that is not understood. Each act is folded by the version of its own
    time.
    """
    protocol = agreement.of_act(act)
    if case is None:
        state, is_applied = applied(None, act, protocol)
        if state is None:
            return None, False
        return Case(act.case_id, act.version, state, CaseHistory().followed_by(act)), is_applied
    state, is_applied = applied(case.state, act, protocol)
    history = case.history.followed_by(
        act if is_applied else replace(act, kind=NOT_UNDERSTOOD, fields={})
    )
    if is_applied and takes_back(act):
        state = fold(tuple(history.values()), agreement)
    return Case(case.id, act.version, state or case.state, history), is_applied
