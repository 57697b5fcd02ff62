"""A sign-in provider, identity and browsers, for the tests of sign-ins and sign-ups by a provider."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import pytest

from services.console.doors import Doors
from services.identity.signin import oidc
from shared.runtime.clients import tls
from shared.runtime.settings import Settings
from shared.services import SERVICES
from tests.console.fakes import Browser, Services, hidden, words
from tests.console.provider import NAME, FakeProvider
from tests.services.identity_bench import PASSWORD, Bench

BY: Final = f"/oidc/{NAME}"
AT: Final = f"/sign-in{BY}"
LOST: Final = "was not begun in this browser"
MINA: Final = {"sub": "7", "email": "mina@x.example", "email_verified": True}


@dataclass
class World:
    """The provider, identity and browsers."""

    provider: FakeProvider
    bench: Bench
    folder: Path
    monkeypatch: pytest.MonkeyPatch

    def configure(self, domains: str = '["x.example"]') -> None:
        """Let identity know the provider as it is now."""
        file = self.provider.settings(self.folder, domains)
        self.monkeypatch.setenv("TENURE_OIDC_PROVIDERS_FILE", str(file))
        self.bench.app.state.oidc = oidc.configured(Settings())

    def browser(self) -> Browser:
        browser = Browser(Services(), self.folder)
        http = httpx.AsyncClient(transport=httpx.ASGITransport(self.bench.app))
        browser.app.state.doors = Doors({name: f"http://{name}.example" for name in SERVICES}, http)
        return browser

    async def approved(self, leaving: httpx.Response) -> str:
        """Sign in at the provider, where a page leads to; the address that it sends the browser back to."""
        assert leaving.status_code == 200, words(leaving.text)
        url = leaving.headers["refresh"].removeprefix("0; url=")
        assert url.startswith(self.provider.url)
        async with httpx.AsyncClient(verify=tls()) as there:
            page = await there.get(url)
            answer = await there.post(f"{self.provider.url}/approve", data=hidden(page.text))
        assert answer.status_code == 302
        return str(answer.headers["location"])

    async def begin(self, browser: Browser, **fields: str) -> str:
        """Press the button and sign in at the provider; the address to come back to."""
        return await self.approved(await browser.send(AT, "/sign-in", **fields))

    async def sign_in(self, browser: Browser, **fields: str) -> httpx.Response:
        return await browser.get(await self.begin(browser, **fields))

    async def sign_in_by_password(self, browser: Browser, name: str) -> None:
        answer = await browser.send("/sign-in", email=f"{name}@x.example", password=PASSWORD)
        assert answer.status_code == 303, words(answer.text)


def signed_in(browser: Browser) -> bool:
    return "tenure-session" in browser.client.cookies


async def profile(browser: Browser) -> str:
    return words((await browser.get("/profile")).text)
