"""The trace that an arriving request or a log line belongs to (W3C Trace Context)."""

from collections.abc import Mapping, MutableMapping
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

TRACE_HEADER = b"traceparent"
_context = TraceContextTextMapPropagator()


def passed_on(headers: Mapping[str, str]) -> Context | None:
    """Return the trace that a request names; ``None`` for a request without headers."""
    return _context.extract(headers) if headers else None


def in_log(_: object, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the current trace to a log line, if there is one (a structlog processor)."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        line["trace_id"] = f"{context.trace_id:032x}"
        line["span_id"] = f"{context.span_id:016x}"
    return line
