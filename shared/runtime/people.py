"""People who are named by e-mail address in requests, and in the filters of lists.

Only identity can read addresses. A service asks identity for the account ids before it does anything with the request,
so no address reaches its log, its tables or the fingerprints of its commands.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, Protocol, Self, TypeVar

import httpx
from fastapi import Request
from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

from shared.runtime.identity import IdentityRoute, Items, NoAnswer
from shared.runtime.wellformed import malformed_request

T = TypeVar("T")
NOBODY: Final = ""
"""The account id instead of an address that no account of the caller's organisation has."""
AT_ONCE: Final = 100
"""The greatest number of addresses in one request to identity: as many as its limit for a body has room for."""


class NamesPeople(BaseModel):
    """A form that names people, each by account id or by e-mail address."""

    model_config = ConfigDict(extra="forbid", strict=True)

    PEOPLE: ClassVar[Mapping[str, str]] = {}
    """By the field of an address, the field of the account id that may be given in its place."""

    @model_validator(mode="after")
    def _names_each_once(self) -> Self:
        for address, account in self.PEOPLE.items():
            if (getattr(self, address) is None) == (getattr(self, account) is None):
                raise PydanticCustomError("person", f"Give either {account} or {address}.")
        return self

    def addresses(self) -> list[str]:
        """Return the addresses that the form names people by."""
        return [given for address in self.PEOPLE if (given := getattr(self, address)) is not None]

    def with_accounts(self, accounts: Mapping[str, str]) -> Self:
        """Return the form with account ids instead of addresses, NOBODY where there is none."""
        found: dict[str, str | None] = {}
        for address, account in self.PEOPLE.items():
            given = getattr(self, address)
            if given is not None:
                found |= {address: None, account: accounts.get(given, NOBODY)}
        return self.model_copy(update=found) if found else self


class AddressBook(Protocol):
    """Knowledge of whose address is whose, within one organisation.

    That is the caller's, or that of a customer that has engaged it.
    """

    async def accounts(
        self, addresses: Sequence[str], authorization: str, organisation_id: str = ""
    ) -> Mapping[str, str]:
        """Return the account ids of those addresses that are known.

        Args:
            authorization: the caller's `Authorization` header.
            organisation_id: the customer, if it is not the caller's organisation.

        Raises:
            Problem: 503 if that is unknown now.
        """
        ...


async def with_accounts(asked: Sequence[T], book: AddressBook, authorization: str) -> list[T]:
    """Return what was asked, with account ids instead of addresses.

    The address book is asked once, and only if there is an address.

    Args:
        asked: forms; what names nobody is returned as it is.
        book: whom to ask.
        authorization: the caller's `Authorization` header.
    """
    addresses = [address for form in asked if isinstance(form, NamesPeople) for address in form.addresses()]
    if not addresses:
        return list(asked)
    accounts = await book.accounts(addresses, authorization)
    return [form.with_accounts(accounts) if isinstance(form, NamesPeople) else form for form in asked]


async def person_of_list(
    request: Request, account_id: str | None, email: str | None, organisation_id: str = "", *, of: str = "account_id"
) -> str | None:
    """Return the account id that a list is filtered by; None without a filter.

    For an address of nobody it is NOBODY.

    Args:
        email: the address, in place of the account id.
        organisation_id: the customer whose people are asked for, if it is not the caller's organisation.
        of: the name of the filter by account id.

    Raises:
        Problem: 422 if both are given; 503 if identity does not answer.
    """
    if email is None:
        return account_id
    if account_id is not None:
        error = f"it is given by account id, too: leave one of them or {of} out"
        raise malformed_request([{"field": f"query.{of}", "error": error}])
    book: AddressBook = request.app.state.parts.address_book
    accounts = await book.accounts([email], request.headers.get("authorization", ""), organisation_id)
    return accounts.get(email, NOBODY)


class IdentityAddressBook:
    """An address book that asks identity, as the caller."""

    def __init__(self, identity_url: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._route = IdentityRoute(f"{identity_url}/accounts/by-address", transport)

    async def accounts(
        self, addresses: Sequence[str], authorization: str, organisation_id: str = ""
    ) -> Mapping[str, str]:
        unique = list(dict.fromkeys(addresses))
        parts = [unique[start : start + AT_ONCE] for start in range(0, len(unique), AT_ONCE)]
        found = await asyncio.gather(*(self._ask(part, authorization, organisation_id) for part in parts))
        return {address: account for part in found for address, account in part.items()}

    async def _ask(self, addresses: Sequence[str], authorization: str, organisation_id: str) -> Mapping[str, str]:
        body: dict[str, object] = {"items": [{"email": address} for address in addresses]}
        if organisation_id:
            body["organisation_id"] = organisation_id

        def accounts(items: Items) -> Mapping[str, str]:
            found = zip(addresses, (item["account_id"] for item in items), strict=True)
            return {address: account for address, account in found if account is not None}

        try:
            return await self._route.ask(body, authorization, accounts)
        except NoAnswer as fault:
            raise fault.problem(
                reason="Identity, which knows people's e-mail addresses, doesn't answer now.",
                remedy="Send it again in a moment, or name people by account id.",
            ) from fault
