"""What the benchmark of lists asks each list of every service: by whom, with which filters, and searches.

`test_asked.py` compares it with the routes, so that whoever adds a list or a filter learns it from `make test`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from shared.events.identity import OrganisationKind
from shared.runtime.auth import Actor
from shared.runtime.wellformed import Parameters
from tests.benchmarks.rows import BOUGHT, CONTRACT_ID, GROUP, OWNER, STARTED, id_of
from tests.services.every_list import PAGING

CUSTOMER: Final = id_of("organisation", 0)
PARTNER: Final = id_of("partner", 0)
AT_ADDRESS: Final = f"{id_of('account', 4711)}@x.example"
AT_OWNERS_ADDRESS: Final = f"{OWNER}@x.example"


def _actor(kind: OrganisationKind, organisation_id: str, account_id: str) -> Actor:
    return Actor(account_id=account_id, organisation_id=organisation_id, organisation_kind=kind)


OF_CUSTOMER: Final = _actor("customer", CUSTOMER, OWNER)
OF_PARTNER: Final = _actor("partner", PARTNER, id_of("clerk", 0))
OF_OPERATOR: Final = _actor("operator", "operator", "operator")
OF_PUBLISHER: Final = Actor(
    account_id="publisher", organisation_id="publisher", organisation_kind="publisher", publisher="autodesk"
)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Who asks for a list, and what for."""

    actors: Sequence[Actor]
    path: Mapping[str, str] = field(default_factory=dict)
    filters: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Values of each filter: one that many rows have, then rarer ones."""
    searches: Sequence[str] = ()
    """What finds much, little and nothing; none where the list can't be searched."""


SUBSCRIPTION_FILTERS: Final = {
    "status": ("confirmed", "failed", "ended"),
    "customer": (CUSTOMER, id_of("organisation", 500)),
    "partner": (PARTNER,),
    "contract_id": (CONTRACT_ID, id_of("contract", 1500)),
    "publisher": ("autodesk", "nobody"),
    "product_id": ("C1RK1WW1762L001",),
    "auto_renew": ("on", "off"),
    "ends_from": ("2027-01-01", "2028-11-01"),
    "ends_before": ("2028-01-01", "2027-01-10"),
}
SUBSCRIPTION_SEARCHES: Final = ("product", "pro", "AOA-10000042", "büro", "xq", "nothing of the kind")
OF_CONTRACT: Final = {"contract_id": CONTRACT_ID}

