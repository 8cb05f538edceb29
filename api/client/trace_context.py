"""The trace that a request belongs to (W3C Trace Context, https://www.w3.org/TR/trace-context/)."""

from collections.abc import MutableMapping

from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_context = TraceContextTextMapPropagator()


def pass_on(headers: MutableMapping[str, str]) -> None:
    """Add the current trace to the headers of a request, if there is one."""
    _context.inject(headers)
