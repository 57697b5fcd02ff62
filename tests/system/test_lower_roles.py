"""Every operation of every service's document × everybody who has to do with the story and may not: refused, and
nothing has happened.

The operations are read from the OpenAPI documents of the running system, and who may is written here: a new operation
has to be added. Who may is asked, too, and has to get on to what the others were refused.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import asyncpg

from tests.system.running import System
from tests.system.scene import Answer, Operation, Scene, asked, operations

MANAGER: Final = frozenset({"manager"})
"""The Contract Manager, who also founded the customer's organisation."""
SEATS: Final = MANAGER | {"seat coordinator"}
COORDINATORS: Final = SEATS | {"coordinator"}
CUSTOMER: Final = COORDINATORS | {"user", "member"}
"""A user holds a seat; a member of the customer's organisation has nothing."""
CLERK: Final = frozenset({"clerk"})
"""Of the partner that ordered, whose organisation the clerk founded."""
OPERATOR: Final = frozenset({"operator"})
PUBLISHER: Final = frozenset({"publisher"})
SELLERS: Final = OPERATOR | PUBLISHER
EVERYBODY: Final = CUSTOMER | CLERK | SELLERS
NOBODY: Final = frozenset[str]()

Table: TypeAlias = Mapping[str, frozenset[str]]

