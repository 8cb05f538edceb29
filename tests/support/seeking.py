"""Seeks a value in everything that a node answers on one case, to one agency."""

from collections.abc import Iterator, Mapping
from uuid import UUID

import httpx
from fastapi.routing import APIRoute

from api.client.assertion import make_assertion
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import Purpose
from tests.support.pdf_text import page_texts
from tests.support.serving import Server
from tests.support.web import FROM_HERE, signed_in

_WAITS = frozenset({"/v1/events/stream", "/cases/{case_id}/live", "/live"})
"""Streams: their content is that of the other routes."""


def routes_with(
    server: Server, agency: str, case_id: UUID, *marks: str
) -> Mapping[str, frozenset[str]]:
    """Return the routes whose answers to ``agency`` on a case contain a mark, by mark.

    Every route that answers GET is asked, of the API and of the pages, and the readings and the
    files of the person.
    """
    told = [(name, _text(answer)) for name, answer in _answers(server, agency, case_id)]
    return {mark: frozenset(name for name, text in told if mark in text) for mark in marks}


def _answers(server: Server, agency: str, case_id: UUID) -> Iterator[tuple[str, httpx.Response]]:
    values = {"case_id": str(case_id), "kind": "correction"}
    groups = [group.value for group in FieldGroup]
    with signed_in(server, agency) as browser, _api(server) as client:
        for route in server.app.routes:
            if not isinstance(route, APIRoute) or "GET" not in route.methods:
                continue
            if set(route.param_convertors) - values.keys() or _is_stream(route.path):
                continue
            path = route.path.format(**values)
            if path.startswith("/v1/"):
                answer = client.get(path, headers=_assertion(server, agency))
            else:
                answer = browser.get(path)
            # A node whose rows a test changed says on this route that it is not ready.
            assert answer.status_code < 500 or path == "/ready", (path, answer.text)
            yield f"GET {route.path}", answer
        for group in groups:
            form = {"groups": group, "purpose": "protection"}
            page = browser.post(f"/cases/{case_id}/personal", data=form, headers=FROM_HERE)
            yield "POST /cases/{case_id}/personal", page
    with _api(server) as client:
        for group in groups:
            asked = {"groups": [group], "purpose": Purpose.PROTECTION.value}
            yield (
                "POST readings",
                client.post(
                    f"/v1/cases/{case_id}/readings",
                    json=asked,
                    headers=_assertion(server, agency),
                ),
            )
        for made in ("json", "pdf"):
            yield (
                f"POST subject-access {made}",
                client.post(
                    f"/v1/cases/{case_id}/subject-access",
                    params={"format": made},
                    json={"language": "en"},
                    headers=_assertion(server, agency),
                ),
            )


def _api(server: Server) -> httpx.Client:
    headers = {"Accept": "application/json"}
    return httpx.Client(base_url=server.url, timeout=60, headers=headers)


def _is_stream(path: str) -> bool:
    return path in _WAITS or path.rstrip("/").endswith(("stream", "live", "follow"))


def _assertion(server: Server, agency: str) -> dict[str, str]:
    key = server.agencies.keys[agency]
    return {"Authorization": f"Bearer {make_assertion(agency, key, 'case-ledger')}"}


def _text(answer: httpx.Response) -> str:
    if answer.headers.get("content-type", "").startswith("application/pdf"):
        return "".join(page_texts(answer.content))
    return answer.text
