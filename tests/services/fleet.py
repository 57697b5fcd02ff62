"""distribution whole, its log in memory and its tables in PostgreSQL: what its tests work at."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import asyncpg
import httpx
from joserfc.jwk import ECKey

from services.distribution.__main__ import SERVICE
from services.distribution.domain.update import UPDATE as UPDATE_STREAM
from services.distribution.domain.update import RecordUpdate
from services.distribution.projections import ACCESS, AVAILABILITY, FLEETS, ROLLOUTS
from services.distribution.reactions import PROCESS
from services.distribution.timers import TIMERS
from shared.eventlog.deliver.projection import ReactionContext
from shared.eventlog.deliver.timers import TimerService
from shared.eventlog.write.log import Log, Meta
from shared.eventlog.write.memory import MemoryStore
from shared.events import (
    AgreementStarted,
    Event,
    RoleAssigned,
    SeatAssigned,
    UpdatePublished,
    UpdateRightGranted,
)
from shared.events.envelope import Envelope
from shared.events.upcasts import decode
from shared.runtime.auth import Actor, TokenSigner, TokenVerifier, public_keys
from shared.runtime.http import make_app
from shared.runtime.metrics import Metrics
from shared.runtime.parts import Parts
from shared.runtime.people import IdentityAddressBook
from shared.runtime.settings import Settings
from tests.examples.distribution import NOON, OPENED, UPDATE
from tests.examples.engine import new_id
from tests.services.tokens import NothingEnded
from tests.spec import sends

PUBLISHERS = {
    "paula": Actor(account_id="paula", organisation_id="p", organisation_kind="publisher", publisher="autodesk"),
    "otto": Actor(account_id="otto", organisation_id="o", organisation_kind="publisher", publisher="other"),
}
KEY = ECKey.generate_key("P-256", {"kid": "key"})
IDS: dict[str, Any] = {"subscription_id": "s", "contract_id": "c"}
POOL: dict[str, Any] = {"customer": "org", "product": "autocad"}


def seated(who: str) -> SeatAssigned:
    return SeatAssigned(**IDS, seat=1, account_id=who, assigned_by="mina")


async def _keys() -> Any:
    return public_keys([KEY])


def _identity(request: httpx.Request) -> httpx.Response:
    """Identity, where the address of ana and ben is their id at x.example."""
    names = [item["email"].removesuffix("@x.example") for item in json.loads(request.content)["items"]]
    items = [{"account_id": name if name in ("ana", "ben") else None} for name in names]
    return httpx.Response(200, json={"items": items})


class Bench:
    """The service without Kafka: its log in memory, its tables in PostgreSQL."""

    def __init__(self, pool: Any) -> None:
        self.pool, self.store, self.now, self.known, self.heard = pool, MemoryStore(), NOON, 0, 0
        self.log = Log(self.store, "distribution")
        made = Parts(
            service="distribution",
            settings=Settings(),
            metrics=Metrics("test"),
            verifier=TokenVerifier(_keys, NothingEnded()),
            new_id=new_id,
            now=lambda: self.now,
        )
        made.opened_log, made.opened_db = self.log, pool
        made.address_book = IdentityAddressBook("http://identity", httpx.MockTransport(_identity))
        self.parts, self.clocks = made, made.clocks
        self.timers = TimerService("distribution", TIMERS, pool, self.log, made.clocks)
        app = make_app(made, SERVICE.commands, SERVICE.queries, api=True)
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")

    async def hears(self, *events: Event) -> None:
        for event in events:
            self.heard += 1
            envelope = Envelope(f"{self.heard:09}", "urn:tenure:other", event.type(), "x", self.now, version=self.heard)
            await self._take(event, envelope)
        await self.settle()

    async def publishes(self, update: UpdatePublished) -> None:
        meta = Meta(f"publish-{update.update_id}", "", self.now)
        await self.log.execute(UPDATE_STREAM, f"autodesk-{update.update_id}", RecordUpdate(update, "autodesk"), meta)
        await self.settle()

    async def settle(self) -> None:
        while self.known < len(self.store.events):
            stored = self.store.events[self.known]
            self.known += 1
            await self._take(decode(stored.envelope, stored.data), stored.envelope)

    async def _take(self, event: Event, envelope: Envelope) -> None:
        for what in (AVAILABILITY, FLEETS, ROLLOUTS, ACCESS, TIMERS.projection):
            if envelope.type in what.types:
                async with self.pool.acquire() as tx, tx.transaction():
                    await what.apply(tx, event, envelope)
        if envelope.type in PROCESS.types:
            reach = ReactionContext(lookups=None, log=self.log, now=self.now, clocks=self.clocks)
            for n, do in enumerate(await PROCESS.react(event, envelope, reach)):
                await self.log.execute(do.stream, do.key, do.command, Meta(f"{envelope.id}:{n}", "process", self.now))

    async def time(self, now: datetime) -> None:
        self.now = now
        while await self.timers.fire():
            await self.settle()

    @sends
    async def when(self, method: str, path: str, who: str = "mina", **body: Any) -> httpx.Response:
        """Let this person send a request; what follows from it has happened once it is answered."""
        customer = Actor(account_id=who, organisation_id="org", organisation_kind="customer")
        token = TokenSigner(KEY).sign(PUBLISHERS.get(who, customer), "token")
        answer = await self.client.request(
            method, path, json=body or None, headers={"Authorization": f"Bearer {token}"}
        )
        await self.settle()
        return answer

    def said(self, because: str) -> str:
        """What the event that justified a refusal says."""
        (data,) = (each.data for each in self.store.events if each.envelope.id == because)
        return data.decode()

    async def offers(self, who: str) -> list[str]:
        return [offer["rollout_id"] for offer in await self.installs(who, "pc")]

    async def installs(self, who: str, machine: str) -> list[Any]:
        """What this machine of the user should install now."""
        shown: list[Any] = (await self.when("GET", f"/me/updates?machine={machine}", who).then_ok())["items"]
        return shown


APPROVAL = "/contracts/c/updates/autodesk/u/approval"


@asynccontextmanager
async def a_fleet(databases: Callable[[str], str]) -> AsyncIterator[Bench]:
    """A contract with two seated users, and an update for its product."""
    pool = await asyncpg.create_pool(databases("distribution"), min_size=1, max_size=4)
    made = Bench(pool)
    await made.hears(
        RoleAssigned(
            contract_id="c", account_id="mina", role="contract_manager", may_assign_seats=True, assigned_by="mina"
        ),
        AgreementStarted(**IDS, kind="desktop", product="autocad"),
        OPENED,
        UpdateRightGranted(**IDS, product="autocad", csn="x"),
        seated("ana"),
        seated("ben"),
    )
    await made.publishes(UPDATE)
    yield made
    await made.client.aclose()
    await pool.close()
