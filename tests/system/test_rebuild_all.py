"""Every projection of a running system, made anew from the stores and from Kafka, is what the live consumers made."""

import asyncio
from datetime import UTC, datetime
from typing import Final

import pytest

from services import definitions
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.repair.asof import as_of
from shared.eventlog.repair.rebuild import From, Rebuild
from shared.runtime.service import Service
from tests.system.running import System

pytestmark = [pytest.mark.system, pytest.mark.long]
SERVICES: Final = definitions()


async def _rebuild(service: Service, dsn: str, access: KafkaAccess, source: From) -> int:
    folded = 0
    for projection in service.projections:
        report = await Rebuild(service.name, projection, dsn, access, source=source).run()
        assert (report.state, report.agrees) == ("switched", True), (projection.name, report)
        folded += report.events
    return folded


async def _as_of_now(service: Service, dsn: str, access: KafkaAccess) -> None:
    """The same rows as a rebuild compares; timers that have fired are among them, though."""
    for projection in service.projections:
        if projection.name == "timers":
            continue
        async with as_of(service.name, projection, dsn, access, time=datetime.now(UTC)) as now:
            report = await Rebuild(service.name, projection, dsn, access).run()
            rows = {table: each.rows for table, each in report.tables.items()}
            assert projection.name == "directory" or now.tables == rows, projection.name


@pytest.mark.parametrize("source", ["store", "kafka"])
def test_all_tables_are_made_again(running: System, source: From) -> None:
    running.evidence()  # at rest
    for service in SERVICES:
        folded = asyncio.run(_rebuild(service, running.dsns()[service.name], running.kafka.access, source))
        assert folded > 0, service.name
    running.tell()  # with the new tables, all the same
    running.assert_sound()


def test_as_of_now_they_are_as_they_are(running: System) -> None:
    running.evidence()  # at rest
    for service in SERVICES:
        asyncio.run(_as_of_now(service, running.dsns()[service.name], running.kafka.access))
    running.assert_sound()
