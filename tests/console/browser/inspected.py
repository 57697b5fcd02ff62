"""What the operator's pages are looked at with: the example's people, and somebody who keeps changing something."""

import asyncio
import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from deploy import example
from deploy.cast import CUSTOMER, PASSWORD
from shared.services import url_variable
from tests.console.browser.conftest import Site


def people(site: Site) -> None:
    """Make the people of `make up` where they are missing, in a thread, as playwright occupies this one's loop."""
    assert site.url
    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(example.prepare())).result()


class Busy:
    """Somebody whose name changes: an event each time. After an even number of changes it is as before."""

    def __init__(self, site: Site) -> None:
        self._client = httpx.Client(base_url=site.env[url_variable("identity")], timeout=30)
        self._token, self.changes = "", 0

    def change(self) -> None:
        """Take the other one of two names."""
        name = CUSTOMER.name if self.changes % 2 else f"{CUSTOMER.name}, Dr."
        self.changes += self._ask("PUT", "/me/profile", {**self._profile(), "name": name}).is_success

    def _profile(self) -> dict[str, Any]:
        me = self._ask("GET", "/me").json()
        return {name: me[name] for name in ("email", "country", "time_zone", "locale")}

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        """Send a request; sign in first where there is no valid token."""
        answer = self._send(method, path, body)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            entry = {"email": CUSTOMER.email, "password": PASSWORD}
            self._token = self._client.post("/sessions", json=entry).json()["access_token"]
            answer = self._send(method, path, body)
        return answer

    def _send(self, method: str, path: str, body: dict[str, Any] | None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._token or 'none'}"}
        if method != "GET":
            headers["Idempotency-Key"] = secrets.token_hex(8)
        return self._client.request(method, path, json=body, headers=headers)
