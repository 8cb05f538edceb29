"""The ledger itself: events by position, in pages or as they come (Server-Sent Events)."""

from collections.abc import AsyncIterator
from typing import Annotated

import anyio
from fastapi import APIRouter, Header, Query, Request
from sse_starlette import EventSourceResponse
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.client.schemas import EventPage
from api.http.access import Caller, TheCaller, TheNode
from api.http.declared_parameters import DeclaredParametersRoute
from api.http.documents import event_document
from api.http.error_handlers import responses
from api.http.event_broadcaster import PAGE, EventBroadcaster, Subscriber, frame
from api.http.parameters import MAX_POSITION
from api.node.node import Node
from api.runtime.rate_limit import Places
from ledger.refusals import Ground, Refusal

router = APIRouter(prefix="/v1/events", tags=["events"], route_class=DeclaredParametersRoute)

_SEND_SECONDS = 30.0
_EVENT_STREAM = "text/event-stream"


@router.get(
    "",
    response_model=EventPage,
    responses={
        200: {"content": {_EVENT_STREAM: {"schema": {"type": "string"}}}},
        **responses(401, 403, 409, 422, 503),
    },
)
async def get_events(
    request: Request,
    node: TheNode,
    caller: TheCaller,
    after: Annotated[int, Query(ge=0, le=MAX_POSITION)] = 0,
    limit: Annotated[int, Query(ge=1, le=PAGE)] = PAGE,
    accept: Annotated[str, Header()] = "application/json",
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response | EventPage:
    """Return the events after a position.

    Coordinators and oversight get all events, others the events of their country's cases. With
    ``Accept: text/event-stream`` the answer goes on as the ledger grows; ``Last-Event-ID`` resumes
    it. It ends when the key that began it is revoked or expires.
    """
    if _EVENT_STREAM in accept:
        feed: EventBroadcaster = request.app.state.feed
        start = after if last_event_id is None else _position(last_event_id)
        streams: Places = request.app.state.streams
        every = node.settings.stream_keepalive_seconds
        return _Stream(_follow(node, feed, caller, start), caller, streams, every)
    return await run_in_threadpool(_page, node, caller, after, limit)


class _Stream(EventSourceResponse):
    """Events for one caller, who takes a place for as long as they are sent."""

    def __init__(
        self, events: AsyncIterator[bytes], caller: Caller, places: Places, keepalive: float
    ) -> None:
        super().__init__(events, send_timeout=_SEND_SECONDS)
        self.ping_interval = keepalive  # its constructor is typed for whole seconds
        self._agency = caller.agency
        self._places = places

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._places.taken(self._agency):
            await super().__call__(scope, receive, send)


def _position(last_event_id: str) -> int:
    if not (last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) <= 15):
        raise Refusal(Ground.INVALID, "last-event-id", "It is not a position.", "Last-Event-ID")
    return int(last_event_id)


def _page(node: Node, caller: Caller, after: int, limit: int) -> EventPage:
    if caller.sees_every_event:
        rows = node.ledger.rows_after(after, limit)
        events = tuple(event_document(row) for row in rows)
        return EventPage(events=events, next=events[-1].position if events else after)
    # No further than the view that says which cases are this country's.
    upto = node.views.position("case_views")
    positions = node.views.positions_seen_by(
        caller.viewer,
        caller.registry.ledger_id,
        after=after,
        upto=upto,
        limit=limit,
        seen_by=caller.bound_to,
    )
    rows = node.ledger.rows_at(positions)
    full = len(positions) == limit
    return EventPage(
        events=tuple(event_document(row) for row in rows),
        next=positions[-1] if full else max(upto, after),
    )


async def _follow(
    node: Node, feed: EventBroadcaster, caller: Caller, after: int
) -> AsyncIterator[bytes]:
    with feed.followed_by(caller) as follower:
        while not follower.over:
            tail = feed.tail(follower)
            if tail is not None and after >= tail.start:
                content, after = tail.after(after)
                if content:
                    yield content
                else:
                    await follower.wait()
                continue
            page = await _page_behind(node, feed, follower, after)
            for event in page.events:
                yield frame(event).content
            if page.next == after:
                await follower.wait(1.0)
            after = page.next


async def _page_behind(
    node: Node, feed: EventBroadcaster, follower: Subscriber, after: int
) -> EventPage:
    """Return a page for a follower that is behind the others.

    A few such pages are read at a time.
    """

    def read() -> EventPage:
        return _page(node, follower.caller, after, PAGE)

    return await anyio.to_thread.run_sync(read, limiter=feed.catching_up)
