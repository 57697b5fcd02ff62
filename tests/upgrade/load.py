"""A steady load of commands, each sent again with its key until it is answered, and how long each of them waited."""

import asyncio
import itertools
import json
import time
from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

import aiohttp

from deploy.cast import COORDINATOR, CUSTOMER, PARTNER, PASSWORD, USERS

ATTEMPT_S: Final = 5.0
"""How long a client waits for one answer before it sends the command again."""
PAUSE_S: Final = 0.1
LONGEST_WAIT_S: Final = 10.0
PRODUCT_ID: Final = "057O1-WW6525-L347"
_CADENCES: Final = ("weekly", "monthly")

Request = tuple[str, str, Any]
"""Method, path and body."""
Steps = Generator[Request, dict[str, Any], None]
"""Commands one after another; each `yield` returns the answer."""


@dataclass(kw_only=True, slots=True)
class Caller:
    """Somebody of the example, signed in."""

    email: str
    account_id: str = ""
    token: str = field(default="", repr=False)


@dataclass(kw_only=True, slots=True)
class Sent:
    """A command, and what became of it."""

    service: str
    request: Request
    who: Caller
    key: str
    began: float
    waited_s: float = 0.0
    attempts: int = 0
    status: int = 0
    body: dict[str, Any] = field(default_factory=dict)

    @property
    def outcome(self) -> tuple[int, Any, list[str]]:
        """What has to be the same however often it is sent."""
        events = [event["id"] for event in self.body.get("events", [])]
        return self.status, self.body.get("stream"), events


class Load:
    """Commands of the example's people to all four services, and a note of each answer."""

    def __init__(self, addresses: Mapping[str, str], heard: Path) -> None:
        self._addresses, self._heard = addresses, heard
        self._http: dict[str, aiohttp.ClientSession] = {}
        self.sent: list[Sent] = []
        self.unknown: dict[str, Sent] = {}
        """Those that wait for their answer."""

    async def __aenter__(self) -> "Load":
        timeout = aiohttp.ClientTimeout(total=ATTEMPT_S)
        self._http = {name: aiohttp.ClientSession(url, timeout=timeout) for name, url in self._addresses.items()}
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._http.values():
            await client.close()

    async def signed_in(self, email: str) -> Caller:
        who = Caller(email=email)
        await self._sign_in(who)
        return who

    async def _sign_in(self, who: Caller) -> None:
        body = {"email": who.email, "password": PASSWORD}
        while True:
            try:
                async with self._http["identity"].post("/sessions", json=body) as answer:
                    if answer.status == 200:
                        session = await answer.json()
                        who.token, who.account_id = session["access_token"], session["account_id"]
                        return
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(PAUSE_S)

    async def ask(self, service: str, who: Caller, path: str) -> dict[str, Any]:
        """What a query answers."""
        headers = {"Authorization": f"Bearer {who.token}"}
        async with self._http[service].get(path, headers=headers) as answer:
            found: dict[str, Any] = await answer.json()
            return found

    async def command(self, service: str, who: Caller, request: Request) -> Sent:
        """Send a command until it is answered, and note the answer."""
        sent = Sent(service=service, request=request, who=who, key=token_hex(16), began=time.monotonic())
        self.unknown[sent.key] = sent
        await self._answered(sent)
        sent.waited_s = time.monotonic() - sent.began
        del self.unknown[sent.key]
        self.sent.append(sent)
        if sent.status == 200 and sent.outcome[2]:
            _, stream, events = sent.outcome
            note = {"service": service, "id": f"{who.account_id}:{sent.key}", "stream": stream, "events": events}
            with self._heard.open("a") as out:
                out.write(json.dumps(note) + "\n")
        return sent

    async def again(self, sent: Sent) -> Sent:
        """Send a command that was answered before, with the same key."""
        repeat = Sent(service=sent.service, request=sent.request, who=sent.who, key=sent.key, began=time.monotonic())
        await self._answered(repeat)
        return repeat

    async def _answered(self, sent: Sent) -> None:
        """Send it until there is an answer other than 503, and than 401 for a token that has ended."""
        method, path, body = sent.request
        while True:
            sent.attempts += 1
            headers = {"Idempotency-Key": sent.key, "Authorization": f"Bearer {sent.who.token}"}
            try:
                async with self._http[sent.service].request(method, path, json=body, headers=headers) as answer:
                    sent.status, text = answer.status, await answer.text()
            except (aiohttp.ClientError, TimeoutError):
                sent.status = 0
            else:
                if sent.status == 401:
                    await self._sign_in(sent.who)
                    continue
                if sent.status != 503:
                    sent.body = json.loads(text)
                    return
            await asyncio.sleep(PAUSE_S)

    async def lane(self, service: str, who: Caller, steps: Steps, every_s: float, until: asyncio.Event) -> None:
        """Send the commands one after another, at most this often; who is late makes up for it."""
        due, request = time.monotonic(), next(steps)
        while not until.is_set():
            answer = await self.command(service, who, request)
            request = steps.send(answer.body)
            due = max(due + every_s, time.monotonic() - 2.0)
            await asyncio.sleep(max(0.0, due - time.monotonic()))


