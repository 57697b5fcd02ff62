"""identity whole: people come, prove who they are, and are forgotten."""

import asyncio
import re
from typing import Any

import pytest
from joserfc.jwk import ECKey

from services.identity import persons
from services.identity.domain import account
from services.identity.domain.account import ACCOUNT
from services.identity.lookups import PostgresLookups
from services.identity.persons import Persons
from services.identity.signin import keys
from shared.eventlog.write.log import Log
from shared.events import AccountOpened
from shared.events.envelope import chained
from shared.runtime.auth import Actor, TokenSigner
from tests.contracts.golden import sample
from tests.services.identity_bench import KEY, PASSWORD, Bench, sign_up

pytestmark = pytest.mark.system


async def whole(pool: Any) -> str:
    """Everything that the database holds, as text, binary columns and what is inside them included."""
    tables = await pool.fetch(
        "select format('%I.%I', schemaname, tablename) as name from pg_tables "
        "where schemaname in ('public', 'log', 'engine')"
    )
    rows = [
        str(row["t"]) for table in tables for row in await pool.fetch(f"select t::text as t from {table['name']} t")
    ]
    return "\n".join(rows)


async def test_a_closed_account_is_forgotten_and_the_log_unchanged(bench: Bench) -> None:
    oskar, manager = await bench.join("oskar")
    mina, token = await bench.invited(manager, "mina")
    await bench.purchase(oskar)
    assert (await bench.when(token, "PUT", "/me/profile", {"name": "Mina Adaeze"})).status_code == 200
    asked = await bench.when(token, "POST", "/contracts/c/role-requests", {"message": "Mina here, mina@x.example"})
    assert asked.json()["events"][0]["data"]["message"] == "Mina here, mina@x.example"
    key = {"Idempotency-Key": "again"}
    changed = await bench.when(token, "PUT", "/me/profile", {"email": "m.o@x.example"}, **key)
    assert changed.json()["events"][0]["data"]["email"] == "m.o@x.example", "the answer is in the clear"
    taken = sign_up("m.o")
    taken_too = await bench.when("", "POST", "/accounts", taken)
    assert taken_too.json()["rule"] == "email-taken"
    view = (await bench.when(manager, "GET", "/contracts/c")).json()
    assert view["requests"][0]["message"] == "Mina here, mina@x.example"
    assert (await bench.when(manager, "GET", f"/accounts/{mina}")).json()["name"] == "Mina Adaeze"
    before = await bench.store.read(0, 1000)
    sealed = {"AccountOpened", "ProfileUpdated", "RoleRequested", "InvitationIssued"}
    assert {e.envelope.type for e in before if b'"enc:1:' in e.data} == sealed

    closed = await bench.when(token, "DELETE", "/me", **{"Idempotency-Key": "bye"})
    assert [event["type"] for event in closed.json()["events"]] == ["AccountClosed"]
    assert (await bench.when(manager, "GET", f"/accounts/{mina}")).status_code == 404, "at once"
    assert (await bench.sign_in("m.o@x.example")).status_code == 401
    await bench.settle()

    after = await bench.store.read(0, 1000)
    assert after[: len(before)] == before, "not a byte of what was stored has changed"
    assert all(stored.envelope.hash == chained(stored.envelope, stored.data) for stored in after)
    kept = await whole(bench.pool)
    assert oskar in kept and not re.search(r"mina@|m\.o@|Mina|Adaeze", kept)
    assert await bench.store.holder("email:m.o@x.example") is None
    assert not await bench.pool.fetch("select * from credentials where account_id = $1", mina)
    elsewhere = Log(bench.store, "identity", sealer=Persons(bench.pool))
    state = await elsewhere.state(ACCOUNT, mina)
    assert isinstance(state, account.Closed)
    for method, path, body in (("PUT", "/me/profile", {"email": "m.o@x.example"}), ("DELETE", "/me", None)):
        again = await bench.when(token, method, path, body, **key)
        assert (again.status_code, again.json()["rule"]) == (401, "not-signed-in")
    assert not await bench.pool.fetch("select * from sessions where account_id = $1", mina)
    prints = await bench.pool.fetch("select id from log.commands where fingerprint <> '' and starts_with(id, $1)", mina)
    assert [row["id"] for row in prints] == [f"{mina}:bye"]
    assert (await bench.contract()).requests == {}
    assert (await bench.when("", "POST", "/accounts", taken)).status_code == 200, "the address is free"


