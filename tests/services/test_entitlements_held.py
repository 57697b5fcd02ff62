"""Reactions of entitlements while a projection has parked what they look for."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from services.entitlements import reactions
from services.entitlements.domain.credits import CREDITS
from services.entitlements.domain.seat_pool import SEAT_POOL, OpenedSeatPool
from services.entitlements.lookups import PostgresLookups
from services.entitlements.projections import PEOPLE, POOLS
from shared.eventlog.deliver.projection import Projection, ReactionContext
from shared.eventlog.repair import parked
from shared.events import (
    AccountClosed,
    ContractOpened,
    CreditsPurchased,
    CsnIssued,
    Event,
    SeatAssigned,
    SeatPoolOpened,
    SeatPoolSuspended,
    SubscriptionEnded,
)
from shared.events.envelope import Envelope
from tests.services.entitled import NOON, Doors, confirmed, later
from tests.services.world import World

pytestmark = pytest.mark.system


@pytest.fixture
def ill(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[[Projection, type[Event], str], None]:
    """Folds of this type fail where the event names this."""

    def make(projection: Projection, event: type[Event], name: str) -> None:
        world.parks, fold = True, projection._folds[event.type()]

        async def broken(tx: Any, said: Any, envelope: Any) -> None:
            if name in said.model_dump().values():
                raise ZeroDivisionError("a bug")
            await fold(tx, said, envelope)

        monkeypatch.setitem(projection._folds, event.type(), broken)

    return make


async def resume(world: World, name: str) -> list[parked.Retried]:
    (consumer,) = (c for c in world.consumers if c.name == f"entitlements.{name}")
    lines = parked.lines(await parked.list_parked(world.pool, consumer.name))
    return [await parked.retry(world.pool, consumer, line, "operation-1") for line in lines]


async def test_a_closed_accounts_seat_is_found_though_it_was_parked(
    world: World, doors: Doors, ill: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ill(POOLS, SeatAssigned, "ana")
    await doors.when("mina", "POST", "/pools/s/seats", {"account_id": "ana"}).then_ok()
    await world.settle(random.Random(5))
    world.say("identity", "account-ana", AccountClosed(account_id="ana", organisation_id="org", closed_by="ana"))
    await world.settle(random.Random(5))
    monkeypatch.undo()
    (early,) = await resume(world, "meetings")
    assert "pool-s is parked in entitlements.pools: resume it there first" in (early.stopped or "")
    assert [done.waiting for name in ("pools", "meetings") for done in await resume(world, name)] == [0, 0]
    pool = await world.log.state(SEAT_POOL, "s")
    assert isinstance(pool, OpenedSeatPool) and not pool.held


async def test_a_pool_that_was_parked_meets_its_number(
    world: World, doors: Doors, ill: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ill(POOLS, SeatPoolOpened, "s9")
    world.say("marketplace", "subscription-s9", confirmed("s9", "late", "reseller"))
    await world.settle(random.Random(6))
    number = CsnIssued(csn="L1", organisation_id="late", publisher="autodesk")
    world.say("marketplace", "partner-late", number)
    await world.settle(random.Random(6))
    monkeypatch.undo()
    assert [done.waiting for name in ("pools", "meetings") for done in await resume(world, name)] == [0, 0]
    pool = await world.log.state(SEAT_POOL, "s9")
    assert isinstance(pool, OpenedSeatPool) and pool.right is not None and pool.right.csn == "L1"


@pytest.mark.parametrize("hidden", [SeatPoolSuspended, SeatPoolOpened])
async def test_credits_end_with_the_last_pool_even_if_one_was_parked(
    world: World, doors: Doors, ill: Any, hidden: type[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table shows a pool that is not usable any more, or doesn't show one that is."""
    await doors.when("seller", "POST", "/contracts/c/credits/grants", {"grant_id": "g1", "amount": 10}).then_ok()
    ill(POOLS, hidden, "s" if hidden is SeatPoolSuspended else "s2")
    world.say("marketplace", "subscription-s2", confirmed("s2", "org", "reseller"))
    await world.settle(random.Random(7))
    for s in ("s", "s2") if hidden is SeatPoolSuspended else ("s",):
        last = SubscriptionEnded(subscription_id=s, contract_id="c", customer="org", ended=NOON.date())
        world.say("marketplace", f"subscription-{s}", last)
    later(world, 20)
    await world.settle(random.Random(7))
    monkeypatch.undo()
    before = await world.log.state(CREDITS, "c")
    assert before.lots["g1"].remaining == 10
    for name in ("pools", "meetings"):
        assert {done.waiting for done in await resume(world, name)} == {0}
    after = await world.log.state(CREDITS, "c")
    assert after.lots["g1"].remaining == (0 if hidden is SeatPoolSuspended else 10)


async def test_a_grant_waits_for_a_contract_that_was_parked(
    world: World, doors: Doors, ill: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ill(PEOPLE, ContractOpened, "c9")
    envelope = {"contract_id": "c9", "customer": "org", "publisher": "autodesk", "programme": "p"}
    world.say("identity", "contract-c9", ContractOpened(**envelope, opened_by_subscription="s"))
    await world.settle(random.Random(8))
    monkeypatch.setattr(reactions, "LOOKS", 1)
    reach = ReactionContext(lookups=PostgresLookups(world.pool), log=world.log, now=NOON, clocks=world.clocks)
    sold = CreditsPurchased(contract_id="c9", grant_id="g", amount=5)
    with pytest.raises(reactions.ProjectionBlocked, match=r"contract-c9 is parked in entitlements\.people"):
        await reactions.REACTIONS.react(sold, Envelope("e", "urn:publisher:autodesk", sold.type(), "", NOON), reach)
