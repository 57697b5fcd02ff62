"""Hooks for schemathesis: who asks, and for what.

A request is sent by one of the story's people, chosen by what it asks, with ids of things that exist where its path may
be any. Who ends sessions or accounts is a new person, whom nobody else needs.
"""

import hashlib
import json
import os
import re
import time
from collections.abc import Callable
from http import HTTPStatus
from secrets import token_hex
from typing import Any, Final

import httpx
import schemathesis
from schemathesis import AuthContext, Case, HookContext
from schemathesis.core.failures import AcceptedNegativeData, Failure, ServerError
from schemathesis.core.parameters import ParameterLocation
from schemathesis.core.transport import Response
from schemathesis.openapi.checks import RejectedPositiveData

SCENE: Final = json.loads(os.environ["TENURE_SCENE"])
"""`identity`: its address; `password`; `people`: their addresses; `ids`: what they have, by names of parameters;
`machine`: the id and secret of a machine account of the publisher's system."""
TOKEN_S: Final = 200
"""How long a token is used; it is accepted for 300 s."""
ENDING: Final = ("end_sessions", "end_current_session", "end_session", "change_password", "close_own_account")
"""Operations after which the caller may be nobody."""
BY_A_MACHINE: Final = ("send_events",)
"""Operations for a publisher's system only."""
WAIT_S: Final = "1"
"""How long a question waits for its answer, instead of the seconds that the document allows."""

CONDITIONS: Final = {
    "If-Match": re.compile(r'(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)'),
    "If-None-Match": re.compile(r'(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)'),
    "Tenure-At-Least": re.compile(r"[!-~]{1,400}@[1-9][0-9]{0,8}"),
}
BEYOND_SCHEMAS: Final = re.compile(
    r"is no cursor"
    r"|not an e-mail address"
    r"|control|invisible"  # characters that no text may have
    r"|[Gg]ive either|give an address|goes with the nonce"  # one of two fields, or both
    r"|valid integer"  # 1.0, which is an integer to JSON Schema
    r"|header row|no column"  # a CSV file
    r"|only once|field twice|leave one of them"
    r"|time zone|locale"  # names of others
    r"|a CSV has all rows"
    r"|1900-01-01|minor units"  # bounds of days and of prices
)
"""Rules that a JSON Schema can't say, or only in a form that generators of clients can't read."""
OF_SENT_EVENTS: Final = ("unreadable", "unknown-type", "refused")
"""Rules of publishers' events: their data are described by schemas of their own, by type, and whose source somebody may
name only the account says."""


def _post(path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return identity's answer. Waits while it is asked too often."""
    while True:
        answer = httpx.post(
            f"{SCENE['identity']}{path}", json=body, headers={"Idempotency-Key": token_hex(16)}, timeout=30
        )
        if answer.status_code not in (429, 503):
            answer.raise_for_status()
            found: dict[str, Any] = answer.json()
            return found
        time.sleep(float(answer.headers.get("Retry-After", "1")))


def _signed_in(email: str) -> str:
    token: str = _post("/sessions", {"email": email, "password": SCENE["password"]})["access_token"]
    return token


def _machines_token() -> str:
    client_id, secret = SCENE["machine"]
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
    token: str = httpx.post(f"{SCENE['identity']}/oauth/token", data=form).raise_for_status().json()["access_token"]
    return token


def _stranger() -> str:
    """Return the address of a new person."""
    email = f"{token_hex(6)}@fuzzed.example"
    profile = {"email": email, "password": SCENE["password"], "name": "Sam Example", "country": "DE"}
    _post("/accounts", profile | {"organisation": {"name": "Fuzzed", "kind": "customer"}})
    return email


@schemathesis.auth(refresh_interval=None)
class Tokens:
    """The people's tokens."""

    def __init__(self) -> None:
        self._people: list[str] = list(SCENE["people"])
        self._tokens: dict[str, tuple[str, float]] = {}

    def get(self, case: Case, context: AuthContext) -> str:
        operation = case.operation.definition.raw.get("operationId")
        if operation in ENDING:
            return _signed_in(_stranger())
        if operation in BY_A_MACHINE:
            return self._kept("", _machines_token)
        asked = f"{case.method}{case.path}{case.path_parameters}{case.query}{case.body}".encode(errors="replace")
        email = self._people[hashlib.sha256(asked).digest()[0] % len(self._people)]
        try:
            return self._kept(email, lambda: _signed_in(email))
        except httpx.HTTPStatusError:  # the operator or an administrator has closed the account
            self._people.remove(email)
            return self.get(case, context)

    def _kept(self, who: str, sign_in: Callable[[], str]) -> str:
        token, since = self._tokens.get(who, ("", 0.0))
        if time.monotonic() > since + TOKEN_S:
            token = sign_in()
            self._tokens[who] = token, time.monotonic()
        return token

    def set(self, case: Case, data: str, _context: AuthContext) -> None:
        case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.hook
def before_call(_context: HookContext, case: Case, _kwargs: dict[str, Any]) -> None:
    """Name what exists in three of four paths that may name anything, and ask for nothing that takes long.

    Conditions that nothing meets are left out.
    """
    if case.meta is None:
        return
    if case.query and "wait" in case.query and not case.meta.is_negative_at(ParameterLocation.QUERY):
        case.query["wait"] = WAIT_S
    if case.path_parameters and not case.meta.is_negative_at(ParameterLocation.PATH):
        digest = hashlib.sha256(json.dumps(case.path_parameters, sort_keys=True, default=str).encode()).digest()
        if digest[0] % 4:
            known = {name: SCENE["ids"][name] for name in case.path_parameters if name in SCENE["ids"]}
            case.path_parameters = {**case.path_parameters, **known}
    if case.headers and not case.meta.generation.mode.is_negative:
        for name, form in CONDITIONS.items():
            if name in case.headers and not form.fullmatch(str(case.headers[name])):
                del case.headers[name]  # its phase `coverage` heeds no pattern of a header


@schemathesis.hook
def filter_failure(_context: HookContext, failure: Failure, _case: Case, response: Response) -> bool:
    """Pass over a refusal that the document's schemas can't say, but its words do.

    So is a batch of which an event is refused, which is said for each event.
    """
    if isinstance(failure, AcceptedNegativeData) and response.status_code == HTTPStatus.MULTI_STATUS:
        return all(each["status"] < HTTPStatus.BAD_REQUEST for each in json.loads(response.content)["results"])
    if not response.headers.get("content-type", [""])[0].startswith("application/problem+json"):
        return True
    problem = json.loads(response.content)
    if isinstance(failure, ServerError):
        return bool(problem["rule"] != "not-yet")  # a well-formed Tenure-At-Least of what will never be
    if isinstance(failure, RejectedPositiveData) and (
        problem["rule"] in OF_SENT_EVENTS or "has no CloudEvent" in problem["detail"]  # in binary mode without headers
    ):
        return False
    if isinstance(failure, RejectedPositiveData) and problem["status"] == HTTPStatus.UNPROCESSABLE_ENTITY:
        errors = [field["error"] for field in problem.get("fields", ())] or [problem["detail"]]
        return problem["rule"] == "malformed" and not all(map(BEYOND_SCHEMAS.search, errors))
    return True
