"""Searches for cases, and the agencies' own file numbers."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Query, Response

from api.client.schemas.finding import (
    FileNumberDocument,
    FileNumberList,
    FileNumberText,
    FoundCase,
    MatchedPerson,
    SearchRequest,
    SearchResult,
)
from api.http.access import TheCaller, TheNode
from api.http.declared_parameters import DeclaredParametersRoute
from api.http.error_handlers import responses
from api.http.parameters import CaseId
from api.paper.subject_access.wording import wording
from api.services.agency_files import MOST_CASES
from api.services.search_text import SoughtPerson
from ledger.vault.file_numbers import FileNumber
from ledger.vocabulary.case_reference import case_reference

router = APIRouter(prefix="/v1", tags=["finding"], route_class=DeclaredParametersRoute)


@router.post(
    "/searches",
    response_model=SearchResult,
    responses=responses(401, 403, 409, 413, 422, 429, 503),
)
def search(
    node: TheNode, caller: TheCaller, asked: Annotated[SearchRequest, Body()]
) -> SearchResult:
    """Find cases by reference, id, file number or day of opening, or by the person.

    Days are those of the caller's country. A person is searched for in the vault of the caller's
    country, with a purpose alone: the access log has the search and each case that it shows.
    """
    zone = wording("en", caller.protocol, caller.agency.party).zone()
    answer = node.case_search.find(
        caller.reader, caller.viewer, asked.text, asked.purpose, zone, seen_by=caller.bound_to
    )
    ids = [view.case_id for view in answer.cases]
    numbers = node.agency_files.of_listed(caller.agency, ids)
    opened_by = node.views.lists.opened_by(ids)
    persons = {one.case_id: one for one in answer.persons}
    cases = []
    for view in answer.cases:
        person = persons.get(view.case_id)
        cases.append(
            FoundCase(
                case_id=view.case_id,
                reference=case_reference(view.case_id),
                file_numbers=tuple(map(_document, numbers.get(view.case_id, ()))),
                opened_at=view.opened_at,
                opened_by=opened_by.get(view.case_id),
                lead_agency=view.lead_agency,
                by_number=view.case_id in answer.by_number,
                person=person
                and MatchedPerson(
                    is_exact=person.is_exact, is_earlier=person.is_earlier, name=person.name
                ),
            )
        )
    is_person = isinstance(answer.sought, SoughtPerson) and not cases and not answer.searched
    return SearchResult(cases=tuple(cases), has_more=answer.has_more, needs_purpose=is_person)


@router.get(
    "/file-numbers", response_model=FileNumberList, responses=responses(401, 403, 409, 422, 503)
)
def list_file_numbers(
    node: TheNode,
    caller: TheCaller,
    case_id: Annotated[list[UUID], Query(min_length=1, max_length=MOST_CASES)],
) -> FileNumberList:
    """List the file numbers that the agencies of the caller's country gave some cases.

    A case that the caller does not see is left out.
    """
    found = node.agency_files.asked_for(caller.agency, case_id)
    numbers = (_document(one) for of_case in found.values() for one in of_case)
    return FileNumberList(numbers=tuple(numbers))


@router.put(
    "/cases/{case_id}/file-number",
    response_model=FileNumberDocument,
    responses=responses(401, 403, 404, 409, 413, 422, 503),
)
def put_file_number(
    case_id: CaseId,
    node: TheNode,
    caller: TheCaller,
    given: Annotated[FileNumberText, Body()],
) -> FileNumberDocument:
    """Give a case the agency's own file number, in place of an earlier one.

    It is in the country's vault alone: in no event, and in no parcel to another country.
    """
    return _document(node.agency_files.put(caller.agency, case_id, given.number))


@router.delete(
    "/cases/{case_id}/file-number", status_code=204, responses=responses(401, 403, 404, 409, 503)
)
def delete_file_number(case_id: CaseId, node: TheNode, caller: TheCaller) -> Response:
    """Take the agency's own file number from a case. Repeating it is harmless."""
    node.agency_files.remove(caller.agency, case_id)
    return Response(status_code=204)


def _document(one: FileNumber) -> FileNumberDocument:
    return FileNumberDocument(
        case_id=one.case_id, agency=one.agency, number=one.number, changed_at=one.changed_at
    )
