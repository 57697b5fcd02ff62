"""What must hold once a simulated system has come to rest: the oracle's verdict, the replay's, the business's."""

from collections.abc import Iterator
from hashlib import sha256
from random import Random
from typing import Any, cast

from services.distribution.domain import fleet, rollout
from services.distribution.domain.fleet import State as Fleet
from services.distribution.domain.fleet import standing
from services.entitlements.domain import credits, seat_pool
from services.identity.domain import contract, contract_state
from services.marketplace.domain import subscription
from shared.eventlog.decision import Stream
from shared.eventlog.deliver.plan import ParkedRecord
from shared.eventlog.deliver.projection import Projection
from shared.events import PhasePassed
from shared.events.envelope import GENESIS, Headers
from shared.events.registry import topic_of
from shared.events.upcasts import decode
from shared.services import SERVICES
from tests.oracle.evidence import Answered, Evidence, Published, Stored, Waiting
from tests.oracle.verdict import faults
from tests.simulation.database import Tables, Transaction
from tests.simulation.store import Rates
from tests.simulation.story import World
from tests.simulation.system import System
from tests.simulation.time import StillProcess


async def verdict(world: World) -> Iterator[str]:
    """Everything that is wrong."""
    system = world.system
    found = [*world.wrong]
    for name in SERVICES:
        found += faults(evidence(world, name))
        for row in system.services[name].tables.of("parked"):
            parked: ParkedRecord = row["record"]
            place = parked.record.raw[:3]
            if place not in system.forged or parked.holds_stream:
                found.append(f"{row['consumer']} has parked a record, {place} ({parked.reason}): {parked.detail}")
        found += await _replayed(system, name)
        for running_ in system.services[name].running:
            if running_.process.failed is not None:
                found.append(f"{running_.process.name} failed: {running_.process.failed!r}")
            if running_.relay.alarm:
                found.append(f"{running_.process.name}: the relay's alarm: {running_.relay.alarm}")
    found += [fault for name in SERVICES for fault in _business(system, name)]
    return iter(found)


def evidence(world: World, name: str) -> Evidence:
    """What the oracle would have read from PostgreSQL and Kafka."""
    system = world.system
    service = system.services[name]
    found, topic = Evidence(name), topic_of(name)
    chain = GENESIS
    for event in service.store.events:
        found.events.append(Stored(event.envelope, event.data))
        chain = sha256(chain + event.envelope.hash).digest()
        found.batches.append((event.envelope.position or 0, chain))
    found.position, found.chain = len(found.events), chain
    found.relayed = service.store._leases[f"relay:{topic}"][3]
    found.topic = [
        Published(r.partition, r.offset, r.key, cast("Headers", list(r.headers)), r.value)
        for log in system.broker.logs(topic)
        for r in log
    ]
    found.ends = {number: len(log) for number, log in enumerate(system.broker.logs(topic))}
    found.expected = frozenset(
        f"{other}.{what.name}" for other in SERVICES for what in system.consumers(other) if topic in what.topics
    )
    own = {event.envelope.stream for event in service.store.events}
    for other in system.services.values():
        for row in other.tables.rows("seen").values():
            if row["stream"] in own:
                found.seen[row["consumer"], row["stream"]] = row["version"]
        for key, row in other.tables.rows("checkpoint").items():
            if key[2] == topic:
                found.checkpoints[key[1], key[3]] = row["offset"]
        for row in other.tables.of("parked"):
            raw = row["record"].record.raw
            if raw.topic == topic:
                headers = cast("Headers", list(raw.headers))
                found.waiting[row["consumer"], raw.partition, raw.offset] = Waiting(
                    row["version"] or 0, row["holds_stream"], raw.key, headers, raw.value
                )
    found.planted = {(partition, offset) for name, partition, offset in system.forged if name == topic}
    found.asked = [asked for asked in world.asked if asked.service == name]
    found.answered = {
        id_: Answered(kept.stream, kept.first, kept.events, kept.refusal is not None)
        for id_, kept in service.store._commands.items()
    }
    return found


async def _replayed(system: System, name: str) -> list[str]:
    """Folds every store's events from nothing and compares each table with what the consumers have made of it."""
    tables, chance = Tables(), Random(0)
    rates = Rates(chance)
    rates.heal()
    tx = Transaction(tables, StillProcess("replay", chance), chance, rates)
    for projection in system.projections(name):
        for service in SERVICES:
            if topic_of(service) in projection.topics:
                await _fold(projection, tx, system, service)
    async with tx.transaction():
        pass
    found = []
    for table in (table for projection in system.projections(name) for table in projection.tables):
        is_, should = system.services[name].tables.rows(table), tables.rows(table)
        found += [
            f"{name}: {key} is {is_.get(key)}, a replay makes it {should.get(key)}"
            for key in sorted(is_.keys() | should.keys(), key=repr)
            if is_.get(key) != should.get(key)
        ]
    clocks = {k: r["ahead_s"] for k, r in system.services[name].tables.rows("clock").items()}
    if clocks != {k: r["ahead_s"] for k, r in tables.rows("clock").items()}:
        found.append(f"{name}: the clocks are {clocks}, a replay moves them otherwise")
    timers, should = system.services[name].tables.rows("timer"), tables.rows("timer")
    for key, row in timers.items():
        if should.get(key) != row:
            found.append(f"{name}: the timer {key} is {row}, a replay makes it {should.get(key)}")
    return found


