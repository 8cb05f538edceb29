"""Pseudonymised records of a country's cases, for its own analysts."""

from typing import Annotated

from fastapi import APIRouter, Body

from api.client.schemas.statistics import RecordsRequest, RecordsResult
from api.http.access import TheCaller, TheNode
from api.http.declared_parameters import DeclaredParametersRoute
from api.http.error_handlers import responses

router = APIRouter(prefix="/v1", tags=["statistics"], route_class=DeclaredParametersRoute)


@router.post(
    "/statistics/records",
    status_code=201,
    response_model=RecordsResult,
    responses=responses(401, 403, 409, 413, 422, 503),
)
def release_records(
    node: TheNode,
    caller: TheCaller,
    asked: Annotated[RecordsRequest, Body()],  # noqa: ARG001  # its one purpose is checked
) -> RecordsResult:
    """Release pseudonymised records of the persons whose case the caller's country opened.

    Needs an analyst's role, the operation ``statistics`` of the access matrix, and the protocol's
    part on statistics. Each case that is opened is an entry of the access log. Pseudonyms are
    those of this release alone.
    """
    return RecordsResult(records=node.statistics.release(caller.reader))
