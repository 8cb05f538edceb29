"""Cases that belong together: links between cases, and the merge of two cases of one person.

Each case has its own events. So a merge takes an action in each of the two cases: a proposal in the
case that ends, an acceptance in the case that continues, and the end in the case that ends.
"""

from datetime import date
from typing import ClassVar

from ledger.vocabulary.action import Action, OnCase, OnLedger
from ledger.vocabulary.picklists import CaseRelation, MergeDeclineReason, MergeUndoGround
from ledger.vocabulary.picklists import Stage as S
from ledger.vocabulary.types import (
    ActionId,
    AgencyId,
    CaseId,
    Countries,
    Text,
    UtcDatetime,
)


class CasesLinked(Action):
    """Another case belongs together with this one; both go on."""

    kind: ClassVar[str] = "cases_linked"
    stage: ClassVar[S] = S.COORDINATION

    told: OnLedger[Countries]
    """The countries that are party to both cases. They alone get the fields below."""
    linked_case: OnCase[CaseId]
    relation: OnCase[CaseRelation]
    """The relation of the linked case to this one."""
    reasoning: OnCase[Text | None] = None


class CasesUnlinked(Action):
    """A link to another case no longer stands."""

    kind: ClassVar[str] = "cases_unlinked"
    stage: ClassVar[S] = S.COORDINATION

    link: OnLedger[ActionId]


class MergeProposed(Action):
    """This case and another one are of one person: this one shall end, the other continue.

    The country of the other case's agency joins this case, so that it can judge.
    """

    kind: ClassVar[str] = "merge_proposed"
    stage: ClassVar[S] = S.COORDINATION

    addressee: OnLedger[AgencyId]
    """The agency that leads the other case, or its country's coordinator."""
    told: OnLedger[Countries]
    """The countries that get the fields below: of those, each may see the other case."""
    answer_by: OnLedger[date | None] = None
    continues_in: OnCase[CaseId | None] = None
    """The other case, where the proposing agency knows which it is."""
    reasoning: OnCase[Text | None] = None


class MergeAccepted(Action):
    """In the case that continues: the other case is of the same person and is taken in.

    The countries of the ended case join this one.
    """

    kind: ClassVar[str] = "merge_accepted"
    stage: ClassVar[S] = S.COORDINATION

    ended_case: OnLedger[CaseId]
    proposal: OnLedger[ActionId]
    """The proposal in the case that ends."""
    countries: OnLedger[Countries]
    """The countries of the case that ends."""
    opened_at: OnLedger[UtcDatetime]
    """When the case that ends was opened: deadlines run from the earlier opening."""


class CaseMerged(Action):
    """In the case that ends: it continues in the other case."""

    kind: ClassVar[str] = "case_merged"
    stage: ClassVar[S] = S.COORDINATION

    continues_in: OnLedger[CaseId]
    acceptance: OnLedger[ActionId]
    """The acceptance in the case that continues."""


class MergeDeclined(Action):
    """The proposal to merge is declined, or its country withdraws it.

    In a case that has ended: the announced undoing of the merge is withdrawn.
    """

    kind: ClassVar[str] = "merge_declined"
    stage: ClassVar[S] = S.COORDINATION

    proposal: OnLedger[ActionId]
    reason: OnLedger[MergeDeclineReason]


class MergeUndone(Action):
    """A merge was a mistake: both cases go on as if they had not been merged.

    The case that ended announces it. Then the merge is undone in the case that continued, and at
    last in the case that ended.
    """

    kind: ClassVar[str] = "merge_undone"
    stage: ClassVar[S] = S.COORDINATION

    merge: OnLedger[ActionId]
    """The action of this case that is undone: ``merge_accepted`` or ``case_merged``.

    In the case that ended, an action that names the acceptance of the other case announces that the
    merge shall be undone, and undoes nothing yet."""
    ground: OnLedger[MergeUndoGround]
    continued_in: OnLedger[CaseId | None] = None
    """In the case that ended: the case that continued."""
    undoing: OnLedger[ActionId | None] = None
    """In the case that ended: the undoing in the case that continued."""
