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
import structlog

from shared import rules
from shared.runtime.problems import Problem

logger = structlog.get_logger(__name__)

AT_ONCE: Final = 200
"""The greatest number of accounts in one request to identity, which is identity's own limit."""
ASK_S: Final = 10.0
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
        self._url, self._transport = f"{identity_url}/accounts/names", transport
        self._client: httpx.AsyncClient | None = None

    async def names(self, account_ids: Collection[str], authorization: str) -> Mapping[str, Named]:
        wanted = sorted({each for each in account_ids if is_account(each)})
        parts = [wanted[start : start + AT_ONCE] for start in range(0, len(wanted), AT_ONCE)]
        found = await asyncio.gather(*(self._ask(part, authorization) for part in parts))
        return {account: named for part in found for account, named in part.items()}

    async def _ask(self, account_ids: list[str], authorization: str) -> Mapping[str, Named]:
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=ASK_S, trust_env=False, transport=self._transport)
        try:
            headers = {"Authorization": authorization}
            answer = await self._client.post(self._url, json={"account_ids": account_ids}, headers=headers)
            if answer.status_code == HTTPStatus.FORBIDDEN:
                return {}  # a machine that may read this list only
            if answer.status_code != HTTPStatus.OK:
                raise _unavailable(f"identity answers {answer.status_code}")
            return {item["account_id"]: Named(item["name"], item["email"] or "") for item in answer.json()["items"]}
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as fault:
            raise _unavailable(repr(fault)[:200]) from fault


def _unavailable(fault: str) -> Problem:
    logger.warning("identity can't be asked for names", fault=fault)
    return Problem(
        rule=rules.UNAVAILABLE,
        reason="Identity, which knows the names of the people in this file, doesn't answer now.",
        remedy="Send it again in a moment, or ask for JSON, which has account ids only.",
        headers={"Retry-After": "2"},
    )
