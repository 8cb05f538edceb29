"""Members as a caller may see and manage them. Denied unless a rule here allows it.

This is a reading of the procedure: no published text says who may know an official's name.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from uuid import UUID

from api.authentication.members import Manager, Member, MemberDetails, member_disabled
from api.client.schemas.members import MemberDocument, MemberInput, MemberKey
from api.http.access import Caller
from api.http.member_rights import MemberState, manages, names_seen
from api.node.node import Node
from ledger.procedure.protocol import Agency
from ledger.procedure.registry import Registry
from ledger.refusals import Ground, Refusal
from ledger.signing.key_possession import check_proof, grant_of
from ledger.system import clock
from ledger.vocabulary.registration import KeyRequest


def agencies_seen(caller: Caller) -> list[Agency]:
    """Return the agencies whose members' names the caller may know.

    A coordinator knows those of every agency of its country, others those of their own.
    """
    return [one for one in caller.protocol.agencies if names_seen(caller.agency, one)]


def may_manage(node: Node, caller: Caller, agency: Agency) -> bool:
    """Return whether the caller may add, change and disable members of an agency."""
    return manages(caller.agency, agency, state_of(node, caller))


def state_of(node: Node, caller: Caller) -> MemberState:
    """Return what the node knows of the member who asks."""
    if caller.member is None:
        return MemberState.SYSTEM
    member = _own(node, caller)
    if member is None:
        return MemberState.STRANGER
    if member.disabled_at is not None:
        return MemberState.DISABLED
    return MemberState.HEAD if member.is_head else MemberState.MEMBER


def managed(node: Node, caller: Caller, member: UUID) -> Member:
    """Return a member whom the caller may manage.

    Raises ``Refusal`` (``unknown-member``, ``heads-and-coordinators``).
    """
    found = seen(node, caller, member)
    check_may_manage(node, caller, caller.protocol.agencies_by_id[found.agency])
    return found


def invited_by(node: Node, caller: Caller, member: UUID) -> Member:
    """Return a member whom the caller may invite: one that it manages, or the caller itself.

    Raises ``Refusal`` (``unknown-member``, ``heads-and-coordinators``, ``member-disabled``).
    """
    if member == caller.member:
        return own_member(node, caller)
    found = managed(node, caller, member)
    check_active(found)
    return found


def check_active(member: Member) -> None:
    """Check that a member is not disabled. Raises ``Refusal`` (``member-disabled``)."""
    if member.disabled_at is not None:
        raise Refusal(
            Ground.CONFLICT, "member-disabled", "This member is disabled; enable the member first."
        )


def seen(node: Node, caller: Caller, member: UUID) -> Member:
    """Return a member whose name the caller may know. Raises ``Refusal`` (``unknown-member``)."""
    found = node.members.get(member)
    if found is None or found.agency not in {one.id for one in agencies_seen(caller)}:
        raise Refusal(
            Ground.UNKNOWN, "unknown-member", "There is no such member for this agency to see."
        )
    return found


def check_may_manage(node: Node, caller: Caller, agency: Agency) -> None:
    """Check that the caller may manage an agency's members.

    Raises ``Refusal`` (``heads-and-coordinators``).
    """
    if not may_manage(node, caller, agency):
        raise Refusal(
            Ground.NOT_ALLOWED,
            "heads-and-coordinators",
            "The head of the agency or its country's coordinator does this.",
        )


def check_may_add(node: Node, caller: Caller, agency: Agency) -> None:
    """Check that the caller may add a member to an agency.

    Raises ``Refusal`` (``heads-and-coordinators``, ``retired-agency``).
    """
    check_may_manage(node, caller, agency)
    if agency.retired_at is not None:
        raise Refusal(
            Ground.INVALID, "retired-agency", "A retired agency gets no members.", "agency"
        )


def check_may_enable(member: Member) -> None:
    """Check that a member has a name still. Raises ``Refusal`` (``member-erased``)."""
    if member.details is None and not member.is_known_to_provider:
        raise Refusal(
            Ground.CONFLICT,
            "member-erased",
            "The name of this member was erased; add the person as a new member.",
        )


def own_member(node: Node, caller: Caller) -> Member:
    """Return the member who asks. Raises ``Refusal`` (``members-only``, ``member-disabled``)."""
    member = _own(node, caller)
    if member is None:
        raise Refusal(
            Ground.NOT_ALLOWED, "members-only", "This is for a member of an agency, and no system."
        )
    if member.disabled_at is not None:
        raise member_disabled()
    return member


def _own(node: Node, caller: Caller) -> Member | None:
    """Return the member who asks, if the node knows the member of this agency.

    A registration may name any member: it gives nobody the rights of a member of another agency.
    """
    member = node.members.get(caller.member) if caller.member is not None else None
    return member if member is not None and member.agency == caller.agency.id else None


def manager(caller: Caller) -> Manager:
    """Return the caller as the record of a member's changes names it."""
    return Manager(caller.agency.id, caller.member)


