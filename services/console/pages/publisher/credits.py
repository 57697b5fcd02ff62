"""Cloud credits that a publisher grants: singly, or by a file."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import date
from typing import Final

from pydantic import JsonValue
from starlette.responses import Response

from services.console.deeds import Deed, LinesDeed, Outcome, again, carry_out, carry_out_lines
from services.console.doors import path
from services.console.forms import whole_number
from services.console.names import names_of
from services.console.pages.operator.contracts import SHOWN
from services.console.pages.portal.subscriptions import NOT_A_NUMBER
from services.console.shapes.entitlements import Credits
from services.console.shapes.operator import AnyContract, AnyContracts
from services.console.texts import marked
from services.console.visits import Visit

GRANTS: Final = "/contracts/{contract_id}/credits/grants"
NO_FILE: Final = marked("Choose a CSV file, or paste its lines.")


async def contracts(visit: Visit) -> Response:
    """List the contracts to which credits can be granted."""
    found = await visit.see("identity", "/contracts", AnyContracts, limit=SHOWN, **visit.listed())
    names = await names_of(visit, [each.manager for each in found.items], organisations=True)
    customers = [names[each.manager].organisation for each in found.items]
    return visit.page("publisher/contracts.html", found=found, names=names, customers=customers)


async def grants(visit: Visit) -> Response:
    """Show what is left of a contract's grants, and the form for another."""
    at = path("/contracts/{contract_id}", contract_id=visit.id("contract_id"))
    found, contract = await asyncio.gather(
        visit.see("entitlements", f"{at}/credits", Credits, limit="1"), visit.see("identity", at, AnyContract)
    )
    holders = [each.account_id for each in contract.roles]
    names = await names_of(visit, [*holders, *(each.account_id for each in found.lots)], organisations=True)
    customer = names[contract.manager].organisation
    visit.form.values = {"grant_id": "", "amount": "", "account_id": ""} | visit.form.values
    people_of_it = {*holders, *(each.account_id for each in found.lots if each.account_id)}
    known = sorted(each for each in people_of_it if names.knows(each))
    people = [(each, ", ".join(filter(None, (names[each].name, names[each].email)))) for each in known]
    return visit.page(
        "publisher/grants.html", found=found, contract=contract, customer=customer, names=names, people=people
    )


async def grant(visit: Visit) -> Response:
    """Grant credits, once the person has confirmed that."""
    form, texts, contract_id = visit.form, visit.texts, visit.id("contract_id")
    amount = whole_number(form["amount"])
    if form.require(texts, "grant_id", "amount") and amount is None:
        form.errors["amount"] = texts.gettext(NOT_A_NUMBER)
    if form.wrong:
        return await again(visit, grants)
    body: dict[str, JsonValue] = {"grant_id": form["grant_id"].strip(), "amount": amount}
    if form["account_id"]:
        body["account_id"] = form["account_id"]
    deed = Deed(
        service="entitlements",
        method="POST",
        path=path(GRANTS, contract_id=contract_id),
        body=body,
        question=texts.gettext("Grant these credits?"),
        button=texts.gettext("Grant the credits"),
        says=_granted(visit),
        idle=texts.gettext("This grant was made already."),
        moves=True,
        grave=True,
        then=path("/publisher/credits/{contract_id}", contract_id=contract_id),
        notice="credits-granted",
    )
    return await carry_out(visit, deed, grants)


def _granted(visit: Visit) -> Callable[[Outcome], Sequence[str]]:
    texts = visit.texts

    def says(outcome: Outcome) -> Sequence[str]:
        return [
            texts.gettext("%(credits)s credits are granted. They can be spent until %(day)s (UTC).")
            % {
                "credits": texts.number(int(str(each.data["amount"]))),
                "day": texts.day(date.fromisoformat(str(each.data["expires_on"]))),
            }
            for each in outcome.events
            if each.type == "CreditsGranted"
        ]

    return says


async def file_page(visit: Visit) -> Response:
    """Show the form for a file of grants."""
    contract_id = visit.id("contract_id")
    await visit.see("identity", path("/contracts/{contract_id}", contract_id=contract_id), AnyContract)  # or 404
    visit.form.values = {"file": "", "pasted": ""} | visit.form.values
    return visit.page("publisher/grants-file.html", contract_id=contract_id)


async def grant_file(visit: Visit) -> Response:
    """Make the grants of a file, once the person has seen each line's outcome."""
    form, texts, contract_id = visit.form, visit.texts, visit.id("contract_id")
    lines = form["file"] if form["file"].strip() else form["pasted"].strip()
    if not form.wrong and not lines.strip():
        form.errors["file"] = texts.gettext(NO_FILE)
    if form.wrong:
        return await again(visit, file_page)
    deed = LinesDeed(
        service="entitlements",
        path=path(f"{GRANTS}/bulk", contract_id=contract_id),
        lines=lines,
        question=texts.gettext("Grant the credits of these lines?"),
        button=texts.gettext("Grant the credits"),
        then=path("/publisher/credits/{contract_id}", contract_id=contract_id),
    )
    return await carry_out_lines(visit, deed, file_page)
