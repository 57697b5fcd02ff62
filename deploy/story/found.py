"""The story's steps of what people find again, hear of, and see by their own calendar.

Each prints its results, and raises Wrong at an unexpected response.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from deploy.story.doors import Json, Person, eventually
from deploy.story.later import moved
from deploy.story.steps import ANNUAL, PASSWORD, Story, confirmed, expect, sign_up
from services.marketplace.domain.rules import PLAN_UNKNOWN
from shared.days import day_of
from shared.rules import MALFORMED

AUCKLAND: Final = "Pacific/Auckland"


# ── A seat that moves ──────────────────────────────────────────────────────────────────────────────────


async def moved_seat(s: Story) -> None:
    """A seat moves to somebody else and back, each in one step; the pool's history tells it."""
    holder, other = s.designers[0], s.manager
    before = datetime.now(UTC)
    await _transfer(s, holder, other)
    s.say(f"{s.cad.name} moves {holder.name}'s seat to {other.name}, by their addresses, in one step")
    then = await s.doors.ok("entitlements", "GET", f"/pools/{s.monthly}?as_of={_instant(before)}", s.manager)
    held = [each["account_id"] for each in then["holders"]]
    expect(holder.account_id in held and other.account_id not in held, f"it should be as before the move: {held}")
    s.say(f"asked as of a moment earlier, the pool shows {holder.name} as the holder")
    await _transfer(s, other, holder)
    path = f"/pools/{s.monthly}/history?sort=-version&limit=4"
    told = (await s.doors.ok("entitlements", "GET", path, s.manager))["items"]
    expect(all(each["actor"] == s.cad.account_id for each in told), f"the history should name who did it: {told}")
    s.say(f"and back; the history says who did it, and when: {', '.join(each['type'] for each in reversed(told))}")


async def _transfer(s: Story, giver: Person, taker: Person) -> None:
    body = {"email": giver.email, "to_email": taker.email}
    await s.doors.ok("entitlements", "POST", f"/pools/{s.monthly}/seats/transfer", s.cad, body)

    async def there() -> bool | None:
        pool = await s.doors.ok("entitlements", "GET", f"/pools/{s.monthly}", s.manager)
        held = [each["account_id"] for each in pool["holders"]]
        return True if taker.account_id in held and giver.account_id not in held else None

    await eventually(there, f"the seat is {taker.name}'s")


# ── What is found again ────────────────────────────────────────────────────────────────────────────────


async def looked_up(s: Story) -> None:
    """The clerk looks up a refusal; the manager searches a list and takes it along as CSV."""

    async def refused() -> Json | None:
        found = (await s.doors.ok("marketplace", "GET", f"/refusals?rule={PLAN_UNKNOWN}", s.clerk))["items"]
        return found[0] if found else None

    kept = await eventually(refused, "the refusal of the unknown product ID")
    s.say(f"{s.clerk.name} looks up what was refused by {kept['rule']}: {kept['reason']}")
    foreign = await s.doors.call("marketplace", "GET", f"/refusals/{kept['command_id']}", s.manager)
    expect(foreign.status_code == 404, f"another organisation should not find it: {foreign.text}")
    people = await s.doors.ok("identity", "GET", f"/people?q={s.cad.name.split()[1].lower()}", s.manager)
    expect([each["account_id"] for each in people["items"]] == [s.cad.account_id], f"one is searched for: {people}")
    file = await s.doors.call("entitlements", "GET", f"/pools/{s.monthly}/seats?format=csv", s.manager)
    lines = file.text.strip().splitlines()
    expect(file.headers["content-type"].startswith("text/csv") and len(lines) == 5, f"four seats, as CSV: {file.text}")
    s.say(f"{s.manager.name} finds {s.cad.name} by name, and takes the pool's {len(lines) - 1} seats along as CSV")
    await s.doors.refused("marketplace", "GET", "/subscriptions?colour=red", s.clerk, None, rule=MALFORMED)
    dry = f"/subscriptions/{s.annual}/disable-auto-renew?dryRun=true"
    await s.doors.refused("marketplace", "POST", dry, s.manager, {}, rule=MALFORMED)
    s.say("a list with ?colour=red is refused, and so is a command with ?dryRun=true: neither is ignored")


