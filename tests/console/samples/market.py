"""The pages of the marketplace."""

from collections.abc import Mapping
from typing import Any, Final

import httpx

from tests.console.samples import Sample

OSKAR: Final = "0190f3a0-0000-7000-8000-00000000000c"
"""The purchaser."""
PLAN: Final = {
    "product_id": "C1RK1-WW1762-L158",
    "publisher": "autodesk",
    "product": "autocad",
    "product_name": "AutoCAD",
    "period": "annual",
    "support": "basic",
    "billing": "upfront",
    "category": "open",
    "price": {"amount": 227_500, "currency": "EUR"},
    "orderable": True,
}
DEADLINE: Final = {"last_day": "2027-11-22", "time_zone": "Europe/Berlin"}
TERM: Final = {"number": 1, "starts": "2026-11-29", "ends": "2027-11-28"}
INSTALMENT: Final = {"number": 1, "due": "2026-11-29", "amount": {"amount": 682_500, "currency": "EUR"}}
LINE: Final = {
    "line": 1,
    "plan": PLAN,
    "seats": 3,
    "price_a_seat": PLAN["price"],
    "total": {"amount": 682_500, "currency": "EUR"},
    "term": TERM,
    "instalments": [INSTALMENT],
    "cancel_by": DEADLINE,
    "csn": "5100012345",
    "subscription_id": None,
    "opens_contract": None,
}
CART: Final = {
    "cart_id": "cart-1",
    "status": "open",
    "lines": [LINE],
    "total": {"amount": 682_500, "currency": "EUR"},
    "refusals": [],
    "customer": None,
    "purchaser": None,
    "starts": "2026-11-29",
    "time_zone": "UTC",
}
SUBSCRIPTION: Final[Mapping[str, Any]] = {
    "subscription_id": "sub-1",
    "status": "confirmed",
    "failure_reason": None,
    "abandoned": None,
    "publisher_reference": "A-1",
    "contract_id": "c-1",
    "partner": "o-1",
    "customer": "cust-1",
    "customer_name": "Northhaus",
    "purchaser": OSKAR,
    "plan": PLAN,
    "seats": 3,
    "seats_next_term": None,
    "total": {"amount": 682_500, "currency": "EUR"},
    "csn": None,
    "starts": "2026-11-29",
    "time_zone": "Europe/Berlin",
    "term": TERM,
    "auto_renew": {"state": "on", "cancel_by": DEADLINE, "in_time": True, "ends": None, "refused": None},
    "instalments": [{**INSTALMENT, "falls": "today"}, {**INSTALMENT, "number": 2, "falls": "ahead"}],
    "still_owed": {"amount": 0, "currency": "EUR"},
}
CUSTOMER: Final[Mapping[str, Any]] = {
    "customer": "cust-1",
    "name": "Northhaus",
    "status": "engaged",
    "since": "2026-11-01T09:00:00Z",
    "released_at": None,
    "csn_publishers": [],
    "subscriptions": 1,
    "open_orders": 0,
    "seats_requests": 1,
    "next_ends": "2027-11-28",
}
REQUEST: Final = {
    "request": "r-1",
    "subscription_id": "sub-1",
    "customer": "cust-1",
    "customer_name": "Northhaus",
    "product_name": "AutoCAD",
    "seats": 5,
    "seats_now": 3,
    "requested_by": OSKAR,
    "requested_at": "2026-11-29T09:00:00Z",
    "status": "open",
    "reason": "",
}
MONTH: Final = {
    "month": "2027-11-01",
    "renewing": 1,
    "ending": 0,
    "seats": 3,
    "amount": {"amount": 682_500, "currency": "EUR"},
}
STEPS: Final[Mapping[str, Any]] = {
    "plans": 3,
    "plan": None,
    "next": "product",
    "choices": {
        "product": [{"value": "autocad", "label": "AutoCAD"}, {"value": "revit", "label": "Revit"}],
        "publisher": [{"value": "autodesk", "label": "autodesk"}],
        "period": [{"value": "annual", "label": "annual"}, {"value": "monthly", "label": "monthly"}],
        "support": [{"value": "basic", "label": "basic"}],
        "billing": [{"value": "upfront", "label": "upfront"}],
    },
    "remaining": [],
}


def listed(*items: Any) -> httpx.Response:
    return httpx.Response(200, json={"items": [*items], "next": None})


def found(answer: Mapping[str, Any]) -> httpx.Response:
    return httpx.Response(200, json=answer)


