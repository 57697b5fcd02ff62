"""The routes of sessions and passwords, and the published keys."""

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from http import HTTPStatus
from typing import Annotated, Final

import orjson
import structlog
from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from starlette.datastructures import State

from services.identity.domain import rules
from services.identity.domain.account import ACCOUNT, OpenedAccount, claim_of, publisher_of
from services.identity.domain.sessions import SESSIONS, EndSession, EndSessions
from services.identity.mail import outbox
from services.identity.persons import holder_of
from services.identity.signin import credentials
from services.identity.signin import refresh as refreshing
from services.identity.signin.guesses import current_guesses
from services.identity.signin.keys import ResetBy, current_keys
from services.identity.signin.passwords import require_uncommon
from services.identity.signin.refresh import Running
from services.identity.views import CurrentSession, Session, SessionView
from shared.eventlog.write.log import Log, Meta
from shared.events import AccountOpened
from shared.events.fields import Address, GivenPassword, Password, Token
from shared.rules import OPERATOR_ONLY
from shared.runtime.auth import JWKS_S, TOKEN_S, Actor
from shared.runtime.database import Pool
from shared.runtime.exports import ListRoute
from shared.runtime.http import CurrentActor, CurrentLog, Database
from shared.runtime.limits import limited_by_source, source_of
from shared.runtime.lists import By, Listing, ListOf, Page
from shared.runtime.parts import Parts
from shared.runtime.problems import Problem, unknown
from shared.runtime.routes import Addressed, CommandRoutes, RequestContext
from shared.runtime.scopes import EVERY_MACHINE, machines

COMMANDS: Final = CommandRoutes()
ROUTES: Final = APIRouter(route_class=ListRoute)
NOT_STORED: Final = {"Cache-Control": "no-store"}
"""The header of every response with a token (RFC 6749, section 5.1)."""

_log: Final = structlog.get_logger(__name__)


