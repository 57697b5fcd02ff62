"""Contracts: the list, and one contract with its people."""

import asyncio

from starlette.responses import Response

from services.console.areas import Attention
from services.console.doors import path
from services.console.names import names_of
from services.console.pages.portal import histories
from services.console.products import products_of
from services.console.shapes.identity import Contract, Contracts, OwnRequests
from services.console.visits import Visit

LOOKED_AT: int = 10
"""The number of contracts that Home looks into."""


async def contracts(visit: Visit) -> Response:
    """List the organisation's contracts, and the person's own requests for roles."""
    if visit.wants_csv:
        return await visit.export("identity", "/contracts", "contracts")
    found, own = await asyncio.gather(
        visit.see_list("identity", "/contracts", Contracts),
        visit.see("identity", "/me/role-requests", OwnRequests, limit="20"),
    )
    people = [*(each.manager for each in found.items), *(each.answered_by for each in own.items)]
    names = await names_of(visit, people)
    labels = {each.contract_id: each for each in found.items}
    return visit.page("portal/contracts.html", found=found, own=own.items, names=names, labels=labels)


async def contract_page(visit: Visit) -> Response:
    """Show a contract: who holds which role, who asks for one, and its subscriptions."""
    contract, products, own = await asyncio.gather(
        visit.see_then("identity", path("/contracts/{contract_id}", contract_id=visit.id("contract_id")), Contract),
        products_of(visit, visit.id("contract_id")),
        visit.see("identity", "/me/role-requests", OwnRequests, contract_id=visit.id("contract_id"), limit="5"),
    )
    me = visit.account.account_id if visit.account else ""
    people = [*(each.account_id for each in contract.roles), *(each.account_id for each in contract.requests)]
    names = await names_of(visit, [*people, *(each.answered_by for each in own.items)])
    return visit.page(
        "portal/contract.html",
        contract=contract,
        own=own.items,
        products=products,
        mine=contract.role_of(me),
        manages=contract.manager == me and visit.as_of is None,
        waits=any(each.state == "waiting" for each in own.items),
        names=names,
    )


async def contract_history(visit: Visit) -> Response:
    """Show who did what on a contract, when and why."""
    at = path("/contracts/{contract_id}", contract_id=visit.id("contract_id"))
    operator = visit.account is not None and visit.account.organisation_kind == "operator"
    back = f"/operator{at}" if operator else at
    return await histories.show(visit, "identity", at, visit.texts.gettext("Contract"), back)


# ── What waits ─────────────────────────────────────────────────────────────────────────────────────────


async def requests_waiting(visit: Visit) -> list[Attention]:
    """Say which requests for roles wait for the person, who is Contract Manager there."""
    me = visit.account.account_id if visit.account else ""
    managed = await visit.see("identity", "/contracts", Contracts, manager=me, limit=str(LOOKED_AT))
    seen = await asyncio.gather(
        *(
            visit.see("identity", path("/contracts/{contract_id}", contract_id=each.contract_id), Contract)
            for each in managed.items
        )
    )
    names = await names_of(visit, [asked.account_id for contract in seen for asked in contract.requests])
    return [
        Attention(
            text=visit.texts.gettext("%(name)s asks for a role and waits for your answer.")
            % {"name": names[asked.account_id].name},
            path=path(
                "/contracts/{contract_id}/requests/{account_id}",
                contract_id=contract.contract_id,
                account_id=asked.account_id,
            ),
            urgent=True,
        )
        for contract in seen
        for asked in contract.requests
    ]
