"""The people of a story and strangers to it, and every operation of the running system's OpenAPI documents to ask."""

import asyncio
import json
import re
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from secrets import token_hex
from typing import Any, Final
from urllib.parse import unquote

import httpx

from deploy.story.__main__ import STEPS
from deploy.story.doors import open_doors
from deploy.story.later import rollout
from deploy.story.steps import ANNUAL, PUBLISHER, Story, cast
from services import definitions
from shared.events import AccountOpened
from shared.services import SERVICES, url_variable
from tests.cli.stores import fetch
from tests.system.people import Someone, invited
from tests.system.rest import noting
from tests.system.running import System, as_its_operator

Operation = tuple[str, str, str, dict[str, Any]]
Answer = tuple[int, str, Mapping[str, str]]

TEXTS: Final = ("x1", "DE", "UTC", "en", "EUR", "09:00", "2027-01-31", "https://x.example", "0" * 64)
UNTIL_ROLLOUT: Final = STEPS.index(rollout) + 1
_EACH_ITS_OWN: Final = ("date", "x-correlation-id", "x-request-id", "content-length")
"""Headers that differ from one answer to the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A story as far as its rollout."""

    ids: Mapping[str, str]
    """What its people have, by the names of path parameters."""
    people: Mapping[str, Someone]
    """Who has to do with it, by what they are."""
    strangers: Mapping[str, Someone]
    documents: Mapping[str, dict[str, Any]]

    def colleague(self, system: System) -> Someone:
        """Somebody new of the customer, of whom all services have heard."""
        manager = self.people["manager"]
        manager.fresh()
        someone = manager.colleague(system)
        waits_until_known(system, someone.session["account_id"])
        return someone

    def invented(self) -> dict[str, str]:
        """Ids of the same names that nothing has."""
        return {name: known if name in ("line", "publisher") else str(uuid.uuid4()) for name, known in self.ids.items()}


KNOWING: Final = noting(definitions(), AccountOpened, "identity")
"""The projections of other services that note new accounts."""


def waits_until_known(system: System, account_id: str) -> None:
    """Wait until all services know an account. Raises AssertionError after a minute."""
    deadline = time.monotonic() + 60
    for service, consumers in KNOWING.items():
        known = f"select consumer from engine.seen where stream = 'account-{account_id}'"
        while lacking := {*consumers} - {row["consumer"] for row in fetch(system.dsns()[service], known)}:
            assert time.monotonic() < deadline, f"{lacking} did not hear of {account_id}"
            time.sleep(0.1)


async def _ids(story: Story) -> dict[str, str]:
    ok, manager = story.doors.ok, story.manager
    cart = (await ok("marketplace", "POST", "/carts", story.clerk, {}))["events"][0]["data"]["cart_id"]
    await ok("marketplace", "POST", f"/carts/{cart}/lines", story.clerk, {"product_id": ANNUAL, "seats": 1})
    groups = await ok("distribution", "GET", f"/contracts/{story.contract}/groups", story.cad)
    rollouts = await ok("distribution", "GET", f"/contracts/{story.contract}/rollouts", story.cad)
    until = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    form = {"name": "Agent", "scopes": ["read"], "expires_at": until}
    machine = await ok("identity", "POST", "/machines", manager, form)
    receiver = {"name": "Receiver", "address": "https://receiver.example/", "topic": "identity.events.v1"}
    webhook = await ok("identity", "POST", "/webhooks", manager, receiver)
    nothing = {"update_id": "nothing", "publisher": PUBLISHER, "reason": "There is no such update."}
    withdrawal = await story.doors.emit(PUBLISHER, "UpdateWithdrawn", nothing)
    invitation = await ok("identity", "POST", "/invitations", manager, {"email": f"{token_hex(4)}@strangers.example"})
    session = await ok("identity", "GET", "/sessions/current", manager)
    nobody = f"/contracts/{story.contract}/role-requests/{uuid.uuid4()}/approval"
    refusal = await story.doors.refused("identity", "POST", nobody, manager, {}, rule="no-request")
    requests = f"/subscriptions/{story.orders[0]}/seats-requests"
    request = (await ok("marketplace", "POST", requests, manager, {"seats": 900}))["events"][0]["id"]
    return {
        "contract_id": story.contract,
        "subscription_id": story.orders[0],
        "account_id": story.cad.account_id,
        "cart_id": cart,
        "line": "1",
        "group_id": groups["items"][-1]["group_id"],
        "rollout_id": rollouts["items"][0]["rollout_id"],
        "publisher": PUBLISHER,
        "update_id": story.update_id,
        "source": f"urn:publisher:{PUBLISHER}",
        "event_id": withdrawal,
        "client_id": machine["client_id"],
        "webhook_id": webhook["webhook_id"],
        "invitation_id": invitation["invitation_id"],
        "session_id": session["session_id"],
        "product_id": ANNUAL,
        "command_id": refusal["command_id"],
        "partner": story.clerk.organisation_id,
        "request": request,
    }


async def _played() -> tuple[Story, dict[str, str]]:
    async with open_doors(f"story-{token_hex(4)}") as doors:
        story = cast(doors, lambda _line: None)
        for step in STEPS[:UNTIL_ROLLOUT]:
            await step(story)
        second = f"/contracts/{story.contract}/coordinators/{story.designers[1].account_id}"
        await doors.ok("identity", "PUT", second, story.manager, {"may_assign_seats": False})
        updates = f"/contracts/{story.contract}/updates"
        await doors.ok("distribution", "GET", updates, story.designers[1])  # once its service has heard of the role
        return story, await _ids(story)


