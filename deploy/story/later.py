"""The story's later steps: more seats, credits, a rollout, a leaving colleague, and a year that passes."""

from datetime import UTC, date, datetime, timedelta
from functools import partial
from hashlib import sha256
from typing import Final

from deploy.story.doors import Json, Person, eventually
from deploy.story.steps import AUTOCAD, Story, expect, money

PUBLISHER: Final = "autodesk"

# ── More seats ─────────────────────────────────────────────────────────────────────────────────────────


async def more_seats(s: Story) -> None:
    """The partner adds a seat at once; a dry run shows its price first"""
    path = f"/subscriptions/{s.monthly}/seats"
    would = await s.doors.ok("marketplace", "PUT", f"{path}?dry_run=true", s.clerk, {"seats": 4})
    price = would["events"][0]["data"]["instalment"]["amount"]
    s.say(f"a dry run says that one more seat costs {money(price)} up to the term's end; nothing has happened yet")
    added = await s.doors.ok("marketplace", "PUT", path, s.clerk, {"seats": 4})
    expect(added["events"][0]["data"]["instalment"]["amount"] == price, "the price should be the one of the dry run")
    seat = {"account_id": s.cad.account_id}

    async def given() -> Json | None:
        answer = await s.doors.call("entitlements", "POST", f"/pools/{s.monthly}/seats", s.cad, seat)
        return answer.json() if answer.status_code == 200 else None

    await eventually(given, "the pool has grown")
    s.say(f"the pool has four seats, and the fourth is {s.cad.name}'s")


async def credits(s: Story) -> None:
    """The publisher sells cloud credits; a user's own are spent first, then the contract's"""
    path = f"/contracts/{s.contract}/credits"
    await s.doors.ok("entitlements", "GET", path, s.designers[0])  # credits of a contract that it doesn't know are lost
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
        "entitlements", "POST", f"{path}/consumptions", s.designers[0], beyond, rule="credits-exhausted"
    )
    s.say(f"7 more are refused: {refused['detail']}")


# ── What reaches the desktops ──────────────────────────────────────────────────────────────────────────


async def rollout(s: Story) -> None:
    """The update is approved in two phases; the first desktop has it before the others are offered it"""
    pilots = await s.doors.ok("distribution", "POST", f"/contracts/{s.contract}/groups", s.cad, {"name": "pilots"})
    group = pilots["events"][0]["data"]["group_id"]
    member = {"account_id": s.designers[0].account_id}
    users = f"/contracts/{s.contract}/groups/{group}/users"
    await s.doors.ok("distribution", "POST", users, s.cad, member)
    for person in (*s.designers[1:], s.cad):  # a phase is passed by those who are known to hold a seat
        await s.doors.ok("distribution", "POST", f"{users}?dry_run=true", s.cad, {"account_id": person.account_id})
    phases = {"groups": [group, "default"], "phases": [
        {"groups": [group], "success_percent": 100, "error_percent": 50},
        {"groups": ["default"], "success_percent": 90, "error_percent": 50},
    ]}  # fmt: skip
    approval = f"/contracts/{s.contract}/updates/{PUBLISHER}/{s.update_id}/approval"

    async def approved() -> Json | None:  # a fleet is offered what was published a moment later
        answer = await s.doors.call("distribution", "POST", approval, s.cad, phases)
        return answer.json() if answer.status_code == 200 else None

    await eventually(approved, "the update can be approved")
    s.say(f"{s.cad.name} approves it: {s.designers[0].name} first, as a pilot, then everybody")

    async def offered(person: Person) -> Json | None:
        shown = await s.doors.ok("distribution", "GET", "/me/updates", person)
        return next((item for item in shown["items"] if item["update_id"] == s.update_id), None)

    offer = await eventually(lambda: offered(s.designers[0]), "the pilot is offered the update")
    expect(await offered(s.designers[1]) is None, "nobody else should be offered it yet")
    done = {"rollout_id": offer["rollout_id"], "version": offer["version"], "succeeded": True}
    await s.doors.ok("distribution", "POST", "/me/installs", s.designers[0], done | {"machine": "pilot-1"})
    s.say("the pilot's desktop reports success: the next phase begins")
    for number, person in enumerate((*s.designers[1:], s.cad)):
        await eventually(partial(offered, person), f"{person.name} is offered the update")
        await s.doors.ok("distribution", "POST", "/me/installs", person, done | {"machine": f"desk-{number}"})

    async def completed() -> Json | None:
        path = f"/contracts/{s.contract}/rollouts/{offer['rollout_id']}"
        shown = await s.doors.ok("distribution", "GET", path, s.cad)
        return shown if shown["status"] == "completed" else None

    await eventually(completed, "the rollout is completed")
    s.say("all four desktops have it: the rollout is completed")


# ── People ─────────────────────────────────────────────────────────────────────────────────────────────


