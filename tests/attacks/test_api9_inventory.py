"""API9:2023: what answers is what is described."""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Route

import api.http.routes
from api.http.permissions import AUDIENCE_OF
from api.processes.app import create_app
from api.runtime.settings import Settings
from api.web.errors import PageRoute
from tests.attacks.target import KOSOVO, Target

UNDESCRIBED = {"/v1/openapi.json", "/v1/parcels", "/v1/parcels/{parcel_id}"}
"""The description does not describe itself, nor addresses of earlier programs that only refuse."""
PAGES = (Path(__file__).parents[2] / "docs" / "web.md").read_text(encoding="utf-8")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


def routes() -> Iterator[BaseRoute]:
    """Return the routes of the application and of every file of routes."""
    yield from create_app(Settings(), "").routes
    for module in pkgutil.iter_modules(api.http.routes.__path__, "api.http.routes."):
        yield from importlib.import_module(module.name).router.routes


def test_every_route_is_described() -> None:
    """API9:2023 inventory: no route is left out of the OpenAPI document."""
    described = {
        (method.upper(), path)
        for path, operations in create_app(Settings(), "").openapi()["paths"].items()
        for method in operations
    }
    answering = {
        (method, route.path.replace(":path", ""))
        for route in routes()
        if isinstance(route, Route | APIRoute)
        and not isinstance(route, PageRoute)
        and route.path not in UNDESCRIBED
        for method in route.methods or ()
    }
    assert len(answering) > 15
    assert answering == described


def test_every_route_has_its_audience() -> None:
    """API9:2023 inventory: the table of who may ask has each route, and no other."""
    answering = {
        f"{method} {route.path}"
        for route in create_app(Settings(), "").routes
        if isinstance(route, Route | APIRoute)
        for method in route.methods or ()
        if method != "HEAD"
    }
    of_practice = {one for one in AUDIENCE_OF if " /practice" in one}
    assert AUDIENCE_OF.keys() - of_practice == answering


def test_every_page_is_described() -> None:
    """API9:2023 inventory: pages are no API; the table of them names each, with its method."""
    answering = {
        (method, route.path.replace(":path", ""))
        for route in create_app(Settings(), "").routes
        if isinstance(route, PageRoute)
        for method in route.methods or ()
    }
    described = set(re.findall(r"^\| `(GET|POST) (/\S*)` \|", PAGES, re.MULTILINE))
    assert len(answering) > 3
    assert answering == described


def test_no_method_answers_that_is_not_described(target: Target) -> None:
    """API9:2023 inventory: each path with every method that it does not name."""
    paths = target.ask("/v1/openapi.json", None).json()["paths"]
    filled = {"case_id": target.case, "action_id": target.case, "parcel_id": target.case,
              "duplicate_id": target.case, "proposal": target.case, "upload_id": target.case,
              "document_id": target.case, "webhook": target.case, "member": target.case,
              "draft": target.case,
              "key_id": "k" * 43, "note_id": target.case, "position": 1, "size": 1,
              "kind": "case_opened", "version": 1, "name": "countries",
              "party": "xk", "origin_hash": "0" * 64, "path": "0/000"}  # fmt: skip
    with target.untouched():
        for path, operations in paths.items():
            for method in METHODS:
                as_get = method == "HEAD" and "get" in operations
                if method.lower() not in operations and not as_get:
                    told = target.ask(path.format(**filled), KOSOVO, method=method)
                    assert told.status_code == 405, (method, path)


def test_older_and_inner_names_answer_nothing(target: Target) -> None:
    """API9:2023 inventory: no other version, trailing slash, case or format of a path."""
    with target.untouched():
        for path in ("/v0/cases", "/v2/cases", "/case", "/V1/cases", "/v1/cases.json",
                     "/v1/Cases", "/v1/vault", "/v1/keys", "/v1/internal", "/api/v1/cases",
                     "//v1/cases", "/v1//cases", "/v1/./cases", "/v1;x/cases"):  # fmt: skip
            told = target.raw(
                f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
            )
            assert told.split(b" ")[1] in (b"404", b"400"), path
        for path in ("/v1/cases/", "/health/", "/v1/events/"):
            target.refuses(target.ask(path, None), 404, "no-such-resource")