def play(system: System) -> Scene:
    """Play the story as far as its rollout, and sign everybody in."""
    with as_its_operator(system):
        story, ids = asyncio.run(_played())
        run = token_hex(4)
        own = invited(system, "publisher", f"Own {run}", PUBLISHER)
        operator = invited(system, "operator", f"Operator {run}")
        rival = invited(system, "publisher", f"Rival {run}", f"rival-{run}")
    manager = Someone(system, email=story.manager.email, known=True)
    people = {
        "manager": manager,
        "seat coordinator": Someone(system, email=story.cad.email, known=True),
        "coordinator": Someone(system, email=story.designers[1].email, known=True),
        "user": Someone(system, email=story.designers[0].email, known=True),
        "member": manager.colleague(system),
        "clerk": Someone(system, email=story.clerk.email, known=True),
        "publisher": own,
        "operator": operator,
    }
    partner = {"organisation": {"name": f"Partner {run}", "kind": "partner"}}
    strangers = {
        "another customer's": Someone(system),
        "another partner's": Someone(system, partner),
        "another publisher's": rival,
    }
    documents = {name: httpx.get(f"{system.env[url_variable(name)]}/openapi.json").json() for name in SERVICES}
    return Scene(ids=ids, people=people, strangers=strangers, documents=documents)


def operations(documents: Mapping[str, dict[str, Any]]) -> Iterator[Operation]:
    """Those that ask for a token."""
    for name, document in documents.items():
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if operation["security"]:
                    yield name, method.upper(), path, operation


def body_of(operation: Operation, document: dict[str, Any]) -> Any:
    """A body that the operation allows; None where it has none."""
    content = operation[3].get("requestBody", {}).get("content", {}).get("application/json")
    return None if content is None else example(content["schema"], document["components"]["schemas"])


def fields(operation: Operation, document: dict[str, Any]) -> frozenset[str]:
    """The names of the texts, no points in time, that its body or each item of that may have."""
    content = operation[3].get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return frozenset()
    form = _resolved(content["schema"], document)
    if set(form.get("properties", ())) == {"items"}:
        form = _resolved(form["properties"]["items"]["items"], document)
    return frozenset(name for name, each in form.get("properties", {}).items() if "format" not in each)


def _resolved(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return found


def example(schema: dict[str, Any], shapes: dict[str, Any]) -> Any:
    """Something that the schema allows: what is required, and nothing else."""
    if "$ref" in schema:
        return example(shapes[schema["$ref"].rpartition("/")[2]], shapes)
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in schema:
            return example(next(each for each in schema[choice] if each.get("type") != "null"), shapes)
    if "enum" in schema or "const" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    match schema.get("type"):
        case "object":
            required = schema.get("required", [])
            others = [name for name in schema["properties"] if name not in required]
            given = [*required, *others[: max(0, schema.get("minProperties", 0) - len(required))]]
            return {name: example(schema["properties"][name], shapes) for name in given}
        case "array":
            items = schema.get("items", {}) or schema.get("prefixItems", [{}])[0]
            return [example(items, shapes)] * max(1, schema.get("minItems", 0))
        case "integer" | "number":
            return max(1, schema.get("minimum", 1), schema.get("exclusiveMinimum", 0) + 1)
        case "boolean":
            return False
        case _:
            return text(schema)


def text(schema: dict[str, Any]) -> str:
    if schema.get("format") == "date-time":
        return (datetime.now(UTC) + timedelta(days=1)).isoformat()
    if schema.get("format") == "date":
        return (datetime.now(UTC) + timedelta(days=1)).date().isoformat()
    if schema.get("format") == "password":
        return "a horse that is quite correct 41"
    if schema.get("title") == "Email":
        return "someone@strangers.example"
    if schema.get("title") == "Product Id":
        return "NEWPL-WW0001-A001"
    fitting = (each for each in TEXTS if re.search(schema.get("pattern", ""), each))
    return next(fitting, TEXTS[0]).ljust(schema.get("minLength", 0), "x")


def asked(
    who: Someone,
    operation: Operation,
    ids: Mapping[str, str],
    document: dict[str, Any],
    *,
    named: Mapping[str, str] | None = None,
    considered: bool = True,
) -> Answer:
    """The status, the body without the ids that were asked for, and the headers.

    `named` stands in the body instead of what its schema would allow. A command is only considered, unless it is to be
    really done.
    """
    name, method, path, described = operation
    body = body_of(operation, document)
    if named and body is not None:
        for form in body.get("items", [body]):
            form.update(named)
    url = re.sub(r"{(\w+)}", lambda found: ids[found[1]], path)
    asks = {"dry_run": "true"} if considered and "commands" in described.get("tags", ()) else {}
    headers = {"Authorization": f"Bearer {who.fresh()}"}
    answer = who.http[name].request(method, url, params=asks, json=body, headers=headers)
    status, said = answer.status_code, answer.text
    if path.endswith("/bulk") and status == 200:  # an item's answer stands for what it alone would have got
        (item,) = answer.json()["items"]
        status, said = item["status"], json.dumps(item["answer"])
    echoed = {*ids.values(), *map(unquote, ids.values()), *(named or {}).values()}
    for each in sorted(echoed, key=len, reverse=True):
        said = said.replace(each, "ID") if len(each) > 4 else said
    return status, said, {name: value for name, value in answer.headers.items() if name not in _EACH_ITS_OWN}
