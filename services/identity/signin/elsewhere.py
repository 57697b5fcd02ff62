"""Sign-in by other issuers (OpenID Connect), and the links to their identities.

A link names issuer and subject. The first sign-in of an identity without a link links it by its e-mail address, but
only if both sides have verified the address: the issuer says so in the ID token, and the account has proven it.
"""

import hashlib
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Final

import structlog
from fastapi import APIRouter, Depends, Request, Response
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
from services.identity.signin import credentials
from services.identity.signin.keys import NONCE_S, current_keys
from services.identity.signin.oidc import Issuers, NotGenuine, Unreachable
from services.identity.signin.sessions import NOT_STORED, start
from services.identity.views import LinkedIdentity, Nonce, Session
from shared.eventlog.write.log import Log, Meta, Refused
from shared.events.fields import Token
from shared.rules import UNAVAILABLE
from shared.runtime.exports import ListRoute
from shared.runtime.http import CurrentActor, CurrentLog
from shared.runtime.limits import limited_by_source
from shared.runtime.lists import By, Listing, ListOf, Page
from shared.runtime.parts import Parts
from shared.runtime.problems import Problem, refusal, unknown
from shared.runtime.routes import Addressed, CommandRoutes, RequestContext
from shared.runtime.scopes import machines
from shared.sql import statements

COMMANDS: Final = CommandRoutes()
ROUTES: Final = APIRouter(route_class=ListRoute)
SQL: Final = statements(__file__)
_NONCE_KEPT: Final = timedelta(seconds=2 * NONCE_S)

_log: Final = structlog.get_logger(__name__)

IdToken = Token
NonceText = Token


class ByIdToken(BaseModel):
    """An ID token of a configured issuer, with the nonce of ours that it repeats."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id_token: IdToken
    nonce: NonceText
    """From POST /sessions/oidc/nonce, given to the issuer to repeat."""


# ── Identities ─────────────────────────────────────────────────────────────────────────────────────────


@ROUTES.post(
    "/sessions/oidc/nonce",
    dependencies=[limited_by_source("sign-in")],
    responses={404: {"description": "No issuer of ID tokens is configured"}},
)
async def make_nonce(request: Request, response: Response) -> Nonce:
    """Create a nonce for the issuer to repeat in its ID token; valid once, for ten minutes."""
    _issuers(request.app.state)
    response.headers.update(NOT_STORED)
    nonce = current_keys(request.app.state).nonce(request.app.state.parts.new_id())
    return Nonce(nonce=nonce, expires_in=NONCE_S)


def _issuers(app: State) -> Issuers:
    issuers: Issuers | None = getattr(app, "oidc", None)
    if issuers is None:
        raise Problem(
            rule=rules.ISSUER_NOT_CONFIGURED,
            reason="No issuer of ID tokens is configured.",
            remedy="Sign in with a password (POST /sessions).",
        )
    return issuers


async def identified(app: State, id_token: str, nonce: str, used_by: str, *, dry_run: bool = False) -> Identity:
    """Check the ID token and consume its nonce; only the request `used_by` may repeat it.

    Raises:
        Problem: 401 if the token is invalid, or its nonce is not ours or was used; 503 if the issuer's keys are
            unavailable; 404 if no issuer is configured.
    """
    issuers, keys = _issuers(app), current_keys(app)
    try:
        if not keys.is_nonce(nonce):
            raise NotGenuine("its nonce is not one of ours, or has expired")
        identity = await issuers.identify(id_token, nonce)
        if not await _used(app.parts, nonce, used_by, dry_run=dry_run):
            raise NotGenuine("its nonce was used before")
    except NotGenuine as why:
        _log.info("ID token refused", fault=str(why)[:300])
        raise Problem(
            rule=rules.ID_TOKEN_NOT_VALID,
            reason="The ID token was not issued by a configured issuer for Tenure, "
            "has expired, or does not repeat a fresh nonce of Tenure.",
            remedy="Take a nonce (POST /sessions/oidc/nonce) and sign in at the issuer again.",
        ) from why
    except Unreachable as why:
        raise Problem(
            rule=UNAVAILABLE,
            reason="The issuer's keys are unavailable.",
            remedy="Try again in a moment.",
            headers={"Retry-After": "2"},
        ) from why
    return identity


async def _used(parts: Parts, nonce: str, used_by: str, *, dry_run: bool) -> bool:
    """Consume the nonce for this request; return whether no other request has used it.

    A dry run only checks that.
    """
    digest = hashlib.sha256(nonce.encode()).digest()
    if dry_run:
        return not await parts.db.fetchval(SQL["used"], digest, used_by)
    now = parts.now()
    await parts.db.execute(SQL["prune"], now)
    return bool(await parts.db.fetchval(SQL["use"], digest, used_by, now + _NONCE_KEPT))


# ── Signing in ─────────────────────────────────────────────────────────────────────────────────────────


@ROUTES.post("/sessions/oidc", dependencies=[limited_by_source("sign-in")])
async def sign_in_elsewhere(form: ByIdToken, request: Request, response: Response, log: CurrentLog) -> Session:
    """Begin a session of the account to which the ID token's subject is linked."""
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
    """Return the open account that holds this claim, if any."""
    stream = await log.store.holder(claim)
    state = await log.state(ACCOUNT, stream.removeprefix(ACCOUNT.id("")) if stream else "")
    return state if isinstance(state, OpenedAccount) else None


