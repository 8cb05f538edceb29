"""The members of agencies: for their own agency, and for the coordinator of their country."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Path, Query, Request

from api.authentication.members import INVITATION_LIFETIME, invitation_over
from api.client.schemas.assignments import (
    AssignmentDocument,
    AssignmentInput,
    HandedOver,
    HandOver,
)
from api.client.schemas.members import (
    AskedKey,
    Invitation,
    InvitedKey,
    InvitedMember,
    MemberChange,
    MemberDocument,
    MemberHistory,
    MemberInput,
    NewMember,
    OpenedInvitation,
)
from api.http import assigning, member_documents
from api.http.access import Caller, TheCaller, TheNode, check_same_origin
from api.http.declared_parameters import DeclaredParametersRoute
from api.http.error_handlers import responses
from api.http.parameters import CaseId
from api.node.node import Node
from api.runtime.rate_limit import Rate, asking_network
from api.runtime.readiness import check_may_record
from ledger.refusals import Ground, Refusal
from ledger.system import clock
from ledger.vault.assignments import Assignment
from ledger.vocabulary.registration import KeyRequest
from ledger.vocabulary.types import AgencyId

router = APIRouter(prefix="/v1", tags=["members"], route_class=DeclaredParametersRoute)
MemberPath = Annotated[UUID, Path(description="The member's id")]
_CHANGING = responses(400, 401, 403, 404, 409, 413, 422, 503, 507)


@router.get(
    "/members", response_model=list[MemberDocument], responses=responses(401, 403, 409, 422, 503)
)
def list_members(
    node: TheNode,
    caller: TheCaller,
    agency: Annotated[AgencyId | None, Query(description="Of one agency alone")] = None,
) -> list[MemberDocument]:
    """List the members of the caller's agency; to a coordinator, of its country's agencies.

    Those who left are among them, with ``disabled_at``.
    """
    seen = [one.id for one in member_documents.agencies_seen(caller)]
    wanted = [one for one in seen if agency in (None, one)]
    found = node.members.of_agencies(wanted)
    return member_documents.member_documents(found, caller.registry, clock.now())


@router.post("/members", status_code=201, response_model=MemberDocument, responses=_CHANGING)
def add_member(
    node: TheNode, caller: TheCaller, new: Annotated[NewMember, Body()]
) -> MemberDocument:
    """Add a member to an agency, as its head or as the coordinator of its country."""
    agency = next(
        (one for one in member_documents.agencies_seen(caller) if one.id == new.agency), None
    )
    if agency is None:
        raise Refusal(
            Ground.NOT_ALLOWED,
            "heads-and-coordinators",
            "The head of the agency or its country's coordinator does this.",
            "agency",
        )
    member_documents.check_may_add(node, caller, agency)
    check_may_record(node.room.look())
    added = node.members.add(
        agency.party,
        agency.id,
        member_documents.details(new),
        member_documents.manager(caller),
        is_head=new.is_head,
    )
    return _document(caller, node, added.id)


@router.get(
    "/asked-keys", response_model=list[AskedKey], responses=responses(401, 403, 409, 422, 503)
)
def list_asked_keys(node: TheNode, caller: TheCaller) -> list[AskedKey]:
    """List the keys that members' browsers made and that wait to be registered.

    For the coordinator of the country, who registers them by ``key_registered``.
    """
    return [
        AskedKey(key_id=one.key_id, member=one.member, request=one.request, asked_at=one.asked_at)
        for one in node.members.asked([one.id for one in member_documents.agencies_seen(caller)])
        if one.key_id not in caller.registry.keys
    ]


@router.delete(
    "/asked-keys/{key_id}", status_code=204, responses=responses(401, 403, 404, 409, 503)
)
def drop_asked_key(
    node: TheNode, caller: TheCaller, key_id: Annotated[str, Path(pattern="^[A-Za-z0-9_-]{43}$")]
) -> None:
    """Drop a key that waits, without registering it."""
    seen = [one.id for one in member_documents.agencies_seen(caller)]
    if not any(one.key_id == key_id for one in node.members.asked(seen)):
        raise Refusal(Ground.UNKNOWN, "unknown-key", "No such key waits.")
    node.members.settle([key_id])


@router.get(
    "/members/{member}",
    response_model=MemberHistory,
    responses=responses(401, 403, 404, 409, 422, 503),
)
def read_member(node: TheNode, caller: TheCaller, member: MemberPath) -> MemberHistory:
    """Return a member, with who changed what and when."""
    found = member_documents.seen(node, caller, member)
    return MemberHistory(
        member=_document(caller, node, found.id),
        changes=tuple(
            MemberChange.model_validate(dict(one)) for one in node.members.changes(member)
        ),
    )


@router.put("/members/{member}", response_model=MemberDocument, responses=_CHANGING)
def change_member(
    node: TheNode, caller: TheCaller, member: MemberPath, given: Annotated[MemberInput, Body()]
) -> MemberDocument:
    """Give a member another name or position, or make the member a head or none."""
    found = member_documents.managed(node, caller, member)
    member_documents.check_active(found)
    check_may_record(node.room.look())
    by = member_documents.manager(caller)
    node.members.change(found, member_documents.details(given), by, is_head=given.is_head)
    return _document(caller, node, member)


@router.post("/members/{member}/disabled", response_model=MemberDocument, responses=_CHANGING)
def disable_member(node: TheNode, caller: TheCaller, member: MemberPath) -> MemberDocument:
    """Disable a member: sessions end, and no key of the member is accepted here, at once.

    The answer has the member's keys. Revoke each by ``key_revoked``, so that no node accepts them.
    """
    member_documents.managed(node, caller, member)
    node.members.disable(member, member_documents.manager(caller))
    return _document(caller, node, member)


@router.delete("/members/{member}/disabled", response_model=MemberDocument, responses=_CHANGING)
def enable_member(node: TheNode, caller: TheCaller, member: MemberPath) -> MemberDocument:
    """Let a disabled member in again. Keys that were revoked stay revoked."""
    found = member_documents.managed(node, caller, member)
    member_documents.check_may_enable(found)
    node.members.enable(member, member_documents.manager(caller))
    return _document(caller, node, member)


@router.delete("/members/{member}", response_model=MemberDocument, responses=_CHANGING)
def erase_member(node: TheNode, caller: TheCaller, member: MemberPath) -> MemberDocument:
    """Erase the name of a member who is disabled, in every backup too. The pseudonym stays."""
    found = member_documents.managed(node, caller, member)
    node.members.erase(found, member_documents.manager(caller))
    return _document(caller, node, member)


@router.post(
    "/members/{member}/invitation", status_code=201, response_model=Invitation, responses=_CHANGING
)
def invite_member(node: TheNode, caller: TheCaller, member: MemberPath) -> Invitation:
    """Make a link by which the member's browser hands in a key: good once, for seven days.

    A head and the coordinator may for each member, and a member for a device of the member's own.
    Earlier links of the member end.
    """
    member_documents.invited_by(node, caller, member)
    check_may_record(node.room.look())
    secret = node.members.invite(member, member_documents.manager(caller))
    link = f"{node.settings.public_url or ''}/join#{secret}"
    return Invitation(link=link, expires_at=clock.now() + INVITATION_LIFETIME)


@router.post(
    "/members/{member}/asked-keys",
    status_code=202,
    response_model=MemberDocument,
    responses=_CHANGING,
)
def ask_for_key(
    node: TheNode, caller: TheCaller, member: MemberPath, request: Annotated[KeyRequest, Body()]
) -> MemberDocument:
    """Hand in a key that this browser made, as the member who is signed in."""
    own = member_documents.own_member(node, caller)
    if own.id != member:
        raise Refusal(
            Ground.NOT_ALLOWED, "members-only", "A member hands in keys of the member's own alone."
        )
    check_may_record(node.room.look())
    member_documents.check_request(caller.protocol.id, request)
    node.members.ask(own, request)
    return _document(caller, node, member)


@router.post("/members/{member}/hand-over", response_model=HandedOver, responses=_CHANGING)
def hand_over_cases(
    node: TheNode, caller: TheCaller, member: MemberPath, given: Annotated[HandOver, Body()]
) -> HandedOver:
    """Give all cases that are assigned to a member to another member of the agency."""
    leaver = member_documents.managed(node, caller, member)
    check_may_record(node.room.look())
    return HandedOver(cases=assigning.hand_over(node, caller, leaver, given.to))


@router.get(
    "/assignments",
    response_model=list[AssignmentDocument],
    responses=responses(401, 403, 409, 422, 503),
)
def list_assignments(
    node: TheNode,
    caller: TheCaller,
    case_ids: Annotated[
        list[UUID], Query(alias="case_id", min_length=1, max_length=200, description="Of cases")
    ],
) -> list[AssignmentDocument]:
    """List to whom the caller's agency assigned some cases."""
    kept = assigning.assignments_of(node, caller).of_cases(caller.agency.id, case_ids)
    return [_assignment(one) for one in kept.values()]


