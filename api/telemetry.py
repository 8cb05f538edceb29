"""What a node tells of its requests, as numbers and as traces: none of it of any case.

``/metrics`` always has the numbers. ``api.exporting`` sends both to a collector.
"""

import time
from collections.abc import MutableMapping
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import CollectorRegistry, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ledger.telemetry import span

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})
_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_FAILED = 500
_context = TraceContextTextMapPropagator()
_duration = metrics.get_meter("case-ledger").create_histogram(
    "http.server.request.duration",
    unit="s",
    description="Duration of HTTP server requests.",
    explicit_bucket_boundaries_advisory=_SECONDS,
)


def pass_on(headers: MutableMapping[str, str]) -> None:
    """Name the current trace in a request to another node (W3C Trace Context)."""
    _context.inject(headers)


def in_log(_: object, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A log line with the trace that it belongs to, where there is one (structlog processor)."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        line["trace_id"] = f"{context.trace_id:032x}"
        line["span_id"] = f"{context.span_id:016x}"
    return line


class Requests:
    """Measures requests and traces them: method, route and status, and how long it took.

    A middleware. ``registry`` has the same numbers for ``/metrics``.
    """

    def __init__(self, app: ASGIApp, registry: CollectorRegistry) -> None:
        self._app = app
        self._seconds = Histogram(
            "case_ledger_request_seconds",
            "How long requests took, until their answer was sent",
            ("method", "route", "status"),
            registry=registry,
            buckets=_SECONDS,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
        status = _FAILED
        headers = {name.decode("latin-1"): value.decode("latin-1")
                   for name, value in scope["headers"] if name == b"traceparent"}  # fmt: skip

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        began = time.perf_counter()
        parent = _context.extract(headers) if headers else None
        with span(method, parent=parent, kind=SpanKind.SERVER) as begun:
            try:
                await self._app(scope, receive, noting)
            finally:
                route = getattr(scope.get("route"), "path", "(none)")
                took = time.perf_counter() - began
                self._seconds.labels(method, route, str(status)).observe(took)
                told: dict[str, str | int] = {
                    "http.request.method": method,
                    "http.route": route,
                    "http.response.status_code": status,
                }
                _duration.record(took, told)
                if begun.is_recording():
                    begun.update_name(f"{method} {route}")
                    begun.set_attributes(told)
                    if status >= _FAILED:
                        begun.set_status(Status(StatusCode.ERROR))
