"""The trace that a piece of work belongs to: as another node names it, and as the log does."""

from collections.abc import Mapping, MutableMapping
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

TRACE_HEADER = b"traceparent"
_context = TraceContextTextMapPropagator()


def pass_on(headers: MutableMapping[str, str]) -> None:
    """Name the current trace in a request to another node (W3C Trace Context)."""
    _context.inject(headers)


def passed_on(headers: Mapping[str, str]) -> Context | None:
    """The trace that a request names, where it names one."""
    return _context.extract(headers) if headers else None


def in_log(_: object, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A log line with the trace that it belongs to, where there is one (structlog processor)."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        line["trace_id"] = f"{context.trace_id:032x}"
        line["span_id"] = f"{context.span_id:016x}"
    return line
