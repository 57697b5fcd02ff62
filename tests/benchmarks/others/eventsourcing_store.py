"""The package eventsourcing as a yardstick: `eventsourcing_store.py append CLIENTS SECONDS` or `rebuild EVENTS`.

It runs in a virtual environment of its own, which has nothing of Tenure. The library's functions in the database are
enabled, with which it is faster. `append` is a closed loop of threads: each saves aggregates of its own that it has in
memory. `rebuild` folds events of 1,000 aggregates into a row each, by a projection whose view keeps its position in the
same transaction. DATABASE_URL is an empty database, EVENT an event's data as JSON. Prints the result as JSON.
"""

import json
import os
import sys
import threading
import time
from functools import singledispatchmethod
from typing import Any, Final
from urllib.parse import unquote, urlsplit
from uuid import UUID

import psycopg
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import Tracking
from eventsourcing.postgres import PostgresTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from psycopg.types.json import Jsonb

AGGREGATES: Final = 1_000
CONNECTIONS: Final = 16
WARM_UP_S: Final = 0.5
PATIENCE_S: Final = 300
EVENT: Final = json.loads(os.environ["EVENT"])
URL: Final = os.environ["DATABASE_URL"]

FILL: Final = """
    with pattern as (delete from pool_events returning originator_version, topic, state)
    insert into pool_events (originator_id, originator_version, topic, state)
    select md5((number %% %(aggregates)s)::text)::uuid, 2 + number / %(aggregates)s, topic, state
    from pattern, generate_series(0, %(events)s - 1) as number where originator_version = 2
"""
FOLDED: Final = "create table folded (aggregate uuid primary key, events bigint not null, latest jsonb not null)"
FOLD: Final = """
    insert into folded values (%s, 1, %s)
    on conflict (aggregate) do update set events = folded.events + 1, latest = excluded.latest
"""


class SeatPool(Aggregate):
    class Opened(Aggregate.Created):
        pass

    class SeatAssigned(Aggregate.Event):
        seat: dict[str, Any]

    @event(Opened)
    def __init__(self) -> None:
        self.seats = 0

    @event(SeatAssigned)
    def assign(self, seat: dict[str, Any]) -> None:
        self.seats += 1


class Pool(Application[UUID]):
    pass


def environment(connections: int) -> dict[str, str]:
    """Return the library's settings."""
    parts = urlsplit(URL)
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": parts.path.strip("/"),
        "POSTGRES_HOST": parts.hostname or "",
        "POSTGRES_PORT": str(parts.port),
        "POSTGRES_USER": parts.username or "",
        "POSTGRES_PASSWORD": unquote(parts.password or ""),
        "POSTGRES_POOL_SIZE": str(connections),
        "POSTGRES_MAX_OVERFLOW": "0",
        "POSTGRES_MAX_WAITING": "1000",
        "POSTGRES_ENABLE_DB_FUNCTIONS": "y",
    }


def append(clients: int, seconds: float) -> dict[str, float]:
    app = Pool(environment(min(clients, CONNECTIONS)))
    pools = [SeatPool() for _ in range(AGGREGATES)]
    for first in range(0, AGGREGATES, 100):
        app.save(*pools[first : first + 100])
    with psycopg.connect(URL, autocommit=True) as db:
        db.execute("checkpoint")
    begin = time.perf_counter() + WARM_UP_S
    end = begin + seconds
    taken: list[list[float]] = [[] for _ in range(clients)]
    written = [0] * clients

    def client(number: int) -> None:
        own = pools[number::clients]
        while (sent := time.perf_counter()) < end:
            pool = own[written[number] % len(own)]
            pool.assign({**EVENT, "number": written[number]})
            app.save(pool)
            written[number] += 1
            if sent >= begin:
                taken[number].append(time.perf_counter() - sent)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    cpu = time.process_time()
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    cpu = time.process_time() - cpu
    with psycopg.connect(URL) as db:
        found = db.execute("select count(*) from pool_events").fetchone()
    assert found == (sum(written) + AGGREGATES,), "what was acknowledged is not what is there"
    latencies = sorted(each for own in taken for each in own)
    ranks = {percent: latencies[len(latencies) * percent // 100] for percent in (50, 99)}
    return {
        "events_s": round(len(latencies) / seconds),
        **{f"p{percent}_ms": round(taken_s * 1000, 2) for percent, taken_s in ranks.items()},
        "cpu_us": round(cpu / sum(written) * 1e6, 1),
    }


class View(PostgresTrackingRecorder):
    def fold(self, aggregate: UUID, seat: dict[str, Any], tracking: Tracking) -> None:
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)
            cursor.execute(FOLD, (aggregate, Jsonb(seat)), prepare=True)


class Folded(Projection[View]):
    name = "folded"

    @singledispatchmethod
    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        self.view.insert_tracking(tracking)

    @process_event.register
    def seat_assigned(self, domain_event: SeatPool.SeatAssigned, tracking: Tracking) -> None:
        self.view.fold(domain_event.originator_id, domain_event.seat, tracking)


def rebuild(events: int) -> dict[str, float]:
    settings = environment(CONNECTIONS)
    app, pool = Pool(settings), SeatPool()
    pool.assign(EVENT)
    app.save(pool)
    app.close()
    with psycopg.connect(URL, autocommit=True) as db:
        db.execute(FILL, {"aggregates": AGGREGATES, "events": events})
        last = db.execute("select max(notification_id) from pool_events").fetchone()
        for statement in ("analyze pool_events", FOLDED, "checkpoint"):
            db.execute(statement)
    assert last is not None
    begin = time.perf_counter()
    with ProjectionRunner(application_class=Pool, projection_class=Folded, view_class=View, env=settings) as runner:
        runner.wait(last[0], timeout=PATIENCE_S)
        seconds = time.perf_counter() - begin
    with psycopg.connect(URL) as db:
        found = db.execute("select sum(events)::int from folded").fetchone()
    assert found == (events,), f"{found} of {events} events were folded"
    return {"events_s": round(events / seconds)}


if __name__ == "__main__":
    verb, number, *seconds = sys.argv[1:]
    said = append(int(number), float(seconds[0])) if verb == "append" else rebuild(int(number))
    print(json.dumps(said), flush=True)
    os._exit(0)