async def test_every_copy_of_the_log_is_unreadable_without_the_key(bench: Bench) -> None:
    mina, _ = await bench.join("mina")
    (opened, *_) = await bench.store.read(0, 10)
    copy = AccountOpened.model_validate_json(opened.data)
    (readable,) = await Persons(bench.pool).open([copy])
    assert isinstance(readable, AccountOpened) and readable.email == "mina@x.example"
    moved = copy.model_copy(update={"account_id": "another"})
    key = await bench.pool.fetchval("select key from person_keys where account_id = $1", mina)
    await bench.pool.execute("insert into person_keys values ('another', $1)", key)
    (unreadable,) = await Persons(bench.pool).open([moved])
    assert isinstance(unreadable, AccountOpened) and unreadable.name == "", "a value is its person's"
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


async def test_only_the_operator_closes_somebody_elses_account(bench: Bench) -> None:
    _, manager = await bench.join("oskar")
    mina, token = await bench.invited(manager, "mina")
    refused = await bench.when(manager, "DELETE", f"/accounts/{mina}")
    assert (refused.status_code, refused.json()["rule"]) == (403, "operator-only")
    operator = TokenSigner(KEY).sign(
        Actor(account_id="operator", organisation_id="tenure", organisation_kind="operator"), "token"
    )
    assert (await bench.when(operator, "DELETE", f"/accounts/{mina}?dry_run=true")).status_code == 200
    assert (await bench.when(token, "GET", "/me")).status_code == 200
    done = await bench.when(operator, "DELETE", f"/accounts/{mina}")
    assert done.json()["events"][0]["data"]["closed_by"] == "operator"
    assert (await bench.when(token, "GET", "/me")).status_code == 401


