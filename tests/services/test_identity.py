"""identity whole, over a real database and without Kafka: people come, hold roles, leave, and are forgotten."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from services.identity import keys, oidc, persons
from services.identity.__main__ import SERVICE
from services.identity.domain import account, contract
from services.identity.domain.account import ACCOUNT, CloseAccount
from services.identity.domain.contract import CONTRACT, HandOverContract, NameCoordinator
from services.identity.persons import Persons
from services.identity.projections import DIRECTORY, involve
from services.identity.reactions import REACTIONS
from shared.eventlog.clocks import Clocks
from shared.eventlog.consumer import Consumer
from shared.eventlog.log import Log, Meta, utc_now
from shared.eventlog.migrate import migrate
from shared.eventlog.plan import Raw, receive
from shared.eventlog.postgres import PostgresStore
from shared.events import AccountOpened, SubscriptionConfirmed, SubscriptionEnded, SubscriptionRenewed
from shared.events.base import Event
from shared.events.envelope import Envelope, StoredEvent, chained, source_of
from shared.events.registry import IDENTITY, MARKETPLACE
from shared.runtime.auth import Actor, TokenSigner, TokenVerifier, public_keys
from shared.runtime.http import Parts, make_app
from shared.runtime.metrics import Metrics
from shared.runtime.settings import Settings
from tests.contracts.golden import sample
from tests.engine.examples import NOON, new_id
from tests.system.parts import Postgres

pytestmark = pytest.mark.system

KEY = ECKey.generate_key("P-256", {"kid": "key"})
ISSUER = RSAKey.generate_key(2048, {"kid": "theirs"})
PASSWORD = "correct horse battery"


async def _jwks() -> Any:
    return public_keys([KEY])


async def _their_keys() -> Any:
    return {"keys": [ISSUER.as_dict(private=False)]}


class Bench:
    """The service's application, and its consumers fed from its store as Kafka would."""

    def __init__(self, pool: Any, store: PostgresStore) -> None:
        self.pool, self.store = pool, store
        self.log = Log(store, "identity", sealer=Persons(pool))
        parts = Parts("identity", Settings(), Metrics(), TokenVerifier(_jwks), new_id, utc_now)
        parts.opened_log, parts.opened_db = self.log, pool
        app = make_app(parts, SERVICE.doors, SERVICE.queries, api=True)
        app.state.keys = keys.Keys([KEY])
        app.state.oidc = oidc.Issuer("https://issuer.example", "us", _their_keys)
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")
        self.consumers = [
            Consumer("identity", what, pool, self.log, Clocks(utc_now)) for what in (DIRECTORY, REACTIONS)
        ]
        self.inbound: list[Raw] = []

    async def ask(self, who: str, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """`who` is a token, or "" for nobody."""
        if who:
            headers["Authorization"] = f"Bearer {who}"
        return await self.http.request(method, path, json=body, headers=headers)

    async def join(self, name: str, **where: Any) -> tuple[str, str]:
        """The account's id and a token."""
        where = where or {"organisation": {"name": "Northhaus", "kind": "customer"}}
        form = {"email": f"{name}@x.example", "password": PASSWORD, "name": f"{name} Okafor", "country": "DE", **where}
        opened = await self.ask("", "POST", "/accounts", form)
        assert opened.status_code == 200, opened.text
        session = (await self.sign_in(f"{name}@x.example")).json()
        return session["account_id"], session["access_token"]

    async def sign_in(self, email: str) -> httpx.Response:
        return await self.ask("", "POST", "/sessions", {"email": email, "password": PASSWORD})

    async def invited(self, inviter: str, name: str) -> tuple[str, str]:
        invitation = (await self.ask(inviter, "POST", "/invitations")).json()["invitation"]
        return await self.join(name, invitation=invitation)

    async def purchase(self, purchaser: str, *more: type[Event]) -> None:
        """The contract `c` of the purchaser's organisation, and what else becomes of its subscription `s`."""
        found = await self.log.state(ACCOUNT, purchaser)
        assert isinstance(found, account.Open)
        same = {"subscription_id": "s", "contract_id": "c", "customer": found.opened.organisation_id}
        kinds: list[type[Event]] = [SubscriptionConfirmed, *more]
        for kind in kinds:
            event = sample(kind)
            agreement = (
                {"plan": event.plan.model_copy(update={"agreement": "desktop"})} if hasattr(event, "plan") else {}
            )
            data = event.model_copy(update={**same, **agreement, "purchaser": purchaser}).data()
            number = len(self.inbound)
            of = Envelope(
                new_id(), source_of("marketplace"), kind.type(), "subscription-s", NOON, 1, number + 1, number
            )
            of = of._replace(hash=chained(of, data))
            self.inbound.append(Raw(MARKETPLACE, 0, number, b"subscription-s", StoredEvent(of, data).headers(), data))
        await self.settle()

    async def settle(self, only: Sequence[Consumer] = ()) -> None:
        """Feeds the consumers until nothing follows any more."""
        seen = -1
        while seen != (seen := await self.store.position()):
            mine = [Raw(IDENTITY, 0, (e.of.position or 0) - 1, e.of.stream.encode(), e.headers(), e.data)
                    for e in await self.store.read(0, 10_000)]  # fmt: skip
            for consumer in only or self.consumers:
                raws = [raw for raw in (*mine, *self.inbound) if raw.topic in consumer.what.topics]
                await consumer.assigned(sorted({(raw.topic, raw.partition) for raw in raws}))
                await consumer.consume([receive(raw, consumer.what.types) for raw in raws])
        assert not await self.pool.fetch("select * from log.parked")

    async def contract(self) -> contract.Open:
        state = await self.log.state(CONTRACT, "c")
        assert isinstance(state, contract.Open)
        return state


@pytest.fixture
async def bench(postgres: Postgres) -> AsyncIterator[Bench]:
    dsn = f"{postgres.url}/test_identity_{new_id()[-12:]}"
    await migrate(dsn, "identity")
    store = await PostgresStore(dsn, "identity").open()
    pool = await asyncpg.create_pool(dsn, min_size=1, max_size=4)
    made = Bench(pool, store)
    yield made
    await made.http.aclose()
    await store.close()
    await pool.close()


async def whole(pool: Any) -> str:
    """Everything that the database holds, as text, binary columns and what is inside them included."""
    tables = await pool.fetch(
        "select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname in ('public', 'log')"
    )
    rows = [
        str(row["t"]) for table in tables for row in await pool.fetch(f"select t::text as t from {table['name']} t")
    ]
    return "\n".join(rows)


async def test_a_closed_account_is_forgotten_and_the_log_unchanged(bench: Bench) -> None:
    oskar, manager = await bench.join("oskar")
    mina, token = await bench.invited(manager, "mina")
    await bench.purchase(oskar)
    assert (await bench.ask(token, "PUT", "/me/profile", {"name": "Mina Adaeze"})).status_code == 200
    asked = await bench.ask(token, "POST", "/contracts/c/role-requests", {"message": "Mina here, mina@x.example"})
    assert asked.json()["events"][0]["data"]["message"] == "Mina here, mina@x.example"
    key = {"Idempotency-Key": "again"}
    changed = await bench.ask(token, "PUT", "/me/profile", {"email": "m.o@x.example"}, **key)
    assert changed.json()["events"][0]["data"]["email"] == "m.o@x.example", "the answer is in the clear"
    taken = {"email": "m.o@x.example", "password": PASSWORD, "name": "Mina", "country": "DE"}
    taken_too = await bench.ask("", "POST", "/accounts", {**taken, "organisation": {"name": "N", "kind": "customer"}})
    assert taken_too.json()["rule"] == "email-taken"
    view = (await bench.ask(manager, "GET", "/contracts/c")).json()
    assert view["requests"][0]["message"] == "Mina here, mina@x.example"
    assert (await bench.ask(manager, "GET", f"/accounts/{mina}")).json()["name"] == "Mina Adaeze"
    before = await bench.store.read(0, 1000)
    assert {e.of.type for e in before if b'"enc:1:' in e.data} == {"AccountOpened", "ProfileUpdated", "RoleRequested"}

    closed = await bench.ask(token, "DELETE", "/me", **{"Idempotency-Key": "bye"})
    assert [event["type"] for event in closed.json()["events"]] == ["AccountClosed"]
    assert (await bench.ask(manager, "GET", f"/accounts/{mina}")).status_code == 404, "at once"
    assert (await bench.sign_in("m.o@x.example")).status_code == 401
    await bench.settle()

    after = await bench.store.read(0, 1000)
    assert after[: len(before)] == before, "not a byte of what was stored has changed"
    assert all(stored.of.hash == chained(stored.of, stored.data) for stored in after)
    kept = await whole(bench.pool)
    assert oskar in kept and not re.search(r"mina@|m\.o@|Mina|Adaeze", kept)
    assert await bench.store.holder("email:m.o@x.example") is None
    assert not await bench.pool.fetch("select * from credentials where account_id = $1", mina)
    elsewhere = Log(bench.store, "identity", sealer=Persons(bench.pool))
    state = await elsewhere.state(ACCOUNT, mina)
    assert isinstance(state, account.Closed)
    again = await bench.ask(token, "PUT", "/me/profile", {"email": "m.o@x.example"}, **key)
    assert again.json()["rule"] == "idempotency-key-reused", "nor can what was asked be guessed"
    assert (await bench.ask(token, "DELETE", "/me", **{"Idempotency-Key": "bye"})).json()["repeated"] is True
    prints = await bench.pool.fetch("select id from log.commands where fingerprint <> '' and starts_with(id, $1)", mina)
    assert [row["id"] for row in prints] == [f"{mina}:bye"]
    assert (await bench.ask(token, "GET", "/me")).status_code == 404
    assert (await bench.contract()).requests == {}
    assert (await bench.ask(token, "DELETE", "/me")).json()["events"] == [], "closing again changes nothing"
    assert (await bench.ask("", "POST", "/accounts", {**taken, "organisation": {"name": "N", "kind": "customer"}})
            ).status_code == 200, "the address is free"  # fmt: skip


async def test_every_copy_of_the_log_is_unreadable_without_the_key(bench: Bench) -> None:
    mina, _ = await bench.join("mina")
    (opened, *_) = await bench.store.read(0, 10)
    copy = AccountOpened.model_validate_json(opened.data)
    (readable,) = await Persons(bench.pool).open([copy])
    assert isinstance(readable, AccountOpened) and readable.email == "mina@x.example"
    moved = copy.model_copy(update={"account_id": "another"})
    key = await bench.pool.fetchval("select key from person_keys where account_id = $1", mina)
    await bench.pool.execute("insert into person_keys values ('another', $1)", key)
    assert [e.name for e in await Persons(bench.pool).open([moved])] == [""], "a value is its person's"  # type: ignore[attr-defined]
    await persons.erase(bench.pool, mina)
    await persons.erase(bench.pool, mina)
    (forgotten,) = await Persons(bench.pool).open([copy])
    assert isinstance(forgotten, AccountOpened) and (forgotten.email, forgotten.name) == ("", "")
    (late,) = await Persons(bench.pool).seal([readable])
    assert isinstance(late, AccountOpened) and late.email == "", "no new key for somebody who is forgotten"


async def test_equal_values_are_not_stored_equal(bench: Bench) -> None:
    event = sample(AccountOpened)
    one, two = await Persons(bench.pool).seal([event]), await Persons(bench.pool).seal([event])
    assert one[0].data() != two[0].data() and sample(AccountOpened).email not in str(one)
    assert await Persons(bench.pool).open(one) == await Persons(bench.pool).open(two) == [event]


async def test_two_who_seal_at_once_share_the_persons_key(bench: Bench) -> None:
    event = sample(AccountOpened)
    sealed = await asyncio.gather(*(Persons(bench.pool).seal([event]) for _ in range(8)))
    opened = [await Persons(bench.pool).open(each) for each in sealed]
    assert opened == [[event]] * 8


async def test_a_contract_manager_hands_over_before_closing(bench: Bench) -> None:
    oskar, manager = await bench.join("oskar")
    mina, token = await bench.invited(manager, "mina")
    await bench.purchase(oskar)
    refused = (await bench.ask(manager, "DELETE", "/me")).json()
    assert (refused["rule"], "c" in refused["detail"]) == ("still-contract-manager", True)
    assert refused["because"] == [(await bench.contract()).manager.ref]  # type: ignore[union-attr]
    assert (await bench.ask(manager, "POST", "/contracts/c/handover", {"to": mina})).status_code == 200
    kept = (await bench.ask(token, "DELETE", "/me")).json()
    assert kept["rule"] == "still-contract-manager", "the heir, at once, before any table is folded"
    assert (await bench.ask(manager, "DELETE", "/me")).status_code == 200
    await bench.settle()
    assert (await bench.contract()).manager.account_id == mina  # type: ignore[union-attr]
    heirless = (await bench.ask(token, "POST", "/contracts/c/handover", {"to": oskar})).json()
    assert heirless["rule"] == "not-of-customer", "nobody hands over to an account that is closed"


async def test_a_coordinator_who_leaves_loses_the_role_everywhere(bench: Bench) -> None:
    oskar, manager = await bench.join("oskar")
    mina, token = await bench.invited(manager, "mina")
    await bench.purchase(oskar)
    path = f"/contracts/c/coordinators/{mina}"
    for right in (False, True, False):
        named = await bench.ask(manager, "PUT", path, {"may_assign_seats": right})
        assert named.json()["events"][0]["data"]["may_assign_seats"] is right
    assert (await bench.ask(manager, "GET", "/contracts/c")).json()["coordinating"] == [mina]
    assert (await bench.ask(token, "GET", "/contracts/c/access")).json()["open"] is True
    assert (await bench.ask(token, "DELETE", "/me")).status_code == 200
    await bench.settle()
    assert (await bench.contract()).coordinators == {}
    assert (await bench.ask(manager, "GET", "/contracts/c")).json()["coordinating"] == [oskar]
    refused = (await bench.ask(manager, "PUT", path, {"may_assign_seats": True})).json()
    assert refused["rule"] == "not-of-customer"


async def test_a_handover_and_a_closing_in_the_same_instant_leave_one_manager_who_is_there(bench: Bench) -> None:
    """The doors have asked before either is committed; the reactions come in either order."""
    for first in ("closing", "handover"):
        oskar, _ = await bench.join(f"oskar.{first}")
        state = await bench.log.state(ACCOUNT, oskar)
        assert isinstance(state, account.Open)
        mina, _ = await bench.join(f"mina.{first}")
        org = state.opened.organisation_id
        key = f"c-{first}"
        record = contract.RecordSubscription(key, org, "autodesk", "p", "s", oskar, "desktop", "autocad")
        await involve(bench.pool, mina, key)
        await bench.log.execute(CONTRACT, key, record, Meta(new_id(), oskar, NOON))
        steps: list[Any] = [
            (ACCOUNT, mina, CloseAccount(mina, ())), (CONTRACT, key, HandOverContract(mina, oskar, org)),
            (CONTRACT, key, NameCoordinator(mina, org, mina)),
        ]  # fmt: skip
        for stream, of, command in steps if first == "closing" else [steps[1], steps[2], steps[0]]:
            await bench.log.execute(stream, of, command, Meta(new_id(), oskar, NOON))
            if stream is ACCOUNT:
                await bench.settle([bench.consumers[1]])
        await bench.settle()
        found = await bench.log.state(CONTRACT, key)
        assert isinstance(found, contract.Open) and found.manager is not None
        assert found.manager.account_id == oskar and found.coordinators == {}, first


async def test_where_nobody_is_left_the_operator_hands_the_contract_over(bench: Bench) -> None:
    oskar, manager = await bench.join("oskar")
    ana, _ = await bench.invited(manager, "ana")
    operator = TokenSigner(KEY).sign(Actor("operator", "tenure", "operator"), "token")
    await bench.purchase(oskar)
    await bench.log.execute(ACCOUNT, oskar, CloseAccount("operator", ()), Meta(new_id(), "operator", NOON))
    await bench.settle()
    assert (await bench.contract()).manager.account_id == oskar, "never none"  # type: ignore[union-attr]
    assert (await bench.ask(operator, "POST", "/contracts/c/handover", {"to": ana})).status_code == 200
    assert (await bench.contract()).manager.account_id == ana  # type: ignore[union-attr]


async def test_only_the_operator_closes_somebody_elses_account(bench: Bench) -> None:
    _, manager = await bench.join("oskar")
    mina, token = await bench.invited(manager, "mina")
    refused = await bench.ask(manager, "DELETE", f"/accounts/{mina}")
    assert (refused.status_code, refused.json()["rule"]) == (403, "operator-only")
    operator = TokenSigner(KEY).sign(Actor("operator", "tenure", "operator"), "token")
    assert (await bench.ask(operator, "DELETE", f"/accounts/{mina}?dry_run=true")).status_code == 200
    assert (await bench.ask(token, "GET", "/me")).status_code == 200
    done = await bench.ask(operator, "DELETE", f"/accounts/{mina}")
    assert done.json()["events"][0]["data"]["closed_by"] == "operator"
    assert (await bench.ask(token, "GET", "/me")).status_code == 404


async def test_an_erasing_that_crashed_is_done_by_the_next_try(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    oskar, manager = await bench.join("oskar")
    await bench.purchase(oskar)
    mina, token = await bench.invited(manager, "mina")
    await bench.ask(manager, "PUT", f"/contracts/c/coordinators/{mina}")
    await bench.settle()
    await bench.ask(token, "DELETE", "/me")

    async def crash(*_: Any) -> Any:
        raise ConnectionResetError("killed")

    with monkeypatch.context() as patched:
        patched.setattr("services.identity.reactions.contracts_of", crash)
        with pytest.raises(Exception, match="killed"):
            await bench.settle()
    assert mina in (await bench.contract()).coordinators
    await bench.settle()
    assert mina not in (await bench.contract()).coordinators
    assert await bench.pool.fetchval("select erased_at is not null from person_keys where account_id = $1", mina)


async def test_the_agreement_ends_with_the_subscription_and_not_with_a_renewal(bench: Bench) -> None:
    oskar, token = await bench.join("oskar")
    await bench.purchase(oskar, SubscriptionRenewed)
    assert (await bench.ask(token, "GET", "/contracts/c/access")).json()["open"] is True
    bench.inbound.clear()
    await bench.pool.execute("delete from log.checkpoints where topic = $1", MARKETPLACE)
    await bench.pool.execute("delete from log.seen where stream = 'subscription-s'")
    await bench.purchase(oskar, SubscriptionEnded)
    shut = (await bench.ask(token, "GET", "/contracts/c/access")).json()
    assert (shut["open"], shut["missing"]) == (False, "agreement-missing")
    assert len(shut["because"]) == 2, "the role that is held, and the agreement's end"
    _, stranger = await bench.invited(token, "mina")
    assert (await bench.ask(stranger, "GET", "/contracts/c/access")).json()["missing"] == "role-missing"


async def test_a_sandboxs_clock_moves_for_all_who_joined_it(bench: Bench) -> None:
    sandbox = {"organisation": {"name": "Trial", "kind": "customer", "sandbox": True}}
    _, first = await bench.join("oskar", **sandbox)
    _, second = await bench.invited(first, "mina")
    moved = await bench.ask(second, "POST", "/clock", {"to": "2030-01-01T00:00:00Z"})
    assert [event["type"] for event in moved.json()["events"]] == ["ClockMoved"]
    shown = (await bench.ask(first, "GET", "/me/clock")).json()
    assert shown["sandbox"] is True and shown["now"].startswith("2030-01-01T00:0")
    assert (await bench.ask(first, "POST", "/clock", {"to": "2029-12-31T00:00:00Z"})).json()[
        "rule"
    ] == "clock-backwards"
    assert (await bench.ask(first, "POST", "/clock", {"to": "2099-01-01T00:00:00Z"})).json()["rule"] == "clock-too-far"
    for no_instant in ("soon", "2030-01-01T00:00:00", "2030-01-01", "9999-12-31T23:59:59-14:00"):
        malformed = await bench.ask(first, "POST", "/clock", {"to": no_instant})
        assert (malformed.status_code, malformed.json()["rule"]) == (422, "malformed")
        assert [field["field"] for field in malformed.json()["fields"]] == ["to"]
    _, real = await bench.join("ana")
    assert (await bench.ask(real, "POST", "/clock", {"to": "2030-01-01T00:00:00Z"})).json()["rule"] == "not-a-sandbox"
    still = (await bench.ask(real, "GET", "/me/clock")).json()
    assert (still["sandbox"], still["ahead_s"]) == (False, 0)


async def test_another_issuer_signs_in_whoever_has_the_address_here(bench: Bench) -> None:
    mina, own = await bench.join("mina")

    async def elsewhere(email: str, **more: Any) -> httpx.Response:
        now = int(utc_now().timestamp())
        claims = {"iss": "https://issuer.example", "aud": "us", "sub": "1", "iat": now, "exp": now + 60, "email": email,
                  "email_verified": True} | more  # fmt: skip
        token = jwt.encode({"alg": "RS256", "kid": "theirs"}, claims, ISSUER, ["RS256"])
        return await bench.ask("", "POST", "/sessions/oidc", {"id_token": token})

    session = (await elsewhere("Mina@X.example")).json()
    assert session["account_id"] == mina
    assert (await bench.ask(session["access_token"], "GET", "/me")).json()["name"] == "mina Okafor"
    for answer, status, rule in (
        (await elsewhere("nobody@x.example"), 403, "no-account-for-address"),
        (await elsewhere("mina@x.example", email_verified=False), 401, "id-token-not-valid"),
        (await bench.ask("", "POST", "/sessions/oidc", {"id_token": own}), 401, "id-token-not-valid"),
    ):
        assert (answer.status_code, answer.json()["rule"]) == (status, rule)
    await bench.ask(own, "DELETE", "/me")
    assert (await elsewhere("mina@x.example")).status_code == 403


async def test_without_another_issuer_there_is_no_such_sign_in(bench: Bench) -> None:
    bench.http._transport.app.state.oidc = None  # type: ignore[attr-defined]
    answer = await bench.ask("", "POST", "/sessions/oidc", {"id_token": "x"})
    assert (answer.status_code, answer.json()["rule"]) == (404, "issuer-not-configured")
