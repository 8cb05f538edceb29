"""Who is asking, and what that lets them see. Denied unless said otherwise here."""

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.node import Node
from ledger.protocol import COORDINATOR, OVERSIGHT, Agency
from ledger.refusals import Ground, Refusal
from ledger.registry import Registry
from projections.case_view import OVERSIGHT_VIEWER

bearer = HTTPBearer(
    bearerFormat="JWT",
    scheme_name="agency_assertion",
    description="A JWT of at most five minutes, signed with the agency's key, good for one request",
    auto_error=False,
)


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated agency."""

    agency: Agency
    registry: Registry

    @property
    def viewer(self) -> str:
        """Whose view of a case this caller reads: its country's, or oversight's of all."""
        return OVERSIGHT_VIEWER if self.agency.role == OVERSIGHT else self.agency.party

    @property
    def sees_every_event(self) -> bool:
        """Coordinators and oversight follow the whole ledger, which holds no disclosure."""
        return self.agency.role in (COORDINATOR, OVERSIGHT)


def the_node(request: Request) -> Node:
    """The node that this application serves."""
    return cast("Node", request.app.state.node)


def caller(
    node: Annotated[Node, Depends(the_node)],
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
) -> Caller:
    """Authenticate the request. Raises ``Refusal``."""
    registry = node.ledger.adopted()
    if credentials is None:
        raise Refusal(
            Ground.UNAUTHENTIC,
            "assertion-missing",
            "Send an assertion signed with the agency's key as a bearer token.",
            "Authorization",
        )
    return Caller(node.assertions.authenticate(credentials.credentials, registry), registry)


TheNode = Annotated[Node, Depends(the_node)]
TheCaller = Annotated[Caller, Depends(caller)]
