"""The story's first steps, in order.

Each prints its results, and raises Wrong at an unexpected response.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import Final

from deploy.story.doors import ZONE, Doors, Json, Person, Wrong, eventually
from services.entitlements.domain.rules import SEATS_EXHAUSTED
from services.identity.domain.rules import EMAIL_TAKEN
from services.marketplace.domain.rules import NO_REFUNDS, PARTNER_NOT_ENGAGED, PLAN_UNKNOWN
from shared.days import day_of
from shared.rules import ROLE_MISSING

ANNUAL: Final = "057O1-WW6525-L347"
WIZARD: Final = {"product": "autocad", "period": "monthly", "support": "advanced"}
PUBLISHER: Final = "autodesk"
"""Where all people of the story are."""
PASSWORD: Final = "correct horse battery staple"  # noqa: S105  # example people have no secrets


@dataclass(kw_only=True, slots=True)
class Story:
    """The people and ids that the steps share."""

    doors: Doors
    say: Callable[[str], None]
    clerk: Person
    manager: Person
    cad: Person
    designers: list[Person]
    csn: str = ""
    orders: list[str] = field(default_factory=list)
    contract: str = ""
    update_id: str = ""
    extension_id: str = ""

    @property
    def annual(self) -> str:
        return self.orders[0]

    @property
    def monthly(self) -> str:
        return self.orders[1]


def people(run: str) -> dict[str, Person]:
    def person(name: str, company: str) -> Person:
        return Person(name=name, email=f"{name.split()[0].lower()}.{run}@{company}.example", password=PASSWORD)

    return {
        "clerk": person("Clara Reyes", "cadworks"),
        "manager": person("Oskar Lindqvist", "northhaus"),
        "cad": person("Mina Okafor", "northhaus"),
        "first": person("Ana Duarte", "northhaus"),
        "second": person("Ben Castellan", "northhaus"),
        "third": person("Chiyo Tanaka", "northhaus"),
    }


def cast(doors: Doors, say: Callable[[str], None]) -> Story:
    who = people(doors.run.removeprefix("story-"))
    return Story(
        doors=doors,
        say=say,
        clerk=who["clerk"],
        manager=who["manager"],
        cad=who["cad"],
        designers=[who["first"], who["second"], who["third"]],
    )


def money(amount: Json) -> str:
    return f"{amount['amount'] / 100:,.2f} {amount['currency']}"


def expect(condition: object, what: str) -> None:
    if not condition:
        raise Wrong(what)


# ── 1 ──────────────────────────────────────────────────────────────────────────────────────────────────


async def accounts(s: Story) -> None:
    """A partner's clerk and a customer's people sign up; one account per e-mail address."""
    run = s.doors.run.removeprefix("story-")
    await sign_up(s, s.clerk, {"organisation": {"name": f"CADworks {run}", "kind": "partner"}})
    northhaus = {"name": f"Northhaus Architects {run}", "kind": "customer", "sandbox": True}
    await sign_up(s, s.manager, {"organisation": northhaus})
    for person in (s.cad, *s.designers):
        invitation = await s.doors.ok("identity", "POST", "/invitations", s.manager, {"email": person.email})
        await sign_up(s, person, {"invitation": invitation["invitation"]})
    expect(s.cad.organisation_id == s.manager.organisation_id, "the CAD manager should be in Northhaus")
    taken = s.clerk.profile() | {"organisation": {"name": "Other", "kind": "partner"}}
    again = await s.doors.refused("identity", "POST", "/accounts", None, taken, rule=EMAIL_TAKEN)
    s.say(f"a second sign-up as {s.clerk.email} is refused: {again['detail']}")


async def sign_up(s: Story, person: Person, joining: Json) -> None:
    """Open an account, by the organisation or the invitation of `joining`, and sign in."""
    await s.doors.ok("identity", "POST", "/accounts", None, person.profile() | joining)
    session = await s.doors.ok(
        "identity", "POST", "/sessions", None, {"email": person.email, "password": person.password}
    )
    person.signed_in(session)
    s.say(f"{person.name} has an account ({person.email}) and is signed in")


# ── 2 ──────────────────────────────────────────────────────────────────────────────────────────────────


async def standing(s: Story) -> None:
    """The publisher issues a CSN as a CloudEvent; the partner's catalogue grows."""

    async def offered() -> list[Json] | None:  # a system that has just begun may still be hearing of its plans
        first = await _catalogue(s)
        await asyncio.sleep(0.2)
        known = ANNUAL in [plan["product_id"] for plan in first] and len(await _catalogue(s)) == len(first)
        return first if known else None

    before = await eventually(offered, "the catalogue")
    expect(all(plan["category"] == "open" for plan in before), "without a CSN only open plans should be shown")
    s.say(f"without a CSN the catalogue shows {len(before)} plans, all open")
    s.csn = f"51{int(sha256(s.doors.run.encode()).hexdigest(), 16) % 10**8:08d}"
    csn = {"csn": s.csn, "organisation_id": s.clerk.organisation_id, "publisher": PUBLISHER}
    event_id = await s.doors.emit(PUBLISHER, "CsnIssued", csn)
    s.say(f"the publisher's system emits CsnIssued {s.csn} (event {event_id})")

    async def grown() -> list[Json] | None:
        now = await _catalogue(s)
        return now if len(now) > len(before) else None

    after = await eventually(grown, "the partner's catalogue grows")
    special = [plan for plan in after if plan["category"] == "specialised"]
    expect(len(after) == len(before) + len(special), "only specialised plans should have been added")
    s.say(f"with it the catalogue shows {len(after)} plans, {len(special)} of them specialised")


