"""The clients: people of a partner, of two customers and of a publisher, each with something to do, in no fixed order.

Each command's id and what its client heard are noted: what was answered must be in the store, once; what was refused
must not; and what nobody knows of at most once.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from services.distribution.domain import decisions, fleet, groups, rollout
from services.distribution.domain.policy import DEFAULT as FLEET_POLICY
from services.entitlements.domain import credits, seat_pool
from services.identity.domain import account, clock, contract
from services.marketplace.domain import auto_renew, cart, checkout, engagement, order, plan_choice, subscription
from shared.eventlog.decision import Stream
from shared.eventlog.deliver.relay import partition_of
from shared.eventlog.write.log import Accepted, Meta
from shared.eventlog.write.store import Conflict, Unavailable
from shared.events import (
    CsnIssued,
    CsnRevoked,
    Event,
    OrderConfirmed,
    PlanListed,
    PlanWithdrawn,
    RolloutPhase,
    SeatAssigned,
    UpdateWithdrawn,
)
from shared.events.envelope import stamp
from shared.events.registry import INBOUND
from shared.events.upcasts import decode
from tests.examples import marketplace as ex
from tests.examples.distribution import UPDATE
from tests.oracle.evidence import Asked
from tests.simulation.system import START, Running, System
from tests.simulation.time import Killed

PEOPLE: Final = ("mandy", "ana", "ben", "chiyo")
PLANS: Final = (ex.AUTOCAD, ex.AUTOCAD_MONTHLY, ex.LT_THREE_YEARS, ex.VAULT)
HALVES: Final = (
    RolloutPhase(share=50, success_percent=50, error_percent=100),
    RolloutPhase(share=50, success_percent=50, error_percent=60),
)


PUBLISHERS_CLOCK: Final = timedelta(hours=1)
"""So much the publisher's clock is behind: a service whose own is as much behind would refuse what comes from ahead."""


@dataclass(slots=True)
class World:
    """The system, and what its clients know of it."""

    system: System
    chance: random.Random
    asked: list[Asked]
    wrong: list[str]
    said: int = 0

    @property
    def now(self) -> datetime:
        return START + timedelta(seconds=asyncio.get_running_loop().time())

    @property
    def publishers_now(self) -> datetime:
        """What the publisher's clock shows: for its records, and for the times that its events name."""
        return self.now - PUBLISHERS_CLOCK

    async def pause(self, at_most_s: float = 1.0) -> None:
        await asyncio.sleep(self.chance.random() * at_most_s)

    def one_of(self, service: str) -> Running | None:
        alive = [r for r in self.system.services[service].running if not r.process.dead and not r.process.frozen]
        return self.chance.choice(alive) if alive else None

    async def do(self, service: str, stream: Stream[Any, Any, Any], key: str, command: Any, by: str = "mandy") -> Any:
        """Sends a command until an answer is heard, or sometimes gives up not knowing. Returns an Accepted, or None."""
        note = Asked(f"client-{len(self.asked)}", service, stream.id(key))
        self.asked.append(note)
        meta = Meta(note.command_id, by, self.now, note.command_id)
        answer = None
        while answer is None:
            answer = await self._try(service, stream, key, command, meta)
            if answer is None and self.chance.random() < 0.3:
                return None
        note.heard(answer)
        if self.chance.random() < 0.1:
            again = await self._try(service, stream, key, command, meta)
            if again is not None and again._replace(repeated=False) != answer._replace(repeated=False):
                self.wrong.append(f"{note.command_id} was answered {answer}, then {again}")
        return answer if isinstance(answer, Accepted) else None

    async def _try(self, service: str, stream: Stream[Any, Any, Any], key: str, command: Any, meta: Meta) -> Any:
        running = self.one_of(service)
        if running is None:
            await self.pause()
            return None
        try:
            return await running.log.execute(stream, key, command, meta)
        except (Killed, Unavailable, Conflict):
            await self.pause()
            return None

    async def state(self, service: str, stream: Stream[Any, Any, Any], key: str) -> Any:
        """As the store has it now; nobody's process is asked."""
        state = stream.initial
        for stored in await self.system.services[service].store.read_stream(stream.id(key)):
            state = stream.evolve(
                state, decode(stored.envelope, stored.data, trusted=True).recorded(stored.envelope.id)
            )
        return state

    async def until(self, look: Callable[[], Awaitable[Any]], kind: type[Any]) -> Any:
        """Looks until it sees one of this kind, for some seconds; None if it doesn't come."""
        for _ in range(40):
            found = await look()
            if isinstance(found, kind):
                return found
            await self.pause(1.0)
        return None

    def say(self, event: Event, publisher: str = "autodesk") -> None:
        """The publisher's system says something, sometimes twice, as another record with the same id."""
        self.said += 1
        headers: list[tuple[str, bytes | None]] = [
            ("ce_specversion", b"1.0"),
            ("ce_id", f"said-{self.said}".encode()),
            ("ce_source", f"urn:publisher:{publisher}".encode()),
            ("ce_type", event.type().encode()),
            ("ce_time", stamp(self.publishers_now).encode()),
            ("content-type", b"application/json"),
        ]
        partition = partition_of(event.type(), self.system.broker.partitions)
        for _ in range(1 + (self.chance.random() < 0.2)):
            self.system.broker.append(INBOUND, partition, None, headers, event.data())


