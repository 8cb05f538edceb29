"""Statements between countries' nodes that actions wait for the ledger node."""

from typing import Annotated

from fastapi import APIRouter, Body, Depends, Query

from api.client.schemas import StatedSubmissions, SubmissionPage
from api.http.access import TheCaller, TheNode, caller
from api.http.declared_parameters import DeclaredParametersRoute
from api.http.documents import submission_document
from api.http.error_handlers import responses
from api.runtime.readiness import check_may_record
from ledger.refusals import Ground, Refusal
from ledger.replication import submissions
from ledger.replication.node_statements import StatementError

router = APIRouter(prefix="/v1/submissions", tags=["nodes"], route_class=DeclaredParametersRoute)


@router.post(
    "",
    response_model=SubmissionPage,
    responses=responses(400, 401, 403, 408, 409, 413, 422, 503, 507),
)
def state_submissions(
    node: TheNode, caller: TheCaller, stated: Annotated[StatedSubmissions, Body()]
) -> SubmissionPage:
    """Take statements that another country's node signed on its own actions, all or none.

    The answer has the statements that this node keeps, and the state of each action in its copy of
    the ledger.
    """
    check_may_record(node.room.look())
    try:
        read = [
            (submissions.read(text, caller.registry, caller.agency.party), text)
            for text in stated.statements
        ]
    except StatementError as error:
        raise Refusal(
            Ground.INVALID, "statement", f"A statement does not hold: {error}.", "statements"
        ) from error
    for content, text in read:
        node.submissions.keep(content, text)
    named = {content.action for content, _ in read}
    kept = node.submissions.all(submissions.KEPT_PER_PARTY)
    mine = [one for one in kept if one.party == caller.agency.party and one.action_id in named]
    return SubmissionPage(submissions=tuple(map(submission_document, mine)))


@router.get(
    "",
    response_model=SubmissionPage,
    responses=responses(401, 403, 409, 422, 503),
    dependencies=[Depends(caller)],
)
def list_submissions(
    node: TheNode, limit: Annotated[int, Query(ge=1, le=1000)] = 200
) -> SubmissionPage:
    """List other countries' nodes' statements, those that are not recorded here first.

    For coordinators, oversight bodies and nodes.
    """
    kept = node.submissions.all(limit)
    return SubmissionPage(submissions=tuple(map(submission_document, kept)))
