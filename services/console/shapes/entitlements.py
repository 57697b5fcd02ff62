"""The answers of entitlements' routes, as far as the pages read them."""

from datetime import date, datetime

from pydantic import BaseModel


class Pool(BaseModel):
    """A pool of seats."""

    subscription_id: str
    contract_id: str
    product: str
    product_name: str
    seats: int
    assigned: int
    free: int
    starts: date
    ends: date
    time_zone: str
    phase: str
    until: date | None
    updates: bool


class Pools(BaseModel):
    """A page of pools. Of entitlements's `GET /pools`."""

    items: list[Pool]
    next: str | None = None


class Holder(BaseModel):
    """A seat that is assigned."""

    seat: int
    account_id: str
    assigned_by: str
    assigned_at: datetime


class Holders(BaseModel):
    """A page of a pool's seats. Of entitlements's `GET /pools/{subscription_id}/seats`."""

    items: list[Holder]
    next: str | None = None


class PoolWithHolders(Pool):
    """A pool with all who hold its seats. Of entitlements's `GET /pools/{subscription_id}`."""

    holders: list[Holder]


class MySeat(BaseModel):
    """A seat of the person's."""

    subscription_id: str
    product: str
    product_name: str
    seat: int
    starts: date
    ends: date
    phase: str
    until: date | None
    access: bool
    updates: bool


class MySeats(BaseModel):
    """The person's seats. Of entitlements's `GET /me/seats`."""

    items: list[MySeat]
    next: str | None = None


class Lot(BaseModel):
    """A grant with what is left of it."""

    grant_id: str
    account_id: str | None
    granted: int
    remaining: int
    expires_on: date


class Credits(BaseModel):
    """A contract's credits. Of entitlements's `GET /contracts/{contract_id}/credits`."""

    contract_id: str
    balance: int
    pool: int
    individual: dict[str, int]
    lots: list[Lot]


class Entry(BaseModel):
    """A line of the ledger."""

    kind: str
    grant_id: str
    account_id: str | None
    amount: int
    balance: int
    reference: str
    purpose: str
    at: datetime


class Entries(BaseModel):
    """A page of the ledger. Of entitlements's `GET /contracts/{contract_id}/credits/entries`."""

    items: list[Entry]
    next: str | None = None
