"""Coming in: the first page, signing in, the language, and the files that pages need."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from starlette.responses import HTMLResponse, RedirectResponse

from api.http.access import TheNode, check_same_origin, over_https, session_secret
from api.http.error_handlers import WORKER_POLICY
from api.http.parameters import ReturnTo, is_own_path
from api.node.node import Node
from api.paper.languages.found import languages, offered
from api.web.assets import FOR_EVER, PREFIX, assets
from api.web.errors import PageRoute
from api.web.languages import COOKIE
from api.web.rendering import PAGE_HEADERS, has_worker, page
from api.web.sent_form import form_values
from api.web.shell import manifest, offline_page, worker
from ledger.refusals import Ground, Refusal
from ledger.system import clock

router = APIRouter(include_in_schema=False, route_class=PageRoute)
_YEAR = 365 * 24 * 3600
Code = Annotated[str, Path(max_length=20)]


@router.get("/")
def first(request: Request, node: TheNode) -> Response:
    """Redirect to the caller's work, or to the sign-in."""
    signed_in = session_secret(node, request) is not None
    return RedirectResponse("/today" if signed_in else "/sign-in", 303, dict(PAGE_HEADERS))


@router.get("/sign-in")
def sign_in(request: Request, node: TheNode, return_to: ReturnTo = "/today") -> Response:
    """Sign in at the agency's provider, or by its key in this browser."""
    protocol = node.ledger.adopted().protocol_today(clock.now())
    request.state.protocol = protocol
    agencies = [a for a in protocol.working_agencies if node.serves_people(a)]
    parties = [p for p in protocol.parties if any(a.party == p.code for a in agencies)]
    return page(
        request,
        "sign_in.html",
        None,
        return_to=return_to,
        audience=node.settings.audience,
        protocol=protocol.id,
        by_provider=node.sign_in is not None,
        parties=[(p, [a for a in agencies if a.party == p.code]) for p in parties],
    )


@router.get("/lost-key")
def lost_key(request: Request) -> Response:
    """Say how a person gets another key, for anyone: a person without a key cannot sign in."""
    return page(request, "lost_key.html", None)


@router.post("/language")
async def choose_language(request: Request, node: TheNode) -> Response:
    """Remember a language in this browser, and go back."""
    check_same_origin(node, request)
    form = await form_values(request)
    chosen, back = form.get("language", [""])[0], form.get("return_to", ["/"])[0]
    if chosen not in languages() or not is_own_path(back):
        raise Refusal(Ground.INVALID, "request", "There is no such language here.", "language")
    answer = RedirectResponse(back, 303, dict(PAGE_HEADERS))
    _remember(node, answer, chosen)
    return answer


def _remember(node: Node, answer: Response, language: str) -> None:
    answer.set_cookie(
        COOKIE, language, max_age=_YEAR, path="/", secure=over_https(node), httponly=True,
        samesite="lax",
    )  # fmt: skip


@router.get("/favicon.ico")
def icon() -> Response:
    """Return the icon, which browsers ask for here beside a file such as a PDF."""
    return RedirectResponse(assets().url("icon.svg"), 303, dict(PAGE_HEADERS))


@router.get(PREFIX + "/{version}/{name:path}")
def static_file(
    version: Annotated[str, Path(max_length=64)], name: Annotated[str, Path(max_length=200)]
) -> Response:
    """Return a file that pages need, of this version of the program."""
    found = assets().find(version, name)
    if found is None:
        raise Refusal(Ground.UNKNOWN, "no-such-resource", "There is no such file.")
    headers = {"Cache-Control": FOR_EVER}
    return Response(found.content, media_type=found.media_type, headers=headers)


@router.get("/manifest/{code}.webmanifest")
def app_manifest(code: Code) -> Response:
    """Return what a browser installs the pages with, in a language."""
    headers = {"Cache-Control": "no-cache"}
    media_type = "application/manifest+json"
    return Response(manifest(_known(code)), headers=headers, media_type=media_type)


@router.get("/offline/{code}")
def away(code: Code) -> HTMLResponse:
    """Return the page that a browser shows while this node cannot be reached, in a language."""
    return HTMLResponse(offline_page(_known(code)), headers=dict(PAGE_HEADERS))


@router.get("/service-worker.js")
def service_worker(request: Request, node: TheNode) -> Response:
    """Return the worker of the pages; one that removes itself where none is wanted."""
    codes = [one.code for one in offered(node.ledger.adopted().protocol_today(clock.now()))]
    script = worker(tuple(codes) if has_worker(request) else ())
    headers = {"Cache-Control": "no-cache", "Content-Security-Policy": WORKER_POLICY}
    return Response(script, headers=headers, media_type="text/javascript; charset=utf-8")


def _known(code: str) -> str:
    """Return the code of a language that this node finds. Raises ``Refusal`` for another."""
    if code not in languages():
        raise Refusal(Ground.UNKNOWN, "no-such-resource", "There is no such language here.")
    return code
