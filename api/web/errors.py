"""Refusals as pages, for browsers; every other client gets problem details."""

from urllib.parse import quote

from fastapi import Request, Response
from rfc9457 import Problem
from starlette.responses import RedirectResponse

from api.http.declared_parameters import DeclaredParametersRoute
from api.http.request_id import request_id
from api.web.rendering import PAGE_HEADERS, page

_LONGEST = 500


class PageRoute(DeclaredParametersRoute):
    """A route whose answers are for people."""


def as_page(request: Request, problem: Problem) -> Response | None:
    """Return the page that shows a problem, or ``None`` if no page was asked for.

    A browser that is not signed in is sent to the sign-in, and back again.
    """
    if not _for_a_person(request):
        return None
    status = problem.status
    reading = request.method in ("GET", "HEAD")
    if status == 401 and reading and isinstance(request.scope.get("route"), PageRoute):
        back = quote(_asked(request), safe="/")
        return RedirectResponse(f"/sign-in?return_to={back}", 303, dict(PAGE_HEADERS))
    rule = str(problem.extras.get("rule", "")) if hasattr(problem, "extras") else ""
    if rule == "figures-only" and request.url.path == "/today":  # where everybody's sign-in leads
        return RedirectResponse("/charts", 303, dict(PAGE_HEADERS))
    named = {"status_code": status, "rule": rule, "reference": request_id()}
    answer = page(request, "problem.html", None, status=status, **named)
    for name, value in (problem.headers or {}).items():
        answer.headers[name] = value
    return answer


def _for_a_person(request: Request) -> bool:
    route = request.scope.get("route")
    if route is not None:
        return isinstance(route, PageRoute)
    return request.method == "GET" and "text/html" in request.headers.get("accept", "")


def _asked(request: Request) -> str:
    """Return the requested path, with its query if that is not too long to keep."""
    path, query = request.url.path, quote(request.url.query, safe="=&%")
    return f"{path}?{query}" if query and len(path) + len(query) < _LONGEST else path
