"""Every list of every service, for 1,000 customers with 100,000 seats: `python -m tests.benchmarks.lists [SERVICE]`.

Each list is asked through its route, in this process and without a network, with a pool of connections as a service's
process has: in its default order, by every sort, by every filter, with searches that find much, little and nothing, its
first page and one near its end. The lists are those of the services' routers. One that has no line in `ASKED`, or has a
filter without a value there, ends the benchmark: none is forgotten.

DATABASE_URL is the server. Every run has databases of its own.
"""

import asyncio
import base64
import gc
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Final

import httpx
from fastapi.routing import APIRoute

from services import definition_of
from services.identity.signin import keys
from shared.eventlog.write.log import Log, utc_now
from shared.eventlog.write.postgres import PostgresStore, open_pool
from shared.events.identity import OrganisationKind
from shared.runtime.auth import Actor, TokenSigner, TokenVerifier, public_keys
from shared.runtime.http import make_app
from shared.runtime.metrics import Metrics
from shared.runtime.parts import Parts
from shared.runtime.settings import Settings
from shared.runtime.wellformed import Parameters
from shared.services import SERVICES
from tests.benchmarks.measure import Result, as_service, quantiles, say
from tests.benchmarks.rows import BOUGHT, CONTRACT_ID, GROUP, OWNER, STARTED, fill, id_of
from tests.examples.engine import new_id
from tests.services.every_list import PAGING, routes
from tests.services.every_route import KEY
from tests.services.tokens import NothingEnded

MOST_MS: Final = 100.0
REPEATS: Final = 5

CUSTOMER: Final = id_of("organisation", 0)
PARTNER: Final = id_of("partner", 0)
AT_ADDRESS: Final = f"{id_of('account', 4711)}@x.example"


class Addresses:
    """An address book without a request to identity: an address is the account's id at x.example."""

    async def accounts(
        self, addresses: Sequence[str], authorization: str, organisation_id: str = ""
    ) -> Mapping[str, str]:
        return {address: address.partition("@")[0] for address in addresses}


def _actor(kind: OrganisationKind, organisation_id: str, account_id: str) -> Actor:
    return Actor(account_id=account_id, organisation_id=organisation_id, organisation_kind=kind)


