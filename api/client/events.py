"""Read and follow the ledger's events, and the proofs of its transparency log."""

import time
from collections.abc import Callable, Iterator

import httpx
from httpx_sse import connect_sse

from api.client.bounded_answers import read_bounded
from api.client.connection import Connection
from api.client.errors import RefusedError, is_no_answer, problem_of
from api.client.schemas import Event, EventPage
from ledger.system.backoff import Backoff

SILENCE_SECONDS = 90.0
"""A stream on which nothing came for so long, no keep-alive either, is lost."""
FOLLOW_PAUSE_SECONDS = 10.0
"""The longest pause before a lost stream is opened again."""


class EventsClient(Connection):
    """Reads events by position, and what proves that they are in the log."""

    def events(self, after: int = 0, *, limit: int = 500) -> EventPage:
        """Return a page of events by position."""
        return self._get("/v1/events", EventPage, {"after": after, "limit": limit})

    def follow(self, after: int = 0, *, lost: Callable[[], None] = lambda: None) -> Iterator[Event]:
        """Yield the events after a position as they come, without end.

        A connection that is lost, such as by a restart of the node, is opened again after the last
        event that came. ``lost`` is called each time before that. Raises ``RefusedError`` where the
        node refuses for good, such as once this agency's key is revoked.
        """
        position, attempts = after, 0
        while True:
            opened_at = time.monotonic()
            try:
                for event in self._stream(position):
                    position = event.position
                    yield event
            except (httpx.TransportError, RefusedError) as error:
                if not is_no_answer(error):
                    raise
            if time.monotonic() - opened_at > FOLLOW_PAUSE_SECONDS:
                attempts = 0
            lost()
            attempts += 1
            time.sleep(Backoff(0.1, FOLLOW_PAUSE_SECONDS).seconds(attempts))

    def _stream(self, after: int) -> Iterator[Event]:
        """Yield events for as long as one connection holds."""
        headers = {**self._authorization(), "Last-Event-ID": str(after)}
        timeout = httpx.Timeout(15.0, read=SILENCE_SECONDS)
        with connect_sse(
            self._http, "GET", "/v1/events", headers=headers, timeout=timeout
        ) as stream:
            if stream.response.is_error:
                raise RefusedError(problem_of(read_bounded(stream.response)))
            for message in stream.iter_sse():
                # The library yields a message for each keep-alive comment, with no data.
                if message.data:
                    yield Event.model_validate_json(message.data)

    def proof(self, position: int) -> str:
        """Return a receipt of the event at ``position`` that verifies offline (C2SP tlog-proof)."""
        return self._request("GET", f"/log/proof/{position}").text

    def signed_head(self, after: int, wait: float = 0, upto: int | None = None) -> str:
        """Return the log's signed checkpoint of more than ``after`` events.

        If there is one of no more than ``upto`` events, it is returned. Returns the last one if
        there is no such checkpoint after ``wait`` seconds.
        """
        params = {"after": after, "wait": wait} | ({} if upto is None else {"upto": upto})
        return self._request("GET", "/v1/log/head", params=params).text

    def checkpoint(self) -> str:
        """Return the last checkpoint that a quorum of witnesses cosigned."""
        return self._request("GET", "/log/checkpoint").text

    def policies(self, *sizes: int) -> str:
        """Return the policies that the parties adopted, with their proofs: not verified here.

        ``sizes`` are of checkpoints older than the trusted policy that need a proof too.
        """
        return self._request("GET", "/log/policies", params={"size": list(sizes)}).text
