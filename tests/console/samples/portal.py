"""The portal's pages, with a contract, a subscription, its seats and its credits."""

from typing import Any, Final

import httpx

from tests.console.fakes import ACCOUNT
from tests.console.samples import Sample

ANA: Final = "0190f3a0-0000-7000-8000-00000000000a"
BEN: Final = "0190f3a0-0000-7000-8000-00000000000b"
CONTRACT, SUBSCRIPTION, PARTNER = "c-1", "s-1", "p-1"
NOON: Final = "2026-11-20T11:00:00Z"


def answer(**body: Any) -> httpx.Response:
    return httpx.Response(200, json=body)


def listed(*items: dict[str, Any]) -> httpx.Response:
    return answer(items=list(items), next=None)


# ── identity ───────────────────────────────────────────────────────────────────────────────────────────

SUMMARY: Final = {"contract_id": CONTRACT, "customer": "o-1", "publisher": "autodesk", "programme": "subscription"}
ROLES: Final = [
    {"account_id": "a-1", "role": "contract_manager", "may_assign_seats": True, "assigned_by": "a-1"},
    {"account_id": ANA, "role": "software_coordinator", "may_assign_seats": True, "assigned_by": "a-1"},
]
CONTRACT_SHOWN: Final[dict[str, Any]] = {
    **SUMMARY,
    "roles": ROLES,
    "requests": [{"account_id": BEN, "role": "software_coordinator", "message": "CAD standards"}],
    "coordinating": [ANA],
    "agreements": [{"subscription_id": SUBSCRIPTION, "kind": "desktop", "product": "autocad"}],
    "access": {"open": True, "because": []},
}
OWN_REQUEST: Final = {
    "contract_id": CONTRACT,
    "role": "software_coordinator",
    "message": "",
    "requested_at": NOON,
    "state": "declined",
    "answered_by": ANA,
    "reason": "Not yet.",
    "answered_at": NOON,
}
INVITATION: Final = {
    "invitation_id": "i-1",
    "email": "cara@northhaus.example",
    "issued_by": "a-1",
    "expires_at": NOON,
    "state": "pending",
}


def person(account_id: str, name: str, **more: Any) -> dict[str, Any]:
    return {
        "account_id": account_id,
        "name": name,
        "email": f"{name.split()[0].lower()}@northhaus.example",
        "first_account": False,
        "manages_people": False,
        "joined_at": NOON,
        "roles": [],
        **more,
    }


HELD: Final = {"contract_id": CONTRACT, "role": "software_coordinator", "may_assign_seats": True}
ANA_SHOWN: Final = person(ANA, "Ana Sol", roles=[HELD])
BEN_SHOWN: Final = person(BEN, "Ben Low")
HISTORY: Final = listed(
    {"at": NOON, "actor": "a-1", "type": "SeatAssigned", "data": {"account_id": ANA, "seat": 1}},
    {"at": NOON, "actor": "timer", "type": "SomethingNew", "data": {"reason": "because"}},
)
SESSIONS: Final = [
    {"session_id": "s-1", "started": NOON, "last_used": NOON, "expires": NOON, "current": True},
    {"session_id": "s-2", "started": NOON, "last_used": NOON, "expires": NOON, "current": False},
]

# ── marketplace ────────────────────────────────────────────────────────────────────────────────────────

MONEY: Final = {"amount": 120_000, "currency": "EUR"}
CANCEL_BY: Final = {
    "last_day": "2027-11-12",
    "deadline": "2027-11-12T23:00:00Z",
    "time_zone": "Europe/Berlin",
}
AUTO_RENEW: Final[dict[str, Any]] = {
    "state": "on",
    "cancel_by": CANCEL_BY,
    "in_time": True,
    "ends": None,
    "refused": {"reason": "Seats are assigned.", "held": [{"seat": 1, "account_id": ANA}]},
}
BOUGHT: Final[dict[str, Any]] = {
    "subscription_id": SUBSCRIPTION,
    "status": "confirmed",
    "failure_reason": None,
    "contract_id": CONTRACT,
    "partner": PARTNER,
    "plan": {
        "product_id": "C1RK1-WW1762-L158",
        "publisher": "autodesk",
        "product_name": "AutoCAD",
        "period": "annual",
        "support": "advanced",
        "billing": "upfront",
    },
    "seats": 5,
    "seats_next_term": None,
    "total": MONEY,
    "csn": "1234567890",
    "starts": "2026-11-20",
    "time_zone": "Europe/Berlin",
    "term": {"number": 1, "starts": "2026-11-20", "ends": "2027-11-19"},
    "auto_renew": AUTO_RENEW,
    "instalments": [{"number": 1, "due": "2026-11-20", "amount": MONEY, "falls": "ahead"}],
    "still_owed": MONEY,
}
PREVIEW: Final = {
    "possible_now": False,
    "in_time": True,
    "last_permitted_day": "2027-11-12",
    "time_zone": "Europe/Berlin",
    "would_end": "2027-11-19",
    "still_owed": MONEY,
    "next_term": None,
    "seats_to_unassign": [{"seat": 1, "account_id": ANA}],
}
REQUEST: Final = {
    "subscription_id": SUBSCRIPTION,
    "partner_name": "CADworks",
    "product_name": "AutoCAD",
    "seats": 7,
    "seats_now": 5,
    "requested_by": "a-1",
    "requested_at": NOON,
    "status": "open",
    "reason": "",
}
ENGAGED: Final = {
    "partner": PARTNER,
    "name": "CADworks",
    "status": "engaged",
    "since": NOON,
    "released_at": None,
    "subscriptions": 1,
}

