"""Problem details (RFC 9457): every refusal names its rule and the field at fault."""

import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import psycopg
import structlog
from eventsourcing.persistence import OperationalError
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from rfc9457 import Problem
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from api.paper.languages.glyphs import ScriptNotInFontsError
from api.paper.printing.typesetting import PdfNotInstalledError
from api.runtime import disk
from api.runtime.problem import problem
from api.services.decisions import DecidedRefusal
from api.services.refusal_problem import status_of
from ledger.events.newer_event import RULE as UPDATE_RULE
from ledger.events.newer_event import NewerEventError
from ledger.log.signed_decision import HEADER
from ledger.refusals import Ground, Refusal
from ledger.vault.deposits import KeyMissingError
from ledger.vault.documents.chunk_store import ChunkStoreError
from ledger.vault.documents.scanning import NotScannedError
from ledger.vocabulary.expected_forms import in_words
from projections.tables.stored_documents import DamagedViewError

MEDIA_TYPE = "application/problem+json"
_HTTP_RULES = {404: "no-such-resource", 405: "method", 408: "too-slow", 413: "too-long"}
ANSWER_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""The headers of every answer for a browser."""
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "manifest-src 'self'; worker-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy of a page for people."""
PRINTED_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
"""The Content-Security-Policy of a PDF that the node made.

WebKit shows a PDF in a page that it makes itself, to which the policy of the PDF applies. The size
of the viewer is in a ``style`` attribute of that page. A sandbox would stop Chromium's viewer.
"""
SANDBOX_POLICY = "sandbox; default-src 'none'; frame-ancestors 'none'"
"""The Content-Security-Policy of a document's content: nothing of it runs, wherever it is shown."""
WORKER_POLICY = "default-src 'none'; connect-src 'self'; frame-ancestors 'none'"
"""The Content-Security-Policy of the pages' worker.

It loads no further script, and asks this node alone.

No other policy than these five is sent."""
_log = structlog.get_logger(__name__)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the problems that a route may answer with, for the OpenAPI document.

    An authenticated caller may have asked too often. A body that may be too long may also be too
    slow.
    """
    schema = {"$ref": "#/components/schemas/ProblemDetails"}
    titles = {
        400: "The body is no text",
        401: "The assertion is missing or not accepted",
        403: "Not allowed to this agency",
        404: "Not found, or not for this agency to see",
        408: "The request did not come in time",
        409: "The procedure does not allow this now, or it is recorded already otherwise",
        410: "Earlier programs asked here: the asking node is to be updated",
        412: "The case has moved on",
        413: "The request is too long",
        415: "The body is of another media type",
        416: "The content has no such range",
        422: "The request does not hold",
        428: "A precondition is missing",
        429: "Too many requests, streams or waiting requests of one agency",
        503: "The store, the view or the protocol is not there yet, or nothing may be recorded now",
        507: "The disk is almost full: nothing new is taken",
    }
    implied = {429 for s in statuses if s == 401} | {408 for s in statuses if s == 413}
    return {
        status: {"description": titles[status], "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in sorted({*statuses, *implied})
    }


Handler = Callable[[Request, Exception], Awaitable[Response]]
AsPage = Callable[[Request, Problem], Response | None]
"""Gives the page of a problem for a person's browser; ``None`` for every other client."""


def no_page(_: Request, __: Problem) -> Response | None:
    """Return no page, for applications that people do not look at."""
    return None


InLanguage = Callable[[Request, Problem], Problem]
"""Gives a problem in the language that the request asks for."""


def in_english(_: Request, told: Problem) -> Problem:
    """Return the problem as it is."""
    return told


def refusing(
    told: Problem, scope: Scope, in_language: InLanguage = in_english
) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """Return the answer of a middleware that refuses a request before any route has it.

    It is always problem details: a page would cost the node more than the request."""
    return respond(in_language(Request(scope), told))


def install(app: FastAPI, as_page: AsPage = no_page, in_language: InLanguage = in_english) -> None:
    """Answer every error of ``app`` with problem details, or with a page where one was asked."""

    def answering(told: Callable[[Exception], Problem]) -> Handler:
        async def answer(request: Request, error: Exception) -> Response:
            problem = _told_full(request, error) or told(error)
            page = as_page(request, problem)
            return respond(in_language(request, problem)) if page is None else page

        return answer

    for kind, told in _TOLD.items():
        app.add_exception_handler(kind, answering(told))


def respond(error: Problem) -> JSONResponse:
    """Return the response to a problem."""
    return JSONResponse(
        error.marshal(),
        status_code=error.status,
        # Here too: an unexpected error is answered outside of every middleware.
        headers={"Cache-Control": "no-store", **ANSWER_HEADERS, **(error.headers or {})},
        media_type=MEDIA_TYPE,
    )


