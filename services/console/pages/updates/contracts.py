"""The contract whose updates a page is about, and the groups of its users."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from services.console.doors import path
from services.console.shapes.contracts import ContractAccess, ContractInList, ContractList
from services.console.shapes.distribution import Group, Groups
from services.console.texts import Texts, marked
from services.console.visits import Visit

DEFAULT_GROUP: Final = "default"
EVERYBODY_ELSE: Final = marked("Everybody else")
AT_ONCE: Final = "200"
"""As many rows as a list has at most at a time."""


async def contracts_of(visit: Visit) -> Sequence[ContractInList]:
    """Return the contracts of the person's organisation."""
    return (await visit.see("identity", "/contracts", ContractList, limit=AT_ONCE)).items


async def administered(visit: Visit) -> Sequence[ContractInList]:
    """Return the contracts whose updates the person administers."""
    contracts = await contracts_of(visit)
    opened = await asyncio.gather(*(_is_open(visit, each.contract_id) for each in contracts))
    return [contract for contract, is_open in zip(contracts, opened, strict=True) if is_open]


async def _is_open(visit: Visit, contract_id: str) -> bool:
    at = path("/contracts/{contract_id}/access", contract_id=contract_id)
    return (await visit.see("identity", at, ContractAccess)).open


async def groups_of(visit: Visit, contract_id: str) -> Sequence[Group]:
    """Return the contract's groups, the one of everybody else first."""
    at = path("/contracts/{contract_id}/groups", contract_id=contract_id)
    found = await visit.see("distribution", at, Groups, limit=AT_ONCE)
    return [each.model_copy(update={"name": name_of(each, visit.texts)}) for each in found.items]


def name_of(group: Group, texts: Texts) -> str:
    """Return a group's name; the group of those who are in no other has none of its own."""
    return texts.gettext(EVERYBODY_ELSE) if group.group_id == DEFAULT_GROUP else group.name


def named(groups: Sequence[Group], ids: Iterable[str]) -> list[str]:
    """Return the names of groups by their ids, in the order of the groups."""
    wanted = set(ids)
    return [each.name for each in groups if each.group_id in wanted]


def at_contract(visit: Visit, rest: str = "") -> str:
    """Return the address of a page of the contract that the page is about."""
    return path("/updates/{contract_id}", contract_id=visit.id("contract_id")) + rest