async def _catalogue(s: Story) -> list[Json]:
    plans: list[Json] = []
    after = ""
    while True:
        page = await s.doors.ok("marketplace", "GET", f"/catalogue?limit=200{after}", s.clerk)
        plans += page["items"]
        if not page.get("next"):
            return plans
        after = f"&after={page['next']}"


# ── 3 ──────────────────────────────────────────────────────────────────────────────────────────────────


async def ordering(s: Story) -> None:
    """The clerk orders by product ID and by the wizard, once the customer has engaged it."""
    opened = await s.doors.ok("marketplace", "POST", "/carts", s.clerk, {})
    cart = opened["events"][0]["data"]["cart_id"]
    lines = f"/carts/{cart}/lines"
    wrong = await s.doors.refused(
        "marketplace", "POST", lines, s.clerk, {"product_id": "ZZZZZ-WW1762-L158", "seats": 5}, rule=PLAN_UNKNOWN
    )
    s.say(f"product ID ZZZZZ-WW1762-L158 is refused: {wrong['detail']} {wrong['remedy']}")
    line = await s.doors.ok("marketplace", "POST", lines, s.clerk, {"product_id": ANNUAL, "seats": 5})
    plan = line["events"][0]["data"]["line"]["plan"]
    s.say(f"product ID {ANNUAL} puts {plan['product_name']} ({plan['period']}, {plan['support']}) into the cart")
    same = await s.doors.ok(
        "marketplace", "POST", lines, s.clerk, {"product_id": ANNUAL.replace("-", "").lower(), "seats": 5}
    )
    expect(not same["events"], "the same ID without hyphens should be the same plan")
    s.say("the same ID without hyphens is the same plan: nothing changes")
    await _wizard(s, lines)
    await _checkout(s, cart)


async def _wizard(s: Story, lines: str) -> None:
    chosen: Json = {}
    while True:
        query = "&".join(f"{name}={value}" for name, value in chosen.items())
        step = await s.doors.ok("marketplace", "GET", f"/wizard?{query}", s.clerk)
        if step["plan"] is not None:
            break
        name = step["next"]
        values = [choice["value"] for choice in step["choices"][name]]
        expect(WIZARD.get(name, values[0]) in values, f"the wizard should offer {WIZARD.get(name)} among {values}")
        chosen[name] = WIZARD.get(name, values[0])
        s.say(f"the wizard offers {len(values)} for {name}; the clerk takes {chosen[name]}")
    plan = step["plan"]
    added = await s.doors.ok("marketplace", "POST", lines, s.clerk, {**chosen, "seats": 3})
    put = added["events"][0]["data"]["line"]["plan"]
    expect(put["product_id"] == plan["product_id"].replace("-", ""), "the wizard's plan should be the one in the cart")
    s.say(f"one plan remains and goes into the cart: {plan['product_name']}, {plan['product_id']}")


async def engagement(s: Story) -> None:
    """Let the customer engage the partner, which is in its list of customers a moment later."""
    await s.doors.ok("marketplace", "PUT", f"/partners/{s.clerk.organisation_id}", s.manager, {})

    async def shown() -> Json | None:
        listed = await s.doors.ok("marketplace", "GET", "/customers", s.clerk)
        return next((each for each in listed["items"] if each["customer"] == s.manager.organisation_id), None)

    customer = await eventually(shown, "the partner's list of customers")
    expect(customer["status"] == "engaged", f"the customer should have engaged the partner: {customer}")
    s.say(f"{s.manager.name} engages {s.clerk.name}'s organisation as its partner; its customers: {customer['name']}")


