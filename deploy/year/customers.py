"""The steps of one customer's year; they raise Wrong at an unexpected result."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Final

from deploy.story.doors import ZONE, Doors, Json, Person, Wrong, eventually
from deploy.year.publisher import PUBLISHER, Publisher
from services.entitlements.domain.rules import CREDITS_EXHAUSTED, USER_UNKNOWN
from services.marketplace.domain.rules import PURCHASER_UNKNOWN, SEATS_ASSIGNED
from shared.days import day_of

FATES: Final = (
    "renews",
    "cancels",
    "cancels late",
    "grows",
    "shrinks",
    "is declined first",
    "loses a colleague",
    "hands over",
    "spends credits",
    "rolls out",
)
"""The courses of a customer's year; every tenth customer has the same."""

PATIENCE_S: Final = 120.0
PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 8.0
"""Limited, as a thousand customers that poll three times a second would be most of the load."""
"""The first pause between two requests, as many customers poll at once."""
PASSWORD: Final = "correct horse battery staple"  # noqa: S105  # example people have no secrets
"""Where all people of the year are."""
GRANTED: Final = 100
OWN: Final = 10


@dataclass(kw_only=True, slots=True)
class Customer:
    number: int
    fate: str
    clerk: Person
    """The partner's clerk, who orders."""
    with_csn: bool
    """Whether that partner has a CSN."""
    loses_csn: bool
    """Whether that partner loses its CSN in autumn."""
    manager: Person
    colleague: Person
    plan: Json = field(default_factory=dict)
    seats: int = 2
    starts: date = date.min
    now: datetime | None = None
    """The time to which its clock was moved."""
    subscription: str = ""
    contract: str = ""
    term: Json = field(default_factory=dict)
    rollout: str = ""
    refusals: int = 0

    @property
    def waits(self) -> bool:
        """Whether its desktop never installs the update, while its partner has no CSN for a time."""
        return self.fate == "rolls out" and self.loses_csn


@dataclass(slots=True)
class World:
    """Everything that all customers share."""

    doors: Doors
    publisher: Publisher
    operator: Person
    update: str = ""


async def sign_up(doors: Doors, person: Person, joining: Json) -> None:
    opened = await doors.ok("identity", "POST", "/accounts", None, person.profile() | joining)
    session = opened.get("session")
    if session is None:  # the answer that had it was lost, and its command sent again
        own = {"email": person.email, "password": person.password}
        session = await doors.ok("identity", "POST", "/sessions", None, own)
    person.signed_in(session)


def must(condition: object, c: Customer, what: str) -> None:
    if not condition:
        raise Wrong(f"customer {c.number}, which {c.fate}: {what}")


async def until(c: Customer, look: Callable[[], Awaitable[Json | None]], what: str) -> Json:
    """Call `look` until its result is not None, and return that."""
    named = f"customer {c.number}, which {c.fate}: {what}"
    found: Json = await eventually(look, named, PATIENCE_S, PAUSE_S, LONGEST_PAUSE_S)
    return found


async def refused(w: World, c: Customer, path: str, body: Json, rule: str) -> None:
    """Send a request that entitlements must refuse to the manager by this rule."""
    problem = await w.doors.refused("entitlements", "POST", path, c.manager, body, rule=rule)
    must(problem.get("detail") and problem.get("remedy"), c, f"the refusal by {rule} has no reason or no remedy")
    c.refusals += 1


# ── Before the year ────────────────────────────────────────────────────────────────────────────────────


async def found(w: World, c: Customer) -> None:
    organisation = {"name": f"Customer {c.number} {w.doors.run}", "kind": "customer", "sandbox": True}
    await sign_up(w.doors, c.manager, {"organisation": organisation})
    if c.fate in ("loses a colleague", "hands over"):
        invitation = await w.doors.ok("identity", "POST", "/invitations", c.manager, {"email": c.colleague.email})
        await sign_up(w.doors, c.colleague, {"invitation": invitation["invitation"]})


