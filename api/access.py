"""Who is asking, and what that lets them see. Denied unless said otherwise here."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, cast

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.node import Node
from ledger.protocol import COORDINATOR, NODE, OVERSIGHT, Agency
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
    key_id: str
    registry: Registry

    def may_go_on(self, registry: Registry) -> bool:
        """Whether the key that an answer began with still counts, by the registry of now."""
        try:
            registry.signing_key(self.key_id, self.agency.id, datetime.now(UTC))
        except Refusal:
            return False
        return True

    @property
    def viewer(self) -> str:
        """Whose view of a case this caller reads: its country's, or oversight's of all.

        Raises ``Refusal`` (``nodes-copy-only``) for a node, which is nobody's reader.
        """
        if self.agency.role == NODE:
            raise Refusal(
                Ground.NOT_ALLOWED, "nodes-copy-only", "A node copies events; people read cases."
            )
        return OVERSIGHT_VIEWER if self.agency.role == OVERSIGHT else self.agency.party

    @property
    def sees_every_event(self) -> bool:
        """Who follows the whole ledger, which holds no disclosure."""
        return self.agency.role in (COORDINATOR, OVERSIGHT, NODE)


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
    agency, key_id = node.assertions.authenticate(credentials.credentials, registry)
    if not node.serves(agency):
        raise Refusal(
            Ground.NOT_ALLOWED,
            "another-countrys-node",
            "This is another country's node; ask your own.",
        )
    if not node.asked.count(agency.id):
        raise node.asked.too_many(agency.id)
    return Caller(agency, key_id, registry)


TheNode = Annotated[Node, Depends(the_node)]
TheCaller = Annotated[Caller, Depends(caller)]