async def _checkout(s: Story, cart: str) -> None:
    async def shown() -> Json | None:
        answer = await s.doors.call("marketplace", "GET", f"/carts/{cart}", s.clerk)
        return answer.json() if answer.status_code == 200 and len(answer.json()["lines"]) == 2 else None

    order = await eventually(shown, "the cart shows two lines")
    expect(not order["refusals"], f"the checkout should refuse nothing: {order['refusals']}")
    s.say(f"before ordering, the whole order is shown: {len(order['lines'])} lines, {money(order['total'])}")
    body = {
        "customer": s.manager.organisation_id,
        "purchaser": s.manager.account_id,
        "starts": day_of(datetime.now(UTC), ZONE).isoformat(),
    }
    checkout = f"/carts/{cart}/checkout"
    early = await s.doors.refused("marketplace", "POST", checkout, s.clerk, body, rule=PARTNER_NOT_ENGAGED)
    s.say(f"Northhaus has no partner yet, so the order is refused: {early['detail']}")
    await engagement(s)
    out = await s.doors.ok("marketplace", "POST", checkout, s.clerk, body)
    s.orders = [line["subscription_id"] for line in out["events"][0]["data"]["lines"]]
    expect(len(s.orders) == 2, "a cart of two lines should become two orders")
    s.say(f"ordered for Northhaus; each line is an order of its own: {', '.join(s.orders)}")


# ── 4 ──────────────────────────────────────────────────────────────────────────────────────────────────


async def confirmation(s: Story) -> None:
    """The publisher declines an order, then confirms it; manager, instalments and seats exist."""
    await _declined(s)
    for number, (subscription, wanted) in enumerate(((s.annual, 4), (s.monthly, 3)), start=1):
        await confirmed(s, subscription, wanted, str(number))
    monthly = await _subscription(s, s.monthly, "confirmed")
    instalments = monthly["instalments"]
    total = sum(each["amount"]["amount"] for each in instalments)
    expect(len(instalments) == 12, f"a monthly plan should have 12 instalments, not {len(instalments)}")
    expect(total == monthly["total"]["amount"], f"the instalments add up to {total}, not to {monthly['total']}")
    term = monthly["term"]
    s.say(f"the term runs {term['starts']} to {term['ends']}; auto-renew is {monthly['auto_renew']['state']}")
    s.say(f"12 instalments of about {money(instalments[0]['amount'])} add up to exactly {money(monthly['total'])}")
    s.contract = monthly["contract_id"]
    await eventually(lambda: _holds(s, s.manager, "contract_manager"), "the purchaser becomes Contract Manager")
    s.say(f"{s.manager.name}, the purchaser, is Contract Manager of {s.contract}")

    async def pool() -> Json | None:  # who gets a seat of it later has the right to updates from the first moment
        shown = await s.doors.ok("entitlements", "GET", f"/pools/{s.monthly}", s.manager)
        return shown if shown["updates"] else None

    seats = await eventually(pool, "the pool of seats, with the right to updates")
    expect(seats["seats"] == 3, f"the pool should have 3 seats: {seats}")
    s.say(f"a pool of {seats['seats']} seats of {seats['product_name']} is open")


async def confirmed(s: Story, subscription: str, seats: int, mark: str) -> Json:
    """Confirm an order as the publisher's system does, and return the subscription."""
    order = await _ordered(s, subscription, seats)
    reference = f"AD-{s.doors.run[-6:].upper()}-{mark}"
    await s.doors.emit(PUBLISHER, "OrderConfirmed", order | {"reference": reference})
    s.say(f"the publisher saw SubscriptionOrdered {subscription} on Kafka and confirms it as {reference}")
    return await _subscription(s, subscription, "confirmed")


async def _declined(s: Story) -> None:
    order = await _ordered(s, s.annual, 5)
    why = "The customer's credit limit covers 4 seats."
    await s.doors.emit(PUBLISHER, "OrderDeclined", order | {"reason": why})
    failed = await _subscription(s, s.annual, "failed")
    expect(failed["failure_reason"] == why, f"the publisher's reason should be shown: {failed}")
    s.say(f"the publisher saw SubscriptionOrdered {s.annual} on Kafka and declines it: {why}")
    path = f"/subscriptions/{s.annual}/resubmit"
    again = (await s.doors.ok("marketplace", "POST", path, s.clerk, {"seats": 4}))["events"][0]["data"]
    same = again["subscription_id"] == s.annual and again["total"]["amount"] == 4 * again["plan"]["price"]["amount"]
    expect(same, f"it should be the same order, for 4 seats: {again}")
    s.say(f"{s.clerk.name} sends the same order again, corrected: 4 seats instead of 5, for {money(again['total'])}")


