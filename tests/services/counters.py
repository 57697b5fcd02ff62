"""A service of counters, to send commands to over HTTP."""

from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, cast

import httpx
from fastapi import APIRouter
from joserfc.jwk import ECKey
from pydantic import BaseModel, Field, SecretStr

from shared.eventlog.write.log import Log, utc_now
from shared.eventlog.write.memory import MemoryStore
from shared.runtime.auth import Actor, TokenSigner, TokenVerifier, public_keys
from shared.runtime.database import Pool
from shared.runtime.http import CurrentActor, Database, make_app
from shared.runtime.metrics import Metrics
from shared.runtime.parts import Parts
from shared.runtime.problems import unknown
from shared.runtime.routes import Addressed, CommandRoutes, RequestContext
from shared.runtime.settings import Settings
from tests.examples.engine import COUNTER, Count, new_id
from tests.services.tokens import NothingEnded

KEY = ECKey.generate_key("P-256", {"kid": "key"})

TOKEN = TokenSigner(KEY).sign(
    Actor(account_id="account", organisation_id="organisation", organisation_kind="customer"), "token", lifetime_s=3600
)

QUERIES = APIRouter()


@QUERIES.get("/broken")
async def broken_query() -> None:
    raise ZeroDivisionError("a secret")


@QUERIES.get("/mine/{number}")
async def mine(actor: CurrentActor, number: int) -> str:
    return f"{actor.organisation_id} {number}"


@QUERIES.get("/table")
async def table(db: Database) -> None:
    """Never gets its database."""


async def _keys() -> Any:
    return public_keys([KEY])


def parts() -> Parts:
    return Parts(
        service="test",
        settings=Settings(),
        metrics=Metrics("test"),
        verifier=TokenVerifier(_keys, NothingEnded()),
        new_id=new_id,
        now=utc_now,
    )


async def count(context: RequestContext[Count], key: str) -> Addressed[Count]:
    if key == "unknown":
        raise unknown("counter")
    if key == "broken":
        raise ZeroDivisionError("a secret")
    return Addressed(key, context.asked)


class Unread(AsyncIterable[bytes]):
    """A body that must not be read."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        raise AssertionError("the body was read")


class WithSecret(BaseModel):
    by: str
    secret: Annotated[SecretStr, Field(max_length=99)] | None = None


async def count_secretly(context: RequestContext[WithSecret], key: str) -> Addressed[Count]:
    return Addressed(key, Count(by=context.asked.by))


def counting() -> CommandRoutes:
    """Two routes of counters."""
    commands = CommandRoutes()
    commands.route("POST", "/counters/{key}", COUNTER)(count)
    commands.route("POST", "/secret/{key}", COUNTER)(count_secretly)
    return commands


@asynccontextmanager
async def a_client(store: MemoryStore) -> AsyncIterator[httpx.AsyncClient]:
    """Of an application with two routes and some queries."""
    made = parts()
    made.opened_log = Log(store, "entitlements", observer=made.metrics)
    made.opened_db = cast("Pool", object())  # these routes ask it nothing
    app = make_app(made, counting(), QUERIES, api=True)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as opened:
        yield opened
