"""The mailbox of the ledger node: sealed parcels between countries' nodes, and nobody else."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Path, Query, Response

from api.access import Caller, TheCaller, TheNode
from api.declared_parameters import DeclaredParametersRoute
from api.documents import ParcelDocument, ParcelPage
from api.mailing import from_document, to_document
from api.node import Node
from api.problems import responses
from api.readiness import check_may_record
from ledger.mailbox import Mailbox
from ledger.protocol import NODE
from ledger.refusals import Ground, Refusal
from ledger.vault.parcels import is_of_another

router = APIRouter(prefix="/v1/parcels", tags=["nodes"], route_class=DeclaredParametersRoute)


@router.post("", status_code=204, responses=responses(401, 403, 409, 413, 422, 503, 507))
def send_parcel(
    node: TheNode, caller: TheCaller, document: Annotated[ParcelDocument, Body()]
) -> Response:
    """Hand in a parcel for another country's node. The same again changes nothing."""
    check_may_record(node.room.look())
    mailbox = _mailbox(node, caller)
    if document.sender != caller.agency.party:
        raise Refusal(
            Ground.NOT_ALLOWED, "own-parcels", "A node sends its own country's parcels.", "sender"
        )
    known = caller.registry.protocol.party_codes
    if document.recipient == document.sender or document.recipient not in known:
        raise Refusal(
            Ground.INVALID, "parcel", "A parcel goes to another party of the protocol.", "recipient"
        )
    try:
        parcel = from_document(document)
    except ValueError as error:
        raise Refusal(Ground.INVALID, "parcel", "It is not base64.", "sealed") from error
    if is_of_another(parcel, caller.registry.protocol):
        raise Refusal(
            Ground.NOT_ALLOWED, "own-parcels", "This is the id of another party's parcel.", "id"
        )
    mailbox.put(parcel)
    return Response(status_code=204)


@router.get("", response_model=ParcelPage, responses=responses(401, 403, 409, 422, 503))
def list_parcels(
    node: TheNode, caller: TheCaller, limit: Annotated[int, Query(ge=1, le=100)] = 20
) -> ParcelPage:
    """The parcels that wait for the caller's country, the first one first."""
    waiting = _mailbox(node, caller).waiting(caller.agency.party, limit)
    return ParcelPage(parcels=tuple(map(to_document, waiting)))


@router.delete("/{parcel_id}", status_code=204, responses=responses(401, 403, 404, 409, 422, 503))
def remove_parcel(
    node: TheNode,
    caller: TheCaller,
    parcel_id: Annotated[UUID, Path(description="The parcel's id")],
) -> Response:
    """Remove a parcel that was taken in."""
    _mailbox(node, caller).remove(caller.agency.party, [parcel_id])
    return Response(status_code=204)


def _mailbox(node: Node, caller: Caller) -> Mailbox:
    if caller.agency.role != NODE:
        raise Refusal(Ground.NOT_ALLOWED, "nodes-only", "Parcels are for countries' nodes.")
    return node.mailbox
