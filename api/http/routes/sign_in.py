"""People signing in, at their agency's OpenID provider or by its key, and out again."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import structlog
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict
from rfc9457 import Problem
from starlette.responses import RedirectResponse

from api.authentication.sessions import LIFETIME, SIGN_IN_LIFETIME
from api.authentication.sign_in import (
    CALLBACK,
    AuthorizationResponse,
    ProviderUnavailableError,
    SignIn,
)
from api.http.access import (
    SESSION_COOKIE,
    ByAssertion,
    TheCaller,
    TheNode,
    check_same_origin,
    cookie_name,
    over_https,
    person_agency,
    session_secret,
)
from api.http.costly import Costly
from api.http.error_handlers import responses
from api.http.parameters import ReturnTo
from api.node.node import Node
from api.runtime.problem import problem
from api.runtime.rate_limit import Rate, asking_network
from ledger.system import clock

PENDING_COOKIE = "case-ledger-sign-in"
_NOT_KEPT = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
_REDIRECT: dict[int | str, dict[str, Any]] = {
    303: {"description": "To the provider, or back from it"}
}
_log = structlog.get_logger(__name__)


def configured(node: TheNode) -> SignIn:
    """Return this node's sign-in.

    Raises a problem (404) if no provider is configured.
    """
    if node.sign_in is None:
        raise problem(
            404,
            "Not found",
            "sign-in-not-configured",
            "People do not sign in at this node: no OpenID provider is configured.",
        )
    return node.sign_in


router = APIRouter(tags=["sign-in"])
# It is asked before anything else is.
_BY_PROVIDER = [Depends(configured)]
TheSignIn = Annotated[SignIn, Depends(configured)]
FromProvider = Annotated[str | None, Query(max_length=4096)]


class Me(BaseModel):
    """The signed-in person."""

    model_config = ConfigDict(frozen=True)

    agency: str
    person: str | None
    """A pseudonym, the same each time; none for an agency's system."""
    member: UUID | None = None
    """The member of the agency; none for a system, and for a key that no member has."""
    until: datetime | None
    """When the session ends at the latest; it ends earlier when it is not used."""


@router.get(
    "/auth/login",
    dependencies=_BY_PROVIDER,
    status_code=303,
    response_class=RedirectResponse,
    responses={**_REDIRECT, **responses(404, 422, 429, 503)},
)
async def log_in(
    request: Request, node: TheNode, sign_in: TheSignIn, return_to: ReturnTo = "/auth/me"
) -> Response:
    """Send a browser to the provider, to come back signed in."""
    address = asking_network(request.scope)
    signing_in: Rate = request.app.state.signing_in
    signing_in.check(address)
    setting_out: Costly = request.app.state.setting_out
    try:
        out = await setting_out.run(address, sign_in.begin, return_to)
    except ProviderUnavailableError as error:
        raise _unavailable(error) from None
    answer = RedirectResponse(out.url, 303, _NOT_KEPT)
    lifetime = int(SIGN_IN_LIFETIME.total_seconds())
    _give_cookie(node, answer, PENDING_COOKIE, out.secret, lifetime)
    return answer


@router.get(
    CALLBACK,
    dependencies=_BY_PROVIDER,
    status_code=303,
    response_class=RedirectResponse,
    responses={**_REDIRECT, **responses(401, 403, 404, 409, 422, 429, 503)},
)
async def come_back(
    request: Request,
    node: TheNode,
    sign_in: TheSignIn,
    code: FromProvider = None,
    state: FromProvider = None,
    error: FromProvider = None,
    iss: FromProvider = None,
) -> Response:
    """Take the provider's answer: a session begins, and one that this browser had ends."""
    coming_back: Costly = request.app.state.coming_back
    answer = AuthorizationResponse(code, state, error, iss)
    address = asking_network(request.scope)
    return await coming_back.run(address, _come_back, request, node, sign_in, answer)


def _come_back(
    request: Request, node: Node, sign_in: SignIn, brought: AuthorizationResponse
) -> Response:
    registry = node.ledger.adopted()
    held = request.cookies.get(cookie_name(node, PENDING_COOKIE))
    try:
        identity, return_to = sign_in.finish(held, brought)
    except ProviderUnavailableError as failure:
        raise _unavailable(failure) from None
    agency = person_agency(node, registry, identity.agency)
    before = session_secret(node, request)
    if before is not None:
        node.sessions.end(before)
    member = node.members.signed_in(agency.party, agency.id, identity.person)
    secret = node.sessions.begin(agency.id, identity.person, member=member.id)
    # The whole address, so that a path can only ever be one of this node's.
    answer = RedirectResponse(sign_in.relying.public_url + return_to, 303, _NOT_KEPT)
    _give_cookie(node, answer, SESSION_COOKIE, secret, None)
    _take_cookie(node, answer, PENDING_COOKIE)
    return answer


@router.post(
    "/auth/key", status_code=201, response_model=Me, responses=responses(401, 403, 409, 503)
)
def sign_in_by_key(request: Request, node: TheNode, caller: ByAssertion, response: Response) -> Me:
    """Begin a person's session with an assertion by the agency's key, from a page of this node.

    It takes the place of the session that the browser had. It ends when the key is revoked or
    expires, as well as in the ways in which every session ends.
    """
    check_same_origin(node, request)
    agency = person_agency(node, caller.registry, caller.agency.id)
    before = session_secret(node, request)
    if before is not None:
        node.sessions.end(before)
    key_id = caller.key_id or ""
    secret = node.sessions.begin(agency.id, key_id, key_id, caller.member)
    response.headers.update(_NOT_KEPT)
    _give_cookie(node, response, SESSION_COOKIE, secret, None)
    until = clock.now() + LIFETIME
    return Me(agency=agency.id, person=key_id, member=caller.member, until=until)


@router.post("/auth/logout", status_code=204, responses=responses(403, 503))
def log_out(request: Request, node: TheNode) -> Response:
    """End the session, if there is one. The provider's own goes on."""
    check_same_origin(node, request)
    secret = session_secret(node, request)
    if secret is not None:
        node.sessions.end(secret)
    answer = Response(status_code=204, headers=_NOT_KEPT)
    _take_cookie(node, answer, SESSION_COOKIE)
    return answer


@router.get("/auth/me", response_model=Me, responses=responses(401, 403, 409, 503))
def who_am_i(caller: TheCaller, response: Response) -> Me:
    """Return the caller's identity as this node sees it."""
    response.headers.update(_NOT_KEPT)
    until = caller.session.until if caller.session is not None else None
    return Me(agency=caller.agency.id, person=caller.person, member=caller.member, until=until)


def _unavailable(error: ProviderUnavailableError) -> Problem:
    _log.warning("the OpenID provider does not answer", error=str(error))
    return problem(
        503,
        "Not available now",
        "provider-unavailable",
        "The OpenID provider does not answer as it should; try again.",
        {"Retry-After": "5"},
    )


def _give_cookie(node: Node, answer: Response, name: str, value: str, seconds: int | None) -> None:
    """Give a cookie for some seconds, or, for None, until the browser is closed."""
    # Lax, since a browser comes here from the provider's site: Strict would leave it out.
    answer.set_cookie(
        cookie_name(node, name),
        value,
        max_age=seconds,
        path="/",
        secure=over_https(node),
        httponly=True,
        samesite="lax",
    )


def _take_cookie(node: Node, answer: Response, name: str) -> None:
    answer.delete_cookie(
        cookie_name(node, name), path="/", secure=over_https(node), httponly=True, samesite="lax"
    )
