"""Cloud credits: the balance, the ledger as a chart and as a list, and spending."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Final
from uuid import uuid4

from pydantic import JsonValue
from starlette.responses import Response

from services.console.deeds import DRY_RUN, Deed, again, carry_out
from services.console.doors import Refused, path
from services.console.forms import whole_number, words_of
from services.console.names import names_of
from services.console.pages.portal.subscriptions import NOT_A_NUMBER
from services.console.shapes.entitlements import Credits, Entries, Entry, MySeats
from services.console.shapes.identity import Contracts, ContractSummary
from services.console.visits import Visit

CONTRACTS: Final = 20
"""The number of contracts whose credits are shown side by side."""
IN_CHART: Final = "200"
"""The number of latest entries that the chart shows."""
WIDTH, HEIGHT, LEFT, TOP = 640, 180, 8, 12
"""The chart's size, and the space around its line, in its own units."""

# ── Balances and the ledger ────────────────────────────────────────────────────────────────────────────


async def all_credits(visit: Visit) -> Response:
    """Show the balance of each contract's credits."""
    contracts = await visit.see("identity", "/contracts", Contracts, limit=str(CONTRACTS))
    found = await asyncio.gather(*(_balance(visit, each) for each in contracts.items))
    shown = [(each, balance) for each, balance in zip(contracts.items, found, strict=True) if balance is not None]
    return visit.page("portal/all-credits.html", shown=shown)


async def _balance(visit: Visit, contract: ContractSummary) -> Credits | None:
    try:
        return await visit.see("entitlements", _at(contract.contract_id), Credits, limit="1")
    except Refused:
        return None


def _at(contract_id: str) -> str:
    return path("/contracts/{id}/credits", id=contract_id)


