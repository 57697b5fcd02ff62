"""The story's later steps: seats, credits, rollouts, a lost CSN, a leaver, a year."""

from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from hashlib import sha256
from typing import Final
from zoneinfo import ZoneInfo

from deploy.story.doors import Json, Person, eventually
from deploy.story.steps import ANNUAL, PUBLISHER, Story, expect, money, published, visible
from services.entitlements.domain.rules import CREDITS_EXHAUSTED
from services.identity.domain.rules import SIGN_IN_FAILED, STILL_CONTRACT_MANAGER
from shared.services import SERVICES

BERLIN: Final = ZoneInfo("Europe/Berlin")

# ── More seats ─────────────────────────────────────────────────────────────────────────────────────────


async def more_seats(s: Story) -> None:
    """The Contract Manager asks for a seat; the partner confirms it, after a dry run."""
    requests = f"/subscriptions/{s.monthly}/seats-requests"
    asked = await s.doors.ok("marketplace", "POST", requests, s.manager, {"seats": 4})
    s.say(f"{s.manager.name} asks for a fourth seat")

    async def waiting() -> Json | None:
        shown = await s.doors.ok("marketplace", "GET", "/seats-requests?status=open", s.clerk)
        return next((each for each in shown["items"] if each["request"] == asked["events"][0]["id"]), None)

    request = await eventually(waiting, "the request for seats")
    expect((request["seats_now"], request["seats"]) == (3, 4), f"it should be for a fourth seat: {request}")
    path = f"{requests}/{request['request']}/confirmation"
    would = await s.doors.ok("marketplace", "POST", f"{path}?dry_run=true", s.clerk, {})
    price = would["events"][0]["data"]["instalment"]["amount"]
    s.say(f"a dry run: one more seat costs {money(price)} up to the term's end; nothing has changed yet")
    added = await s.doors.ok("marketplace", "POST", path, s.clerk, {})
    expect(added["events"][0]["data"]["instalment"]["amount"] == price, "the price should be the one of the dry run")
    seat = {"account_id": s.cad.account_id}

    async def given() -> Json | None:
        answer = await s.doors.call("entitlements", "POST", f"/pools/{s.monthly}/seats", s.cad, seat)
        return answer.json() if answer.status_code == 200 else None

    await eventually(given, "the pool has grown")
    s.say(f"the pool has four seats, and the fourth is {s.cad.name}'s")


async def credits(s: Story) -> None:
    """The publisher sells cloud credits; a user's own are spent before the contract's."""
    path = f"/contracts/{s.contract}/credits"
    await s.doors.ok(
        "entitlements", "GET", path, s.designers[0]
    )  # wait until it knows the contract: credits of an unknown one are lost
    for grant, account in (("pool", None), ("own", s.designers[0].account_id)):
        sold = {"contract_id": s.contract, "grant_id": f"{grant}-{s.doors.run}", "amount": 10, "account_id": account}
        await s.doors.emit(PUBLISHER, "CreditsPurchased", sold)

    async def balance(wanted: int) -> Json | None:
        shown = await s.doors.ok("entitlements", "GET", path, s.designers[0])
        return shown if shown["balance"] == wanted else None

    await eventually(lambda: balance(20), "the credits are there")
    spend = {"consumption_id": f"render-{s.doors.run}", "amount": 14, "purpose": "rendering"}
    await s.doors.ok("entitlements", "POST", f"{path}/consumptions", s.designers[0], spend)
    again = await s.doors.ok("entitlements", "POST", f"{path}/consumptions", s.designers[0], spend)
    expect(not again["events"], "the same consumption should be spent once")
    left = await eventually(lambda: balance(6), "fourteen credits are spent, once")
    expect(left["individual"] == {}, "the designer's own credits should be spent first")
    s.say("10 of the contract's and 10 of one designer's own; 14 are spent on rendering: 6 of the contract's are left")
    beyond = spend | {"consumption_id": f"more-{s.doors.run}", "amount": 7}
    refused = await s.doors.refused(
        "entitlements", "POST", f"{path}/consumptions", s.designers[0], beyond, rule=CREDITS_EXHAUSTED
    )
    s.say(f"7 more are refused: {refused['detail']}")


