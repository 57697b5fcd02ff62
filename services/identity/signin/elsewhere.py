"""Signing in by another issuer of identities (OpenID Connect), and linking who somebody is there to their account.

A link is by issuer and subject. The first sign-in of somebody unknown links by the address only where both sides have
proven it: the issuer says that it is verified, and here it was shown to be the account's person's.
"""

import hashlib
from datetime import timedelta
from http import HTTPStatus
from typing import Final

import structlog
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict
from starlette.datastructures import State

from services.identity.domain import rules
from services.identity.domain.account import (
    ACCOUNT,
    Identity,
    LinkIdentity,
    OpenedAccount,
    UnlinkIdentity,
    claim_of,
    identity_claim,
)
from services.identity.signin.keys import NONCE_S, current_keys
from services.identity.signin.oidc import Issuer, NotGenuine, Unreachable
from services.identity.signin.sessions import NOT_STORED, start
from services.identity.views import Nonce, Session
from shared.eventlog.write.log import Log, Meta, Refused
from shared.events.fields import Token
from shared.rules import UNAVAILABLE
from shared.runtime.http import CurrentLog
from shared.runtime.limits import limited_by_source
from shared.runtime.parts import Parts
from shared.runtime.problems import Problem
from shared.runtime.routes import Addressed, CommandRoutes, RequestContext
from shared.sql import statements

COMMANDS: Final = CommandRoutes()
ROUTES: Final = APIRouter()
SQL: Final = statements(__file__)
_NONCE_KEPT: Final = timedelta(seconds=2 * NONCE_S)

_log: Final = structlog.get_logger(__name__)

IdToken = Token
NonceText = Token


class ByIdToken(BaseModel):
    """Who somebody is at the configured issuer: its ID token, which repeats a nonce of ours."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id_token: IdToken
    nonce: NonceText
    """From POST /sessions/oidc/nonce, given to the issuer to repeat."""


# ── Who somebody is ────────────────────────────────────────────────────────────────────────────────────


@ROUTES.post("/sessions/oidc/nonce", dependencies=[limited_by_source("sign-in")])
async def make_nonce(request: Request, response: Response) -> Nonce:
    """Make a nonce for the issuer to repeat in its ID token: for ten minutes, and once."""
    _issuer(request.app.state)
    response.headers.update(NOT_STORED)
    nonce = current_keys(request.app.state).nonce(request.app.state.parts.new_id())
    return Nonce(nonce=nonce, expires_in=NONCE_S)


def _issuer(app: State) -> Issuer:
    issuer: Issuer | None = getattr(app, "oidc", None)
    if issuer is None:
        raise Problem(
            404,
            rule=rules.ISSUER_NOT_CONFIGURED,
            reason="No other issuer signs people in here.",
            remedy="Sign in with a password (POST /sessions).",
        )
    return issuer


async def identified(app: State, id_token: str, nonce: str, used_by: str, *, dry_run: bool = False) -> Identity:
    """Check the ID token and use its nonce up; only the request `used_by` may repeat it.

    Raises:
        Problem: 401 where the token is not a good one for us or the nonce is not ours, or was used; 503 where the
            issuer's keys can't be had; 404 where no issuer is configured.
    """
    issuer, keys = _issuer(app), current_keys(app)
    try:
        if not keys.is_nonce(nonce):
            raise NotGenuine("its nonce is none of ours, or out of time")
        identity = await issuer.identify(id_token, nonce)
        if not await _used(app.parts, nonce, used_by, dry_run=dry_run):
            raise NotGenuine("its nonce was used before")
    except NotGenuine as why:
        _log.info("sign-in elsewhere refused", fault=str(why)[:300])
        raise Problem(
            401,
            rule=rules.ID_TOKEN_NOT_VALID,
            reason="The ID token is not one of the configured issuer's for "
            "us, is out of time, or does not repeat a fresh nonce of ours.",
            remedy="Take a nonce (POST /sessions/oidc/nonce) and sign in at the issuer again.",
        ) from why
    except Unreachable as why:
        raise Problem(
            503,
            rule=UNAVAILABLE,
            reason="The issuer's keys can't be had now.",
            remedy="Try again in a moment.",
            headers={"Retry-After": "2"},
        ) from why
    return identity


async def _used(parts: Parts, nonce: str, used_by: str, *, dry_run: bool) -> bool:
    """Whether the nonce is this request's by now; in a dry run whether it could be."""
    digest = hashlib.sha256(nonce.encode()).digest()
    if dry_run:
        return not await parts.db.fetchval(SQL["used"], digest, used_by)
    now = parts.now()
    await parts.db.execute(SQL["prune"], now)
    return bool(await parts.db.fetchval(SQL["use"], digest, used_by, now + _NONCE_KEPT))