async def order(w: World, c: Customer) -> None:
    await w.doors.ok("marketplace", "PUT", f"/partners/{c.clerk.organisation_id}", c.manager, {})
    if c.fate == "is declined first":
        w.publisher.declines.add(c.manager.organisation_id)
    cart = (await w.doors.ok("marketplace", "POST", "/carts", c.clerk, {}))["events"][0]["data"]["cart_id"]
    line = {"product_id": c.plan["product_id"], "seats": c.seats}
    await w.doors.ok("marketplace", "POST", f"/carts/{cart}/lines", c.clerk, line)
    c.starts = day_of(datetime.now(UTC), ZONE)
    to = {"customer": c.manager.organisation_id, "purchaser": c.manager.account_id, "starts": c.starts.isoformat()}

    async def checked_out() -> Json | None:  # the purchaser's account is known to marketplace a moment later
        answer = await w.doors.call("marketplace", "POST", f"/carts/{cart}/checkout", c.clerk, to)
        if answer.status_code == 200:
            accepted: Json = answer.json()
            return accepted
        must(answer.json().get("rule") == PURCHASER_UNKNOWN, c, f"the checkout is refused: {answer.text}")
        return None

    out = await until(c, checked_out, "the order is taken")
    c.subscription = out["events"][0]["data"]["lines"][0]["subscription_id"]


async def subscription(w: World, c: Customer) -> Json:
    answer = await w.doors.call("marketplace", "GET", f"/subscriptions/{c.subscription}", c.clerk)
    found: Json = answer.json() if answer.status_code == 200 else {}
    return found


async def is_confirmed(w: World, c: Customer) -> None:
    async def status(wanted: str) -> Json | None:
        found = await subscription(w, c)
        return found if found.get("status") == wanted else None

    if c.fate == "is declined first":
        await until(c, lambda: status("failed"), "the publisher declines")
        again = f"/subscriptions/{c.subscription}/resubmit"
        await w.doors.ok("marketplace", "POST", again, c.clerk, {"seats": c.seats})
    shown = await until(c, lambda: status("confirmed"), "the publisher confirms")
    owed = sum(part["amount"]["amount"] for part in shown["instalments"])
    must(owed == shown["total"]["amount"], c, f"instalments of {owed} for {shown['total']}")
    c.contract, c.term = shown["contract_id"], shown["term"]


async def seats_are_assigned(w: World, c: Customer) -> None:
    people = [c.manager] + ([c.colleague] if c.colleague.account_id else [])
    items = {"items": [{"account_id": person.account_id} for person in people]}

    async def assigned() -> Json | None:  # the role and the pool reach entitlements a moment later
        answer = await w.doors.call("entitlements", "POST", f"/pools/{c.subscription}/seats/bulk", c.manager, items)
        given: Json = answer.json()
        return given if answer.status_code == 200 and given["accepted"] == len(people) else None

    await until(c, assigned, "seats are assigned")
    stranger = {"account_id": c.clerk.account_id}
    await refused(w, c, f"/pools/{c.subscription}/seats", stranger, USER_UNKNOWN)


# ── Time ───────────────────────────────────────────────────────────────────────────────────────────────


async def moves_to(w: World, c: Customer, day: int) -> None:
    """Move the customer's clock to noon of a day of its year, in every service."""
    c.now = datetime(c.starts.year, c.starts.month, c.starts.day, 12, tzinfo=UTC) + timedelta(days=day)
    moved = await w.doors.ok("identity", "POST", "/clock", c.manager, {"to": c.now.isoformat()})
    for service in moved["waiting_for"]:  # one that was away
        await _knows_the_time(w, c, service)


async def _knows_the_time(w: World, c: Customer, service: str) -> None:
    async def there() -> Json | None:
        shown = await w.doors.ok(service, "GET", "/clock", c.manager)
        return shown if c.now is None or datetime.fromisoformat(shown["now"]) >= c.now else None

    await until(c, there, f"{service} knows the time")


