"""The mailbox of the ledger node: sealed parcels between countries' nodes, and nobody else.

``/v1/parcels`` is where earlier programs asked. They get a clear answer.
"""

from typing import Annotated, Any, NoReturn
from uuid import UUID

from fastapi import APIRouter, Body, Path, Query, Response
from pydantic import StringConstraints
from rfc9457 import Problem

from api.client.schemas import (
    Acknowledgements,
    MissingParcels,
    OutcomePage,
    ParcelDocument,
    ParcelLeft,
    ParcelPage,
    ParcelsTakenOut,
    ParcelStanding,
    SentDigests,
    SettledOutcomes,
    TakenBack,
)
from api.exchange.parcel_transport import from_document, to_waiting
from api.http.access import TheCaller, TheNode
from api.http.declared_parameters import DeclaredParametersRoute
from api.http.error_handlers import responses
from api.node.node import Node
from api.runtime.problem import problem
from api.runtime.readiness import check_may_record
from ledger.procedure.registry import left_party
from ledger.refusals import Ground, Refusal
from ledger.replication.mailbox import Mailbox
from ledger.system import clock
from ledger.vault.acknowledgements import verify
from ledger.vault.arrived_parcels import PairStanding
from ledger.vault.sealed_parcels import is_of_another

router = APIRouter(prefix="/v1/mailbox", tags=["nodes"], route_class=DeclaredParametersRoute)
earlier = APIRouter(prefix="/v1/parcels", tags=["nodes"])
AfterPlace = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}:[0-9]{1,18}$")]


@router.post("/parcels", status_code=204, responses=responses(401, 403, 409, 413, 422, 503, 507))
def send_parcel(
    node: TheNode, caller: TheCaller, document: Annotated[ParcelDocument, Body()]
) -> Response:
    """Hand in a parcel for another country's node. The same again changes nothing.

    Other bytes under the same id take the place of those that wait.
    """
    check_may_record(node.room.look())
    mailbox = _mailbox(node)
    if document.sender != caller.agency.party:
        raise Refusal(
            Ground.NOT_ALLOWED, "own-parcels", "A node sends its own country's parcels.", "sender"
        )
    known = caller.protocol.party_codes
    if document.recipient == document.sender or document.recipient not in known:
        raise Refusal(
            Ground.INVALID, "parcel", "A parcel goes to another party of the protocol.", "recipient"
        )
    try:
        parcel = from_document(document)
    except ValueError as error:
        raise Refusal(Ground.INVALID, "parcel", "It is not base64.", "sealed") from error
    if is_of_another(parcel, caller.protocol):
        raise Refusal(
            Ground.NOT_ALLOWED, "own-parcels", "This is the id of another party's parcel.", "id"
        )
    mailbox.put(parcel)
    return Response(status_code=204)


@router.get("/parcels", response_model=ParcelPage, responses=responses(401, 403, 409, 422, 503))
def list_parcels(
    node: TheNode,
    caller: TheCaller,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    after: Annotated[
        list[AfterPlace],
        Query(max_length=50, description="The last place that was looked at, as `XK:12`"),
    ] = [],  # noqa: B006
    ids: Annotated[
        list[UUID], Query(alias="id", max_length=100, description="These parcels alone")
    ] = [],  # noqa: B006
) -> ParcelPage:
    """List the parcels that wait for the caller's country, in turn by sender.

    They wait until they are acknowledged, and may be fetched again until then.
    """
    mailbox, party = _mailbox(node), caller.agency.party
    if party in caller.protocol.left_parties:
        raise left_party(caller.agency, caller.protocol)
    if ids:
        return ParcelPage(parcels=tuple(map(to_waiting, mailbox.get(party, ids))), standing=())
    places = {one[:2]: int(one[3:]) for one in after}
    page = mailbox.waiting(party, limit, places)
    return ParcelPage(
        parcels=tuple(map(to_waiting, page.parcels)),
        standing=tuple(map(to_standing, page.standing)),
    )


