"""Every operation of every service's document, asked by a stranger for what exists and for what does not.

A stranger is of another customer or another partner. What is refused is refused alike for both, so
nothing is told. The operations are read from the OpenAPI documents of the running system: a new route is in here by
itself, and a parameter with a new name has to be added to `ids`.
"""

import asyncio
import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from secrets import token_hex
from typing import Any, Final

import httpx
import pytest

from deploy.story.__main__ import STEPS
from deploy.story.doors import open_doors
from deploy.story.steps import ANNUAL, PUBLISHER, cast
from tests.system.running import SERVICES, System
from tests.system.test_sessions import Someone

Operation = tuple[str, str, str, dict[str, Any]]

EVERYBODYS: Final = {"product_id"}
"""Parameters that name what everybody may see."""
TEXTS: Final = ("x1", "DE", "UTC", "en", "EUR", "09:00", "2027-01-31", "someone@strangers.example", "https://x.example")
UNTIL_ROLLOUT: Final = 10


@dataclass(frozen=True, slots=True)
class Scene:
    """What the story's people have, by the names of path parameters; and who are strangers to them."""

    ids: dict[str, str]
    strangers: dict[str, Someone]
    documents: dict[str, dict[str, Any]]


async def _played() -> dict[str, str]:
    """Play the story as far as its rollout; the ids of what its people have then, by the names of path parameters."""
    async with open_doors(f"story-{token_hex(4)}") as doors:
        story = cast(doors, lambda _line: None)
        for step in STEPS[:UNTIL_ROLLOUT]:
            await step(story)
        ok, manager = doors.ok, story.manager
        cart = (await ok("marketplace", "POST", "/carts", story.clerk, {}))["events"][0]["data"]["cart_id"]
        await ok("marketplace", "POST", f"/carts/{cart}/lines", story.clerk, {"product_id": ANNUAL, "seats": 1})
        groups = await ok("distribution", "GET", f"/contracts/{story.contract}/groups", story.cad)
        rollouts = await ok("distribution", "GET", f"/contracts/{story.contract}/rollouts", story.cad)
        until = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        form = {"name": "Agent", "scopes": ["read"], "expires_at": until}
        machine = await ok("identity", "POST", "/machines", manager, form)
        invited = await ok("identity", "POST", "/invitations", manager, {"email": f"{token_hex(4)}@strangers.example"})
        session = await ok("identity", "GET", "/sessions/current", manager)
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
            "client_id": machine["client_id"],
            "invitation_id": invited["invitation_id"],
            "session_id": session["session_id"],
        }


@pytest.fixture(scope="module")
def scene(running: System) -> Scene:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in running.env.items():
            patch.setenv(name, value)
        ids = asyncio.run(_played())
    partner = {"organisation": {"name": f"Partner {token_hex(4)}", "kind": "partner"}}
    strangers = {
        "another customer's": Someone(running),
        "another partner's": Someone(running, partner),
    }
    documents = {
        name: httpx.get(f"{running.env[f'TENURE_{name.upper()}_URL']}/openapi.json").json() for name in SERVICES
    }
    return Scene(ids, strangers, documents)


def operations(documents: dict[str, dict[str, Any]]) -> Iterator[Operation]:
    """Those that ask for a token and name something of somebody's."""
    for name, document in documents.items():
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if "security" in operation and set(re.findall(r"{(\w+)}", path)) - EVERYBODYS:
                    yield name, method.upper(), path, operation


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
            return {name: example(schema["properties"][name], shapes) for name in schema.get("required", ())}
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
    fitting = (each for each in TEXTS if re.search(schema.get("pattern", ""), each))
    return next(fitting, TEXTS[0]).ljust(schema.get("minLength", 0), "x")


def asked(who: Someone, operation: Operation, ids: dict[str, str], document: dict[str, Any]) -> tuple[int, str]:
    """The answer, without the ids that were asked for. A command is only considered."""
    name, method, path, described = operation
    content = described.get("requestBody", {}).get("content", {}).get("application/json")
    body = None if content is None else example(content["schema"], document["components"]["schemas"])
    url = re.sub(r"{(\w+)}", lambda named: ids[named[1]], path)
    considered = {"dry_run": "true"} if "commands" in described.get("tags", ()) else {}
    headers = {"Authorization": f"Bearer {who.fresh()}"}
    answer = who.http[name].request(method, url, params=considered, json=body, headers=headers)
    status, said = answer.status_code, answer.text
    if path.endswith("/bulk") and status == 200:  # an item's answer stands for what it alone would have got
        (item,) = answer.json()["items"]
        status, said = item["status"], json.dumps(item["answer"])
    for each in sorted(ids.values(), key=len, reverse=True):
        said = said.replace(each, "ID") if len(each) > 4 else said
    return status, said


@pytest.mark.parametrize("what", ["another customer's", "another partner's"])
def test_a_stranger_is_refused_alike_for_what_exists_and_for_what_does_not(scene: Scene, what: str) -> None:
    wrong, malformed = [], set[str]()
    invented = {
        name: known if name in ("line", "publisher") else str(uuid.uuid4()) for name, known in scene.ids.items()
    }
    for operation in operations(scene.documents):
        name, method, path, _ = operation
        who = scene.strangers[what]
        real, none = (asked(who, operation, ids, scene.documents[name]) for ids in (scene.ids, invented))
        if real != none or not 400 <= real[0] < 500:
            wrong.append(f"{name} {method} {path}: {real} for what exists, {none} for what does not")
        if real[0] == 422:
            malformed.add(f"{name} {method} {path}: {json.loads(real[1])['detail']}")
    assert not wrong, "\n".join(wrong)
    assert not malformed, "refused for its form only, which shows nothing:\n" + "\n".join(sorted(malformed))