WHO_MAY: Final[Mapping[str, Table]] = {
    "identity": {
        "GET /refusals": EVERYBODY,  # their own
        "GET /refusals/{command_id}": MANAGER | OPERATOR,  # the manager's, by identity
        "GET /sessions": EVERYBODY,
        "DELETE /sessions": EVERYBODY,
        "GET /sessions/current": EVERYBODY,
        "DELETE /sessions/current": EVERYBODY,
        "DELETE /sessions/{session_id}": MANAGER,  # whose it is
        "PUT /me/password": EVERYBODY,
        "GET /machines": EVERYBODY,
        "POST /machines": COORDINATORS | CLERK | OPERATOR,
        "GET /machines/{client_id}": MANAGER | OPERATOR,
        "DELETE /machines/{client_id}": MANAGER | OPERATOR,
        "POST /machines/{client_id}/secret": MANAGER | OPERATOR,
        "GET /webhooks": EVERYBODY,
        "POST /webhooks": EVERYBODY,
        "GET /webhooks/{webhook_id}": MANAGER | OPERATOR,
        "DELETE /webhooks/{webhook_id}": MANAGER | OPERATOR,
        "POST /webhooks/{webhook_id}/secret": MANAGER | OPERATOR,
        "POST /webhooks/{webhook_id}/pause": MANAGER | OPERATOR,
        "POST /webhooks/{webhook_id}/resume": MANAGER | OPERATOR,
        "POST /webhooks/{webhook_id}/replay": MANAGER | OPERATOR,
        "GET /invitations": MANAGER | CLERK | OPERATOR,
        "POST /invitations": MANAGER | CLERK | OPERATOR,
        "DELETE /invitations/{invitation_id}": MANAGER,
        "PUT /organisation/administrators/{account_id}": MANAGER | OPERATOR,
        "DELETE /organisation/administrators/{account_id}": MANAGER | OPERATOR,
        "POST /me/address/verification": EVERYBODY,
        "POST /me/address/verification/mail": EVERYBODY,
        "GET /me/oidc": EVERYBODY,
        "POST /me/oidc": EVERYBODY,
        "DELETE /me/oidc": EVERYBODY,
        "GET /me": EVERYBODY,
        "DELETE /me": EVERYBODY,
        "PUT /me/profile": EVERYBODY,
        "GET /me/clock": EVERYBODY,
        "GET /clock": EVERYBODY,
        "POST /clock": EVERYBODY,  # of a sandbox
        "GET /accounts/{account_id}": EVERYBODY,  # the seat coordinator, with whom all of them have to do
        "POST /accounts/names": EVERYBODY,  # those are left out whom one may not know
        "POST /accounts/by-address": EVERYBODY,  # of their own organisation; a partner of its customers
        "DELETE /accounts/{account_id}": OPERATOR,
        "GET /people": COORDINATORS | CLERK | OPERATOR,
        "GET /people/{account_id}": COORDINATORS | OPERATOR,
        "DELETE /people/{account_id}": SEATS | OPERATOR,  # the account is the seat coordinator's own
        "POST /people/remove/bulk": SEATS | OPERATOR,
        "GET /me/role-requests": EVERYBODY,
        "GET /me/notifications": EVERYBODY,
        "GET /me/notifications/unread": EVERYBODY,
        "POST /me/notifications/read": EVERYBODY,
        "GET /me/notification-preferences": EVERYBODY,
        "PUT /me/notification-preferences": EVERYBODY,
        "GET /notifications": OPERATOR,
        "DELETE /accounts/{account_id}/sessions": OPERATOR,
        "GET /contracts": EVERYBODY,
        "GET /contracts/{contract_id}": CUSTOMER | SELLERS,
        "GET /contracts/{contract_id}/history": CUSTOMER | SELLERS,
        "GET /contracts/{contract_id}/access": CUSTOMER | SELLERS,
        "POST /contracts/{contract_id}/role-requests": CUSTOMER,
        "POST /contracts/{contract_id}/role-requests/{account_id}/approval": MANAGER,
        "POST /contracts/{contract_id}/role-requests/{account_id}/decline": MANAGER,
        "PUT /contracts/{contract_id}/coordinators/{account_id}": MANAGER,
        "DELETE /contracts/{contract_id}/coordinators/{account_id}": MANAGER,
        "POST /contracts/{contract_id}/coordinators/bulk": MANAGER,
        "POST /contracts/{contract_id}/coordinators/revoke/bulk": MANAGER,
        "POST /contracts/{contract_id}/handover": MANAGER | OPERATOR,
    },
    "marketplace": {
        "GET /refusals": EVERYBODY,  # their own
        "GET /refusals/{command_id}": NOBODY,  # the manager's, by identity
        "GET /events/{source}/{event_id}": NOBODY,  # the event is distribution's
        "GET /clock": EVERYBODY,
        "GET /publisher/plans": PUBLISHER,
        "POST /publisher/plans": PUBLISHER,
        "POST /publisher/plans/{product_id}/prices": PUBLISHER,
        "DELETE /publisher/plans/{product_id}": PUBLISHER,
        "GET /publisher/csns": PUBLISHER,
        "POST /publisher/csns": PUBLISHER,
        "POST /publisher/csns/revocations": PUBLISHER,
        "GET /publisher/partners": PUBLISHER,
        "GET /publisher/orders": PUBLISHER,
        "POST /publisher/orders/{subscription_id}/confirmation": PUBLISHER,
        "POST /publisher/orders/{subscription_id}/decline": PUBLISHER,
        "GET /catalogue": EVERYBODY,
        "GET /catalogue/{product_id}": EVERYBODY,
        "GET /wizard": EVERYBODY,
        "GET /standing": EVERYBODY,
        "GET /orders": CLERK,
        "GET /customers": CLERK,
        "GET /partners": EVERYBODY,
        "PUT /partners/{partner}": MANAGER,
        "DELETE /partners/{partner}": MANAGER,
        "GET /instalments": EVERYBODY,
        "GET /renewals": EVERYBODY,
        "GET /seats-requests": EVERYBODY,
        "POST /subscriptions/{subscription_id}/seats-requests": MANAGER,
        "POST /subscriptions/{subscription_id}/seats-requests/{request}/confirmation": CLERK,
        "POST /subscriptions/{subscription_id}/seats-requests/{request}/decline": CLERK,
        "GET /subscriptions": EVERYBODY,
        "GET /carts": CLERK,
        "POST /carts": CLERK,
        "DELETE /carts/{cart_id}": CLERK,
        "GET /carts/{cart_id}": CLERK,
        "POST /carts/{cart_id}/lines": CLERK,
        "DELETE /carts/{cart_id}/lines/{line}": CLERK,
        "POST /carts/{cart_id}/checkout": CLERK,
        "GET /subscriptions/{subscription_id}": CUSTOMER | CLERK,
        "GET /subscriptions/{subscription_id}/history": CUSTOMER | CLERK,
        "GET /subscriptions/{subscription_id}/support": CUSTOMER | CLERK,
        "GET /subscriptions/{subscription_id}/cancel-preview": CUSTOMER | CLERK,
        "POST /subscriptions/{subscription_id}/disable-auto-renew": MANAGER | CLERK,
        "POST /subscriptions/disable-auto-renew/bulk": MANAGER | CLERK,
        "POST /subscriptions/resubmit/bulk": CLERK,
        "POST /subscriptions/abandon/bulk": CLERK,
        "PUT /subscriptions/{subscription_id}/seats": CLERK,
        "POST /subscriptions/{subscription_id}/refund": CUSTOMER | CLERK,  # to be told that there are none
        "POST /subscriptions/{subscription_id}/resubmit": CLERK,
        "POST /subscriptions/{subscription_id}/abandon": CLERK,
    },
    "entitlements": {
        "GET /refusals": EVERYBODY,  # their own
        "GET /refusals/{command_id}": NOBODY,  # the manager's, by identity
        "GET /events/{source}/{event_id}": NOBODY,  # the event is distribution's
        "GET /clock": EVERYBODY,
        "GET /pools": EVERYBODY,
        "GET /pools/{subscription_id}": CUSTOMER | SELLERS | CLERK,
        "GET /pools/{subscription_id}/history": CUSTOMER | SELLERS | CLERK,
        "GET /me/seats": EVERYBODY,
        "GET /pools/{subscription_id}/seats": CUSTOMER | SELLERS | CLERK,
        "GET /contracts/{contract_id}/credits": CUSTOMER | SELLERS,
        "GET /contracts/{contract_id}/credits/entries": CUSTOMER | SELLERS,
        "POST /pools/{subscription_id}/seats": SEATS,
        "POST /pools/{subscription_id}/seats/bulk": SEATS,
        "POST /pools/{subscription_id}/seats/unassign/bulk": SEATS,
        "DELETE /pools/{subscription_id}/seats/{account_id}": SEATS,
        "POST /pools/{subscription_id}/seats/transfer": SEATS,
        "POST /pools/{subscription_id}/seats/transfer/bulk": SEATS,
        "POST /contracts/{contract_id}/credits/grants": SELLERS,
        "POST /contracts/{contract_id}/credits/grants/bulk": SELLERS,
        "POST /contracts/{contract_id}/credits/consumptions": CUSTOMER | SELLERS,
    },
    "distribution": {
        "GET /refusals": EVERYBODY,  # their own
        "GET /refusals/{command_id}": NOBODY,  # the manager's, by identity
        "GET /events/{source}/{event_id}": SELLERS,
        "GET /clock": EVERYBODY,
        "GET /me/updates": EVERYBODY,
        "GET /publisher/updates": PUBLISHER,
        "POST /publisher/updates": PUBLISHER,
        "POST /publisher/updates/{update_id}/withdrawal": PUBLISHER,
        "POST /me/installs": EVERYBODY,
        "GET /contracts/{contract_id}/updates": COORDINATORS,
        "GET /contracts/{contract_id}/updates/{publisher}/{update_id}": COORDINATORS,
        "GET /contracts/{contract_id}/groups": COORDINATORS,
        "GET /contracts/{contract_id}/policies": COORDINATORS,
        "GET /contracts/{contract_id}/decisions": COORDINATORS,
        "GET /contracts/{contract_id}/rollouts": COORDINATORS,
        "GET /contracts/{contract_id}/rollouts/{rollout_id}": COORDINATORS,
        "GET /contracts/{contract_id}/rollouts/{rollout_id}/history": COORDINATORS,
        "GET /contracts/{contract_id}/groups/{group_id}": COORDINATORS,
        "GET /contracts/{contract_id}/groups/{group_id}/history": COORDINATORS,
        "POST /contracts/{contract_id}/groups": COORDINATORS,
        "POST /contracts/{contract_id}/groups/{group_id}/users": COORDINATORS,
        "POST /contracts/{contract_id}/groups/{group_id}/users/bulk": COORDINATORS,
        "DELETE /contracts/{contract_id}/groups/{group_id}/users/{account_id}": COORDINATORS,
        "PUT /contracts/{contract_id}/groups/{group_id}/policy": COORDINATORS,
        "POST /contracts/{contract_id}/updates/{publisher}/{update_id}/approval": COORDINATORS,
        "POST /contracts/{contract_id}/updates/{publisher}/{update_id}/hold": COORDINATORS,
        "POST /contracts/{contract_id}/updates/{publisher}/{update_id}/schedule": COORDINATORS,
        "POST /contracts/{contract_id}/rollouts/{rollout_id}/pause": COORDINATORS,
        "POST /contracts/{contract_id}/rollouts/{rollout_id}/resume": COORDINATORS,
        "POST /contracts/{contract_id}/rollouts/{rollout_id}/stop": COORDINATORS,
        "POST /contracts/{contract_id}/rollouts/{rollout_id}/exclusions": COORDINATORS,
        "POST /contracts/{contract_id}/rollouts/{rollout_id}/retry": COORDINATORS,
        "POST /contracts/{contract_id}/rollouts/{rollout_id}/move-on": COORDINATORS,
    },
}
"""Who may, of everybody who has to do with the story. EVERYBODY: what is one's own, or everybody's."""

