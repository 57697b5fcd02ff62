"""A console whose services are faked, and a browser that keeps its cookies."""

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from typing import Any, Final

import httpx

from services.console.app import ConsoleParts, make_app
from services.console.doors import Doors
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.runtime.settings import Settings
from shared.services import OPERATIONS, SERVICES

HERE: Final = "http://console.example"
ACCOUNT: Final = {
    "account_id": "a-1",
    "organisation_id": "o-1",
    "organisation_name": "Northhaus",
    "organisation_kind": "customer",
    "name": "Mina Okafor",
    "email": "mina@northhaus.example",
    "email_verified": True,
    "country": "DE",
    "time_zone": "Europe/Berlin",
    "locale": "en-GB",
    "sandbox": False,
}


def tokens(number: int = 1, expires_in: int = 300) -> dict[str, Any]:
    return {
        "access_token": f"access-{number}",
        "expires_in": expires_in,
        "refresh_token": f"refresh-{number}",
        "refresh_expires_in": 86_400,
        "session_id": "s-1",
        "account_id": "a-1",
        "organisation_id": "o-1",
    }


def problem(status: int, rule: str, detail: str = "No.", **more: Any) -> httpx.Response:
    invalid = ' error="invalid_token"' if rule in ("not-signed-in", "session-ended") else ""
    headers = {"WWW-Authenticate": f"Bearer{invalid}"} if status == 401 else {}
    body = {"type": f"/problems/{rule}", "title": "", "status": status, "detail": detail, "rule": rule, **more}
    return httpx.Response(status, json=body, headers=headers)


def outcome(*events: tuple[str, dict[str, Any]], before: int = 4) -> httpx.Response:
    """The answer to a command on a stream at a version, or to its dry run."""
    shown = [{"type": kind, "data": data} for kind, data in events]
    body = {"stream": "s-1", "version": before + len(shown), "events": shown}
    return httpx.Response(200, json=body)


CHANGED: Final = {"events": [{"type": "Changed", "data": {}}]}
"""The answer to a line of a file that changes something."""


Answer = httpx.Response | Callable[[httpx.Request], httpx.Response]


@dataclass
class Services:
    """Answers by method and path; everything that was asked is kept."""

    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[httpx.Request] = field(default_factory=list)
    hanging: set[str] = field(default_factory=set)
    """The services that never answer."""

    def __post_init__(self) -> None:
        self.answers = {
            "GET /health": httpx.Response(200, json={}),
            "GET /me": httpx.Response(200, json=ACCOUNT),
            "GET /me/notifications/unread": httpx.Response(200, json={"unread": 0, "at_most": 100}),
            "POST /accounts/names": httpx.Response(200, json={"items": []}),
            "POST /sessions": httpx.Response(200, json=tokens()),
            **self.answers,
        }

    async def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers.get(f"{request.method} {request.url.path}", problem(404, "unknown"))
        if request.url.host.partition(".")[0] in self.hanging:
            await asyncio.Event().wait()
        made = answer(request) if callable(answer) else answer
        return httpx.Response(made.status_code, headers=made.headers, content=made.content)

    def of(self, method: str, path: str) -> list[httpx.Request]:
        return [each for each in self.asked if (each.method, each.url.path) == (method, path)]

    def bodies(self, method: str, path: str) -> list[Any]:
        return [json.loads(each.content) for each in self.of(method, path)]


class Browser:
    """A browser that follows no redirects by itself."""

    def __init__(self, services: Services, folder: Path, public_url: str = HERE, /, **headers: str) -> None:
        self.services = services
        key = folder / "key"
        key.write_text("a-secret-of-at-least-24-characters")
        settings = Settings(public_url=public_url, cookie_key_file=key, kafka=KafkaAccess(bootstrap=""))
        doors = Doors(
            {name: f"http://{name}.example" for name in (*SERVICES, OPERATIONS)},
            httpx.AsyncClient(transport=httpx.MockTransport(services.answer)),
        )
        self.app = make_app(ConsoleParts(settings=settings), doors)
        transport = httpx.ASGITransport(self.app, client=("192.0.2.7", 1234))
        self.client = httpx.AsyncClient(transport=transport, base_url=public_url, headers=headers)

    async def get(self, path: str) -> httpx.Response:
        return await self.client.get(path)

    async def send(self, path: str, page: str = "", /, **fields: str) -> httpx.Response:
        """Load a page, fill in its form and send it."""
        loaded = await self.get(page or path)
        return await self.post(path, None, **{**hidden(loaded.text), **fields})

    async def post(self, path: str, headers: dict[str, str] | None = None, /, **fields: str) -> httpx.Response:
        return await self.client.post(path, data=fields, headers=headers or {})

    async def sign_in(self) -> httpx.Response:
        return await self.send("/sign-in", email="mina@northhaus.example", password="horse battery staple")


def hidden(page: str) -> dict[str, str]:
    """The hidden fields of a page's last form."""
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page))


def words(page: str) -> str:
    """What a page says, without its tags."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page.replace("<wbr>", ""))).split())