async def credits_page(visit: Visit) -> Response:
    """Show a contract's credits: the balance, what is left of each grant, and the ledger."""
    at = _at(visit.id("contract_id"))
    if visit.wants_csv:
        return await visit.export("entitlements", f"{at}/entries", "credits", "kind", "account_id")
    found, entries, latest, hindrance = await asyncio.gather(
        visit.see("entitlements", at, Credits, limit="1"),
        visit.see("entitlements", f"{at}/entries", Entries, **{"sort": "-entry", **visit.listed("kind", "account_id")}),
        visit.see("entitlements", f"{at}/entries", Entries, sort="-entry", limit=IN_CHART),
        _hindrance(visit, visit.id("contract_id")),
    )
    people = [*(each.account_id for each in found.lots), *(each.account_id for each in entries.items)]
    return visit.page(
        "portal/credits.html",
        found=found,
        entries=entries,
        chart=chart(list(reversed(latest.items))),
        names=await names_of(visit, people),
        hindrance=hindrance,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A line of balances, in the chart's own units."""

    line: str
    area: str
    first: datetime
    last: datetime
    highest: int
    lowest: int
    now: int


def chart(entries: Sequence[Entry]) -> Chart | None:
    """Return the balances as a line of steps over time; None for fewer than two entries."""
    if len(entries) < 2:
        return None
    first, last = entries[0].at, entries[-1].at
    span, highest = max((last - first).total_seconds(), 1.0), max(1, *(each.balance for each in entries))
    steps: list[str] = []
    for each in entries:
        x = LEFT + (WIDTH - 2 * LEFT) * (each.at - first).total_seconds() / span
        y = TOP + (HEIGHT - 2 * TOP) * (1 - each.balance / highest)
        steps.append(f"H{x:.1f} V{y:.1f}" if steps else f"M{x:.1f},{y:.1f}")
    line, ground = " ".join(steps), HEIGHT - TOP
    return Chart(
        line=line,
        area=f"{line} V{ground} H{LEFT} Z",
        first=first,
        last=last,
        highest=max(each.balance for each in entries),
        lowest=min(each.balance for each in entries),
        now=entries[-1].balance,
    )


# ── Spending ───────────────────────────────────────────────────────────────────────────────────────────


async def _hindrance(visit: Visit, contract_id: str) -> str:
    """Return why the person can't spend a single credit now, in words; "" if they can.

    A dry run says so, so that it is what the spending itself would say.
    """
    one: dict[str, JsonValue] = {"consumption_id": str(uuid4()), "amount": 1}
    try:
        await visit.do("entitlements", "POST", path(f"{_at(contract_id)}/consumptions", DRY_RUN), one)
    except Refused as refused:
        problem = refused.problem
        if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise
        return words_of(problem.rule or "", f"{problem.detail} {problem.remedy or ''}".strip(), visit.texts)
    return ""


async def spend_page(visit: Visit) -> Response:
    """Show the form by which a person spends credits."""
    found = await visit.see("entitlements", _at(visit.id("contract_id")), Credits, limit="1")
    hindrance = "" if visit.form.wrong else await _hindrance(visit, visit.id("contract_id"))
    own = visit.account.account_id if visit.account else ""
    visit.form.values = {"amount": "", "purpose": ""} | visit.form.values
    return visit.page("portal/spend.html", found=found, individual=found.individual.get(own, 0), hindrance=hindrance)


async def spend(visit: Visit) -> Response:
    """Spend credits for the person who is signed in."""
    form, texts, contract_id = visit.form, visit.texts, visit.id("contract_id")
    if not form.require(texts, "amount", "purpose"):
        return await again(visit, spend_page)
    amount = whole_number(form["amount"])
    if amount is None:
        form.errors["amount"] = texts.gettext(NOT_A_NUMBER)
        return await again(visit, spend_page)
    purpose = form["purpose"].strip()
    deed = Deed(
        service="entitlements",
        method="POST",
        path=f"{_at(contract_id)}/consumptions",
        body={"consumption_id": form.key, "amount": amount, "purpose": purpose},
        question=texts.gettext("Spend these credits?"),
        button=texts.gettext("Spend the credits"),
        says=lambda _: [
            texts.gettext("%(credits)s credits are spent for: %(purpose)s. Your own are taken first.")
            % {"credits": texts.number(amount), "purpose": purpose}
        ],
        moves=True,
        grave=True,
        then=path("/credits/{id}", id=contract_id),
        notice="credits-spent",
    )
    return await carry_out(visit, deed, spend_page)


# ── The person's own ───────────────────────────────────────────────────────────────────────────────────


async def own_page(visit: Visit) -> Response:
    """Show the person's own seats, and the credits that they have and have spent."""
    contracts, seats = await asyncio.gather(
        visit.see("identity", "/contracts", Contracts, limit=str(CONTRACTS)),
        visit.see("entitlements", "/me/seats", MySeats),
    )
    used = await asyncio.gather(*(_own_use(visit, each.contract_id) for each in contracts.items))
    shown = [(each, use) for each, use in zip(contracts.items, used, strict=True) if use is not None]
    return visit.page("portal/own.html", seats=seats.items, shown=shown)


@dataclass(frozen=True, slots=True)
class OwnUse:
    """A person's own credits of a contract, those for everybody, and their latest entries."""

    individual: int
    pool: int
    entries: Sequence[Entry]
    hindrance: str
    """Why they can't spend any; "" if they can."""


async def _own_use(visit: Visit, contract_id: str) -> OwnUse | None:
    own = visit.account.account_id if visit.account else ""
    try:
        found, entries, hindrance = await asyncio.gather(
            visit.see("entitlements", _at(contract_id), Credits, limit="1"),
            visit.see(
                "entitlements",
                f"{_at(contract_id)}/entries",
                Entries,
                account_id=own,
                sort="-entry",
                limit="20",
            ),
            _hindrance(visit, contract_id),
        )
    except Refused:
        return None
    return OwnUse(found.individual.get(own, 0), found.pool, entries.items, hindrance)
