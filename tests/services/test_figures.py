"""What is parked, the alarms and the relay's backlog are shown, and keep nobody from being ready."""

import asyncpg
import httpx
import pytest

from shared.eventlog.write.postgres import PostgresStore
from shared.events.registry import topic_of
from shared.runtime.auth import TokenVerifier
from shared.runtime.figures import Figures
from shared.runtime.http import make_app
from shared.runtime.metrics import Metrics
from shared.runtime.parts import Parts
from shared.runtime.routes import CommandRoutes
from shared.runtime.settings import Settings
from tests.databases import execute_as_operator
from tests.examples.engine import new_id, write
from tests.services.tokens import NothingEnded

pytestmark = pytest.mark.system


async def _no_keys() -> object:
    return {"keys": []}


PARK = """insert into engine.parked (consumer, topic, partition, "offset", reason, detail, holds_stream, headers, time)
    values ($1, 't', 0, $2, $3, '', false, '[]', now() - $4 * interval '1 s')"""

OUTCOME = """insert into engine.outcomes
    (topic, partition, "offset", source, id, type, status, rule, reason, remedy, because, events, time)
    values ('t', 0, $1, 's', 'i', 'T', 'accepted', '', '', '', '[]', '[]', now() - $2 * interval '1 s')"""
TIMER = """insert into engine.timers (name, key, due, customer, set_by, correlation_id)
    values ('a timer', $1, now() - $2 * interval '1 s', 'c', 'e', 'e')"""


async def test_parked_records_alarms_and_the_relays_backlog_are_shown(database: str) -> None:
    store = await PostgresStore(database, "identity").open()
    db = await asyncpg.connect(database)
    figures, metrics = Figures(service="identity", topic=topic_of("identity")), Metrics("identity")
    metrics.show(figures, dict)
    await figures.refresh(db)
    assert figures.as_data() == {
        "parked": [],
        "oldest_parked_s": 0.0,
        "alarms": 0,
        "relay": {"behind": 0, "behind_s": 0.0},
    }
    await store.append(write("one"))
    await store.append(write("two"))
    await execute_as_operator(database, "update log.batches set time = now() - interval '30 s'")
    rows = [("a", 1, "gap", 50.0), ("a", 2, "forged", 70.0), ("b", 3, "forged", 5.0), ("b", 4, "conflict", 1.0)]
    for consumer, offset, reason, age in rows:
        await db.execute(PARK, consumer, offset, reason, age)
    for offset, age in ((1, 40.0), (2, 20.0)):
        await db.execute(OUTCOME, offset, age)
    for key, late_s in (("late", 90.0), ("in time", -90.0)):
        await db.execute(TIMER, key, late_s)
    await figures.refresh(db)
    shown = figures.as_data()
    assert (shown["alarms"], shown["relay"]["behind"], len(shown["parked"])) == (3, 2, 4)
    assert 70 <= shown["oldest_parked_s"] < 100 and 30 <= shown["relay"]["behind_s"] < 60
    page = metrics.page().decode()
    assert 'tenure_parked_records{consumer="a",reason="forged",service_name="identity"} 1.0' in page
    for name, value in (
        ("tenure_alarms", "3.0"),
        ("tenure_relay_behind_events", "2.0"),
        ("tenure_relay_behind_seconds", "3"),
        ("tenure_relay_position", "0.0"),
        ("tenure_store_head_position", "2.0"),
        ("tenure_store_fenced", "0.0"),
        ("tenure_outcomes_waiting", "2.0"),
        ("tenure_outcomes_oldest_seconds", "4"),
        ("tenure_timers_due", "1.0"),
        ("tenure_timers_late_seconds", "9"),
    ):
        assert f'{name}{{service_name="identity"}} {value}' in page
    assert 'tenure_parked_oldest_seconds{consumer="a",reason="gap",service_name="identity"} 5' in page
    await execute_as_operator(database, "update log.head set fenced = 'restored from a backup'")
    await figures.refresh(db)
    assert 'tenure_store_fenced{service_name="identity"} 1.0' in metrics.page().decode()
    made = Parts(
        service="identity",
        settings=Settings(),
        metrics=metrics,
        verifier=TokenVerifier(_no_keys, NothingEnded()),
        new_id=new_id,
        waiting_for=dict,
        figures=figures,
    )
    app = make_app(made, CommandRoutes(), None, api=False)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        answer = await client.get("/ready")
    assert (answer.status_code, answer.json()["alarms"], answer.json()["ready"]) == (200, 3, True)
    await db.close()
    await store.close()
