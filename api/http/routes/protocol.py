"""The protocol, its agencies and their keys, and the acts that change these."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from api.client.schemas import (
    AbsenceReport,
    AgencyProposalDocument,
    AgencyWithKeys,
    AmendmentDocument,
    ContactPointDocument,
    KeyProposalDocument,
    PartyDocument,
    ProtocolDocument,
    ProtocolVersionDocument,
    Receipt,
    TrailPage,
)
from api.http.access import TheCaller, TheNode
from api.http.contact_documents import contact_documents
from api.http.declared_parameters import DeclaredParametersRoute
from api.http.documents import (
    agency_document,
    agency_proposal_document,
    amendment_document,
    party_documents,
    version_document,
)
from api.http.error_handlers import responses
from api.http.parameters import AtLeast, Position, SignedActionBody, wait_for
from api.http.routes.outbox import ACCEPTED, answer
from api.services.absences import absence_report
from ledger.refusals import Ground, Refusal

router = APIRouter(prefix="/v1", tags=["protocol"], route_class=DeclaredParametersRoute)


@router.get("/protocol", response_model=ProtocolDocument, responses=responses(401, 403, 409, 503))
def get_protocol(caller: TheCaller) -> ProtocolDocument:
    """Return the protocol as data: parties, roles, and the rules of each action."""
    protocol = caller.protocol
    return ProtocolDocument(
        id=protocol.id,
        title=protocol.title,
        version=protocol.version,
        ledger_id=protocol.ledger_id,
        parties=protocol.parties,
        roles=protocol.roles,
        rules={k: r.model_dump(mode="json") for k, r in protocol.actions.items()},
    )


@router.get(
    "/protocol/versions",
    response_model=list[ProtocolVersionDocument],
    responses=responses(401, 403, 409, 503),
)
def get_versions(caller: TheCaller) -> list[ProtocolVersionDocument]:
    """Return every version of the protocol that the parties adopted, with its text."""
    agreement = caller.registry.agreement
    in_force = agreement.next_version_at(caller.asked_at)
    return [version_document(one, is_in_force=one is in_force) for one in agreement.versions]


@router.get(
    "/protocol/parties",
    response_model=list[PartyDocument],
    responses=responses(401, 403, 409, 503),
)
def get_parties(caller: TheCaller) -> list[PartyDocument]:
    """Return every party: since when it is one, and from which day on it is none any more."""
    return [*party_documents(caller.registry.agreement, caller.asked_at)]


@router.get(
    "/protocol/amendments",
    response_model=list[AmendmentDocument],
    responses=responses(401, 403, 409, 503),
)
def get_amendments(caller: TheCaller) -> list[AmendmentDocument]:
    """Return every text that was proposed, and each party's answer to it."""
    return [amendment_document(one) for one in caller.registry.amendments]


@router.get(
    "/agencies",
    response_model=list[AgencyWithKeys],
    response_model_exclude_defaults=True,
    responses=responses(401, 403, 409, 503),
)
def get_agencies(caller: TheCaller) -> list[AgencyWithKeys]:
    """Return every agency, retired ones too, with its keys and its country's changes.

    A part that an agency does not have is left out.
    """
    protocol = caller.protocol
    return [agency_document(one, caller.registry, protocol) for one in protocol.agencies]


@router.get(
    "/agency-proposals",
    response_model=list[AgencyProposalDocument],
    responses=responses(401, 403, 409, 503),
)
def get_agency_proposals(caller: TheCaller) -> list[AgencyProposalDocument]:
    """Return oversight bodies to be registered or retired, once another party has confirmed it."""
    proposed = caller.registry.proposed_agencies.values()
    return [agency_proposal_document(one, caller.agency) for one in proposed]


@router.get(
    "/contact-points",
    response_model=list[ContactPointDocument],
    responses=responses(401, 403, 409, 503),
)
def get_contact_points(node: TheNode, caller: TheCaller) -> list[ContactPointDocument]:
    """Return every contact point and deputy that the parties named, with those that ended.

    Coordinators and the offices that are contact points also get the card of each: the person who
    holds the function.
    """
    return contact_documents(node, caller)


@router.get(
    "/key-proposals",
    response_model=list[KeyProposalDocument],
    responses=responses(401, 403, 409, 503),
)
def get_key_proposals(caller: TheCaller) -> list[KeyProposalDocument]:
    """Return the changes of keys that wait until another party has confirmed or declined them."""
    return [
        KeyProposalDocument(
            id=one.action,
            change=one.change,
            key_id=one.key.id,
            agency=one.key.agency,
            by=one.by,
            compromised_since=one.compromised_since,
            valid_from=one.key.valid_from,
            valid_until=one.key.valid_until,
            yours=one.may_be_confirmed_by(caller.agency),
        )
        for one in caller.registry.proposals.values()
    ]


@router.get(
    "/parties/{party}/absence",
    response_model=AbsenceReport,
    responses=responses(401, 403, 404, 409, 422, 503),
)
def get_absence(
    party: Annotated[str, Path(pattern="^[A-Z]{2}$", description="The party's code")],
    node: TheNode,
    caller: TheCaller,
) -> AbsenceReport:
    """Return a party's announced absences, and the decisions and publications without that party.

    For coordinators, oversight bodies and nodes. The published sizes are those that this node has.
    """
    if party not in caller.registry.directory.party_codes:  # also of a party that left
        raise Refusal(Ground.UNKNOWN, "unknown-party", "This is no party of the protocol.", "party")
    return absence_report(node.database, node.policy_at, caller.registry, party)


@router.post(
    "/protocol/actions",
    status_code=201,
    response_model=Receipt,
    responses={**ACCEPTED, **responses(401, 403, 404, 409, 413, 422, 503, 507)},
)
def append_to_registry(sd_jwt: SignedActionBody, node: TheNode, caller: TheCaller) -> Response:
    """Register or revoke an agency's key, amend the protocol, or adopt a policy of the log.

    A country's node answers 202 while the ledger node is away, as for an action on a case.
    """
    return answer(node, sd_jwt, node.append_service.on_protocol(caller.agency, sd_jwt))


@router.get(
    "/protocol/trail", response_model=TrailPage, responses=responses(401, 403, 409, 422, 503)
)
def get_protocol_trail(
    node: TheNode, caller: TheCaller, after: Position = 0, at_least: AtLeast = None
) -> TrailPage:
    """Return the audit trail of the protocol itself: its adoption, and every key since."""
    wait_for(node, "audit_trail", at_least)
    limit = 200
    entries = node.views.trail(caller.registry.ledger_id, after=after, limit=limit)
    more = entries[-1].version if len(entries) == limit else None
    return TrailPage(entries=tuple(entries), next=more)
