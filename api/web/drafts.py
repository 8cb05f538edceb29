"""The content of the pages of drafts: what waits for a colleague, and one draft in whole."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from api.authentication.members import Member
from api.http.access import Caller
from api.http.draft_documents import drafts_seen
from api.node.node import Node
from api.paper.subject_access.wording import Wording
from api.services.drafts import OpenedDraft
from ledger.vault.drafts import Draft, DraftState
from ledger.vocabulary.levels import Level


@dataclass(frozen=True, slots=True)
class DraftItem:
    """A draft in a list, with the names of members that their own agency knows."""

    draft: Draft
    author: str
    decided_by: str
    may_approve: bool


@dataclass(frozen=True, slots=True)
class DraftLists:
    """The drafts of an agency as a member sees them."""

    to_approve: Sequence[DraftItem] = ()
    own: Sequence[DraftItem] = ()
    """The member's own, the returned ones first."""
    others: Sequence[DraftItem] = ()
    """The colleagues' that the member cannot approve now."""


@dataclass(frozen=True, slots=True)
class DraftPart:
    """The fields of a draft at one level, each with its name and the lines of its value."""

    level: str
    fields: Sequence[tuple[str, Sequence[str]]]


def draft_lists(node: Node, caller: Caller) -> DraftLists:
    """Return the drafts that a member of an agency sees; nothing to a system."""
    seen = drafts_seen(node, caller)
    if not seen:
        return DraftLists()
    items = draft_items(node, caller, seen)
    own = [one for one in items if one.draft.author == caller.member]
    others = [one for one in items if one.draft.author != caller.member]
    return DraftLists(
        [one for one in others if one.may_approve],
        sorted(own, key=lambda one: one.draft.state is not DraftState.RETURNED),
        [one for one in others if not one.may_approve],
    )


def draft_items(node: Node, caller: Caller, drafts: Iterable[Draft]) -> list[DraftItem]:
    """Return drafts with the names of their members, where the agency gave them one."""
    drafts = list(drafts)
    ids = {one for draft in drafts for one in (draft.author, draft.decided_by) if one is not None}
    known = node.members.some(ids) if ids else {}
    return [
        DraftItem(
            one,
            _name(known, one.author),
            _name(known, one.decided_by),
            node.drafts.may_approve(one, caller.member),
        )
        for one in drafts
    ]


def draft_parts(
    opened: OpenedDraft, words: Wording, named: Mapping[str, str]
) -> Sequence[DraftPart]:
    """Return all fields of a draft by level, as they will be recorded and kept."""
    action, found = opened.action, []
    for level in Level:
        fields = [
            (words.field(name), words.value(action.kind, name, value, named))
            for name, value in opened.fields.items()
            if action.model.level(name).level is level
        ]
        if fields:
            found.append(DraftPart(level.value, fields))
    return found


def _name(known: Mapping[UUID, Member], member: UUID | None) -> str:
    found = known.get(member) if member is not None else None
    if found is None or found.details is None:
        return str(member)[:8] if member is not None else ""
    return found.details.name
