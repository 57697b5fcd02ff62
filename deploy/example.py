"""Prepares the example organisations and their people: `python -m deploy.example`.

For installations on one machine only: everybody can read the password here. What exists already is left as it is, so
that `make up` can repeat this. Everything is done through the public routes and as the publisher's system; only the
invitations of the operator's and the publisher's people need identity's database, as they always do, and the codes that
confirm everybody's address, which are in mails that nobody reads.
"""

import asyncio
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final

from deploy import OperatorError
from deploy.cast import (
    COORDINATOR,
    CUSTOMER,
    OPERATOR,
    PARTNER,
    PASSWORD,
    PUBLISHER,
    PUBLISHERS,
    SIGN_INS,
    USERS,
    Role,
)
from deploy.invite import invite, verification
from deploy.story.doors import ZONE, Doors, Json, Person, Wrong, eventually, open_doors
from shared.days import day_of
from shared.events.identity import OrganisationKind

PRODUCT_ID: Final = "057O1-WW6525-L347"
PRODUCT: Final = "autocad-lt"
SEATS: Final = 10


async def prepare() -> None:
    """Bring about the example's people, subscription, seats, roles and update.

    Raises:
        Wrong: The system refuses something, or does not answer.
    """
    async with open_doors("example") as doors:
        operator = await _person(doors, OPERATOR, "operator", "Tenure")
        publisher = await _person(doors, PUBLISHERS, "publisher", "Autodesk", PUBLISHER)
        partner = await _account(doors, PARTNER, {"organisation": {"name": "CADworks", "kind": "partner"}})
        northhaus = {"name": "Northhaus Architects", "kind": "customer", "sandbox": True}
        manager = await _account(doors, CUSTOMER, {"organisation": northhaus})
        coordinator, *users = [await _colleague(doors, manager, role) for role in (COORDINATOR, *USERS)]
        bought = await _bought(doors, partner, manager)
        await _seated(doors, bought, manager, coordinator, users)
        await _published(doors, bought["contract_id"], manager)
        for person in (operator, publisher, partner, manager, coordinator, *users):
            await doors.call("identity", "DELETE", "/sessions/current", person)


async def _person(doors: Doors, role: Role, kind: OrganisationKind, name: str, publisher: str = "") -> Person:
    """Return a person of the operator or of a publisher, invited by who has the database."""
    person = _of(role)
    if await _signed_in(doors, person):
        return person
    return await _account(doors, role, {"invitation": await invite(kind, name, role.email, publisher)})


async def _colleague(doors: Doors, manager: Person, role: Role) -> Person:
    person = _of(role)
    if await _signed_in(doors, person):
        return person
    invitation = await doors.ok("identity", "POST", "/invitations", manager, {"email": role.email})
    return await _account(doors, role, {"invitation": invitation["invitation"]})


async def _account(doors: Doors, role: Role, joining: Json) -> Person:
    person = _of(role)
    if await _signed_in(doors, person):
        return person
    await doors.ok("identity", "POST", "/accounts", None, person.profile() | joining)
    if not await _signed_in(doors, person):
        raise Wrong(f"{person.email} should be able to sign in")
    return person


def _of(role: Role) -> Person:
    return Person(name=role.name, email=role.email, password=PASSWORD)


def _credentials(person: Person) -> Json:
    return {"email": person.email, "password": person.password}


async def _signed_in(doors: Doors, person: Person) -> bool:
    """Sign the person in, and confirm their address: nothing is mailed to another one."""
    answer = await doors.call("identity", "POST", "/sessions", None, _credentials(person))
    if answer.status_code != 200:
        return False
    person.signed_in(answer.json())
    if not (await doors.ok("identity", "GET", "/me", person))["email_verified"]:
        confirmed = {"token": await verification(person.email)}
        await doors.ok("identity", "POST", "/me/address/verification", person, confirmed)
    return True