# ── Who does what ──────────────────────────────────────────────────────────────────────────────────────


async def signs_up(w: World) -> None:
    """The customer's people; some change their profile."""
    for person in w.chance.sample(PEOPLE, w.chance.randrange(1, 5)):
        await w.do(
            "identity",
            account.ACCOUNT,
            person,
            account.OpenAccount(
                account_id=person,
                organisation_id=ex.CUSTOMER,
                organisation_name="Studio Nord",
                organisation_kind="customer",
                email=f"{person}@nord.example",
                name=person,
                country="DE",
                time_zone="Europe/Berlin",
                locale="de",
                now=w.now,
                sandbox=True,
            ),
            person,
        )
    if w.chance.random() < 0.3:
        await w.do("identity", account.ACCOUNT, "ana", account.UpdateProfile(name="Ana B."), "ana")


async def engages(w: World) -> engagement.State:
    """The purchaser engages the partner, until it is known to be; what the log has then."""
    key = engagement.engagement_key(ex.CUSTOMER, ex.PARTNER)
    engage = engagement.EngagePartner(partner=ex.PARTNER, customer=ex.CUSTOMER, engaged_by="mandy", is_partner=True)

    async def accepted() -> engagement.State:
        await w.do("marketplace", engagement.ENGAGEMENT, key, engage)
        state: engagement.State = await w.state("marketplace", engagement.ENGAGEMENT, key)
        return state

    return await w.until(accepted, engagement.Engaged) or engagement.INITIAL


async def sells(w: World, number: int, contracts: list[str]) -> None:
    """A clerk's cart, checked out, confirmed by the publisher, and what the purchaser does with it."""
    key, chosen = f"cart{number}", w.chance.choice(PLANS)
    accepted = await engages(w)
    await w.do("marketplace", cart.CART, key, cart.OpenCart(key, ex.PARTNER, ex.CLERK), ex.CLERK)
    seats = w.chance.randrange(1, 4)
    offers = ex.listed(chosen)
    add = plan_choice.AddToCart(seats=seats, product_id=chosen.product_id, offers=offers, standing=ex.WITH_CSN)
    await w.do("marketplace", cart.CART, key, add, ex.CLERK)
    if w.chance.random() < 0.2:
        await w.do("marketplace", cart.CART, key, cart.RemoveFromCart(1), ex.CLERK)
        await w.do("marketplace", cart.CART, key, replace(add, seats=seats + 1), ex.CLERK)
    subscription_id = f"sub{number}"
    account_ = ex.PURCHASERS_ACCOUNT.model_copy(update={"account_id": "mandy"}).recorded("opened-mandy")
    await w.do(
        "marketplace",
        cart.CART,
        key,
        checkout.CheckOut(
            customer=ex.CUSTOMER,
            purchaser="mandy",
            starts=w.now.date(),
            ordered_by=ex.CLERK,
            now=w.now,
            subscription_ids=tuple(f"{subscription_id}-{n}" for n in range(2)),
            purchaser_account=account_,
            engagement=accepted,
            offered=offers,
            standing=ex.WITH_CSN,
        ),
        ex.CLERK,
    )
    subscription_id += "-0"
    ordered = await w.until(lambda: w.state("marketplace", subscription.SUBSCRIPTION, subscription_id), order.Awaiting)
    if ordered is None:
        return
    contracts.append(ordered.order.contract_id)
    w.say(OrderConfirmed(subscription_id=subscription_id, reference=f"REF{number}", order=ordered.order.ref))
    await lives(w, subscription_id, ordered.order.contract_id)


