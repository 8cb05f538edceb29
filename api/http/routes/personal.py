"""Personal fields of a case: opened for a purpose, each time written down."""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from api.client.schemas import (
    DestructionReading,
    DisclosedFields,
    ReadingPage,
    ReadingRequest,
    ReadingResult,
    SubjectAccessRequest,
    SubjectArchiveRequest,
)
from api.exchange.presentation import presentations
from api.http.access import Caller, TheCaller, TheNode
from api.http.costly import Costly
from api.http.declared_parameters import DeclaredParametersRoute
from api.http.documents import personal_fields
from api.http.error_handlers import responses
from api.http.parameters import CaseId
from api.node.node import Node
from api.paper.languages.found import offered
from api.paper.subject_access.document import LabelledFile, SubjectFile, labelled
from api.paper.subject_access.gathering import subject_file, with_merged, without_other_cases
from api.paper.subject_access.gathering_documents import subject_archive
from api.paper.subject_access.pdf import render
from api.paper.subject_access.wording import Wording, wording
from api.services.merged_pairs import merged_with
from ledger.refusals import Ground, Refusal
from ledger.vault.held_fields import Damaged
from projections.folds.audit_trail import TrailEntry
from projections.folds.case_view import OVERSIGHT_VIEWER

router = APIRouter(prefix="/v1/cases", tags=["personal data"], route_class=DeclaredParametersRoute)

_PAGE = 500
_PDF = "application/pdf"
_FILE: dict[int | str, dict[str, Any]] = {
    201: {
        "description": "The person's file",
        "content": {_PDF: {"schema": {"type": "string", "format": "binary"}}},
    }
}


_ZIP = "application/zip"
_ARCHIVE: dict[int | str, dict[str, Any]] = {
    201: {
        "description": "The person's documents",
        "content": {_ZIP: {"schema": {"type": "string", "format": "binary"}}},
    }
}


class FileFormat(StrEnum):
    JSON = "json"
    PDF = "pdf"


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
    return ReadingResult(
        reading=opened.reading,
        fields=personal_fields(opened),
        presentations=presentations(node.ledger.rows, opened.fields),
        damaged=damaged_fields(opened.damaged),
        erased=node.erased_data(opened.case, caller.agency.party),
    )


@router.post(
    "/{case_id}/destructions/{proposal}/readings",
    status_code=201,
    response_model=DestructionReading,
    responses=responses(401, 403, 404, 409, 422, 503),
)
def read_what_is_to_be_destroyed(
    case_id: CaseId, proposal: UUID, node: TheNode, caller: TheCaller
) -> DestructionReading:
    """Open the fields of an annulled action whose destruction is proposed, to decide on it.

    For courts, oversight bodies and coordinators of the countries that received them. Granted or
    refused, it is written into the access log.
    """
    opened = node.disclosing.review(caller.reader, case_id, proposal)
    action = opened.reading.concerning
    if action is None:
        raise RuntimeError("a review concerns an action")
    return DestructionReading(
        reading=opened.reading,
        disclosed=DisclosedFields(
            action_id=action,
            fields={one.field: one.value for one in opened.fields},
            damaged=tuple(one.field for one in opened.damaged),
        ),
    )


@router.get(
    "/{case_id}/readings",
    response_model=ReadingPage,
    responses=responses(401, 403, 404, 409, 422, 503),
)
def list_readings(case_id: CaseId, node: TheNode, caller: TheCaller) -> ReadingPage:
    """List which readers asked for the person's personal fields in the caller's country.

    Each entry has the purpose of the reading.
    """
    found = node.disclosing.readings(caller.reader, case_id)
    return ReadingPage(readings=tuple(found), changed=found.changed)


@router.post(
    "/{case_id}/subject-access",
    status_code=201,
    response_model=LabelledFile,
    responses={**_FILE, **responses(401, 403, 404, 409, 413, 422, 503)},
)
async def give_to_the_person(
    request: Request,
    case_id: CaseId,
    node: TheNode,
    caller: TheCaller,
    asked: Annotated[SubjectAccessRequest, Body()],
    file_format: Annotated[FileFormat, Query(alias="format")] = FileFormat.JSON,
) -> Response:
    """Return all that the caller's country holds on the person, as a file for that person.

    The file has the list of readings so far, and the whole trail. The request is written into the
    access log too.
    """
    if file_format is FileFormat.PDF:
        costly: Costly = request.app.state.costly
        return await costly.run(caller.agency.id, _file_as_pdf, node, caller, case_id, asked)
    return await run_in_threadpool(_file_as_json, node, caller, case_id, asked)


