"""A publisher of a test's own with its person, a partner and a customer, on the running system."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from deploy.invite import invite
from deploy.story.doors import ZONE, Doors, Json, Person, open_doors
from deploy.year.customers import PASSWORD, sign_up
from shared.days import day_of

T = TypeVar("T")
PLAN: Final[Json] = {
    "product_id": "NSPLA-WW0001-A001",
    "programme": "subscription",
    "product": "planner",
    "product_name": "Northsoft Planner",
    "period": "annual",
    "support": "basic",
    "billing": "upfront",
    "commitment_months": 12,
    "category": "open",
    "agreement": "desktop",
    "price": {"amount": 480_00, "currency": "EUR"},
}
"""The plan that the publisher has on sale. A product ID is unique for one publisher only."""


@dataclass(frozen=True, slots=True)
class Selling:
    """The people, and the names of their organisations, which no other test has."""

    run: str
    publisher: Person
    clerk: Person
    buyer: Person

    @property
    def name(self) -> str:
        """The publisher's name in contracts."""
        return f"northsoft-{self.run}"

    def order(self, *seats: int) -> list[str]:
        """Let the partner send an order of the plan for each number of seats, and return their subscriptions."""
        return _in_a_thread(lambda: self._order(seats))

    async def _order(self, seats: tuple[int, ...]) -> list[str]:
        async with open_doors(f"orders-{self.run}") as doors:
            return [await self._ordered(doors, number) for number in seats]

    async def _ordered(self, doors: Doors, seats: int) -> str:
        opened = await doors.ok("marketplace", "POST", "/carts", self.clerk, {})
        at = f"/carts/{opened['events'][0]['data']['cart_id']}"
        line = {"product_id": PLAN["product_id"], "publisher": self.name, "seats": seats}
        await doors.ok("marketplace", "POST", f"{at}/lines", self.clerk, line)
        to = {
            "customer": self.buyer.organisation_id,
            "purchaser": self.buyer.account_id,
            "starts": day_of(datetime.now(UTC), ZONE).isoformat(),
        }
        out = await doors.ok("marketplace", "POST", f"{at}/checkout", self.clerk, to)
        return str(out["events"][0]["data"]["lines"][0]["subscription_id"])


def selling(run: str) -> Selling:
    """Invite a publisher's person, let a partner and a customer sign up, and put the plan on sale."""
    return _in_a_thread(lambda: _selling(run))


async def _selling(run: str) -> Selling:
    made = Selling(run, *(_person(run, each) for each in ("Jonas Weber", "Clara Reyes", "Oskar Lindqvist")))
    async with open_doors(f"selling-{run}") as doors:
        invitation = await invite("publisher", f"Northsoft {run}", made.publisher.email, made.name)
        await sign_up(doors, made.publisher, {"invitation": invitation})
        await sign_up(doors, made.clerk, {"organisation": {"name": f"Cadworks {run}", "kind": "partner"}})
        customer = {"name": f"Northhaus {run}", "kind": "customer"}
        await sign_up(doors, made.buyer, {"organisation": customer})
        await doors.ok("marketplace", "PUT", f"/partners/{made.clerk.organisation_id}", made.buyer, {})
        await doors.ok("marketplace", "POST", "/publisher/plans", made.publisher, PLAN)
    return made


def _person(run: str, name: str) -> Person:
    return Person(name=name, email=f"{name.split()[0].lower()}@{run}.example", password=PASSWORD)


def _in_a_thread(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Return what a coroutine returns: playwright occupies this thread's event loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(work())).result()