NAMED: Final = {
    "POST /subscriptions/disable-auto-renew/bulk": ("subscription_id",),
    "POST /subscriptions/resubmit/bulk": ("subscription_id",),
    "POST /subscriptions/abandon/bulk": ("subscription_id",),
    "POST /contracts/{contract_id}/coordinators/revoke/bulk": ("account_id",),
    "POST /people/remove/bulk": ("account_id",),
}
"""What of the scene the body has to name, for an operation whose path does not."""
EVENTS_OF: Final = """
    select stream || ' ' || type from log.events where position > $1 and actor = any($2::text[]) order by position"""


def test_of_every_operation_it_is_written_who_may(scene: Scene) -> None:
    found = {(name, f"{method} {path}") for name, method, path, _ in operations(scene.documents)}
    written = {(name, what) for name, table in WHO_MAY.items() for what in table}
    missing = sorted(f"{name}: {what}" for name, what in found - written)
    assert not missing, f"add to WHO_MAY who may do this, EVERYBODY if it is one's own: {missing}"
    assert written <= found, f"these are in WHO_MAY, and in no document: {sorted(written - found)}"


async def _heads(dsns: Mapping[str, str]) -> dict[str, int]:
    return {name: (await _asked(dsn, "select position from log.head"))[0] for name, dsn in dsns.items()}