@router.put("/cases/{case_id}/assignment", response_model=AssignmentDocument, responses=_CHANGING)
def assign_case(
    node: TheNode, caller: TheCaller, case_id: CaseId, given: Annotated[AssignmentInput, Body()]
) -> AssignmentDocument:
    """Assign a case to a member of the caller's agency, with a deputy."""
    assigning.assign(node, caller, case_id, given.member, given.deputy, given.expected)
    kept = assigning.assignments_of(node, caller).of_cases(caller.agency.id, [case_id])
    return _assignment(kept[case_id])


@router.delete(
    "/cases/{case_id}/assignment",
    status_code=204,
    responses=responses(401, 403, 404, 409, 422, 503),
)
def unassign_case(node: TheNode, caller: TheCaller, case_id: CaseId) -> None:
    """Take the assignment of a case back. Repeating it is harmless."""
    assigning.unassign(node, caller, case_id)


def _assignment(one: Assignment) -> AssignmentDocument:
    return AssignmentDocument(
        case_id=one.case_id,
        member=one.member,
        deputy=one.deputy,
        by_member=one.by_member,
        assigned_at=one.assigned_at,
    )


@router.post(
    "/invited",
    response_model=InvitedMember,
    responses=responses(400, 403, 413, 422, 429, 503),
)
def read_invitation(
    request: Request, node: TheNode, opened: Annotated[OpenedInvitation, Body()]
) -> InvitedMember:
    """Return the member whom a link invites. The link stays good."""
    _check_stranger(node, request)
    member = node.members.invited(opened.secret)
    if member is None:
        raise invitation_over()
    return InvitedMember(member=member.id, agency=member.agency)


