"""Whether a process records traces, by OpenTelemetry's standard variables."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from shared.runtime.metrics import Metrics

if TYPE_CHECKING:  # OpenTelemetry's SDK is imported by processes that record traces only
    from shared.runtime.spans import OtelTracer

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def are_recorded(environment: Mapping[str, str]) -> bool:
    """Return whether spans are recorded: there is an endpoint, and nothing turns them off."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    exporters = {each.strip() for each in environment.get("OTEL_TRACES_EXPORTER", "otlp").split(",")}
    return "otlp" in exporters and any(environment.get(name) for name in _ENDPOINTS)


def tracer_of(service: str, metrics: Metrics) -> "OtelTracer | None":
    """Return the tracer of this process, or None if its environment does not name a collector."""
    if not are_recorded(os.environ):
        return None
    from shared.runtime.spans import OtelTracer

    return OtelTracer(service, metrics.spans())