OF_CUSTOMER: Final = _actor("customer", CUSTOMER, OWNER)
OF_PARTNER: Final = _actor("partner", PARTNER, id_of("clerk", 0))
OF_OPERATOR: Final = _actor("operator", "operator", "operator")


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
    "/machines": Asked(
        actors=(OF_CUSTOMER,),
        filters={"registered_by": (OWNER,), "acts_for": (OWNER,), "revoked": ("false", "true")},
        searches=("agent", "agent 17", "nothing"),
    ),
    "/invitations": Asked(
        actors=(OF_CUSTOMER,), filters={"state": ("pending", "accepted", "revoked"), "issued_by": (OWNER,)}
    ),
    "/refusals": Asked(
        actors=(OF_OPERATOR, OF_CUSTOMER),
        filters={"account_id": (OWNER,), "rule": ("role-missing", "seat-right-missing")},
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
    "/contracts": Asked(
        actors=(OF_OPERATOR, OF_CUSTOMER),
        filters={"programme": ("subscription", "none"), "manager": (OWNER, id_of("account", 2000))},
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
    "/me/updates": Asked(actors=(OF_CUSTOMER,), filters={"machine": ("laptop", "workstation")}),
    "/contracts/{contract_id}/rollouts/{rollout_id}/history": Asked(
        actors=(OF_CUSTOMER,), path=OF_CONTRACT | {"rollout_id": STARTED}
    ),
    "/contracts/{contract_id}/groups/{group_id}/history": Asked(
        actors=(OF_CUSTOMER,), path=OF_CONTRACT | {"group_id": GROUP}
    ),
}


def queries_of(route: APIRoute, asked: Asked) -> Iterator[dict[str, str]]:
    """Yield the parameters of each request for a list, those of its pages near the end excepted."""
    known = Parameters.of(route.dependant).known - PAGING
    values = {**asked.filters, **({"q": asked.searches} if asked.searches else {})}
    if known != values.keys():
        raise SystemExit(f"{route.path}: ASKED has {sorted(values)}, the route {sorted(known)}")
    yield {}
    for name, given in values.items():
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
    waiting = [route.dependant]
    while waiting:
        dependant = waiting.pop()
        waiting += dependant.dependencies
        for parameter in dependant.query_params:
            if parameter.alias == "sort":
                extra = parameter.field_info.json_schema_extra
                assert isinstance(extra, dict) and isinstance(extra["enum"], list)
                return [str(choice) for choice in extra["enum"]]
    return ()


class Lists:
    """A service's application with its database, as one caller after the other asks it."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def measured(self, route: APIRoute, asked: Asked) -> Result:
        """Ask a list everything, and return how long it took, and the slowest requests."""
        path = route.path.format(**asked.path)
        times: dict[str, list[int]] = {}
        for actor in asked.actors:
            for query in queries_of(route, asked):
                times[f"{actor.organisation_kind} {query}"] = await self._times(path, actor, query)
            for order in sorts_of(route):
                late = await self._near_the_end(path, actor, order)
                if late is not None:
                    times[f"{actor.organisation_kind} {order}, near the end"] = await self._times(path, actor, late)
        medians = {name: round(median(taken) / 1e6, 1) for name, taken in times.items()}
        every = [taken for each in times.values() for taken in each]
        return {
            "requests": len(every),
            **quantiles(every),
            "max_ms": round(max(every) / 1e6, 1),
            "slow": {
                name: taken for name, taken in sorted(medians.items(), key=lambda each: -each[1]) if taken > MOST_MS
            },
            "slowest": max(medians, key=lambda name: medians[name]),
            "slowest_ms": max(medians.values()),
        }

    async def _times(self, path: str, actor: Actor, query: Mapping[str, str]) -> list[int]:
        headers, taken = self._headers(actor), []
        for number in range(1 + REPEATS):
            begin = time.perf_counter_ns()
            answer = await self._http.get(path, params=dict(query), headers=headers)
            if number:  # the first one may wait for a connection
                taken.append(time.perf_counter_ns() - begin)
            if answer.status_code != 200:
                raise SystemExit(f"{path} {query}: {answer.status_code} {answer.text[:500]}")
        return taken

    async def _near_the_end(self, path: str, actor: Actor, order: str) -> dict[str, str] | None:
        """Return the query of a page 200 rows before the end: the position is that of the opposite order's page."""
        opposite = order[1:] if order.startswith("-") else f"-{order}"
        cursors = []
        for each in (order, opposite):
            answer = await self._http.get(path, params={"sort": each, "limit": "200"}, headers=self._headers(actor))
            cursors.append(answer.json()["next"])
        if None in cursors:
            return None
        digest, position = (json.loads(base64.urlsafe_b64decode(each + "===")) for each in cursors)
        text = json.dumps([digest[0], *position[1:]], ensure_ascii=False)
        return {"sort": order, "after": base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")}

    def _headers(self, actor: Actor) -> dict[str, str]:
        return {"Authorization": f"Bearer {TokenSigner(KEY).sign(actor, new_id(), 3600)}"}


@asynccontextmanager
async def serving(service: str, url: str) -> AsyncIterator[Lists]:
    """Fill a database of the service, and open its application."""
    dsn = await as_service(f"{url}/lists_{service}", service)
    definition = definition_of(service)
    pool, store = await open_pool(dsn, 2, 12), await PostgresStore(dsn, service).open()
    try:
        sealer = None if definition.sealer is None else definition.sealer(pool)
        begin = time.perf_counter()
        await fill(service, dsn, pool, Log(store, service, sealer=sealer))
        print(f"{service} filled in {time.perf_counter() - begin:.0f} s", file=sys.stderr)

        async def jwks() -> dict[str, object]:
            return public_keys([KEY])

        parts = Parts(
            service=service,
            settings=Settings(),
            metrics=Metrics(),
            verifier=TokenVerifier(jwks, NothingEnded()),
            new_id=new_id,
            now=utc_now,
        )
        parts.opened_log, parts.opened_db = Log(store, service, sealer=sealer), pool
        parts.address_book = Addresses()
        app = make_app(parts, definition.commands, definition.queries, api=True)
        app.state.keys = keys.Keys([KEY])
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://lists") as http:
            yield Lists(http)
    finally:
        await pool.close()
        await store.close()


async def main(url: str, chosen: Sequence[str]) -> Result:
    """Measure the lists of these services."""
    found: Result = {}
    for service in chosen:
        async with serving(service, url) as lists:
            gc.freeze()
            for route in routes(service):
                if route.path not in ASKED:
                    raise SystemExit(f"{route.path} is a list without a line in ASKED")
                found[f"{service} {route.path}"] = result = await lists.measured(route, ASKED[route.path])
                print(f"{service} {route.path}: {result}", file=sys.stderr, flush=True)
    return found


if __name__ == "__main__":
    say(asyncio.run(main(os.environ["DATABASE_URL"], sys.argv[1:] or SERVICES)))
