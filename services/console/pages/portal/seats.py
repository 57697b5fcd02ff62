"""Pools and seats: who holds which, assigning, taking away, and moving."""

import asyncio
from collections.abc import Sequence
from typing import Final

from pydantic import JsonValue
from starlette.responses import Response

from services.console.deeds import Deed, LinesDeed, again, carry_out, carry_out_lines
from services.console.doors import NoSuchId, path
from services.console.names import names_of
from services.console.pages.portal import files, histories
from services.console.shapes.entitlements import Holder, Holders, Pools, PoolWithHolders
from services.console.texts import marked
from services.console.visits import Visit

FILTERS: Final = ("phase", "free", "contract_id")
NOBODY_CHOSEN: Final = marked("Choose at least one person.")


async def pools(visit: Visit) -> Response:
    """List the organisation's pools of seats."""
    if visit.wants_csv:
        return await visit.export("entitlements", "/pools", "pools", *FILTERS)
    return visit.page("portal/pools.html", found=await visit.see_list("entitlements", "/pools", Pools, *FILTERS))


def _at(visit: Visit) -> str:
    return path("/pools/{id}", id=visit.id("subscription_id"))


def _back(visit: Visit) -> str:
    return path("/seats/{id}", id=visit.id("subscription_id"))


async def pool_of(visit: Visit) -> PoolWithHolders:
    """Return the pool of the page's path."""
    return await visit.see("entitlements", _at(visit), PoolWithHolders)


async def pool_page(visit: Visit) -> Response:
    """Show a pool: its seats, and who holds them."""
    if visit.wants_csv:
        return await visit.export("entitlements", f"{_at(visit)}/seats", "seats")
    pool, (shown, following) = await asyncio.gather(
        visit.see_then("entitlements", _at(visit), PoolWithHolders), _holders(visit)
    )
    if shown is None:
        shown = pool.holders
    names = await names_of(visit, [each.account_id for each in shown])
    if text := visit.listed().get("q", "").casefold():
        shown = [each for each in shown if names[each.account_id].has(text)]
    return visit.page("portal/pool.html", pool=pool, holders=shown, next=following, names=names)


async def _holders(visit: Visit) -> tuple[Sequence[Holder] | None, str | None]:
    """Return the seats that the page's address names; None where all are needed."""
    asked = visit.listed()
    if "q" in asked or visit.as_of is not None:
        return None, None
    part = await visit.see("entitlements", f"{_at(visit)}/seats", Holders, **asked)
    return part.items, part.next


async def pool_history(visit: Visit) -> Response:
    """Show who did what to a pool, when and why."""
    return await histories.show(visit, "entitlements", _at(visit), visit.texts.gettext("Seats"), _back(visit))


# ── Assigning ──────────────────────────────────────────────────────────────────────────────────────────


async def assign_page(visit: Visit) -> Response:
    """Show the form that assigns a seat by address."""
    visit.form.values = {"email": ""} | visit.form.values
    return visit.page("portal/assign.html", pool=await pool_of(visit))


async def assign(visit: Visit) -> Response:
    """Assign a seat to the person at an address."""
    texts = visit.texts
    if not visit.form.require(texts, "email"):
        return await again(visit, assign_page)
    email = visit.form["email"].strip()
    deed = Deed(
        service="entitlements",
        method="POST",
        path=f"{_at(visit)}/seats",
        body={"email": email},
        question=texts.gettext("Assign a seat?"),
        button=texts.gettext("Assign the seat"),
        says=lambda outcome: [
            texts.gettext("%(email)s gets seat %(seat)s.") % {"email": email, "seat": event.data["seat"]}
            for event in outcome.events
            if "seat" in event.data
        ],
        idle=texts.gettext("%(email)s holds a seat already.") % {"email": email},
        then=_back(visit),
        notice="seat-assigned",
    )
    return await carry_out(visit, deed, assign_page)


async def file_page(visit: Visit) -> Response:
    """Show the form that assigns seats from a file or a list."""
    visit.form.values = {"file": "", "pasted": ""} | visit.form.values
    return visit.page("portal/seats-file.html", pool=await pool_of(visit))


