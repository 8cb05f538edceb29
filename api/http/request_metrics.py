"""Metrics and traces of a node's requests. They hold nothing of any case.

``/metrics`` always has the numbers. ``api.runtime.telemetry_export`` sends both to a collector.
"""

from opentelemetry import metrics, trace
from opentelemetry.trace import SpanKind, Status, StatusCode
from prometheus_client import CollectorRegistry, Histogram
from starlette.types import ASGIApp, Receive, Scope, Send

from api.http.middleware import RequestLog
from api.http.shared_durations import Durations, SharedDurations
from api.runtime.trace_context import TRACE_HEADER, passed_on
from ledger.system.telemetry import span

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_FAILED = 500
_ABOUT = "How long requests took, until their answer was sent"
request_duration = metrics.get_meter("case-ledger").create_histogram(
    "http.server.request.duration",
    unit="s",
    description="Duration of HTTP server requests.",
    explicit_bucket_boundaries_advisory=_SECONDS,
)


class OwnDurations:
    """Durations of the requests of this process alone."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            "case_ledger_request_seconds",
            _ABOUT,
            ("method", "route", "status"),
            registry=registry,
            buckets=_SECONDS,
        )

    def observe(self, method: str, route: str, status: str, seconds: float) -> None:
        """Count one request."""
        self._seconds.labels(method, route, status).observe(seconds)


def shared_durations(processes: int) -> SharedDurations:
    """Return durations that the processes share which are forked from this one."""
    return SharedDurations("case_ledger_request_seconds", _ABOUT, _SECONDS, processes)


class Requests(RequestLog):
    """Logs requests, and measures and traces them: method, route and status, and how long it took.

    ``durations`` has the numbers for ``/metrics``.
    """

    def __init__(self, app: ASGIApp, durations: Durations) -> None:
        super().__init__(app)
        self._durations = durations

    async def _watch(self, scope: Scope, receive: Receive, send: Send) -> None:
        named = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in scope["headers"]
            if name == TRACE_HEADER
        }
        with span("HTTP", parent=passed_on(named), kind=SpanKind.SERVER):
            await super()._watch(scope, receive, send)

    def _tell(self, method: str | None, route: str, status: int, seconds: float) -> None:
        super()._tell(method, route, status, seconds)
        method = method or "_OTHER"
        self._durations.observe(method, route, str(status), seconds)
        told: dict[str, str | int] = {
            "http.request.method": method,
            "http.route": route,
            "http.response.status_code": status,
        }
        request_duration.record(seconds, told)
        begun = trace.get_current_span()
        if begun.is_recording():
            begun.update_name(f"{method} {route}")
            begun.set_attributes(told)
            if status >= _FAILED:
                begun.set_status(Status(StatusCode.ERROR))
