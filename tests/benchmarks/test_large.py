"""The stores that are filled by SQL are what appends would have made."""

import asyncpg
import pytest

from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.repair.verify import verify
from tests.benchmarks.large import WAYS, Large
from tests.benchmarks.measure import SERVICE
from tests.databases import as_operator
from tests.system import parts

pytestmark = pytest.mark.system


async def test_a_filled_store_is_sound_and_takes_appends(
    postgres: parts.Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", postgres.url)
    db = await asyncpg.connect(f"{postgres.url}/postgres")
    store = Large(20_000)
    await store.open(db)
    for way in WAYS:
        await store.append(way, 100)
    report = await verify(SERVICE, as_operator(store.dsn), KafkaAccess(bootstrap="none is asked"), topic=False)
    assert (report.sound, report.events) == (True, 20_000 + 100 * len(WAYS)), report
    await store.close()
    await db.close()
