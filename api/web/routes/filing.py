"""Papers that the node makes of what it holds, as uploads of the agency that files them."""

from collections.abc import Iterator
from typing import Annotated, NamedTuple
from uuid import UUID

from fastapi import APIRouter, Body, Request

from api.client.schemas import SubjectAccessRequest
from api.client.schemas.case_documents import (
    MadeDocument,
    MadeDocuments,
    MadeKind,
    MakingRequest,
)
from api.http.access import Caller, TheCaller, TheNode
from api.http.costly import Costly
from api.http.declared_parameters import DeclaredParametersRoute
from api.http.error_handlers import responses
from api.http.parameters import CaseId
from api.http.routes.document_uploads import upload_state
from api.http.routes.personal import file_of, words_of
from api.node.node import Node
from api.paper.subject_access.parts import parts
from api.paper.subject_access.pdf import render
from api.web.rendering import Words
from api.web.routes.acts import recorded_case
from api.web.routes.communication_forms import form_on_paper
from api.web.routes.printing import summary_pdf
from ledger.refusals import Ground, Refusal
from ledger.system import clock
from ledger.vocabulary.documents import CaseDocument
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import DocumentKind

router = APIRouter(prefix="/v1/cases", tags=["documents"], route_class=DeclaredParametersRoute)
_SECOND_LANGUAGE = "en"
_LONGEST_TITLE = 200
"""In characters. The titles of forms are texts of the protocol."""


class _Paper(NamedTuple):
    """A paper that was made, and its description."""

    content: bytes
    kind: DocumentKind
    title: str
    language: str | None
    group: FieldGroup | None = None
    belongs_to: UUID | None = None


@router.post(
    "/{case_id}/documents/made",
    status_code=201,
    response_model=MadeDocuments,
    responses=responses(401, 403, 404, 409, 413, 422, 429, 503, 507),
)
async def make_documents(
    request: Request,
    case_id: CaseId,
    node: TheNode,
    caller: TheCaller,
    asked: Annotated[MakingRequest, Body()],
) -> MadeDocuments:
    """Make a paper of what this node holds, and keep it as an upload of the caller's agency.

    The agency then signs the description, in an action of the kind `document_added`. A person's
    file is a request for subject access, which the access log has; it becomes one paper for each
    field group in which something is held, and one for the case.
    """
    costly: Costly = request.app.state.costly
    return await costly.run(caller.agency.id, _made, node, caller, case_id, asked)


def _made(node: Node, caller: Caller, case_id: UUID, asked: MakingRequest) -> MadeDocuments:
    node.uploads.check_sender(caller.agency, case_id)
    return MadeDocuments(
        documents=tuple(
            _kept(node, caller, case_id, paper) for paper in _papers(node, caller, case_id, asked)
        )
    )


def _kept(node: Node, caller: Caller, case_id: UUID, paper: _Paper) -> MadeDocument:
    """Keep a paper as an upload, and describe it."""
    upload, media_type = node.uploads.take(caller.agency, case_id, paper.content, caller.protocol)
    # Asked for after the paper was made: it tells of no later action.
    as_of = recorded_case(node, case_id).version
    upload = node.uploads.note_paper(caller.agency, upload, as_of)
    document = {
        "sha256": upload.metadata.sha256,
        "size": upload.place.size,
        "media_type": media_type,
        "document_kind": paper.kind,
        "language": paper.language,
        "title": paper.title[:_LONGEST_TITLE],
    }
    return MadeDocument(
        upload=upload_state(upload),
        group=paper.group,
        belongs_to=paper.belongs_to,
        paper_as_of=as_of,
        document=CaseDocument.model_validate(document),
    )


def _papers(node: Node, caller: Caller, case_id: UUID, asked: MakingRequest) -> Iterator[_Paper]:
    """Yield the papers that were asked for. Raises ``Refusal`` before anything is made."""
    if (asked.made is MadeKind.FORM) is not (asked.form is not None) or (
        asked.beside is not None and asked.made is not MadeKind.FORM
    ):
        raise Refusal(
            Ground.INVALID,
            "request",
            "A form names the action that sent it, and may name a second language. Another paper"
            " names neither.",
            "form",
        )
    words = Words.in_language(asked.language, caller, "language")
    spoken = words.things.spoken_code()
    day = words.things.day(clock.now())
    if asked.form is not None:
        there = Words.in_language(asked.beside or _SECOND_LANGUAGE, caller, "beside")
        paper = form_on_paper(node, caller, case_id, asked.form)
        yield _Paper(
            paper.pdf(words, there, clock.now()),
            DocumentKind.LETTER,
            paper.title(words),
            spoken,
            belongs_to=asked.form,
        )
    elif asked.made is MadeKind.SUMMARY:
        title = f"{words.texts.text('print.summary')}, {day}"
        content = summary_pdf(node, caller, case_id, words)
        yield _Paper(content, DocumentKind.REPORT, title, spoken)
    else:
        told = SubjectAccessRequest(language=asked.language)
        own = words_of(caller, told)
        for group, part in parts(file_of(node, caller, case_id, told)):
            of = own.picked(group) if group is not None else own.text("held.case_level")
            title = f"{own.text('title')}: {of}, {day}"
            content = render(part, own, is_part=True)
            yield _Paper(content, DocumentKind.REPORT, title, spoken, group)
