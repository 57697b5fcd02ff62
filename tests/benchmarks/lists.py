"""Every list of every service, for 1,000 customers with 100,000 seats: `python -m tests.benchmarks.lists [SERVICE]`.

Each list is asked through its route, in this process and without a network, with a pool of connections as a service's
process has: in its default order, by every sort, by every filter, with searches that find much, little and nothing, its
first page and one near its end. The lists are those of the services' routers, and `asked.py` says what they are asked.

DATABASE_URL is the server. Every run has databases of its own.
"""

import asyncio
import base64
import gc
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from statistics import median
from typing import Final

import httpx
from fastapi.routing import APIRoute

from services import definition_of
from services.identity.signin import keys
from shared.eventlog.write.log import Log, utc_now
from shared.eventlog.write.postgres import PostgresStore, open_pool
from shared.runtime.auth import Actor, TokenSigner, TokenVerifier, public_keys
from shared.runtime.http import make_app
from shared.runtime.metrics import Metrics
from shared.runtime.parts import Parts
from shared.runtime.settings import Settings
from shared.services import SERVICES
from tests.benchmarks.asked import ASKED, Asked, queries_of, sorts_of, wrong_in
from tests.benchmarks.measure import Result, as_service, quantiles, say
from tests.benchmarks.rows import fill
from tests.examples.engine import new_id
from tests.services.every_list import routes
from tests.services.every_route import KEY
from tests.services.tokens import NothingEnded

MOST_MS: Final = 100.0
REPEATS: Final = 5


class Addresses:
    """An address book without a request to identity: an address is the account's id at x.example."""

    async def accounts(
        self, addresses: Sequence[str], authorization: str, organisation_id: str = ""
    ) -> Mapping[str, str]:
        return {address: address.partition("@")[0] for address in addresses}


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
            metrics=Metrics("test"),
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
                if (wrong := wrong_in(route)) is not None:
                    raise SystemExit(wrong)
                found[f"{service} {route.path}"] = result = await lists.measured(route, ASKED[route.path])
                print(f"{service} {route.path}: {result}", file=sys.stderr, flush=True)
    return found


if __name__ == "__main__":
    say(asyncio.run(main(os.environ["DATABASE_URL"], sys.argv[1:] or SERVICES)))
