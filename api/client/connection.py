"""Authenticated requests of one agency to one node, each sent again until there is an answer."""

from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from joserfc.jwk import OKPKey
from pydantic import BaseModel

from api.client.assertion import make_assertion
from api.client.bounded_answers import AS_IT_IS, bounded, bounded_client
from api.client.errors import RefusedError, is_no_answer, problem_of
from api.client.schemas import CasePage, ErasedPage, ObligationPage, RetentionPage, TrailPage
from api.client.trace_context import pass_on
from ledger.log.signed_decision import HEADER
from ledger.system.backoff import Backoff
from ledger.system.retrying import retrying

_BACKOFF = Backoff(0.1, 2.0)

D = TypeVar("D", bound=BaseModel)
P = TypeVar("P", CasePage, ErasedPage, ObligationPage, RetentionPage, TrailPage)


class Connection:
    """One agency's requests to one node. Every request carries an assertion of its own.

    A request that gets no answer is sent again, for up to ``patience`` seconds. An action keeps
    its id, so that it is recorded once.
    """

    def __init__(
        self,
        base_url: str,
        *,
        agency: str,
        key: OKPKey,
        protocol: str | None = None,
        audience: str = "case-ledger",
        patience: float = 30.0,
        transport: httpx.BaseTransport | None = None,
        heard: Callable[[Mapping[str, str]], None] | None = None,
        language: str | None = None,
    ) -> None:
        """Prepare the connection to a node.

        ``heard`` is called with the headers of each answer. Without ``protocol``, the client asks
        the node for the protocol's id before the first signature. ``language`` is that of the
        refusals, such as ``sq``; English if it is left out.
        """
        self.agency = agency
        self._key = key
        self._protocol = protocol
        self._audience = audience
        self._patience = patience
        self._http = (
            bounded_client(base_url=base_url)
            if transport is None
            else httpx.Client(base_url=base_url, transport=transport, headers=AS_IT_IS)
        )
        if language is not None:
            self._http.headers["Accept-Language"] = language
        if heard is not None:
            self._http.event_hooks = {"response": [lambda response: heard(response.headers)]}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def _pages(self, path: str, model: type[P], params: dict[str, Any], cursor: str) -> Iterator[P]:
        """Yield every page of a list.

        ``cursor`` is the parameter that takes a page's ``next``.
        """
        page = self._get(path, model, params)
        yield page
        while page.next is not None:
            page = self._get(path, model, {**params, cursor: page.next})
            yield page

    def _get(self, path: str, model: type[D], params: dict[str, Any] | None = None) -> D:
        present = {name: value for name, value in (params or {}).items() if value is not None}
        return model.model_validate_json(self._request("GET", path, params=present).content)

    def _send_document(self, path: str, document: BaseModel) -> httpx.Response:
        headers = {"Content-Type": "application/json"}
        return self._request("POST", path, content=document.model_dump_json(), headers=headers)

    def _request(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, **content: Any
    ) -> httpx.Response:
        def once() -> httpx.Response:
            # A new assertion each time: the last one may have been used.
            sent = {**(headers or {}), **self._authorization()}
            response = bounded(self._http, method, path, headers=sent, **content)
            if response.is_error:
                raise RefusedError(problem_of(response), response.headers.get(HEADER))
            return response

        return retrying(is_no_answer, seconds=self._patience, backoff=_BACKOFF)(once)

    def _authorization(self) -> dict[str, str]:
        assertion = make_assertion(self.agency, self._key, self._audience)
        headers = {"Authorization": f"Bearer {assertion}"}
        pass_on(headers)
        return headers
