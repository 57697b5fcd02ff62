"""The operator's pages: mails, a contract, an organisation and a person."""

from collections.abc import Mapping
from typing import Any, Final

import httpx

from tests.console.fakes import ACCOUNT, Answer
from tests.console.samples import Sample

NOON: Final = "2026-11-29T11:00:00Z"
MINA: Final = "0190f3a0-0000-7000-8000-00000000000c"
BEN: Final = "0190f3a0-0000-7000-8000-00000000000d"
TOLD: Final[dict[str, Any]] = {
    "notification_id": "n-1",
    "account_id": MINA,
    "kind": "seat",
    "told_at": NOON,
    "in_inbox": True,
    "mail": "bounced",
    "reason": "550 no such user",
    "mail_at": NOON,
}
PREFERENCES: Final = {
    "kinds": [{"kind": "seat", "label": "A seat was assigned", "email": True, "inbox": True, "required": False}],
    "email_verified": True,
}
SUMMARY: Final = {
    "contract_id": "c-1",
    "customer": "o-2",
    "publisher": "autodesk",
    "programme": "subscription",
    "manager": MINA,
}
CONTRACT: Final[dict[str, Any]] = {
    **SUMMARY,
    "roles": [
        {"account_id": MINA, "role": "contract_manager", "may_assign_seats": True, "assigned_by": MINA},
    ],
    "agreements": [{"subscription_id": "s-1", "kind": "desktop", "product": "autocad"}],
}
HELD: Final = {"contract_id": "c-1", "role": "contract_manager", "may_assign_seats": True}


def answer(**body: Any) -> httpx.Response:
    return httpx.Response(200, json=body)


def many(*items: Any) -> httpx.Response:
    return answer(items=[*items], next=None)


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


def member(account_id: str, name: str) -> httpx.Response:
    organisation = {"organisation_id": "o-2", "organisation_name": "Northhaus", "organisation_kind": "customer"}
    return answer(account_id=account_id, name=name, **organisation)


MINA_SHOWN: Final = person(MINA, "Mina Okafor", roles=[HELD])
BEN_SHOWN: Final = person(BEN, "Ben Low")
ANSWERS: Final[Mapping[str, Answer]] = {
    "GET /me": answer(**{**ACCOUNT, "organisation_kind": "operator"}),
    "GET /notifications": many(TOLD),
    "GET /me/notification-preferences": answer(**PREFERENCES),
    "GET /contracts": many(SUMMARY),
    "GET /contracts/c-1": answer(**CONTRACT),
    "GET /people": many(MINA_SHOWN, BEN_SHOWN),
    "POST /accounts/names": answer(
        items=[
            {**{name: each[name] for name in ("account_id", "name", "email")}, "organisation_name": "Northhaus"}
            for each in (MINA_SHOWN, BEN_SHOWN)
        ]
    ),
    f"GET /people/{MINA}": answer(**MINA_SHOWN),
    f"GET /people/{BEN}": answer(**BEN_SHOWN),
    f"GET /accounts/{MINA}": member(MINA, "Mina Okafor"),
    f"GET /accounts/{BEN}": member(BEN, "Ben Low"),
}
SAMPLES: Final = {
    path: Sample(address, ANSWERS)
    for path, address in {
        "/operator/mails": "/operator/mails",
        "/operator/contracts": "/operator/contracts",
        "/operator/contracts/{contract_id}": "/operator/contracts/c-1",
        "/operator/organisations/{organisation_id}": "/operator/organisations/o-2",
        "/operator/people/{account_id}": f"/operator/people/{BEN}",
        "/operator/invite": "/operator/invite",
    }.items()
}