# ── During the year ────────────────────────────────────────────────────────────────────────────────────


async def in_spring(w: World, c: Customer) -> None:
    """Act on day 100: seats, credits, handovers, rollouts."""
    path = f"/subscriptions/{c.subscription}/seats"
    match c.fate:
        case "grows":
            more = await w.doors.ok("marketplace", "PUT", path, c.clerk, {"seats": c.seats + 3})
            must(more["events"][0]["type"] == "SeatsAdded", c, f"seats should join at once: {more}")
            c.seats += 3
        case "shrinks":
            fewer = await w.doors.ok("marketplace", "PUT", path, c.clerk, {"seats": 1})
            must(fewer["events"][0]["type"] == "SeatDecreaseScheduled", c, f"fewer seats begin later: {fewer}")
        case "loses a colleague":
            await w.doors.ok("identity", "DELETE", "/me", c.colleague)

            async def freed() -> Json | None:
                shown = await w.doors.ok("entitlements", "GET", f"/pools/{c.subscription}", c.manager)
                return shown if c.colleague.account_id not in [h["account_id"] for h in shown["holders"]] else None

            await until(c, freed, "the colleague's seat is free")
        case "hands over":
            await w.doors.ok(
                "identity", "POST", f"/contracts/{c.contract}/handover", c.manager, {"to": c.colleague.account_id}
            )
        case "spends credits":
            await _credits(w, c)
        case "rolls out" if c.with_csn:
            await _rollout(w, c)
        case _:
            pass


async def _credits(w: World, c: Customer) -> None:
    path = f"/contracts/{c.contract}/credits"
    await w.doors.ok("entitlements", "POST", f"{path}/grants", w.operator, {"grant_id": "pool", "amount": GRANTED})
    own = {"grant_id": "own", "amount": OWN, "account_id": c.manager.account_id}
    await w.doors.ok("entitlements", "POST", f"{path}/grants", w.operator, own)
    spent = {"consumption_id": "1", "amount": OWN + 5, "purpose": "rendering"}
    for _ in range(2):
        await w.doors.ok("entitlements", "POST", f"{path}/consumptions", c.manager, spent)
    beyond = {"consumption_id": "2", "amount": GRANTED, "purpose": "rendering"}
    await refused(w, c, f"{path}/consumptions", beyond, CREDITS_EXHAUSTED)


async def _rollout(w: World, c: Customer) -> None:
    path = f"/contracts/{c.contract}/updates/{PUBLISHER}/{w.update}/approval"
    phases = {"groups": ["default"], "phases": [{"share": 100, "success_percent": 90, "error_percent": 50}]}

    async def approved() -> Json | None:
        answer = await w.doors.call("distribution", "POST", path, c.manager, phases)
        accepted: Json = answer.json()
        return accepted if answer.status_code == 200 else None

    await until(c, approved, "the update can be approved")

    async def offered() -> Json | None:
        shown = await w.doors.ok("distribution", "GET", "/me/updates", c.manager)
        return next((item for item in shown["items"] if item["update_id"] == w.update), None)

    offer = await until(c, offered, "the user is offered the update")
    c.rollout = offer["rollout_id"]
    if c.waits:
        return
    report = {"rollout_id": c.rollout, "version": offer["version"], "machine": "desk-1", "succeeded": True}
    await w.doors.ok("distribution", "POST", "/me/installs", c.manager, report)


async def in_autumn(w: World, c: Customer) -> None:
    """Act on day 250: a partner has lost its CSN, and its customers the update right."""
    if c.fate == "cancels":
        await _turn_off(w, c, "this_term")
    if c.waits:
        await _targets(w, c, 0, "nobody reported, so it has paused; without the right it has no users")