ASKED: Final[Mapping[str, Asked]] = {
    "/sessions": Asked(actors=(OF_CUSTOMER,)),
    "/me/oidc": Asked(actors=(OF_CUSTOMER,)),
    "/machines": Asked(
        actors=(OF_CUSTOMER,),
        filters={
            "registered_by": (OWNER,),
            "registered_by_email": (AT_ADDRESS,),
            "acts_for": (OWNER,),
            "acts_for_email": (AT_ADDRESS,),
            "revoked": ("false", "true"),
        },
        searches=("agent", "agent 17", "nothing"),
    ),
    "/webhooks": Asked(
        actors=(OF_CUSTOMER,),
        filters={"topic": ("topic", "entitlements.events.v1"), "state": ("running", "parked")},
        searches=("dashboard", "dashboard 7", "nothing"),
    ),
    "/invitations": Asked(
        actors=(OF_CUSTOMER,),
        filters={
            "state": ("pending", "accepted", "revoked"),
            "issued_by": (OWNER,),
            "issued_by_email": (AT_ADDRESS,),
        },
    ),
    "/refusals": Asked(
        actors=(OF_OPERATOR, OF_CUSTOMER),
        filters={"account_id": (OWNER,), "email": (AT_OWNERS_ADDRESS,), "rule": ("role-missing", "seat-right-missing")},
        searches=("only", "only 4711", "nothing"),
    ),
    "/people": Asked(
        actors=(OF_CUSTOMER,),
        filters={
            "role": ("software_coordinator", "contract_manager"),
            "contract_id": (CONTRACT_ID,),
            "organisation_id": (CUSTOMER,),
        },
        searches=("okafor", "person 17", "nobody"),
    ),
    "/me/role-requests": Asked(
        actors=(OF_CUSTOMER,), filters={"state": ("waiting", "approved"), "contract_id": (CONTRACT_ID,)}
    ),
    "/me/notifications": Asked(
        actors=(OF_CUSTOMER,),
        filters={"state": ("all", "unread"), "kind": ("seat", "partner-engagement", "security")},
    ),
    "/notifications": Asked(
        actors=(OF_OPERATOR,),
        filters={
            "mail": ("sent", "bounced", "suppressed"),
            "kind": ("seat", "partner-engagement", "security"),
            "account_id": (OWNER, id_of("account", 4711)),
            "email": (AT_ADDRESS,),
        },
    ),
    "/contracts": Asked(
        actors=(OF_OPERATOR, OF_CUSTOMER),
        filters={
            "programme": ("subscription", "none"),
            "manager": (OWNER, id_of("account", 2000)),
            "manager_email": (AT_ADDRESS,),
        },
        searches=("autodesk", CONTRACT_ID[:8], "nothing"),
    ),
    "/contracts/{contract_id}/history": Asked(actors=(OF_CUSTOMER,), path=OF_CONTRACT),
    "/partners": Asked(actors=(OF_CUSTOMER,), filters={"status": ("engaged",)}, searches=("systemhaus", "nobody")),
    "/customers": Asked(
        actors=(OF_PARTNER,),
        filters={"status": ("engaged", "released"), "customer": (CUSTOMER,), "open_orders": ("true", "false")},
        searches=("büro", CUSTOMER[:8], "nobody"),
    ),
    "/instalments": Asked(
        actors=(OF_PARTNER, OF_CUSTOMER),
        filters={
            "customer": (CUSTOMER, id_of("organisation", 500)),
            "due_from": ("2026-01-01", "2027-01-01"),
            "due_before": ("2028-12-31", "2027-01-01"),
        },
        searches=("product", "product 149", "nobody"),
    ),
    "/seats-requests": Asked(
        actors=(OF_PARTNER, OF_CUSTOMER),
        filters={"status": ("open", "replaced"), "subscription_id": (BOUGHT,), "customer": (CUSTOMER,)},
        searches=("product", "product 149", "nobody"),
    ),
    "/carts": Asked(
        actors=(OF_PARTNER,),
        filters={"status": ("open", "discarded"), "opened_by": (id_of("clerk", 0),), "opened_by_email": (AT_ADDRESS,)},
        searches=("product", "product 149", "nothing"),
    ),
    "/catalogue": Asked(
        actors=(OF_PARTNER,),
        filters={
            "product": ("product-7",),
            "period": ("annual",),
            "support": ("basic",),
            "billing": ("upfront",),
            "category": ("open",),
            "product_id": ("C1RK1WW1762L001",),
            "publisher": ("autodesk",),
        },
        searches=("product", "L001", "nothing"),
    ),
    "/orders": Asked(actors=(OF_PARTNER,), filters=SUBSCRIPTION_FILTERS, searches=SUBSCRIPTION_SEARCHES),
    "/subscriptions": Asked(
        actors=(OF_PARTNER, OF_CUSTOMER), filters=SUBSCRIPTION_FILTERS, searches=SUBSCRIPTION_SEARCHES
    ),
    "/subscriptions/{subscription_id}/history": Asked(actors=(OF_CUSTOMER,), path={"subscription_id": BOUGHT}),
    "/publisher/plans": Asked(
        actors=(OF_PUBLISHER,),
        filters={"status": ("listed", "withdrawn")},
        searches=("product", "L0-03", "nothing"),
    ),
    "/publisher/csns": Asked(
        actors=(OF_PUBLISHER,),
        filters={"status": ("valid", "revoked")},
        searches=("5100", "5100000077", "nothing"),
    ),
    "/publisher/partners": Asked(actors=(OF_PUBLISHER,), searches=("systemhaus", "systemhaus 7", "nobody")),
    "/publisher/orders": Asked(
        actors=(OF_PUBLISHER,),
        filters={"status": ("confirmed", "awaiting", "abandoned")},
        searches=SUBSCRIPTION_SEARCHES,
    ),
    "/pools": Asked(
        actors=(OF_OPERATOR, OF_PARTNER, OF_CUSTOMER),
        filters={
            "contract_id": (CONTRACT_ID, id_of("contract", 1500)),
            "customer": (CUSTOMER, id_of("organisation", 500)),
            "product": ("product-7",),
            "phase": ("active", "suspended", "upcoming"),
            "free": ("true", "false"),
        },
        searches=("product", "product-149", CONTRACT_ID[:8], "xq", "nothing"),
    ),
    "/pools/{subscription_id}/seats": Asked(
        actors=(OF_CUSTOMER,),
        path={"subscription_id": BOUGHT},
        filters={"account_id": (id_of("account", 4711),), "email": (AT_ADDRESS,)},
    ),
    "/me/seats": Asked(actors=(OF_CUSTOMER,), filters={"phase": ("active", "ended")}),
    "/contracts/{contract_id}/credits/entries": Asked(
        actors=(OF_CUSTOMER,),
        path=OF_CONTRACT,
        filters={
            "kind": ("consumed", "expired"),
            "grant_id": (id_of("grant", 7),),
            "account_id": (id_of("account", 7),),
            "email": (AT_ADDRESS,),
        },
        searches=("building", "building 4711", "nothing"),
    ),
    "/pools/{subscription_id}/history": Asked(actors=(OF_CUSTOMER,), path={"subscription_id": BOUGHT}),
    "/contracts/{contract_id}/updates": Asked(
        actors=(OF_CUSTOMER,),
        path=OF_CONTRACT,
        filters={
            "product": ("product-7",),
            "publisher": ("autodesk", "nobody"),
            "kind": ("update", "extension"),
            "severity": ("critical", "important"),
            "platform": ("windows", "macos"),
            "decision": ("none", "approved", "scheduled"),
        },
        searches=("service pack", "pack 4711", "nothing"),
    ),
    "/contracts/{contract_id}/groups": Asked(
        actors=(OF_CUSTOMER,),
        path=OF_CONTRACT,
        filters={"member": (OWNER,), "member_email": (AT_ADDRESS,)},
        searches=("floor", "floor 77", "nothing"),
    ),
    "/contracts/{contract_id}/policies": Asked(
        actors=(OF_CUSTOMER,),
        path=OF_CONTRACT,
        filters={"member": (OWNER,), "member_email": (AT_ADDRESS,)},
        searches=("floor", "floor 77", "nothing"),
    ),
    "/contracts/{contract_id}/decisions": Asked(
        actors=(OF_CUSTOMER,),
        path=OF_CONTRACT,
        filters={
            "group_id": (GROUP,),
            "decision": ("approved", "none"),
            "publisher": ("autodesk", "nobody"),
            "update_id": ("update-7",),
        },
        searches=("reason", "reason 4711", "nothing"),
    ),
    "/contracts/{contract_id}/rollouts": Asked(
        actors=(OF_CUSTOMER,),
        path=OF_CONTRACT,
        filters={
            "status": ("running", "stopped"),
            "publisher": ("autodesk", "nobody"),
            "update_id": ("update-7",),
            "group_id": (GROUP,),
        },
        searches=("update", "update-77", "nothing"),
    ),
    "/me/updates": Asked(actors=(OF_CUSTOMER,), filters={"machine": ("laptop", "workstation"), "due": ("any", "now")}),
    "/publisher/updates": Asked(
        actors=(OF_PUBLISHER,),
        filters={"status": ("offered", "withdrawn")},
        searches=("service pack", "pack 4710", "nothing"),
    ),
    "/contracts/{contract_id}/rollouts/{rollout_id}/history": Asked(
        actors=(OF_CUSTOMER,), path=OF_CONTRACT | {"rollout_id": STARTED}
    ),
    "/contracts/{contract_id}/groups/{group_id}/history": Asked(
        actors=(OF_CUSTOMER,), path=OF_CONTRACT | {"group_id": GROUP}
    ),
}


