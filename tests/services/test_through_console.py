"""Whose address counts: that of the browser behind the console, as the console sees it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from starlette.types import ASGIApp

from services.console.app import ConsoleParts
from services.console.app import make_app as make_console
from services.console.doors import Doors
from shared.runtime.limits import Limits
from shared.runtime.server import Server
from shared.runtime.settings import Settings
from shared.services import SERVICES
from tests.console.fakes import hidden, words
from tests.services.identity_bench import Bench

pytestmark = pytest.mark.system

CONSOLE = "127.0.0.1"
BROWSERS = ("127.0.0.2", "127.0.0.3")
"""A machine has the whole network 127.0.0.0/8."""
WRONG, TOO_OFTEN = "address or the password is wrong", "tried too often"


@asynccontextmanager
async def served(app: ASGIApp, trusted_proxies: str = "") -> AsyncIterator[str]:
    """The application on a free port; its URL."""
    server = Server(app, Settings(trusted_proxies=trusted_proxies), 0)
    running = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  # uvicorn has no event for it
        await asyncio.sleep(0.01)
    try:
        yield "http://{}:{}".format(*server.servers[0].sockets[0].getsockname()[:2])
    finally:
        server.stop()
        await running


@asynccontextmanager
async def console_before(bench: Bench, trusted_proxies: str, folder: Path) -> AsyncIterator[str]:
    """A console before identity, which lets an address sign in twice a minute; the console's URL."""
    bench.app.state.parts.limits = Limits("sign-in=2/minute", clock=lambda: 0.0)
    key = folder / "key"
    key.write_text("a-secret-of-at-least-24-characters")
    async with served(bench.app, trusted_proxies) as identity:
        doors = Doors(dict.fromkeys(SERVICES, identity))
        console = make_console(ConsoleParts(settings=Settings(cookie_key_file=key)), doors)
        async with served(console) as url:
            yield url
        await doors.close()


async def guess(url: str, address: str, **headers: str) -> str:
    """Send the sign-in with a wrong password from an address; what the page says."""
    transport = httpx.AsyncHTTPTransport(local_address=address)
    async with httpx.AsyncClient(base_url=url, transport=transport, headers=headers) as browser:
        fields = hidden((await browser.get("/sign-in")).text)
        form = {**fields, "email": "mina@northhaus.example", "password": "a wrong password"}
        return words((await browser.post("/sign-in", data=form)).text)


async def test_two_browsers_have_two_limits(bench: Bench, tmp_path: Path) -> None:
    one, other = BROWSERS
    async with console_before(bench, f"{CONSOLE}/32", tmp_path) as url:
        for _ in range(2):
            assert WRONG in await guess(url, one)
        assert TOO_OFTEN in await guess(url, one)
        assert WRONG in await guess(url, other)


async def test_a_browser_cannot_say_that_it_is_elsewhere(bench: Bench, tmp_path: Path) -> None:
    async with console_before(bench, f"{CONSOLE}/32", tmp_path) as url:
        for number in range(2):
            assert WRONG in await guess(url, BROWSERS[0], **{"X-Forwarded-For": f"192.0.2.{number}"})
        for forged in ("192.0.2.7", f"192.0.2.7, {CONSOLE}", BROWSERS[1]):
            assert TOO_OFTEN in await guess(url, BROWSERS[0], **{"X-Forwarded-For": forged})


async def test_without_trust_all_browsers_share_the_consoles_limit(bench: Bench, tmp_path: Path) -> None:
    async with console_before(bench, "", tmp_path) as url:
        for browser in BROWSERS:
            assert WRONG in await guess(url, browser)
        assert TOO_OFTEN in await guess(url, BROWSERS[1])


async def test_who_is_not_the_console_says_nothing_about_addresses(bench: Bench) -> None:
    """A client of identity itself, from another address than the console's."""
    bench.app.state.parts.limits = Limits("sign-in=2/minute", clock=lambda: 0.0)
    transport = httpx.AsyncHTTPTransport(local_address=BROWSERS[0])
    async with (
        served(bench.app, f"{CONSOLE}/32") as identity,
        httpx.AsyncClient(base_url=identity, transport=transport) as client,
    ):
        body = {"email": "mina@northhaus.example", "password": "a wrong password"}
        answers = [
            await client.post("/sessions", json=body, headers={"X-Forwarded-For": f"192.0.2.{number}"})
            for number in range(3)
        ]
        assert [answer.status_code for answer in answers] == [401, 401, 429]
