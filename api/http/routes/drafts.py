"""Drafts: actions that wait for the approval of another member of the agency."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Path, Response

from api.client.schemas import Receipt
from api.client.schemas.drafts import (
    DraftApproval,
    DraftDocument,
    DraftPage,
    DraftRemark,
    NewDraft,
    OpenedDraft,
)
from api.http.access import TheCaller, TheNode, viewer_of_case
from api.http.declared_parameters import DeclaredParametersRoute
from api.http.draft_documents import draft_document, draft_for, drafts_seen
from api.http.error_handlers import responses
from api.http.member_documents import own_member
from api.http.parameters import CaseId
from api.http.routes.outbox import ACCEPTED, answer
from api.runtime.readiness import check_may_record

router = APIRouter(prefix="/v1", tags=["drafts"], route_class=DeclaredParametersRoute)
DraftId = Annotated[UUID, Path(description="The id of the draft's action")]
_WRITE = responses(400, 401, 403, 404, 409, 412, 413, 422, 503, 507)


@router.get("/drafts", response_model=DraftPage, responses=responses(401, 403, 409, 422, 503))
def list_drafts(node: TheNode, caller: TheCaller) -> DraftPage:
    """List the drafts of the member's agency, the oldest first, without what they say."""
    own_member(node, caller)
    found = drafts_seen(node, caller)
    return DraftPage(drafts=tuple(draft_document(node, caller, one) for one in found))


@router.post(
    "/cases/{case_id}/drafts", status_code=201, response_model=DraftDocument, responses=_WRITE
)
def send_draft(
    node: TheNode, caller: TheCaller, case_id: CaseId, new: Annotated[NewDraft, Body()]
) -> DraftDocument:
    """Keep a signed action until another member of the agency approves it.

    All rules are asked at once: the action lacks the approval alone.
    """
    member = own_member(node, caller)
    check_may_record(node.room.look())
    if new.case_version:
        viewer_of_case(node, caller, case_id)
    draft = node.drafts.send(
        caller.agency,
        member.id,
        new.signed,
        case_id,
        new.case_version,
        form=new.form,
        replaces=new.replaces,
    )
    return draft_document(node, caller, draft)


@router.post(
    "/drafts/{draft}/reading",
    response_model=OpenedDraft,
    responses=responses(401, 403, 404, 409, 422, 503, 507),
)
def open_draft(node: TheNode, caller: TheCaller, draft: DraftId) -> OpenedDraft:
    """Open a draft with all that it says. The access log has the look first."""
    found = draft_for(node, caller, draft)
    opened = node.drafts.open(caller.reader, draft)
    is_author = caller.member == found.author
    return OpenedDraft(
        draft=draft_document(node, caller, found),
        signed=opened.content.signed,
        fields=dict(opened.fields),
        form=dict(opened.content.form) if is_author and opened.content.form else None,
        remark=opened.content.remark,
    )


@router.post(
    "/drafts/{draft}/approval",
    status_code=201,
    response_model=Receipt,
    responses={**ACCEPTED, **_WRITE},
)
def approve_draft(
    node: TheNode, caller: TheCaller, draft: DraftId, given: Annotated[DraftApproval, Body()]
) -> Response:
    """Record a draft with the approval that another member signed.

    Of two approvals at once, and of an approval and a withdrawal, one succeeds.
    """
    draft_for(node, caller, draft)
    approved, told = node.drafts.approve(
        node.append_service,
        caller.reader,
        own_member(node, caller).id,
        draft,
        given.approval,
        given.case_version,
    )
    return answer(node, approved, told)


@router.post("/drafts/{draft}/return", response_model=DraftDocument, responses=_WRITE)
def return_draft(
    node: TheNode, caller: TheCaller, draft: DraftId, given: Annotated[DraftRemark, Body()]
) -> DraftDocument:
    """Return a draft to its author with a remark."""
    draft_for(node, caller, draft)
    check_may_record(node.room.look())
    member = own_member(node, caller)
    returned = node.drafts.give_back(caller.agency, member.id, draft, given.remark)
    return draft_document(node, caller, returned)


@router.delete(
    "/drafts/{draft}", status_code=204, responses=responses(401, 403, 404, 409, 422, 503)
)
def withdraw_draft(node: TheNode, caller: TheCaller, draft: DraftId) -> Response:
    """Withdraw a draft, as its author. It is erased, and its action is never recorded here."""
    draft_for(node, caller, draft)
    node.drafts.withdraw(caller.agency, own_member(node, caller).id, draft)
    return Response(status_code=204)
