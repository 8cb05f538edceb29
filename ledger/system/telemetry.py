"""Spans of work that takes time, by OpenTelemetry: none if no exporter is set up.

A span names the work and its amount. It never names a person or a case: it has no id of a case and
no field. Of an error it has the class alone, for a message may hold content that an agency sent.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

_tracer = trace.get_tracer("case-ledger")
_NOTHING = nullcontext(trace.INVALID_SPAN)


def span(
    name: str,
    attributes: dict[str, str | int] | None = None,
    *,
    parent: Context | None = None,
    kind: SpanKind = SpanKind.INTERNAL,
) -> AbstractContextManager[Span]:
    """Return a span around a block; an error that leaves the block marks the span."""
    if _is_off():
        return _NOTHING  # the library's own nothing costs a twentieth of recording an action
    return _recorded(name, attributes, parent, kind)


def _is_off() -> bool:
    provider = trace.get_tracer_provider()
    return isinstance(_tracer, trace.ProxyTracer) and isinstance(
        provider, trace.ProxyTracerProvider
    )


@contextmanager
def _recorded(
    name: str,
    attributes: dict[str, str | int] | None,
    parent: Context | None,
    kind: SpanKind,
) -> Iterator[Span]:
    with _tracer.start_as_current_span(
        name,
        context=parent,
        kind=kind,
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as begun:
        try:
            yield begun
        except Exception as error:
            begun.set_status(Status(StatusCode.ERROR))
            begun.set_attribute("error.type", type(error).__name__)
            raise