async def lives(w: World, subscription_id: str, contract_id: str) -> None:
    """Seats come and go, more are bought, the renewal is turned off; years pass elsewhere."""
    pool = await w.until(
        lambda: w.state("entitlements", seat_pool.SEAT_POOL, subscription_id), seat_pool.OpenedSeatPool
    )
    if pool is None:
        return
    now = w.now
    for _ in range(w.chance.randrange(2, 7)):
        await w.pause(0.3)
        person = w.chance.choice(PEOPLE)
        match w.chance.randrange(7):
            case 0 | 1 | 2:
                user = ex.PURCHASERS_ACCOUNT.model_copy(update={"account_id": person})
                assign = seat_pool.AssignSeat(person, "mandy", user)
                await w.do("entitlements", seat_pool.SEAT_POOL, subscription_id, assign)
            case 3:
                await w.do(
                    "entitlements", seat_pool.SEAT_POOL, subscription_id, seat_pool.UnassignSeat(person, "mandy")
                )
            case 4:
                await w.do(
                    "marketplace",
                    subscription.SUBSCRIPTION,
                    subscription_id,
                    subscription.ChangeSeats(
                        seats=w.chance.randrange(1, 6), changed_by=ex.CLERK, now=now, standing=ex.WITH_CSN
                    ),
                )
            case 5:
                await w.do(
                    "marketplace", subscription.SUBSCRIPTION, subscription_id, auto_renew.DisableAutoRenew("mandy", now)
                )
            case _:
                await spends(w, pool)


async def spends(w: World, pool: seat_pool.OpenedSeatPool) -> None:
    number, contract_id = len(w.asked), pool.opened.contract_id
    seat = SeatAssigned(
        subscription_id=pool.opened.subscription_id,
        contract_id=contract_id,
        seat=1,
        account_id="ana",
        assigned_by="mandy",
    )
    seated = (replace(pool, held={1: seat}),)  # as ana's door has found it
    if w.chance.random() < 0.5:
        grant = credits.GrantCredits(
            contract_id=contract_id,
            grant_id=f"g{number}",
            amount=w.chance.randrange(1, 9),
            customer=ex.CUSTOMER,
            granted_by="p",
            now=w.now,
        )
        await w.do("entitlements", credits.CREDITS, contract_id, grant, "publisher")
    use = credits.ConsumeCredits(
        contract_id=contract_id,
        consumption_id=f"u{number}",
        amount=w.chance.randrange(1, 6),
        now=w.now,
        account_id="ana",
        pools=seated,
    )
    await w.do("entitlements", credits.CREDITS, contract_id, use, "ana")


async def coordinates(w: World, contracts: list[str]) -> None:
    """Roles on the first contract: asked for, given, refused, revoked, handed over; an account closes."""
    contract_id = await w.until(lambda: _first(contracts), str)
    if contract_id is None:
        return
    commands: list[tuple[str, Any]] = [
        ("ana", contract.RequestRole("ana", ex.CUSTOMER)),
        ("mandy", contract.ApproveRoleRequest("ana", "mandy", True)),
        ("ben", contract.RequestRole("ben", ex.CUSTOMER)),
        ("mandy", contract.DeclineRoleRequest("ben", "mandy")),
        ("mandy", contract.RevokeRole("ana", "mandy")),
        ("mandy", contract.HandOverContract("ana", "mandy", ex.CUSTOMER)),
        ("ana", contract.NameCoordinator("chiyo", ex.CUSTOMER, "ana")),
    ]
    w.chance.shuffle(commands)
    for by, command in commands[: w.chance.randrange(2, 7)]:
        await w.pause(0.5)
        await w.do("identity", contract.CONTRACT, contract_id, command, by)
    if w.chance.random() < 0.3:
        await w.do("identity", account.ACCOUNT, "chiyo", account.CloseAccount("chiyo", ()), "chiyo")


async def _first(contracts: list[str]) -> str | None:
    return contracts[0] if contracts else None