async def _linked_by_address(log: Log, identity: Identity, command_id: str, parts: Parts) -> OpenedAccount:
    """Link the identity to the account with its address, and return the account.

    Raises:
        Problem: 403 if there is no such account, or either side has not verified the address.
    """
    account = await _holder(log, claim_of(identity.email)) if identity.email else None
    if account is None:
        raise _no_account()
    account_id = account.opened.account_id
    meta = Meta(command_id, account_id, parts.now(), command_id, command_id)
    answer = await log.execute(ACCOUNT, account_id, LinkIdentity(identity, by_address=True), meta)
    if isinstance(answer, Refused):
        raise refusal(answer)
    return account


def _no_account() -> Problem:
    return Problem(
        rule=rules.NO_ACCOUNT_FOR_IDENTITY,
        reason="The issuer vouches for you, but no account here is "
        "linked to you, or has the e-mail address that it has verified.",
        remedy="Sign up with this identity (POST /accounts with id_token and nonce), or sign in to your "
        "account and link it (POST /me/oidc).",
    )


# ── Linking ────────────────────────────────────────────────────────────────────────────────────────────

LINKED: Final = Listing(key="issuer", sorts={"issuer": By(str)}, order="issuer")


@ROUTES.get("/me/oidc", openapi_extra=machines())
async def linked_identities(
    actor: CurrentActor, log: CurrentLog, page: Annotated[Page, Depends(LINKED.page)]
) -> ListOf[LinkedIdentity]:
    """List the identities that sign in as the caller's account, at most one of each issuer."""
    account = await log.state(ACCOUNT, actor.account_id)
    if not isinstance(account, OpenedAccount):
        raise unknown("account")
    return LINKED.select(
        page, [LinkedIdentity(issuer=each.issuer, subject=each.subject) for each in account.identities]
    )


@COMMANDS.route("POST", "/me/oidc", ACCOUNT)
async def link_identity(context: RequestContext[ByIdToken]) -> Addressed[LinkIdentity]:
    identity = await identified_once(context, context.asked.id_token, context.asked.nonce)
    return Addressed(context.actor.account_id, LinkIdentity(identity=identity, by_address=False))


@COMMANDS.route("DELETE", "/me/oidc", ACCOUNT)
async def unlink_identity(context: RequestContext[UnlinkIdentity]) -> Addressed[UnlinkIdentity]:
    account_id = context.actor.account_id
    has_password = await credentials.verifier_of(context.db, account_id) is not None
    return Addressed(account_id, replace(context.asked, has_password=has_password))


async def identified_once(context: RequestContext[object], id_token: str, nonce: str) -> Identity:
    """Return the caller's identity; only this command can use the nonce. Raises as `identified`."""
    return await identified(context.app, id_token, nonce, context.command_id, dry_run=context.dry_run)