def _told_full(request: Request, error: Exception) -> Problem | None:
    """Return the problem of a full disk: the database's, or that of a file of keys."""
    node = getattr(request.app.state, "node", None)
    if node is None or not node.room.note(error):
        return None
    _log.error("the disk is full", error=type(error).__name__)
    detail = (
        f"{disk.NOT_TAKEN} Send the same action again later, unchanged: "
        "if it was recorded, you get its receipt."
    )
    return problem(507, disk.TITLE, disk.RULE, detail, {"Retry-After": "10"})


def _told_newer(error: Exception) -> Problem:
    return problem(503, "This node must be updated", UPDATE_RULE, str(error), {"Retry-After": "60"})


def _told_problem(error: Exception) -> Problem:
    if not isinstance(error, Problem):
        raise error
    return error


def _told_refusal(error: Exception) -> Problem:
    if not isinstance(error, Refusal):
        raise error
    status, title = status_of(error.ground)
    headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'} if status == 401 else {}
    if isinstance(error, DecidedRefusal):
        headers |= {HEADER: error.signed}
    return problem(status, title, error.rule, error.message, headers=headers, field=error.field)


def _told_invalid(error: Exception) -> Problem:
    if not isinstance(error, RequestValidationError):
        raise error
    # Never the input itself: it may be anything, a name too.
    errors = [
        {"field": ".".join(str(part) for part in e["loc"]), "message": in_words(e)}
        for e in error.errors()
    ]
    title = status_of(Ground.INVALID)[1]
    detail = "; ".join(f"{e['field']}: {e['message']}" for e in errors)
    return problem(422, title, "request", detail, errors=errors)


def _told_http(error: Exception) -> Problem:
    if not isinstance(error, HTTPException):
        raise error
    headers = dict(error.headers or {})
    if error.status_code == 400:  # the framework's word for a body that is no UTF-8, or no JSON
        title = status_of(Ground.INVALID)[1]
        return problem(422, title, "request", "The body cannot be read as what it says.")
    rule = _HTTP_RULES.get(error.status_code, "http")
    return problem(error.status_code, error.detail, rule, headers=headers)


def _told_unavailable(error: Exception) -> Problem:
    _log.warning("store unavailable", error=type(error).__name__)
    detail = (
        "The store does not answer. Send the same action again, unchanged: "
        "if it was recorded, you get its receipt."
    )
    return problem(503, "Not available now", "store-unavailable", detail, {"Retry-After": "1"})


def _told_key_missing(error: Exception) -> Problem:
    _log.error("a vault's key is missing", what=str(error))
    detail = "The key of what was disclosed on this person is not there; tell the operator."
    return problem(503, "Not available now", "vault-key-missing", detail)


def told_not_scanned(_: Exception) -> Problem:
    """Return the problem of an upload that the scanner did not examine."""
    detail = (
        "The malware scanner of this node did not examine the file, so no action can have it yet."
        " The upload is kept for a day: try again later, and tell the operator if it goes on."
    )
    return problem(503, "Not available now", "not-scanned", detail, {"Retry-After": "10"})


def told_store_away(error: Exception) -> Problem:
    """Return the problem of a content that the object store did not take or give."""
    _log.error("the object store of the documents is away", why=str(error))
    detail = (
        "The store of this node's documents does not answer, so the document cannot be stored or"
        " read now. Nothing was changed: send the same request again, and tell the operator if it"
        " goes on."
    )
    return problem(503, "Not available now", "document-store-away", detail, {"Retry-After": "10"})


def _told_no_pdf(error: Exception) -> Problem:
    _log.error("PDF files cannot be made", what=str(error))
    detail = "This node makes no PDF files: its operator must install `case-ledger[pdf]`."
    return problem(503, "Not available now", "pdf-not-installed", detail)


def _told_script(error: Exception) -> Problem:
    return problem(503, "Not available now", "pdf-script", str(error))


def _told_damaged(error: Exception) -> Problem:
    _log.error("the row of a view that was asked for is malformed", view=str(error))
    detail = (
        "What is kept here of this case was changed from outside the program; tell the operator. "
        "The signed events are not touched by that."
    )
    return problem(503, "Not available now", "view-damaged", detail)


def _told_unexpected(error: Exception) -> Problem:
    # An error's message may carry what an agency sent; where it arose says enough.
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    where = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    _log.error("unexpected error", error=type(error).__name__, where=where)
    return problem(500, "Something went wrong here", "unexpected")


_TOLD: Mapping[type[Exception], Callable[[Exception], Problem]] = {
    Problem: _told_problem,
    Refusal: _told_refusal,
    RequestValidationError: _told_invalid,
    HTTPException: _told_http,
    KeyMissingError: _told_key_missing,
    NewerEventError: _told_newer,
    DamagedViewError: _told_damaged,
    ChunkStoreError: told_store_away,
    NotScannedError: told_not_scanned,
    PdfNotInstalledError: _told_no_pdf,
    ScriptNotInFontsError: _told_script,
    psycopg.OperationalError: _told_unavailable,
    OperationalError: _told_unavailable,
    Exception: _told_unexpected,
}
