"""The caller of a request, and its rights. Access is denied unless a rule here allows it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, cast
from uuid import UUID

from fastapi import Depends, Request
from fastapi.security import APIKeyCookie, HTTPBearer
from starlette.concurrency import run_in_threadpool

from api.authentication import assertions
from api.authentication.members import member_disabled
from api.authentication.sessions import Session
from api.http.permissions import AUDIENCE_OF, Audience, check_audience, sort_of
from api.http.request_connections import RequestConnections
from api.node.node import Node
from api.services.personal_data_access import Reader
from ledger.procedure.checks.taking_part import has_part, is_bound
from ledger.procedure.held_parts import regular_end
from ledger.procedure.protocol import COORDINATOR, NODE, OVERSIGHT, Agency, Protocol
from ledger.procedure.registry import Registry, left_party
from ledger.refusals import Ground, Refusal
from ledger.system import clock
from projections.folds.case_view import OVERSIGHT_VIEWER

bearer = HTTPBearer(
    bearerFormat="JWT",
    scheme_name="agency_assertion",
    description="A JWT of at most five minutes, signed with the agency's key, good for one request",
    auto_error=False,
)


SESSION_COOKIE = "case-ledger-session"
session_cookie = APIKeyCookie(
    name=f"__Host-{SESSION_COOKIE}",
    scheme_name="session",
    description="What a browser is given when a person signs in at `/auth/login` or `/auth/key`. "
    "Requests that are not GET or HEAD must come from this node's own pages",
    auto_error=False,
)
ASKED_FOR = (bearer, session_cookie)
"""Either of these, for what needs a caller."""
_READING = ("GET", "HEAD")
_NAMES_NEW_CASES = (Audience.ACTIONS, Audience.UPLOADS)
"""Operations that may name a case which is not opened yet."""


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated agency: its system, by a key, or a person of it, by a session.

    A session that a key began has both.
    """

    agency: Agency
    registry: Registry
    key_id: str | None = None
    session: Session | None = None
    is_from_own_page: bool = True
    """Whether no page of another site, and no link in a letter, can have made the request."""
    member: UUID | None = None
    """The member of the agency who asks; ``None`` for a system, and for a key without a member."""
    asked_at: datetime = field(default_factory=lambda: clock.now())  # a test sets the clock

    @property
    def protocol(self) -> Protocol:
        """Return the version in force when the request came.

        It says what the caller may read and do today.
        """
        return self.registry.protocol_today(self.asked_at)

    @property
    def person(self) -> str | None:
        """Return the pseudonym of the person who asks, or ``None`` if a system asks."""
        return self.session.person if self.session is not None else None

    def key_counts(self, registry: Registry, moments: Sequence[datetime]) -> bool:
        """Return whether the key that began an answer still counts in the registry of now.

        It counts if it is valid at any of the ``moments`` that it may be now.
        """
        key = registry.keys.get(self.key_id or "")
        if key is None or key.agency != self.agency.id:
            return False
        return any(map(key.valid_at, moments))

    @property
    def reader(self) -> Reader:
        """Return the reader whom the access log names for personal fields."""
        return Reader(self.agency, self.key_id, self.person, self.is_from_own_page)

    @property
    def viewer(self) -> str:
        """Return whose view of a case this caller reads: its country's, or oversight's of all.

        Raises ``Refusal``: ``nodes-copy-only`` for a node, since a node reads no case,
        ``figures-only`` for an analyst, and ``named-cases-only`` for an international body, which
        reads single cases (:func:`viewer_of_case`).
        """
        if self.protocol.sees_figures_alone(self.agency):
            raise Refusal(
                Ground.NOT_ALLOWED,
                "figures-only",
                "This agency sees the figures of cases, and no case.",
            )
        if self.agency.international:
            raise Refusal(
                Ground.NOT_ALLOWED,
                "named-cases-only",
                "An international body reads the cases that name it, one at a time: open one by its"
                " id.",
            )
        if self.agency.role == NODE:
            raise Refusal(
                Ground.NOT_ALLOWED, "nodes-copy-only", "A node copies events; people read cases."
            )
        return OVERSIGHT_VIEWER if self.agency.role == OVERSIGHT else self.agency.party

    @property
    def bound_to(self) -> str | None:
        """Return the caller's agency where it sees only the cases that it has to know of.

        Lists of the country's cases are limited to those of this agency. ``None``: no limit.
        """
        return self.agency.id if is_bound(self.agency, self.protocol) else None

    @property
    def sees_every_event(self) -> bool:
        """Return whether the caller follows the whole ledger, which holds no disclosure."""
        return self.agency.role in (COORDINATOR, OVERSIGHT, NODE)


