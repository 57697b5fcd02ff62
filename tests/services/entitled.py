"""entitlements whole, but for HTTP's and Kafka's wires: its consumers over a real database, and its doors."""

import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest

from services.entitlements import reactions
from services.entitlements.__main__ import SERVICE
from shared.eventlog.write.postgres import PostgresStore
from shared.events import (
    AccountOpened,
    AgreementStarted,
    ClockMoved,
    ContractOpened,
    CsnIssued,
    RoleAssigned,
    SubscriptionConfirmed,
    SubscriptionRenewed,
)
from shared.events.identity import AgreementKind
from shared.runtime.auth import Actor, TokenSigner
from shared.runtime.http import make_app
from shared.runtime.people import IdentityAddressBook
from tests.contracts.golden import sample
from tests.examples.engine import new_id
from tests.services.counters import KEY, parts
from tests.services.world import World
from tests.spec import sends

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
ENDS = date(2027, 11, 20)


@asynccontextmanager
async def a_world(database: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(reactions, "WAIT_S", -1.0)  # what is not folded yet comes again
    store = await PostgresStore(database, "entitlements").open()
    pool = await asyncpg.create_pool(database, min_size=1, max_size=4)
    yield World(SERVICE, pool, store, NOON)
    await store.close()
    pool.terminate()


def confirmed(subscription: str, customer: str, partner: str, seats: int = 2, **plan: Any) -> SubscriptionConfirmed:
    made: SubscriptionConfirmed = sample(SubscriptionConfirmed)
    changed = {"publisher": "autodesk", "period": "annual", "product": "autocad", "product_name": "AutoCAD"} | plan
    return made.model_copy(
        update={
            "subscription_id": subscription,
            "customer": customer,
            "partner": partner,
            "contract_id": "c",
            "seats": seats,
            "plan": made.plan.model_copy(update=changed),
            "starts": NOON.date(),
            "ends": ENDS,
        }
    )


def person(account: str, organisation: str, name: str = "Northhaus") -> AccountOpened:
    made: AccountOpened = sample(AccountOpened)
    return made.model_copy(update={"account_id": account, "organisation_id": organisation, "organisation_name": name})


class Doors:
    def __init__(self, world: World) -> None:
        self.parts = made = parts()
        made.opened_log, made.opened_db, made.clocks = world.log, world.pool, world.clocks
        made.address_book = IdentityAddressBook("http://identity", httpx.MockTransport(self._identity))
        self.away = False
        """Whether identity does not answer."""
        transport = httpx.ASGITransport(make_app(made, SERVICE.commands, SERVICE.queries, api=True))
        self.client = httpx.AsyncClient(transport=transport, base_url="http://test")

    def _identity(self, request: httpx.Request) -> httpx.Response:
        """Identity, where everybody's address is the account's id at x.example."""
        if self.away:
            raise httpx.ConnectError("away")
        assert (request.url.path, request.headers["authorization"][:7]) == ("/accounts/by-address", "Bearer ")
        names = [item["email"].removesuffix("@x.example") for item in json.loads(request.content)["items"]]
        items = [{"account_id": name if name in ("ana", "ben", "mina") else None} for name in names]
        return httpx.Response(200, json={"items": items})

    @sends
    async def when_file(self, who: str, path: str, file: str) -> httpx.Response:
        """Let this person send a CSV file."""
        actor = Actor(account_id=who, organisation_id="org", organisation_kind="customer")
        headers = {"Authorization": f"Bearer {TokenSigner(KEY).sign(actor, new_id())}", "Content-Type": "text/csv"}
        return await self.client.post(path, content=file.encode(), headers=headers)

    @sends
    async def when(self, who: str, method: str, path: str, body: Any = None, key: str = "") -> httpx.Response:
        """Let this person send a request."""
        actors = {
            "seller": Actor(
                account_id="seller", organisation_id="publisher", organisation_kind="publisher", publisher="autodesk"
            ),
            "other": Actor(
                account_id="other", organisation_id="publisher-2", organisation_kind="publisher", publisher="rival"
            ),
            "nameless": Actor(account_id="nameless", organisation_id="publisher-3", organisation_kind="publisher"),
            "clerk": Actor(account_id="clerk", organisation_id="reseller", organisation_kind="partner"),
            "rival": Actor(account_id="rival", organisation_id="other-reseller", organisation_kind="partner"),
            "operator": Actor(account_id="operator", organisation_id="operations", organisation_kind="operator"),
            "stranger": Actor(account_id="stranger", organisation_id="x", organisation_kind="customer"),
        }
        actor = actors.get(who) or Actor(account_id=who, organisation_id="org", organisation_kind="customer")
        token = TokenSigner(KEY).sign(actor, new_id())
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": key or new_id()}
        return await self.client.request(method, path, json=body, headers=headers)


@asynccontextmanager
async def open_doors(
    world: World,
    subscription: SubscriptionConfirmed,
    publisher: str = "autodesk",
    agreement: AgreementKind = "desktop",
) -> AsyncIterator[Doors]:
    """A contract with this subscription, its manager, and people who have to do with it."""
    for account in ("ana", "ben", "mina"):
        world.say("identity", f"account-{account}", person(account, "org"))
    world.say("identity", "account-seller", person("seller", "publisher", "Autodesk"))
    world.say("identity", "account-other", person("other", "publisher-2", "Other"))
    contract = {"contract_id": "c"}
    opened = ContractOpened(**contract, customer="org", publisher=publisher, programme="p", opened_by_subscription="s")
    role = {"account_id": "mina", "role": "contract_manager", "may_assign_seats": True, "assigned_by": "x"}
    world.say("identity", "contract-c", opened)
    world.say("identity", "contract-c", RoleAssigned.model_validate(contract | role))
    world.say("identity", "contract-c", AgreementStarted(**contract, subscription_id="s", kind=agreement, product="p"))
    world.say("marketplace", "subscription-s", subscription)
    world.say("marketplace", "partner-org", CsnIssued(csn="N1", organisation_id="org", publisher="autodesk"))
    await world.settle(random.Random(1))
    made = Doors(world)
    yield made
    await made.client.aclose()


def later(world: World, days: int) -> None:
    """The customer's clock is moved: so many days after noon of the first."""
    ahead = int(timedelta(days=days).total_seconds())
    world.say("identity", "organisation-org", ClockMoved(organisation_id="org", ahead_s=ahead, moved_by="mina"))


def renewed(ends: date, seats: int = 1) -> SubscriptionRenewed:
    made: SubscriptionRenewed = sample(SubscriptionRenewed)
    return made.model_copy(update={"subscription_id": "s", "contract_id": "c", "seats": seats, "ends": ends})