@router.post(
    "/invited-keys",
    status_code=202,
    response_model=InvitedMember,
    responses=responses(400, 403, 413, 422, 429, 503, 507),
)
def hand_in_key(
    request: Request, node: TheNode, handed: Annotated[InvitedKey, Body()]
) -> InvitedMember:
    """Take in the key that an invited person's browser made. The link is used up.

    Nobody is signed in: the secret of the link says whose the key is.
    """
    _check_stranger(node, request)
    check_may_record(node.room.look())
    protocol = node.ledger.adopted().protocol_today(clock.now())
    member_documents.check_request(protocol.id, handed.request)
    member = node.members.hand_in(handed.secret, handed.request)
    return InvitedMember(member=member.id, agency=member.agency)


def _check_stranger(node: Node, request: Request) -> None:
    """Check a request of a person who is not signed in, and count it with sign-ins of the address.

    Raises ``Refusal`` (``cross-site``), and a problem (``too-many-requests``).
    """
    check_same_origin(node, request)
    signing_in: Rate = request.app.state.signing_in
    signing_in.check(asking_network(request.scope))


def _document(caller: Caller, node: Node, member: UUID) -> MemberDocument:
    found = node.members.some([member]).values()
    (document,) = member_documents.member_documents(found, caller.registry, clock.now())
    return document
