"""Sends traces and metrics to a collector, by OTLP over HTTP.

Where ``OTEL_EXPORTER_OTLP_ENDPOINT`` is set; OpenTelemetry's other variables hold too.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from ledger.system.version import program_version

_ENDPOINTS = tuple(f"OTEL_EXPORTER_OTLP_{of}ENDPOINT" for of in ("", "TRACES_", "METRICS_"))


@contextmanager
def exporting() -> Iterator[bool]:
    """Export telemetry for as long as the block runs, and give whether an endpoint is set.

    The exporters of a process are chosen once: a second block exports to the first one's providers.
    """
    if not any(os.environ.get(name) for name in _ENDPOINTS):
        yield False
        return
    resource = Resource.create(
        {
            "service.name": os.environ.get("OTEL_SERVICE_NAME", "case-ledger"),
            "service.version": program_version(),
        }
    )
    traces = TracerProvider(resource=resource)
    traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    reader = PeriodicExportingMetricReader(OTLPMetricExporter())
    meters = MeterProvider(resource=resource, metric_readers=[reader])
    trace.set_tracer_provider(traces)
    metrics.set_meter_provider(meters)
    try:
        yield True
    finally:
        traces.shutdown()
        meters.shutdown()