class SignIn(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    email: Address
    password: GivenPassword


@ROUTES.post("/sessions", dependencies=[limited_by_source("sign-in")])
async def sign_in(form: SignIn, request: Request, response: Response, db: Database, log: CurrentLog) -> Session:
    """Begin a session with an access token and a refresh token.

    The response and the work are the same for an unknown address and a wrong password.
    """
    since = await log.store.position()
    holder = await holder_of(log.store, form.email)
    account_id = holder.removeprefix("account-") if holder else None
    source, password = source_of(request.scope), form.password.get_secret_value()
    verifier = await current_guesses(request).checked(
        claim_of(form.email), source, lambda: credentials.matched(db, account_id, password)
    )
    account = await log.state(ACCOUNT, account_id or "")
    session = None
    if verifier is not None and isinstance(account, OpenedAccount):
        session = await start(account.opened, request.app.state, since=since, verifier=verifier)
    if session is None:
        raise Problem(
            rule=rules.SIGN_IN_FAILED,
            reason="The e-mail address or the password is wrong.",
            remedy="Try again, ask the operator for a reset, or open an account.",
        )
    request.app.state.parts.limits.give_back("sign-in", source)
    return _answered(session, request, response)


async def start(opened: AccountOpened, app: State, *, since: int, verifier: str | None = None) -> Session | None:
    """Begin a session; return None if `verifier` is not the account's any more.

    `verifier` is the one that the password matched, and `since` the log's position from before the credentials were
    checked.
    """
    parts: Parts = app.parts
    running = await refreshing.begin(
        parts.db, opened.account_id, session_id=parts.new_id(), since=since, now=parts.now(), verifier=verifier
    )
    return None if running is None else _session(opened, running, app)


def _session(opened: AccountOpened, running: Running, app: State) -> Session:
    who = Actor(
        account_id=opened.account_id,
        organisation_id=opened.organisation_id,
        organisation_kind=opened.organisation_kind,
        publisher=publisher_of(opened),
        session_id=running.session_id,
        since=running.since,
    )
    return Session(
        access_token=current_keys(app).signer.sign(who, app.parts.new_id()),
        expires_in=TOKEN_S,
        refresh_token=running.token,
        refresh_expires_in=int((running.expires - app.parts.now()).total_seconds()),
        session_id=running.session_id,
        account_id=who.account_id,
        organisation_id=who.organisation_id,
    )


class Refresh(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    refresh_token: Annotated[SecretStr, Field(max_length=4096)]


@ROUTES.post("/sessions/refresh", dependencies=[limited_by_source("refresh")])
async def refresh(form: Refresh, request: Request, response: Response) -> Session:
    """Exchange a refresh token for an access token and the next refresh token.

    A refresh token is used once. If it is used again after some seconds, its session ends: somebody else may have it.
    """
    session = await refreshed(form.refresh_token.get_secret_value(), request)
    if session is None:
        raise Problem(
            rule=rules.SESSION_ENDED,
            reason="The refresh token is invalid or has expired.",
            remedy="Sign in again.",
        )
    return _answered(session, request, response)


def _answered(session: Session, request: Request, response: Response) -> Session:
    """Let the response say that it is not to be stored, and whether it is a sandbox's."""
    response.headers.update(NOT_STORED)
    request.state.sandbox = request.app.state.parts.is_sandbox(session.organisation_id)
    return session


async def refreshed(token: str, request: Request) -> Session | None:
    """Return the session with its next tokens, or None if it has ended or the token is invalid."""
    current_keys(request.app.state)
    app = request.app.state
    parts: Parts = app.parts
    try:
        running = await refreshing.rotate(parts.db, token, parts.now())
    except refreshing.Reused as reused:
        account = await parts.log.state(ACCOUNT, reused.account_id)
        organisation = account.opened.organisation_id if isinstance(account, OpenedAccount) else ""
        await end(
            request,
            EndSession(
                session_id=reused.session_id,
                account_id=reused.account_id,
                organisation_id=organisation,
                ended_by="identity",
                reason="refresh-token-reused",
            ),
        )
        _log.warning("refresh token reused", account_id=reused.account_id, session_id=reused.session_id)
        return None
    if running is None:
        return None
    account = await parts.log.state(ACCOUNT, running.account_id)
    if not isinstance(account, OpenedAccount):
        return None
    who = Actor(
        account_id=running.account_id,
        organisation_id="",
        organisation_kind="customer",
        session_id=running.session_id,
        since=running.since,
    )
    if not await parts.verifier.endings.good(who, ""):
        return None
    return _session(account.opened, running, app)


async def end(request: Request, command: EndSession | EndSessions) -> None:
    """Append the end of one session, or of all sessions, of an account."""
    parts: Parts = request.app.state.parts
    command_id = f"{command.reason}:{parts.new_id()}"
    state = request.state
    meta = Meta(command_id, command.ended_by, parts.now(), state.correlation_id, command_id, state.traceparent)
    await parts.log.execute(SESSIONS, command.account_id, command, meta)


RUNNING: Final = Listing(
    key="session_id",
    sorts={"started": By(datetime), "last_used": By(datetime), "expires": By(datetime)},
    order="-started",
    limit=200,  # who reads no `next` got all of them
)


@ROUTES.get("/sessions", openapi_extra=machines())
async def sessions(
    actor: CurrentActor, request: Request, db: Database, page: Annotated[Page, Depends(RUNNING.page)]
) -> ListOf[SessionView]:
    """List the caller's running sessions."""
    parts: Parts = request.app.state.parts
    running = []
    for session in await refreshing.of_account(db, actor.account_id, parts.now()):
        who = Actor(
            account_id=actor.account_id,
            organisation_id="",
            organisation_kind="customer",
            session_id=session.session_id,
            since=session.since,
        )
        if await parts.verifier.endings.good(who, ""):
            running.append(
                SessionView(
                    session_id=session.session_id,
                    started=session.started,
                    last_used=session.last_used,
                    expires=session.expires,
                    current=session.session_id == actor.session_id,
                )
            )
    return RUNNING.select(page, running)


@ROUTES.get("/sessions/current", openapi_extra=EVERY_MACHINE)
async def current_session(actor: CurrentActor) -> CurrentSession:
    """Return the token's owner.

    Other services ask this if they can't know whether the session has ended.
    """
    return CurrentSession(
        account_id=actor.account_id,
        organisation_id=actor.organisation_id,
        session_id=actor.session_id or None,
        client_id=actor.client_id or None,
        scope=None if actor.scopes is None else " ".join(sorted(actor.scopes)),
    )


@COMMANDS.route("DELETE", "/sessions/current", SESSIONS)
async def end_current_session(context: RequestContext[EndSession]) -> Addressed[EndSession]:
    return _end_own(context.actor, context.actor.session_id)


@COMMANDS.route("DELETE", "/sessions/{session_id}", SESSIONS)
async def end_session(context: RequestContext[EndSession], session_id: str) -> Addressed[EndSession]:
    own = await refreshing.of_account(context.db, context.actor.account_id, context.parts.clocks.real())
    if session_id not in {session.session_id for session in own}:
        raise unknown("session", "See GET /sessions.")
    return _end_own(context.actor, session_id)


def _end_own(who: Actor, session_id: str) -> Addressed[EndSession]:
    command = EndSession(
        session_id=session_id,
        account_id=who.account_id,
        organisation_id=who.organisation_id,
        ended_by=who.account_id,
    )
    return Addressed(who.account_id, command)


@COMMANDS.route("DELETE", "/sessions", SESSIONS)
async def end_sessions(context: RequestContext[EndSessions]) -> Addressed[EndSessions]:
    who = context.actor
    command = EndSessions(account_id=who.account_id, organisation_id=who.organisation_id, ended_by=who.account_id)
    return Addressed(who.account_id, command)


@COMMANDS.route("DELETE", "/accounts/{account_id}/sessions", SESSIONS)
async def end_sessions_of(context: RequestContext[EndSessions], account_id: str) -> Addressed[EndSessions]:
    if context.actor.organisation_kind != "operator":
        raise Problem(
            rule=OPERATOR_ONLY,
            reason="Only the operator can end another person's sessions.",
            remedy="End your own (DELETE /sessions), or ask the operator.",
        )
    account = await context.state(ACCOUNT, account_id)
    if not isinstance(account, OpenedAccount):
        raise unknown("account")
    command = EndSessions(
        account_id=account_id,
        organisation_id=account.opened.organisation_id,
        ended_by=context.actor.account_id,
        reason="ended-by-operator",
    )
    return Addressed(account_id, command)


class ChangePassword(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    current: GivenPassword
    new: Password


@ROUTES.put("/me/password", status_code=HTTPStatus.NO_CONTENT)
async def change_password(
    form: ChangePassword, actor: CurrentActor, request: Request, db: Database, log: CurrentLog
) -> None:
    """Change the caller's password, which ends all of their sessions."""
    account = await log.state(ACCOUNT, actor.account_id)
    if not isinstance(account, OpenedAccount):
        raise unknown("account")
    request.app.state.parts.limits.take("password", actor.account_id)
    current = form.current.get_secret_value()
    before = await current_guesses(request).checked(
        claim_of(account.profile.email),
        source_of(request.scope),
        lambda: credentials.matched(db, actor.account_id, current),
    )
    new = form.new.get_secret_value()
    if before is not None:  # a caller without the current password gets no other refusal than that
        await require_uncommon(new, *known_of(account))
    command = EndSessions(
        account_id=actor.account_id,
        organisation_id=actor.organisation_id,
        ended_by=actor.account_id,
        reason="password-changed",
    )
    if before is None or not await credentials.replace(
        db, actor.account_id, before, new, lambda: end(request, command)
    ):
        raise Problem(
            rule=rules.PASSWORD_WRONG,
            reason="The current password is wrong.",
            remedy="Try again, or ask the operator for a reset.",
        )
    _log.info("password changed", account_id=actor.account_id)


class AskForReset(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    email: Address


@ROUTES.post("/password/mail", status_code=HTTPStatus.ACCEPTED, dependencies=[limited_by_source("reset")])
async def mail_reset(form: AskForReset, request: Request, db: Database, log: CurrentLog) -> None:
    """Mail a reset to an address that the person has proven, at most once in five minutes.

    The response doesn't tell whether the address is known. An unproven address gets nothing: it may be another person's
    than the account.
    """
    holder = await holder_of(log.store, form.email)
    account_id = (holder or "").removeprefix("account-")
    account = await log.state(ACCOUNT, account_id)
    if isinstance(account, OpenedAccount) and account.verified:
        await outbox.ask(db, "reset-password", account_id, form.email, request.app.state.parts.now())


class ResetPassword(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    reset: Token
    new: Password


@ROUTES.post("/password", status_code=HTTPStatus.NO_CONTENT, dependencies=[limited_by_source("reset")])
async def reset_password(form: ResetPassword, request: Request, db: Database, log: CurrentLog) -> None:
    """Set the password of a reset's account, once, which ends all of its sessions.

    All refusals of a reset are the same, so that they tell nothing about the account.
    """
    reset = current_keys(request.app.state).reset_by(form.reset)
    if reset is None or not await _reset(reset, form.new.get_secret_value(), request, db, log):
        raise Problem(
            rule=rules.RESET_NOT_VALID,
            reason="The reset is invalid, has expired or was used.",
            remedy="Ask the operator for a new one.",
        )
    _log.info("password reset", account_id=reset.account_id, reset=reset.token_id)


async def _reset(reset: ResetBy, new: str, request: Request, db: Pool, log: Log) -> bool:
    account_id = reset.account_id
    before = await credentials.verifier_of(db, account_id)
    account = await log.state(ACCOUNT, account_id)
    if credentials.digest(before) != reset.replaces or not isinstance(account, OpenedAccount):
        return False
    await require_uncommon(new, *known_of(account))
    command = EndSessions(
        account_id=account_id,
        organisation_id=account.opened.organisation_id,
        ended_by=account_id,
        reason="password-reset",
    )
    if not await credentials.replace(db, account_id, before, new, lambda: end(request, command)):
        return False
    await current_guesses(request).pardon(claim_of(account.profile.email))
    return True


def known_of(account: OpenedAccount) -> tuple[str, str, str]:
    """Return the person's address, name and organisation, which are guessed first."""
    return account.profile.email, account.profile.name, account.opened.organisation_name


@ROUTES.get("/.well-known/jwks.json")
async def jwks(request: Request) -> Response:
    """Return the public keys that verify tokens, with those that will sign later."""
    return cached(request, current_keys(request.app.state).published())


def cached(request: Request, document: Mapping[str, object]) -> Response:
    """Return a public document that may be cached for a minute, or 304 if the caller has it."""
    body = orjson.dumps(document)
    headers = {"Cache-Control": f"public, max-age={JWKS_S}", "ETag": f'"{sha256(body).hexdigest()[:32]}"'}
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(None, HTTPStatus.NOT_MODIFIED, headers)
    return Response(body, HTTPStatus.OK, headers, "application/json")