async def _bought(doors: Doors, partner: Person, manager: Person) -> Json:
    """Return the example's subscription, ordered and confirmed, as its partner sees it."""
    await doors.ok("marketplace", "PUT", f"/partners/{partner.organisation_id}", manager, {})

    async def ordered() -> Json | None:
        query = f"/subscriptions?customer={manager.organisation_id}"
        found = (await doors.ok("marketplace", "GET", query, partner))["items"]
        return found[0] if found else None

    if (order := await ordered()) is None:
        await _order(doors, partner, manager)
        order = await eventually(ordered, "the example's order")
    subscription = order["subscription_id"]

    async def confirmed() -> Json | None:
        shown = await doors.ok("marketplace", "GET", f"/subscriptions/{subscription}", partner)
        return shown if shown["status"] != "awaiting" else None

    if order["status"] == "awaiting":
        sent = await eventually(lambda: _sending(doors, partner, subscription), "the order's sending")
        confirmation = {"subscription_id": subscription, "order": sent, "reference": "AD-EXAMPLE-1"}
        await doors.emit(PUBLISHER, "OrderConfirmed", confirmation)
    return await eventually(confirmed, "the confirmation of the example's order")


async def _order(doors: Doors, partner: Person, manager: Person) -> None:
    opened = await doors.ok("marketplace", "POST", "/carts", partner, {})
    cart = opened["events"][0]["data"]["cart_id"]
    await doors.ok("marketplace", "POST", f"/carts/{cart}/lines", partner, {"product_id": PRODUCT_ID, "seats": SEATS})
    checkout = {
        "customer": manager.organisation_id,
        "purchaser": manager.account_id,
        "starts": day_of(datetime.now(UTC), ZONE).isoformat(),
    }
    await doors.ok("marketplace", "POST", f"/carts/{cart}/checkout", partner, checkout)


async def _sending(doors: Doors, partner: Person, subscription: str) -> str | None:
    """Return the id of the event by which the order was sent, which its confirmation names."""
    history = await doors.ok("marketplace", "GET", f"/subscriptions/{subscription}/history", partner)
    sent = [each for each in history["items"] if each["type"] == "SubscriptionOrdered"]
    return str(sent[-1]["event_id"]) if sent else None


async def _seated(doors: Doors, bought: Json, manager: Person, coordinator: Person, users: list[Person]) -> None:
    """Give the users seats, the coordinator the role; the last user asks for it, too."""
    contract, pool = bought["contract_id"], f"/pools/{bought['subscription_id']}"

    async def allowed() -> bool | None:
        seat = {"account_id": users[0].account_id}
        answer = await doors.call("entitlements", "POST", f"{pool}/seats?dry_run=true", manager, seat)
        return True if answer.status_code != 403 and answer.status_code != 404 else None

    await eventually(allowed, "the Contract Manager's access to the example's seats")
    named = f"/contracts/{contract}/coordinators/{coordinator.account_id}"
    await doors.ok("identity", "PUT", named, manager, {"may_assign_seats": True})
    held = await doors.ok("entitlements", "GET", f"{pool}/seats", manager)
    holders = {each["account_id"] for each in held["items"]}
    for user in (user for user in users if user.account_id not in holders):
        await doors.ok("entitlements", "POST", f"{pool}/seats", manager, {"account_id": user.account_id})
    shown = await doors.ok("identity", "GET", f"/contracts/{contract}", manager)
    if users[-1].account_id not in {each["account_id"] for each in shown["roles"]}:
        asked = {"role": "software_coordinator", "message": "I help with the CAD standards."}
        await doors.call("identity", "POST", f"/contracts/{contract}/role-requests", users[-1], asked)


async def _published(doors: Doors, contract: str, manager: Person) -> None:
    """Publish an update of the example's product, unless it is there."""
    listed = await doors.ok("distribution", "GET", f"/contracts/{contract}/updates", manager)
    if listed["items"]:
        return
    update_id = "ALT-2027.1"
    update = {
        "update_id": update_id,
        "publisher": PUBLISHER,
        "product": PRODUCT,
        "kind": "update",
        "title": "AutoCAD LT 2027.1",
        "version": "2027.1",
        "platform": "win64",
        "severity": "important",
        "sha256": sha256(update_id.encode()).hexdigest(),
        "size_bytes": 412_000_000,
        "location": "https://updates.publisher.example/alt/2027.1.msp",
        "published_at": (datetime.now(UTC) - timedelta(seconds=1)).isoformat(),
    }
    await doors.emit(PUBLISHER, "UpdatePublished", update)

    async def shown() -> Mapping[str, object] | None:
        found = await doors.ok("distribution", "GET", f"/contracts/{contract}/updates", manager)
        return found if found["items"] else None

    await eventually(shown, "the example's update")


def main() -> int:
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        asyncio.run(prepare())
    except (Wrong, OperatorError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"The example's people can sign in: {', '.join(person.email for person in SIGN_INS)}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
