"""What the launcher starts, where its shortcuts can't be taken."""

import shutil
from pathlib import Path

import asyncpg
import pytest

from deploy import AOT_CACHE, OperatorError
from deploy.stack import Kafka, Postgres

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


async def _databases(postgres: Postgres) -> set[str]:
    db = await asyncpg.connect(f"{postgres.url}/postgres")
    try:
        return {name for (name,) in await db.fetch("select datname from pg_database")}
    finally:
        await db.close()


async def test_restored_data_of_postgresql_is_kept_and_needs_its_password(tmp_path: Path) -> None:
    with Postgres(tmp_path / "lost") as postgres:
        db = await asyncpg.connect(f"{postgres.url}/postgres")
        await db.execute("create database kept")
        await db.close()
    shutil.copytree(tmp_path / "lost" / "data", tmp_path / "restored" / "data")
    restored = Postgres(tmp_path / "restored")
    with pytest.raises(OperatorError, match="password is missing"):
        restored.start()
    shutil.copy2(tmp_path / "lost" / "password", tmp_path / "restored" / "password")
    with restored:
        assert "kept" in await _databases(restored)


def test_restored_data_of_kafka_is_kept(tmp_path: Path) -> None:
    with Kafka(tmp_path / "lost"):
        pass
    shutil.copytree(tmp_path / "lost" / "data", tmp_path / "restored" / "data")
    with Kafka(tmp_path / "restored"):
        cluster = [(tmp_path / name / "data" / "meta.properties").read_text() for name in ("lost", "restored")]
        assert cluster[0] == cluster[1]


@pytest.mark.parametrize(("kind", "complete"), [(Postgres, "PG_VERSION"), (Kafka, "meta.properties")])
def test_data_whose_creation_was_interrupted_is_created_again(
    tmp_path: Path, kind: type[Postgres | Kafka], complete: str
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / complete).write_text("half of it")
    (tmp_path / "begun").touch()
    with kind(tmp_path) as server:
        assert server.ready()
    assert not (tmp_path / "begun").exists()
