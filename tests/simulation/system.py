"""The services as processes of the simulation: the product's own reactions, timers, relay, feeds and consumers.

Projections whose tables reactions ask have folds of their own here, and one projection a service, `mirror`, notes every
event that it is told: what it has at the end is what a replay from nothing has, or something was lost, doubled or
reordered.
"""

import asyncio
import base64
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from random import Random
from typing import Any, Final

from services import definitions
from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.consumer import Consumer
from shared.eventlog.deliver.host import Feed
from shared.eventlog.deliver.projection import Projection, Reactions
from shared.eventlog.deliver.readers import Reader
from shared.eventlog.deliver.relay import Relay
from shared.eventlog.deliver.timers import Timers, TimerService
from shared.eventlog.write.log import Log
from shared.eventlog.write.memory import MemoryStore
from shared.events import (
    AccountClosed,
    AccountOpened,
    ClockMoved,
    ContractOpened,
    CsnIssued,
    CsnRevoked,
    Event,
    PoolCsnNoted,
    ProfileUpdated,
    SeatAssigned,
    SeatPoolEnded,
    SeatPoolExpired,
    SeatPoolOpened,
    SeatPoolRenewed,
    SeatPoolResized,
    SeatPoolSuspended,
    SeatUnassigned,
    subjects,
)
from shared.events.envelope import Envelope
from shared.events.registry import ENTITLEMENTS as ENTITLEMENTS_TOPIC
from shared.events.registry import EVENTS_ON, IDENTITY, MARKETPLACE, topic_of
from shared.runtime.clocks import CLOCKS
from shared.runtime.service import Service as Definition
from shared.services import SERVICES
from tests.simulation.database import Pool, Tables
from tests.simulation.kafka import Access, Broker, Subscriptions
from tests.simulation.store import Connection, Rates
from tests.simulation.time import SimulatedProcess

START: Final = datetime.fromisoformat("2026-11-23T12:00:00+00:00")

POOLS: Final = Projection(
    "pools",
    topics=(ENTITLEMENTS_TOPIC,),
    ignores=(
        *subjects.OPERATIONS,
        *subjects.CREDITS,
        *subjects.POOL_ANSWERS,
        *subjects.UPDATE_RIGHTS,
        PoolCsnNoted,
        SeatPoolResized,
    ),
)
PEOPLE: Final = Projection(
    "people",
    topics=(IDENTITY,),
    ignores=(
        *subjects.OPERATIONS,
        *subjects.AGREEMENTS,
        *subjects.ROLES,
        *subjects.SIGN_IN,
        ClockMoved,
        ContractOpened,
        ProfileUpdated,
    ),
)
NUMBERS: Final = Projection(
    "numbers", topics=(MARKETPLACE,), ignores=(*subjects.OPERATIONS, *subjects.PLANS, *subjects.SALES)
)


@POOLS.on(SeatPoolOpened)
@POOLS.on(SeatPoolRenewed)
@POOLS.on(SeatPoolExpired)
@POOLS.on(SeatPoolSuspended)
@POOLS.on(SeatPoolEnded)
async def _pool(tx: Any, event: Any, _envelope: Envelope) -> None:
    phases: dict[Any, str] = {SeatPoolExpired: "expired", SeatPoolSuspended: "suspended", SeatPoolEnded: "ended"}
    key = ("pool", event.subscription_id)
    if isinstance(event, SeatPoolOpened):
        tx.put(
            key,
            subscription_id=event.subscription_id,
            contract_id=event.contract_id,
            customer=event.customer,
            partner=event.partner,
            publisher=event.publisher,
            phase="active",
        )
    elif type(event) in phases:
        tx.put(key, phase=phases[type(event)])


@POOLS.on(SeatAssigned)
@POOLS.on(SeatUnassigned)
async def _seat(tx: Any, event: Any, _envelope: Envelope) -> None:
    key = ("seat", event.subscription_id, event.seat)
    if isinstance(event, SeatAssigned):
        assert tx.get(*key) is None, f"seat {event.seat} of {event.subscription_id} is held already"
        tx.put(key, subscription_id=event.subscription_id, account_id=event.account_id)
    else:
        tx.delete(*key)


@PEOPLE.on(AccountOpened)
@PEOPLE.on(AccountClosed)
async def _person(tx: Any, event: Any, _envelope: Envelope) -> None:
    tx.put(("person", event.account_id), closed=isinstance(event, AccountClosed))


@NUMBERS.on(CsnIssued)
@NUMBERS.on(CsnRevoked)
async def _number(tx: Any, event: Any, envelope: Envelope) -> None:
    tx.put(
        ("csn", event.organisation_id, event.publisher, event.csn),
        organisation_id=event.organisation_id,
        publisher=event.publisher,
        csn=event.csn,
        valid=isinstance(event, CsnIssued),
        version=envelope.version,
    )