async def test_an_erasing_that_crashed_is_done_by_the_next_try(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    oskar, manager = await bench.join("oskar")
    await bench.purchase(oskar)
    mina, token = await bench.invited(manager, "mina")
    await bench.when(manager, "PUT", f"/contracts/c/coordinators/{mina}")
    await bench.settle()
    await bench.when(token, "DELETE", "/me")

    async def crash(*_: Any) -> Any:
        raise ConnectionResetError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(PostgresLookups, "contracts_of", crash)
        with pytest.raises(Exception, match="killed"):
            await bench.settle()
    assert mina in (await bench.contract()).coordinators
    await bench.settle()
    assert mina not in (await bench.contract()).coordinators
    assert await bench.pool.fetchval("select erased_at is not null from person_keys where account_id = $1", mina)


async def test_a_sandboxs_clock_moves_for_all_who_joined_it(bench: Bench) -> None:
    sandbox = {"organisation": {"name": "Trial", "kind": "customer", "sandbox": True}}
    _, first = await bench.join("oskar", **sandbox)
    _, second = await bench.invited(first, "mina")
    moved = await bench.when(second, "POST", "/clock", {"to": "2030-01-01T00:00:00Z"})
    assert [event["type"] for event in moved.json()["events"]] == ["ClockMoved"]
    shown = (await bench.when(first, "GET", "/me/clock")).json()
    assert shown["sandbox"] is True and shown["now"].startswith("2030-01-01T00:0")
    assert (await bench.when(first, "POST", "/clock", {"to": "2029-12-31T00:00:00Z"})).json()[
        "rule"
    ] == "clock-backwards"
    assert (await bench.when(first, "POST", "/clock", {"to": "2099-01-01T00:00:00Z"})).json()["rule"] == "clock-too-far"
    for no_instant in ("soon", "2030-01-01T00:00:00", "2030-01-01", "9999-12-31T23:59:59-14:00"):
        malformed = await bench.when(first, "POST", "/clock", {"to": no_instant})
        assert (malformed.status_code, malformed.json()["rule"]) == (422, "malformed")
        assert [field["field"] for field in malformed.json()["fields"]] == ["to"]
    _, real = await bench.join("ana")
    assert (await bench.when(real, "POST", "/clock", {"to": "2030-01-01T00:00:00Z"})).json()["rule"] == "not-a-sandbox"
    still = (await bench.when(real, "GET", "/me/clock")).json()
    assert (still["sandbox"], still["ahead_s"]) == (False, 0)


async def test_a_sign_up_is_answered_with_a_session(bench: Bench) -> None:
    answer = (await bench.when("", "POST", "/accounts", sign_up("mina"), **{"Idempotency-Key": "first"})).json()
    session, signed_in = answer["session"], (await bench.sign_in("mina@x.example")).json()
    assert set(session) == set(signed_in)
    same = ("account_id", "organisation_id", "token_type", "expires_in")
    assert [session[name] for name in same] == [signed_in[name] for name in same]
    assert session["account_id"] == answer["events"][0]["data"]["account_id"]
    assert (await bench.when(session["access_token"], "GET", "/me")).json()["email"] == "mina@x.example"
    assert session["access_token"] not in await whole(bench.pool), "a token is kept nowhere"


async def test_no_sign_up_that_is_repeated_considered_or_refused_has_a_session(bench: Bench) -> None:
    key = {"Idempotency-Key": "first"}
    considered = (await bench.when("", "POST", "/accounts?dry_run=true", sign_up("mina"), **key)).json()
    assert considered["dry_run"] is True and "session" not in considered
    opened = (await bench.when("", "POST", "/accounts", sign_up("mina"), **key)).json()
    assert "session" in opened
    for password in (PASSWORD, "somebody else's guess"):
        again = (await bench.when("", "POST", "/accounts", sign_up("mina") | {"password": password}, **key)).json()
        assert again["repeated"] is True and again["events"] == opened["events"] and "session" not in again
    for wrong, status in ((sign_up("mina"), 409), (sign_up("ana") | {"name": " "}, 422)):
        refused = await bench.when("", "POST", "/accounts", wrong)
        assert refused.status_code == status and "session" not in refused.json()
    assert (
        await bench.when("", "POST", "/sessions", {"email": "mina@x.example", "password": "somebody else's guess"})
    ).status_code == 401


async def test_a_sign_up_that_broke_off_leaves_its_password_and_who_repeats_its_key_gets_no_session(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def crash(*_: Any) -> Any:
        raise ConnectionResetError("killed")

    key = {"Idempotency-Key": "first"}
    with monkeypatch.context() as patched:
        patched.setattr(bench.store, "append", crash)
        assert (await bench.when("", "POST", "/accounts", sign_up("mina"), **key)).status_code == 503
    guess = {"password": "somebody else's guess"}
    opened = (await bench.when("", "POST", "/accounts", sign_up("mina") | guess, **key)).json()
    assert [event["type"] for event in opened["events"]] == ["AccountOpened"] and opened["repeated"] is False
    assert "session" not in opened, "this request's password was neither set nor verified"
    assert (await bench.when("", "POST", "/sessions", {"email": "mina@x.example", **guess})).status_code == 401
    assert (await bench.sign_in("mina@x.example")).status_code == 200


async def test_the_document_says_what_a_sign_up_answers_besides(bench: Bench) -> None:
    document = (await bench.when("", "GET", "/openapi.json")).json()
    answers = document["paths"]["/accounts"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert [each["$ref"].rsplit("/", 1)[1] for each in answers["allOf"]] == ["AccountAnswer", "SignedUp"]
    schemas = document["components"]["schemas"]
    assert "Session" in str(schemas["SignedUp"]["properties"]["session"]) and "access_token" in str(schemas["Session"])
    assert set(schemas["NameCoordinator"]["properties"]) == {"may_assign_seats"}
    assert set(schemas["NameCoordinatorItem"]["properties"]) == {"account_id", "may_assign_seats"}


async def test_nobody_joins_by_an_invitation_that_is_not_valid(bench: Bench) -> None:
    _, manager = await bench.join("oskar")
    good = await bench.invite(manager, "mina")
    another = keys.Keys([ECKey.generate_key("P-256", {"kid": "key"})])
    forged = another.invite("invitation", "token")
    for bad in ("nonsense", manager, forged, good[:-2]):
        refused = await bench.when("", "POST", "/accounts", sign_up("mina", invitation=bad))
        assert (refused.status_code, refused.json()["rule"]) == (409, "invitation-not-valid")
        assert refused.json()["remedy"]
    assert (await bench.when("", "POST", "/accounts", sign_up("mina", invitation=good))).status_code == 200


async def test_a_wrong_password_and_an_unknown_address_are_answered_alike(bench: Bench) -> None:
    await bench.join("mina")
    problems = []
    for email, password in (("mina@x.example", "something else"), ("ana@x.example", PASSWORD)):
        refused = await bench.when("", "POST", "/sessions", {"email": email, "password": password})
        assert (refused.status_code, refused.json()["rule"]) == (401, "sign-in-failed")
        problems.append(refused.json())
    assert problems[0] == problems[1]
    assert (await bench.sign_in(" MINA@x.example ")).status_code == 200