def viewer_of_case(node: Node, caller: Caller, case_id: UUID) -> str:
    """Return whose view of this case the caller reads.

    Raises ``Refusal`` (``unknown-case``) for an agency that has no part in the case: for an
    international body that the case does not name, and for an agency that does not have to know of
    it where the protocol asks for that.
    """
    if not caller.agency.international and caller.bound_to is None:
        return caller.viewer
    case = node.ledger.case(case_id)
    if case is None or not has_part(caller.agency, case.state, case.history, caller.protocol):
        raise unknown_case()
    return caller.agency.party


def unknown_case() -> Refusal:
    """Make the refusal of a case that is none, or that the caller's agency does not see."""
    return Refusal(Ground.UNKNOWN, "unknown-case", "There is no such case for this agency to see.")


async def the_node(request: Request) -> Node:
    """Return the node that this application serves."""
    return cast("Node", request.app.state.node)


async def the_lanes(request: Request) -> RequestConnections:
    """Return the connections by which requests ask the database from the event loop."""
    return cast("RequestConnections", request.app.state.lanes)


async def caller(request: Request) -> Caller:
    """Authenticate the request. Raises ``Refusal``.

    It asks for all it needs itself: dependencies of its own would cost each request more than the
    signature does. ``api/processes/app.py`` writes what it takes into the OpenAPI document. The
    operation must be one that the caller may ask for (``api/http/permissions.py``).
    """
    found = await _authenticated(request)
    operation = _check_asks(request, found)
    if found.agency.international or found.bound_to is not None:
        await _check_may_know(request, operation, found)
    request.state.caller = found
    return found


async def _authenticated(request: Request) -> Caller:
    node, lanes = await the_node(request), await the_lanes(request)
    credentials = await bearer(request)
    registry = await lanes.registry.known()
    secret = session_secret(node, request)
    if credentials is None and secret is not None:
        return await _signed_in(request, node, lanes, registry, secret)
    if credentials is None:
        raise _assertion_missing()
    if secret is not None:
        raise Refusal(
            Ground.UNAUTHENTIC,
            "two-credentials",
            "Send an assertion or the cookie of a session, not both.",
            "Authorization",
        )
    return await _asserted(node, lanes, registry, credentials.credentials)


async def asserting(request: Request) -> Caller:
    """Return the caller as :func:`caller` does, by an assertion alone, never by a session."""
    node, lanes = await the_node(request), await the_lanes(request)
    credentials = await bearer(request)
    if credentials is None:
        raise _assertion_missing()
    found = await _asserted(node, lanes, await lanes.registry.known(), credentials.credentials)
    _check_asks(request, found)
    return found


def _check_asks(request: Request, asking: Caller) -> str:
    """Check that the caller may ask for the operation, and return its name."""
    method = "GET" if request.method == "HEAD" else request.method
    operation = f"{method} {request.scope['route'].path}"
    check_audience(operation, sort_of(asking.agency, asking.protocol))
    return operation


async def _check_may_know(request: Request, operation: str, asking: Caller) -> None:
    """Check that the case of a request is one that the caller's agency has to know of.

    The view of cases says it in the same time for each case, whether there is one or not. What is
    asked for checks it again, by the ledger. Raises ``Refusal`` (``unknown-case``).
    """
    if "{case_id}" not in operation or AUDIENCE_OF[operation] in _NAMES_NEW_CASES:
        return
    node = await the_node(request)
    try:
        case_id = UUID(request.path_params["case_id"])
        at_least = int(request.query_params.get("at_least", "0"))
    except ValueError:
        return  # the operation refuses it
    if await run_in_threadpool(_is_hidden, node, asking.agency, case_id, at_least):
        raise unknown_case()


def _is_hidden(node: Node, agency: Agency, case_id: UUID, at_least: int) -> bool:
    head = node.ledger.head()
    if node.views.position("case_views") < max(head, at_least):
        return False  # the view is behind: the operation waits for it, or asks the ledger
    return not node.views.has_to_know(agency.party, agency.id, case_id)


async def _asserted(
    node: Node, lanes: RequestConnections, registry: Registry, token: str
) -> Caller:
    assertion = assertions.read(token)
    if assertion.key_id not in registry.keys:  # it may be registered since
        registry = await lanes.registry.anew()
    try:
        agency = node.assertions.check(assertion, registry)
    except Refusal:
        member = node.assertions.member_of_revoked(assertion, registry)
        if member is not None:
            disabled = await run_in_threadpool(node.members.disabled_among, [member])
            if member in disabled:
                raise member_disabled() from None  # the browser then removes what it kept
        raise
    key = registry.keys.get(assertion.key_id)
    member = key.member if key is not None else None
    used = await lanes.assertions.use(assertion.using(registry.ledger_id, member))
    if used.registry_version != registry.version:  # the key may be revoked since
        registry = await lanes.registry.at(used.registry_version)
        node.assertions.check_key(assertion, registry)
    assertions.check_used(used)
    _check_served(node, agency)
    asking = Caller(agency, registry, key_id=assertion.key_id, member=member)
    await _check_settles(node, asking)
    return asking


