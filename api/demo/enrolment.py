"""One-time links by which a browser gets a registered key of a role, in the demo and nowhere else.

The demo's process holds the coordinators' keys, so that it can register what a page makes. A node
that is served has neither: there a coordinator registers a key, who compared its thumbprint.
"""

import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

from fastapi import APIRouter, Body, FastAPI, Path, Request, Response

from api.demo.story import STORY
from api.http.access import TheNode, check_same_origin
from api.web.errors import PageRoute
from api.web.rendering import page
from ledger.procedure.protocol import COORDINATOR, NODE, Protocol
from ledger.refusals import Ground, Refusal
from ledger.system import clock
from ledger.vocabulary.registration import KeyRequest

Register = Callable[[KeyRequest], None]
Token = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{22}$")]


class Enrolment:
    """Links for the agencies of a protocol, each good for one key."""

    def __init__(self, protocol: Protocol) -> None:
        self._agencies = {secrets.token_urlsafe(16): a for a in enrolled(protocol)}
        self._lock = threading.Lock()
        self._register: Register | None = None

    def links(self, url: str) -> Mapping[str, str]:
        """Return the link with which each agency's person begins, by the agency's id."""
        return {agency: f"{url}/demo/enrol/{token}" for token, agency in self._agencies.items()}

    def open(self, register: Register) -> None:
        """Open the enrolment: from now on, ``register`` registers the keys."""
        self._register = register

    def add_to(self, app: FastAPI) -> None:
        """Serve the links."""
        router = APIRouter(include_in_schema=False, route_class=PageRoute)

        @router.get("/demo/enrol/{token}")
        def show(request: Request, node: TheNode, token: Token) -> Response:
            agency = self._agency(token)
            protocol = node.ledger.adopted().protocol_today(clock.now())
            request.state.protocol = protocol
            return page(
                request,
                "enrol.html",
                None,
                agency=agency,
                name=protocol.agencies_by_id[agency].name,
                audience=node.settings.audience,
                protocol=protocol.id,
            )

        @router.post("/demo/enrol/{token}")
        def enrol(
            request: Request, node: TheNode, token: Token, asked: Annotated[KeyRequest, Body()]
        ) -> Response:
            check_same_origin(node, request)
            if asked.agency != self._agency(token):
                raise Refusal(Ground.INVALID, "request", "The key is of another agency.", "agency")
            self._take(token)
            if self._register is not None:
                self._register(asked)
            return Response(status_code=204)

        app.router.routes.extend(router.routes)

    def _agency(self, token: str) -> str:
        agency = self._agencies.get(token)
        if agency is None:
            raise _unknown()
        return agency

    def _take(self, token: str) -> str:
        with self._lock:
            agency = self._agencies.pop(token, None)
        if agency is None:
            raise _unknown()
        return agency


def enrolled(protocol: Protocol) -> Sequence[str]:
    """Return the agencies that have a link: one of each role, and every country's coordinators.

    Coordinators meet each other, so both sides of a meeting can be tried.
    """
    coordinators = [a.id for a in protocol.agencies if a.role == COORDINATOR]
    return tuple(dict.fromkeys((*coordinators, *of_each_role(protocol).values())))


def of_each_role(protocol: Protocol) -> Mapping[str, str]:
    """Return an agency of each role that people have, by role: one of the story, if any."""
    told = [step.agency for step in STORY]
    known = sorted(protocol.agencies, key=lambda a: told.index(a.id) if a.id in told else len(told))
    found: dict[str, str] = {}
    for agency in known:
        if agency.role != NODE:
            found.setdefault(agency.role, agency.id)
    return {role: found[role] for role in protocol.roles if role in found}


def _unknown() -> Refusal:
    return Refusal(Ground.UNKNOWN, "no-such-resource", "There is no such link, or it was used.")
