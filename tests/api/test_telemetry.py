"""Traces, metrics and logs tell of a node's work, and of nobody in its cases."""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families

from api.client import RefusedError
from api.client.trace_context import pass_on
from api.runtime.trace_context import in_log
from ledger.system import telemetry
from ledger.system.telemetry import span
from tests.support.actions import opening
from tests.support.serving import Server
from tests.test_docs import ROOT

START = datetime(2026, 1, 5, 8, tzinfo=UTC)
NAME = "zq0123456789abcdef"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """Collect the spans of the block. No provider of the process is touched."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(telemetry, "_tracer", provider.get_tracer("test"))
    yield exporter
    provider.shutdown()


def told(finished: tuple[ReadableSpan, ...]) -> str:
    return "\n".join(one.to_json() for one in finished)


def test_an_append_is_one_trace_through_every_part(
    spans: InMemorySpanExporter, served: Server
) -> None:
    case = uuid4()
    with span("caller"):
        served.client("xk-dhtqnj").append(opening(acted_at=START, first_name=NAME), case, 0)
    with pytest.raises(RefusedError):
        served.client("xk-dhtqnj").append(opening(acted_at=START, first_name=NAME), case, 0)
    every = spans.get_finished_spans()
    (caller,) = (one for one in every if one.name == "caller")
    finished = {one.name: one for one in every if one.context.trace_id == caller.context.trace_id}
    route = "POST /v1/cases/{case_id}/actions"
    assert finished.keys() == {"caller", route, "ledger.record", "ledger.append", "vault.deposit"}
    assert finished[route].attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/cases/{case_id}/actions",
        "http.response.status_code": 201,
    }
    everything = told(spans.get_finished_spans())
    for kept in (NAME, str(case), case.hex, "127.0.0.1", "Authorization", "Bearer"):
        assert kept not in everything


def test_an_error_is_marked_by_its_class_and_no_more(spans: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match=NAME), span("work"):
        raise ValueError(NAME)
    (one,) = spans.get_finished_spans()
    assert one.attributes == {"error.type": "ValueError"}
    assert one.events == ()
    assert NAME not in told((one,))


@pytest.mark.usefixtures("spans")
def test_a_trace_is_passed_on_and_named_in_the_log() -> None:
    headers: dict[str, str] = {}
    pass_on(headers)
    assert (headers, in_log(None, "info", {})) == ({}, {})
    with span("work") as one:
        trace_id = f"{one.get_span_context().trace_id:032x}"
        pass_on(headers)
        assert headers["traceparent"].split("-")[1] == trace_id
        assert in_log(None, "info", {"event": "request"})["trace_id"] == trace_id


def test_requests_are_counted_by_route_and_tell_nothing_else(served: Server) -> None:
    case = uuid4()
    police = served.client("xk-dhtqnj")
    receipt = police.append(opening(acted_at=START, first_name=NAME), case, 0)
    police.case(case, at_least=receipt.position)
    httpx.get(f"{served.url}/v1/cases/{case}")
    httpx.get(f"{served.url}/v1/cases/{case}?name={NAME}")
    httpx.request("BREW", f"{served.url}/{NAME}")
    text = httpx.get(f"{served.url}/metrics").text
    assert NAME not in text
    assert str(case) not in text
    counted = {
        (s.labels["method"], s.labels["route"], s.labels["status"]): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
        if s.name == "case_ledger_request_seconds_count"
    }
    assert counted["POST", "/v1/cases/{case_id}/actions", "201"] == 1
    assert counted["GET", "/v1/cases/{case_id}", "200"] == 1
    assert counted["GET", "/v1/cases/{case_id}", "401"] == 1
    assert counted["GET", "/v1/cases/{case_id}", "422"] == 1
    assert {labels[0] for labels in counted} <= {"GET", "POST", "_OTHER"}


def test_the_dashboard_asks_for_what_a_node_tells(served: Server) -> None:
    dashboard = json.loads((ROOT / "docker" / "dashboard.json").read_text())
    asked = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"case_ledger_\w+", target["expr"])
    }
    httpx.get(f"{served.url}/health")
    text = httpx.get(f"{served.url}/metrics").text
    names = {s.name for family in text_string_to_metric_families(text) for s in family.samples}
    of_a_countrys_node = {"case_ledger_outbox_waiting", "case_ledger_ledger_reachable"}
    assert asked - names == of_a_countrys_node
    operations = (ROOT / "docs" / "operations.md").read_text()
    assert all(name.removeprefix("case_ledger") in operations for name in of_a_countrys_node)


def test_a_collector_gets_both_by_otlp(tmp_path: Path) -> None:
    got: dict[str, bytes] = {}

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    program = (
        "from api.runtime.telemetry_export import exporting\n"
        "from api.http.request_metrics import request_duration\n"
        "from ledger.system.telemetry import span\n"
        "with exporting() as is_on:\n"
        "    assert is_on\n"
        "    with span('work'): request_duration.record(0.1, {'http.route': '/x'})\n"
    )
    endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        subprocess.run(
            [sys.executable, "-c", program],
            env={"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "PYTHONPATH": str(ROOT)},
            check=True,
            timeout=60,
            cwd=tmp_path,
        )
    finally:
        server.shutdown()
        thread.join()
    assert got.keys() == {"/v1/traces", "/v1/metrics"}
    sent = ExportTraceServiceRequest.FromString(got["/v1/traces"])
    (resource,) = sent.resource_spans
    assert [one.name for one in resource.scope_spans[0].spans] == ["work"]
    assert b"http.server.request.duration" in got["/v1/metrics"]
    # Nobody asked for it: nothing is sent, and nothing is set up.
    quiet = (
        "from api.runtime.telemetry_export import exporting\n"
        "with exporting() as is_on: assert not is_on"
    )
    subprocess.run([sys.executable, "-c", quiet], env={"PYTHONPATH": str(ROOT)}, check=True)