# ── What reaches the desktops ──────────────────────────────────────────────────────────────────────────


async def rollout(s: Story) -> None:
    """The update is rolled out in two phases; the first desktop installs it before the others."""
    pilots = await s.doors.ok("distribution", "POST", f"/contracts/{s.contract}/groups", s.cad, {"name": "pilots"})
    group = pilots["events"][0]["data"]["group_id"]
    member = {"account_id": s.designers[0].account_id}
    users = f"/contracts/{s.contract}/groups/{group}/users"
    await s.doors.ok("distribution", "POST", users, s.cad, member)
    for person in (
        *s.designers[1:],
        s.cad,
    ):  # wait until distribution knows their seats: a phase without users is passed
        await s.doors.ok("distribution", "POST", f"{users}?dry_run=true", s.cad, {"account_id": person.account_id})
    phases = {
        "groups": [group, "default"],
        "phases": [
            {"groups": [group], "success_percent": 100, "error_percent": 50},
            {"groups": ["default"], "success_percent": 90, "error_percent": 50},
        ],
    }
    approval = f"/contracts/{s.contract}/updates/{PUBLISHER}/{s.update_id}/approval"
    await s.doors.ok("distribution", "POST", approval, s.cad, phases)
    s.say(f"{s.cad.name} approves it: {s.designers[0].name} first, as a pilot, then everybody")
    offer = await _offered(s, s.update_id, s.designers[0])
    expect(not await _offers(s, s.update_id, s.designers[1]), "nobody else should be offered it yet")
    done = {"rollout_id": offer["rollout_id"], "version": offer["version"], "succeeded": True}
    await s.doors.ok("distribution", "POST", "/me/installs", s.designers[0], done | {"machine": "pilot-1"})
    s.say("the pilot's desktop reports success: the next phase begins")
    for number, person in enumerate((*s.designers[1:], s.cad)):
        await _offered(s, s.update_id, person)
        await s.doors.ok("distribution", "POST", "/me/installs", person, done | {"machine": f"desk-{number}"})

    async def completed() -> Json | None:
        path = f"/contracts/{s.contract}/rollouts/{offer['rollout_id']}"
        shown = await s.doors.ok("distribution", "GET", path, s.cad)
        return shown if shown["status"] == "completed" else None

    await eventually(completed, "the rollout is completed")
    s.say("all four desktops have it: the rollout is completed")


async def _offers(s: Story, update_id: str, *people: Person) -> list[Json]:
    """Return this update's offers to them; outside of a maintenance window there are none."""
    shown = [await s.doors.ok("distribution", "GET", "/me/updates", person) for person in people]
    return [item for offers in shown for item in offers["items"] if item["update_id"] == update_id]


async def _offered(s: Story, update_id: str, *people: Person) -> Json:
    """Wait until all of them are offered the update, and return the offer."""

    async def to_all() -> Json | None:
        offers = await _offers(s, update_id, *people)
        return offers[0] if len(offers) == len(people) else None

    return await eventually(to_all, f"{', '.join(person.name for person in people)} should be offered {update_id}")


async def _offered_no_more(s: Story, update_id: str, *people: Person) -> None:
    async def to_nobody() -> bool | None:
        return None if await _offers(s, update_id, *people) else True

    await eventually(to_nobody, f"nobody of {', '.join(person.name for person in people)} is offered {update_id}")


async def lost_standing(s: Story) -> None:
    """The publisher revokes the CSN, and the update right is lost; a new CSN restores it."""
    users = (*s.designers, s.cad)
    await _rights(s, updates=True)
    standing = {"organisation_id": s.clerk.organisation_id, "publisher": PUBLISHER}
    await s.doors.emit(PUBLISHER, "CsnRevoked", standing | {"csn": s.csn, "reason": "audit"})
    await _rights(s, updates=False)
    await _offered_no_more(s, s.update_id, *users)
    s.say(f"CsnRevoked {s.csn}: the seats stay, without updates, and no desktop is offered the one that is rolled out")
    s.csn = f"52{s.csn[2:]}"
    await s.doors.emit(PUBLISHER, "CsnIssued", standing | {"csn": s.csn})
    await _rights(s, updates=True)
    await _offered(s, s.update_id, *users)
    s.say(f"CsnIssued {s.csn}: the right is back, and all four are offered the update again")


