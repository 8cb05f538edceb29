"""The members of agencies on pages: add, change, invite, disable; and the page of an invitation."""

from collections.abc import Mapping
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from api.authentication.members import INVITATION_LIFETIME
from api.client.schemas.members import MemberInput
from api.http import member_documents
from api.http.access import Caller, TheCaller, TheNode
from api.http.assigning import hand_over
from api.node.node import Node
from api.runtime.readiness import check_may_record
from api.web.case_text import names
from api.web.errors import PageRoute
from api.web.qr_code import qr_code, svg_path
from api.web.rendering import PAGE_HEADERS, Words, page
from api.web.sent_form import form_values
from ledger.procedure.protocol import COORDINATOR, KeyChange
from ledger.refusals import Ground, Refusal
from ledger.system import clock
from ledger.vocabulary.types import AgencyId
from ledger.vocabulary.upcasting import upcasters

router = APIRouter(include_in_schema=False, route_class=PageRoute)
_ACTS = ("change", "disable", "enable", "erase", "invite", "hand-over")


async def typed_form(request: Request) -> Mapping[str, str]:
    """Return the fields of a form. Names of people are in the body, so that no log has them."""
    form = await form_values(request)
    return {name: values[0] for name, values in form.items()}


TheForm = Annotated[Mapping[str, str], Depends(typed_form)]


@router.get("/members")
def show_members(
    request: Request,
    node: TheNode,
    caller: TheCaller,
    agency: AgencyId | None = None,
    done: Annotated[str | None, Query(pattern="^(added|changed|disabled|enabled|erased)$")] = None,
) -> Response:
    """Show the members of an agency, with their keys; to a coordinator, of each of its country."""
    return _members(request, node, caller, agency or caller.agency.id, done=done)


@router.post("/members")
async def add_member(request: Request, node: TheNode, caller: TheCaller, form: TheForm) -> Response:
    """Add a member to an agency, and show the link that invites the member."""

    def add() -> Response:
        agency = form.get("agency", "")
        own = {one.id: one for one in member_documents.agencies_seen(caller)}
        if agency not in own:
            raise Refusal(Ground.UNKNOWN, "unknown-agency", "There is no such agency to see.")
        member_documents.check_may_add(node, caller, own[agency])
        check_may_record(node.room.look())
        given = _given(form)
        if given is None:
            return _members(request, node, caller, agency, typed=form)
        by = member_documents.manager(caller)
        details = member_documents.details(given)
        added = node.members.add(own[agency].party, agency, details, by, is_head=given.is_head)
        return _members(request, node, caller, agency, done="added", link_of=added.id)

    return await run_in_threadpool(add)


@router.post("/members/{member}")
async def act_on_member(
    request: Request, node: TheNode, caller: TheCaller, member: UUID, form: TheForm
) -> Response:
    """Change, disable, enable or erase a member, or make a link that invites the member."""

    def act() -> Response:
        what = form.get("act", "")
        if what == "invite":
            found = member_documents.invited_by(node, caller, member)
        else:
            found = member_documents.managed(node, caller, member)
        if what not in _ACTS:
            raise Refusal(Ground.INVALID, "request", "There is no such act.", "act")
        check_may_record(node.room.look())
        by = member_documents.manager(caller)
        if what == "hand-over":
            cases = hand_over(node, caller, found, _member(form.get("to", "")))
            return _members(request, node, caller, found.agency, handed=cases)
        if what == "invite":
            return _members(request, node, caller, found.agency, link_of=member)
        if what == "change":
            member_documents.check_active(found)
            given = _given(form)
            if given is None:
                return _members(request, node, caller, found.agency, typed=form, changes=member)
            details = member_documents.details(given)
            node.members.change(found, details, by, is_head=given.is_head)
        elif what == "disable":
            node.members.disable(member, by)
        elif what == "enable":
            member_documents.check_may_enable(found)
            node.members.enable(member, by)
        else:
            node.members.erase(found, by)
        done = f"{what}d" if what != "disable" else "disabled"
        address = f"/members?agency={found.agency}&done={done}#m-{member}"
        return RedirectResponse(address, 303, dict(PAGE_HEADERS))

    return await run_in_threadpool(act)


@router.get("/join")
def join(request: Request, node: TheNode) -> Response:
    """Show the page on which an invited person's browser makes a key.

    The secret of the invitation is behind the ``#`` of the address, so it does not come here.
    """
    protocol = node.ledger.adopted().protocol_today(clock.now())
    request.state.protocol = protocol
    words = Words.of(request).things
    return page(
        request,
        "join.html",
        None,
        protocol=protocol.id,
        audience=node.settings.audience,
        named={a.id: words.agency(a) for a in protocol.agencies if node.serves_people(a)},
    )


def _code(link: str | None) -> tuple[int, str] | None:
    """Return the code of a link for a camera, or ``None`` if there is none or it is too long."""
    try:
        return None if link is None else svg_path(qr_code(link))
    except ValueError:
        return None


def _member(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Refusal(Ground.INVALID, "request", "There is no such member.", "to") from None


def _given(form: Mapping[str, str]) -> MemberInput | None:
    """Return what a form says of a member, or ``None`` if the name does not hold."""
    try:
        return MemberInput(
            name=form.get("name", "").strip(),
            position=form.get("position", "").strip() or None,
            is_head="is_head" in form,
        )
    except ValidationError:
        return None


def _members(
    request: Request,
    node: Node,
    caller: Caller,
    agency: str,
    *,
    done: str | None = None,
    typed: Mapping[str, str] | None = None,
    changes: UUID | None = None,
    link_of: UUID | None = None,
    handed: int | None = None,
) -> Response:
    """Return the page of an agency's members.

    ``typed`` is a form that was refused, of a new member or of the one that it ``changes``.
    ``link_of`` is the member for whom a link is made and shown, once. ``handed`` is how many cases
    were handed over.
    """
    seen = {one.id: one for one in member_documents.agencies_seen(caller)}
    if agency not in seen:
        raise Refusal(Ground.UNKNOWN, "unknown-agency", "There is no such agency to see.", "agency")
    link = None
    if link_of is not None:
        secret = node.members.invite(link_of, member_documents.manager(caller))
        link = f"{node.settings.public_url or str(request.base_url).rstrip('/')}/join#{secret}"
    now, registry, protocol = clock.now(), caller.registry, caller.protocol
    members = member_documents.member_documents(node.members.of_agencies([agency]), registry, now)
    asked = (
        [one for one in node.members.asked([agency]) if one.key_id not in registry.keys]
        if caller.agency.role == COORDINATOR
        else []
    )
    return page(
        request,
        "members.html",
        caller,
        agency=seen[agency],
        agencies=list(seen.values()),
        members=[one for one in members if one.disabled_at is None],
        left=[one for one in members if one.disabled_at is not None],
        by_id={one.id: one for one in members},
        manages=member_documents.may_manage(node, caller, seen[agency]),
        asked=asked,
        waits=bool(protocol.confirming_roles(seen[agency].role, KeyChange.REGISTRATION)),
        done=done,
        typed=typed,
        changes=changes,
        link=link,
        code=_code(link),
        link_of=link_of,
        handed=handed,
        link_ends=now + INVITATION_LIFETIME,
        named=names(protocol, (), Words.of(request).things),
        protocol=protocol.id,
        version=upcasters().version("key_registered"),
        revoking=upcasters().version("key_revoked"),
    )