async def _fold(projection: Projection, tx: Transaction, system: System, service: str) -> None:
    for stored in system.services[service].store.events:
        if stored.envelope.type in projection.types:
            await projection.apply(tx, decode(stored.envelope, stored.data, trusted=True), stored.envelope)


# ── The business ───────────────────────────────────────────────────────────────────────────────────────


def states(system: System, name: str, stream: Stream[Any, Any, Any]) -> dict[str, Any]:
    """Every stream of this kind, by key."""
    found: dict[str, Any] = {}
    for stored in system.services[name].store.events:
        category, _, key = stored.envelope.stream.partition("-")
        if category == stream.category:
            event = decode(stored.envelope, stored.data, trusted=True)
            found[key] = stream.evolve(found.get(key, stream.initial), event)
    return found


def _business(system: System, name: str) -> Iterator[str]:
    match name:
        case "identity":
            yield from _contracts(system)
        case "marketplace":
            yield from _instalments(system)
        case "entitlements":
            yield from _seats(system)
            yield from _credits(system)
        case "distribution":
            yield from _rollouts(system)


def _contracts(system: System) -> Iterator[str]:
    """Each contract with a confirmed subscription has one Contract Manager, and its agreements are those that run."""
    contracts = states(system, "identity", contract.CONTRACT)
    running_: dict[str, set[str]] = {}
    for key, state in states(system, "marketplace", subscription.SUBSCRIPTION).items():
        if isinstance(state, subscription.Confirmed):
            envelope = running_.setdefault(state.confirmed.contract_id, set())
            if not isinstance(state, subscription.Ended):
                envelope.add(key)
    for key, runs in running_.items():
        state = contracts.get(key)
        if not isinstance(state, contract_state.OpenedContract) or state.manager is None:
            yield f"contract {key} has no Contract Manager"
        elif set(state.agreements) != runs:
            yield f"contract {key} has the agreements {sorted(state.agreements)}, and {sorted(runs)} run"


def _instalments(system: System) -> Iterator[str]:
    """A term's instalments are numbered from 1 without a gap, each once."""
    for key, state in states(system, "marketplace", subscription.SUBSCRIPTION).items():
        if isinstance(state, subscription.Live):
            numbers = [part.number for part in state.term.instalments]
            if numbers != list(range(1, len(numbers) + 1)):
                yield f"{key} has the instalments {numbers}"


def _seats(system: System) -> Iterator[str]:
    """A pool for each confirmed subscription, with its seats; nobody holds two, and none is out of bounds."""
    pools = states(system, "entitlements", seat_pool.SEAT_POOL)
    for key, state in states(system, "marketplace", subscription.SUBSCRIPTION).items():
        if not isinstance(state, subscription.Confirmed):
            continue
        pool = pools.get(key)
        if not isinstance(pool, seat_pool.OpenedSeatPool):
            yield f"{key} was confirmed and has no seats"
            continue
        if not isinstance(state, subscription.Ended) and (pool.seats, pool.ends) != (state.term.seats, state.term.ends):
            yield f"{key} has {pool.seats} seats until {pool.ends}; sold: {state.term.seats} until {state.term.ends}"
        holders = [held.account_id for held in pool.held.values()]
        if len(holders) != len(set(holders)) or not all(1 <= seat <= pool.seats for seat in pool.held):
            yield f"{key} has {pool.seats} seats, held by {holders}"


def _credits(system: System) -> Iterator[str]:
    for key, state in states(system, "entitlements", credits.CREDITS).items():
        if any(lot.remaining < 0 for lot in state.lots.values()):
            yield f"{key} has spent more credits than it had"


def _rollouts(system: System) -> Iterator[str]:
    """A rollout targets whom its fleet says, all of whom have a seat now; nobody passes a phase without a success."""
    fleets: dict[str, Fleet] = states(system, "distribution", fleet.FLEET)
    pools = states(system, "entitlements", seat_pool.SEAT_POOL)
    for stored in system.services["distribution"].store.events:
        event = decode(stored.envelope, stored.data, trusted=True)
        if isinstance(event, PhasePassed) and not event.succeeded:
            yield f"{stored.envelope.stream} passed phase {event.phase + 1}, which nobody completed"
    for key, state in states(system, "distribution", rollout.ROLLOUT).items():
        if not isinstance(state, rollout.Running):
            continue
        contract_id, _, number = key.rpartition("-")
        should = standing(fleets[contract_id], int(number)).targets
        if set(state.targets) != set(should):
            yield f"rollout {key} targets {sorted(state.targets)}, its fleet says {sorted(should)}"
        seated = {
            held.account_id
            for pool in pools.values()
            if isinstance(pool, seat_pool.OpenedSeatPool) and pool.opened.contract_id == contract_id
            for held in pool.held.values()
        }
        if not set(state.targets) <= seated:
            yield f"rollout {key} targets {sorted(state.targets)}, seats have {sorted(seated)}"
