"""A sandbox customer with a confirmed subscription, on the running system that the environment names."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import httpx
from aiokafka import AIOKafkaConsumer

from deploy.story.doors import Doors, Person, open_doors
from deploy.year import customers as life
from deploy.year.customers import PASSWORD, Customer, World
from deploy.year.publisher import Publisher
from shared.events.registry import MARKETPLACE
from shared.services import url_variable
from tests.console.browser.conftest import Site
from tests.console.browser.hands import eventually

AT_ONCE: Final = 4


@dataclass(frozen=True, slots=True)
class Bought:
    """A customer's manager, who holds its first seat, with colleagues and what was bought."""

    manager: Person
    colleagues: list[Person]
    subscription_id: str
    contract_id: str


def bought(run: str, seats: int, colleagues: int) -> Bought:
    """Let a partner order for a new customer, and the publisher confirm.

    The manager holds a seat, and the contract has 100 credits. It runs in a thread of its own, as playwright occupies
    this one's event loop.
    """
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(_bought(run, seats, colleagues))).result()


def marketplace_hears(site: Site, customer: Bought, seats: int) -> None:
    """Wait until the marketplace's copy of the seat pool has so many assignments, which its previews show."""
    url = site.env[url_variable("marketplace")]
    headers = {"Authorization": f"Bearer {customer.manager.token}"}

    def heard() -> bool:
        answer = httpx.get(f"{url}/subscriptions/{customer.subscription_id}/cancel-preview", headers=headers)
        assert answer.status_code == 200, answer.text
        return len(answer.json()["seats_to_unassign"]) == seats

    eventually(heard, f"the marketplace did not hear of {seats} assigned seats")


async def _bought(run: str, seats: int, colleagues: int) -> Bought:
    async with open_doors(run) as doors:
        consumer = AIOKafkaConsumer(MARKETPLACE, **doors.kafka.client(), auto_offset_reset="latest")
        await consumer.start()
        try:
            publisher = Publisher(doors)
            with publisher.at_work(consumer):
                return await _customer(doors, publisher, seats, colleagues)
        finally:
            await consumer.stop()


async def _customer(doors: Doors, publisher: Publisher, seats: int, colleagues: int) -> Bought:
    clerk, manager = _person(doors, "clerk"), _person(doors, "manager")
    partner = {"name": f"Partner {doors.run}", "kind": "partner"}
    await life.sign_up(doors, clerk, {"organisation": partner})
    await publisher.issue(clerk.organisation_id)
    offered = await doors.ok("marketplace", "GET", "/catalogue?product=autocad&limit=200", clerk)
    customer = Customer(
        number=0,
        fate="renews",
        clerk=clerk,
        with_csn=True,
        loses_csn=False,
        manager=manager,
        colleague=_person(doors, "colleague"),
        plan=next(plan for plan in offered["items"] if plan["orderable"] and plan["agreement"] == "desktop"),
        seats=seats,
    )
    world = World(doors, publisher, clerk)
    for step in (life.found, life.order, life.is_confirmed, life.seats_are_assigned):
        await step(world, customer)
    granted = {"contract_id": customer.contract, "grant_id": f"g-{doors.run}", "amount": 100, "account_id": None}
    await doors.emit("autodesk", "CreditsPurchased", granted)
    people = [_person(doors, f"colleague-{number}") for number in range(colleagues)]
    busy = asyncio.Semaphore(AT_ONCE)

    async def join(person: Person) -> None:
        async with busy:
            invited = await doors.ok("identity", "POST", "/invitations", manager, {"email": person.email})
            await life.sign_up(doors, person, {"invitation": invited["invitation"]})

    await asyncio.gather(*(join(person) for person in people))
    return Bought(manager, people, customer.subscription, customer.contract)


def _person(doors: Doors, role: str) -> Person:
    name = role.replace("-", " ").title()
    return Person(name=name, email=f"{role}@{doors.run}.example", password=PASSWORD)
