"""The operations server in this process, as strangers and the operator's people ask it."""

import asyncio
from typing import Any, Final

import httpx
from joserfc.jwk import ECKey

from cli.app import load_verbs
from cli.serving.app import ServerParts, make_app
from shared.runtime.auth import Actor, TokenSigner, TokenVerifier, public_keys
from shared.runtime.settings import Settings
from tests.services.tokens import NothingEnded

KEY: Final = ECKey.generate_key("P-256", {"kid": "key-1"})
OPERATOR: Final = Actor(
    account_id="account-of-kim", organisation_id="tenure", organisation_kind="operator", session_id="session"
)


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
