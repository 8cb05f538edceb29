"""Personal fields of a case: opened for a purpose, each time written down."""

from typing import Annotated

from fastapi import APIRouter, Body

from api.access import TheCaller, TheNode
from api.documents import PersonalField, ReadingPage, ReadingRequest, ReadingResult
from api.parameters import CaseId
from api.problems import responses

router = APIRouter(prefix="/v1/cases", tags=["personal data"])


@router.post(
    "/{case_id}/readings",
    status_code=201,
    response_model=ReadingResult,
    responses=responses(401, 403, 404, 409, 413, 422, 503),
)
def read_personal_fields(
    case_id: CaseId,
    node: TheNode,
    caller: TheCaller,
    asked: Annotated[ReadingRequest, Body()],
) -> ReadingResult:
    """Open the personal fields of some groups that the caller's country holds on the person.

    Needs the access matrix and a legal basis recorded in the case. Granted or refused, it is
    written into the access log, which coordinators, oversight and the person can have.
    """
    opened = node.disclosing.read(caller.reader, case_id, asked.groups, asked.purpose, asked.basis)
    history = opened.case.history
    return ReadingResult(
        reading=opened.reading,
        fields=tuple(PersonalField.of(one, history[one.action_id]) for one in opened.fields),
    )


@router.get(
    "/{case_id}/readings",
    response_model=ReadingPage,
    responses=responses(401, 403, 404, 409, 422, 503),
)
def list_readings(case_id: CaseId, node: TheNode, caller: TheCaller) -> ReadingPage:
    """Who asked for the person's personal fields in the caller's country, and what for."""
    return ReadingPage(readings=tuple(node.disclosing.readings(caller.reader, case_id)))