async def _rights(s: Story, *, updates: bool) -> None:
    async def right(subscription: str) -> Json | None:
        pool = await s.doors.ok("entitlements", "GET", f"/pools/{subscription}", s.manager)
        return pool if pool["updates"] is updates else None

    for subscription in s.orders:
        await eventually(partial(right, subscription), f"the seats of {subscription}, updates: {updates}")


async def maintenance(s: Story) -> None:
    """A newer version is held, then scheduled for a maintenance window; its rollout pauses."""
    others = (*s.designers[1:], s.cad)
    next_id = await published(s, "2027.2")
    await visible(s, s.cad, s.update_id, 404)
    await _offered_no_more(s, s.update_id, s.designers[0], *others)
    s.say(f"the publisher emits UpdatePublished {next_id}: it supersedes {s.update_id}, whose rollout ends")
    path, groups = f"/contracts/{s.contract}/updates/{PUBLISHER}/{next_id}", {"groups": ["default"]}
    broken = {"reason": "it breaks our title-block plug-in"}
    await s.doors.ok("distribution", "POST", f"{path}/hold", s.cad, groups | broken)

    async def held() -> Json | None:
        shown = await s.doors.ok("distribution", "GET", f"/contracts/{s.contract}/decisions", s.cad)
        return next((d for d in shown["items"] if (d["update_id"], d["decision"]) == (next_id, "held")), None)

    s.say(f"{s.cad.name} holds {next_id} for all but the pilot: {(await eventually(held, 'the hold'))['reason']}")
    opens = datetime.combine(datetime.now(BERLIN).date() + timedelta(days=3), time(22), BERLIN)
    window = {"weekday": f"{opens:%A}".lower(), "starts": "22:00", "minutes": 240, "time_zone": BERLIN.key}
    policy = {"cadence": "off", "windows": [window]}
    await s.doors.ok("distribution", "PUT", f"/contracts/{s.contract}/groups/default/policy", s.cad, policy)
    await s.doors.ok("distribution", "POST", f"{path}/schedule", s.cad, groups | {"starts_at": opens.isoformat()})
    expect(not await _offers(s, next_id, *others), "what is scheduled should not be offered yet")
    s.say(f"corrected, it is scheduled for the maintenance window of {opens:%A %H:%M}; until then nothing is offered")
    await moved(s, opens + timedelta(minutes=30))
    offer = await _offered(s, next_id, *others)
    report = {"rollout_id": offer["rollout_id"], "version": offer["version"], "machine": "desk-0", "succeeded": False}
    await s.doors.ok("distribution", "POST", "/me/installs", others[0], report | {"error": "disk full"})
    rollout = f"/contracts/{s.contract}/rollouts/{offer['rollout_id']}"
    await _offered_no_more(s, next_id, *others)
    paused = await s.doors.ok("distribution", "GET", rollout, s.cad)
    expect(paused["status"] == "paused", f"a third of the users failed, the rollout should be paused: {paused}")
    s.say(f"{opens + timedelta(minutes=30):%A %H:%M}, it is rolled out, and pauses: {paused['reason']}")
    await s.doors.ok("distribution", "POST", f"{rollout}/retry", s.cad, {})
    await _offered(s, next_id, *others)
    s.say(f"{s.cad.name} retries the failed: it goes on, and {others[0].name} is offered it again")
    broken_disk = {"account_id": others[0].account_id, "reason": "the disk is being replaced"}
    await s.doors.ok("distribution", "POST", f"{rollout}/exclusions", s.cad, broken_disk)
    await _offered_no_more(s, next_id, others[0])
    s.say(f"and excludes {others[0].name} until the disk is replaced")
    s.update_id = next_id


# ── People ─────────────────────────────────────────────────────────────────────────────────────────────


