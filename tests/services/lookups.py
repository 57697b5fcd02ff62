"""A service's lookups in PostgreSQL and in the simulation's memory: what their tests ask both."""

import random
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

import asyncpg

from services import definition_of
from services.entitlements import lookups as of_entitlements
from services.identity import lookups as of_identity
from services.identity.notifications import reactions as of_notifications
from shared.eventlog.decision import Stream
from shared.eventlog.deliver.projection import Projection
from shared.eventlog.deliver.tables import ConsumerTables, PostgresTables
from shared.eventlog.write.log import Accepted, Log, Meta
from shared.eventlog.write.memory import MemoryStore
from shared.eventlog.write.postgres import PostgresStore
from shared.events import (
    Event,
)
from shared.events.envelope import Envelope
from tests.contracts.golden import sample
from tests.examples.engine import NOON, new_id
from tests.services.world import World
from tests.simulation.database import Pool, Tables
from tests.simulation.store import Rates
from tests.simulation.time import StillProcess
from tests.simulation.twins import TWINS
from tests.simulation.twins.engine import MemoryTables

L = TypeVar("L")
E = TypeVar("E", bound=Event)


class Clear:
    """A sealer that leaves what is personal as it is."""

    async def seal(self, events: Sequence[Event]) -> Sequence[Event]:
        return events

    async def open(self, events: Sequence[Event]) -> Sequence[Event]:
        return events


@dataclass
class Told(Generic[L]):
    """A service's read models, what it is told, and the lookups over them."""

    world: World
    log: Log
    lookups: L
    projections: dict[str, Projection]

    async def append(self, stream: Stream[Any, Any, Any], key: str, *events: Event) -> None:
        """Append these events to a stream of the service's own, whatever its decider would say."""
        accepting: Stream[None, tuple[Event, ...], Event] = Stream(
            category=stream.category,
            initial=None,
            evolve=lambda _state, _event: None,
            decide=lambda asked, _state: asked,
            tenant=lambda _event: "org",
        )
        answer = await self.log.execute(accepting, key, events, Meta(new_id(), "somebody", NOON))
        assert isinstance(answer, Accepted), answer

    async def fold(self) -> None:
        """Let the projections hear all that they have not heard."""
        while following := await self.world.next():
            for consumer, stream in following:
                assert await self.world.hear(consumer, stream)

    def stored(self, stream: str, version: int) -> Envelope:
        """The envelope of an event of the service's own that was folded."""
        return self.world.said[stream][version - 1][0]


def a_world(
    service: str,
    projections: Sequence[Projection],
    pool: Any,
    store: Any,
    tables: Callable[[Any], ConsumerTables] = PostgresTables,
) -> World:
    world = World(replace(definition_of(service), consumers=projections), pool, store, NOON, tables)
    world.consumers = [each for each in world.consumers if each.definition in projections]
    world.parks = True
    return world


def in_memory(service: str) -> Told[Any]:
    twin, store, tables, chance = TWINS[service], MemoryStore(), Tables(), random.Random(1)
    tables.log, rates = store, Rates(chance)
    rates.heal()
    pool = Pool(tables, StillProcess("lookups", chance), chance, rates)
    world = a_world(service, twin.projections, pool, store, MemoryTables)
    return Told(world, Log(store, service, sealer=Clear()), twin.lookups(pool), _by_name(twin.projections))


async def in_postgres(service: str, database: str, stack: AsyncExitStack) -> Told[Any]:
    names = {each.name for each in TWINS[service].projections}
    consumers = definition_of(service).consumers
    projections = [each for each in consumers if isinstance(each, Projection) and each.name in names]
    store = await PostgresStore(database, service).open()
    stack.push_async_callback(store.close)
    pool = await stack.enter_async_context(asyncpg.create_pool(database, min_size=1, max_size=2))
    world = a_world(service, projections, pool, store)
    make = {"identity": OfIdentity, "entitlements": of_entitlements.PostgresLookups}[service]
    return Told(world, Log(store, service, sealer=Clear()), make(pool), _by_name(projections))


def _by_name(projections: Sequence[Projection]) -> dict[str, Projection]:
    return {each.name: each for each in projections}


class OfIdentity(of_identity.PostgresLookups, of_notifications.PostgresLookups):
    """What identity's reactions look up, and what its notifications do."""


class IdentityLookups(of_identity.Lookups, of_notifications.Lookups, Protocol):
    """The same, as the reactions ask it."""


def like(event: type[E], **values: Any) -> E:
    """An event of this type with these values."""
    made: E = sample(event)
    return made.model_copy(update=values)
