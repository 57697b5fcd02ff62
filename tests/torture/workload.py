"""What is tortured: one service with a log, its relay, a projection and a reaction over its own topic, and a client.

The victim and the one that finishes its work run the same: commands with fixed ids, which the second sends again as any
client would, until everything has followed. What the client heard stands in a file that outlives it.
"""

import asyncio
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple
from unittest.mock import patch

from shared.eventlog.decision import Stream
from shared.eventlog.deliver import relay as relay_module
from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.consumer import Consumer
from shared.eventlog.deliver.host import ConsumerHost
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.projection import Dispatch, Projection, ReactionContext, Reactions
from shared.eventlog.deliver.relay import Relay
from shared.eventlog.repair.anchors import Anchors
from shared.eventlog.repair.guard import Guard
from shared.eventlog.write.log import Log, Meta, utc_now
from shared.eventlog.write.postgres import PostgresStore, open_pool
from shared.events import SeatUnassigned
from shared.events.envelope import Envelope
from tests.examples.engine import COUNTER, NOON, Count
from tests.oracle.evidence import Asked

SERVICE: Final = "entitlements"
CONSUMERS: Final = frozenset({"entitlements.table", "entitlements.echo"})
STREAMS: Final = 4
COMMANDS: Final = 5
REST_WITHIN_S: Final = 40.0
ECHO: Final[Stream[Any, Any, Any]] = Stream(
    category="echo", initial=COUNTER.initial, evolve=COUNTER.evolve, decide=COUNTER.decide, tenant=COUNTER.tenant
)


class Bench(NamedTuple):
    """A run's own database, topic and file, on servers that all runs share."""

    dsn: str
    access: KafkaAccess
    topic: str
    heard: Path

    @property
    def anchors(self) -> Path:
        return self.heard.with_suffix("")


def _consumers(topic: str) -> tuple[Projection, Reactions]:
    table, echo = Projection("table", topics=(topic,)), Reactions("echo", topics=(topic,))

    @table.on(SeatUnassigned)
    async def note_applied(tx: Any, event: SeatUnassigned, envelope: Envelope) -> None:
        await tx.execute("insert into applied values ($1, $2, $3)", envelope.id, envelope.stream, envelope.version)

    @echo.on(SeatUnassigned)
    async def count_echo(event: SeatUnassigned, envelope: Envelope, _reach: ReactionContext) -> Sequence[Dispatch]:
        return [Dispatch(ECHO, envelope.stream, Count(envelope.id))] if envelope.stream.startswith("counter") else []

    return table, echo


async def play(bench: Bench, name: str) -> None:
    """Runs the service and its client until everything has followed."""
    patch.object(relay_module, "LEASE_S", 0.5).start()  # a lease that ends soon
    store = await PostgresStore(bench.dsn, SERVICE).open()
    pool = await open_pool(bench.dsn, 1, 4)
    log = Log(store, SERVICE)
    guard = Guard(store, SERVICE, bench.topic, bench.access)
    await store.watch(guard.when_back)
    anchors = Anchors(SERVICE, store.chain_at, bench.anchors)
    relay = Relay(store, bench.topic, bench.access, owner=name, guard=guard, anchors=anchors)
    # A group of this process's own: another's member is missed after six seconds only.
    host = ConsumerHost(
        f"{SERVICE}.{name}",
        [Consumer(SERVICE, what, pool, log, Clocks(utc_now)) for what in _consumers(bench.topic)],
        bench.access,
    )
    tasks = [asyncio.create_task(relay.run()), asyncio.create_task(host.run())]
    try:
        await _clients(log, bench.heard)
        async with asyncio.timeout(REST_WITHIN_S):
            while not await _rests(pool, host, bench.topic):
                _raise(tasks)
                await asyncio.sleep(0.05)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await store.close()
        pool.terminate()


def _raise(tasks: Sequence["asyncio.Task[None]"]) -> None:
    for task in tasks:
        if task.done():
            task.result()


async def _clients(log: Log, heard: Path) -> None:
    await asyncio.gather(*(_client(log, heard, number) for number in range(STREAMS)))


async def _client(log: Log, heard: Path, number: int) -> None:
    """Commands of one stream; one takes a name that another stream has, too, one is refused, one is repeated."""
    for turn in range(COMMANDS):
        command = Count("client", limit=COMMANDS - 1, name="wanted" if turn == 1 else "")
        meta = Meta(f"{number}:{turn}", "client", NOON, fingerprint=bytes([turn]))
        _note(heard, {"id": meta.command_id, "stream": COUNTER.id(str(number))})
        answer = await log.execute(COUNTER, str(number), command, meta)
        asked = Asked(meta.command_id, SERVICE, answer.stream)
        asked.heard(answer)
        _note(heard, {"id": asked.command_id, "stream": asked.stream, "outcome": asked.outcome, "events": asked.events})
        if turn == 2:
            await log.execute(COUNTER, str(number), command, meta)


def _note(heard: Path, line: dict[str, Any]) -> None:
    file = os.open(heard, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, json.dumps(line).encode() + b"\n")
    os.close(file)


async def _rests(pool: Any, host: ConsumerHost, topic: str) -> bool:
    """Whether the relay has told everything, and both consumers have dealt with it."""
    behind = await pool.fetchval(
        """select (select position from log.head) - coalesce((select position from engine.leases where name = $1), -1)
        + (select count(*) from log.events e, (values ('entitlements.table'), ('entitlements.echo')) as c(name)
           where not exists (select from engine.seen s
                             where s.consumer = c.name and s.stream = e.stream and s.version >= e.version))""",
        f"relay:{topic}",
    )
    return bool(behind == 0)


# ── What is to be seen afterwards ──────────────────────────────────────────────────────────────────────


def heard(file: Path) -> tuple[list[Asked], list[str]]:
    """What the clients were told, and where two answers to one command differ."""
    asked: dict[str, Asked] = {}
    wrong: list[str] = []
    for line in file.read_text().splitlines():
        note = json.loads(line)
        known = asked.setdefault(note["id"], Asked(note["id"], SERVICE, note["stream"]))
        if "outcome" not in note:
            continue
        said = (note["outcome"], tuple(note["events"]))
        if known.outcome != "unknown" and (known.outcome, known.events) != said:
            wrong.append(f"command {known.command_id} was answered {(known.outcome, known.events)}, then {said}")
        known.outcome, known.events = said
    return list(asked.values()), wrong


async def effects(pool: Any) -> list[str]:
    """Each event is in the table once, in its stream's order; each of a counter has one echo."""
    applied = await pool.fetch("select * from applied order by number")
    stored = await pool.fetch("select id::text, stream, version, data::text from log.events order by position")
    times = Counter(row["id"] for row in applied)
    wrong = [
        f"{row['stream']} version {row['version']} was applied {times[row['id']]} times"
        for row in stored
        if times[row["id"]] != 1
    ]
    last: Counter[str] = Counter()
    for row in applied:
        if row["version"] != last[row["stream"]] + 1:
            wrong.append(f"{row['stream']} version {row['version']} was applied after {last[row['stream']]}")
        last[row["stream"]] = row["version"]
    echoes = Counter(json.loads(row["data"])["account_id"] for row in stored if row["stream"].startswith("echo"))
    return wrong + [
        f"{row['stream']} version {row['version']} has {echoes[row['id']]} echoes"
        for row in stored
        if row["stream"].startswith("counter") and echoes[row["id"]] != 1
    ]