async def _targets(w: World, c: Customer, count: int, what: str, status: str = "paused") -> None:
    """Wait until the customer's unfinished rollout has this many users and this status."""
    path = f"/contracts/{c.contract}/rollouts/{c.rollout}"

    async def aimed() -> Json | None:
        shown = await w.doors.ok("distribution", "GET", path, c.manager)
        return shown if (shown["targets"], shown["status"]) == (count, status) else None

    await until(c, aimed, f"{what} (the rollout should be {status})")


async def after_the_cutoff(w: World, c: Customer) -> None:
    """Act on day 362: a late request applies to the next term; the partner has a CSN again."""
    if c.waits:
        await _targets(w, c, 1, "with the right it has its user again")
        await w.doors.ok("distribution", "POST", f"/contracts/{c.contract}/rollouts/{c.rollout}/resume", c.manager)
        await _targets(w, c, 1, "the update is offered again", "running")
    shown = await subscription(w, c)
    if shown["auto_renew"]["state"] != "off":

        async def reminded() -> Json | None:
            now = await subscription(w, c)
            return now if now["auto_renew"]["reminded"] == [90, 60, 30] else None

        await until(c, reminded, "reminders 90, 60 and 30 days before the end")
    if c.fate == "cancels late":
        await _turn_off(w, c, "next_term")


async def _turn_off(w: World, c: Customer, binds: str) -> None:
    path = f"/subscriptions/{c.subscription}/disable-auto-renew"
    await w.doors.ok("marketplace", "POST", path, c.manager, {})

    async def held() -> Json | None:
        renew = (await subscription(w, c))["auto_renew"]
        return renew if renew["refused"] else None

    refusal = (await until(c, held, "the pool refuses"))["refused"]
    must(refusal["rule"] == SEATS_ASSIGNED and refusal["held"], c, f"the refusal should name seats: {refusal}")
    c.refusals += 1
    await w.doors.ok("entitlements", "DELETE", f"/pools/{c.subscription}/seats/{c.manager.account_id}", c.manager)
    asked = await w.doors.ok("marketplace", "POST", path, c.manager, {})
    must(asked["events"][0]["data"]["binds"] == binds, c, f"the request should bind {binds}: {asked}")

    async def off() -> Json | None:
        shown = await subscription(w, c)
        return shown if shown["auto_renew"]["state"] == "off" else None

    await until(c, off, "auto-renew is off")


async def after_the_term(w: World, c: Customer) -> None:
    """Check on day 370 that the subscription has renewed or expired."""

    async def over() -> Json | None:
        shown = await subscription(w, c)
        done = shown["status"] == "ended" if c.fate == "cancels" else shown["term"]["number"] == 2
        return shown if done else None

    shown = await until(c, over, "its term is closed")
    if c.fate == "cancels":
        return
    wanted = 1 if c.fate == "shrinks" else c.seats
    must(shown["seats"] == wanted, c, f"the new term has {shown['seats']} seats, not {wanted}")
    ends = date.fromisoformat(shown["term"]["ends"])
    must((ends.month, ends.day) == _anniversary(c.starts), c, f"the second term ends on {ends}")


def _anniversary(starts: date) -> tuple[int, int]:
    last = date(starts.year + 2, starts.month, min(starts.day, 28) if starts.month == 2 else starts.day)
    before = last - timedelta(days=1)
    return before.month, before.day


async def long_after(w: World, c: Customer) -> None:
    """Check on day 470 that ended pools have no seats and that old credits have expired."""
    if c.fate == "cancels":

        async def ended() -> Json | None:
            shown = await w.doors.ok("entitlements", "GET", f"/pools/{c.subscription}", c.manager)
            return shown if shown["phase"] == "ended" and not shown["holders"] else None

        await until(c, ended, "its seats have ended")
    if c.fate == "spends credits":

        async def expired() -> Json | None:
            shown = await w.doors.ok("entitlements", "GET", f"/contracts/{c.contract}/credits", c.manager)
            return shown if shown["balance"] == 0 else None

        await until(c, expired, "its credits have expired")
