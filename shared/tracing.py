"""Spans, as far as the engine and the routes know them.

`shared.runtime.spans` records them. Whatever makes spans has an optional `Tracer`. Without one it makes
none, and costs nothing.
"""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

Kind: TypeAlias = Literal["internal", "server", "client", "producer", "consumer"]
Attributes: TypeAlias = Mapping[str, str | int]
"""What a span says. Never names, addresses or texts of people: ids, types and numbers."""


class Span(Protocol):
    """One piece of work in a trace. Its methods must not raise or wait."""

    @property
    def context(self) -> str:
        """The trace context for what the work leads to (`shared.trace_context`)."""
        ...

    def note(self, attributes: Attributes) -> None:
        """Add attributes."""

    def rename(self, name: str) -> None:
        """Name the span, where its name is known late."""

    def end(self, error: str = "") -> None:
        """End the work. A span that is never ended is not recorded.

        Args:
            error: The class of the error that it ended with, or "".
        """


class Tracer(Protocol):
    """A maker of spans. It must not raise or wait."""

    def start(
        self,
        name: str,
        kind: Kind,
        context: str,
        attributes: Attributes,
        *,
        begun_ns: int | None = None,
        span_id: str = "",
    ) -> Span:
        """Begin a span.

        Args:
            context: The trace context that it continues, or "" for a new trace.
            begun_ns: When the work began, in nanoseconds since 1970; None means now.
            span_id: The span's id in hexadecimal, for one that others know before it is made; "" for a new one.
        """
        ...


class Active(NamedTuple):
    """The span that a task belongs to."""

    tracer: Tracer
    context: str
    """The trace context of the present span."""


ACTIVE: Final[ContextVar[Active | None]] = ContextVar("active", default=None)
"""The span that this task serves, for requests to services that follow from it; None where none is recorded."""
