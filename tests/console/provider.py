"""A small OpenID Connect provider on loopback, with keys, pages and redirects of its own, which can also do wrong."""

import base64
import hashlib
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlencode

import uvicorn
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

CLIENT: Final = "tenure-console"
SECRET: Final = "a secret: with/what is quoted"
NAME: Final = "northhaus"
LABEL: Final = "Northhaus"
KEYS: Final[dict[str, RSAKey | ECKey]] = {
    "RS256": RSAKey.generate_key(2048, {"kid": "rsa"}),
    "ES256": ECKey.generate_key("P-256", {"kid": "ec"}),
}


@dataclass
class FakeProvider:
    """The provider, who is signed in there, and what it does wrong."""

    url: str
    alg: str = "RS256"
    auth: str = "client_secret_basic"
    """How its client proves itself: also client_secret_post, or none."""
    person: dict[str, Any] = field(default_factory=lambda: {"sub": "248289761001"})
    announces_iss: bool = True
    document: dict[str, Any] = field(default_factory=dict)
    """What its document says differently."""
    claims: dict[str, Any] = field(default_factory=dict)
    """What its ID tokens say differently; None leaves a claim out."""
    answer: dict[str, str] = field(default_factory=dict)
    """What it sends back by the browser, differently; "" leaves a parameter out."""
    sign: Callable[[dict[str, Any]], str] | None = None
    """Another signature than its own."""
    token_answer: Callable[[], Response] | None = None
    """Another answer than a token."""
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[dict[str, str]] = field(default_factory=list)
    """The authorization requests."""

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._discover),
                Route("/keys", self._keys),
                Route("/authorize", self._show),
                Route("/approve", self._approve, methods=["POST"]),
                Route("/token", self._token, methods=["POST"]),
            ]
        )

    async def _discover(self, _: Request) -> Response:
        said = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize?tenant=northhaus",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": [self.auth],
            "authorization_response_iss_parameter_supported": self.announces_iss,
        }
        return JSONResponse(said | self.document)

    async def _keys(self, _: Request) -> Response:
        return JSONResponse({"keys": [key.as_dict(private=False) for key in KEYS.values()]})

    async def _show(self, request: Request) -> Response:
        """The page where the person signs in."""
        asked = dict(request.query_params)
        self.asked.append(asked)
        assert (asked["tenant"], asked["response_type"], asked["client_id"]) == ("northhaus", "code", CLIENT)
        assert asked["redirect_uri"].endswith(f"/sign-in/oidc/{NAME}") and asked["code_challenge_method"] == "S256"
        kept = "".join(f'<input type="hidden" name="{name}" value="{escape(asked[name])}">' for name in asked)
        return HTMLResponse(
            f'<!doctype html><html lang="en"><title>{LABEL}</title><main><h1>{LABEL}</h1>'
            f'<form method="post" action="/approve">{kept}<button>Continue as Mina</button></form></main>'
        )

    async def _approve(self, request: Request) -> Response:
        asked = {name: str(value) for name, value in (await request.form()).items()}
        code = secrets.token_urlsafe(12)
        self.codes[code] = asked
        answer = {"code": code, "state": asked["state"], "iss": self.url if self.announces_iss else ""} | self.answer
        query = urlencode({name: value for name, value in answer.items() if value})
        return RedirectResponse(f"{asked['redirect_uri']}?{query}", 302)

    async def _token(self, request: Request) -> Response:
        form = {name: str(value) for name, value in (await request.form()).items()}
        if not self._is_client(request.headers.get("authorization", ""), form):
            return JSONResponse({"error": "invalid_client"}, 401)
        asked = self.codes.pop(form.get("code", ""), None)
        if asked is None or form["redirect_uri"] != asked["redirect_uri"] or form["grant_type"] != "authorization_code":
            return JSONResponse({"error": "invalid_grant"}, 400)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != asked["code_challenge"]:
            return JSONResponse({"error": "invalid_grant"}, 400)
        if self.token_answer is not None:
            return self.token_answer()
        body = {"access_token": "opaque", "token_type": "Bearer", "id_token": self.id_token(asked["nonce"])}
        return JSONResponse(body, headers={"Cache-Control": "no-store"})

    def _is_client(self, authorization: str, form: dict[str, str]) -> bool:
        if self.auth == "none":
            return (form.get("client_id"), authorization) == (CLIENT, "")
        if self.auth == "client_secret_post":
            return (form.get("client_id"), form.get("client_secret"), authorization) == (CLIENT, SECRET, "")
        user, _, password = base64.b64decode(authorization.partition("Basic ")[2]).decode().partition(":")
        return (unquote(user), unquote(password)) == (CLIENT, SECRET) and "client_secret" not in form

    def id_token(self, nonce: str) -> str:
        now = int(time.time())
        said = {"iss": self.url, "aud": CLIENT, "iat": now, "exp": now + 60, "nonce": nonce}
        claims = {name: value for name, value in (said | self.person | self.claims).items() if value is not None}
        if self.sign is not None:
            return self.sign(claims)
        key = KEYS[self.alg]
        return jwt.encode({"alg": self.alg, "kid": key.kid}, claims, key, [self.alg])

    def settings(self, folder: Path, domains: str = '["x.example"]') -> Path:
        """The file that makes identity and the console know it."""
        secret, file = folder / "provider-secret", folder / "providers.toml"
        secret.write_text(f"{SECRET}\n")
        confidential = "" if self.auth == "none" else f'client_secret_file = "{secret}"\n'
        file.write_text(
            f'[{NAME}]\nlabel = "{LABEL}"\nissuer = "{self.url}"\nclient_id = "{CLIENT}"\n'
            f"domains = {domains}\n{confidential}"
        )
        return file


@contextmanager
def running_provider(host: str = "127.0.0.1") -> Iterator[FakeProvider]:
    """A provider at a free port, in a thread of its own; `host` is this machine's name in its URLs."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        provider = FakeProvider(f"http://{host}:{listening.getsockname()[1]}")
        config = uvicorn.Config(provider.app(), log_config=None, lifespan="off", ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield provider
        finally:
            server.should_exit = True
            thread.join(10)
