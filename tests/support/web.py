"""Browsers, stood in for by an HTTP client that has a session."""

import re

import httpx

from api.client.assertion import make_assertion
from tests.support.serving import Server

_TIME = re.compile(r' data-now="[^"]*"')
FROM_HERE = {"Sec-Fetch-Site": "same-origin"}


def signed_in(server: Server, agency: str) -> httpx.Client:
    """A client with the cookie of a session that the agency's key began."""
    bearer = f"Bearer {make_assertion(agency, server.agencies.keys[agency], 'case-ledger')}"
    sent = {**FROM_HERE, "Authorization": bearer}
    answer = httpx.post(f"{server.url}/auth/key", headers=sent, timeout=20)
    assert answer.status_code == 201, answer.text
    return httpx.Client(
        base_url=server.url, cookies=answer.cookies, timeout=20, headers={"Accept": "text/html"}
    )


def page_text(answer: httpx.Response) -> str:
    """A page without its request's id and its time, which are others each time."""
    return _TIME.sub("", answer.text.replace(answer.headers["x-request-id"], ""))
