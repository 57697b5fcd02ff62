"""identity whole, over a real database and without Kafka: what its tests work at."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime
from typing import Any

import asyncpg
import httpx
from joserfc.jwk import ECKey, RSAKey

from services.identity.__main__ import SERVICE
from services.identity.domain import account, contract_state
from services.identity.domain.account import ACCOUNT
from services.identity.domain.contract import CONTRACT
from services.identity.everywhere import Everywhere
from services.identity.persons import Persons
from services.identity.restored import private
from services.identity.signin import keys, oidc
from services.identity.signin.endings import OwnEndings
from services.identity.timers import TIMERS
from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.consumer import Consumer
from shared.eventlog.deliver.received import Raw, receive
from shared.eventlog.deliver.timers import TimerService
from shared.eventlog.write.log import Log, utc_now
from shared.eventlog.write.postgres import PostgresStore
from shared.events import RoleAssigned, SubscriptionConfirmed
from shared.events.base import Event
from shared.events.envelope import GENESIS, Envelope, StoredEvent, chained, from_headers, source_of
from shared.events.registry import IDENTITY, topic_of
from shared.runtime.auth import Actor, TokenSigner, TokenVerifier, public_keys
from shared.runtime.clocks import CLOCKS
from shared.runtime.http import make_app
from shared.runtime.metrics import Metrics
from shared.runtime.names import IdentityNameBook
from shared.runtime.parts import Parts
from shared.runtime.people import IdentityAddressBook
from shared.runtime.settings import Settings
from tests.contracts.golden import sample
from tests.databases import as_operator
from tests.examples.engine import NOON, new_id
from tests.spec import sends

KEY = ECKey.generate_key("P-256", {"kid": "key"})
OPERATOR = TokenSigner(KEY).sign(
    Actor(account_id="operator", organisation_id="tenure", organisation_kind="operator"), "token", lifetime_s=3_600
)
"""An operator's token that outlives the whole run of the tests."""
ISSUER = RSAKey.generate_key(2048, {"kid": "theirs"})
PASSWORD = "correct horse battery"


async def _jwks() -> Any:
    return public_keys([KEY])


async def issuer_keys() -> Any:
    return {"keys": [ISSUER.as_dict(private=False)]}


def sign_up(name: str, **where: Any) -> dict[str, Any]:
    where = where or {"organisation": {"name": "Northhaus", "kind": "customer"}}
    return {"email": f"{name}@x.example", "password": PASSWORD, "name": f"{name} Okafor", "country": "DE", **where}


class AtOnce(Everywhere):
    """There is no other service, and nobody waits for this one."""

    async def lacking(self, *_: Any) -> list[str]:
        return []


class Heads:
    """The heads of topics; None of one that has come as far as anybody asks."""

    def __init__(self) -> None:
        self.heads: dict[str, int] = {}

    async def before(self, topic: str, position: int) -> int | None:
        head = self.heads.get(topic)
        return head if head is not None and head < position else None


