"""The content of the pages of drafts: what waits for a colleague, and one draft in whole."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from api.authentication.members import Member
from api.http.access import Caller
from api.http.draft_documents import drafts_seen
from api.node.node import Node
from api.paper.subject_access.wording import Wording
from api.services.drafts import OpenedDraft
from ledger.vault.drafts import Draft, DraftState
from ledger.vocabulary.communication_forms import FormAcknowledged, FormSent
from ledger.vocabulary.identification import CaseOpened
from ledger.vocabulary.levels import Level
from ledger.vocabulary.sharing import InformationReleased


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
class DraftField:
    """A field of a draft in words, with the value that the browser compares with the signed one."""

    name: str
    label: str
    lines: Sequence[str]
    value: str
    """As JSON."""
    is_typed: bool
    """True if the words are the value itself, as a person typed it."""


@dataclass(frozen=True, slots=True)
class DraftPart:
    """The fields of a draft at one level."""

    level: str
    fields: Sequence[DraftField]


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


def drafts_in(node: Node, caller: Caller, case_id: UUID) -> Sequence[DraftItem]:
    """Return the drafts of a member's agency in one case, the oldest first."""
    if not caller.protocol.approvals:
        return ()
    return draft_items(
        node, caller, [one for one in drafts_seen(node, caller) if one.case_id == case_id]
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
            _field(action.kind, name, value, words, named)
            for name, value in opened.fields.items()
            if action.model.level(name).level is level
        ]
        if fields:
            found.append(DraftPart(level.value, fields))
    return found


def _field(
    kind: str, name: str, value: Any, words: Wording, named: Mapping[str, str]
) -> DraftField:
    lines = words.value(kind, name, value, named)
    told = json.dumps(value, ensure_ascii=False)
    return DraftField(name, words.field(name), lines, told, is_typed=list(lines) == [value])


def changing(opened: OpenedDraft) -> str:
    """Return the address of the form in which the author changes a draft.

    It has ids, and names of field groups for a release: no value of a person's field.
    """
    draft, fields = opened.draft, opened.fields
    asked: dict[str, str | Sequence[str]] = {"change": str(draft.action_id)}
    match draft.kind:
        case CaseOpened.kind:
            path = "/cases/new"
        case FormSent.kind:
            path = f"/cases/{draft.case_id}/forms/{fields['form_number']}"
        case FormAcknowledged.kind:
            path = f"/cases/{draft.case_id}/forms/sent/{fields['sent']}"
        case InformationReleased.kind:
            path = f"/cases/{draft.case_id}/personal"
            asked["groups"] = [str(group) for group in fields["groups"]]
        case kind:
            path = f"/cases/{draft.case_id}/act/{kind}"
            if other := fields.get("linked_case") or fields.get("continues_in"):
                asked["other"] = str(other)
    return f"{path}?{urlencode(asked, doseq=True)}"


def _name(known: Mapping[UUID, Member], member: UUID | None) -> str:
    found = known.get(member) if member is not None else None
    if found is None or found.details is None:
        return str(member)[:8] if member is not None else ""
    return found.details.name