NO_REFUNDS: Final = "There are no returns and no refunds at any time: a subscription runs to the end of its term."
"""What every page says that says anything about refunds."""

# ── entitlements ───────────────────────────────────────────────────────────────────────────────────────

POOL: Final[dict[str, Any]] = {
    "subscription_id": SUBSCRIPTION,
    "contract_id": CONTRACT,
    "product": "autocad",
    "product_name": "AutoCAD",
    "seats": 5,
    "assigned": 1,
    "free": 4,
    "starts": "2026-11-20",
    "ends": "2027-11-19",
    "time_zone": "Europe/Berlin",
    "phase": "active",
    "until": "2027-11-19",
    "updates": True,
}
HOLDER: Final = {"seat": 1, "account_id": ANA, "assigned_by": "a-1", "assigned_at": NOON}
MY_SEAT: Final = {**POOL, "seat": 2, "access": True}
CREDITS: Final = {
    "contract_id": CONTRACT,
    "balance": 70,
    "pool": 50,
    "individual": {"a-1": 20},
    "lots": [
        {"grant_id": "g-1", "account_id": None, "granted": 100, "remaining": 50, "expires_on": "2027-11-20"},
        {"grant_id": "g-2", "account_id": ANA, "granted": 20, "remaining": 20, "expires_on": "2027-11-20"},
    ],
}


def entry(kind: str, amount: int, balance: int, at: str) -> dict[str, Any]:
    return {
        "kind": kind,
        "grant_id": "g-1",
        "account_id": ANA if kind == "consumed" else None,
        "amount": amount,
        "balance": balance,
        "reference": "r",
        "purpose": "rendering" if kind == "consumed" else "",
        "at": at,
    }


ENTRIES: Final = [
    entry("consumed", -30, 70, "2026-11-22T11:00:00Z"),
    entry("granted", 100, 100, NOON),
]

ANSWERS: Final = {
    "GET /contracts": listed({**SUMMARY, "manager": "a-1"}),
    f"GET /contracts/{CONTRACT}": answer(**CONTRACT_SHOWN),
    f"GET /contracts/{CONTRACT}/history": HISTORY,
    "GET /me/role-requests": listed(OWN_REQUEST),
    "POST /accounts/names": answer(items=[ANA_SHOWN, BEN_SHOWN]),
    "GET /people": listed(ANA_SHOWN, BEN_SHOWN),
    f"GET /people/{ANA}": answer(**ANA_SHOWN),
    f"GET /people/{BEN}": answer(**BEN_SHOWN),
    "GET /invitations": listed(INVITATION),
    "GET /sessions": answer(items=SESSIONS),
    "GET /subscriptions": listed(BOUGHT),
    f"GET /subscriptions/{SUBSCRIPTION}": answer(**BOUGHT),
    f"GET /subscriptions/{SUBSCRIPTION}/history": HISTORY,
    f"GET /subscriptions/{SUBSCRIPTION}/cancel-preview": answer(**PREVIEW),
    "GET /seats-requests": listed(REQUEST),
    "GET /partners": listed(ENGAGED),
    "GET /instalments": listed(
        {
            "subscription_id": SUBSCRIPTION,
            "product_name": "AutoCAD",
            "number": 2,
            "due": "2026-12-20",
            "falls": "ahead",
            "amount": MONEY,
        }
    ),
    "GET /pools": listed(POOL),
    f"GET /pools/{SUBSCRIPTION}": answer(**POOL, holders=[HOLDER]),
    f"GET /pools/{SUBSCRIPTION}/seats": listed(HOLDER),
    f"GET /pools/{SUBSCRIPTION}/history": HISTORY,
    "GET /me/seats": listed(MY_SEAT),
    f"GET /contracts/{CONTRACT}/credits": answer(**CREDITS),
    f"GET /contracts/{CONTRACT}/credits/entries": listed(*ENTRIES),
    f"POST /contracts/{CONTRACT}/credits/consumptions": answer(stream="s", version=1, events=[]),
}
"""What the services answer to the portal's pages, by method and path."""

IDS: Final = {"contract_id": CONTRACT, "subscription_id": SUBSCRIPTION, "account_id": ANA}
PATHS: Final = (
    "/contracts",
    "/contracts/{contract_id}",
    "/contracts/{contract_id}/history",
    "/contracts/{contract_id}/ask",
    "/contracts/{contract_id}/requests/{account_id}",
    "/contracts/{contract_id}/coordinators",
    "/contracts/{contract_id}/coordinators/{account_id}",
    "/contracts/{contract_id}/handover",
    "/people",
    "/people/{account_id}",
    "/subscriptions",
    "/instalments",
    "/subscriptions/{subscription_id}",
    "/subscriptions/{subscription_id}/history",
    "/subscriptions/{subscription_id}/auto-renew",
    "/subscriptions/{subscription_id}/seats",
    "/subscriptions/{subscription_id}/refund",
    "/seats",
    "/seats/{subscription_id}",
    "/seats/{subscription_id}/history",
    "/seats/{subscription_id}/assign",
    "/seats/{subscription_id}/file",
    "/seats/{subscription_id}/holders/{account_id}",
    "/credits",
    "/credits/{contract_id}",
    "/credits/{contract_id}/spend",
    "/own",
    "/partners",
    "/sessions",
)
SAMPLES: Final = {path: Sample(path.format(**IDS), ANSWERS) for path in PATHS}
MINA: Final = ACCOUNT["account_id"]
