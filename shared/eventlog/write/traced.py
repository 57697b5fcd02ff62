"""A log whose commands are spans."""

from collections.abc import Callable
from typing import TypeVar

from shared.eventlog.decision import Stream
from shared.eventlog.write.conditions import Condition
from shared.eventlog.write.log import Accepted, Answer, Log, Meta, Observer
from shared.eventlog.write.sealing import Sealer
from shared.eventlog.write.store import Store
from shared.events.base import Event
from shared.tracing import Attributes, Tracer

S = TypeVar("S")
C = TypeVar("C")
E = TypeVar("E", bound=Event)


class TracedLog(Log):
    """A log that records a span for each command: from its turn on the stream to the commit.

    The command's events have the span's trace context, so that what follows from them continues it.
    """

    def __init__(
        self,
        store: Store,
        service: str,
        tracer: Tracer,
        *,
        observer: Observer | None = None,
        sealer: Sealer | None = None,
    ) -> None:
        super().__init__(store, service, observer=observer, sealer=sealer)
        self._tracer, self._service = tracer, service

    async def execute(
        self,
        stream: Stream[S, C, E],
        key: str,
        command: C,
        meta: Meta,
        condition: Condition | None = None,
        decided: Callable[[], None] | None = None,
    ) -> Answer:
        span = self._tracer.start(
            f"execute {type(command).__name__}",
            "internal",
            meta.traceparent,
            {
                "db.system.name": "postgresql",
                "db.operation.name": "log.append",
                "tenure.store": self._service,
                "tenure.stream": stream.id(key),
                "tenure.command": type(command).__name__,
            },
        )
        error = ""
        try:
            traced = meta._replace(traceparent=span.context)
            answer = await super().execute(stream, key, command, traced, condition, decided)
            span.note(_outcome(answer))
        except BaseException as fault:
            error = type(fault).__name__
            raise
        finally:
            span.end(error)
        return answer


def _outcome(answer: Answer) -> Attributes:
    if not isinstance(answer, Accepted):
        return {"tenure.outcome": "refused", "tenure.rule": answer.rule}
    outcome = {"tenure.outcome": "repeated" if answer.repeated else "accepted", "tenure.version": answer.version}
    if answer.events:
        positions = {
            "tenure.first_position": answer.events[0].position,
            "tenure.last_position": answer.events[-1].position,
        }
        outcome |= positions
        outcome["tenure.events"] = ",".join(recorded.event.type() for recorded in answer.events)
    return outcome
