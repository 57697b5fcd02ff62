"""The example data counts as loaded once the catalogue shows it, not once Kafka has it."""

from collections.abc import Callable

import pytest

from deploy import OperatorError
from deploy.data import TOPIC
from deploy.data.folded import until_folded
from tests.databases import as_operator, execute_as_operator

SENT = {0: 4, 2: 7}
STREAM = "plan-autodesk-C1RK1WW1762L158"
READ = f"""
    insert into engine.checkpoints (consumer, topic, partition, "offset")
    values ('marketplace.publisher', '{TOPIC}', 0, 4), ('marketplace.publisher', '{TOPIC}', 2, 9)"""
LISTED = f"""
    insert into log.events (position, stream, version, id, type, schema, time, correlation_id, causation_id, actor,
                            tenant, traceparent, prevhash, hash, command_id, data)
    select n, '{STREAM}', n, gen_random_uuid(), 'PlanListed', 1, now(), '', '', '', '', '', '', '', '', '{{}}'
    from generate_series(1, 2) n"""


def seen(version: int) -> str:
    return f"""
        insert into engine.seen (consumer, stream, version) values ('marketplace.catalogue', '{STREAM}', {version})
        on conflict (consumer, stream) do update set version = excluded.version"""


@pytest.fixture
def marketplace(databases: Callable[[str], str]) -> str:
    return databases("marketplace")


async def missing(dsn: str) -> str:
    """What is said to be missing, "" for nothing."""
    try:
        await until_folded(as_operator(dsn), SENT, patience_s=0)
    except OperatorError as trouble:
        return str(trouble)
    return ""


async def test_records_that_marketplace_has_not_read_are_waited_for(marketplace: str) -> None:
    assert "marketplace.publisher has not processed all records" in await missing(marketplace)
    await execute_as_operator(
        marketplace, READ, f"update engine.checkpoints set \"offset\" = 6 where topic = '{TOPIC}'"
    )
    assert "in partition 2" in await missing(marketplace)


async def test_plans_that_the_catalogue_has_not_folded_are_waited_for(marketplace: str) -> None:
    await execute_as_operator(marketplace, READ, LISTED)
    assert "marketplace.catalogue has not folded 1 plans" in await missing(marketplace)
    await execute_as_operator(marketplace, seen(1))
    assert "marketplace.catalogue has not folded 1 plans" in await missing(marketplace)


async def test_a_catalogue_that_shows_all_plans_is_ready(marketplace: str) -> None:
    await execute_as_operator(marketplace, READ, LISTED, seen(2))
    assert await missing(marketplace) == ""
