"""`tenure checkpoint`: shown, moved by hand, and recorded."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import asyncpg
import pytest

from shared.events.registry import IDENTITY, INBOUND
from tests.cli.conftest import Tenure
from tests.cli.stores import send
from tests.conftest import in_a_loop
from tests.system import parts

pytestmark = pytest.mark.system
YES = ("--yes", "--reason", "a test")
CONSUMER = "marketplace.publisher"


async def on(dsn: str, query: str, *arguments: Any) -> list[Any]:
    db = await asyncpg.connect(dsn)
    try:
        return [tuple(row.values()) for row in await db.fetch(query, *arguments)]
    finally:
        await db.close()


def at(dsn: str, topic: str, offset: int) -> None:
    asyncio.run(
        on(
            dsn,
            'insert into engine.checkpoints (consumer, topic, partition, "offset") values ($1, $2, 0, $3)',
            CONSUMER,
            topic,
            offset,
        )
    )


def test_checkpoints_are_listed_by_consumer_and_partition(tenure: Tenure, stores: Mapping[str, str]) -> None:
    at(stores["marketplace"], INBOUND, 7)
    said = tenure("checkpoint", "ls", "--consumer", CONSUMER, "--json")
    (one,) = said.json["checkpoints"]
    assert (said.code, one["topic"], one["partition"], one["offset"], one["parked"]) == (0, INBOUND, 0, 7, 0)
    assert tenure("checkpoint", "ls", "--consumer", "marketplace.nobody").code == 4


def test_a_streams_version_is_set_once_somebody_says_why(tenure: Tenure, stores: Mapping[str, str]) -> None:
    dsn, stream = stores["marketplace"], "seat_pool-s"
    asyncio.run(on(dsn, "insert into engine.seen values ($1, $2, 5, '\\x01')", "marketplace.sales", stream))
    asyncio.run(
        on(
            dsn,
            "insert into engine.hashes (stream, version, hash) select $1, v, '\\x02' from generate_series(1, 5) v",
            stream,
        )
    )
    dry = tenure("checkpoint", "stream", "marketplace.sales", stream, "3")
    assert (
        "up to version 5; the last processed version would be 3" in " ".join(dry.out.split()) and "Dry run" in dry.out
    )
    assert tenure("checkpoint", "stream", "marketplace.sales", stream, "3", "--yes").code == 2
    done = tenure("checkpoint", "stream", "marketplace.sales", stream, "3", *YES, "--json")
    assert (done.code, done.json["ok"], done.json["unknown"]) == (0, True, 2)
    assert asyncio.run(on(dsn, "select version, hash from engine.seen where stream = $1", stream)) == [(3, None)]
    assert asyncio.run(on(dsn, "select count(*) from engine.hashes")) == [(3,)]
    ((data,),) = asyncio.run(
        on(dsn, "select data::text from log.events where type = 'OperationPerformed' and data->>'outcome' = 'done'")
    )
    assert json.loads(data)["verb"] == "checkpoint stream" and json.loads(data)["reason"] == "a test"


def test_a_checkpoint_is_set_and_a_record_skipped(tenure: Tenure, live: Mapping[str, str], kafka: parts.Kafka) -> None:
    dsn = live["marketplace"]
    send(kafka.access, INBOUND, 3)
    held = tenure("topics", "--json").json["topics"]
    assert next(each["records"] for each in held if each["topic"] == INBOUND) >= 3
    at(dsn, INBOUND, 0)
    assert tenure("checkpoint", "set", CONSUMER, INBOUND, "0").code == 2
    assert tenure("checkpoint", "set", CONSUMER, INBOUND, "0", "1000000", *YES).code == 2
    assert tenure("checkpoint", "set", CONSUMER, INBOUND, "0", "--forward", "1").code == 0
    assert in_a_loop(on(dsn, 'select "offset" from engine.checkpoints')) == [(0,)], "a dry run changes nothing"
    moved = tenure("checkpoint", "set", CONSUMER, INBOUND, "0", "--forward", "1", *YES, "--json")
    assert (moved.code, moved.json["now"]) == (0, 1)
    skipped = tenure("checkpoint", "skip", CONSUMER, INBOUND, "0", *YES)
    assert skipped.code == 0, skipped
    rows = in_a_loop(on(dsn, 'select "offset", reason, value from engine.parked'))
    assert [(offset, reason) for offset, reason, _ in rows] == [(2, "skipped")] and rows[0][2] is not None
    back = tenure("checkpoint", "set", CONSUMER, INBOUND, "0", "--back", "2", *YES, "--json")
    assert (back.code, back.json["now"]) == (0, 0)
    assert tenure("checkpoint", "set", CONSUMER, IDENTITY, "0", "1").code == 4