def amiss(answered: Sequence[Sent], unknown: Collection[Sent]) -> list[str]:
    """What is wrong with the answers: none, a late one, or one that is no acceptance."""
    wrong = []
    if not answered or unknown:
        wrong.append(f"{len(answered)} commands were answered, {len(unknown)} were not")
    for sent in answered:
        if sent.waited_s > LONGEST_WAIT_S:
            wrong.append(f"{sent.request} of {sent.service} waited {sent.waited_s:.1f} s")
        if sent.status != 200:
            wrong.append(f"{sent.request} of {sent.service} was answered {sent.status}: {sent.body}")
    return wrong


# ── What is asked ──────────────────────────────────────────────────────────────────────────────────────


def names(first: str) -> Steps:
    """A person's name changes and changes; all services read that."""
    for number in itertools.count(1):
        yield "PUT", "/me/profile", {"name": f"{first} {number}"}


def carts() -> Steps:
    """A cart is opened, filled and discarded."""
    while True:
        opened = yield "POST", "/carts", {}
        cart = f"/carts/{opened['events'][0]['data']['cart_id']}"
        yield "POST", f"{cart}/lines", {"product_id": PRODUCT_ID, "seats": 3}
        yield "DELETE", cart, None


def seats(pool: str, account_id: str) -> Steps:
    """A seat is taken from a user and given back; distribution and identity react to that."""
    while True:
        yield "DELETE", f"/pools/{pool}/seats/{account_id}", None
        yield "POST", f"/pools/{pool}/seats", {"account_id": account_id}


def policies(contract: str) -> Steps:
    """A group is made, and its policy changes and changes."""
    made = yield "POST", f"/contracts/{contract}/groups", {"name": f"group {token_hex(4)}"}
    group = made["events"][0]["data"]["group_id"]
    for number in itertools.count():
        yield "PUT", f"/contracts/{contract}/groups/{group}/policy", {"cadence": _CADENCES[number % 2]}


async def lanes(load: Load) -> Sequence[tuple[str, Caller, Steps]]:
    """What the example's people do, by service."""
    manager, partner = await load.signed_in(CUSTOMER.email), await load.signed_in(PARTNER.email)
    users = [await load.signed_in(role.email) for role in (COORDINATOR, *USERS)]
    listed = await load.ask("marketplace", manager, "/subscriptions")
    bought = listed["items"][0]
    contract, pool = bought["contract_id"], bought["subscription_id"]
    return [
        *(("identity", user, names(user.email.partition("@")[0])) for user in users),
        *(("marketplace", partner, carts()) for _ in range(4)),
        *(("entitlements", manager, seats(pool, user.account_id)) for user in users[1:]),
        *(("distribution", manager, policies(contract)) for _ in range(3)),
    ]
