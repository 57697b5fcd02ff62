"""OpenTelemetry's spans, exported by OTLP over HTTP.

The spans are exported by a thread of their own from a bounded queue. If the collector does not keep up or cannot be
reached, spans are dropped and counted; nothing waits for it.
"""

import logging
import os
import threading
from collections.abc import Callable, Sequence
from typing import Final

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.environment_variables import OTEL_BSP_MAX_QUEUE_SIZE, OTEL_SERVICE_NAME
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)
from opentelemetry.trace import Span as RecordedSpan

from shared import trace_context
from shared.tracing import Attributes, Kind

logger = structlog.get_logger("traces")

LAST_S: Final = 2.0
"""How long the end of a process waits for its last spans to be exported."""
_QUEUE: Final = 2048
_KINDS: Final = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}

Count = Callable[[str, int], None]
"""A function that takes what became of spans (`exported`, `failed`, `queue-full`) and their number."""


class _Counting(SpanExporter):
    """An exporter that counts what became of spans.

    It logs once when it begins to fail, and once when it works again.
    """

    def __init__(self, exporter: SpanExporter, count: Count) -> None:
        self._exporter, self._count = exporter, count
        self.taken = 0
        self._failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.taken += len(spans)
        result = self._exporter.export(spans)
        failed = result is not SpanExportResult.SUCCESS
        self._count("failed" if failed else "exported", len(spans))
        if failed is not self._failing:
            self._failing = failed
            if failed:
                logger.warning("spans cannot be exported: they are dropped")
            else:
                logger.info("spans are exported again")
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


class _Queue(BatchSpanProcessor):
    """The SDK's queue, with a count of the spans for which it has no room.

    The spans of the batch that is being exported count as well.
    """

    def __init__(self, exporter: _Counting, count: Count, size: int) -> None:
        super().__init__(exporter, max_queue_size=size, max_export_batch_size=min(512, size))
        self._counting, self._count, self._size = exporter, count, size
        self._given = 0

    def on_end(self, span: ReadableSpan) -> None:
        if span.context is None or not span.context.trace_flags.sampled:
            return
        if self._given - self._counting.taken >= self._size:
            self._count("queue-full", 1)
            return
        self._given += 1
        super().on_end(span)


class _Ids(RandomIdGenerator):
    """A generator of ids, which can be told that of its thread's next span."""

    def __init__(self) -> None:
        self._of_thread = threading.local()

    def next_span(self, span_id: str) -> None:
        self._of_thread.span = int(span_id, 16)

    def generate_span_id(self) -> int:
        known: int = self._of_thread.__dict__.pop("span", 0)
        return known or super().generate_span_id()


class OtelSpan:
    """A span of OpenTelemetry's."""

    __slots__ = ("_span",)

    def __init__(self, span: RecordedSpan) -> None:
        self._span = span

    @property
    def context(self) -> str:
        at = self._span.get_span_context()
        parent = f"00-{at.trace_id:032x}-{at.span_id:016x}-{at.trace_flags & TraceFlags.SAMPLED:02x}"
        return trace_context.joined(parent, at.trace_state.to_header())

    def note(self, attributes: Attributes) -> None:
        self._span.set_attributes(attributes)

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def end(self, error: str = "") -> None:
        if error:
            self._span.set_attribute("error.type", error)
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


class OtelTracer:
    """The tracer of a process."""

    def __init__(self, service: str, count: Count, exporter: SpanExporter | None = None) -> None:
        """Start to export.

        Args:
            exporter: Exports instead of OTLP's, for tests.
        """
        for name in ("opentelemetry", "urllib3"):  # what they say in each failed attempt is said once here
            logging.getLogger(name).setLevel(logging.CRITICAL)
        resource = Resource.create(
            {"service.name": os.environ.get(OTEL_SERVICE_NAME) or service, "service.namespace": "tenure"}
        )
        # The limits keep a span small, whatever an id or a type of others is.
        self._ids = _Ids()
        self._provider = TracerProvider(
            resource=resource,
            span_limits=SpanLimits(max_span_attribute_length=200),
            shutdown_on_exit=False,
            id_generator=self._ids,
        )
        counting = _Counting(exporter or OTLPSpanExporter(), count)
        self._provider.add_span_processor(_Queue(counting, count, _queue_size()))
        self._tracer = self._provider.get_tracer("tenure")

    def start(
        self,
        name: str,
        kind: Kind,
        context: str,
        attributes: Attributes,
        *,
        begun_ns: int | None = None,
        span_id: str = "",
    ) -> OtelSpan:
        if span_id:
            self._ids.next_span(span_id)
        span = self._tracer.start_span(name, _remote(context), _KINDS[kind], attributes, start_time=begun_ns)
        return OtelSpan(span)

    def close(self) -> None:
        """Export what is left, as far as that takes no longer than `LAST_S`."""
        last = threading.Thread(target=self._provider.shutdown, daemon=True)
        last.start()
        last.join(LAST_S)


def _queue_size() -> int:
    given = os.environ.get(OTEL_BSP_MAX_QUEUE_SIZE, "")
    return int(given) if given.isdecimal() and int(given) > 0 else _QUEUE


def _remote(context: str) -> Context:
    """Return OpenTelemetry's form of a trace context, of a root if it is "" or invalid."""
    parent, state = trace_context.split(trace_context.continued(context))
    if not parent:
        return Context()
    _, trace, span, flags = parent.split("-")
    found = SpanContext(
        int(trace, 16),
        int(span, 16),
        True,
        TraceFlags(int(flags, 16)),
        TraceState.from_header([state] if state else []),
    )
    return set_span_in_context(NonRecordingSpan(found), Context())