async def leaving(s: Story) -> None:
    """A designer leaves, and personal data is erased; the contract is handed over."""
    gone = s.designers[-1]
    await s.doors.ok("identity", "DELETE", "/me", gone)

    async def freed() -> bool | None:
        pool = await s.doors.ok("entitlements", "GET", f"/pools/{s.monthly}", s.manager)
        return True if gone.account_id not in [h["account_id"] for h in pool["holders"]] else None

    await eventually(freed, "the leaver's seat is free")
    body = {"email": gone.email, "password": gone.password}
    await s.doors.refused("identity", "POST", "/sessions", None, body, rule=SIGN_IN_FAILED)
    s.say(f"{gone.name} closes the account: the seat is free, and nobody can read name or address any more")
    shut = await s.doors.refused("identity", "DELETE", "/me", s.manager, None, rule=STILL_CONTRACT_MANAGER)
    s.say(f"{s.manager.name} can't leave yet: {shut['detail']} {shut['remedy']}")
    await s.doors.ok("identity", "POST", f"/contracts/{s.contract}/handover", s.manager, {"to": s.cad.account_id})
    s.say(f"in one decision {s.cad.name} becomes Contract Manager and {s.manager.name} is it no longer")


# ── A year ─────────────────────────────────────────────────────────────────────────────────────────────


async def moved(s: Story, to: date, who: Person | None = None) -> None:
    """Move the clock of a customer, by default the first, and wait for all services.

    Args:
        to: An instant, or a day, whose noon in UTC is meant.
    """
    mover = who or s.manager
    then = to if isinstance(to, datetime) else datetime(to.year, to.month, to.day, 12, tzinfo=UTC)
    moved = await s.doors.ok("identity", "POST", "/clock", mover, {"to": then.isoformat()})

    async def there(service: str) -> bool | None:
        shown = await s.doors.ok(service, "GET", "/clock", mover)
        return True if datetime.fromisoformat(shown["now"]) >= then else None

    for service in moved["waiting_for"]:  # services that did not follow in time
        await eventually(partial(there, service), f"{service} knows the time")


async def marked(s: Story) -> None:
    """Every answer to a sandbox's people and every event of the sandbox says so."""
    for service in SERVICES:
        answer = await s.doors.call(service, "GET", "/clock", s.manager)
        expect(answer.headers.get("tenure-sandbox") == "true", f"{service} should say that this is a sandbox")
        answer = await s.doors.call(service, "GET", "/clock", s.clerk)
        expect("tenure-sandbox" not in answer.headers, f"{service} takes the live partner for a sandbox")
    ours = {s.manager.organisation_id: True, s.clerk.organisation_id: False}
    events = [each.envelope for each in await s.doors.events() if each.envelope.version is not None]
    seen = [each for each in events if each.tenant in ours]  # an update is offered to other customers, too
    wrong = [f"{each.type} of {each.stream}" for each in seen if each.sandbox != ours[each.tenant]]
    expect(not wrong, f"the events of the sandbox should be marked, and no others: {wrong}")
    number = sum(each.sandbox for each in seen)
    s.say(f"{number} of {len(seen)} events are {s.manager.name}'s sandbox's, each marked as such; no other event is")


