"""The console's settings beside those of the services."""

import pytest

from shared.runtime.settings import edge_settings


def test_an_edge_needs_no_user_of_kafka(monkeypatch: pytest.MonkeyPatch) -> None:
    """The compose file gives every container the same variables, and only the services have users."""
    monkeypatch.setenv("KAFKA_SECURITY", "sasl_tls")
    monkeypatch.delenv("KAFKA_USERNAME", raising=False)
    assert edge_settings().kafka.username is None