# ── What people hear of ────────────────────────────────────────────────────────────────────────────────


async def told(s: Story) -> None:
    """The Contract Manager's inbox has the reminders with their cancel-by date, each once."""

    async def reminders() -> list[Json] | None:
        path = "/me/notifications?kind=renewal-reminder&limit=100"
        found: list[Json] = (await s.doors.ok("identity", "GET", path, s.cad))["items"]
        ours = [each for each in found if each["subscription_id"] == s.annual]
        return ours if len(ours) >= 3 else None

    found = await eventually(reminders, "three reminders in the inbox")
    expect(len(found) == 3, f"each reminder should be told once: {[each['title'] for each in found]}")
    for each in reversed(found):
        s.say(f"{s.cad.name}'s inbox: {each['title']}")
    s.say(f"the last one says: {' '.join(found[0]['text'].split())}")
    unread = (await s.doors.ok("identity", "GET", "/me/notifications/unread", s.cad))["unread"]
    ids = [each["notification_id"] for each in found]
    read = await s.doors.call("identity", "POST", "/me/notifications/read", s.cad, {"notification_ids": ids})
    expect(read.status_code == 204, f"they should be marked as read: {read.text}")
    left = (await s.doors.ok("identity", "GET", "/me/notifications/unread", s.cad))["unread"]
    expect(left == unread - 3 or unread == 100, f"three should be read now: {unread}, then {left}")


# ── Another calendar ───────────────────────────────────────────────────────────────────────────────────


async def far_away(s: Story) -> None:
    """A customer in Auckland: a term begins at midnight there, not here."""
    run = s.doors.run.removeprefix("story-")
    aroha = Person(name="Aroha Ngata", email=f"aroha.{run}@kauri.example", password=PASSWORD)
    kauri = {"name": f"Kauri Studio {run}", "kind": "customer", "sandbox": True}
    await sign_up(s, aroha, {"organisation": kauri, "country": "NZ", "time_zone": AUCKLAND})
    await s.doors.ok("marketplace", "PUT", f"/partners/{s.clerk.organisation_id}", aroha, {})
    starts = day_of(datetime.now(UTC), AUCKLAND) + timedelta(days=3)
    subscription = await _ordered_for(s, aroha, starts)
    shown = await confirmed(s, subscription, 2, "NZ")
    expect(shown["term"]["starts"] == starts.isoformat(), f"the term should start on {starts}: {shown['term']}")
    expect(shown["time_zone"] == AUCKLAND, f"the order should have fixed the customer's zone: {shown}")
    midnight = datetime(starts.year, starts.month, starts.day, tzinfo=ZoneInfo(AUCKLAND)).astimezone(UTC)
    await _phase(s, aroha, subscription, midnight - timedelta(hours=1), "upcoming")
    await _phase(s, aroha, subscription, midnight, "active")
    s.say(f"an hour before midnight in Auckland ({midnight:%d %B %H:%M} UTC) it is upcoming, at midnight active")


async def _ordered_for(s: Story, who: Person, starts: date) -> str:
    opened = await s.doors.ok("marketplace", "POST", "/carts", s.clerk, {})
    cart = opened["events"][0]["data"]["cart_id"]
    await s.doors.ok("marketplace", "POST", f"/carts/{cart}/lines", s.clerk, {"product_id": ANNUAL, "seats": 2})
    body = {"customer": who.organisation_id, "purchaser": who.account_id, "starts": starts.isoformat()}
    out = await s.doors.ok("marketplace", "POST", f"/carts/{cart}/checkout", s.clerk, body)
    s.say(f"{s.clerk.name} orders two seats for {who.name}, from {starts} on")
    return str(out["events"][0]["data"]["lines"][0]["subscription_id"])


async def _phase(s: Story, who: Person, subscription: str, at: datetime, wanted: str) -> None:
    await moved(s, at, who)

    async def there() -> bool | None:
        answer = await s.doors.call("entitlements", "GET", f"/pools/{subscription}", who)
        return True if answer.status_code == 200 and answer.json()["phase"] == wanted else None

    await eventually(there, f"the subscription is {wanted} at {at}")


def _instant(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