def _mirror(topic: str) -> Projection:
    mirror = Projection("mirror", topics=(topic,))

    async def note(tx: Any, event: Event, envelope: Envelope) -> None:
        before = tx.get("mirror", envelope.stream) or {"number": 0, "chain": b""}
        chain = sha256(before["chain"] + envelope.id.encode() + event.data()).digest()
        tx.put(("mirror", envelope.stream), number=before["number"] + 1, chain=chain)

    for event_type in EVENTS_ON[topic]:
        mirror.on(event_type)(note)
    return mirror


@dataclass(frozen=True, slots=True)
class Made:
    """What a service is made of."""

    consumers: tuple[Projection | Reactions, ...]
    timers: Timers | None = None


FOLDS: Final[Mapping[str, tuple[Projection, ...]]] = {"entitlements": (POOLS, PEOPLE, NUMBERS)}
"""By service, the projections whose tables its reactions and timers ask."""


def _made(service: Definition) -> Made:
    reactions = [each for each in service.consumers if isinstance(each, Reactions)]
    timers = [service.timers.projection] if service.timers else []
    folds = FOLDS.get(service.name, ())
    return Made((CLOCKS, _mirror(topic_of(service.name)), *folds, *reactions, *timers), service.timers)


MADE: Final = {service.name: _made(service) for service in definitions()}

READERS: Final[Mapping[str, Reader]] = {
    "simulation: entitlements.pools": POOLS,
    "simulation: entitlements.people": PEOPLE,
    "simulation: entitlements.numbers": NUMBERS,
}
"""What reads a topic here besides the services' own reactions and timers. A mirror notes whatever is on its topic."""


class Veil:
    """A sealer as good as its key: the real one draws nonces, which no seed chooses."""

    async def seal(self, events: Sequence[Event]) -> Sequence[Event]:
        return [self._changed(event, lambda text: base64.b64encode(text.encode()).decode()) for event in events]

    async def open(self, events: Sequence[Event]) -> Sequence[Event]:
        return [self._changed(event, lambda text: base64.b64decode(text).decode()) for event in events]

    def _changed(self, event: Event, change: Any) -> Event:
        return event.model_copy(update={name: change(getattr(event, name)) for name in event.PERSONAL_FIELDS})


@dataclass(slots=True)
class Running:
    """One process of a service, and its parts."""

    process: SimulatedProcess
    log: Log
    clocks: Clocks
    relay: Relay


@dataclass(slots=True)
class SimulatedService:
    name: str
    store: MemoryStore = field(default_factory=MemoryStore)
    tables: Tables = field(default_factory=Tables)
    running: list[Running] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tables.log = self.store


class System:
    """Everything that one seed runs."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(f"{seed}")
        self.rates = Rates(self.chance)
        self.broker = Broker(self.chance, self.rates)
        self.services = {name: SimulatedService(name) for name in SERVICES}
        self.forged: set[tuple[str, int, int]] = set()
        """Topic, partition and offset of records that no relay wrote."""
        self._mirrored = self.chance.sample(SERVICES, 2)
        self._numbers = 0
        self._processes = 0

    def new_id(self) -> str:
        self._numbers += 1
        return str(uuid.UUID(int=self._numbers))

    def consumers(self, name: str) -> list[Projection | Reactions]:
        """What this service's processes consume with; two services have a mirror."""
        return [what for what in MADE[name].consumers if what.name != "mirror" or name in self._mirrored]

    def projections(self, name: str) -> list[Projection]:
        return [what for what in self.consumers(name) if isinstance(what, Projection)]

    def start(self, name: str) -> Running:
        """One more process of this service."""
        service, made = self.services[name], MADE[name]
        self._processes += 1
        process = SimulatedProcess(f"{name}-{self._processes}", self.chance)
        skew = timedelta(seconds=self.chance.choice((0, 0, 0, 1, -1, 3_600, -3_600)))
        process.missed = lambda: self.rebalance(name)
        loop = asyncio.get_running_loop()
        clocks = Clocks(lambda: START + timedelta(seconds=loop.time()) + skew)
        store = Connection(service.store, process, self.chance, self.rates)
        log = Log(
            store,
            name,
            new_id=self.new_id,
            sealer=Veil() if name == "identity" else None,
            cached_streams=self.chance.choice((2, 1_000)),
        )
        pool: Any = Pool(service.tables, process, self.chance, self.rates)
        access: Any = Access(self.broker)
        relay = Relay(store, topic_of(name), access, owner=process.name)
        process.spawn(relay.run())
        process.spawn(clocks.follow(pool))
        if made.timers is not None:
            process.spawn(TimerService(name, made.timers, pool, log, clocks).run())
        kafka: Any = Subscriptions(self.broker, process)
        for what in self.consumers(name):
            Feed(Consumer(name, what, pool, log, clocks), kafka, None)
        for member in kafka.members:
            process.spawn(member.fetching())
        running = Running(process, log, clocks, relay)
        service.running.append(running)
        self.rebalance(name)
        return running

    def rebalance(self, name: str) -> None:
        for group in self.broker.groups.values():
            if group.name.startswith(f"{name}."):
                group.rebalance()
