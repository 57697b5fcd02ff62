"""All customers' contracts, and the handover of one whose Contract Manager has left."""

import asyncio
from collections.abc import Sequence

from starlette.responses import Response

from services.console.areas import Attention
from services.console.deeds import Deed, again, carry_out
from services.console.doors import path
from services.console.names import names_of
from services.console.pages.portal.roles import role_changes
from services.console.products import products_of
from services.console.shapes.identity import People
from services.console.shapes.operator import AnyContract, AnyContracts, CustomersContract
from services.console.visits import Visit

SHOWN = "20"
"""The number of contracts on a page."""

MANAGER = "manager_email"


async def contracts(visit: Visit) -> Response:
    """List the contracts of all customers, with their Contract Managers."""
    if visit.wants_csv:
        return await visit.export("identity", "/contracts", "contracts", MANAGER)
    found = await visit.see("identity", "/contracts", AnyContracts, limit=SHOWN, **visit.listed(MANAGER))
    known = await asyncio.gather(*(_somebody(visit, each) for each in found.items))
    names = await names_of(visit, known, organisations=True)
    customers = [names[each].organisation for each in known]
    return visit.page("operator/contracts.html", found=found, names=names, customers=customers)


async def _somebody(visit: Visit, contract: CustomersContract) -> str:
    """Return somebody of a contract's customer, by whom that is named; "" if it has nobody left."""
    if contract.manager:
        return contract.manager
    people = await visit.see("identity", "/people", People, organisation_id=contract.customer, limit="1")
    return people.items[0].account_id if people.items else ""


async def first_steps(visit: Visit) -> Sequence[Attention]:
    """Say what to do first while no customer has a contract."""
    found = await visit.see("identity", "/contracts", AnyContracts, limit="1")
    text = visit.texts.gettext("Nothing is sold yet. Invite a publisher's people first: they put plans on sale.")
    return () if found.items else [Attention(text=text, path="/operator/invite")]


async def _contract(visit: Visit) -> AnyContract:
    at = path("/contracts/{contract_id}", contract_id=visit.id("contract_id"))
    return await visit.see("identity", at, AnyContract)


async def contract(visit: Visit) -> Response:
    """Show a contract with its people, and the form that hands it over."""
    found = await _contract(visit)
    people = await visit.see("identity", "/people", People, organisation_id=found.customer, limit="200")
    somebody = people.items[0].account_id if people.items else ""
    names, products = await asyncio.gather(
        names_of(visit, [somebody, *(each.account_id for each in found.roles)], organisations=True),
        products_of(visit, found.contract_id),
    )
    customer = names[somebody].organisation
    others = [each for each in people.items if each.account_id != found.manager]
    visit.form.values.setdefault("to", "")
    return visit.page(
        "operator/contract.html", contract=found, customer=customer, others=others, names=names, products=products
    )


async def hand_over(visit: Visit) -> Response:
    """Hand the contract over to one of the customer's people."""
    form, texts, contract_id = visit.form, visit.texts, visit.id("contract_id")
    if not form.require(texts, "to"):
        return await again(visit, contract)
    found = await _contract(visit)
    deed = Deed(
        service="identity",
        method="POST",
        path=path("/contracts/{contract_id}/handover", contract_id=contract_id),
        body={"to": form["to"]},
        question=texts.gettext("Hand this contract over?"),
        button=texts.gettext("Hand the contract over"),
        says=role_changes(texts, await names_of(visit, [form["to"], found.manager])),
        grave=True,
        then=path("/operator/contracts/{contract_id}", contract_id=contract_id),
        notice="handed-over",
    )
    return await carry_out(visit, deed, contract)