def _assertion_missing() -> Refusal:
    return Refusal(
        Ground.UNAUTHENTIC,
        "assertion-missing",
        "Send an assertion signed with the agency's key as a bearer token.",
        "Authorization",
    )


def person_agency(node: Node, registry: Registry, agency_id: str) -> Agency:
    """Return the agency that a person may act for here, by its id.

    Raises ``Refusal``: ``sign-in-agency`` if it is no agency, is retired, or is a node, which no
    person acts for; ``another-countrys-node`` for an agency that this node does not serve.
    """
    agency = registry.protocol_today(clock.now()).agencies_by_id.get(agency_id)
    if agency is None or agency.role == NODE or agency.retired_at is not None:
        raise Refusal(
            Ground.NOT_ALLOWED, "sign-in-agency", "The provider names no agency of people."
        )
    _check_served(node, agency)
    return agency


def cookie_name(node: Node, name: str) -> str:
    """Return a cookie's name: over https, one that no other host or path can set (RFC 6265bis)."""
    return f"__Host-{name}" if over_https(node) else name


def over_https(node: Node) -> bool:
    """Return whether browsers reach this node by https, as all do but those on its own machine."""
    return (node.settings.public_url or "").startswith("https:")


def session_secret(node: Node, request: Request) -> str | None:
    """Return the session's secret that the browser sent."""
    return request.cookies.get(cookie_name(node, SESSION_COOKIE))


def check_same_origin(node: Node, request: Request) -> None:
    """Check that no other site's page can have made the request.

    Raises ``Refusal`` (``cross-site``) if one may have made it.
    """
    public_url = node.settings.public_url
    if not from_own_page(request.method, request.headers, public_url):
        raise Refusal(
            Ground.NOT_ALLOWED,
            "cross-site",
            "A person's request comes from this node's own pages, and says so.",
            "Origin",
        )


def from_own_page(method: str, headers: Mapping[str, str], public_url: str | None) -> bool:
    """Return whether a request only reads, or says that it comes from a page of this origin."""
    return method in _READING or says_own_page(headers, public_url)


def says_own_page(headers: Mapping[str, str], public_url: str | None) -> bool:
    """Return whether a request says that it comes from a page of this origin.

    The proof is Fetch Metadata if a browser sends it, else ``Origin`` (RFC 6454).
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    return public_url is not None and headers.get("origin") == public_url


async def _signed_in(
    request: Request, node: Node, lanes: RequestConnections, registry: Registry, secret: str
) -> Caller:
    check_same_origin(node, request)
    session, version = await lanes.sessions.seen(secret, registry.ledger_id)
    if session is None:
        raise Refusal(
            Ground.UNAUTHENTIC, "session-over", "The session is over; sign in again.", "Cookie"
        )
    registry = await lanes.registry.at(version)
    agency = person_agency(node, registry, session.agency)
    asking = Caller(
        agency,
        registry,
        key_id=session.key_id,
        session=session,
        member=session.member,
        is_from_own_page=says_own_page(request.headers, node.settings.public_url),
    )
    if session.key_id is not None and not asking.key_counts(registry, node.clock.moments()):
        raise Refusal(
            Ground.UNAUTHENTIC,
            "session-over",
            "The key that the session began with no longer counts; sign in with another.",
            "Cookie",
        )
    return asking


def _check_served(node: Node, agency: Agency) -> None:
    if not node.serves(agency):
        raise Refusal(
            Ground.NOT_ALLOWED,
            "another-countrys-node",
            "This is another country's node; ask your own.",
        )
    if not node.asked.count(agency.id):
        raise node.asked.too_many(agency.id)


async def _check_settles(node: Node, caller: Caller) -> None:
    """Check that a party that left still has time to answer what it owes.

    Its own node serves its agencies as before. Raises ``Refusal`` (``left-party``) at other nodes
    once the protocol's days for the erasure are over and no legal hold gives it more.
    """
    protocol, agency, at = caller.protocol, caller.agency, caller.asked_at
    has_left = agency.party in protocol.left_parties
    if not has_left or (agency.role != NODE and agency.party in node.parties):
        return
    if at < regular_end(agency.party, protocol):
        return
    if not await run_in_threadpool(node.settling.has_time, agency.party, protocol, at):
        raise left_party(agency, protocol)


TheLanes = Annotated[RequestConnections, Depends(the_lanes)]
TheNode = Annotated[Node, Depends(the_node)]
TheCaller = Annotated[Caller, Depends(caller)]
ByAssertion = Annotated[Caller, Depends(asserting)]
