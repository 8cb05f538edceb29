"""Drafts on pages: what waits for a colleague, a look at it, its return and its withdrawal."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from api.http.access import Caller, TheCaller, TheNode
from api.http.draft_documents import draft_for
from api.http.member_documents import own_member
from api.node.node import Node
from api.runtime.readiness import check_may_record
from api.web.drafts import changing, draft_items, draft_lists, draft_parts
from api.web.errors import PageRoute
from api.web.refusal_text import reason
from api.web.rendering import PAGE_HEADERS, Words, page
from api.web.routes.acts import names_of_acts
from api.web.routes.members import TheForm
from ledger.refusals import Refusal
from ledger.vault.drafts import MOST_REMARK

router = APIRouter(include_in_schema=False, route_class=PageRoute)
DraftId = Annotated[UUID, Path()]


@router.get("/drafts")
def show_drafts(
    request: Request,
    node: TheNode,
    caller: TheCaller,
    done: Annotated[str | None, Query(pattern="^(sent|returned|withdrawn|waits)$")] = None,
) -> Response:
    """Show what waits for a member's approval, and the member's own drafts."""
    return page(
        request, "drafts.html", caller, lists=draft_lists(node, caller), done=done,
        is_member=caller.member is not None,
    )  # fmt: skip


@router.post("/drafts/{draft}")
def look_at_draft(request: Request, node: TheNode, caller: TheCaller, draft: DraftId) -> Response:
    """Show a draft as it will be recorded. The access log has the look first."""
    return _look(request, node, caller, draft)


@router.post("/drafts/{draft}/return")
async def return_draft(
    request: Request, node: TheNode, caller: TheCaller, draft: DraftId, form: TheForm
) -> Response:
    """Return a draft to its author with a remark."""

    def give_back() -> Response:
        draft_for(node, caller, draft)
        check_may_record(node.room.look())
        remark = form.get("remark", "")
        try:
            node.drafts.give_back(caller.agency, own_member(node, caller).id, draft, remark)
        except Refusal as refusal:
            if refusal.rule != "remark-text":
                raise
            return _look(request, node, caller, draft, wrong=refusal, remark=remark)
        return _done("returned")

    return await run_in_threadpool(give_back)


@router.post("/drafts/{draft}/withdraw")
def withdraw_draft(node: TheNode, caller: TheCaller, draft: DraftId) -> Response:
    """Withdraw a draft of one's own."""
    draft_for(node, caller, draft)
    node.drafts.withdraw(caller.agency, own_member(node, caller).id, draft)
    return _done("withdrawn")


def _look(
    request: Request,
    node: Node,
    caller: Caller,
    draft: UUID,
    *,
    wrong: Refusal | None = None,
    remark: str = "",
) -> Response:
    found = draft_for(node, caller, draft)
    opened = node.drafts.open(caller.reader, draft)
    words = Words.of(request)
    case = node.ledger.case(found.case_id)
    named = {one.id: words.things.agency(one) for one in caller.protocol.agencies}
    if case is not None:
        named |= names_of_acts(case.history.values(), words)
    (item,) = draft_items(node, caller, [found])
    return page(
        request,
        "draft.html",
        caller,
        item=item,
        draft=found,
        until=node.drafts.until(found),
        parts=draft_parts(opened, words.things, named),
        signed=opened.content.signed,
        returned=opened.content.remark,
        version=case.version if case is not None else 0,
        is_author=caller.member == found.author,
        is_orphan=node.drafts.is_orphan(found),
        protocol=caller.protocol.id,
        wrong=reason(wrong, words) if wrong is not None else None,
        remark=remark,
        most=MOST_REMARK,
        changing=changing(opened),
    )


def _done(what: str) -> Response:
    return RedirectResponse(f"/drafts?done={what}", status_code=303, headers=dict(PAGE_HEADERS))