@router.post(
    "/{case_id}/subject-access/documents",
    status_code=201,
    response_class=Response,
    responses={**_ARCHIVE, **responses(401, 403, 404, 409, 413, 422, 503)},
)
def give_documents_to_the_person(
    case_id: CaseId,
    node: TheNode,
    caller: TheCaller,
    asked: Annotated[SubjectArchiveRequest, Body()],
) -> Response:
    """Return all documents that the caller's country has on the person, in one ZIP archive.

    The archive has an index, as a page and as JSON. It lists the documents that are held back, and
    those whose content is at another country's node. The request is an entry of the access log, and
    so is each document.
    """
    words = words_of(caller, asked)
    return StreamingResponse(
        subject_archive(
            node.ledger,
            node.vaults.of(caller.agency.party),
            node.disclosing,
            caller.reader,
            case_id,
            {one.document: one.ground for one in asked.held_back},
            caller.protocol,
            words,
        ),
        201,
        {"Content-Disposition": f'attachment; filename="{case_id}.zip"'},
        _ZIP,
    )


def _file_as_pdf(
    node: Node, caller: Caller, case_id: UUID, asked: SubjectAccessRequest
) -> Response:
    words = words_of(caller, asked)
    return Response(render(_file(node, caller, case_id, asked), words), 201, media_type=_PDF)


def _file_as_json(
    node: Node, caller: Caller, case_id: UUID, asked: SubjectAccessRequest
) -> Response:
    words = words_of(caller, asked)
    told = labelled(_file(node, caller, case_id, asked), words).model_dump_json()
    return Response(told, 201, media_type="application/json")


def words_of(caller: Caller, asked: SubjectAccessRequest) -> Wording:
    """Return the words of the file, before the request is written into the access log.

    Raises ``Refusal`` if the protocol does not offer the language, or this node lacks its texts.
    """
    known = [one.code for one in offered(caller.protocol)]
    if asked.language not in known:
        raise Refusal(
            Ground.INVALID,
            "language",
            f"There are no texts in this language here. Choose one of {', '.join(known)}.",
            "language",
        )
    return wording(asked.language, caller.protocol, caller.agency.party)


def _file(node: Node, caller: Caller, case_id: UUID, asked: SubjectAccessRequest) -> SubjectFile:
    """Return the person's file: of the case, and of the cases that were merged with it."""
    own = file_of(node, caller, case_id, asked)
    others = merged_with(node.ledger, caller.agency, case_id)
    return with_merged(own, [file_of(node, caller, other, asked) for other in others])


def file_of(node: Node, caller: Caller, case_id: UUID, asked: SubjectAccessRequest) -> SubjectFile:
    """Return what is held on the person in one case. The request is written down."""
    opened = node.disclosing.subject_access(caller.reader, case_id)
    vault = node.vaults.of(caller.agency.party)
    return subject_file(
        opened,
        without_other_cases(vault.case_fields(case_id)),
        trail_of(node, caller, case_id),
        vault.readings.of_case(case_id),
        country=caller.agency.party,
        language=asked.language,
        protocol=caller.protocol,
        erased=node.erased_data(opened.case, caller.agency.party),
    )


def damaged_fields(damaged: Iterable[Damaged]) -> tuple[DisclosedFields, ...]:
    """Return the fields that do not open, by action."""
    by_action: dict[UUID, list[str]] = {}
    for one in damaged:
        by_action.setdefault(one.action_id, []).append(one.field)
    return tuple(
        DisclosedFields(action_id=action, fields={}, damaged=tuple(fields))
        for action, fields in by_action.items()
    )


def trail_of(node: Node, caller: Caller, case_id: UUID) -> Sequence[TrailEntry]:
    """Return the whole audit trail of a case, at the levels that the caller may see."""
    entries: list[TrailEntry] = []
    after = 0
    while page := node.views.trail(case_id, after=after, limit=_PAGE):
        entries += page
        # Not the number of entries: a row may be missing.
        after = page[-1].version
    return at_levels_of(node, caller, entries)


def at_levels_of(node: Node, caller: Caller, entries: Sequence[TrailEntry]) -> Sequence[TrailEntry]:
    """Return the entries with the ``case`` fields that the caller may read.

    Only actions of old programs have such fields in the clear. They are left out where the caller
    reads the ``ledger`` level alone, and where the action is annulled.
    """
    in_clear = [entry for entry in entries if entry.in_clear]
    if not in_clear:
        return entries
    hides_all = caller.viewer == OVERSIGHT_VIEWER
    annulled = () if hides_all else node.ledger.unread({entry.case_id for entry in in_clear})
    return [
        entry.model_copy(update={"in_clear": {}})
        if entry.in_clear and (hides_all or entry.action_id in annulled)
        else entry
        for entry in entries
    ]
