"""The spans of what is published and consumed, for events whose trace is recorded.

Names and attributes are those of OpenTelemetry's semantic conventions for messaging and CloudEvents. A topic has an
event as it is stored, with the context of the command that made it. The relay's span of an event gets its id from the
event's hash, so that a consumer continues the trace from that span, which no header names.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol, TypeAlias

from shared import trace_context
from shared.eventlog.deliver.projection import Projection, Reactions
from shared.eventlog.deliver.received import Received
from shared.events.envelope import Envelope, StoredEvent
from shared.tracing import Span, Tracer

Act: TypeAlias = Callable[[Received], Awaitable[object]]


def _attributes(operation: str, topic: str, partition: int, envelope: Envelope) -> dict[str, str | int]:
    return {
        "messaging.system": "kafka",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": topic,
        "messaging.destination.partition.id": str(partition),
        "messaging.message.id": envelope.id,
        "cloudevents.event_id": envelope.id,
        "cloudevents.event_source": envelope.source,
        "cloudevents.event_type": envelope.type,
        "tenure.stream": envelope.stream,
    }


def _sent_by(envelope: Envelope) -> str:
    """Return the id of the relay's span of an event of a service's log."""
    return envelope.hash[: trace_context.SPAN_CHARACTERS // 2].hex()


def report_sent(
    tracer: Tracer, topic: str, partition: int, events: Sequence[StoredEvent], began_ns: int, error: str
) -> None:
    """Record a span for each event of an acknowledged batch, or of one that failed."""
    for envelope, _ in events:
        if trace_context.is_sampled(envelope.traceparent):
            attributes = _attributes("send", topic, partition, envelope)
            attributes["tenure.position"] = envelope.position or 0
            span = tracer.start(
                f"send {topic}",
                "producer",
                envelope.traceparent,
                attributes,
                begun_ns=began_ns,
                span_id=_sent_by(envelope),
            )
            span.end(error)


class Traced(Protocol):
    """What a consumer asks of the spans of a batch."""

    def around(self, act: Act) -> Act:
        """Return the function with a span around each call."""
        ...

    def context_of(self, record: Received, envelope: Envelope) -> str:
        """Return the trace context for what follows from a record."""
        ...

    def end(self, error: str = "") -> None:
        """End the spans of the batch after its commit, or after the error that it ended with."""


class _Untraced:
    def around(self, act: Act) -> Act:
        return act

    def context_of(self, record: Received, envelope: Envelope) -> str:
        return _context(record, envelope)

    def end(self, error: str = "") -> None:
        pass


UNTRACED: Final[Traced] = _Untraced()
"""The spans of a batch where none are recorded."""


class BatchSpans:
    """The spans of one batch of a consumer.

    Each event has the span of its processing, which ends with the commit. In it, a projection has the span of its fold,
    and reactions have the spans of their commands.
    """

    def __init__(self, tracer: Tracer, consumer: str, definition: Projection | Reactions[Any]) -> None:
        self._tracer, self._consumer = tracer, consumer
        self._tables = ",".join(definition.tables) if isinstance(definition, Projection) else None
        self._spans: dict[int, Span] = {}

    def around(self, act: Act) -> Act:
        self._spans.clear()  # a batch that is folded again has these spans anew

        async def traced(record: Received) -> None:
            envelope = record.envelope
            context = "" if envelope is None else _context(record, envelope)
            if envelope is None or record.event is None or not trace_context.is_sampled(context):
                await act(record)
                return
            raw = record.raw
            span = self._tracer.start(
                f"process {raw.topic}",
                "consumer",
                trace_context.at_span(context, _sent_by(envelope)) if record.sequenced else context,
                {
                    **_attributes("process", raw.topic, raw.partition, envelope),
                    "messaging.consumer.group.name": self._consumer,
                    "messaging.kafka.offset": raw.offset,
                },
            )
            self._spans[id(record)] = span
            fold = None if self._tables is None else self._fold(span.context, self._tables)
            error = ""
            try:
                await act(record)
            except Exception as fault:
                error = type(fault).__name__
                self._spans.pop(id(record)).end(error)
                raise
            finally:
                if fold is not None:
                    fold.end(error)

        return traced

    def _fold(self, context: str, tables: str) -> Span:
        attributes = {"db.system.name": "postgresql", "db.operation.name": "fold", "tenure.tables": tables}
        return self._tracer.start(f"fold {self._consumer}", "client", context, attributes)

    def context_of(self, record: Received, envelope: Envelope) -> str:
        span = self._spans.get(id(record))
        return _context(record, envelope) if span is None else span.context

    def end(self, error: str = "") -> None:
        for span in self._spans.values():
            span.end(error)
        self._spans.clear()


def _context(record: Received, envelope: Envelope) -> str:
    """Return the trace context of a record; "" if a publisher's is invalid."""
    return envelope.traceparent if record.sequenced else trace_context.continued(envelope.traceparent)
