"""One seed from its beginning to its verdict."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from random import Random
from typing import Any, Final
from unittest.mock import patch

import structlog

from shared.eventlog.deliver import clocks, lane, received, relay, timers
from shared.eventlog.write import log as eventlog
from shared.events.base import Event
from shared.events.envelope import Envelope, from_headers
from shared.events.registry import topic_of
from shared.events.upcasts import decode
from shared.services import SERVICES
from tests.simulation import check, story
from tests.simulation.bugs import Bug
from tests.simulation.check import verdict
from tests.simulation.database import offsets
from tests.simulation.forger import forge
from tests.simulation.kafka import Producer
from tests.simulation.story import World, tell
from tests.simulation.system import START, Running, System
from tests.simulation.time import run

REST_WITHIN_S: Final = 300


@dataclass(slots=True)
class Run:
    """What came of a seed."""

    seed: int
    faults: list[str] = field(default_factory=list)
    events: int = 0
    records: int = 0
    upsets: int = 0
    forged: int = 0
    seconds: float = 0.0
    digest: str = ""
    """Of everything that the stores and the topics hold: the same for the same seed."""


def simulate(seed: int, *bugs: Bug) -> Run:
    """Plays the seed. Nothing but the seed (and the bugs that are planted) decides what happens."""
    result = Run(seed)
    queued = Random(seed).choice((2, 10, lane.QUEUED))  # so that a lane that is behind is left apart
    with _calm(), patch.object(lane, "QUEUED", queued), ExitStack() as planted:
        for bug in bugs:
            planted.enter_context(bug())
        try:
            run(_history(seed, result))
        except Exception as broken:  # noqa: BLE001  # whatever stops a story is a fault of what it tells of
            result.faults.append(f"the story broke off: {broken!r}")
    return result


def _read_once() -> Callable[[Any, bytes | None, datetime | None], Envelope]:
    """The contract's `from_headers`, which is pure, asked once a record: ten consumers read it."""
    known: dict[int, tuple[Any, Envelope]] = {}

    def read(headers: Any, key: bytes | None, arrived: datetime | None) -> Envelope:
        found = known.get(id(headers))
        if found is None:
            found = known[id(headers)] = headers, from_headers(headers, key, arrived)
        return found[1]

    return read


def _decoded_once() -> Callable[[Envelope, bytes], Event]:
    """The contract's `decode`, which is pure, too, and makes something frozen: once for all who read these bytes."""
    known: dict[tuple[str, str, int, bytes, bool], Event] = {}

    def read(envelope: Envelope, data: bytes, *, trusted: bool = False) -> Event:
        this = envelope.id, envelope.type, envelope.schema, data, trusted
        found = known.get(this)
        if found is None:
            found = known[this] = decode(envelope, data, trusted=trusted)
        return found

    return read


@contextmanager
def _calm() -> Iterator[None]:
    """The simulated producer, less looking where there is nothing to see, and a log that nobody reads."""
    before = structlog.get_config()
    decoded = _decoded_once()
    critical = structlog.make_filtering_bound_logger(logging.CRITICAL)
    structlog.configure(wrapper_class=critical, logger_factory=structlog.ReturnLoggerFactory())
    try:
        with (
            patch.object(relay, "AIOKafkaProducer", Producer),
            patch.object(received, "from_headers", _read_once()),
            patch.object(received, "decode", decoded),
            patch.object(eventlog, "decode", decoded),
            patch.object(check, "decode", decoded),
            patch.object(story, "decode", decoded),
            patch.object(relay, "POLL_S", 5.0),
            patch.object(clocks, "REFRESH_EVERY_S", 2.0),
            patch.object(timers, "POLL_EVERY_S", 2.0),
        ):
            yield
    finally:
        structlog.configure(**before)


async def _history(seed: int, result: Run) -> None:
    system = System(seed)
    world = World(system, system.chance, [], [])
    for name in SERVICES:
        for _ in range(system.chance.choice((1, 2, 2))):
            system.start(name)
    upsetting, forging = asyncio.create_task(_upset(system, result)), asyncio.create_task(forge(system))
    await tell(world)
    await upsetting
    await forging
    system.rates.heal()
    resting = await _comes_to_rest(system)
    result.faults += [fault async for fault in _judged(world)] if resting else [_unrest(system)]
    _measure(system, result)