async def assign_file(visit: Visit) -> Response:
    """Assign seats to the people of a file, after a preview of each line."""
    texts, lines = visit.texts, files.lines_of(visit)
    if lines is None:
        return await again(visit, file_page)
    deed = LinesDeed(
        service="entitlements",
        path=f"{_at(visit)}/seats/bulk",
        lines=lines.text,
        added=lines.added,
        question=texts.gettext("Assign these seats?"),
        button=texts.gettext("Assign the seats"),
        then=_back(visit),
    )
    return await carry_out_lines(visit, deed, file_page)


async def take_several(visit: Visit) -> Response:
    """Take the seats of the chosen people away, or those of all, after a preview of each.

    Who comes from the page of auto-renew, which the seats prevented from being turned off, is taken back to it.
    """
    texts, form = visit.texts, visit.form
    if form.values.pop("all", ""):
        form.values["chosen[]"] = "\n".join(each.account_id for each in (await pool_of(visit)).holders)
    chosen = form["chosen[]"].split()
    if not chosen:
        form.faults.append(texts.gettext(NOBODY_CHOSEN))
        return await again(visit, pool_page)
    names = await names_of(visit, chosen)
    to_auto_renew = path("/subscriptions/{id}/auto-renew", id=visit.id("subscription_id"))
    deed = LinesDeed(
        service="entitlements",
        path=f"{_at(visit)}/seats/unassign/bulk",
        lines="\n".join(["account_id", *chosen]),
        shown=["", *(f"{names[each].name} {names[each].email}" for each in chosen)],
        added=1,
        question=texts.gettext("Take these seats away?"),
        button=texts.gettext("Take the seats away"),
        then=to_auto_renew if form["for"] == "auto-renew" else _back(visit),
    )
    return await carry_out_lines(visit, deed, pool_page)


# ── One seat ───────────────────────────────────────────────────────────────────────────────────────────


async def seat_page(visit: Visit) -> Response:
    """Show a seat and its user, with the ways to take it away and to move it."""
    account_id = visit.id("account_id")
    pool, names = await asyncio.gather(pool_of(visit), names_of(visit, [account_id]))
    held = next((each for each in pool.holders if each.account_id == account_id), None)
    if held is None and not names.knows(account_id):
        raise NoSuchId
    givers = await names_of(visit, [held.assigned_by]) if held else names
    visit.form.values = {"to_email": ""} | visit.form.values
    return visit.page(
        "portal/seat.html", pool=pool, held=held, named=names[account_id], account_id=account_id, givers=givers
    )


async def change_seat(visit: Visit) -> Response:
    """Take a seat away, or move it to somebody else in one step."""
    if visit.form["act"] == "move":
        return await _move(visit)
    texts, account_id = visit.texts, visit.id("account_id")
    named = (await names_of(visit, [account_id]))[account_id]
    deed = Deed(
        service="entitlements",
        method="DELETE",
        path=path("/pools/{pool}/seats/{id}", pool=visit.id("subscription_id"), id=account_id),
        question=texts.gettext("Take this seat away?"),
        button=texts.gettext("Take the seat away"),
        says=lambda _: [texts.gettext("%(name)s can't use the product any more.") % {"name": named.name}],
        then=_back(visit),
        notice="seat-taken",
    )
    return await carry_out(visit, deed, seat_page)


async def _move(visit: Visit) -> Response:
    texts, account_id = visit.texts, visit.id("account_id")
    if not visit.form.require(texts, "to_email"):
        return await again(visit, seat_page)
    email, named = visit.form["to_email"].strip(), (await names_of(visit, [account_id]))[account_id]
    body: dict[str, JsonValue] = {"account_id": account_id, "to_email": email}
    deed = Deed(
        service="entitlements",
        method="POST",
        path=f"{_at(visit)}/seats/transfer",
        body=body,
        question=texts.gettext("Move this seat?"),
        button=texts.gettext("Move the seat"),
        says=lambda _: [
            texts.gettext("%(name)s loses the seat, and %(email)s gets it, in one step.")
            % {"name": named.name, "email": email}
        ],
        then=_back(visit),
        notice="seat-moved",
    )
    return await carry_out(visit, deed, seat_page)