async def _asked(dsn: str, query: str, *values: Any) -> list[Any]:
    db = await asyncpg.connect(dsn)
    try:
        return [row[0] for row in await db.fetch(query, *values)]
    finally:
        await db.close()


async def _since(dsns: Mapping[str, str], heads: Mapping[str, int], accounts: list[str]) -> list[str]:
    """What these accounts have brought about since."""
    return [each for name, dsn in dsns.items() for each in await _asked(dsn, EVENTS_OF, heads[name], accounts)]


def _rule(answer: Answer) -> str:
    """The rule that it was refused by; "" where it was not."""
    return str(json.loads(answer[1])["rule"]) if answer[0] >= 400 else ""


def _faults(scene: Scene, operation: Operation, may: frozenset[str]) -> list[str]:
    name, method, path, _ = operation
    named = {field: scene.ids[field] for field in NAMED.get(f"{method} {path}", ())}
    wrong, rules = [], set[str]()
    for what in sorted(EVERYBODY - may):
        answer = asked(scene.people[what], operation, scene.ids, scene.documents[name], named=named, considered=False)
        if answer[0] not in (401, 403, 404, 409) or (answer[0] == 404) != (_rule(answer) == "unknown"):
            wrong.append(f"{name} {method} {path} as {what}: {answer[:2]}")
        else:
            rules.add(_rule(answer))
    for what in sorted(may) if method != "GET" or rules else ():
        answer = asked(scene.people[what], operation, scene.ids, scene.documents[name], named=named)
        if answer[0] in (401, 422) or answer[0] >= 500 or _rule(answer) in rules - {""}:
            wrong.append(f"{name} {method} {path} as {what}, who may: {answer[:2]}")
    return wrong


def test_whoever_may_not_is_refused_and_nothing_has_happened(scene: Scene, running: System) -> None:
    dsns = running.dsns()
    accounts = [each.session["account_id"] for each in scene.people.values()]
    heads = asyncio.run(_heads(dsns))
    wrong = [
        fault
        for operation in operations(scene.documents)
        if (may := WHO_MAY[operation[0]].get(f"{operation[1]} {operation[2]}", EVERYBODY)) != EVERYBODY
        for fault in _faults(scene, operation, may)
    ]
    assert not wrong, "\n".join(wrong)
    assert asyncio.run(_since(dsns, heads, accounts)) == []
