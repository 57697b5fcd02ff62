"""The OAuth 2.0 token and introspection endpoints, and the discovery document."""

import base64
import binascii
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote_plus

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from services.identity.domain.account import ACCOUNT, OpenedAccount
from services.identity.domain.machine import MACHINE, Registered
from services.identity.signin.keys import current_keys
from services.identity.signin.machines import digest_of
from services.identity.signin.sessions import NOT_STORED, cached, refreshed
from shared.runtime.auth import ALGORITHM, TOKEN_S, Actor
from shared.runtime.http import FormFields
from shared.runtime.limits import limited_by_source
from shared.runtime.parts import Parts
from shared.runtime.problems import Problem
from shared.runtime.scopes import MEANING
from shared.sql import statements

SQL: Final = statements(__file__)

OAUTH: Final = APIRouter()

CLAIMS: Final = ("iss", "aud", "exp", "iat", "jti", "sub", "org", "kind", "pub", "sid", "since", "client_id", "scope")
_BASIC: Final = {"WWW-Authenticate": 'Basic realm="tenure"'}


class OAuthProblem(BaseModel):
    """What RFC 6749 says of an error, instead of a problem."""

    error: str
    error_description: str


class MachineToken(BaseModel):
    """A token: a machine account's with its scopes, or the session's of a refresh token."""

    access_token: str
    token_type: str
    expires_in: int
    scope: str | None = None
    refresh_token: str | None = None


class TokenClaims(BaseModel):
    """Whether a token is active; what it says, if it is."""

    active: bool
    sub: str | None = None
    org: str | None = None
    kind: str | None = None
    client_id: str | None = None
    scope: str | None = None


def _form(*fields: str) -> dict[str, object]:
    """Return a form's part of the document, which FastAPI can't see."""
    properties = {name: {"type": "string", "minLength": 1} for name in ("client_id", "client_secret", *fields)}
    form = {"type": "object", "minProperties": 1, "properties": properties}
    return {"requestBody": {"required": True, "content": {"application/x-www-form-urlencoded": {"schema": form}}}}


def _answers(model: type[BaseModel]) -> dict[int | str, dict[str, object]]:
    return {200: {"model": model}, **{status: {"model": OAuthProblem} for status in (400, 401, 403)}}


