"""Logging to standard error, one line an entry, for the services and their libraries."""

import logging
import sys
from typing import Any, Final, Literal

import structlog
from structlog.typing import Processor

_QUIET: Final = {"aiokafka": "ERROR", "faststream": "WARNING", "alembic": "WARNING", "httpx": "WARNING"}
# Tracebacks have no local variables, because these may contain passwords and tokens.
_TRACES: Final = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)
_QUIET_DETAILS: Final = ("aiokafka.consumer.group_coordinator", "aiokafka.conn", "aiokafka.cluster")


def configure(service: str, form: Literal["json", "console"], level: str) -> None:
    """Configure logging. Every line has the service and the bound context (correlation id)."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        _named(service),
    ]
    if form == "json":
        last: list[Processor] = [_TRACES, structlog.processors.JSONRenderer(default=str)]
    else:
        plain = structlog.dev.plain_traceback
        last = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name, quiet in _QUIET.items():
        logging.getLogger(name).setLevel(quiet)
    for name in _QUIET_DETAILS:
        logging.getLogger(name).setLevel("CRITICAL")
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _named(service: str) -> Processor:
    def name(_: Any, __: str, line: Any) -> Any:
        line["service"] = service
        return line

    return name
