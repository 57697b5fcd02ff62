"""`tenure status`: whether each service is ready, how far its relay and consumers are, what is parked and due."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import asyncpg
import httpx
import typer
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from cli import horizon
from cli.app import Result, verb
from cli.context import Context
from cli.output import Output, count, duration, size
from shared.eventlog.deliver.plan import Partition
from shared.eventlog.write.postgres import TRANSIENT
from shared.services import SERVICES
from shared.sql import statements

SQL: Final = statements(__file__)
_AGES_WITHIN_S: Final = 5.0
_LOOK_WITHIN_S: Final = 20.0


@dataclass(kw_only=True, slots=True)
class Lag:
    """How far one consumer is behind: records, the age of the first it has not dealt with, and how that changes."""

    consumer: str
    events: int
    parked: int
    next: dict[Partition, int] = field(default_factory=dict)
    """Where it is behind: the next offset to deal with."""
    seconds: float | None = None
    per_s: float = 0.0
    """Negative while it catches up."""

    @property
    def trend(self) -> str:
        if abs(self.per_s) < 0.5:
            return "steady" if self.events else ""
        return f"{'growing' if self.per_s > 0 else 'falling'} {abs(self.per_s):,.0f}/s"


def lags(
    rows: Sequence[Mapping[str, Any]], ends: Mapping[Partition, int], begins: Mapping[Partition, int]
) -> list[Lag]:
    """Each consumer's lag, from its checkpoints and the partitions' ends."""
    found: dict[str, Lag] = {}
    for row in rows:
        lag = found.setdefault(row["consumer"], Lag(consumer=row["consumer"], events=0, parked=row["parked"]))
        partition = (row["topic"], row["partition"])
        first = max(row["offset"] + 1, begins.get(partition, 0))
        behind = max(0, ends.get(partition, 0) - first)
        if behind:
            lag.events += behind
            lag.next[partition] = first
    return list(found.values())


@dataclass(kw_only=True, slots=True)
class Seen:
    """What one look at a service found. `fault` says why its database could not be looked at."""

    service: str
    waiting: dict[str, str]
    log: Mapping[str, Any] | None = None
    checkpoints: Sequence[Mapping[str, Any]] = ()
    opened: Sequence[horizon.OpenTransaction] = ()
    fault: str | None = None


async def _ready(context: Context, service: str) -> dict[str, str]:
    try:
        answer = await (await context.http(service)).get("/ready", timeout=3)
        waiting: dict[str, str] = answer.json()["waiting_for"]
    except (httpx.HTTPError, ValueError, KeyError) as error:
        return {"service": f"no answer at {context.urls[service]} ({type(error).__name__})"}
    return waiting


async def _look(context: Context, service: str) -> Seen:
    seen = Seen(service=service, waiting=await _ready(context, service))
    try:
        db = await context.db(service)
        seen.opened = horizon.read(await db.fetch(SQL["horizon"]))  # first: it waits for nobody's lock
        seen.log = await db.fetchrow(SQL["service"], timeout=_LOOK_WITHIN_S)
        seen.checkpoints = await db.fetch(SQL["checkpoints"], timeout=_LOOK_WITHIN_S)
    except (*TRANSIENT, asyncpg.PostgresError) as error:
        seen.fault = f"{type(error).__name__}: {error}"
    return seen


async def _reader(context: Context) -> AIOKafkaConsumer | str:
    try:
        async with asyncio.timeout(15):
            return await context.kafka()
    except (KafkaError, OSError, TimeoutError) as error:
        return f"Kafka at {context.settings.kafka.bootstrap} does not answer ({type(error).__name__})"


async def _edges(
    kafka: AIOKafkaConsumer, there: set[Partition], seen: Sequence[Seen]
) -> tuple[dict[Partition, int], dict[Partition, int]]:
    """Where the partitions that are read begin and end; those that are there."""
    wanted = sorted({(row["topic"], row["partition"]) for each in seen for row in each.checkpoints})
    asked = [TopicPartition(*p) for p in wanted if p in there]
    begins, ends = await kafka.beginning_offsets(asked), await kafka.end_offsets(asked)
    return {(p.topic, p.partition): n for p, n in begins.items()}, {(p.topic, p.partition): n for p, n in ends.items()}


async def _ages(kafka: AIOKafkaConsumer, behind: Sequence[Lag]) -> None:
    """Fills in since when the first record that a consumer has not dealt with lies in Kafka."""
    deadline = time.monotonic() + _AGES_WITHIN_S
    for lag in sorted(behind, key=lambda each: -each.events):
        waiting = {TopicPartition(*partition): offset for partition, offset in lag.next.items()}
        kafka.assign(list(waiting))
        for partition, offset in waiting.items():
            kafka.seek(partition, offset)
        while waiting and time.monotonic() < deadline:
            for partition, records in (await kafka.getmany(*waiting, timeout_ms=300)).items():
                if records and waiting.pop(partition, None) is not None:
                    lag.seconds = max(lag.seconds or 0.0, time.time() - records[0].timestamp / 1000)


async def gather(context: Context, over_s: float) -> tuple[list[Seen], list[Lag], str | None]:
    """Looks twice, so that a trend shows. Returns what was found last, and why Kafka could not be looked at, if so."""
    kafka = await _reader(context)
    first: dict[str, int] = {}
    started, there = time.monotonic(), set[Partition]()
    if not isinstance(kafka, str):
        seen = await asyncio.gather(*(_look(context, service) for service in SERVICES))
        there = {(topic, n) for topic, numbers in (await context.partitions()).items() for n in numbers}
        begins, ends = await _edges(kafka, there, seen)
        first = {lag.consumer: lag.events for each in seen for lag in lags(each.checkpoints, ends, begins)}
        await asyncio.sleep(over_s)
    seen = await asyncio.gather(*(_look(context, service) for service in SERVICES))
    if isinstance(kafka, str):
        return seen, [lag for each in seen for lag in lags(each.checkpoints, {}, {})], kafka
    begins, ends = await _edges(kafka, there, seen)
    found = [lag for each in seen for lag in lags(each.checkpoints, ends, begins)]
    took = time.monotonic() - started
    for lag in found:
        lag.per_s = (lag.events - first.get(lag.consumer, lag.events)) / took
    await _ages(kafka, [lag for lag in found if lag.events])
    return seen, found, None


def faults(seen: Sequence[Seen], kafka: str | None) -> list[str]:
    """What is wrong, a line each; nothing when all is well."""
    wrong = [kafka] if kafka else []
    for each in seen:
        wrong += [f"{each.service}: {part}: {why}" for part, why in each.waiting.items()]
        wrong += horizon.faults(each.service, each.opened)
        if each.fault is not None:
            wrong.append(f"{each.service}: its database can't be looked at ({each.fault})")
            continue
        if each.log is None:
            continue
        if each.log["fenced"]:
            wrong.append(f"{each.service}: it takes no commands: {each.log['fenced']}")
        if each.log["parked"]:
            wrong.append(f"{each.service}: {count(each.log['parked'], 'event')} parked (tenure parked group)")
        elif each.log["relayed"] is not None and not each.log["led"]:
            wrong.append(f"{each.service}: no relay publishes its events")
    return wrong


def show(output: Output, seen: Sequence[Seen], found: Sequence[Lag], kafka: str | None) -> None:
    """For a person."""
    rows = []
    for each in seen:
        log, state = each.log, "ready" if not each.waiting else "not ready"
        if log is None:
            rows.append((each.service, state, *[""] * 6))
            continue
        relayed = log["relayed"] or 0
        backlog = log["head"] - relayed
        late = f" ({duration(log['relay_behind_s'])})" if backlog and log["relay_behind_s"] else ""
        due = f"{log['due']:,} of {log['timers']:,}" if log["timers"] else "0"
        rows.append(
            (
                each.service,
                state,
                f"{log['head']:,}",
                horizon.held(each.opened),
                f"{backlog:,}{late}",
                f"{log['parked']:,}",
                due,
                size(log["bytes"]),
            )
        )
    output.table(("service", "state", ">horizon", ">held", ">to relay", ">parked", ">timers due", ">disk"), rows)
    output.line()
    told = "?" if kafka else None
    output.table(
        ("consumer", ">lag", ">oldest", "trend", ">parked"),
        [
            (
                lag.consumer,
                told or f"{lag.events:,}",
                duration(lag.seconds) if lag.seconds is not None else "",
                lag.trend,
                f"{lag.parked:,}",
            )
            for lag in found
        ],
    )
    output.line()


def as_data(seen: Sequence[Seen], found: Sequence[Lag], wrong: Sequence[str]) -> dict[str, Any]:
    """For a program."""
    services = {
        each.service: {
            "ready": not each.waiting,
            "waiting_for": each.waiting,
            "fault": each.fault,
            **({} if each.log is None else {**each.log, "horizon": horizon.as_data(each.log["head"], each.opened)}),
        }
        for each in seen
    }
    consumers = [
        {
            "consumer": lag.consumer,
            "lag": lag.events,
            "lag_s": lag.seconds,
            "per_s": round(lag.per_s, 1),
            "parked": lag.parked,
        }
        for lag in found
    ]
    return {"well": not wrong, "wrong": list(wrong), "services": services, "consumers": consumers}


@verb("status", fails_when="something is not ready, parked, or kept waiting")
async def show_status(
    context: Context,
    output: Output,
    over: Annotated[float, typer.Option(help="Seconds between the two looks that make the trend.")] = 2.0,
) -> Result:
    """Say whether all is well: services, relays, lags, parked events, timers, disk.

    Horizon: up to which position readers may go, as nothing can appear below it any more. Held: the age of the oldest
    open transaction that has written, or holds or wants the head's row."""
    output.note(f"Looking at {context.where} for {duration(over)}.")
    seen, found, kafka = await gather(context, over)
    wrong = faults(seen, kafka)
    show(output, seen, found, kafka)
    for fault in wrong:
        output.line(fault)
    if not wrong:
        output.line("All is well.")
    return Result(as_data(seen, found, wrong), ok=not wrong)