async def _ordered(s: Story, subscription: str, seats: int) -> Json:
    """Return the order as the publisher reads it from Kafka."""

    async def sent() -> Json | None:
        sendings = [e for e in await s.doors.events() if e.envelope.type == "SubscriptionOrdered"]
        wanted = [e for e in sendings if (e.data["subscription_id"], e.data["seats"]) == (subscription, seats)]
        return {"subscription_id": subscription, "order": wanted[-1].envelope.id} if wanted else None

    return await eventually(sent, f"the order {subscription} of {seats} seats on Kafka")


async def _subscription(s: Story, subscription: str, status: str) -> Json:
    async def look() -> Json | None:
        answer = await s.doors.call("marketplace", "GET", f"/subscriptions/{subscription}", s.clerk)
        return answer.json() if answer.status_code == 200 and answer.json()["status"] == status else None

    return await eventually(look, f"subscription {subscription} is {status}")


async def _holds(s: Story, person: Person, role: str) -> bool | None:
    answer = await s.doors.call("identity", "GET", f"/contracts/{s.contract}", s.manager)
    if answer.status_code != 200:
        return None
    held = [(each["account_id"], each["role"]) for each in answer.json()["roles"]]
    return True if (person.account_id, role) in held else None


# ── 5 ──────────────────────────────────────────────────────────────────────────────────────────────────


async def roles(s: Story) -> None:
    """The CAD manager requests the role Software Coordinator; the Contract Manager approves."""
    seat = {"account_id": s.designers[0].account_id}

    async def agreed() -> bool | None:  # entitlements has heard of the contract once the manager may look inside
        answer = await s.doors.call("entitlements", "POST", f"/pools/{s.monthly}/seats?dry_run=true", s.manager, seat)
        return True if answer.status_code == 200 else None

    await eventually(agreed, "administrative access for the Contract Manager")
    shut = await s.doors.refused("entitlements", "POST", f"/pools/{s.monthly}/seats", s.cad, seat, rule=ROLE_MISSING)
    s.say(f"{s.cad.name} can't assign a seat yet: {shut['detail']}")
    asked = {"role": "software_coordinator", "message": "I look after CAD standards and deployments."}
    await s.doors.ok("identity", "POST", f"/contracts/{s.contract}/role-requests", s.cad, asked)
    s.say(f"{s.cad.name} requests Software Coordinator")
    approval = f"/contracts/{s.contract}/role-requests/{s.cad.account_id}/approval"
    await s.doors.refused("identity", "POST", approval, s.designers[0], {"may_assign_seats": True}, rule=ROLE_MISSING)
    s.say(f"{s.designers[0].name} may not approve that")
    await s.doors.ok("identity", "POST", approval, s.manager, {"may_assign_seats": True})
    s.say(f"{s.manager.name} approves, with the right to assign seats")


# ── 6 ──────────────────────────────────────────────────────────────────────────────────────────────────


async def seats(s: Story) -> None:
    """The Software Coordinator assigns seats to the designers; one too many is refused."""
    path = f"/pools/{s.monthly}/seats"

    async def first() -> Json | None:
        answer = await s.doors.call("entitlements", "POST", path, s.cad, {"account_id": s.designers[0].account_id})
        return answer.json() if answer.status_code == 200 else None

    given = [await eventually(first, "the approval reaches entitlements")]
    for person in s.designers[1:]:
        given += [await s.doors.ok("entitlements", "POST", path, s.cad, {"email": person.email})]
    for person, answer in zip(s.designers, given, strict=True):
        s.say(f"seat {answer['events'][0]['data']['seat']} is {person.name}'s")
    full = await s.doors.refused(
        "entitlements", "POST", path, s.cad, {"account_id": s.cad.account_id}, rule=SEATS_EXHAUSTED
    )
    expect(len(full["because"]) == 3, "the refusal should name the three events that gave the seats away")
    s.say(f"a fourth is refused: {full['detail']}")


# ── 7 ──────────────────────────────────────────────────────────────────────────────────────────────────


async def update(s: Story) -> None:
    """An update and an extension are published; only this contract's administrators see them."""
    s.update_id = await published(s, "2027.1")
    s.extension_id = await published(s, "2027.1", "extension")
    s.say(f"the publisher emits UpdatePublished {s.update_id}, and {s.extension_id} for subscribers only")
    for person in (s.manager, s.cad):
        for update_id in (s.update_id, s.extension_id):
            await visible(s, person, update_id)
        s.say(f"{person.name} sees them as available")
    why = ""
    for person in (*s.designers, s.clerk):
        answer = await s.doors.call("distribution", "GET", f"/contracts/{s.contract}/updates", person)
        expect(answer.status_code in (403, 404), f"{person.name} should not see the updates: {answer.text}")
        why = answer.json()["detail"]
    s.say(f"the designers and the partner's clerk do not: {why}")