async def a_year(s: Story) -> None:
    """A year by the customer's clock: reminders, a renewal at a new price, and an end."""
    ends = date.fromisoformat((await _shown(s, s.annual))["term"]["ends"])
    price = await _new_price(s, ends + timedelta(days=1))
    fewer = await s.doors.ok("marketplace", "PUT", f"/subscriptions/{s.annual}/seats", s.clerk, {"seats": 3})
    begins = fewer["events"][0]["data"]["takes_effect"]
    expect((await _shown(s, s.annual))["seats"] == 4, "the seats of the running term should stay")
    s.say(f"one seat fewer of {ANNUAL}: the four stay to the term's end, three begin on {begins}")
    await moved(s, ends - timedelta(days=20))
    owed = (await _shown(s, s.monthly))["still_owed"]["amount"]
    expect(owed == 0, f"by the customer's clock every instalment is due, yet {owed} minor units read as still owed")

    async def reminded() -> Json | None:
        shown = await _shown(s, s.annual)
        return shown if shown["auto_renew"]["reminded"] == [90, 60, 30] else None

    by = (await eventually(reminded, "the reminders"))["auto_renew"]["cancel_by"]["last_day"]
    s.say(f"it is {ends - timedelta(days=20)}, three reminders are out: {ANNUAL} renews unless turned off until {by}")
    last = await _too_late(s, date.fromisoformat(by) + timedelta(days=1), price)
    await moved(s, ends + timedelta(days=3))

    async def renewed() -> Json | None:
        shown = await _shown(s, s.annual)
        return shown if shown["term"]["number"] == 2 else None

    shown = await eventually(renewed, "the renewal")
    term, total = shown["term"], shown["total"]
    expect(shown["seats"] == 3 and term["ends"] == last, f"three seats up to {last} should have renewed: {shown}")
    s.say(f"it is {ends + timedelta(days=3)}: AutoCAD LT has renewed, from {term['starts']} to {term['ends']}")
    expect(total["amount"] == price["amount"] * shown["seats"], f"the renewal should cost {price} a seat, not {total}")
    s.say(f"{shown['seats']} seats at the price announced for that day cost {money(total)}")

    async def phase(wanted: str) -> Json | None:
        pool = await s.doors.ok("entitlements", "GET", f"/pools/{s.monthly}", s.manager)
        return pool if pool["phase"] == wanted else None

    expired = await eventually(lambda: phase("expired"), "the subscription that was turned off is over")
    s.say(f"the monthly one has expired; its seats can be used until {expired['until']}")
    await visible(s, s.cad, s.extension_id, 404)
    await visible(s, s.cad, s.update_id)
    s.say(f"{s.cad.name} still sees the update {s.update_id}; the extension is gone with the subscription")
    for days, wanted in ((20, "suspended"), (60, "ended")):
        await moved(s, ends + timedelta(days=days))
        await eventually(partial(phase, wanted), f"the subscription is {wanted}")
        s.say(f"it is {ends + timedelta(days=days)}: the monthly one is {wanted}")


async def _too_late(s: Story, day: date, price: Json) -> str:
    """Turn auto-renew off after its deadline; return the last day of the following term."""
    await moved(s, day)
    path = f"/subscriptions/{s.annual}"
    preview = await s.doors.ok("marketplace", "GET", f"{path}/cancel-preview", s.clerk)
    owed = preview["next_term"]["amount"]
    expect(not preview["in_time"] and owed == 3 * price["amount"], f"three seats more should be owed: {preview}")
    asked = await s.doors.ok("marketplace", "POST", f"{path}/disable-auto-renew", s.clerk, {})
    expect(asked["events"][0]["data"]["binds"] == "next_term", f"it should be too late for this term: {asked}")

    async def off() -> Json | None:
        renew: Json = (await _shown(s, s.annual))["auto_renew"]
        return renew if renew["state"] == "off" else None

    last = str((await eventually(off, "auto-renew is off, for the next term"))["ends"])
    s.say(f"it is {day}, too late to turn it off for this term: it renews once more and ends on {last}")
    return last


async def _new_price(s: Story, first: date) -> Json:
    """Announce a price for the renewal's first day, one that differs from other runs' prices."""
    price = {"amount": 60_000 + int(sha256(s.doors.run.encode()).hexdigest(), 16) % 10_000, "currency": "EUR"}
    announcement = {"product_id": ANNUAL, "publisher": PUBLISHER, "price": price, "valid_from": first.isoformat()}
    await s.doors.emit(PUBLISHER, "PlanPriceAnnounced", announcement)

    async def recorded() -> bool | None:
        announced = [
            e for e in await s.doors.events() if e.envelope.type == "PlanPriceAnnounced" and e.envelope.version
        ]
        return True if announced else None

    await eventually(recorded, "the new price is recorded")
    s.say(f"the publisher announces that a seat of {ANNUAL} costs {money(price)} from {first} on")
    return price


async def _shown(s: Story, subscription: str) -> Json:
    return await s.doors.ok("marketplace", "GET", f"/subscriptions/{subscription}", s.clerk)
