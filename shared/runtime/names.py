"""The names of people in files that are taken along, where rows have account ids.

Only identity can read names and addresses. It is asked as the caller, so that it tells only those of people whom the
caller may know.
"""

import asyncio
import re
from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import Final, NamedTuple, Protocol

import httpx

from shared.runtime.identity import IdentityRoute, Items, NoAnswer

AT_ONCE: Final = 200
"""The greatest number of accounts in one request to identity, which is identity's own limit."""
_ACCOUNT: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Named(NamedTuple):
    """A person as identity names them to the caller."""

    name: str
    email: str
    """The address, or "" if the caller may not know it."""


class NameBook(Protocol):
    """Knowledge of people's names and addresses."""

    async def names(self, account_ids: Collection[str], authorization: str) -> Mapping[str, Named]:
        """Return those of these people whom the caller may know, by account id.

        Args:
            authorization: the caller's `Authorization` header.

        Raises:
            Problem: 503 if that is unknown now.
        """
        ...


def is_account(actor: str) -> bool:
    """Return whether an actor may be a person, and is no service, timer or policy."""
    return _ACCOUNT.fullmatch(actor) is not None


class IdentityNameBook:
    """A name book that asks identity, as the caller."""

    def __init__(self, identity_url: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._route = IdentityRoute(f"{identity_url}/accounts/names", transport)

    async def names(self, account_ids: Collection[str], authorization: str) -> Mapping[str, Named]:
        wanted = sorted({each for each in account_ids if is_account(each)})
        parts = [wanted[start : start + AT_ONCE] for start in range(0, len(wanted), AT_ONCE)]
        found = await asyncio.gather(*(self._ask(part, authorization) for part in parts))
        return {account: named for part in found for account, named in part.items()}

    async def _ask(self, account_ids: list[str], authorization: str) -> Mapping[str, Named]:
        try:
            return await self._route.ask({"account_ids": account_ids}, authorization, _named)
        except NoAnswer as fault:
            if fault.status == HTTPStatus.FORBIDDEN:
                return {}  # a machine that may read this list only
            raise fault.problem(
                reason="Identity, which knows the names of the people in this file, doesn't answer now.",
                remedy="Send it again in a moment, or ask for JSON, which has account ids only.",
            ) from fault


def _named(items: Items) -> Mapping[str, Named]:
    return {str(item["account_id"]): Named(str(item["name"]), item["email"] or "") for item in items}
