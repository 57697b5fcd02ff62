"""The console's settings beside those of the services."""

import pytest

from shared.runtime.settings import edge_settings


def test_an_edge_without_kafka_needs_no_user_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_SECURITY", "sasl_tls")
    monkeypatch.delenv("KAFKA_BOOTSTRAP", raising=False)
    monkeypatch.delenv("KAFKA_USERNAME", raising=False)
    assert edge_settings().kafka.username is None
