"""Costly answers: no caller keeps every other one waiting, and a place is kept until it is sent."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest
from fastapi import Response
from rfc9457 import Problem

from api.http.costly import Costly
from api.http.routes import case_documents
from api.http.routes.case_documents import HeldPlace

SCOPE = {"type": "http", "method": "GET"}


async def nothing() -> MutableMapping[str, Any]:
    return {"type": "http.disconnect"}


def test_a_caller_leaves_a_place_to_others() -> None:
    async def tried() -> None:
        places = Costly("prints", 3, 8, 0.05)
        first, second = await places.take("one"), await places.take("one")
        with pytest.raises(Problem):
            await places.take("one")
        other = await places.take("other")
        with pytest.raises(Problem):  # all are taken
            await places.take("third")
        for release in (first, second, other):
            release()
        # What was given back is there again, for the same caller too.
        again = [await places.take("one"), await places.take("one"), await places.take("other")]
        for release in again:
            release()
        assert (places._asked, places._own) == ({}, {})
        alone = Costly("prints", 1, 2, 0.05)
        (await alone.take("one"))()

    asyncio.run(tried())


def test_a_marked_copy_keeps_its_place_until_it_was_read() -> None:
    """A server takes a whole body at once, into memory: what is sent last must wait for it."""
    content = bytes(range(256)) * 8192
    sent: list[bytes] = []
    kept: list[bool] = []
    released: list[bool] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        kept.append(not released)
        sent.append(message.get("body", b""))

    answer = HeldPlace(Response(content), lambda: released.append(True))
    asyncio.run(answer(SCOPE, nothing, send))
    assert b"".join(sent) == content
    assert max(map(len, sent)) <= 256 * 1024
    assert (all(kept), released) == (True, [True])


def test_a_client_that_does_not_read_loses_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    released: list[bool] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    monkeypatch.setattr(case_documents, "_SENDING_SECONDS", 0.01, raising=False)
    answer = HeldPlace(Response(b"copy"), lambda: released.append(True))

    async def tried() -> None:
        await asyncio.wait_for(answer(SCOPE, nothing, send), 20)

    asyncio.run(tried())
    assert released == [True]
