"""Problem details (RFC 9457): every refusal names its rule and the field at fault."""

import traceback
from collections.abc import Mapping
from typing import Any

import psycopg
import structlog
from eventsourcing.persistence import OperationalError
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from rfc9457 import Problem
from starlette.exceptions import HTTPException

from api.problem_details import problem
from ledger.refusals import Ground, Refusal
from ledger.vault.disclosures import KeyMissingError

MEDIA_TYPE = "application/problem+json"
_STATUS: Mapping[Ground, tuple[int, str]] = {
    Ground.INVALID: (422, "The request does not hold"),
    Ground.UNAUTHENTIC: (401, "The signature is not accepted"),
    Ground.NOT_ALLOWED: (403, "Not allowed to this agency"),
    Ground.OUT_OF_PROCEDURE: (409, "The procedure does not allow this now"),
    Ground.CONFLICT: (409, "In conflict with what is recorded"),
    Ground.STALE: (412, "The case has moved on"),
    Ground.UNKNOWN: (404, "Not found"),
}
_HTTP_RULES = {404: "no-such-resource", 405: "method", 408: "too-slow", 413: "too-long"}
ANSWER_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""What every answer says to a browser."""
_log = structlog.get_logger(__name__)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems that a route may answer with, for the OpenAPI document.

    Whoever is known may have asked too often, and a body that may be too long may be too slow.
    """
    schema = {"$ref": "#/components/schemas/ProblemDetails"}
    titles = {
        400: "The body is no text",
        401: "The assertion is missing or not accepted",
        403: "Not allowed to this agency",
        404: "Not found, or not for this agency to see",
        408: "The request did not come in time",
        409: "The procedure does not allow this now, or it is recorded already otherwise",
        412: "The case has moved on",
        413: "The request is too long",
        422: "The request does not hold",
        428: "A precondition is missing",
        429: "Too many requests, streams or waiting requests of one agency",
        503: "The store, the view or the protocol is not there yet",
    }
    implied = {429 for s in statuses if s == 401} | {408 for s in statuses if s == 413}
    return {
        status: {"description": titles[status], "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in sorted({*statuses, *implied})
    }


def install(app: FastAPI) -> None:
    """Answer every error of ``app`` with problem details."""
    app.add_exception_handler(Problem, _answer_problem)
    app.add_exception_handler(Refusal, _answer_refusal)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(KeyMissingError, _answer_key_missing)
    app.add_exception_handler(psycopg.OperationalError, _answer_unavailable)
    app.add_exception_handler(OperationalError, _answer_unavailable)
    app.add_exception_handler(Exception, _answer_unexpected)


def respond(error: Problem) -> JSONResponse:
    """The response that a problem becomes."""
    return JSONResponse(
        error.marshal(),
        status_code=error.status,
        # Here too: an unexpected error is answered outside of every middleware.
        headers={"Cache-Control": "no-store", **ANSWER_HEADERS, **(error.headers or {})},
        media_type=MEDIA_TYPE,
    )


async def _answer_problem(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, Problem):
        raise error
    return respond(error)


async def _answer_refusal(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, Refusal):
        raise error
    status, title = _STATUS[error.ground]
    headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'} if status == 401 else None
    return respond(
        problem(status, title, error.rule, error.message, headers=headers, field=error.field)
    )


async def _answer_invalid(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    # Never the input itself: it may be anything, a name too.
    errors = [
        {"field": ".".join(str(part) for part in e["loc"]), "message": e["msg"]}
        for e in error.errors()
    ]
    title = _STATUS[Ground.INVALID][1]
    detail = "; ".join(f"{e['field']}: {e['message']}" for e in errors)
    return respond(problem(422, title, "request", detail, errors=errors))


async def _answer_http(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    headers = dict(error.headers or {})
    if error.status_code == 400:  # the framework's word for a body that is no UTF-8, or no JSON
        title = _STATUS[Ground.INVALID][1]
        return respond(problem(422, title, "request", "The body cannot be read as what it says."))
    rule = _HTTP_RULES.get(error.status_code, "http")
    return respond(problem(error.status_code, error.detail, rule, headers=headers))


async def _answer_unavailable(_: Request, error: Exception) -> JSONResponse:
    _log.warning("store unavailable", error=type(error).__name__)
    detail = (
        "The store does not answer. Send the same action again, unchanged: "
        "if it was recorded, you get its receipt."
    )
    return respond(
        problem(503, "Not available now", "store-unavailable", detail, {"Retry-After": "1"})
    )


async def _answer_key_missing(_: Request, error: Exception) -> JSONResponse:
    _log.error("a vault's key is missing", what=str(error))
    detail = "The key of what was disclosed on this person is not there; tell the operator."
    return respond(problem(503, "Not available now", "vault-key-missing", detail))


async def _answer_unexpected(_: Request, error: Exception) -> JSONResponse:
    # An error's message may carry what an agency sent; where it arose says enough.
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    where = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    _log.error("unexpected error", error=type(error).__name__, where=where)
    return respond(problem(500, "Something went wrong here", "unexpected"))
