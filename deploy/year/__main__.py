"""Entry point of the year: `python -m deploy.year [--customers N]`.

The exit code is 1 if anything is wrong.
"""

import argparse
import asyncio
import os
import secrets
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

import asyncpg
import uvloop
from aiokafka import AIOKafkaConsumer

from deploy import OperatorError
from deploy.invite import invite
from deploy.reaching import remedy
from deploy.story.doors import Doors, Json, Person, Wrong, open_doors
from deploy.year import customers as life
from deploy.year.check import INVARIANTS, Findings, check
from deploy.year.customers import FATES, PASSWORD, Customer, World
from deploy.year.publisher import Publisher
from shared.eventlog.deliver.kafka import InvalidKafkaSettings
from shared.events.registry import MARKETPLACE
from shared.runtime.settings import settings
from shared.services import SERVICES
from shared.sql import statements

SQL: Final = statements(__file__)

PARTNERS = 4
AT_ONCE = 96
"""The number of customers that are processed at once."""
REST_S = 120.0


async def each(title: str, customers: Sequence[Customer], *acts: Callable[[Customer], Awaitable[None]]) -> None:
    """Do these acts in order for every customer, AT_ONCE in parallel, and show progress."""
    began, done, gate = time.monotonic(), 0, asyncio.Semaphore(AT_ONCE)
    shown = 0.0

    async def one(customer: Customer) -> None:
        nonlocal done, shown
        async with gate:
            for act in acts:
                await act(customer)
        done += 1
        now = time.monotonic()
        if sys.stdout.isatty() and now - shown > 0.2:
            shown = now
            left = (now - began) / done * (len(customers) - done)
            print(f"\r   {title}: {done} of {len(customers)}, {left:.0f} s left   ", end="", flush=True)

    async with asyncio.TaskGroup() as group:
        for customer in customers:
            group.create_task(one(customer))
    start = "\r" if sys.stdout.isatty() else ""
    print(f"{start}   {title}: {len(customers)} in {time.monotonic() - began:.1f} s            ", flush=True)


def people(run: str, number: int) -> tuple[Person, Person]:
    def person(role: str) -> Person:
        return Person(name=f"{role.title()} {number}", email=f"{role}.{number}@{run}.example", password=PASSWORD)

    return person("manager"), person("colleague")


async def partners(doors: Doors, publisher: Publisher) -> list[tuple[Person, str]]:
    """Create the partners; return their clerks with their CSNs, the last without one."""
    found = []
    for number in range(PARTNERS):
        clerk = Person(name=f"Clerk {number}", email=f"clerk.{number}@{doors.run}.example", password=PASSWORD)
        organisation = {"name": f"Partner {number} {doors.run}", "kind": "partner"}
        await life.sign_up(doors, clerk, {"organisation": organisation})
        csn = await publisher.issue(clerk.organisation_id) if number < PARTNERS - 1 else ""
        found.append((clerk, csn))
    return found


async def plans(doors: Doors, clerk: Person) -> list[Json]:
    """Return the orderable open plans that give administrative access."""
    page = await doors.ok("marketplace", "GET", "/catalogue?limit=200", clerk)
    fitting = [plan for plan in page["items"] if plan["orderable"] and plan["category"] == "open"]
    return [plan for plan in fitting if plan["agreement"] in ("desktop", "maintenance")]


async def live(doors: Doors, consumer: AIOKafkaConsumer, count: int) -> list[Customer]:
    publisher = Publisher(doors)
    operator = Person(name="Operator", email=f"operator@{doors.run}.example", password=PASSWORD)
    await life.sign_up(doors, operator, {"invitation": await invite("operator", "Tenure operations", operator.email)})
    world = World(doors, publisher, operator)
    clerks = await partners(doors, publisher)
    offered = await plans(doors, clerks[0][0])
    autocad = next(plan for plan in offered if plan["product"] == "autocad" and plan["billing"] == "upfront")
    world.update = await publisher.publish_update()
    customers = []
    for number in range(count):
        fate, partner = FATES[number % len(FATES)], number // len(FATES) % PARTNERS
        clerk, csn = clerks[partner]
        manager, colleague = people(doors.run, number)
        plan = autocad if fate == "rolls out" else offered[number % len(offered)]
        customers.append(
            Customer(
                number=number,
                fate=fate,
                clerk=clerk,
                with_csn=bool(csn),
                loses_csn=partner == 0,
                manager=manager,
                colleague=colleague,
                plan=plan,
                seats=2 + number % 3,
            )
        )
    with publisher.at_work(consumer):
        steps = (life.found, life.order, life.is_confirmed, life.seats_are_assigned)
        await each("sign up, order, are confirmed, assign seats", customers, *(partial(step, world) for step in steps))
        await _year(world, customers, [(clerk, csn) for clerk, csn in clerks if csn])
    return customers