class Bench:
    """The service's application, and its consumers fed from its store as Kafka would."""

    def __init__(self, pool: Any, store: PostgresStore, dsn: str) -> None:
        self.dsn = dsn
        self.pool, self.store = pool, store
        self.log = Log(store, "identity", sealer=Persons(pool))
        parts = Parts(
            service="identity",
            settings=Settings(),
            metrics=Metrics("test"),
            verifier=TokenVerifier(_jwks, OwnEndings(pool)),
            new_id=new_id,
            now=utc_now,
        )
        parts.opened_log, parts.opened_db = self.log, pool
        parts.topic_heads = self.topics = Heads()
        self.notices = parts.notices
        self.app = app = make_app(parts, SERVICE.commands, SERVICE.queries, api=True)
        app.state.keys = keys.Keys([KEY])
        app.state.everywhere = AtOnce({})
        parts.address_book = IdentityAddressBook("http://identity", httpx.ASGITransport(app))
        parts.name_book = IdentityNameBook("http://identity", httpx.ASGITransport(app))
        app.state.oidc = oidc.Issuers([oidc.Issuer("https://issuer.example", "us", issuer_keys)])
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")
        self.clocks = Clocks(utc_now)
        self.consumers = [
            Consumer("identity", what, pool, self.log, self.clocks, moved=parts.notices.moved)
            for what in (*SERVICE.consumers, CLOCKS, TIMERS.projection)
        ]
        self.timers = TimerService("identity", TIMERS, pool, self.log, self.clocks)
        self.inbound: list[Raw] = []

    async def restored(self) -> Sequence[str]:
        """Put right what a restore puts right in the private tables, as the operator does."""
        operator = await asyncpg.connect(as_operator(self.dsn))
        try:
            return await private(operator)
        finally:
            await operator.close()

    @sends
    async def when(self, who: str, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """`who` is a token, or "" for nobody."""
        if who:
            headers["Authorization"] = f"Bearer {who}"
        return await self.http.request(method, path, json=body, headers=headers)

    async def join(self, name: str, **where: Any) -> tuple[str, str]:
        """The account's id and a token."""
        answer = await self.when("", "POST", "/accounts", sign_up(name, **where))
        assert answer.status_code == 200, answer.text
        session = answer.json()["session"]
        return session["account_id"], session["access_token"]

    async def again(self, name: str) -> str:
        """A token of somebody whose session has ended."""
        token: str = (await self.sign_in(f"{name}@x.example")).json()["access_token"]
        return token

    @sends
    async def sign_in(self, email: str, password: str = PASSWORD) -> httpx.Response:
        return await self.when("", "POST", "/sessions", {"email": email, "password": password})

    async def invited(self, inviter: str, name: str) -> tuple[str, str]:
        return await self.join(name, invitation=await self.invite(inviter, name))

    async def invite(self, inviter: str, name: str) -> str:
        """The token of an invitation for `name`, as the inviter's answer has it."""
        answer = await self.when(inviter, "POST", "/invitations", {"email": f"{name}@x.example"})
        assert answer.status_code == 200, answer.text
        invitation: str = answer.json()["invitation"]
        return invitation

    async def purchase(self, purchaser: str, *more: type[Event], starts: date | None = None) -> None:
        """The contract `c` of the purchaser's organisation, and what else becomes of its subscription `s`."""
        found = await self.log.state(ACCOUNT, purchaser)
        assert isinstance(found, account.OpenedAccount)
        same = {"subscription_id": "s", "contract_id": "c", "customer": found.opened.organisation_id}
        kinds: list[type[Event]] = [SubscriptionConfirmed, *more]
        for kind in kinds:
            event = sample(kind)
            agreement = (
                {"plan": event.plan.model_copy(update={"agreement": "desktop"})} if hasattr(event, "plan") else {}
            )
            changed = {**same, **agreement, "purchaser": purchaser, "starts": starts or utc_now().date()}
            named = event.model_copy(update={name: changed[name] for name in changed if hasattr(event, name)})
            self.say("marketplace", "subscription-s", named, tenant=found.opened.organisation_id, at=NOON)
        await self.settle()

    async def hears(self, stream: str, event: Event, tenant: str) -> None:
        """An event of marketplace, and what follows from it."""
        self.say("marketplace", stream, event, tenant=tenant, at=NOON)
        await self.settle()

    def say(
        self, service: str, stream: str, event: Event, *, tenant: str = "", actor: str = "", at: datetime | None = None
    ) -> str:
        """Another service's word, which `settle` lets the consumers hear; the event's id."""
        topic, data = topic_of(service), event.data()
        said = [raw for raw in self.inbound if raw.topic == topic]
        before = [from_headers(raw.headers, None) for raw in said if raw.key == stream.encode()]
        envelope = Envelope(
            new_id(),
            source_of(service),
            event.type(),
            stream,
            at or utc_now(),
            1,
            len(before) + 1,
            len(said) + 1,
            actor=actor,
            tenant=tenant,
            prevhash=before[-1].hash if before else GENESIS,
        )
        envelope = envelope._replace(hash=chained(envelope, data))
        self.inbound.append(Raw(topic, 0, len(said), stream.encode(), StoredEvent(envelope, data).headers(), data))
        return envelope.id

    async def settle(self, only: Sequence[Consumer] = ()) -> None:
        """Feeds the consumers until nothing follows any more."""
        seen = -1
        while seen != (seen := await self.store.position()):
            mine = [
                Raw(IDENTITY, 0, (e.envelope.position or 0) - 1, e.envelope.stream.encode(), e.headers(), e.data)
                for e in await self.store.read(0, 10_000)
            ]
            for consumer in only or self.consumers:
                raws = [raw for raw in (*mine, *self.inbound) if raw.topic in consumer.definition.topics]
                await consumer.assigned(sorted({(raw.topic, raw.partition) for raw in raws}))
                await consumer.consume([receive(raw, consumer.definition.types) for raw in raws])
        assert not await self.pool.fetch("select * from engine.parked")

    async def contract(self) -> contract_state.OpenedContract:
        state = await self.log.state(CONTRACT, "c")
        assert isinstance(state, contract_state.OpenedContract)
        return state

    async def manager(self) -> RoleAssigned:
        """The contract's one Contract Manager."""
        found = (await self.contract()).manager
        assert found is not None
        return found


@asynccontextmanager
async def opened(databases: Callable[[str], str]) -> AsyncIterator[Bench]:
    dsn = databases("identity")
    store = await PostgresStore(dsn, "identity").open()
    pool = await asyncpg.create_pool(dsn, min_size=1, max_size=4)
    made = Bench(pool, store, dsn)
    yield made
    await made.http.aclose()
    await store.close()
    await pool.close()