class OAuthError(Exception):
    """An error of the token endpoint (RFC 6749, section 5.2)."""

    def __init__(self, code: str, description: str, status: int = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(description)
        self.code, self.description, self.status = code, description, status

    def response(self) -> Response:
        headers = NOT_STORED | (_BASIC if self.status == HTTPStatus.UNAUTHORIZED else {})
        body = {"error": self.code, "error_description": self.description}
        return Response(orjson.dumps(body), self.status, headers, "application/json")


@OAUTH.post(
    "/oauth/token",
    dependencies=[limited_by_source("refresh")],
    openapi_extra=_form("grant_type", "scope", "refresh_token"),
    responses=_answers(MachineToken),
)
async def token(fields: FormFields, request: Request) -> Response:
    """Issue a token for a machine account's secret or for a refresh token.

    The grant types are `client_credentials` and `refresh_token`. Errors are those of RFC 6749.
    """
    current_keys(request.app.state)
    try:
        answer = await _granted(fields, request)
    except OAuthError as error:
        return error.response()
    return Response(orjson.dumps(answer), HTTPStatus.OK, NOT_STORED | {"Pragma": "no-cache"}, "application/json")


async def _granted(fields: Mapping[str, str], request: Request) -> dict[str, object]:
    match fields.get("grant_type", ""):
        case "client_credentials":
            machine, since = await _machine(fields, request)
            return _machine_token(machine, since, fields.get("scope"), request)
        case "refresh_token":
            session = await refreshed(fields.get("refresh_token", ""), request)
            if session is None:
                raise OAuthError("invalid_grant", "The refresh token is invalid or has expired. Sign in again.")
            return session.model_dump()
        case "":
            raise OAuthError("invalid_request", "grant_type is missing.")
        case _:
            raise OAuthError("unsupported_grant_type", "Use client_credentials or refresh_token.")


async def _machine(fields: Mapping[str, str], request: Request) -> tuple[Registered, int]:
    """Return the authenticated machine account, and the log's position from before it was read."""
    parts: Parts = request.app.state.parts
    client_id, secret = _credentials(fields, request.headers.get("authorization"))
    since = await parts.log.store.position()
    found = await parts.db.fetchval(SQL["rotation"], client_id, digest_of(secret))
    state = await parts.log.state(MACHINE, client_id)
    good = found is not None and isinstance(state, Registered) and state.accepts(found, parts.now())
    if not isinstance(state, Registered) or not good or not await _user_is_there(state, parts):
        raise OAuthError(
            "invalid_client",
            "The machine account is unknown, revoked or expired, or its secret is wrong.",
            HTTPStatus.UNAUTHORIZED,
        )
    return state, since


def _credentials(fields: Mapping[str, str], authorization: str | None) -> tuple[str, str]:
    """Return the client id and secret from the header (Basic) or from the form.

    Raises:
        OAuthError: They are missing or malformed, or the secret is in both.
    """
    scheme, _, basic = (authorization or "").partition(" ")
    posted = "client_secret" in fields
    if scheme.lower() != "basic":
        if not posted or authorization is not None:
            raise OAuthError(
                "invalid_client", "The machine account's id and secret are missing.", HTTPStatus.UNAUTHORIZED
            )
        pair = fields.get("client_id", ""), fields["client_secret"]
    else:
        if posted:
            raise OAuthError("invalid_request", "Send the secret once: in the header or in the form.")
        try:
            client_id, _, secret = base64.b64decode(basic, validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            client_id, secret = "", ""
        pair = unquote_plus(client_id), unquote_plus(secret)  # RFC 6749, section 2.3.1
    if not all(0 < len(part) <= 200 and part.isascii() and part.isprintable() for part in pair):
        raise OAuthError("invalid_client", "The machine account's id or secret is malformed.", HTTPStatus.UNAUTHORIZED)
    return pair


async def _user_is_there(state: Registered, parts: Parts) -> bool:
    """Return whether the account for which the machine acts, if any, is open."""
    if not (acts_for := state.registered.acts_for):
        return True
    account = await parts.log.state(ACCOUNT, acts_for)
    return isinstance(account, OpenedAccount)


def _machine_token(state: Registered, since: int, asked: str | None, request: Request) -> dict[str, object]:
    parts: Parts = request.app.state.parts
    machine = state.registered
    scopes = set(machine.scopes) if asked is None else set(asked.split())
    if not scopes or not scopes <= set(machine.scopes):
        raise OAuthError("invalid_scope", f"This machine account has the scopes {' '.join(machine.scopes)}.")
    lifetime = min(TOKEN_S, int((machine.expires_at - parts.now()).total_seconds()))
    who = Actor(
        account_id=machine.acts_for or machine.client_id,
        organisation_id=machine.organisation_id,
        organisation_kind=machine.organisation_kind,
        publisher=machine.publisher,
        client_id=machine.client_id,
        scopes=frozenset(scopes),
        since=since,
    )
    return {
        "access_token": current_keys(request.app.state).signer.sign(who, parts.new_id(), lifetime),
        "token_type": "Bearer",
        "expires_in": lifetime,
        "scope": " ".join(sorted(scopes)),
    }


@OAUTH.post(
    "/oauth/introspect",
    dependencies=[limited_by_source("refresh")],
    openapi_extra=_form("token"),
    responses=_answers(TokenClaims),
)
async def introspect(fields: FormFields, request: Request) -> Response:
    """Return whether an access token is active, with its claims (RFC 7662).

    The caller is a machine account with the scope `tokens:introspect`, authenticated as at the token endpoint.
    """
    parts: Parts = request.app.state.parts
    current_keys(request.app.state)
    try:
        machine, _ = await _machine(fields, request)
        if "tokens:introspect" not in machine.registered.scopes:
            raise OAuthError("insufficient_scope", "This needs the scope tokens:introspect.", HTTPStatus.FORBIDDEN)
    except OAuthError as error:
        return error.response()
    try:
        actor = await parts.verifier.actor(f"Bearer {fields.get('token', '')}")
    except Problem as refused:
        if refused.status != HTTPStatus.UNAUTHORIZED:
            raise
        return Response(b'{"active":false}', HTTPStatus.OK, NOT_STORED, "application/json")
    claims = {"active": True, "sub": actor.account_id, "org": actor.organisation_id, "kind": actor.organisation_kind}
    if actor.scopes is not None:
        claims |= {"client_id": actor.client_id, "scope": " ".join(sorted(actor.scopes))}
    return Response(orjson.dumps(claims), HTTPStatus.OK, NOT_STORED, "application/json")


@OAUTH.get("/.well-known/openid-configuration")
async def discovery(request: Request) -> Response:
    """Return the discovery document: issuer, endpoints, keys and algorithms."""
    parts: Parts = request.app.state.parts
    issuer = parts.settings.token_issuer
    return cached(
        request,
        {
            "issuer": issuer,
            "jwks_uri": f"{issuer}/.well-known/jwks.json",
            "token_endpoint": f"{issuer}/oauth/token",
            "introspection_endpoint": f"{issuer}/oauth/introspect",
            "grant_types_supported": ["client_credentials", "refresh_token"],
            "response_types_supported": [],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [ALGORITHM],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "scopes_supported": list(MEANING),
            "claims_supported": list(CLAIMS),
        },
    )