async def _judged(world: World) -> Any:
    for fault in await verdict(world):
        yield fault


# ── Trouble ────────────────────────────────────────────────────────────────────────────────────────────


async def _upset(system: System, result: Run) -> None:
    """Kills, freezes, adds processes, and lets groups rebalance, some times, somewhere in the story."""
    healing: list[asyncio.Task[None]] = []
    for _ in range(system.rates.upsets):
        await asyncio.sleep(system.chance.random() * 3)
        name = system.chance.choice(SERVICES)
        alive = [r for r in system.services[name].running if not r.process.dead and not r.process.frozen]
        result.upsets += 1
        match system.chance.randrange(5):
            case 0 | 1 if alive:
                healing.append(asyncio.create_task(_kill(system, name, system.chance.choice(alive))))
            case 2 | 3 if alive:
                alive = [r for r in alive if r.relay.leading] or alive
                healing.append(asyncio.create_task(_freeze(system, name, system.chance.choice(alive))))
            case _:
                system.rebalance(name)
    for task in healing:
        await task


async def _kill(system: System, name: str, victim: Running) -> None:
    """SIGKILL; its partitions move when the group misses it, and a new process comes."""
    await victim.process.freeze_at_work(system.chance.randrange(1, 40), 1)
    victim.process.kill()
    await asyncio.sleep(system.chance.random() * 6)
    system.rebalance(name)
    await asyncio.sleep(system.chance.random() * 2)
    system.start(name)


async def _freeze(system: System, name: str, victim: Running) -> None:
    """SIGSTOP, past a rebalance (a zombie) or not, and SIGCONT; a zombie finds out later that it is none."""
    await victim.process.freeze_at_work(system.chance.randrange(1, 40), 3)
    await asyncio.sleep(system.chance.random() * system.chance.choice((1, 10)))
    system.rebalance(name)
    await asyncio.sleep(system.chance.random() * 4)
    victim.process.thaw()
    await asyncio.sleep(system.chance.random() * 2)
    system.rebalance(name)


# ── Rest ───────────────────────────────────────────────────────────────────────────────────────────────


async def _comes_to_rest(system: System) -> bool:
    """Whether everything that follows has followed: nothing on its way twice in a row."""
    quiet = 0
    for _ in range(REST_WITHIN_S):
        await asyncio.sleep(1)
        quiet = 0 if _unrest(system) else quiet + 1
        if quiet == 3:  # longer than the timers' and clocks' look
            return True
    return False


def _unrest(system: System) -> str:
    """What is still to do; "" where nothing is."""
    if system.broker.under_way:
        return "records are on their way"
    for name, service in system.services.items():
        topic = topic_of(name)
        lease = service.store._leases.get(f"relay:{topic}")
        at = 0 if lease is None else lease[3]
        if at != len(service.store.events):
            return f"{name}'s relay stands at {at}, its store at {len(service.store.events)}"
    for name, topic, consumer in ((n, t, c) for n in SERVICES for c in system.consumers(n) for t in c.topics):
        dealt = offsets(system.services[name].tables, f"{name}.{consumer.name}")
        for number, log in enumerate(system.broker.logs(topic)):
            if dealt.get((topic, number), -1) != len(log) - 1:
                stands = dealt.get((topic, number))
                return f"{name}.{consumer.name} stands at {stands} of {len(log) - 1} in {topic}/{number}"
    loop = asyncio.get_running_loop()
    for name, service in system.services.items():
        ahead = {r["organisation_id"]: timedelta(seconds=r["ahead_s"]) for r in service.tables.of("clock")}
        for timer in service.tables.of("timer"):
            now = START + timedelta(seconds=loop.time() - 3_600) + ahead.get(timer["customer"], timedelta())
            if timer["due"] <= now:
                return f"{name}: the timer {timer['name']} of {timer['key']} is due since {timer['due']}"
    return ""


def _measure(system: System, result: Run) -> None:
    digest, result.forged = sha256(), len(system.forged)
    for name in SERVICES:
        for event in system.services[name].store.events:
            digest.update(event.envelope.hash)
        for log in system.broker.logs(topic_of(name)):
            result.records += len(log)
            for record in log:
                digest.update(repr((record.offset, record.headers)).encode())
        result.events += len(system.services[name].store.events)
    result.seconds, result.digest = asyncio.get_running_loop().time(), digest.hexdigest()