# ── Signing in ─────────────────────────────────────────────────────────────────────────────────────────


@ROUTES.post("/sessions/oidc", dependencies=[limited_by_source("sign-in")])
async def sign_in_elsewhere(form: ByIdToken, request: Request, response: Response, log: CurrentLog) -> Session:
    """Begin a session for the ID token of the configured issuer: of the account that its subject is linked to."""
    since = await log.store.position()
    parts: Parts = request.app.state.parts
    used_by = f"session:{parts.new_id()}"
    identity = await identified(request.app.state, form.id_token, form.nonce, used_by)
    account = await _holder(log, identity_claim(identity.issuer, identity.subject))
    if account is None:
        account = await _linked_by_address(log, identity, used_by, parts)
    session = await start(account.opened, request.app.state, since=since)
    if session is None:
        raise _no_account()
    response.headers.update(NOT_STORED)
    return session


async def _holder(log: Log, claim: str) -> OpenedAccount | None:
    """The open account that holds this unique name."""
    stream = await log.store.holder(claim)
    state = await log.state(ACCOUNT, stream.removeprefix(ACCOUNT.id("")) if stream else "")
    return state if isinstance(state, OpenedAccount) else None


async def _linked_by_address(log: Log, identity: Identity, command_id: str, parts: Parts) -> OpenedAccount:
    """The account with the identity's address, linked to it from now on. Raises Problem 403 where there is none, or
    where either side has not proven the address."""
    account = await _holder(log, claim_of(identity.email)) if identity.email else None
    if account is None:
        raise _no_account()
    account_id = account.opened.account_id
    meta = Meta(command_id, account_id, parts.now(), command_id, command_id)
    answer = await log.execute(ACCOUNT, account_id, LinkIdentity(identity, by_address=True), meta)
    if isinstance(answer, Refused):
        raise Problem(HTTPStatus.FORBIDDEN, rule=answer.rule, reason=answer.reason, remedy=answer.remedy)
    return account


def _no_account() -> Problem:
    return Problem(
        403,
        rule=rules.NO_ACCOUNT_FOR_IDENTITY,
        reason="The issuer vouches for you, but no account here is "
        "linked to you, or has the e-mail address that it has verified.",
        remedy="Sign up with this identity (POST /accounts with id_token and nonce), or sign in to your "
        "account and link it (POST /me/oidc).",
    )


# ── Linking ────────────────────────────────────────────────────────────────────────────────────────────


@COMMANDS.route("POST", "/me/oidc", ACCOUNT)
async def link_identity(context: RequestContext[ByIdToken]) -> Addressed[LinkIdentity]:
    identity = await identified_once(context, context.asked.id_token, context.asked.nonce)
    return Addressed(context.actor.account_id, LinkIdentity(identity=identity, by_address=False))


@COMMANDS.route("DELETE", "/me/oidc", ACCOUNT)
async def unlink_identity(context: RequestContext[UnlinkIdentity]) -> Addressed[UnlinkIdentity]:
    return Addressed(context.actor.account_id, context.asked)


async def identified_once(context: RequestContext[object], id_token: str, nonce: str) -> Identity:
    """Return who the caller is at the issuer, by an ID token that this command may use. Raises as `identified`."""
    return await identified(context.app, id_token, nonce, context.command_id, dry_run=context.dry_run)