async def leaving(s: Story) -> None:
    """A designer leaves and is forgotten; the Contract Manager hands the contract over"""
    gone = s.designers[-1]
    await s.doors.ok("identity", "DELETE", "/me", gone)

    async def freed() -> bool | None:
        pool = await s.doors.ok("entitlements", "GET", f"/pools/{s.monthly}", s.manager)
        return True if gone.account_id not in [h["account_id"] for h in pool["holders"]] else None

    await eventually(freed, "the leaver's seat is free")
    body = {"email": gone.email, "password": gone.password}
    await s.doors.refused("identity", "POST", "/sessions", None, body, rule="sign-in-failed")
    s.say(f"{gone.name} closes the account: the seat is free, and nobody can read name or address any more")
    shut = await s.doors.refused("identity", "DELETE", "/me", s.manager, None, rule="still-contract-manager")
    s.say(f"{s.manager.name} can't leave yet: {shut['detail']} {shut['remedy']}")
    await s.doors.ok("identity", "POST", f"/contracts/{s.contract}/handover", s.manager, {"to": s.cad.account_id})
    s.say(f"in one decision {s.cad.name} becomes Contract Manager and {s.manager.name} is it no longer")


# ── A year ─────────────────────────────────────────────────────────────────────────────────────────────


async def moved(s: Story, to: date) -> None:
    """The customer's clock to noon of a day; the other services know it a moment later."""
    noon = datetime(to.year, to.month, to.day, 12, tzinfo=UTC)
    await s.doors.ok("identity", "POST", "/clock", s.manager, {"to": noon.isoformat()})

    async def there(service: str) -> bool | None:
        shown = await s.doors.ok(service, "GET", "/clock", s.manager)
        return True if datetime.fromisoformat(shown["now"]) >= noon else None

    for service in ("marketplace", "entitlements", "distribution"):
        await eventually(partial(there, service), f"{service} knows the time")


async def a_year(s: Story) -> None:
    """A year passes by the customer's own clock: reminders, a renewal at a new price, an end, and what is left after"""
    ends = date.fromisoformat((await _shown(s, s.autocad))["term"]["ends"])
    price = await _new_price(s, ends + timedelta(days=1))
    await moved(s, ends - timedelta(days=20))
    owed = (await _shown(s, s.monthly))["still_owed"]["amount"]
    expect(owed == 0, f"by the customer's clock every instalment is due, yet {owed} minor units read as still owed")

    async def reminded() -> Json | None:
        shown = await _shown(s, s.autocad)
        return shown if shown["auto_renew"]["reminded"] == [90, 60, 30] else None

    by = (await eventually(reminded, "the reminders"))["auto_renew"]["cancel_by"]["last_day"]
    s.say(f"it is {ends - timedelta(days=20)}, three reminders are out: {AUTOCAD} renews unless turned off until {by}")
    await moved(s, ends + timedelta(days=3))

    async def renewed() -> Json | None:
        shown = await _shown(s, s.autocad)
        return shown if shown["term"]["number"] == 2 else None

    shown = await eventually(renewed, "the renewal")
    term, total = shown["term"], shown["total"]
    s.say(f"it is {ends + timedelta(days=3)}: AutoCAD has renewed, from {term['starts']} to {term['ends']}")
    expect(total["amount"] == price["amount"] * shown["seats"], f"the renewal should cost {price} a seat, not {total}")
    s.say(f"{shown['seats']} seats at the price announced for that day cost {money(total)}")

    async def phase(wanted: str) -> Json | None:
        pool = await s.doors.ok("entitlements", "GET", f"/pools/{s.monthly}", s.manager)
        return pool if pool["phase"] == wanted else None

    expired = await eventually(lambda: phase("expired"), "the subscription that was turned off is over")
    s.say(f"the monthly one has expired; its seats can be used until {expired['until']}")
    for days, wanted in ((20, "suspended"), (60, "ended")):
        await moved(s, ends + timedelta(days=days))
        await eventually(partial(phase, wanted), f"the subscription is {wanted}")
        s.say(f"it is {ends + timedelta(days=days)}: the monthly one is {wanted}")


async def _new_price(s: Story, first: date) -> Json:
    """Announced by the publisher for the renewal's first day; of this run alone, so that it is told from another's."""
    price = {"amount": 240_000 + int(sha256(s.doors.run.encode()).hexdigest(), 16) % 10_000, "currency": "EUR"}
    said = {"product_id": AUTOCAD, "publisher": PUBLISHER, "price": price, "valid_from": first.isoformat()}
    await s.doors.emit(PUBLISHER, "PlanPriceAnnounced", said)

    async def recorded() -> bool | None:
        announced = [e for e in await s.doors.events() if e.of.type == "PlanPriceAnnounced" and e.of.version]
        return True if announced else None

    await eventually(recorded, "the new price is recorded")
    s.say(f"the publisher announces that a seat of {AUTOCAD} costs {money(price)} from {first} on")
    return price


async def _shown(s: Story, subscription: str) -> Json:
    return await s.doors.ok("marketplace", "GET", f"/subscriptions/{subscription}", s.clerk)
