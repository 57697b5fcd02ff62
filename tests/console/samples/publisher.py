"""The pages of a publisher's people: a plan, an order, a CSN and an update."""

from collections.abc import Mapping
from typing import Any, Final

import httpx

from tests.console.fakes import ACCOUNT, Answer
from tests.console.samples import Sample

EUROS: Final = {"amount": 180_000, "currency": "EUR"}
PLAN: Final = {
    "product_id": "C1RK1-WW1762-L158",
    "product": "autocad",
    "product_name": "AutoCAD",
    "period": "annual",
    "support": "basic",
    "billing": "upfront",
    "category": "specialised",
    "commitment_months": 12,
    "price": EUROS,
    "listed": True,
    "prices": [
        {"valid_from": None, "price": EUROS},
        {"valid_from": "2027-03-01", "price": {"amount": 190_000, "currency": "EUR"}},
    ],
}
ORDER: Final = {
    "subscription_id": "s-1",
    "status": "awaiting",
    "product_id": "C1RK1-WW1762-L158",
    "product_name": "AutoCAD",
    "partner_name": "CADworks",
    "customer_name": "Northhaus",
    "seats": 5,
    "total": {"amount": 900_000, "currency": "EUR"},
    "starts": "2026-12-01",
    "csn": "5100012345",
    "order": "e-1",
    "failure_reason": None,
    "publisher_reference": None,
}
CSN: Final = {
    "csn": "5100012345",
    "organisation_id": "p-1",
    "organisation_name": "CADworks",
    "valid": True,
    "reason": "",
    "said_at": "2026-11-29T10:00:00Z",
}
UPDATE: Final = {
    "update_id": "ACD-2027.1",
    "product": "autocad",
    "kind": "update",
    "title": "AutoCAD 2027.1",
    "version": "2027.1",
    "platform": "win64",
    "severity": "normal",
    "size_bytes": 412_000_000,
    "published_at": "2026-11-29T10:00:00Z",
    "withdrawn": None,
}
CONTRACT: Final[dict[str, Any]] = {
    "contract_id": "c-1",
    "customer": "o-2",
    "publisher": "autodesk",
    "programme": "subscription",
    "roles": [{"account_id": "a-1", "role": "contract_manager", "may_assign_seats": True, "assigned_by": "a-1"}],
    "agreements": [],
}
LOT: Final = {"grant_id": "G-1", "account_id": None, "granted": 100, "remaining": 60, "expires_on": "2027-11-28"}
CREDITS: Final = {"contract_id": "c-1", "balance": 60, "pool": 60, "individual": {}, "lots": [LOT]}


def many(*items: Any) -> httpx.Response:
    return httpx.Response(200, json={"items": [*items], "next": None})


ANSWERS: Final[Mapping[str, Answer]] = {
    "GET /me": httpx.Response(200, json={**ACCOUNT, "organisation_kind": "publisher"}),
    "GET /publisher/plans": many(PLAN),
    "GET /publisher/orders": many(ORDER),
    "GET /publisher/csns": many(CSN),
    "GET /publisher/partners": many({"organisation_id": "p-1", "organisation_name": "CADworks"}),
    "GET /publisher/updates": many(UPDATE),
    "GET /contracts": many({**CONTRACT, "manager": "a-1"}),
    "GET /contracts/c-1": httpx.Response(200, json=CONTRACT),
    "GET /contracts/c-1/credits": httpx.Response(200, json=CREDITS),
}
SAMPLES: Final = {
    path: Sample(address, ANSWERS)
    for path, address in {
        "/publisher/plans": "/publisher/plans",
        "/publisher/plans/new": "/publisher/plans/new",
        "/publisher/plans/{product_id}": "/publisher/plans/C1RK1-WW1762-L158",
        "/publisher/orders": "/publisher/orders",
        "/publisher/orders/{subscription_id}": "/publisher/orders/s-1",
        "/publisher/csns": "/publisher/csns",
        "/publisher/credits": "/publisher/credits",
        "/publisher/credits/{contract_id}": "/publisher/credits/c-1",
        "/publisher/credits/{contract_id}/file": "/publisher/credits/c-1/file",
        "/publisher/updates": "/publisher/updates",
        "/publisher/updates/new": "/publisher/updates/new",
        "/publisher/updates/{update_id}": "/publisher/updates/ACD-2027.1",
    }.items()
}