HISTORY: Final = listed(
    {"at": "2026-11-29T09:00:00Z", "actor": "a-1", "type": "SubscriptionOrdered", "event_id": "e-1"},
    {"at": "2026-11-29T09:00:02Z", "actor": "publisher:autodesk", "type": "SubscriptionConfirmed", "event_id": "e-2"},
)
POOL: Final = {
    "subscription_id": "sub-1",
    "product": "autocad",
    "product_name": "AutoCAD",
    "seats": 3,
    "assigned": 1,
    "free": 2,
    "phase": "active",
    "until": "2027-11-28",
    "contract_id": "c-1",
    "starts": "2026-11-29",
    "ends": "2027-11-28",
    "time_zone": "Europe/Berlin",
    "updates": True,
}
DUE: Final = {
    "due_from": "2026-11-29",
    "due_before": "2026-12-30",
    "items": [{"subscription_id": "sub-1", "product_name": "AutoCAD", "falls": "today", **INSTALMENT}],
    "next": None,
}
PREVIEW: Final = {
    "in_time": True,
    "last_permitted_day": "2027-11-22",
    "would_end": "2027-11-28",
    "still_owed": {"amount": 682_500, "currency": "EUR"},
    "seats_to_unassign": [{"seat": 1, "account_id": OSKAR, "because": None}],
}
ORDER: Final = {
    "GET /subscriptions/sub-1/cancel-preview": found(PREVIEW),
    "GET /subscriptions/sub-1/support": found({"customer": "Northhaus", "partner_supported_by": ["the distributor"]}),
    "GET /subscriptions/sub-1": found(SUBSCRIPTION),
    "GET /subscriptions/sub-1/history": HISTORY,
    "GET /seats-requests": listed(REQUEST),
    "POST /accounts/names": found({"items": [{"account_id": OSKAR, "name": "Oskar Lindqvist", "email": None}]}),
}
PRICED: Final = {
    **PLAN,
    "prices": [
        {"price": PLAN["price"], "valid_from": None},
        {"price": {"amount": 240_000, "currency": "EUR"}, "valid_from": "2027-01-01"},
    ],
}
ORDERED: Final = {**CART, "status": "checked-out", "lines": [{**LINE, "subscription_id": "sub-1"}]}
OPEN_CART: Final = {
    "cart_id": "cart-1",
    "status": "open",
    "opened_by": OSKAR,
    "opened_at": "2026-11-28T10:00:00Z",
    "changed_at": "2026-11-28T11:00:00Z",
    "lines": 4,
    "seats": 7,
    "products": ["AutoCAD", "AutoCAD LT", "Revit", "Vault"],
    "publisher": "autodesk",
    "total": {"amount": 1_250_000, "currency": "EUR"},
}
RENEWALS: Final = {"ends_from": "2026-11-29", "ends_before": "2027-11-30", "months": [MONTH]}

SAMPLES: Final = {
    "/customers": Sample("/customers", {"GET /customers": listed(CUSTOMER)}),
    "/customers/{customer}": Sample(
        "/customers/cust-1",
        {
            **ORDER,
            "GET /customers": listed(CUSTOMER),
            "GET /subscriptions": listed(SUBSCRIPTION),
            "GET /pools": listed(POOL),
            "GET /instalments": found(DUE),
        },
    ),
    "/requests-for-seats": Sample("/requests-for-seats", ORDER),
    "/catalogue": Sample("/catalogue", {"GET /catalogue": listed(PLAN), "GET /standing": found({"csns": []})}),
    "/catalogue/{product_id}": Sample(
        "/catalogue/C1RK1-WW1762-L158?publisher=autodesk", {"GET /catalogue/C1RK1-WW1762-L158": found(PRICED)}
    ),
    "/product-id": Sample(
        "/product-id?product_id=C1RK1-WW1762-L158", {"GET /catalogue/C1RK1-WW1762-L158": found(PRICED)}
    ),
    "/wizard": Sample("/wizard", {"GET /wizard": found(STEPS)}),
    "/cart/customer": Sample("/cart/customer", {"GET /customers": listed(CUSTOMER)}),
    "/carts": Sample("/carts", {**ORDER, "GET /carts": listed(OPEN_CART)}),
    "/carts/{cart_id}": Sample("/carts/cart-1", {**ORDER, "GET /carts/cart-1": found(ORDERED)}),
    "/orders": Sample("/orders", {"GET /orders": listed(SUBSCRIPTION)}),
    "/orders/{subscription_id}": Sample("/orders/sub-1", ORDER),
    "/renewals": Sample("/renewals", {"GET /renewals": found(RENEWALS), "GET /subscriptions": listed(SUBSCRIPTION)}),
}
