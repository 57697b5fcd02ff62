"""The run of a verb is a trace, to which its requests to services belong."""

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from cli import recorded
from shared.runtime.spans import OtelTracer
from shared.services import SERVICES, url_variable
from shared.tracing import ACTIVE
from tests.cli.conftest import Tenure


def test_a_verb_is_recorded_with_its_requests_and_how_they_ended(
    tenure: Tenure, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter = InMemorySpanExporter()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setattr(recorded, "tracer_of", lambda name, _: OtelTracer(name, lambda *_: None, exporter))
    for service in SERVICES:
        monkeypatch.setenv(url_variable(service), "http://127.0.0.1:1")
    assert tenure("command", "ls").code == 3
    request, verb = exporter.get_finished_spans()
    assert (request.name, verb.name) == ("GET", "tenure command ls")
    assert verb.parent is None and verb.context is not None and request.parent is not None
    assert request.parent.span_id == verb.context.span_id
    for span in (request, verb):
        assert span.attributes is not None and span.attributes["error.type"] == "ConnectError"
    assert ACTIVE.get() is None


def test_nothing_is_recorded_where_no_collector_is_named(tenure: Tenure, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    monkeypatch.setattr(recorded, "tracer_of", lambda name, _: made.append(name))
    for service in SERVICES:
        monkeypatch.setenv(url_variable(service), "http://127.0.0.1:1")
    assert tenure("command", "ls").code == 3 and made == []
