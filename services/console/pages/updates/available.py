"""The updates that are available for a contract, and one of them."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Final

from starlette.responses import Response

from services.console.areas import Attention
from services.console.doors import Refused, path
from services.console.names import names_of
from services.console.pages.updates.contracts import AT_ONCE, administered, at_contract, groups_of
from services.console.pages.updates.words import UpdateKey, actor
from services.console.products import products_of
from services.console.shapes.distribution import Decisions, Rollouts, Update, Updates
from services.console.visits import Visit

APPROVED: Final = "update-approved"
"""The notice of an approval, after which the rollout begins within a moment."""
GRAVE: Final = ("critical", "important")
NAMED: Final = 5
"""The number of grave updates of a contract that Home names."""
ONE: Final = "/contracts/{contract_id}/updates/{publisher}/{update_id}"


async def contracts(visit: Visit) -> Response:
    """Lead to the contract's updates, or let the person choose among several contracts.

    Who administers none is led to their own updates.
    """
    found = await administered(visit)
    if not found:
        return visit.go("/updates/mine")
    if len(found) == 1:
        return visit.go(path("/updates/{contract_id}", contract_id=found[0].contract_id))
    return visit.page("updates/contracts.html", contracts=found)


async def updates(visit: Visit) -> Response:
    """List the available updates and extensions."""
    contract_id = visit.id("contract_id")
    at = path("/contracts/{contract_id}/updates", contract_id=contract_id)
    if visit.wants_csv:
        return await visit.export("distribution", at, "updates", "product", "decision")
    found, groups, products = await asyncio.gather(
        visit.see_list("distribution", at, Updates, "product", "decision"),
        groups_of(visit, contract_id),
        products_of(visit, contract_id),
    )
    chosen = visit.request.query_params.get("product", "")
    offered = {*products, *(each.product for each in found.items), *([chosen] if chosen else [])}
    return visit.page(
        "updates/updates.html",
        tab="available",
        at=at_contract(visit),
        found=found,
        groups=groups,
        products=products,
        choices=sorted(((each, products[each]) for each in offered), key=lambda each: each[1].casefold()),
    )


async def undecided(visit: Visit) -> Sequence[Attention]:
    """Return what waits for an administrator: updates that nobody has decided."""
    contracts = await administered(visit)
    found = await asyncio.gather(
        *(
            visit.see(
                "distribution",
                path("/contracts/{contract_id}/updates", contract_id=each.contract_id),
                Updates,
                decision="none",
                limit=AT_ONCE,
            )
            for each in contracts
        )
    )
    return [
        each
        for contract, listed in zip(contracts, found, strict=True)
        for each in _undecided(visit, path("/updates/{contract_id}", contract_id=contract.contract_id), listed.items)
    ]


def _undecided(visit: Visit, at: str, updates: Sequence[Update]) -> Sequence[Attention]:
    texts, grave = visit.texts, [each for each in updates if each.severity in GRAVE][:NAMED]
    by_name = texts.gettext("Nothing is decided about %(update)s yet: approve, schedule or hold it.")
    said = [
        Attention(
            text=by_name % {"update": each.title},
            path=at + path("/of/{publisher}/{update_id}", publisher=each.publisher, update_id=each.update_id),
            urgent=True,
        )
        for each in grave
    ]
    if rest := len(updates) - len(grave):
        text = texts.ngettext("%(num)d update is undecided.", "%(num)d updates are undecided.", rest)
        if grave:
            text = texts.ngettext("%(num)d more update is undecided.", "%(num)d more updates are undecided.", rest)
        said.append(Attention(text=text % {"num": rest}, path=path(at, {"decision": "none"})))
    return said


async def asked_update(visit: Visit) -> Update:
    """Return the update that the page is about."""
    at = path(
        ONE,
        contract_id=visit.id("contract_id"),
        publisher=visit.id("publisher"),
        update_id=visit.id("update_id"),
    )
    return await visit.see("distribution", at, Update)


async def titles_of(visit: Visit, contract_id: str, updates: Iterable[UpdateKey]) -> Mapping[UpdateKey, str]:
    """Return the titles of updates. One that is not offered any more has none."""

    async def title(of: UpdateKey) -> str | None:
        at = path(ONE, contract_id=contract_id, publisher=of[0], update_id=of[1])
        try:
            return (await visit.see("distribution", at, Update)).title
        except Refused as refused:
            if refused.problem.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    asked = sorted(updates)
    found = await asyncio.gather(*(title(each) for each in asked))
    return {each: known for each, known in zip(asked, found, strict=True) if known is not None}


def at_update(visit: Visit, rest: str = "") -> str:
    """Return the address of the update's page."""
    here = path("/of/{publisher}/{update_id}", publisher=visit.id("publisher"), update_id=visit.id("update_id"))
    return at_contract(visit, here + rest)


async def update(visit: Visit) -> Response:
    """Show an update: what it is, what it replaces, and what was decided for each group."""
    contract_id, of = visit.id("contract_id"), {"publisher": visit.id("publisher"), "update_id": visit.id("update_id")}
    decided = path("/contracts/{contract_id}/decisions", contract_id=contract_id)
    rolled = path("/contracts/{contract_id}/rollouts", contract_id=contract_id)
    shown, groups, products, decisions, rollouts = await asyncio.gather(
        asked_update(visit),
        groups_of(visit, contract_id),
        products_of(visit, contract_id),
        visit.see("distribution", decided, Decisions, limit=AT_ONCE, **of),
        visit.see("distribution", rolled, Rollouts, limit=AT_ONCE, **of),
    )
    names = await names_of(visit, (each.decided_by for each in decisions.items))
    by_group = {each.group_id: each for each in decisions.items}
    running = {each.rollout_id: each for each in rollouts.items}
    waits = any(each.decision == "approved" and each.rollout_id not in running for each in decisions.items)
    return visit.page(
        "updates/update.html",
        begins=APPROVED if waits and visit.request.query_params.get("notice") == APPROVED else "",
        tab="available",
        at=at_contract(visit),
        here=at_update(visit),
        update=shown,
        groups=groups,
        products=products,
        decisions=by_group,
        rollouts=running,
        who=lambda by: actor(by, names, visit.texts),
    )
