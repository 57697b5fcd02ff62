"""People of the system's tests, and what they ask."""

import asyncio
import time
from collections.abc import Mapping
from secrets import token_hex
from typing import Any, NamedTuple

import httpx

from deploy.invite import invite
from shared.events.identity import OrganisationKind
from shared.services import SERVICES, url_variable
from tests.system.running import System, as_its_operator

PASSWORD = "correct horse battery staple"


class Someone:
    """Somebody with an account, and how they ask each service."""

    def __init__(
        self, system: System, joining: dict[str, Any] | None = None, email: str = "", *, known: bool = False
    ) -> None:
        """Who is `known` has an account with this address."""
        self.http = {name: httpx.Client(base_url=system.env[url_variable(name)], timeout=15) for name in SERVICES}
        self.email = email or f"{token_hex(6)}@sessions.example"
        joining = joining or {"organisation": {"name": f"Sessions {token_hex(4)}", "kind": "customer"}}
        profile = {"email": self.email, "password": PASSWORD, "name": "Sam Example", "country": "DE"}
        if not known:
            self.ask("POST", "/accounts", profile | joining, token="")
        self.session = self.sign_in()
        self.refresh_at = time.monotonic() + self.session["expires_in"] - 60

    def sign_in(self) -> dict[str, Any]:
        session: dict[str, Any] = self.ask("POST", "/sessions", {"email": self.email, "password": PASSWORD}, token="")
        return session

    def fresh(self) -> str:
        """A token that is good for a while: its session is refreshed a minute before it has to be."""
        if time.monotonic() > self.refresh_at:
            used = {"refresh_token": self.session["refresh_token"]}
            self.session = self.ask("POST", "/sessions/refresh", used, token="")
            self.refresh_at = time.monotonic() + self.session["expires_in"] - 60
        return self.token

    @property
    def token(self) -> str:
        token: str = self.session["access_token"]
        return token

    def ask(self, method: str, path: str, body: Any = None, token: str | None = None) -> Any:
        headers = {"Idempotency-Key": token_hex(16)}
        if token != "":
            headers["Authorization"] = f"Bearer {token or self.token}"
        answer = self.http["identity"].request(method, path, json=body, headers=headers)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def status(self, service: str, token: str | None = None) -> int:
        """What a service answers to whoever has the token."""
        headers = {"Authorization": f"Bearer {token or self.token}"}
        return self.http[service].get("/clock", headers=headers).status_code

    def colleague(self, system: System) -> "Someone":
        email = f"{token_hex(6)}@sessions.example"
        invitation = self.ask("POST", "/invitations", {"email": email})["invitation"]
        return Someone(system, {"invitation": invitation}, email)


def invited(system: System, kind: OrganisationKind, name: str, publisher: str = "") -> Someone:
    """Somebody of an organisation that joins by invitation only."""
    email = f"{token_hex(6)}@invited.example"
    with as_its_operator(system):
        return Someone(system, {"invitation": asyncio.run(invite(kind, name, email, publisher))}, email)


class Somebody(NamedTuple):
    account_id: str
    organisation_id: str
    email: str
    token: str


def signed_up(system: System, joining: Mapping[str, Any], email: str = "") -> Somebody:
    with httpx.Client(base_url=system.env["TENURE_IDENTITY_URL"], timeout=30) as http:

        def post(path: str, body: Mapping[str, Any]) -> dict[str, Any]:
            answer = http.post(path, json=body, headers={"Idempotency-Key": token_hex(16)})
            assert answer.is_success, answer.text
            found: dict[str, Any] = answer.json()
            return found

        email = email or an_address()
        profile = {"name": "Kim Example", "country": "DE", "time_zone": "Europe/Berlin", "locale": "en-GB"}
        post("/accounts", {"email": email, "password": PASSWORD, **profile, **joining})
        session = post("/sessions", {"email": email, "password": PASSWORD})
    return Somebody(session["account_id"], session["organisation_id"], email, session["access_token"])


def an_address() -> str:
    return f"{token_hex(6)}@operator.example"
