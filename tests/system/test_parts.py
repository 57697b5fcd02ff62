"""What the launcher starts, where its shortcuts can't be taken."""

import shutil
from pathlib import Path

import pytest

from deploy import AOT_CACHE
from deploy.stack import Kafka

pytestmark = pytest.mark.system


def test_kafka_starts_without_its_prepared_classes_where_they_were_damaged(tmp_path: Path) -> None:
    damaged = tmp_path / "kafka.aot"
    shutil.copy(AOT_CACHE, damaged)
    with damaged.open("r+b") as file:
        file.seek(damaged.stat().st_size // 2)
        file.write(b"damaged" * 100)
    kafka = Kafka(tmp_path / "kafka")
    assert str(AOT_CACHE) in kafka.ahead_of_time
    kafka.ahead_of_time = f"-XX:AOTCache={damaged}"
    with kafka:
        assert kafka.ready()
        kafka.kill()
    assert "Unable to map shared spaces" in kafka.log.read_text()