def wrong_in(route: APIRoute) -> str | None:
    """Return what `ASKED` lacks of a list, or has and the list does not, or None."""
    asked = ASKED.get(route.path)
    if asked is None:
        return f"{route.path} is a list without an entry in ASKED: add one, with values for each filter"
    known, values = Parameters.of(route.dependant).known - PAGING, _values(asked)
    if known != values.keys():
        return f"{route.path}: ASKED has {sorted(values)}, the route {sorted(known)}"
    if missing := set(route.param_convertors) - asked.path.keys():
        return f"{route.path}: ASKED has no value for {sorted(missing)} of the path"
    refused = [
        f"{field.alias}={value}"
        for dependant in _dependants(route)
        for field in dependant.query_params
        for value in values.get(field.alias, ())
        if field.validate(value)[1]
    ]
    return f"{route.path}: the route refuses {', '.join(refused)}" if refused else None


def queries_of(route: APIRoute, asked: Asked) -> Iterator[dict[str, str]]:
    """Yield the parameters of each request for a list, those of its pages near the end excepted."""
    yield {}
    for name, given in _values(asked).items():
        for value in given:
            yield {name: value}
    orders = sorts_of(route)
    for order in orders:
        yield {"sort": order}
    rarest = [{name: given[-1]} for name, given in asked.filters.items()]
    rarest += [{"q": search} for search in asked.searches]
    for number, chosen in enumerate(rarest):
        for order in orders[number % 3 :: 3]:
            yield {**chosen, "sort": order}


def sorts_of(route: APIRoute) -> Sequence[str]:
    """Return the orders that a list can be asked for in."""
    for dependant in _dependants(route):
        for parameter in dependant.query_params:
            if parameter.alias == "sort":
                extra = parameter.field_info.json_schema_extra
                assert isinstance(extra, dict) and isinstance(extra["enum"], list)
                return [str(choice) for choice in extra["enum"]]
    return ()


def _values(asked: Asked) -> Mapping[str, Sequence[str]]:
    return {**asked.filters, **({"q": asked.searches} if asked.searches else {})}


def _dependants(route: APIRoute) -> Iterator[Dependant]:
    waiting = [route.dependant]
    while waiting:
        dependant = waiting.pop()
        waiting += dependant.dependencies
        yield dependant