@router.post(
    "/acknowledgements",
    response_model=ParcelsTakenOut,
    responses=responses(401, 403, 409, 413, 422, 503),
)
def acknowledge_parcels(
    node: TheNode, caller: TheCaller, document: Annotated[Acknowledgements, Body()]
) -> ParcelsTakenOut:
    """Take out parcels that the caller's node signed an acknowledgement for.

    One of a parcel that does not wait, or that has other bytes by now, changes nothing.
    """
    mailbox, party = _mailbox(node), caller.agency.party
    now = clock.now()
    signed = [verify(text, caller.registry, now) for text in document.acknowledgements]
    if any(one.content.recipient != party for one in signed):
        raise Refusal(
            Ground.NOT_ALLOWED,
            "own-parcels",
            "A node acknowledges its own country's parcels.",
            "acknowledgements",
        )
    return ParcelsTakenOut(parcels=mailbox.acknowledge(party, signed))


@router.get("/outcomes", response_model=OutcomePage, responses=responses(401, 403, 409, 422, 503))
def list_parcel_outcomes(
    node: TheNode, caller: TheCaller, limit: Annotated[int, Query(ge=1, le=100)] = 100
) -> OutcomePage:
    """List the outcomes of the parcels of the caller's country, until it settles them."""
    left = _mailbox(node).outcomes(caller.agency.party, limit)
    return OutcomePage(
        outcomes=tuple(
            ParcelLeft(
                place=one.seq,
                parcel=one.parcel_id,
                outcome=one.outcome,
                acknowledgement=one.acknowledgement,
            )
            for one in left
        )
    )


@router.post(
    "/outcomes/settled", status_code=204, responses=responses(401, 403, 409, 413, 422, 503)
)
def settle_outcomes(
    node: TheNode, caller: TheCaller, document: Annotated[SettledOutcomes, Body()]
) -> Response:
    """Forget outcomes that the caller's node has written down."""
    _mailbox(node).settle(caller.agency.party, document.places)
    return Response(status_code=204)


@router.post(
    "/missing", response_model=MissingParcels, responses=responses(401, 403, 409, 413, 422, 503)
)
def missing_parcels(
    node: TheNode, caller: TheCaller, document: Annotated[SentDigests, Body()]
) -> MissingParcels:
    """Return the ids of the caller's country's parcels that neither wait nor have an outcome."""
    sent = {one.parcel: bytes.fromhex(one.digest) for one in document.sent}
    missing = _mailbox(node).missing(caller.agency.party, sent)
    return MissingParcels(missing=tuple(sorted(missing)))


@router.post(
    "/parcels/taken-back",
    response_model=ParcelsTakenOut,
    responses=responses(401, 403, 409, 413, 422, 503),
)
def take_back_parcels(
    node: TheNode, caller: TheCaller, document: Annotated[TakenBack, Body()]
) -> ParcelsTakenOut:
    """Remove parcels of the caller's country that wait, such as for a country that left the case.

    A parcel that was acknowledged or has expired stays as it is.
    """
    taken = _mailbox(node).take_back(caller.agency.party, document.parcels)
    return ParcelsTakenOut(parcels=taken)


_GONE: dict[str, Any] = {
    "status_code": 410,
    "include_in_schema": False,
    "response_class": Response,
    "response_model": None,
}


@earlier.post("", **_GONE)
def earlier_sending() -> NoReturn:
    """Earlier programs handed in parcels here."""
    raise _outdated()


@earlier.get("", **_GONE)
def earlier_fetching() -> NoReturn:
    """Earlier programs fetched parcels here."""
    raise _outdated()


@earlier.delete("/{parcel_id}", **_GONE)
def earlier_removal(parcel_id: Annotated[UUID, Path(description="The parcel's id")]) -> NoReturn:  # noqa: ARG001
    """Earlier programs removed parcels here."""
    raise _outdated()


def _outdated() -> Problem:
    return problem(
        410,
        "The asking node's program is too old",
        "outdated-node",
        "This ledger node exchanges parcels by acknowledgements, at /v1/mailbox. Update the program"
        " of your country's node; what waits here is kept for it.",
    )


def to_standing(one: PairStanding) -> ParcelStanding:
    """Return the document of the parcels of one country that wait for another."""
    return ParcelStanding(
        sender=one.sender,
        recipient=one.recipient,
        parcels=one.parcels,
        oldest_at=one.oldest_at,
    )


def _mailbox(node: Node) -> Mailbox:
    if not node.leads:
        raise problem(
            503,
            "Not available now",
            "not-the-ledger-node",
            "This is a country's node; the mailbox is at the ledger node.",
        )
    return node.mailbox
