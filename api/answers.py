"""Answers of other nodes, whose length and time are bounded."""

import time
from typing import Any

import httpx

MAX_BYTES = 96 * 1024 * 1024
"""More than a page of the longest events."""
SECONDS = 60.0
AS_IT_IS = {"Accept-Encoding": "identity"}
"""Asks for no compressed answer: a short one of those can be endless."""


def bounded(
    http: httpx.Client,
    method: str,
    url: str,
    *,
    limit: int | None = None,
    seconds: float | None = None,
    **content: Any,
) -> httpx.Response:
    """Ask, and read the whole answer. Raises ``httpx.TransportError`` as :func:`read_bounded`."""
    with http.stream(method, url, **content) as response:
        return read_bounded(response, limit=limit, seconds=seconds)


def read_bounded(
    response: httpx.Response, *, limit: int | None = None, seconds: float | None = None
) -> httpx.Response:
    """An open answer, read to its end.

    Raises ``httpx.RemoteProtocolError`` where it is compressed, longer than ``limit`` bytes, or
    takes more than ``seconds``: so that whoever copes with a broken connection copes with it.
    """
    if response.headers.get("content-encoding", "identity") != "identity":
        raise httpx.RemoteProtocolError("the answer is compressed, and was not asked to be")
    limit = MAX_BYTES if limit is None else limit
    until = time.monotonic() + (SECONDS if seconds is None else seconds)
    content = bytearray()
    for chunk in response.iter_raw():
        content += chunk
        if len(content) > limit:
            raise httpx.RemoteProtocolError(f"the answer has more than {limit} bytes")
        if time.monotonic() > until:
            raise httpx.RemoteProtocolError("the answer takes too long")
    return httpx.Response(
        response.status_code,
        headers=response.headers,
        content=bytes(content),
        request=response.request,
        extensions=response.extensions,
    )
