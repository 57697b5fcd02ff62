"""The operations server in this process, as strangers and the operator's people ask it."""

import asyncio
import inspect
from dataclasses import replace
from typing import Any, Final

import httpx
import pytest
from joserfc.jwk import ECKey

from cli.app import VERBS, Result, load_verbs
from cli.serving.app import ServerParts, make_app
from shared.runtime.auth import Actor, TokenSigner, TokenVerifier, public_keys
from shared.runtime.settings import Settings
from tests.services.tokens import NothingEnded

KEY: Final = ECKey.generate_key("P-256", {"kid": "key-1"})
OPERATOR: Final = Actor(
    account_id="account-of-kim", organisation_id="tenure", organisation_kind="operator", session_id="session"
)

STRANGERS: Final = {
    "nobody": None,
    "a customer": Actor(account_id="a", organisation_id="o", organisation_kind="customer", session_id="s"),
    "a partner": Actor(account_id="a", organisation_id="o", organisation_kind="partner", session_id="s"),
    "a publisher": Actor(
        account_id="a", organisation_id="o", organisation_kind="publisher", publisher="p", session_id="s"
    ),
    "a machine of the operator": Actor(
        account_id="a", organisation_id="o", organisation_kind="operator", client_id="m", scopes=frozenset({"read"})
    ),
}
"""Those whom the operations server refuses."""


async def _keys() -> Any:
    return public_keys([KEY])


class Server:
    """The server, and who asks it."""

    def __init__(self, actor: Actor | None = OPERATOR) -> None:
        load_verbs()
        self.parts = ServerParts(settings=Settings())
        self.parts.verifier = TokenVerifier(_keys, NothingEnded())
        transport = httpx.ASGITransport(make_app(self.parts))
        headers = {} if actor is None else {"Authorization": f"Bearer {TokenSigner(KEY).sign(actor, 'token-1')}"}
        self.client = httpx.AsyncClient(transport=transport, base_url="http://operations", headers=headers)

    async def get(self, path: str) -> httpx.Response:
        return await self.client.get(path)

    async def run(self, verb: str, **parameters: object) -> httpx.Response:
        return await self.client.post(f"/verbs/{verb}", json=parameters)

    async def cancel(self, operation: str, reason: str = "") -> httpx.Response:
        return await self.client.post(f"/operations/{operation}/cancel", json={"reason": reason})

    async def ended(self, response: httpx.Response) -> Any:
        """The operation that a response leads to, once it has ended."""
        assert response.status_code == 202, response.text
        async with asyncio.timeout(30):
            while (view := (await self.get(response.headers["location"])).json())["state"] == "running":  # noqa: ASYNC110 - only the server knows its end
                await asyncio.sleep(0.02)
        return view

    async def applied(self, verb: str, **parameters: object) -> Any:
        """The answer to a change that was planned and then confirmed."""
        plan = (await self.run(verb, **parameters)).json()["plan"]
        response = await self.run(verb, **parameters, yes=True, reason="a test", plan=plan)
        assert response.status_code == 200, response.text
        return response.json()


class Slow:
    """A verb that goes on until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str = "refusals ls") -> None:
        self.go, self.runs = asyncio.Event(), 0
        monkeypatch.setattr("cli.serving.app.ANSWER_S", 0.01)
        declared = VERBS[name]
        signature = inspect.signature(declared.function, eval_str=True)

        async def slow(**_: object) -> Result:
            self.runs += 1
            await self.go.wait()
            return Result({"done": True}, ok=False)

        slow.__signature__ = signature  # type: ignore[attr-defined]  # as the function that it stands for
        monkeypatch.setitem(VERBS, name, replace(declared, function=slow))
