"""Administrative access as the other services know it, folded from identity's events into a real database."""

from collections.abc import AsyncIterator
from datetime import date

import asyncpg
import pytest

from shared.administrative_access import Granted, Purpose
from shared.events import AgreementEnded, AgreementScheduled, AgreementStarted, RoleAssigned, RoleRevoked
from shared.events.identity import AgreementKind, Role
from shared.runtime.access import access_projection, require_access
from shared.runtime.auth import Actor
from shared.runtime.problems import Problem
from tests.examples.engine import NOON
from tests.spec import given_tables

pytestmark = pytest.mark.system


class World:
    """The events of contract `c`, as the projection hears them."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self.pool, self.tables = pool, given_tables(access_projection(), pool, NOON)

    async def assigned(self, account_id: str, role: Role, *, seats: bool = False) -> str:
        return await self.tables.when(
            RoleAssigned(contract_id="c", account_id=account_id, role=role, may_assign_seats=seats, assigned_by="x")
        )

    async def taken(self, account_id: str, role: Role) -> str:
        return await self.tables.when(RoleRevoked(contract_id="c", account_id=account_id, role=role, revoked_by="x"))

    async def scheduled(self, subscription_id: str, starts: date) -> str:
        return await self.tables.when(
            AgreementScheduled(
                contract_id="c",
                customer="org",
                subscription_id=subscription_id,
                kind="desktop",
                product="p",
                starts=starts,
            )
        )

    async def started(self, subscription_id: str, kind: AgreementKind = "desktop") -> str:
        return await self.tables.when(
            AgreementStarted(contract_id="c", subscription_id=subscription_id, kind=kind, product="p")
        )

    async def ended(self, subscription_id: str) -> str:
        return await self.tables.when(AgreementEnded(contract_id="c", subscription_id=subscription_id))

    async def access(self, account_id: str, purpose: Purpose = "features") -> Granted[str]:
        return await require_access(
            self.pool,
            Actor(account_id=account_id, organisation_id="org", organisation_kind="customer"),
            "c",
            purpose=purpose,
        )

    async def then_refused(self, account_id: str, rule: str, *because: str, purpose: Purpose = "features") -> Problem:
        with pytest.raises(Problem) as found:
            await self.access(account_id, purpose)
        assert (found.value.status, found.value.rule, set(found.value.because)) == (403, rule, set(because))
        assert found.value.reason and found.value.remedy
        return found.value


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    pool = await asyncpg.create_pool(database, min_size=1, max_size=2)
    yield World(pool)
    await pool.close()


async def test_a_missing_role_names_the_events_that_took_it(world: World) -> None:
    await world.started("s")
    await world.then_refused("mina", "role-missing")
    await world.assigned("mina", "software_coordinator")
    gone = await world.taken("mina", "software_coordinator")
    await world.then_refused("mina", "role-missing", gone)
    await world.assigned("mina", "contract_manager", seats=True)
    handed_over = await world.taken("mina", "contract_manager")
    await world.then_refused("mina", "role-missing", gone, handed_over)
    again = await world.assigned("mina", "software_coordinator")
    assert (await world.access("mina")).because[0] == again
    await world.then_refused("mina", "seat-right-missing", again, purpose="seats")


async def test_a_missing_agreement_names_the_role_and_the_ends(world: World) -> None:
    role = await world.assigned("mina", "contract_manager", seats=True)
    await world.started("other", "other")
    await world.then_refused("mina", "agreement-missing", role)
    for subscription in ("s1", "s2"):
        await world.started(subscription)
    await world.ended("other")
    first = await world.ended("s1")
    assert (await world.access("mina")).role == "contract_manager"
    second = await world.ended("s2")
    await world.then_refused("mina", "agreement-missing", role, first, second)
    third = await world.started("s3", "maintenance")
    assert (await world.access("mina")).because == (role, third)


async def test_before_the_first_day_features_are_closed_and_the_refusal_says_until_when(world: World) -> None:
    role = await world.assigned("mina", "contract_manager", seats=True)
    later = await world.scheduled("s2", date(2026, 12, 9))
    first = await world.scheduled("s1", date(2026, 12, 1))
    problem = await world.then_refused("mina", "agreement-missing", role, later, first)
    assert "2026-12-01" in problem.remedy
    started = await world.started("s1")
    assert (await world.access("mina")).because == (role, started)
    ended = [await world.ended("s1"), await world.ended("s2")]
    problem = await world.then_refused("mina", "agreement-missing", role, *ended)
    assert "2026" not in problem.remedy


@pytest.mark.parametrize("purpose", ["seats", "auto-renew"])
async def test_seats_and_auto_renew_need_the_role_and_no_agreement(world: World, purpose: Purpose) -> None:
    await world.then_refused("mina", "role-missing", purpose=purpose)
    role = await world.assigned("mina", "contract_manager", seats=True)
    assert (await world.access("mina", purpose)).because == (role,)
    await world.started("s", "other")
    assert (await world.access("mina", purpose)).because == (role,)
    await world.then_refused("mina", "agreement-missing", role)
    taken = await world.taken("mina", "contract_manager")
    await world.then_refused("mina", "role-missing", taken, purpose=purpose)


async def test_a_coordinator_without_the_right_assigns_no_seats_and_may_do_the_rest(world: World) -> None:
    role = await world.assigned("mina", "software_coordinator")
    await world.then_refused("mina", "seat-right-missing", role, purpose="seats")
    assert (await world.access("mina", "auto-renew")).because == (role,)