async def _year(world: World, customers: list[Customer], numbers: Sequence[tuple[Person, str]]) -> None:
    def moves(day: int) -> Callable[[Customer], Awaitable[None]]:
        return lambda c: life.moves_to(world, c, day)

    def step(act: Callable[[World, Customer], Awaitable[None]]) -> Callable[[Customer], Awaitable[None]]:
        return partial(act, world)

    await each("day 100: seats, credits, hand-overs, rollouts", customers, moves(100), step(life.in_spring))
    clerk, csn = numbers[0]
    await world.publisher.revoke(clerk.organisation_id, csn)
    await each("day 250: some cancel, refused while seats are held", customers, moves(250), step(life.in_autumn))
    await world.publisher.issue(clerk.organisation_id)
    await each(
        "days 362 to 470: reminders, cancelling too late, renewals, ends",
        customers,
        moves(362),
        step(life.after_the_cutoff),
        moves(370),
        step(life.after_the_term),
        moves(470),
        step(life.long_after),
    )


# ── Afterwards ─────────────────────────────────────────────────────────────────────────────────────────


def dsns() -> dict[str, str]:
    """Return each service's database URL.

    Raises:
        Wrong: DATABASE_URL is not set, or the variables of Kafka contradict each other.
    """
    if not os.environ.get("DATABASE_URL"):
        raise Wrong(f"The check reads the stores. {remedy('DATABASE_URL')}")
    try:
        return {service: settings().dsn(service) for service in SERVICES}
    except InvalidKafkaSettings as why:
        raise Wrong(str(why)) from None


async def rest(stores: dict[str, str]) -> None:
    """Wait until the system is idle: no new event for two seconds, all published, no timer due.

    Raises:
        Wrong: Events were parked, or the system was not idle within REST_S.
    """
    connections = {name: await asyncpg.connect(dsn) for name, dsn in stores.items()}
    deadline, before, quiet = time.monotonic() + REST_S, None, 0
    try:
        while quiet < 4:
            rows = {name: await db.fetchrow(SQL["left"]) for name, db in connections.items()}
            heads = [await db.fetchval(SQL["head"]) for db in connections.values()]
            parked = {name: row["parked"] for name, row in rows.items() if row and row["parked"]}
            if parked:
                raise Wrong(f"events were parked: {parked}")
            still = all(row and not row["unpublished"] and not row["due"] for row in rows.values())
            quiet = quiet + 1 if still and heads == before else 0
            before = heads
            if time.monotonic() > deadline:
                raise Wrong(f"the system did not become idle: {rows}")
            await asyncio.sleep(0.5)
    finally:
        for db in connections.values():
            await db.close()


def summary(customers: Sequence[Customer], findings: Findings) -> None:
    fates = Counter(customer.fate for customer in customers)
    print(f"\n{len(customers)} customers: " + ", ".join(f"{n} {fate}" for fate, n in fates.items()))
    print(f"{sum(c.refusals for c in customers)} refusals, each with rule, reason and remedy")
    print(f"{findings.events:,} events of {findings.streams:,} streams; {findings.records:,} records on Kafka")
    for name, count in findings.types.most_common():
        print(f"   {count:>7,}  {name}")
    print("\nChecked over every event of the stores, and the topics:")
    for invariant in INVARIANTS:
        print(f"   {invariant}")
    for violation in findings.violations[:50]:
        print(f"   VIOLATED  {violation}")
    print(f"{len(findings.violations)} violations." if findings.violations else "No invariant is violated.")


async def run(count: int) -> int:
    stores = dsns()
    async with open_doors(f"year-{secrets.token_hex(4)}") as doors:
        consumer = AIOKafkaConsumer(MARKETPLACE, **doors.kafka.client(), auto_offset_reset="latest")
        await consumer.start()
        try:
            print(f"The year {doors.run}: {count} sandbox customers, {PARTNERS} partners, one publisher", flush=True)
            customers = await live(doors, consumer, count)
        finally:
            await consumer.stop()
    await rest(stores)
    findings = await check(stores, doors.kafka)
    summary(customers, findings)
    return 1 if findings.violations else 0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m deploy.year", description="Simulate a year of sandbox customers.")
    parser.add_argument("--customers", type=int, default=1_000, metavar="N")
    chosen = parser.parse_args()
    began = time.monotonic()
    try:
        status = uvloop.run(run(chosen.customers))
    except* (Wrong, OperatorError) as wrong:
        first = wrong.exceptions[0]
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        sys.exit(f"\nThe year failed: {first}")
    print(f"Finished in {time.monotonic() - began:.0f} s.")
    sys.exit(status)


if __name__ == "__main__":
    main()