def details(given: MemberInput) -> MemberDetails:
    """Return what is sealed of a member."""
    return MemberDetails(name=given.name, position=given.position)


def check_request(protocol: str, request: KeyRequest) -> None:
    """Check that whoever hands in a key holds it. Raises ``Refusal`` (``proof``)."""
    now = clock.now()
    check_proof(grant_of(request, valid_from=now, valid_until=now), protocol, "request")


def keys_of(registry: Registry, members: Mapping[UUID, str]) -> Mapping[UUID, list[str]]:
    """Return the ids of the keys that are registered for members, the earliest key first.

    ``members`` has the agency of each. A key of another agency is not the member's, whatever its
    registration says.
    """
    found: dict[UUID, list[str]] = {member: [] for member in members}
    for key in sorted(registry.keys.values(), key=lambda one: (one.valid_from, one.id)):
        if key.member is not None and members.get(key.member) == key.agency:
            found[key.member].append(key.id)
    return found


def members_of_keys(node: Node, caller: Caller, key_ids: Collection[str]) -> Mapping[str, str]:
    """Return the member behind each key that a member holds, as the caller may know the member.

    It is the name for the member's own agency and for the coordinator of its country, and for all
    others the beginning of the pseudonym.
    """
    keys = caller.registry.keys
    of_keys = {kid: keys[kid].member for kid in key_ids if kid in keys}
    members = {one for one in of_keys.values() if one is not None}
    seen = {one.id for one in agencies_seen(caller)}
    known = node.members.some(members) if members else {}
    told: dict[str, str] = {}
    for kid, member in of_keys.items():
        if member is None:
            continue
        found = known.get(member)
        is_own = found is not None and found.agency == keys[kid].agency
        details = found.details if found is not None and is_own and found.agency in seen else None
        told[kid] = details.name if details is not None else str(member)[:8]
    return told


def member_documents(
    members: Iterable[Member], registry: Registry, now: datetime
) -> list[MemberDocument]:
    """Return members with their keys, in the order given."""
    every = list(members)
    keys = keys_of(registry, {one.id: one.agency for one in every})
    return [_document(one, keys[one.id], registry, now) for one in every]


def _document(
    member: Member, keys: Iterable[str], registry: Registry, now: datetime
) -> MemberDocument:
    known = member.details
    return MemberDocument(
        id=member.id,
        agency=member.agency,
        name=known.name if known is not None else None,
        position=known.position if known is not None else None,
        is_head=member.is_head,
        is_known_to_provider=member.is_known_to_provider,
        added_at=member.added_at,
        disabled_at=member.disabled_at,
        keys=tuple(_key(registry, kid, now) for kid in keys),
    )


def _key(registry: Registry, kid: str, now: datetime) -> MemberKey:
    key = registry.keys[kid]
    return MemberKey(
        id=kid,
        valid_from=key.valid_from,
        valid_until=key.valid_until,
        revoked_at=key.revoked_at,
        is_valid=key.valid_at(now),
    )
