"""Cases of two countries that may be one person's: for the two coordinators, and nobody else."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Path, Query

from api.client.schemas import DuplicateAssessment, DuplicateDocument, DuplicatePage
from api.http.access import TheCaller, TheNode
from api.http.declared_parameters import DeclaredParametersRoute
from api.http.documents import duplicate_document
from api.http.error_handlers import responses
from api.runtime.readiness import check_may_record
from api.runtime.status import ASSESSED, notify
from api.services.merged_pairs import not_merged
from ledger.refusals import Ground, Refusal
from ledger.system import clock

router = APIRouter(
    prefix="/v1/duplicates", tags=["duplicates"], route_class=DeclaredParametersRoute
)


@router.get("", response_model=DuplicatePage, responses=responses(401, 403, 409, 422, 503))
def list_duplicates(
    node: TheNode, caller: TheCaller, limit: Annotated[int, Query(ge=1, le=500)] = 100
) -> DuplicatePage:
    """List the country's cases that may be of a person whose case another country opened too.

    The last one found is the first. They hold nothing personal. Cases that are merged with each
    other are left out.
    """
    found = not_merged(node.ledger, node.vaults.of(caller.agency.party).duplicates.all(limit))
    return DuplicatePage(duplicates=tuple(map(duplicate_document, found)))


@router.post(
    "/{duplicate_id}/assessment",
    response_model=DuplicateDocument,
    responses=responses(400, 401, 403, 404, 409, 413, 422, 503, 507),
)
def assess_duplicate(
    duplicate_id: Annotated[UUID, Path(description="The duplicate's id")],
    node: TheNode,
    caller: TheCaller,
    assessment: Annotated[DuplicateAssessment, Body()],
) -> DuplicateDocument:
    """Say whether it is the same person; the other country's coordinator gets the answer.

    The answer may be changed. If it is the same person, ask by ``information_requested`` for the
    other country's information: this gives no access to anything.
    """
    kept = node.vaults.of(caller.agency.party).duplicates
    check_may_record(node.room.look())
    now = clock.now()
    assessed = kept.assess(duplicate_id, assessment.finding, caller.agency.id, now)
    notify(node.database, ASSESSED)
    if assessed is None:
        raise Refusal(
            Ground.UNKNOWN, "unknown-duplicate", "This country has no duplicate with this id."
        )
    return duplicate_document(assessed)
