"""A trace of a verb's run, with its requests to services."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from shared.runtime.metrics import Metrics
from shared.runtime.traces import are_recorded, tracer_of
from shared.tracing import ACTIVE, Active

NAME: Final = "tenure"


@contextmanager
def recorded(verb: str) -> Iterator[None]:
    """Record a verb's run, if the environment names a collector."""
    tracer = tracer_of(NAME, Metrics(NAME)) if are_recorded(os.environ) else None
    if tracer is None:
        yield
        return
    span = tracer.start(f"{NAME} {verb}", "internal", "", {})
    before, error = ACTIVE.set(Active(tracer, span.context)), ""
    try:
        yield
    except BaseException as fault:
        error = type(fault).__name__
        raise
    finally:
        ACTIVE.reset(before)
        span.end(error)
        tracer.close()
