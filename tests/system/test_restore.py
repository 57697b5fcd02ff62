"""Each service's database lost and made again from Kafka, then Kafka lost and made again from the stores."""

import asyncio
import time
from typing import Any

import asyncpg
import pytest

from deploy.databases import prepare
from services import definition_of
from shared.eventlog.repair.republish import restore_topic
from shared.eventlog.repair.restore import Restored, ServiceDefinition, restore_store
from shared.eventlog.repair.verify import verify
from shared.services import SERVICES
from tests.databases import password
from tests.remade import remade
from tests.system.comparing import contents, differences
from tests.system.running import System

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.long]


def whole_of(service: str) -> ServiceDefinition:
    return definition_of(service).whole()


async def dropped(system: System, service: str) -> None:
    """The database goes; what is private, which no event tells, comes back from its own backup."""
    dsn = system.dsns()[service]
    db = await asyncpg.connect(dsn)
    saved = {table: await db.fetch(f"select * from {table}") for table in definition_of(service).private_tables}
    await db.close()
    admin = await asyncpg.connect(f"{system.postgres.url}/postgres")
    await admin.execute(f"drop database tenure_{service} with (force)")
    await admin.close()
    await prepare(system.postgres.url, password, whole_cluster=True)
    db = await asyncpg.connect(dsn)
    for table, rows in saved.items():
        await db.execute(f"delete from {table}")  # a salt is made with its table
        if rows:
            await db.copy_records_to_table(table, columns=list(rows[0].keys()), records=[tuple(r) for r in rows])
    await db.close()


def _begins_nothing_anew(system: System, service: str) -> None:
    """A supervisor may start the service on its empty database: it takes no commands, from nobody."""

    async def head() -> Any:
        db = await asyncpg.connect(system.dsns()[service])
        try:
            return await db.fetchrow("select position, fenced from log.head")
        finally:
            await db.close()

    system.services[service].spawn()
    deadline = time.monotonic() + 40
    while not (asyncio.run(head()))["fenced"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(3)  # its consumers have read by now
    stands = asyncio.run(head())
    assert stands["position"] == 0
    assert "is ahead of the store by" in stands["fenced"]
    system.services[service].stop()


@pytest.mark.parametrize("service", SERVICES)
def test_a_database_that_was_lost_comes_back_from_kafka(expendable: System, service: str) -> None:
    dsn, access = expendable.dsns()[service], expendable.kafka.access
    positions = {name: e.position for name, e in expendable.assert_sound().items()}
    before = asyncio.run(contents(dsn))
    expendable.services[service].stop()
    asyncio.run(dropped(expendable, service))
    if service == "entitlements":
        _begins_nothing_anew(expendable, service)

    dry: Restored = asyncio.run(restore_store(whole_of(service), dsn, access))
    assert dry.events == positions[service]
    done = asyncio.run(restore_store(whole_of(service), dsn, access, dry_run=False))
    assert done.events == done.head == positions[service]
    again = asyncio.run(restore_store(whole_of(service), dsn, access, dry_run=False))
    assert (again.events, again.claims, again.folded, again.moved) == (0, 0, 0, 0)

    expendable.services[service].start()
    expendable.forgetful.add(service)
    after = {name: e.position for name, e in expendable.assert_sound().items()}
    assert after == positions, "no effect was repeated"
    assert differences(before, asyncio.run(contents(dsn))) == {}
    report = asyncio.run(verify(service, dsn, access))
    assert report.findings.first == []


def test_kafka_that_was_lost_comes_back_from_the_stores(expendable: System) -> None:
    sound = expendable.assert_sound()
    positions = {name: e.position for name, e in sound.items()}
    expendable.former = [each for found in sound.values() if found.foreign for each in found.topic]
    before = {name: asyncio.run(contents(dsn)) for name, dsn in expendable.dsns().items()}
    for process in expendable.services.values():
        process.stop()
    asyncio.run(remade(expendable.kafka.access))
    for service, dsn in expendable.dsns().items():
        done = asyncio.run(
            restore_topic(service, dsn, expendable.kafka.access, consumers=expendable.dsns(), dry_run=False)
        )
        assert (done.before, done.events) == (0, positions[service])
    for process in expendable.services.values():
        process.start()
    assert {name: e.position for name, e in expendable.assert_sound().items()} == positions, "no effect was repeated"
    for service, dsn in expendable.dsns().items():
        assert differences(before[service], asyncio.run(contents(dsn))) == {}
        report = asyncio.run(verify(service, dsn, expendable.kafka.access))
        assert report.findings.first == []


def test_the_story_goes_on(expendable: System) -> None:
    assert "The story holds" in expendable.tell()
    expendable.assert_sound()