async def published(s: Story, version: str, kind: str = "update") -> str:
    """Publish an update or an extension for AutoCAD as the publisher, and return its id."""
    update_id = f"ACD-{version}-{kind}.{s.doors.run[-6:]}"
    await s.doors.emit(
        PUBLISHER,
        "UpdatePublished",
        {
            "update_id": update_id,
            "publisher": PUBLISHER,
            "product": WIZARD["product"],
            "kind": kind,
            "title": f"AutoCAD {version}",
            "version": version,
            "platform": "win64",
            "severity": "important",
            "sha256": sha256(update_id.encode()).hexdigest(),
            "size_bytes": 412_000_000,
            "location": f"https://updates.publisher.example/acd/{version}.msp",
            "published_at": datetime.now(UTC).isoformat(),
            # Stories of one system have one publisher: without it, each would supersede the others' updates.
            "component": s.doors.run,
        },
    )
    return update_id


async def visible(s: Story, person: Person, update_id: str, status: int = 200) -> None:
    """Wait until the administrator sees the update, or with status 404 no longer sees it."""

    async def shown() -> bool | None:
        path = f"/contracts/{s.contract}/updates/{PUBLISHER}/{update_id}"
        answer = await s.doors.call("distribution", "GET", path, person)
        return True if answer.status_code == status else None

    await eventually(shown, f"{update_id} is answered {status} to {person.name}")


# ── 8 ──────────────────────────────────────────────────────────────────────────────────────────────────


async def auto_renew(s: Story) -> None:
    """Auto-renew can be turned off only while no seat is assigned; the charges continue."""
    path = f"/subscriptions/{s.monthly}/disable-auto-renew"

    async def previewed() -> Json | None:
        shown = await s.doors.ok("marketplace", "GET", f"/subscriptions/{s.monthly}/cancel-preview", s.manager)
        return shown if len(shown["seats_to_unassign"]) == 4 else None

    preview = await eventually(previewed, "the cancel preview")
    owed = money(preview["still_owed"])
    s.say(f"a preview: possible until {preview['last_permitted_day']}, {owed} still owed, four seats in the way")
    await s.doors.ok("marketplace", "POST", path, s.manager, {})

    async def answered(state: str) -> Json | None:
        found = await _subscription(s, s.monthly, "confirmed")
        renew: Json = found["auto_renew"]
        done = renew["state"] == state and (state == "off" or renew.get("refused"))
        return found if done else None

    held = (await eventually(lambda: answered("on"), "the refusal"))["auto_renew"]["refused"]
    names = {person.account_id: person.name for person in (s.cad, *s.designers)}
    who = [f"seat {each['seat']} ({names[each['account_id']]})" for each in held["held"]]
    expect(len(who) == 4, f"the refusal should name four seats: {held}")
    s.say(f"refused by {held['rule']}: {held['reason']} Held: {', '.join(who)}")
    items = {"items": [{"account_id": person.account_id} for person in (s.cad, *s.designers)]}
    freed = await s.doors.ok("entitlements", "POST", f"/pools/{s.monthly}/seats/unassign/bulk", s.cad, items)
    expect(freed["accepted"] == 4, f"all four seats should be un-assigned: {freed}")
    s.say("the four seats are un-assigned, in one request with an answer for each")
    await s.doors.ok("marketplace", "POST", path, s.manager, {})
    off = await eventually(lambda: answered("off"), "auto-renew is off")
    ends = date.fromisoformat(off["term"]["ends"])
    expect(ends > datetime.now(UTC).date() + timedelta(days=360), f"the term should end in a year, not on {ends}")
    expect(0 < off["still_owed"]["amount"] < off["total"]["amount"], f"eleven instalments are owed: {off}")
    s.say(f"auto-renew is off; the subscription ends on {ends} and {money(off['still_owed'])} are still owed")
    refund = f"/subscriptions/{s.monthly}/refund"
    why = await s.doors.refused("marketplace", "POST", refund, s.clerk, {}, rule=NO_REFUNDS)
    s.say(f"a refund is refused: {why['detail']}")
    support = await s.doors.ok("marketplace", "GET", f"/subscriptions/{s.monthly}/support", s.manager)
    s.say(f"who supports whom? {support['answer']}")


async def settle() -> None:
    """Wait for the last events to reach Kafka."""
    await asyncio.sleep(0.5)
