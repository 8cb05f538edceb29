"""Drafts as a caller may see them."""

from collections.abc import Sequence
from uuid import UUID

from api.client.schemas.drafts import DraftDocument
from api.http.access import Caller, viewer_of_case
from api.http.member_documents import own_member
from api.node.node import Node
from api.services.drafts import CASE_OPENED
from ledger.refusals import Refusal
from ledger.vault.drafts import Draft


def draft_for(node: Node, caller: Caller, action_id: UUID) -> Draft:
    """Return a draft of the caller's agency, on a case that the agency may see.

    Raises ``Refusal`` (``members-only``, ``member-disabled``, ``unknown-draft``,
    ``unknown-case``).
    """
    own_member(node, caller)
    draft = node.drafts.found(caller.agency, action_id)
    if draft.kind != CASE_OPENED:
        viewer_of_case(node, caller, draft.case_id)
    return draft


def drafts_seen(node: Node, caller: Caller) -> Sequence[Draft]:
    """Return the drafts that the caller may see, the oldest first; none for a system."""
    if caller.member is None or caller.agency.international:
        return ()
    return [one for one in node.drafts.of_agency(caller.agency) if _sees(node, caller, one)]


def draft_document(node: Node, caller: Caller, draft: Draft) -> DraftDocument:
    """Return a draft without its content."""
    return DraftDocument(
        action_id=draft.action_id,
        case_id=draft.case_id,
        kind=draft.kind,
        author=draft.author,
        state=draft.state.value,
        case_version=draft.case_version,
        sent_at=draft.sent_at,
        until=node.drafts.until(draft),
        decided_by=draft.decided_by,
        decided_at=draft.decided_at,
        refused_by=draft.refused_by,
        may_approve=node.drafts.may_approve(draft, caller.member),
    )


def _sees(node: Node, caller: Caller, draft: Draft) -> bool:
    if draft.kind == CASE_OPENED:
        return True
    try:
        viewer_of_case(node, caller, draft.case_id)
    except Refusal:
        return False
    return True