async def decides(w: World, contracts: list[str]) -> None:
    """The fleet's manager: groups, holds, approvals, a schedule; machines report."""
    contract_id = await w.until(lambda: _first(contracts), str)
    if contract_id is None:
        return
    u = {"contract_id": contract_id, "publisher": UPDATE.publisher, "update_id": UPDATE.update_id}
    mine: dict[str, Any] = {"by": "mandy", "policy": FLEET_POLICY}
    both = ("default", "g")
    commands: list[Any] = [
        groups.CreateGroup(name="pilots", contract_id=contract_id, group_id="g", customer=ex.CUSTOMER, by="mandy"),
        groups.PutUserInGroup("ana", contract_id, "g", "mandy"),
        decisions.ApproveUpdate(**u, **mine, groups=("default",), phases=HALVES),
        decisions.ApproveUpdate(**u, **mine, groups=both),
        decisions.HoldUpdate(**u, groups=("default",), reason="not now", by="mandy"),
        decisions.ScheduleUpdate(**u, **mine, groups=("default",), starts_at=w.now + timedelta(days=3), now=w.now),
        groups.SetGroupPolicy(
            contract_id=contract_id,
            group_id="default",
            cadence="weekly",
            customer=ex.CUSTOMER,
            by="mandy",
            now=w.now,
            policy=FLEET_POLICY,
        ),
        groups.RemoveUserFromGroup(contract_id, "g", "ana", "mandy"),
    ]
    chosen = commands[:2] + w.chance.sample(commands[2:], w.chance.randrange(2, 6))
    for command in chosen:
        await w.pause(1.0)
        await w.do("distribution", fleet.FLEET, contract_id, command)
    for number in (1, 2):
        rollout_id = f"{contract_id}-{number}"
        for person in w.chance.sample(PEOPLE, 2):
            done = w.chance.random() < 0.7
            report = rollout.ReportInstall(
                rollout_id=rollout_id,
                version=UPDATE.version,
                machine="pc",
                succeeded=done,
                account_id=person,
                now=w.now,
            )
            await w.do("distribution", rollout.ROLLOUT, rollout_id, report, person)
        steering: list[rollout.Command] = [
            rollout.ExcludeTarget(account_id=w.chance.choice(PEOPLE), reason="away", by="mandy", now=w.now),
            rollout.RetryFailed("mandy", w.now),
            rollout.MoveOn(phase=1, reason="nobody is left", by="mandy", now=w.now),
            rollout.ResumeRollout("mandy", w.now),
        ]
        for command in w.chance.sample(steering, 2):
            await w.do("distribution", rollout.ROLLOUT, rollout_id, command)


async def publishes(w: World) -> None:
    """The publisher's words, some of them unsaid again."""
    words: list[Event] = [PlanListed(plan=chosen, said_at=w.publishers_now) for chosen in PLANS]
    words += [
        CsnIssued(csn="5100012345", organisation_id=ex.PARTNER, publisher="autodesk", said_at=w.publishers_now),
        CsnIssued(csn="5100099999", organisation_id=ex.CUSTOMER, publisher="autodesk", said_at=w.publishers_now),
        UPDATE,
    ]
    w.chance.shuffle(words)
    unsaid: list[Event] = [
        CsnRevoked(
            csn="5100012345", organisation_id=ex.PARTNER, publisher="autodesk", reason="x", said_at=w.publishers_now
        ),
        PlanWithdrawn(product_id=ex.VAULT.product_id, publisher="autodesk", said_at=w.publishers_now),
        UpdateWithdrawn(update_id=UPDATE.update_id, publisher=UPDATE.publisher, reason="broken"),
    ]
    words += [word for word in unsaid if w.chance.random() < 0.2]
    for word in words:
        await w.pause(0.8)
        w.say(word)


async def moves_time(w: World) -> None:
    """The sandbox's clock: days, months, years ahead."""
    ahead = timedelta()
    for _ in range(w.chance.randrange(0, 4)):
        await w.pause(8)
        ahead += timedelta(days=w.chance.choice((1, 30, 200, 366)))
        move = clock.MoveClock(to=w.now + ahead, organisation_id=ex.CUSTOMER, sandbox=True, now=w.now, moved_by="mandy")
        await w.do("identity", clock.CLOCK, ex.CUSTOMER, move)


async def tell(w: World) -> None:
    """A story; every client at once. Not everybody is there every time, so that a thousand stories are soon told."""
    contracts: list[str] = []
    sales = [sells(w, number, contracts) for number in range(w.chance.choice((1, 1, 2, 3)))]
    others = (moves_time(w), coordinates(w, contracts), decides(w, contracts))
    there = [client for client in others if w.chance.random() < 0.6]
    for client in others:
        if client not in there:
            client.close()
    await asyncio.gather(signs_up(w), publishes(w), *there, *sales)
